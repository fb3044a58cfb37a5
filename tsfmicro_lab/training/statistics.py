"""How sure a score is: bootstrap intervals over subjects, paired tests, and what a number of subjects can show."""

from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from tsfmicro_lab.training.metrics import confusion, has_units, score_table, uf1_of_counts


def subject_interval(
    predictions: pd.DataFrame,
    classes: Sequence[str],
    *,
    against: pd.DataFrame | None = None,
    same_people: bool = False,
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
        same_people: Whether the seeds tested the same subjects, as on recordings. They are then drawn for all seeds at
            once; synthetic subjects are others in each seed.
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
    value, found = _subject_bootstrap(predictions, classes, against, same_people, level, resamples, seed)
    return value, float(found.confidence_interval.low), float(found.confidence_interval.high)


def paired_test(
    predictions: pd.DataFrame,
    against: pd.DataFrame,
    classes: Sequence[str],
    *,
    same_people: bool = False,
    resamples: int = 4000,
    seed: int = 0,
) -> float:
    """How often a gain in UF1 as large as this one, either way, would come of two models that are equally good.

    If they are, it makes no difference which of the two predicted a subject: so the models swap their predictions of
    whole subjects at random, and the gain is computed anew (a paired permutation test, `scipy.stats.permutation_test`).

    Args:
        predictions: As for :func:`subject_interval`.
        against: Of the other model.
        classes: All classes.
        same_people: Whether the seeds tested the same subjects, who then swap in all seeds at once.
        resamples: Number of swaps; all there are, if they are fewer.
        seed: Of the swaps.

    Returns:
        p, two-sided.

    Raises:
        ValueError: The tables do not hold the same subjects.

    Example:
        >>> rows = [(0, s, t, t) for s in "abcdef" for t in ("x", "y")]
        >>> right = pd.DataFrame(rows, columns=["seed", "subject", "truth", "predicted"])
        >>> paired_test(right, right.assign(predicted="x"), ["x", "y"])
        0.03125
    """
    from scipy.stats import permutation_test

    pairs = zip(*_pair(predictions, against, classes, same_people), strict=True)
    both = [np.stack(two) for two in pairs]  # (2 models, subjects, …) of each sample
    ends = np.cumsum([counts.shape[1] for counts in both])
    zeros = np.zeros(ends[-1], int)

    def gain(one: np.ndarray, two: np.ndarray, axis: int = -1) -> Any:
        return mean_uf1(np.moveaxis(one, axis, -1)) - mean_uf1(np.moveaxis(two, axis, -1))

    def mean_uf1(who: np.ndarray) -> np.ndarray:
        """Score of predictions that come, subject by subject, from model 0 or 1."""
        parts = np.split(who.astype(int), ends[:-1], -1)
        return _mean_uf1([counts[part, np.arange(counts.shape[1])] for counts, part in zip(both, parts, strict=True)])

    options: dict[str, Any] = {"permutation_type": "samples", "vectorized": True, "batch": 500}
    whose = zeros, zeros + 1  # predictions that stand for the first and for the second model
    result = permutation_test(whose, gain, n_resamples=resamples, rng=np.random.default_rng(seed), **options)
    return float(result.pvalue)


def compare_models(predictions: pd.DataFrame, against: str, classes: Sequence[str], **options: Any) -> pd.DataFrame:
    """Gain of every model over one of them, with interval and p, corrected for their number.

    The correction is Holm's (1979): the smallest p times the number of tests, the next times one fewer, and so on.

    Args:
        predictions: Columns `model`, `seed`, `subject`, `truth`, `predicted`.
        against: Name of the model that the others are compared with.
        classes: All classes.
        **options: `same_people`, `resamples`, `seed`.

    Returns:
        One row per other model: `model`, `gain`, `low`, `high`, `p`, `p_holm`.

    Raises:
        ValueError: There is no such model, or the models did not test the same subjects.
    """
    groups = dict(list(predictions.groupby("model", sort=False)))
    if against not in groups:
        raise ValueError(f"no model '{against}': choose from {', '.join(map(str, groups))}")
    base = groups.pop(against)
    rows = [
        (name, *subject_interval(g, classes, against=base, **options), paired_test(g, base, classes, **options))
        for name, g in groups.items()
    ]
    table = pd.DataFrame(rows, columns=["model", "gain", "low", "high", "p"])
    order = table.p.sort_values().index
    steps = np.arange(len(table), 0, -1)
    table.loc[order, "p_holm"] = np.minimum(np.maximum.accumulate(table.p[order].to_numpy() * steps), 1)
    return table


def detectable_gain(
    predictions: pd.DataFrame,
    against: pd.DataFrame,
    classes: Sequence[str],
    subjects: int,
    *,
    power: float = 0.8,
    level: float = 0.95,
    same_people: bool = False,
) -> float:
    r"""The smallest true gain in UF1 that so many subjects would show, judged by how two models differ on these.

    .. math:: (z_{1-\alpha/2} + z_{power}) \, s \sqrt{n_0 / n}

    with the bootstrap's standard error s of the gain on n₀ subjects. An approximation: it takes the gain as normal.

    Args:
        predictions: As for :func:`subject_interval`.
        against: Of the other model.
        classes: All classes.
        subjects: n, the number of subjects that is asked about (in every seed).
        power: How often the gain should be found.
        level: Confidence level of the test.
        same_people: Whether the seeds tested the same subjects.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> rows = [(0, s, t, t) for s in range(9) for t in "xy"]
        >>> table = pd.DataFrame(rows, columns=["seed", "subject", "truth", "predicted"])
        >>> other = table.assign(predicted=rng.permutation(table.predicted))
        >>> gains = [detectable_gain(other, table, ["x", "y"], n) for n in (9, 36)]
        >>> round(gains[0] / gains[1], 3)
        2.0
    """
    _, found = _subject_bootstrap(predictions, classes, against, same_people, level)
    now = predictions.groupby("seed").subject.nunique().mean()
    z = NormalDist().inv_cdf
    return float((z(0.5 + level / 2) + z(power)) * found.standard_error * np.sqrt(now / subjects))


def card_scores(predictions: pd.DataFrame, classes: Sequence[str]) -> list[dict[str, str]]:
    """Scores as cards and reports tell them, as text: all folds with their interval, and guessing.

    Args:
        predictions: Of one model and seed.
        classes: All classes, or action units.

    Returns:
        Rows `what`, `uf1`, `uar`, `accuracy`, `clips`; see `score_table` for what they mean of action units.
    """
    table = score_table(predictions, classes).drop(columns="seed").rename(columns={"model": "what"})
    table["what"] = ["all folds", *table.what[1:]]
    rows = table.to_dict("records")
    texts = [{str(k): f"{v:.3f}" if isinstance(v, float) else str(v) for k, v in row.items()} for row in rows]
    if not has_units(predictions, classes) and len(set(predictions.subject)) > 1:
        _, low, high = subject_interval(predictions, classes, same_people=True)
        texts[0]["uf1"] += f" ({low:.2f} to {high:.2f})"
    return texts


def _subject_bootstrap(
    predictions: pd.DataFrame,
    classes: Sequence[str],
    against: pd.DataFrame | None,
    same_people: bool,
    level: float,
    resamples: int = 4000,
    seed: int = 0,
) -> tuple[float, Any]:
    """Mean UF1 over seeds, or its gain, and the result of `scipy.stats.bootstrap`."""
    first, second = _pair(predictions, against, classes, same_people)
    if min(map(len, first)) < 2:
        raise ValueError("an interval over subjects needs at least 2 of them in every seed")

    def statistic(*drawn: np.ndarray, axis: int = -1) -> np.ndarray:
        one, two = ([c[who] for c, who in zip(counts, drawn, strict=bool(counts))] for counts in (first, second))
        return np.asarray(_mean_uf1(one) - (_mean_uf1(two) if two else 0))

    everyone = [np.arange(len(counts)) for counts in first]
    return float(statistic(*everyone)), bootstrap(everyone, statistic, level, resamples, seed)


def bootstrap(
    people: Sequence[np.ndarray],
    statistic: Callable[..., np.ndarray],
    level: float = 0.95,
    resamples: int = 4000,
    seed: int = 0,
) -> Any:
    """Percentile bootstrap (`scipy.stats.bootstrap`) over people, whose numbers are drawn again with replacement.

    Args:
        people: Numbers of people, in each of several independent samples.
        statistic: Of drawn numbers, one array per sample, along their last axis.
        level: Confidence level.
        resamples: Number of draws.
        seed: Of the draws.

    Returns:
        `confidence_interval`, `bootstrap_distribution` and `standard_error`.
    """
    from scipy import stats

    options: dict[str, Any] = {"vectorized": True, "batch": 1000, "method": "percentile", "confidence_level": level}
    return stats.bootstrap(people, statistic, n_resamples=resamples, rng=np.random.default_rng(seed), **options)


def _pair(
    predictions: pd.DataFrame, against: pd.DataFrame | None, classes: Sequence[str], same_people: bool
) -> tuple[list[np.ndarray], ...]:
    """Counts of both models, after a look at whether they can be compared."""
    who = [set(zip(table.seed, table.subject, strict=True)) for table in (predictions, against) if table is not None]
    if who[0] != who[-1]:
        raise ValueError("the two tables hold different seeds or subjects: a gain needs the same folds in both")
    people = predictions.groupby("seed").subject.agg(frozenset)
    if same_people and len(set(people)) > 1:
        raise ValueError("the seeds did not test the same people")
    return tuple(_counts(table, classes, same_people) if table is not None else [] for table in (predictions, against))


def _counts(predictions: pd.DataFrame, classes: Sequence[str], same_people: bool) -> list[np.ndarray]:
    """Confusion matrices (subjects, seeds, classes, classes): of each seed, or of all where the people are the same."""
    per_seed = [
        np.stack([confusion(rows, classes) for _, rows in one_seed.groupby("subject")])
        for _, one_seed in predictions.groupby("seed")
    ]
    return [np.stack(per_seed, 1)] if same_people else [counts[:, None] for counts in per_seed]


def _mean_uf1(counts: Sequence[np.ndarray]) -> Float[np.ndarray, "*draws"]:
    """UF1 of pooled subjects, mean over seeds; (…, subjects, seeds, classes, classes) of each sample."""
    return np.asarray(np.mean([uf1_of_counts(sample.sum(-4)).mean(-1) for sample in counts], 0))
