"""Hidden checks of ps2: other sequences, forgetting all and forgetting nothing."""

from collections.abc import Callable
from typing import Any

import torch

import checks
from checking import check, compare

SEEDS = (811, 822)


def _edges(function: Callable[..., Any], *more: int) -> None:
    q, k, v = torch.randn(3, 9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    seen = torch.ones(9, 9, dtype=torch.float64).tril()  # at 1 everything before, at 0 only oneself
    for gamma, decay in ((0.0, torch.eye(9, dtype=torch.float64)), (1.0, seen)):
        true = (q @ k.mT * decay) @ v
        compare(function(q, k, v, gamma, *more), true, {}, f"the output at gamma = {gamma:g}")


@check
def parallel(function: Callable[..., Any]) -> None:
    """The parallel form, of other sequences."""
    for seed in SEEDS:
        checks.check_parallel(function, seed)
    _edges(function)


@check
def recurrent(function: Callable[..., Any]) -> None:
    """The recurrent form, of other sequences."""
    for seed in SEEDS:
        checks.check_recurrent(function, seed)
    _edges(function)


@check
def chunkwise(function: Callable[..., Any]) -> None:
    """The chunkwise form, of other sequences."""
    for seed in SEEDS:
        checks.check_chunkwise(function, seed)
    _edges(function, 4)


@check
def manhattan(function: Callable[..., Any]) -> None:
    """The Manhattan mask, of other grids."""
    for seed in SEEDS:
        checks.check_manhattan(function, seed)


@check
def cost(function: Callable[..., Any]) -> None:
    """The cost, at other sizes."""
    for seed in SEEDS:
        checks.check_cost(function, seed)


@check
def crossing(n: int, d: int) -> None:
    """The length from which the recurrent form is cheaper, at your own width."""
    mistakes = {"at that length both cost the same: from the next one on it is cheaper": d}
    compare(n, d + 1, mistakes, "the length", tolerance=1e-9, hint="Compare 2 n² d with 2 n d². Is `me` your name?")
