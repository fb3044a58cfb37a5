"""Metrics of the field, over predictions pooled from all folds."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score


def scores(truth: Sequence[str], predicted: Sequence[str], classes: Sequence[str]) -> dict[str, float]:
    r"""UF1, UAR and accuracy. Pool the predictions of all folds first: a mean over folds is another, lower number.

    .. math::
        \mathrm{UF1} = \frac1C \sum_c \frac{2\,TP_c}{2\,TP_c + FP_c + FN_c}, \qquad
        \mathrm{UAR} = \frac1C \sum_c \frac{TP_c}{TP_c + FN_c}

    (The metrics of MEGC 2019, the micro-expression grand challenge; counts pooled over all folds.)

    Args:
        truth: Label of each clip.
        predicted: Prediction for each clip.
        classes: All classes; one that never occurs counts as 0, so leave it out if the data set lacks it.

    Returns:
        `uf1`, `uar`, `accuracy`, each between 0 and 1.

    Raises:
        ValueError: There is nothing to score, or a label is none of the classes.

    Example:
        >>> scores(["a", "a", "b", "b"], ["a", "b", "b", "b"], ["a", "b"])
        {'uf1': 0.7333..., 'uar': 0.75, 'accuracy': 0.75}
    """
    if not len(truth) or len(truth) != len(predicted):
        raise ValueError(f"{len(truth)} labels and {len(predicted)} predictions cannot be compared")
    unknown = ({*truth} | {*predicted}) - {*classes}
    if unknown:
        raise ValueError(f"{sorted(unknown)} are none of the classes {list(classes)}")
    labels = list(classes)
    return {
        "uf1": float(f1_score(truth, predicted, labels=labels, average="macro", zero_division=0)),
        "uar": float(recall_score(truth, predicted, labels=labels, average="macro", zero_division=0)),
        "accuracy": float(accuracy_score(truth, predicted)),
    }


def score_table(predictions: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Scores of every model and seed in a table of predictions, and those of always guessing the majority class.

    Args:
        predictions: Columns `model`, `seed`, `truth`, `predicted` (see `cross_validate`).
        classes: All classes.

    Returns:
        One row per model and seed: `model`, `seed`, `uf1`, `uar`, `accuracy`, `clips`.

    Example:
        >>> rows = [("m", 0, "s1", "c1", 0, "a", "a"), ("m", 0, "s2", "c1", 0, "b", "a")]
        >>> columns = ["model", "seed", "subject", "clip", "onset", "truth", "predicted"]
        >>> score_table(pd.DataFrame(rows, columns=columns), ["a", "b"])[["model", "accuracy"]].values.tolist()
        [['m', 0.5], ['majority', 0.5]]
    """
    rows = []
    for (model, seed), group in predictions.groupby(["model", "seed"], sort=False):
        result = scores(list(group.truth), list(group.predicted), classes)
        rows.append({"model": model, "seed": seed, **result, "clips": len(group)})
    one = predictions.drop_duplicates(["subject", "clip", "onset"])
    majority = [one.truth.mode()[0]] * len(one)
    result = scores(list(one.truth), majority, classes)
    rows.append({"model": "majority", "seed": -1, **result, "clips": len(one)})
    return pd.DataFrame(rows)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Mean and spread (standard deviation) over the seeds of each model.

    Args:
        table: From :func:`score_table`.

    Returns:
        One row per model: mean and std of each score and the number of seeds.

    Example:
        >>> table = pd.DataFrame({"model": "m", "uf1": [0.2, 0.4], "uar": [0.5, 0.5], "accuracy": [0.6, 0.8]})
        >>> summary(table)[["seeds", "uf1_mean", "uf1_std"]].round(3).values.tolist()
        [[2.0, 0.3, 0.141]]
    """
    grouped = table.groupby("model", sort=False)[["uf1", "uar", "accuracy"]]
    result = grouped.agg(["mean", "std"])
    result.columns = ["_".join(pair) for pair in result.columns]
    result.insert(0, "seeds", grouped.size())
    return result.reset_index()


def confusion(predictions: pd.DataFrame, classes: Sequence[str]) -> np.ndarray:
    """Counts: rows are the true classes, columns the predicted ones.

    Example:
        >>> table = pd.DataFrame({"truth": ["a", "b"], "predicted": ["a", "a"]})
        >>> confusion(table, ["a", "b"]).tolist()
        [[1, 0], [1, 0]]
    """
    return np.asarray(confusion_matrix(predictions.truth, predictions.predicted, labels=list(classes)))


def uf1_of_counts(
    counts: Int[np.ndarray, "*many classes classes"] | Float[np.ndarray, "*many classes classes"],
) -> Float[np.ndarray, "*many"]:
    """UF1 of confusion matrices, many at once; a class that neither occurs nor is predicted is left out of its mean.

    Args:
        counts: Rows are the true classes.

    Example:
        >>> uf1_of_counts(np.array([[2.0, 0, 0], [1, 1, 0], [0, 0, 0]])).round(3)
        np.float64(0.733)
    """
    seen = counts.sum(-1) + counts.sum(-2)  # 2 TP + FP + FN
    f1 = np.where(seen > 0, 2 * np.diagonal(counts, axis1=-2, axis2=-1) / np.maximum(seen, 1), np.nan)
    return np.asarray(np.nanmean(f1, -1))
