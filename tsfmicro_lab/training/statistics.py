"""How sure a score is: bootstrap intervals over subjects."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import bootstrap

from tsfmicro_lab.training.metrics import confusion


def subject_interval(
    predictions: pd.DataFrame,
    classes: Sequence[str],
    *,
    against: pd.DataFrame | None = None,
    level: float = 0.95,
    resamples: int = 4000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """UF1, mean over seeds, with a bootstrap interval over subjects; or the gain in UF1 over another model.

    Clips of one person resemble each other, so whole subjects are drawn again with replacement, within each seed, and
    their predictions pooled. The interval says how much the score hangs on who took part. With two models the same
    subjects are drawn for both, which takes out what makes a subject easy or hard for either. Percentile interval,
    computed by `scipy.stats.bootstrap`.

    Args:
        predictions: Columns `seed`, `subject`, `truth`, `predicted` (see `cross_validate`), one model.
        classes: All classes. One that a draw neither holds nor predicts is left out of its mean.
        against: Predictions of another model on the same subjects.
        level: Confidence level.
        resamples: Number of draws.
        seed: Of the draws.

    Returns:
        (UF1 or gain, lower end, upper end).

    Raises:
        ValueError: There are fewer than two subjects, or the two tables do not hold the same ones.

    Example:
        >>> rows = [(0, s, t, t) for s in "abc" for t in ("x", "y")]
        >>> subject_interval(pd.DataFrame(rows, columns=["seed", "subject", "truth", "predicted"]), ["x", "y"])
        (1.0, 1.0, 1.0)
    """
    first = _counts(predictions, classes)
    second = _counts(against, classes) if against is not None else None
    if against is not None and _who(predictions) != _who(against):
        raise ValueError("the two tables hold different seeds or subjects: a gain needs the same folds in both")
    if min(map(len, first)) < 2:
        raise ValueError("an interval over subjects needs at least 2 of them in every seed")

    def statistic(*drawn: np.ndarray, axis: int = -1) -> np.ndarray:
        score = _mean_uf1(first, drawn)
        return np.asarray(score - _mean_uf1(second, drawn)) if second else score

    everyone = [np.arange(len(c)) for c in first]
    result = bootstrap(
        everyone,
        statistic,
        n_resamples=resamples,
        vectorized=True,
        batch=1000,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    low, high = result.confidence_interval
    return float(statistic(*everyone)), float(low), float(high)


def group_interval(
    groups: Sequence[np.ndarray],
    statistic: Callable[[np.ndarray], float] | None = None,
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """A mean, or another statistic, with a bootstrap interval over groups such as subjects: whole ones are drawn again.

    Args:
        groups: Rows of each group.
        statistic: Of all rows joined; their mean by default, which is faster.
        level: Confidence level.
        resamples: Number of draws.
        seed: Of the draws.

    Returns:
        (statistic, lower end, upper end), percentile interval; NaN ends for fewer than two groups.

    Example:
        >>> group_interval([np.array([1.0, 3.0]), np.array([2.0, 2.0])])
        (2.0, 2.0, 2.0)
    """
    middle = float((statistic or np.mean)(np.concatenate(groups)))
    if len(groups) < 2:
        return middle, float("nan"), float("nan")
    draws = np.random.default_rng(seed).integers(len(groups), size=(resamples, len(groups)))
    if statistic is None:
        sums, counts = (np.array([f(g) for g in groups]) for f in (np.sum, len))
        drawn = sums[draws].sum(1) / counts[draws].sum(1)
    else:
        drawn = np.array([statistic(np.concatenate([groups[i] for i in draw])) for draw in draws])
    low, high = np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return middle, float(low), float(high)


def _who(predictions: pd.DataFrame) -> set[tuple[object, ...]]:
    return set(predictions[["seed", "subject"]].itertuples(index=False, name=None))


def _counts(predictions: pd.DataFrame, classes: Sequence[str]) -> list[np.ndarray]:
    """Per seed, the confusion matrix of each subject: (subjects, classes, classes)."""
    return [
        np.stack([confusion(rows, classes) for _, rows in one_seed.groupby("subject")])
        for _, one_seed in predictions.groupby("seed")
    ]


def _mean_uf1(counts: list[np.ndarray], drawn: Sequence[np.ndarray]) -> Float[np.ndarray, "*draws"]:
    scores = []
    for per_subject, subjects in zip(counts, drawn, strict=True):
        pooled = per_subject[subjects].sum(-3)
        right = np.diagonal(pooled, axis1=-2, axis2=-1)
        seen = pooled.sum(-1) + pooled.sum(-2)  # 2 TP + FP + FN
        f1 = np.where(seen > 0, 2 * right / np.maximum(seen, 1), np.nan)
        scores.append(np.nanmean(f1, -1))
    return np.asarray(np.mean(scores, 0))
