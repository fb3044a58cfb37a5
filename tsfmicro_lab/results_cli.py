"""`tsfmicro-lab leakage`, `score` and `results`: what a protocol adds, what predictions are worth, what there is."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

console = Console()


def leakage(
    out: Annotated[Path, typer.Option("--out", help="Finished experiments; it goes on from there.")] = Path(
        "build/leakage"
    ),
    save: Annotated[Path | None, typer.Option(help="Where the result goes; a file in --out by default.")] = None,
    subjects: Annotated[int, typer.Option(min=4, help="Synthetic subjects of each seed.")] = 8,
    clips: Annotated[int, typer.Option(min=6, help="Clips of each subject.")] = 12,
    seeds: Annotated[int, typer.Option(min=2, help="Number of seeds; each draws its own everything.")] = 5,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs; 40 by default.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Training processes; one per core by default.")] = None,
) -> None:
    """Measure what each leak adds to the score, on true labels and on noise. About an hour on two cores."""
    from tsfmicro_lab.leakage_runs import measure

    result = measure(out, subjects=subjects, clips_per_subject=clips, seeds=seeds, epochs=epochs, workers=workers)
    path = save or out / "leakage.json"
    result.save(path)
    console.print(f"everything: {path}")
