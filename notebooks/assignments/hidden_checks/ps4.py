"""Hidden checks of ps4: other tables and features, and which leak was planted."""

from collections.abc import Callable
from typing import Any

import checks
from checking import check, expect

SEEDS = (11, 22)
#: The leak of each program, in their order.
LEAKS = ("statistics", "choice", "copies", "columns")


@check
def uf1(function: Callable[..., Any]) -> None:
    """UF1, of other predictions."""
    for seed in SEEDS:
        checks.check_uf1(function, seed)


@check
def pooled(function: Callable[..., Any]) -> None:
    """Pooled scores, of other predictions."""
    for seed in SEEDS:
        checks.check_pooled(function, seed)


@check
def folds(function: Callable[..., Any]) -> None:
    """Folds, of other subjects."""
    for seed in SEEDS:
        checks.check_folds(function, seed)


@check
def leak(name: str, seed: int) -> None:
    """The leak that was planted for you."""
    expect(name in LEAKS, f"the answer is one of {LEAKS}, got {name!r}")
    expect(name == LEAKS[seed % 4], "another leak was planted for you. Is `me` the name you hand in under?")


@check
def honest(function: Callable[..., Any]) -> None:
    """The repaired evaluation, on other features."""
    for seed in SEEDS:
        checks.check_honest(function, seed)
