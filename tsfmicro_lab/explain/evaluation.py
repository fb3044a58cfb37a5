"""Pictures of an evaluation: who is trained on and tested and who is hard."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from tsfmicro_lab.explain.figures import Picture
from tsfmicro_lab.training.metrics import class_table, confusion, has_units
from tsfmicro_lab.training.splits import Fold

#: What a clip is used for in a fold.
ROLES = {"not used": "#ffffff", "training": "#c9d7e3", "chooses the epoch": "#E69F00", "test": "#0072B2"}


def folds_figure(folds: Sequence[Fold], annotations: pd.DataFrame) -> Figure:
    """A protocol as a picture: a row for each fold, a column for each clip, clips of one subject side by side.

    Args:
        folds: From `training.splits`.
        annotations: What their rows count.

    Returns:
        A matplotlib figure.

    Example:
        >>> from tsfmicro_lab.training import leave_one_subject_out
        >>> table = pd.DataFrame({"subject": list("aabb"), "emotion": ["x", "y", "x", "y"]})
        >>> folds_figure(leave_one_subject_out(table), table).axes[0].images[0].get_array().shape
        (2, 4, 3)
    """
    subjects = annotations["subject"].to_numpy(dtype=object)
    order = np.argsort(subjects, kind="stable")
    roles = np.zeros((len(folds), len(order)), int)
    for row, fold in zip(roles, folds, strict=True):
        for role, rows in enumerate((fold.train, fold.validation, fold.test), start=1):
            row[rows] = role
    figure = Picture(figsize=(9, min(1.2 + 0.22 * len(folds), 9)), layout="constrained")
    axis = figure.add_subplot()
    colours = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in ROLES.values()], np.uint8)
    axis.imshow(colours[roles[:, order]], aspect="auto", interpolation="nearest")
    first = np.flatnonzero(np.r_[True, subjects[order][1:] != subjects[order][:-1]])
    axis.set_xticks(first - 0.5, subjects[order][first], rotation=90, fontsize=7, ha="left")
    axis.set_yticks(range(len(folds)), [fold.name for fold in folds], fontsize=7)
    axis.set(xlabel="clips, by subject", ylabel="fold")
    handles = [Patch(facecolor=c, edgecolor="#999999", label=n) for n, c in ROLES.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False, fontsize=8)
    return figure


def run_figure(predictions: pd.DataFrame, classes: Sequence[str]) -> Figure:
    """Accuracy of each subject, the hardest first, and what is taken for what; for action units, F1 of each.

    Args:
        predictions: Of one model and seed.
        classes: All classes, or units.

    Returns:
        A matplotlib figure.

    Example:
        >>> table = pd.DataFrame({"subject": ["s", "t"], "truth": ["a", "b"], "predicted": ["a", "a"], "model": "m"})
        >>> len(run_figure(table, ["a", "b"]).axes)
        2
    """
    figure = Picture(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    figure.suptitle(str(predictions["model"].iloc[0]), fontsize=11)
    if has_units(predictions, classes):
        units = class_table(predictions, classes)
        right.bar(units["name"], units["f1"], color=ROLES["test"])
        right.set(xlabel="action unit", ylabel="F1", ylim=(0, 1))
    else:
        counts = confusion(predictions, classes)
        right.imshow(counts / np.maximum(counts.sum(1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
        for (y, x), count in np.ndenumerate(counts):
            dark = count > 0.6 * max(counts[y].sum(), 1)
            right.text(x, y, str(count), ha="center", va="center", color="white" if dark else "black")
        right.set_xticks(range(len(classes)), classes, rotation=30, ha="right")
        right.set_yticks(range(len(classes)), classes)
        right.set(xlabel="predicted", ylabel="truth")
    right_share = predictions.assign(right=predictions.truth == predictions.predicted).groupby("subject").right.mean()
    right_share = right_share.sort_values()
    left.bar(right_share.index.astype(str), right_share, color=ROLES["test"])
    left.tick_params(axis="x", rotation=90, labelsize=7)
    left.set(ylabel="accuracy", ylim=(0, 1))
    return figure
