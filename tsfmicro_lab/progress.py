"""Progress bars, in a terminal and in a notebook alike."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from tqdm.auto import tqdm

T = TypeVar("T")


def progress_bar(total: int, description: str, show: bool = True) -> Any:
    """A bar of `total` steps that is moved by hand: `bar.update()`."""
    return tqdm(total=total, desc=description, disable=not show)


def track(items: Iterable[T], description: str, show: bool = True, total: int | None = None) -> Iterator[T]:
    """Goes through items and shows how far it is; `total` counts what has no length.

    Example:
        >>> sum(track([1, 2, 3], "adding", show=False))
        6
    """
    yield from tqdm(items, desc=description, disable=not show, total=total)
