"""`tsfmicro-lab course`: the bundle for students, marks for what they hand in, and a check of the sources."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from tsfmicro_lab.commands import console, plain_errors

app = typer.Typer(help="Assignments: hand out, mark, check. For teachers.", no_args_is_help=True)

Seed = Annotated[int, typer.Option(min=0, help="Seed of the course; every student's data follow from it.")]


@app.command()
def release(
    out: Annotated[Path, typer.Argument(help="New folder for what students get.")],
    seed: Seed = 1,
) -> None:
    """Write the bundle for students: assignments without solutions, the course's notebooks, the lab, instructions."""
    with plain_errors():
        from tsfmicro_lab.assignments.course import release as write

        names = write(out, seed)
    console.print(f"{', '.join(names)} for students: {escape(str(out))}; hand out the whole folder", soft_wrap=True)


@app.command()
def grade(
    folder: Annotated[Path, typer.Argument(help="Course folder; submissions lie in its folder 'submitted'.")],
    seed: Seed = 1,
    force: Annotated[bool, typer.Option(help="Mark again what has been marked.")] = False,
    timeout: Annotated[int, typer.Option(min=1, help="Seconds for a cell.")] = 60,
    seconds: Annotated[int, typer.Option(min=1, help="Seconds for a notebook.")] = 300,
) -> None:
    """Mark submissions; write grades.csv, totals.csv, grades.png, manual.csv and feedback pages."""
    with plain_errors():
        from tsfmicro_lab.assignments.course import grade as mark
        from tsfmicro_lab.assignments.sandbox import protection

        console.print(f"protection: {protection()}", soft_wrap=True)
        marks = mark(folder, seed, force=force, timeout=timeout, seconds=seconds)
    table = Table("student", "assignment", "points", "of", "wait for a mark", "look at")
    for (student, name), rows in marks.groupby(["student", "assignment"]):
        numbers = [f"{rows.points.sum():g}", f"{rows.of.sum():g}", f"{rows[rows.waits].of.sum():g}"]
        table.add_row(escape(str(student)), str(name), *numbers, escape(str(rows.note.iloc[0])))
    console.print(table)
    if marks.waits.any():
        console.print(
            f"give marks by hand in {escape(str(folder / 'manual.csv'))}, then run this again", soft_wrap=True
        )
    console.print(f"feedback pages: {escape(str(folder / 'feedback'))}", soft_wrap=True)


@app.command()
def check(
    only: Annotated[list[str] | None, typer.Argument(help="Assignments; all by default.")] = None,
) -> None:
    """Check the sources: solutions get all points, the untouched release none, and it gives nothing away."""
    with plain_errors():
        from tsfmicro_lab.assignments.soundness import check as run

        result = run(only or [])
    table = Table("assignment", "points by checks", "solution", "untouched")
    for row in result.to_dict("records"):
        table.add_row(str(row["assignment"]), *(f"{row[column]:g}" for column in ("of", "solution", "untouched")))
    console.print(table)
    if (result.solution < result.of).any() or result.untouched.any():
        with plain_errors():
            raise ValueError("a solution lacks points, or an untouched notebook has some: see the table")
