"""Commands of the command line that want a file of their own, and how all of them end when something is wrong."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.markup import escape

console = Console()


@contextmanager
def plain_errors() -> Iterator[None]:
    """Tells an expected error in one sentence, without a trace, and ends."""
    try:
        yield
    except (ValueError, OSError, ImportError) as error:
        console.print(f"[red]{escape(str(error))}[/]", soft_wrap=True)
        raise typer.Exit(1) from error
