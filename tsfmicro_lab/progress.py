"""Progress bars, in a terminal and in a notebook alike."""

from collections.abc import Collection, Iterator
from typing import Any, TypeVar

from tqdm.auto import tqdm

T = TypeVar("T")


def progress_bar(total: int, description: str, show: bool = True) -> Any:
    """A bar that is moved by hand, a step at a time.

    Args:
        total: Steps to be done.
        description: What is done.
        show: False gives a bar that draws nothing.

    Example:
        >>> with progress_bar(2, "counting", show=False) as bar:
        ...     bar.update()
    """
    return tqdm(total=total, desc=description, disable=not show)


def track(items: Collection[T], description: str, show: bool = True) -> Iterator[T]:
    """Goes through items and shows how far it is.

    Args:
        items: What to go through.
        description: What is done.
        show: False draws nothing.

    Example:
        >>> sum(track([1, 2, 3], "adding", show=False))
        6
    """
    yield from tqdm(items, desc=description, disable=not show)
