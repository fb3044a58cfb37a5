"""What students wrote and made is shown, never run: active content goes before anybody opens a marked notebook."""

import re
import textwrap
from typing import Any

from nbconvert.preprocessors.sanitize import SanitizeHTML
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell
from nbgrader.preprocessors import ClearHiddenTests
from nbgrader.utils import is_grade

#: Anything that a browser could take for markup.
MARKUP = re.compile(r"<[A-Za-z!/?]|javascript:|data:text", re.IGNORECASE)
#: Pictures are base64 and nothing else: an attribute could be closed by anything else.
PICTURE = re.compile(r"[A-Za-z0-9+/=\s]*")
TAGS = [
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "b",
    "i",
    "em",
    "strong",
    "code",
    "pre",
    "p",
    "br",
    "details",
    "summary",
]


class Harmless(SanitizeHTML):
    """Strips scripts, frames, handlers, styles and links from outputs and texts; keeps tables, text and pictures."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.enabled, self.tags, self.attributes, self.styles = True, TAGS, {}, []
        self.safe_output_keys = {"text/plain", "image/png", "image/jpeg"}
        self.sanitized_output_types = {"text/html"}

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """Cleans a notebook; what its metadata hold, as the state of widgets, goes."""
        kept = ("kernelspec", "language_info", "told")
        nb.metadata = NotebookNode({key: value for key, value in nb.metadata.items() if key in kept})
        return super().preprocess(nb, resources)

    def preprocess_cell(self, cell: NotebookNode, resources: dict[str, Any], index: int) -> tuple[NotebookNode, Any]:
        """Cleans a cell; text without any markup stays as it is."""
        cell.pop("attachments", None)
        if cell.cell_type != "code":
            if MARKUP.search(cell.source):
                cell.source = self.sanitize_html_tags(re.sub("javascript:|data:text", "", cell.source, flags=re.I))
            return cell, resources
        for output in cell.outputs:
            if "data" in output:
                receipt = {k: v for k, v in output.get("metadata", {}).items() if k == "receipt"}
                output.metadata = NotebookNode(receipt)
                for kind in ("image/png", "image/jpeg"):
                    if not PICTURE.fullmatch(str(output.data.get(kind, ""))):
                        del output.data[kind]
        cell.outputs = self.sanitize_code_outputs(cell.outputs)
        return cell, resources


class ForStudents(ClearHiddenTests):
    """A feedback page: what the checks said, no text of hidden tests, and no output that could carry it.

    Students have the outputs of their own cells. Code that ran beside a hidden test could have printed it.
    """

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """Says at its top what was repaired, and which check said what; hints are of no use any more."""
        nb, resources = super().preprocess(nb, resources)
        nb.cells = [cell for cell in nb.cells if not cell.source.startswith("<details><summary>Hint")]
        told = [text for text in nb.metadata.get("told", []) if "repaired" in text or "together" in text]
        said: dict[str, list[str]] = {}
        for cell in filter(is_grade, nb.cells):
            for output in cell.get("outputs", []):
                if output.output_type == "error":
                    said.setdefault(" ".join(output.evalue.split()), []).append(cell.metadata.nbgrader.grade_id)
        failed = [f"{', '.join(cells)}: {message}" for message, cells in said.items()]
        parts = {"Repaired before it was marked": told, "What the checks said where points are missing": failed}
        nb.cells[:0] = [new_markdown_cell(listed(title, lines)) for title, lines in parts.items() if lines]
        return nb, resources

    def preprocess_cell(self, cell: NotebookNode, resources: dict[str, Any], index: int) -> tuple[NotebookNode, Any]:
        """Empties the outputs of cells that are no checks."""
        if cell.cell_type == "code" and not is_grade(cell):
            cell.outputs = []
        return super().preprocess_cell(cell, resources, index)


def listed(title: str, lines: list[str]) -> str:
    """Lines below a title, as text that no browser takes for markup."""
    folded = [part for line in lines for part in textwrap.wrap(line, 100, subsequent_indent="  ")]
    return f"**{title}**\n\n" + "\n".join(f"    {part}" for part in folded)
