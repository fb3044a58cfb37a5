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
    options: dict[str, Any] = {"level": level, "resamples": resamples, "seed": seed}
    value, found = _subject_bootstrap(predictions, classes, against, same_people, **options)
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

    The arguments are those of :func:`subject_interval`; `resamples` is the number of swaps, or all if they are fewer.

    Returns:
        p, two-sided.

    Example:
        >>> rows = [(0, s, t, t) for s in "abcdef" for t in ("x", "y")]
        >>> right = pd.DataFrame(rows, columns=["seed", "subject", "truth", "predicted"])
        >>> paired_test(right, right.assign(predicted="x"), ["x", "y"])
        0.03125
    """
    from scipy.stats import permutation_test

    pairs = zip(*_counts([predictions, against], classes, same_people), strict=True)
    both = [np.stack(two) for two in pairs]  # (2 models, subjects, …) of each sample
    ends = np.cumsum([counts.shape[1] for counts in both])
    zeros = np.zeros(ends[-1], int)

    def gain(one: np.ndarray, two: np.ndarray, axis: int = -1) -> Any:
        return mean_uf1(one) - mean_uf1(two)

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
        **options: `same_people`, `resamples`, `seed`, as of :func:`subject_interval`.

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
    ordered = table.p.sort_values()
    return table.assign(p_holm=(ordered * np.arange(len(table), 0, -1)).cummax().clip(upper=1))


def detectable_gain(
    predictions: pd.DataFrame, against: pd.DataFrame, classes: Sequence[str], subjects: int, same_people: bool = False
) -> float:
    r"""The smallest true gain in UF1 that so many subjects would show, judged by how two models differ on these.

    .. math:: (z_{1-\alpha/2} + z_{power}) \, s \sqrt{n_0 / n}

    with the bootstrap's standard error s of the gain on n₀ subjects, α = 0.05 and a power of 0.8 (how often it is to be
    found). An approximation: it takes the gain as normal. `subjects` is n, in every seed; the other arguments are those
    of :func:`subject_interval`.
    """
    _, found = _subject_bootstrap(predictions, classes, against, same_people)
    now = predictions.groupby("seed").subject.nunique().mean()
    z = NormalDist().inv_cdf
    return float((z(0.975) + z(0.8)) * found.standard_error * np.sqrt(now / subjects))


def card_scores(predictions: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Scores of one model and seed as cards and reports tell them: all folds with their interval, and guessing.

    Returns:
        Texts `what`, `uf1`, `uar`, `accuracy`, `clips`; see `score_table` for what they mean of action units.
    """
    table = score_table(predictions, classes).drop(columns="seed").rename(columns={"model": "what"})
    table = table.map(lambda x: f"{x:.3f}" if isinstance(x, float) else str(x))
    table.loc[0, "what"] = "all folds"
    if not has_units(predictions, classes) and len(set(predictions.subject)) > 1:
        _, low, high = subject_interval(predictions, classes, same_people=True)
        table.loc[0, "uf1"] = f"{table.uf1[0]} ({low:.2f} to {high:.2f})"
    return table


def _subject_bootstrap(
    predictions: pd.DataFrame, classes: Sequence[str], against: pd.DataFrame | None, same_people: bool, **options: Any
) -> tuple[float, Any]:
    """Mean UF1 over seeds, or its gain, and the result of :func:`bootstrap`."""
    models = _counts([predictions] if against is None else [predictions, against], classes, same_people)
    if min(map(len, models[0])) < 2:
        raise ValueError("an interval over subjects needs at least 2 of them in every seed")

    def statistic(*drawn: np.ndarray, axis: int = -1) -> Any:
        uf1 = [_mean_uf1([c[who] for c, who in zip(counts, drawn, strict=True)]) for counts in models]
        return uf1[0] - uf1[1] if len(uf1) > 1 else uf1[0]

    everyone = [np.arange(len(counts)) for counts in models[0]]
    return float(statistic(*everyone)), bootstrap(everyone, statistic, **options)


def bootstrap(
    people: list[np.ndarray], statistic: Callable[..., Any], level: float = 0.95, resamples: int = 4000, seed: int = 0
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


def _counts(tables: Sequence[pd.DataFrame], classes: Sequence[str], same_people: bool) -> list[list[np.ndarray]]:
    """Confusion matrices (subjects, seeds, classes, classes) of each model: of each seed apart, or of all at once."""
    who = [{*zip(table.seed, table.subject, strict=True)} for table in tables]
    if who[0] != who[-1]:
        raise ValueError("the two tables hold different seeds or subjects: a gain needs the same folds in both")
    if same_people and len({*tables[0].groupby("seed").subject.agg(frozenset)}) > 1:
        raise ValueError("the seeds did not test the same people")

    def of_subjects(rows: pd.DataFrame) -> np.ndarray:
        return np.stack([confusion(own, classes) for _, own in rows.groupby("subject")])

    per_seed = [[of_subjects(rows) for _, rows in table.groupby("seed")] for table in tables]
    return [[np.stack(counts, 1)] if same_people else [c[:, None] for c in counts] for counts in per_seed]


def _mean_uf1(counts: Sequence[np.ndarray]) -> Float[np.ndarray, "*draws"]:
    """UF1 of pooled subjects, mean over seeds; (…, subjects, seeds, classes, classes) of each sample."""
    return np.asarray(np.mean([uf1_of_counts(sample.sum(-4)).mean(-1) for sample in counts], 0))
