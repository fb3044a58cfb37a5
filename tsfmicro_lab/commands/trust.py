"""The command `tsfmicro-lab trust`: scores every attribution method against the truth."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from tsfmicro_lab.commands import console, plain_errors


def trust(
    out: Annotated[
        Path, typer.Option(help="Where models and finished parts are kept; models of `compare` there are used.")
    ] = Path("build/compare"),
    save: Annotated[Path | None, typer.Option(help="Where the result goes; a file in --out by default.")] = None,
    subjects: Annotated[int, typer.Option(min=2, help="Synthetic subjects of each seed.")] = 8,
    clips: Annotated[int, typer.Option(min=1, help="Clips of each subject.")] = 12,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds; each draws its own data and weights.")] = 3,
    explained: Annotated[int, typer.Option(min=1, help="Clips of each held-out subject that are explained.")] = 5,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs; those of the tiny recipe by default.")] = None,
    distractors: Annotated[list[str], typer.Option(help="In the clips: none, and then also all.")] = ["none", "all"],  # noqa: B006
    workers: Annotated[int | None, typer.Option(min=1, help="Training processes; one per core by default.")] = None,
) -> None:
    """Score every attribution method against the true motion, and check that it looks at the model. Half an hour."""
    from tsfmicro_lab.studies.stored import writable
    from tsfmicro_lab.studies.trust import measure

    with plain_errors():
        path = writable(save or out / "trust.json")
        result = measure(
            out,
            subjects=subjects,
            clips_per_subject=clips,
            seeds=seeds,
            explained=explained,
            epochs=epochs,
            conditions=distractors,
            workers=workers,
        )
        result.save(path)
    means = result.table()
    table = Table("method", *means.columns, title="how-maps of clips without distractors")
    for method, row in means.iterrows():
        table.add_row(str(method), *("" if value != value else f"{value:.2f}" for value in row))
    console.print(table)
    console.print(f"everything: {path}")
