"""The command `tsfmicro-lab displacement`: FRL-DGT's learned displacement against true motion."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from tsfmicro_lab.commands import console, plain_errors


def displacement(
    out: Annotated[Path, typer.Option(help="Where figure and table go.")] = Path("build/displacement"),
    save: Annotated[Path | None, typer.Option(help="Where the result goes; a file in --out by default.")] = None,
    subjects: Annotated[int, typer.Option(min=2, help="Synthetic subjects of each seed; half train.")] = 6,
    clips: Annotated[int, typer.Option(min=1, help="Clips of each subject.")] = 10,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds.")] = 3,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of the training.")] = 16,
) -> None:
    """Compare FRL-DGT's learned displacement and optical flow with the true motion. Twenty minutes on two cores."""
    from tsfmicro_lab.studies.displacement import REFERENCE, example, measure
    from tsfmicro_lab.studies.stored import writable

    with plain_errors():
        path = writable(save or out / "displacement.json")
        picture = writable(out / "displacement.png")
        result = measure(subjects=subjects, clips_per_subject=clips, seeds=seeds, epochs=epochs)
        result.save(path)
        example(subjects, clips, epochs).savefig(picture, dpi=150)
    for what, title in (("expression", "expression, where the face moved"), ("all", "all motion, whole image")):
        means = result.table(what)
        table = Table("method", *means.columns, title=f"end-point error, pixels at {REFERENCE}: {title}")
        for method, row in means.iterrows():
            table.add_row(str(method), *row)
        console.print(table)
    console.print(f"everything: {path}; one clip: {picture}")
