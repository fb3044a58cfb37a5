"""What the scripts of this folder share: their options, and how an expected error ends them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[Path, typer.Option(help="Where finished parts are kept; an unfinished run goes on from there.")]
Save = Annotated[Path | None, typer.Option(help="Where the result goes; a file in --out by default.")]
Subjects = Annotated[int, typer.Option(min=2, help="Synthetic subjects of each seed.")]
Clips = Annotated[int, typer.Option(min=1, help="Clips of each subject.")]
Seeds = Annotated[int, typer.Option(min=1, help="Number of seeds; each draws its own data and weights.")]
Preset = Annotated[str, typer.Option(help="Size: tiny, small or base.")]
Epochs = Annotated[int | None, typer.Option(min=1, help="Epochs; those of the recipe by default.")]
Accelerator = Annotated[str, typer.Option(help="cpu, cuda, mps or auto.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Training processes; one per core by default.")]


@contextmanager
def one_sentence() -> Iterator[None]:
    """Ends the script with the sentence of an expected error, without a trace."""
    try:
        yield
    except (typer.Exit, typer.Abort):  # which are runtime errors, too
        raise
    except (ValueError, OSError, ImportError, RuntimeError, ArithmeticError, MemoryError) as error:
        sys.exit(str(error) or "the memory does not suffice: give fewer clips or workers")
