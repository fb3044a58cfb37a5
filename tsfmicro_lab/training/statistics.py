"""How sure a score is: intervals over seeds and subjects, tests of gains, and what a number of subjects can show."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tsfmicro_lab.training.metrics import confusion, has_units, score_table, uf1_of_counts

#: Ways to see how far off a value may be: its variance, and from how many degrees of freedom that is known.
Errors = list[tuple[np.ndarray | float, np.ndarray | float]]


def subject_interval(
    predictions: pd.DataFrame,
    classes: Sequence[str],
    *,
    against: pd.DataFrame | None = None,
    same_people: bool = False,
    level: float = 0.95,
) -> tuple[float, float, float]:
    """UF1, mean over seeds, with a confidence interval over seeds and subjects; or the gain in UF1 over another model.

    The interval is about the mean over all seeds and subjects that might have been drawn, see :func:`two_levels`.
    From one seed nobody knows what another would have given: then it is about other subjects of that seed alone, and
    too short as soon as training, too, is left to chance. Two models are compared on the same subjects, which takes out
    what makes a subject easy or hard for either.

    Args:
        predictions: Columns `seed`, `subject`, `truth`, `predicted` (see `cross_validate`), one model.
        classes: All classes. One that never occurs counts as 0, as in :func:`~tsfmicro_lab.training.scores`.
        against: Predictions of another model on the same subjects.
        same_people: Whether the seeds tested the same subjects, as on recordings. Synthetic ones are others each time.
        level: Confidence level.

    Returns:
        (UF1 or gain, lower end, upper end), see :func:`ends`.

    Raises:
        ValueError: There are fewer than two subjects, or the two tables do not hold the same ones.

    Example:
        >>> rows = [(0, s, t, t) for s in "abc" for t in ("x", "y")]
        >>> table = pd.DataFrame(rows, columns=["seed", "subject", "truth", "predicted"])
        >>> print("{:.2f} ({:.2f} to {:.2f})".format(*subject_interval(table, ["x", "y"])))
        1.00 (0.21 to 1.00)
    """
    counts = _counts([predictions] if against is None else [predictions, against], classes, same_people)
    value, errors = uf1_errors(counts, same_people)
    low, high = ends(value, errors, level, len(predictions) if against is None else None).clip(-1, 1)
    return float(value), float(low), float(high)


def compare_models(
    predictions: pd.DataFrame, against: str, classes: Sequence[str], same_people: bool = False, alpha: float = 0.05
) -> pd.DataFrame:
    r"""Gain of every model over one of them, with interval and p of one t statistic, corrected for their number.

    The correction is Holm's (1979): the smallest p times the number of tests, the next times one fewer, and so on. An
    interval has the level :math:`1 - \alpha \, p / p_{Holm}`, so that it leaves out zero exactly where
    :math:`p_{Holm} < \alpha`. Each holds its gain with at least 1 − α, and all those together whose gain is zero.

    Args:
        predictions: Columns `model`, `seed`, `subject`, `truth`, `predicted`.
        against: Name of the model that the others are compared with.
        classes: All classes.
        same_people: As of :func:`subject_interval`.
        alpha: How often a gain may be found where there is none.

    Returns:
        One row per other model: `model`, `gain`, `low`, `high`, `p`, `p_holm`.

    Raises:
        ValueError: There is no such model, or the models did not test the same subjects.
    """
    groups = dict(list(predictions.groupby("model", sort=False)))
    if against not in groups:
        raise ValueError(f"no model '{against}': choose from {', '.join(map(str, groups))}")
    base = groups.pop(against)
    found = [uf1_errors(_counts([rows, base], classes, same_people), same_people) for rows in groups.values()]
    return pd.DataFrame({"model": list(groups), **corrected(found, alpha).clip(-1, 1)})


def corrected(found: Sequence[tuple[np.ndarray | float, Errors]], alpha: float = 0.05) -> pd.DataFrame:
    r"""Several gains, interval and p of one t statistic, corrected by Holm for their number (:func:`compare_models`).

    Args:
        found: Of each, its value and its errors, from :func:`uf1_errors` or of any mean.
        alpha: How often a gain may be found where there is none.

    Returns:
        One row for each: `gain`, `low`, `high`, `p`, `p_holm`.

    Example:
        >>> table = corrected([(0.1, [(0.001, 9.0)]), (0.1, [(0.002, 9.0)])])  # variance, degrees of freedom
        >>> table.round(2).to_numpy().tolist()
        [[0.1, 0.02, 0.18, 0.01, 0.02], [0.1, -0.0, 0.2, 0.05, 0.05]]
    """
    p = pd.Series([float(p_value(*one)) for one in found], dtype=float)
    holm = (p.sort_values() * np.arange(len(p), 0, -1)).cummax().clip(upper=1).sort_index()
    low, high = np.transpose([ends(*one, 1 - alpha * part) for one, part in zip(found, p / holm, strict=True)])
    return pd.DataFrame({"gain": [float(gain) for gain, _ in found], "low": low, "high": high, "p": p, "p_holm": holm})


def detectable_gain(
    predictions: pd.DataFrame, against: pd.DataFrame, classes: Sequence[str], subjects: int, same_people: bool = False
) -> float:
    r"""The smallest true gain in UF1 that so many subjects would show, judged by how two models differ on these.

    .. math:: (t_{1-\alpha/2} + t_{power}) \, s \sqrt{n_0 / n}

    with the standard error s of the gain that n₀ subjects left (:func:`two_levels`), α = 0.05 and a power of 0.8 (how
    often it is to be found). `subjects` is n, in every seed; what seeds differ in beyond their subjects stays. The
    other arguments are those of :func:`subject_interval`.
    """
    (inner, df), *others = uf1_errors(_counts([predictions, against], classes, same_people), same_people)[1]
    now = predictions.groupby("seed").subject.nunique().mean()
    left = inner * now / subjects
    errors = [(left, df * (subjects - 1) / (now - 1)), *((left + np.maximum(v - inner, 0), d) for v, d in others)]
    return float(ends(0.0, errors, 0.95)[1] + ends(0.0, errors, 2 * 0.8 - 1)[1])


def card_scores(predictions: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Scores of one model and seed as cards and reports tell them: all folds with their interval, and guessing.

    Returns:
        Texts `what`, `uf1`, `uar`, `accuracy`, `clips`; see `score_table` for what they mean of action units.
    """
    table = score_table(predictions, classes).drop(columns="seed").rename(columns={"model": "what"})
    table = table.map(lambda x: f"{x:.3f}" if isinstance(x, float) else str(x))
    table.loc[0, "what"] = "all folds"
    if not has_units(predictions, classes) and len(set(predictions.subject)) > 1:
        _, low, high = subject_interval(predictions, classes)
        table.loc[0, "uf1"] = f"{table.uf1[0]} ({low:.2f} to {high:.2f})"
    return table


def two_levels(scores: np.ndarray, pseudo: Sequence[np.ndarray], same_people: bool = False) -> Errors:
    r"""How far a mean over seeds may be off: subjects inside, seeds outside.

    .. math:: V_{in} = \frac{1}{S^2} \sum_s \frac{\mathrm{Var}_i(\psi_{si})}{n_s}, \qquad
        V_{out} = \frac{\mathrm{Var}_s(u_s)}{S}

    over S seeds with scores u and n subjects. If every seed has subjects of its own, the outer variance holds the inner
    one already. If all seeds have the same subjects, seeds and subjects are crossed: :math:`V_{in}` is that of each
    subject's mean over seeds, and there is a third variance, the sum of both less what they share, its degrees of
    freedom by Satterthwaite (Biometrics 1946). The one with the widest t interval counts. One seed has no outer one.

    Args:
        scores: Of each seed, along the first axis.
        pseudo: Of each seed, the jackknife's pseudo-values ψ of its subjects, along the last axis (:func:`uf1_errors`).
        same_people: Whether subjects stand in the same order in all seeds.

    Returns:
        The inner variance and its degrees of freedom, then those of the outer one and of the sum.
    """
    seeds = len(scores)
    people = [np.mean(pseudo, 0)] if same_people else pseudo
    inner = np.sum([p.var(-1, ddof=1) / p.shape[-1] for p in people], 0) / len(people) ** 2
    df = float(sum(p.shape[-1] - 1 for p in people))
    if seeds == 1:
        return [(inner, df)]
    outer = scores.var(0, ddof=1) / seeds
    found: Errors = [(inner, df), (outer, seeds - 1.0)]
    if same_people:
        rest = pseudo - people[0] - np.mean(pseudo, -1, keepdims=True) + people[0].mean(-1, keepdims=True)
        shared = (rest**2).sum((0, -1)) / (rest.shape[-1] * df * seeds * (seeds - 1))
        total = inner + outer - np.minimum(np.minimum(inner, outer), shared)
        own = total**2 / np.maximum(inner**2 / df + outer**2 / (seeds - 1), 1e-300)
        found.append((total, np.maximum(own, min(df, seeds - 1))))
    return found


def ends(value: np.ndarray | float, errors: Errors, level: float = 0.95, clips: int | None = None) -> np.ndarray:
    r"""Ends of a confidence interval: the value ± the widest t √V; those of a score lie between 0 and 1.

    A score near 1 has less room above than below. So its interval holds every θ from which it is no farther than that
    in units of what would be the error *there* (Wilson, JASA 1927):

    .. math:: |\mathrm{UF1} - \theta| \le t \sqrt{V} \sqrt{\frac{\theta (1 - \theta)}{\mathrm{UF1} (1 - \mathrm{UF1})}}

    Args:
        value: Mean over seeds.
        errors: Its variances and degrees of freedom, from :func:`two_levels`.
        level: Confidence level.
        clips: Number of predictions behind a score; None for a gain, or whatever has no bounds.

    Shape:
        (2, …), lower and upper.
    """
    from scipy.special import stdtrit

    wide = np.max([stdtrit(df, 0.5 + level / 2) ** 2 * variance for variance, df in errors], 0)
    if clips is None:
        return np.stack([value - np.sqrt(wide), value + np.sqrt(wide)])
    spread = value * (1 - value)
    k = wide / np.maximum(spread, (clips - 1) / clips**2)
    middle, half = value + k / 2, np.sqrt(k * spread + k**2 / 4)
    return np.stack([np.minimum((middle - half) / (1 + k), value), np.maximum((middle + half) / (1 + k), value)])


def p_value(value: np.ndarray | float, errors: Errors) -> np.ndarray | float:
    """How often a true zero gives so large a value, either way: less than 1 − level where :func:`ends` leaves out 0."""
    from scipy.special import stdtr

    return np.maximum(np.max([2 * stdtr(d, -np.abs(value) / np.sqrt(v + 1e-300)) for v, d in errors], 0), 1e-300)


def uf1_errors(models: Sequence[Sequence[np.ndarray]], same_people: bool = False) -> tuple[np.ndarray, Errors]:
    r"""Mean UF1 over seeds, or its gain, and its errors by the jackknife: each subject is left out once.

    .. math:: \psi_i = n \, \mathrm{UF1} - (n - 1) \, \mathrm{UF1}_{(-i)}

    is the pseudo-value of one of n subjects. The last error is what one clip of all makes: nobody is surer than that.

    Args:
        models: Of one model or two, and of each seed, the confusion matrices (…, subjects, classes, classes).
        same_people: As of :func:`two_levels`.
    """
    values, pseudo = [], []
    for counts in zip(*models, strict=True):
        n, scores = counts[0].shape[-3], []
        for own in counts:
            total = own.sum(-3, keepdims=True)
            scores.append(uf1_of_counts(np.concatenate([total, total - own], -3), 0))
        gain = scores[0] - sum(scores[1:])
        values.append(gain[..., 0])
        pseudo.append(n * gain[..., :1] - (n - 1) * gain[..., 1:])
    least = sum(c.sum((-3, -2, -1)) for c in models[0]) ** -2.0
    errors = two_levels(np.stack(values), pseudo, same_people)
    return np.asarray(np.mean(values, 0)), [*errors, (least, errors[0][1])]


def _counts(tables: Sequence[pd.DataFrame], classes: Sequence[str], same_people: bool) -> list[list[np.ndarray]]:
    """Confusion matrices (subjects, classes, classes) of each model and seed."""
    if len({frozenset(zip(table.seed, table.subject, strict=True)) for table in tables}) > 1:
        raise ValueError("the two tables hold different seeds or subjects: a gain needs the same folds in both")
    people = tables[0].groupby("seed").subject.agg(frozenset)
    if same_people and len({*people}) > 1:
        raise ValueError("the seeds did not test the same people")
    if min(map(len, people)) < 2:
        raise ValueError("an interval over subjects needs at least 2 of them in every seed")

    def of_subjects(rows: pd.DataFrame) -> np.ndarray:
        return np.stack([confusion(own, classes) for _, own in rows.groupby("subject")])

    return [[of_subjects(rows) for _, rows in table.groupby("seed")] for table in tables]
