"""Hidden checks of ps1: other faces, and the student's own clip."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tsfmicro_lab.data import SyntheticMicroExpressions
from tsfmicro_lab.preprocess import FLOWS, align_clip, endpoint_error, optical_flow

import checks
from checking import check, compare, expect

SEEDS = (711, 722)


@check
def align(function: Callable[..., Any]) -> None:
    """Alignment, on other faces."""
    for seed in SEEDS:
        checks.check_align(function, seed)


@check
def difference(function: Callable[..., Any]) -> None:
    """Difference frames, of other frames."""
    for seed in SEEDS:
        checks.check_difference(function, seed)
    grey = np.full((4, 4, 3), 9, np.uint8)
    expect(not np.asarray(function(grey, grey)).any(), "identical frames must give a difference of exactly zero")


@check
def spot_apex(function: Callable[..., Any]) -> None:
    """Apexes, of other clips."""
    for seed in SEEDS:
        checks.check_spot_apex(function, seed)


@check
def endpoint(function: Callable[..., Any]) -> None:
    """End-point errors, of other flows."""
    for seed in SEEDS:
        checks.check_endpoint_error(function, seed)


@check
def best_flow(name: str, error: float, seed: int) -> None:
    """The best flow on your own clip, and its error."""
    clip = align_clip(SyntheticMicroExpressions(1, 1, 128, seed, amplitude=(2.0, 3.0))[0], 112)
    assert clip.truth is not None
    onset, apex = map(clip.frame, clip.key_frames)
    errors = {
        m: float(endpoint_error(optical_flow(onset, apex, m), clip.truth.field)[clip.truth.moved].mean()) for m in FLOWS
    }
    best = min(errors, key=lambda m: errors[m])
    expect(name in errors, f"the flow is one of {list(errors)}, got {name!r}")
    expect(errors[name] <= errors[best] + 0.005, f"on your clip another flow is better than {name}")
    whole = float(endpoint_error(optical_flow(onset, apex, name), clip.truth.field).mean())
    mistakes = {"that is the error over the whole picture, not inside truth.moved": whole}
    compare(
        error, errors[name], mistakes, "the error, pixels", tolerance=0.02, hint="Is `me` the name you hand in under?"
    )
