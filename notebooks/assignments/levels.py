"""Three levels of an assignment from one source: guided, normal, open."""

import re
import tomllib
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Enum

from repair import key

#: What a text of the source says of the way to an answer; the level open does without.
WAY = re.compile(r"<!-- way -->\n?(.*?)<!-- end -->\n?", re.DOTALL)
STUB = re.compile(r"^( *)# YOUR CODE HERE", re.MULTILINE)


class Level(NbGraderPreprocessor):
    """Puts hints behind the visible check of a question, and its steps into the empty answer.

    Points and checks are the same in all levels, and so is the place of every cell that is marked.
    """

    level = Enum(("guided", "normal", "open"), "normal", help="How much help a notebook holds.").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """Makes a level of a notebook whose solutions are cleared."""
        helps = tomllib.loads(Path(__file__).with_name("hints.toml").read_text("utf-8"))
        names, cells = {key(cell) for cell in nb.cells}, []
        for cell in nb.cells:
            if cell.cell_type == "markdown":
                cell.source = WAY.sub("" if self.level == "open" else r"\1", cell.source)
            if self.level == "guided" and key(cell) in helps:
                lines = [f"# {i}. {step}" for i, step in enumerate(helps[key(cell)]["steps"], 1)]
                lines.append("# YOUR CODE HERE")
                cell.source = STUB.sub(lambda stub, lines=lines: "\n".join(stub[1] + x for x in lines), cell.source, 1)
            cells.append(cell)
            question = key(cell).removesuffix("-check")
            if self.level != "open" and (key(cell).endswith("-check") or f"{question}-check" not in names):
                cells += [hint(question, i, text) for i, text in enumerate(helps.get(question, {}).get("hints", []), 1)]
        nb.cells = cells
        return nb, resources


def hint(question: str, number: int, text: str) -> NotebookNode:
    """A cell that shows its hint when it is clicked on, as in the notebooks of the course."""
    source = f"<details><summary>Hint {number}</summary>\n\n{text}\n\n</details>"
    return new_markdown_cell(source, id=f"{question}-hint-{number}")
