"""The command `tsfmicro-lab data prepare`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape


def prepare_command(
    out: Annotated[Path, typer.Option("--out", help="Where stores lie.")] = Path("build/stores"),
    size: Annotated[int, typer.Option(min=16, max=1024, help="Side of the aligned frames, pixels.")] = 56,
    target: Annotated[str, typer.Option(help="Labels: emotion (five classes) or emotion_megc (three).")] = "emotion",
    subjects: Annotated[int, typer.Option(min=1, help="Synthetic subjects.")] = 8,
    clips: Annotated[int, typer.Option(min=1, help="Clips of each subject.")] = 12,
    seed: int = 0,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one per core by default.")] = None,
) -> None:
    """Align the synthetic clips into one memory-mapped file; goes on where it was interrupted."""
    from tsfmicro_lab.data import SyntheticMicroExpressions, prepare_store

    try:
        data = SyntheticMicroExpressions(subjects, clips, seed=seed)
        place = prepare_store(data, size, out, target=target, workers=workers)
    except (ValueError, OSError, ImportError) as error:
        Console().print(f"[red]{escape(str(error))}[/]")
        raise typer.Exit(1) from error
    Console().print(f"store: {escape(str(place))}", soft_wrap=True)
