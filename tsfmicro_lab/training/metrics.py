"""Metrics of the field, over predictions pooled from all folds: tables with columns `truth` and `predicted`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

#: One confusion matrix or many: rows are the true classes, columns the predicted ones.
Counts = Int[np.ndarray, "*many classes classes"] | Float[np.ndarray, "*many classes classes"]


def scores(truth: Sequence[str], predicted: Sequence[str], classes: Sequence[str]) -> dict[str, float]:
    r"""UF1, UAR and accuracy. Pool the predictions of all folds first: a mean over folds is another, lower number.

    .. math::
        \mathrm{UF1} = \frac1C \sum_c \frac{2\,TP_c}{2\,TP_c + FP_c + FN_c}, \qquad
        \mathrm{UAR} = \frac1C \sum_c \frac{TP_c}{TP_c + FN_c}

    (The metrics of MEGC 2019, the micro-expression grand challenge; counts pooled over all folds.) A class that never
    occurs counts as 0, so leave it out if the data set lacks it.

    Raises:
        ValueError: There is nothing to score, or a label is none of the classes.

    Example:
        >>> scores(["a", "a", "b", "b"], ["a", "b", "b", "b"], ["a", "b"])
        {'uf1': 0.7333..., 'uar': 0.75, 'accuracy': 0.75}
    """
    if not len(truth) or len(truth) != len(predicted):
        raise ValueError(f"{len(truth)} labels and {len(predicted)} predictions cannot be compared")
    if unknown := ({*truth} | {*predicted}) - {*classes}:
        raise ValueError(f"{sorted(unknown)} are none of the classes {list(classes)}")
    return _mean_scores(confusion(pd.DataFrame({"truth": truth, "predicted": predicted}), classes))


def score_table(predictions: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Scores of every model and seed in a table of predictions, and of two baselines that look at no clip.

    `majority` always says the commonest class; `random` draws classes as often as they occur, its mean over 100 draws.
    Action units are scored by :func:`class_table`, without baselines: the mean F1 over the units stands for UF1, their
    mean recall for UAR, the share of clips with every unit right for accuracy.

    Returns:
        One row per model and seed: `model`, `seed`, `uf1`, `uar`, `accuracy`, `clips`.

    Example:
        >>> rows = [("m", 0, "s1", "c1", 0, "a", "a"), ("m", 0, "s2", "c1", 0, "b", "a")]
        >>> columns = ["model", "seed", "subject", "clip", "onset", "truth", "predicted"]
        >>> table = score_table(pd.DataFrame(rows, columns=columns), ["a", "b"])
        >>> table[["model", "accuracy"]].values.tolist()
        [['m', 0.5], ['majority', 0.5], ['random', 0.505]]
    """
    units = has_units(predictions, classes)
    rows: list[dict[str, Any]] = []
    for (model, seed), group in predictions.groupby(["model", "seed"], sort=False):
        result = _unit_scores(group, classes) if units else scores(list(group.truth), list(group.predicted), classes)
        rows.append({"model": model, "seed": seed, **result, "clips": len(group)})
    if not units:
        once = predictions.drop_duplicates(["subject", "clip", "onset"]).assign(seed=-1)
        commonest = scores(list(once.truth), list(majority(once).predicted), classes)
        for model, result in (("majority", commonest), ("random", _guessing(once, classes))):
            rows.append({"model": model, "seed": -1, **result, "clips": len(once)})
    return pd.DataFrame(rows)


def majority(predictions: pd.DataFrame) -> pd.DataFrame:
    """What a model predicts that always says the commonest class of each seed, as rows of a model `majority`."""
    commonest = predictions.groupby("seed").truth.transform(lambda truth: truth.mode()[0])
    return predictions.assign(model="majority", predicted=commonest)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Mean and spread (standard deviation) over the seeds of each model in a :func:`score_table`, and their number."""
    grouped = table.groupby("model", sort=False)[["uf1", "uar", "accuracy"]]
    result = grouped.agg(["mean", "std"])
    result.columns = ["_".join(pair) for pair in result.columns]
    result.insert(0, "seeds", grouped.size())
    return result.reset_index()


def confusion(predictions: pd.DataFrame, classes: Sequence[str]) -> Int[np.ndarray, "classes classes"]:
    """Confusion matrix: counts of clips, rows are the true classes, columns the predicted ones.

    Example:
        >>> table = pd.DataFrame({"truth": ["a", "b"], "predicted": ["a", "a"]})
        >>> confusion(table, ["a", "b"]).tolist()
        [[1, 0], [1, 0]]
    """
    truth, predicted = (_one_hot(predictions[column], classes) for column in ("truth", "predicted"))
    return truth.T @ predicted


def class_table(predictions: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Precision, recall, F1 and number of clips of each class, or of each of the action units that `+` joins.

    Returns:
        One row per class: `name`, `precision`, `recall`, `f1`, `clips`. What is never predicted has precision 0.

    Example:
        >>> table = pd.DataFrame({"truth": ["4", "4+12", ""], "predicted": ["4", "12", "12"]})
        >>> class_table(table, ["4", "12"]).values.tolist()
        [['4', 1.0, 0.5, 0.66..., 2], ['12', 0.5, 1.0, 0.66..., 1]]
    """
    truth, predicted = (_one_hot(predictions[column], classes) for column in ("truth", "predicted"))
    hits, clips, said = (truth * predicted).sum(0), truth.sum(0), predicted.sum(0)
    precision, recall = hits / np.maximum(said, 1), hits / np.maximum(clips, 1)
    columns = {"precision": precision, "recall": recall, "f1": f1(hits, clips, said), "clips": clips}
    return pd.DataFrame({"name": list(classes), **columns})


def fold_table(predictions: pd.DataFrame, classes: Sequence[str], by: str = "subject") -> pd.DataFrame:
    """Scores of each subject or fold by itself: to see who is hard, not to be averaged.

    Args:
        predictions: Of one model and seed.
        classes: All classes; those that a fold neither holds nor predicts are left out of its UF1.
        by: Column that tells the folds apart: `subject`, `fold`, or `data` for the parts of a composite.

    Returns:
        One row per fold: `by`, `uf1`, `accuracy`, `clips`.
    """
    rows = [
        (name, float(uf1_of_counts(confusion(g, classes))), float((g.truth == g.predicted).mean()), len(g))
        for name, g in predictions.groupby(by)
    ]
    return pd.DataFrame(rows, columns=[by, "uf1", "accuracy", "clips"])


def calibration(predictions: pd.DataFrame, bins: int = 10) -> tuple[pd.DataFrame, float]:
    r"""Whether a model that says 70 % is right in 70 % of such clips, by its probabilities, columns `p_<class>`.

    .. math:: \mathrm{ECE} = \sum_b \frac{n_b}{n} \, |\mathrm{accuracy}_b - \mathrm{confidence}_b|

    over bins of equal width of the probability of the predicted class (Guo et al., ICML 2017). With few clips the error
    is overestimated: bins of a few clips are off by chance alone.

    Returns:
        (One row per bin that is not empty: `confidence`, `accuracy`, `clips`; expected calibration error.)

    Raises:
        ValueError: There are no probabilities, as in a log of somebody else's model.

    Example:
        >>> table = pd.DataFrame({"truth": ["a", "b"], "predicted": ["a", "a"], "p_a": [0.8, 0.8], "p_b": [0.2, 0.2]})
        >>> calibration(table)[1]
        0.3...
    """
    columns = [c for c in map(str, predictions) if c.startswith("p_")]
    if not columns or not len(predictions):
        raise ValueError("calibration needs the probability of each class, columns p_<class>, and there are none")
    table = pd.DataFrame({"confidence": predictions[columns].max(axis=1), "clips": 1})
    table["accuracy"] = (predictions.truth == predictions.predicted).astype(float)
    number = np.minimum((table.confidence * bins).astype(int), bins - 1)
    result = table.groupby(number).agg({"confidence": "mean", "accuracy": "mean", "clips": "sum"})
    error = float(((result.accuracy - result.confidence).abs() * result.clips).sum() / len(table))
    return result.reset_index(drop=True), error


def f1(hits: np.ndarray, clips: np.ndarray, said: np.ndarray, absent: float = 0.0) -> Float[np.ndarray, "*classes"]:
    r"""F1 of each class, :math:`2\,TP / (2\,TP + FP + FN)`: the one formula behind every UF1 here.

    Args:
        hits: Clips of the class that were recognised.
        clips: Clips of the class.
        said: Clips that were taken for the class.
        absent: F1 of a class that neither occurs nor is predicted: 0, or NaN to leave it out of a mean.
    """
    return np.where(clips + said > 0, 2 * hits / np.maximum(clips + said, 1), absent)


def uf1_of_counts(counts: Counts, absent: float = np.nan) -> Float[np.ndarray, "*many"]:
    """UF1 of confusion matrices, many at once; a class that is absent is left out of the mean, or has this F1.

    Example:
        >>> uf1_of_counts(np.array([[2.0, 0, 0], [1, 1, 0], [0, 0, 0]])).round(3)
        np.float64(0.733)
    """
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    return np.asarray(np.nanmean(f1(hits, counts.sum(-1), counts.sum(-2), absent), -1))


def has_units(predictions: pd.DataFrame, classes: Sequence[str]) -> bool:
    """Whether these are action units, of which a clip may have several or none.

    Raises:
        ValueError: A label is neither a class nor made of classes.
    """
    labels = {*predictions.truth, *predictions.predicted}
    if unknown := {name for label in labels - {*classes} for name in str(label).split("+")} - {*classes, ""}:
        raise ValueError(f"{', '.join(sorted(unknown))}: labels that are none of the classes {', '.join(classes)}")
    return not labels <= {*classes}


def _one_hot(labels: pd.Series, classes: Sequence[str]) -> Int[np.ndarray, "clips classes"]:
    """Which classes, or units joined by `+`, each label names; one that is none of them names nothing."""
    names = {label: {label, *str(label).split("+")} for label in set(labels)}
    return np.array([[name in names[label] for name in classes] for label in labels]).astype(int)


def _mean_scores(counts: Counts) -> dict[str, float]:
    """Mean over confusion matrices, in which a class that is absent counts as 0."""
    hits, clips = np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-1)
    uar, accuracy = hits / np.maximum(clips, 1), hits.sum(-1) / clips.sum(-1)
    return {"uf1": float(uf1_of_counts(counts, 0).mean()), "uar": float(uar.mean()), "accuracy": float(accuracy.mean())}


def _guessing(predictions: pd.DataFrame, classes: Sequence[str], draws: int = 100) -> dict[str, float]:
    """Mean scores of drawing classes as often as they occur."""
    truth = _one_hot(predictions.truth, classes).astype(float)
    drawn = np.random.default_rng(0).choice(truth.argmax(1), (draws, len(truth)))
    return _mean_scores(np.einsum("nt, dnp -> dtp", truth, np.eye(len(classes))[drawn]))


def _unit_scores(predictions: pd.DataFrame, units: Sequence[str]) -> dict[str, float]:
    table = class_table(predictions, units)
    right = float((predictions.truth == predictions.predicted).mean())
    return {"uf1": float(table.f1.mean()), "uar": float(table.recall.mean()), "accuracy": right}


def match_moments(true: pd.DataFrame, found: pd.DataFrame, least: float = 0.5) -> pd.DataFrame:
    """Hits: pairs of a true and a found moment of one film whose intersection over union (IoU) is `least` or more.

    Moments have a row each: `film`, `onset`, `offset` (numbers of frames, or seconds), and perhaps `emotion`.
    Each true moment is in one pair at most, each found one, too; of several pairs the best counts. True moments do not
    overlap.

    Returns:
        One row per hit: the columns of both, those of the found one with `_found` behind, `true` and `found` (their
        rows), `iou`.

    Example:
        >>> true, found = ([{"film": "a", "onset": 10, "offset": end}] for end in (20, 26))
        >>> float(match_moments(pd.DataFrame(true), pd.DataFrame(found)).iou.iloc[0])
        0.625
    """
    rows = true.assign(true=range(len(true)))
    pairs = rows.merge(found.assign(found=range(len(found))), on="film", suffixes=("", "_found"))
    begin, end = pairs[["onset", "onset_found"]].max(axis=1), pairs[["offset", "offset_found"]].min(axis=1)
    both = (end - begin).clip(lower=0)
    either = pairs.offset - pairs.onset + pairs.offset_found - pairs.onset_found - both
    hits = pairs.assign(iou=both / either).query("iou >= @least").sort_values("iou", ascending=False, kind="stable")
    return hits.drop_duplicates("true").drop_duplicates("found")


def spotting_scores(true: pd.DataFrame, found: pd.DataFrame, least: float = 0.5) -> dict[str, float]:
    r"""Interval-wise F1 of spotting; where both tables have an `emotion`, spot-then-recognise, too.

    .. math::
        F_1 = \frac{2\,TP}{2\,TP + FP + FN}, \qquad \mathrm{STRS} = F_1 \cdot \mathrm{UF1}_\text{hits}

    Counts are pooled over all films before anything is divided, so films without a moment count by their false alarms.
    The UF1 is that of the hits alone, over the classes that they have (MEGC2023 and later).

    Returns:
        `hits`, `misses`, `alarms`, `precision`, `recall`, `f1`, and `recognition` (UF1 of the hits), `strs`.

    Example:
        >>> true = pd.DataFrame({"film": "a", "onset": [0, 20], "offset": [10, 30]})
        >>> found = pd.DataFrame({"film": "a", "onset": [1, 14, 40], "offset": [10, 22, 50]})
        >>> spotting_scores(true, found)["f1"]
        0.4
    """
    pairs = match_moments(true, found, least)
    hits, said = len(pairs), len(found)
    scores: dict[str, float] = {"hits": hits, "misses": len(true) - hits, "alarms": said - hits}
    scores |= {"precision": hits / max(said, 1), "recall": hits / max(len(true), 1)}
    scores["f1"] = 2 * hits / max(len(true) + said, 1)
    if "emotion" in true and "emotion" in found:
        named = pairs.rename(columns={"emotion": "truth", "emotion_found": "predicted"})
        classes = sorted({*named.truth, *named.predicted})
        scores["recognition"] = float(uf1_of_counts(confusion(named, classes), 0.0)) if hits else 0.0
        scores["strs"] = scores["f1"] * scores["recognition"]
    return scores
