"""Hidden checks of ps5: other models, maps and places, and where the shortcut was planted."""

from collections.abc import Callable
from typing import Any

import checks
from checking import check, expect

SEEDS = (51, 52)


@check
def integrated_gradients(function: Callable[..., Any]) -> None:
    """Integrated gradients, of other models."""
    for seed in SEEDS:
        checks.check_integrated_gradients(function, seed)


@check
def score(function: Callable[..., Any]) -> None:
    """The score, of other maps."""
    for seed in SEEDS:
        checks.check_score(function, seed)


@check
def cover(function: Callable[..., Any]) -> None:
    """Covering, at other places."""
    for seed in SEEDS:
        checks.check_cover(function, seed)


@check
def shortcut(stream: str, y: int, x: int, seed: int) -> None:
    """The shortcut that was planted for you."""
    true_y, true_x = checks.PLACES[seed % 4]
    expect(stream in ("onset", "difference"), f"the stream is 'onset' or 'difference', got {stream!r}")
    right = stream == ("difference" if seed // 4 % 2 else "onset")
    swapped = max(abs(y - true_x), abs(x - true_y)) <= 6 < max(abs(y - true_y), abs(x - true_x))
    expect(not swapped, "y and x are swapped: y counts rows from the top")
    near = max(abs(y - true_y), abs(x - true_x)) <= 6
    expect(near, f"there is nothing special at y = {y}, x = {x}: average the maps of several clips. Is `me` your name?")
    expect(right, f"the place is right, but the model reads it from another stream than the {stream} frame")


@check
def effect(before: float, after: float) -> None:
    """The shortcut carries the accuracy."""
    expect(0 <= after <= 1 and 0 <= before <= 1, "accuracies lie between 0 and 1")
    expect(before >= 0.7, f"the model's accuracy was {before:.0%} only: train it as the notebook says")
    expect(
        before - after >= 0.2, "covering the place hardly changes the accuracy: is it the right one, in both frames?"
    )
