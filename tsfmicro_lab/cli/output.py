"""What all commands share: how a table is printed, and how an expected error ends a command."""

from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    import pandas as pd


class PlainErrors(TyperGroup):
    """Commands that end an expected error with one sentence and exit code 1, without a trace."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the chosen command."""
        try:
            return super().invoke(ctx)
        except (ValueError, OSError, ImportError) as error:
            typer.secho(str(error), fg="red", err=True)
            raise typer.Exit(1) from error


def print_table(table: "pd.DataFrame", title: str = "") -> None:
    """Prints a table: numbers with three decimals, columns as wide as they must be.

    Args:
        table: The table.
        title: Said above it.

    Example:
        >>> import pandas as pd
        >>> print_table(pd.DataFrame({"model": ["late", "majority"], "UF1": [0.5, float("nan")]}), "Scores")
        <BLANKLINE>
        Scores
        model     UF1
        late      0.500
        majority  –
    """
    cells = [[_cell(value) for value in row] for row in table.itertuples(index=False)]
    rows = [[str(name) for name in table], *cells]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    print("\n".join(["", *([title] if title else []), *lines]))


def _cell(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3f}" if value == value else "–"
