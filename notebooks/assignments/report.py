"""What the class got wrong, question by question: `python report.py ps1` writes ps1.html beside the gradebook."""

import sys
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
from nbgrader.api import Gradebook
from nbgrader.utils import is_grade

ABOUT = (
    "<p>Difficulty: share of the points that the class has, 1 is easy. Discrimination: correlation with the "
    "other points; near 0 or below, the question asks something else. Wait: answers without a mark.</p>"
)
COLUMNS = ["student", "question", "points", "of", "message"]


def collect(course: Path, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row per student and question with the check's message, and one per thing that a teacher is told."""
    rows, told = [], []
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        for submission in book.assignment_submissions(name):
            path = course / "autograded" / submission.student.id / name / f"{name}.ipynb"
            if not path.exists():
                told.append((submission.student.id, "NOT MARKED: run `nbgrader autograde` again and read what it says"))
                continue
            marked = nbformat.read(path, 4)
            told += [(submission.student.id, sentence) for sentence in marked.metadata.get("told", [])]
            errors = {c.metadata.nbgrader.grade_id: said(c) for c in marked.cells if is_grade(c)}
            for grade in submission.notebooks[0].grades:
                waits = grade.auto_score is None and grade.manual_score is None
                points = np.nan if waits else float(grade.score)
                rows.append((submission.student.id, grade.name, points, grade.max_score, errors.get(grade.name, "")))
    return pd.DataFrame(rows, columns=COLUMNS), pd.DataFrame(told, columns=["student", "told"])


def said(cell: nbformat.NotebookNode) -> str:
    """The message of a check that failed."""
    return next((o.evalue for o in cell.get("outputs", []) if o.output_type == "error"), "")


def questions(table: pd.DataFrame) -> pd.DataFrame:
    """Difficulty (mean share of the points) and discrimination (correlation with the rest of the points).

    Example:
        >>> rows = [(s, q, p, 1.0, "") for s, q, p in [("a", "x", 1), ("a", "y", 1), ("b", "x", 0), ("b", "y", 0)]]
        >>> questions(pd.DataFrame(rows, columns=COLUMNS)).discrimination.tolist()
        [1.0, 1.0]
    """
    points = table.pivot_table("points", "student", "question").dropna(axis="columns", how="all")
    of = table.groupby("question").of.first()
    rest = points.rsub(points.sum(axis="columns"), axis="index")
    varies = [q for q in points if points[q].std() > 0 and rest[q].std() > 0]
    discrimination = pd.Series({q: points[q].corr(rest[q]) for q in varies}, dtype=float)
    waits = table.points.isna().groupby(table.question).sum()[points.columns]
    difficulty = (points.mean() / of[points.columns]).where(waits == 0)
    result = pd.DataFrame(
        {"of": of[points.columns], "wait": waits, "difficulty": difficulty, "discrimination": discrimination}
    )
    return result.loc[list(dict.fromkeys(q for q in table.question if q in points))].round(2).rename_axis("question")


def misconceptions(table: pd.DataFrame) -> pd.DataFrame:
    """How often each message of a check was seen; numbers in it count as one."""
    failed = table[table.message != ""]
    messages = failed.message.str.replace(r"\d+(\.\d+)?", "…", regex=True)
    counts = failed.assign(message=messages).groupby(["question", "message"]).student.nunique()
    return counts.sort_values(ascending=False).rename("students").reset_index()


def main(course: Path, name: str) -> Path:
    """Writes the page."""
    table, told = collect(course, name)
    parts = {"Questions": questions(table).reset_index(), "Misconceptions": misconceptions(table), "To look at": told}
    tables = "".join(
        f"<h2>{title}</h2>{part.to_html(index=False, escape=True, na_rep='–', justify='left')}"
        for title, part in parts.items()
    )
    page = course / f"{name}.html"
    page.write_text(f"<!doctype html><meta charset=utf-8><title>{name}</title><h1>{name}</h1>{ABOUT}{tables}", "utf-8")
    return page


if __name__ == "__main__":
    print(main(Path.cwd(), sys.argv[1]))
