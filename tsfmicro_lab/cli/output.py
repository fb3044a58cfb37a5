"""What all commands share: how a table is printed, and how an expected error ends a command."""

import sys
from collections.abc import Callable
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from tsfmicro_lab.files import bundled

if TYPE_CHECKING:
    import pandas as pd

Force = Annotated[bool, typer.Option("--force", help="Replace files that are there.")]


class PlainErrors(TyperGroup):
    """Commands that end an expected error with one sentence and exit code 1, without a trace."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the chosen command."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort):  # which are runtime errors, too
            raise
        except (ValueError, OSError, ImportError, RuntimeError, ArithmeticError, MemoryError) as error:
            told = str(error) or "the memory does not suffice: give fewer clips, a smaller preset or fewer workers"
            if isinstance(error, FileExistsError | NotADirectoryError) and error.filename:
                told = f"{error.filename}: a file lies where a folder is needed: give another place"
            typer.secho(told if len(told) < 2000 else f"{told[:2000]} …", fg="red", err=True)
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            typer.secho("stopped; what was finished is kept, and the same command goes on from there", err=True)
            raise typer.Exit(130) from None


def may_write(path: Path | None, force: bool) -> None:
    """Refuses to replace a file that is there, unless it was asked for."""
    if path and path.exists() and not force:
        raise ValueError(f"{path} is there already: give another place, or --force to replace it")


def refuse(command: Callable[..., None], values: dict[str, Any], ignored: str, *names: str) -> None:
    """Refuses values that are not a command's defaults where they change nothing: `ignored`, as `beside --store`."""
    defaults = signature(command).parameters
    if given := [name for name in names if values[name] != defaults[name].default]:
        raise ValueError(f"--{given[0].replace('_', '-')} changes nothing {ignored}: leave it out")


def study(name: str) -> Any:
    """A module of the course's `studies`."""
    sys.path.insert(0, str(bundled("notebooks")))
    return import_module(f"studies.{name}")


def print_table(table: "pd.DataFrame", title: str = "") -> None:
    """Prints a table below its title: numbers with three decimals, columns as wide as they must be.

    Example:
        >>> import pandas as pd
        >>> print_table(pd.DataFrame({"model": ["late", "majority"], "UF1": [0.5, float("nan")]}), "Scores")
        <BLANKLINE>
        Scores
        model     UF1
        late      0.500
        majority  –
    """
    rows = [map(str, table), *(map(_cell, row) for row in table.itertuples(index=False))]
    columns = [[cell.ljust(max(map(len, column))) for cell in column] for column in zip(*rows, strict=True)]
    print("", *([title] if title else []), *map(str.rstrip, map("  ".join, zip(*columns, strict=True))), sep="\n")


def _cell(value: object) -> str:
    return f"{value:.3f}".replace("nan", "–") if isinstance(value, float) else str(value)
