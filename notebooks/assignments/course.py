"""The bundle for students, marks for what they hand in, and a check of the sources.

python notebooks/assignments/course.py release OUT | grade FOLDER | check
"""

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from tsfmicro_lab.cli.output import PlainErrors, print_table

app = typer.Typer(
    help="Assignments: hand out, mark, check. For teachers.",
    cls=PlainErrors,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Seed = Annotated[int, typer.Option(min=0, help="Seed of the course; every student's data follow from it.")]


@app.command()
def release(
    out: Annotated[Path, typer.Argument(help="New folder for what students get.")],
    seed: Seed = 1,
) -> None:
    """Write the bundle for students: assignments without solutions, the course's notebooks, the lab, instructions."""
    from course_folder import release as write

    names = write(out, seed)
    typer.echo(f"{', '.join(names)} for students: {out}; hand out the whole folder")


@app.command()
def grade(
    folder: Annotated[Path, typer.Argument(help="Course folder; submissions lie in its folder 'submitted'.")],
    seed: Seed = 1,
    force: Annotated[bool, typer.Option(help="Mark again what has been marked.")] = False,
    timeout: Annotated[int, typer.Option(min=1, help="Seconds for a cell.")] = 60,
    seconds: Annotated[int, typer.Option(min=1, help="Seconds for a notebook.")] = 300,
) -> None:
    """Mark submissions; write grades.csv, totals.csv, grades.png, manual.csv and feedback pages."""
    from course_folder import grade as mark
    from sandbox import protection

    typer.echo(f"protection: {protection()}")
    marks = mark(folder, seed, force=force, timeout=timeout, seconds=seconds)
    rows = [
        {
            "student": student,
            "assignment": name,
            "points": f"{rows.points.sum():g}",
            "of": f"{rows.of.sum():g}",
            "wait for a mark": f"{rows[rows.waits].of.sum():g}",
            "look at": rows.note.iloc[0],
        }
        for (student, name), rows in marks.groupby(["student", "assignment"])
    ]
    print_table(pd.DataFrame(rows))
    if marks.waits.any():
        typer.echo(f"give marks by hand in {folder / 'manual.csv'}, then run this again")
    typer.echo(f"feedback pages: {folder / 'feedback'}")


@app.command()
def check(
    only: Annotated[list[str] | None, typer.Argument(help="Assignments; all by default.")] = None,
) -> None:
    """Check the sources: solutions get all points, the untouched release none, and it gives nothing away."""
    from soundness import check as run

    result = run(only or [])
    points = result.set_index("assignment").rename(columns={"of": "points by checks"}).map("{:g}".format)
    print_table(points.reset_index())
    if (result.solution < result["of"]).any() or result.untouched.any():
        raise ValueError("a solution lacks points, or an untouched notebook has some: see the table")


if __name__ == "__main__":
    app()
