"""That the sources of the assignments are sound: they have all parts, solutions get all points, the release none."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import nbformat
import pandas as pd
from nbformat import NotebookNode
from nbgrader.utils import is_grade, is_solution

from course_folder import grade, open_course, read


def check(only: Sequence[str] = (), progress: bool = True) -> pd.DataFrame:
    """Releases the assignments, hands in the solutions and the untouched notebooks, and marks both.

    Args:
        only: Names of assignments; all by default.
        progress: Whether to show a progress bar.

    Returns:
        One row per assignment: points to be had from checks, those of the solution and those of the untouched release.

    Raises:
        ValueError: There is no such assignment, or a source is not sound; the message says which and why.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder, rows = Path(temporary), []
        known = open_course(folder, 1)
        if unknown := {*only} - {*known}:
            raise ValueError(f"{', '.join(sorted(unknown))}: no such assignment; there are {', '.join(known)}")
        names = [name for name in known if not only or name in only]
        for name in names:
            source, released = (read(folder / kind / name / f"{name}.ipynb") for kind in ("source", "release"))
            inspect(name, source, released)
            for student, notebook in (("solution", solve(released, source)), ("untouched", released)):
                path = folder / "submitted" / student / name / f"{name}.ipynb"
                path.parent.mkdir(parents=True)
                nbformat.write(notebook, path)
        table = grade(folder, progress=progress)
        for name in names:
            own = table[(table.assignment == name) & (table.kind == "auto")].groupby("student")
            rows.append({"assignment": name, "of": own.of.sum().max(), **own.points.sum().to_dict()})
    return pd.DataFrame(rows)


def inspect(name: str, source: NotebookNode, released: NotebookNode) -> None:
    """Checks that a source has all its parts and that its release gives nothing away.

    Args:
        name: Of the assignment.
        source: Its notebook with solutions.
        released: What students get.

    Raises:
        ValueError: Something is missing or given away.
    """
    text = "\n".join(cell.source for cell in source.cells)
    given = "\n".join(cell.source for cell in released.cells)
    graded = [cell for cell in source.cells if is_grade(cell)]
    points = sum(cell.metadata.nbgrader.points for cell in graded)
    problems = {
        f"its head does not say '{points:g} points, about … hours'": f"{points:g} points, about" not in text,
        "no question is marked by hand": not any(is_solution(cell) for cell in graded),
        "no rubric": "*Rubric:" not in text,
        "no 'Go further'": "## Go further" not in text,
        "no hidden check": "### BEGIN HIDDEN TESTS" not in text,
        "the release shows hidden checks": "hidden_checks" in given,
        "the release shows solutions": "SOLUTION" in given or any(s in given for s in _solutions(source)),
    }
    found = [problem for problem, there in problems.items() if there]
    if found:
        raise ValueError(f"{name}: {'; '.join(found)}")


def solve(released: NotebookNode, source: NotebookNode, only: Sequence[str] | None = None) -> NotebookNode:
    """The release with the solutions of the source, or with some of them.

    Args:
        released: What students get.
        source: The notebook with solutions.
        only: Ids of the cells to solve, without the assignment's name; all by default.
    """
    solved = nbformat.from_dict(json.loads(json.dumps(released)))
    answers = {cell.metadata.nbgrader.grade_id: cell.source for cell in source.cells if is_solution(cell)}
    for cell in solved.cells:
        if is_solution(cell) and (only is None or cell.metadata.nbgrader.grade_id.split("-", 1)[1] in only):
            cell.source = answers[cell.metadata.nbgrader.grade_id]
    return solved


def _solutions(source: NotebookNode) -> list[str]:
    """Lines that only a solution has."""
    lines = []
    for cell in source.cells:
        if is_solution(cell) and "### BEGIN SOLUTION" in cell.source:
            for part in cell.source.split("### BEGIN SOLUTION")[1:]:
                lines += [line.strip() for line in part.split("### END SOLUTION")[0].splitlines()]
        elif is_solution(cell):
            lines += cell.source.splitlines()
    return [line for line in lines if len(line) > 30]
