"""Progress bars, in a terminal and in a notebook alike."""

from collections.abc import Collection, Iterator
from typing import TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

T = TypeVar("T")


def progress_bar(show: bool = True) -> Progress:
    """A rich progress display: what is done, of how much, since when, how long still.

    Args:
        show: False gives a bar that draws nothing.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, disable=not show)


def track(items: Collection[T], description: str, show: bool = True) -> Iterator[T]:
    """Goes through items and shows how far it is.

    Example:
        >>> sum(track([1, 2, 3], "adding", show=False))
        6
    """
    with progress_bar(show) as bar:
        yield from bar.track(items, total=len(items), description=description)
