"""What was handed in and what it is worth: from nbgrader's gradebook to tables, a picture, and marks given by hand."""

import html
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from nbformat import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.apps import NbGraderAPI
from nbgrader.utils import is_grade, is_locked, is_solution

from checking import plain

COLUMNS = ["student", "assignment", "question", "kind", "points", "of", "waits", "note"]
MANUAL = ["student", "assignment", "question", "points", "of", "comment"]
#: What outputs tell of a cell that was stopped.
STOPPED = {
    "Stopped": "a cell ended the program",
    "CellTimeoutError": "a cell ran too long",
    "MemoryError": "out of memory",
}


#: Code that has the check functions in view: imports them, looks for their modules or files.
NAMES_CHECKS = r"""hidden_checks|(?:\bimport\s[^\n#]*|\bfrom\s+|['"/])check(?:s|ing)\b"""


def sort_in(submitted: Path, names: Sequence[str]) -> list[tuple[str, str]]:
    """Brings what was handed in to where nbgrader looks for it, and lists it.

    Args:
        submitted: Folder with `NAME_psN.ipynb`, `NAME/psN.ipynb` or `NAME/psN/psN.ipynb`.
        names: Of the assignments.

    Returns:
        (student, assignment) of every submission.

    Raises:
        ValueError: A name is no name of a student or assignment.
    """
    for path in sorted([*submitted.glob("*.ipynb"), *submitted.glob("*/*.ipynb")]):
        student, _, name = path.stem.rpartition("_") if path.parent == submitted else (path.parent.name, "", path.stem)
        name = re.sub(r"[ (-].*", "", name)  # "ps1 (1)", "ps1-Copy1"
        if name not in names or not student:
            raise ValueError(
                f"{path} is of no known assignment: name it STUDENT_{names[0]}.ipynb, as one of {list(names)}"
            )
        target = submitted / _safe(student.replace(" ", "_")) / name / f"{name}.ipynb"
        if target.exists():
            raise ValueError(f"{path}: {student} has handed in {name} already; keep one of the two")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, target)
    found = [(p.parents[1].name, p.parent.name) for p in submitted.glob("*/*/*.ipynb") if p.stem == p.parent.name]
    unpacked = sorted(p.name for p in submitted.iterdir() if p.is_file() and not p.name.startswith("."))
    if unpacked or not found:
        raise ValueError(
            f"{submitted} holds {', '.join(unpacked[:3]) or 'no notebook'}: unpack archives, move other files away, "
            f"and leave notebooks as NAME_{names[0]}.ipynb or NAME/{names[0]}.ipynb"
        )
    return sorted((_safe(student), name) for student, name in found if name in names)


def _safe(student: str) -> str:
    """The name, unless it could be anything but a folder's."""
    if not re.fullmatch(r"\w[\w.-]*", student):
        raise ValueError(f"'{student}' cannot be a name here: use letters, digits, '.', '-' and '_'")
    return student


def nothing(api: NbGraderAPI, folder: Path, student: str, name: str, why: str) -> None:
    """Gives no points to a submission that cannot be run, and writes a page that says why."""
    with api.gradebook as book:
        book.update_or_create_student(student)
        for notebook in book.update_or_create_submission(name, student).notebooks:
            for grade in notebook.grades:
                grade.auto_score, grade.needs_manual_grade = 0, False
        book.db.commit()
    page = folder / "feedback" / student / name / f"{name}.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(f"<!doctype html><meta charset=utf-8><title>{name}</title><p>0 points: {html.escape(why)}</p>")


def collect(api: NbGraderAPI, handed_in: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """One row per submission and question, after the marks of `manual.csv` are entered.

    Args:
        api: nbgrader, at the course folder.
        handed_in: (student, assignment) of every submission.

    Returns:
        Columns `student, assignment, question, kind, points, of, waits, note`; `waits` for a mark by hand.

    Raises:
        ValueError: A mark in `manual.csv` is wrong.
    """
    folder, rows = Path(api.coursedir.root), []
    with api.gradebook as book:
        enter_manual(book, folder / "manual.csv")
        for student, name in handed_in:
            note = notes(folder, student, name)
            for grade in book.find_submission_notebook(name, name, student).grades:
                kind = "auto" if grade.cell.cell_type == "code" else "manual"
                question, waits = grade.name.removeprefix(f"{name}-"), bool(grade.needs_manual_grade)
                rows.append((student, name, question, kind, float(grade.score), grade.max_score, waits, note))
    return pd.DataFrame(rows, columns=COLUMNS)


def enter_manual(book: Gradebook, path: Path) -> None:
    """Enters marks and comments that a teacher wrote into `manual.csv`.

    Raises:
        ValueError: A mark is no number between 0 and the points of its question, or its question is not known.
    """
    if not path.exists():
        return
    given = pd.read_csv(path, dtype={"student": str, "comment": str}).dropna(subset=["points"])
    for row in given.astype(object).to_dict("records"):
        student, name, cell = str(row["student"]), str(row["assignment"]), f"{row['assignment']}-{row['question']}"
        try:
            grade = book.find_grade(cell, name, name, student)
            points = float(str(row["points"]))
        except Exception as error:
            raise ValueError(f"{path}: {student}, {cell}: {error}; correct or delete the row") from error
        if not 0 <= points <= grade.max_score:
            raise ValueError(f"{path}: {student}, {cell}: {points:g} points of {grade.max_score:g}; correct the row")
        grade.manual_score, grade.needs_manual_grade = points, False
        if isinstance(row["comment"], str):
            book.find_comment(cell, name, name, student).manual_comment = row["comment"]
    book.db.commit()


def write(folder: Path, table: pd.DataFrame) -> None:
    """Writes `grades.csv`, `totals.csv`, `grades.png`, and the rows of `manual.csv` that wait for a mark."""
    table.to_csv(folder / "grades.csv", index=False)
    totals = table.pivot_table(index="student", columns="assignment", values="points", aggfunc="sum")
    totals.to_csv(folder / "totals.csv")
    class_figure(table).savefig(folder / "grades.png", dpi=110)
    waiting = table[table.waits].assign(points=np.nan, comment="")[MANUAL]
    path = folder / "manual.csv"
    known = [pd.read_csv(path, dtype={"student": str})] if path.exists() else []
    both = pd.concat([*known, waiting]) if len(waiting) or known else waiting
    both.drop_duplicates(MANUAL[:3]).to_csv(path, index=False)


def class_figure(table: pd.DataFrame) -> Figure:
    """The class, question by question: a bar is the mean share of the points, a dot is a student.

    Args:
        table: From :func:`collect`.

    Example:
        >>> rows = [("ada", "ps1", "align-check", "auto", 2.0, 3.0, False, "")]
        >>> len(class_figure(pd.DataFrame(rows, columns=COLUMNS)).axes)
        1
    """
    groups = list(table.assign(share=table.points / table.of).groupby("assignment"))
    figure = Figure(figsize=(9, 2.8 * len(groups)), layout="constrained")
    for axes, (name, rows) in zip(np.ravel(figure.subplots(len(groups), 1)), groups, strict=True):
        questions = list(dict.fromkeys(rows.question))
        place = rows.question.map(questions.index)
        spread = rows.student.map({s: i for i, s in enumerate(sorted(set(rows.student)))})
        spread = 0.6 * (spread / max(spread.max(), 1) - 0.5)
        axes.bar(range(len(questions)), rows.groupby("question").share.mean()[questions], color="#b7cbe3")
        marked = ~rows.waits
        axes.plot((place + spread)[marked], rows.share[marked], ".", color="#1f4e8c")
        of = rows.groupby("question").of.first()
        axes.set_xticks(range(len(questions)), [f"{q}\n({of[q]:g})".replace("-", "\n") for q in questions], fontsize=8)
        axes.set_ylim(-0.08, 1.08)
        axes.set_ylabel("share of points")
        axes.set_title(f"{name}: {rows.student.nunique()} students, {int(rows.waits.sum())} answers wait for a mark")
    return figure


def notes(folder: Path, student: str, name: str) -> str:
    """What a teacher should look at in a submission: cells that were stopped, edited tests, a foreign name."""
    submitted, marked = (folder / kind / student / name / f"{name}.ipynb" for kind in ("submitted", "autograded"))
    if not marked.exists():
        return "could not be run, see its feedback"
    handed, run = (nbformat.read(path, as_version=4) for path in (submitted, marked))
    errors = {o.ename for cell in run.cells for o in cell.get("outputs", []) if o.output_type == "error"}
    found = [text for error, text in STOPPED.items() if error in errors]
    before, after = _locked(handed), _locked(run)
    edited = [i for i in after if before.get(i, "").strip() != _shown(after[i])]
    found += [f"edited or deleted, and restored: {', '.join(edited)}"] if edited else []
    own = "\n".join(c.source for c in handed.cells if not is_locked(c) and not (is_grade(c) and not is_solution(c)))
    found += ["names the checks"] if re.search(NAMES_CHECKS, own) else []
    said = re.search(r"^me = ['\"](.*?)['\"]", own, re.MULTILINE)
    if said and plain(said[1]) != plain(student):
        found.append(f"gave the name '{said[1]}': numbers typed in for it fit other data")
    return "; ".join(found)


def _locked(notebook: NotebookNode) -> dict[str, str]:
    return {c.metadata.nbgrader.grade_id: c.source for c in notebook.cells if is_locked(c)}


def _shown(source: str) -> str:
    """What a student sees of a cell with a hidden region."""
    return re.sub(r"### BEGIN HIDDEN TESTS\n.*?### END HIDDEN TESTS", "", source, flags=re.DOTALL).strip()
