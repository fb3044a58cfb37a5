"""Intervals over seeds and subjects of whatever a study measures clip by clip."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tsfmicro_lab.training.statistics import Errors, ends, two_levels


def group_interval(
    seeds: Sequence[Sequence[np.ndarray]],
    statistic: Callable[[np.ndarray], Any] = np.mean,
    *,
    same_people: bool = False,
    level: float = 0.95,
) -> tuple[float, float, float]:
    """A mean, or another statistic, averaged over seeds, with a t interval: seeds outside, subjects inside.

    Subjects count by the jackknife (each is left out once), which suits means and correlations; of a median it is rough
    if subjects have few clips. See :func:`~tsfmicro_lab.training.statistics.two_levels`.

    Args:
        seeds: Rows of each subject, of each seed.
        statistic: Of the rows of all subjects of a seed, joined.
        same_people: Whether all seeds have the same subjects, in the same order.
        level: Confidence level.

    Returns:
        (statistic, lower end, upper end); NaN ends where a seed has fewer than two subjects.

    Example:
        >>> clips = [np.array([0.1, 0.3]), np.array([0.4]), np.array([0.2, 0.2])]
        >>> "{:.2f} ({:.2f} to {:.2f})".format(*group_interval([clips]))
        '0.24 (0.05 to 0.43)'
    """
    scores = np.array([statistic(np.concatenate(groups)) for groups in seeds], float)
    if min(map(len, seeds)) < 2:
        return float(scores.mean()), float("nan"), float("nan")
    pseudo = []
    for score, groups in zip(scores, seeds, strict=True):
        others = [statistic(np.concatenate([*groups[:i], *groups[i + 1 :]])) for i in range(len(groups))]
        pseudo.append(len(groups) * score - (len(groups) - 1) * np.array(others))
    low, high = ends(scores.mean(), two_levels(scores, pseudo, same_people), level)
    return float(scores.mean()), float(low), float(high)


def p_told(p: float) -> str:
    """A p-value as tables print it: NaN as nothing, and one near 0.05 with the digit that tells its side."""
    if np.isnan(p):
        return ""
    return "<0.001" if p < 0.001 else f"{p:.4f}" if f"{p:.3f}" == "0.050" else f"{p:.3f}"


def over_seeds(values: pd.Series) -> tuple[float, Errors]:
    """A mean over seeds and its error, as :func:`~tsfmicro_lab.training.statistics.corrected` takes them."""
    return float(values.mean()), [(values.var() / len(values), len(values) - 1.0)]
