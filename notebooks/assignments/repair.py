"""Repair of what an honest student broke by accident: answers go back to where the released notebook has them."""

import re
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor
from nbgrader.utils import is_grade, is_locked, is_solution

from told import tell

#: Names that a cell binds; also of a cell with a syntax error.
BINDS = re.compile(r"^(?:(?:async )?(?:def|class) (\w+)|(\w+)(?:, *(\w+))* *(?::[^=\n]+)?=(?!=))", re.MULTILINE)


STUB = "raise NotImplementedError"


class Repair(NbGraderPreprocessor):
    """Puts the answers of a submission into the released notebook: by id, else by what a cell defines.

    Of several cells for one answer the last that is no stub wins. Other cells of the student keep their place between
    those of the assignment. Each repair is told. Where nothing is broken, nothing changes.
    """

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """Repairs a notebook."""
        path = Path(resources["nbgrader"]["assignment"]) / f"{resources['nbgrader']['notebook']}.ipynb"
        given, source = (nbformat.read(step / path, 4) for step in (Path("release"), Path("source")))
        nb.metadata["told"], places, texts = [], {}, {cell.source for cell in given.cells}
        for cell in given.cells:
            places |= {key(cell): key(cell), cell.get("id", key(cell)): key(cell)}
        strange = [c for c in nb.cells if not {key(c), c.get("id")} & {*places} and c.source not in texts]
        strange = [c for c in strange if not c.source.startswith("<details><summary>Hint")]  # of another level
        tests = [key(c) for c in given.cells if "nbgrader" in c.metadata]
        if [key(c) for c in nb.cells if key(c) in tests] != tests:
            tell(nb, self.log, "cells were missing, doubled or out of order: the notebook was put together again")
        needs, cells, used = names(source), {}, []
        for cell in given.cells:
            mine = [c for c in nb.cells if places.get(key(c), places.get(c.get("id"))) == key(cell)]
            written = [c for c in mine if c.source.strip() and c.source != cell.source and STUB not in c.source]
            editable = is_solution(cell) or (cell.cell_type == "code" and not is_locked(cell))
            if not written and needs.get(key(cell)):
                written = [c for c in strange if needs[key(cell)] <= bound(c)]
            elif not written and is_solution(cell) and cell.cell_type == "markdown":
                written = [c for c in strange if c.cell_type == "markdown" and len(c.source) > 80]
            answer = (written or mine or [cell])[-1] if editable else cell
            if written and editable and ([key(c) for c in mine] != [key(cell)] or answer is not mine[0]):
                among = f"the last of {len(written)} cells counts" if len(written) > 1 else "it was in another cell"
                tell(nb, self.log, f"{key(cell)}: repaired, {among}")
            cells[key(cell)] = [nbformat.from_dict({**cell, "source": answer.source})]
            used += written[-1:]
        last = key(given.cells[0])
        for cell in nb.cells:
            last = places.get(key(cell), places.get(cell.get("id"), last))
            if any(cell is c for c in strange) and not any(cell is c for c in used):
                cells[last].append(cell)
        nb.cells = [cell for key_ in cells for cell in cells[key_]]
        return nb, resources


def key(cell: NotebookNode) -> str:
    """nbgrader's id of a cell, else Jupyter's."""
    return str(cell.metadata.get("nbgrader", {}).get("grade_id") or cell.get("id", ""))


def bound(cell: NotebookNode) -> set[str]:
    """Names that a cell of code binds at its top.

    Example:
        >>> sorted(bound(nbformat.v4.new_code_cell("def f(x):\\n    y = 1\\nbest, error = f(2), 3")))
        ['best', 'error', 'f']
    """
    found = BINDS.findall(cell.source) if cell.cell_type == "code" else []
    return {name for match in found for name in match if name}


def names(source: NotebookNode) -> dict[str, set[str]]:
    """For each answer in code: which of the names that the solution binds are used by a check."""
    asked = "\n".join(cell.source for cell in source.cells if is_grade(cell) and cell.cell_type == "code")
    asked = re.sub("#.*", "", asked)
    return {
        key(c): {name for name in bound(c) if re.search(rf"\b{name}\b", asked)} for c in source.cells if is_solution(c)
    }
