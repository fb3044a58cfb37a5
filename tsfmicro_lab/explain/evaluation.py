"""Pictures of an evaluation: who is trained on and tested and who is hard."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from tsfmicro_lab.explain.charts import COLOURS
from tsfmicro_lab.explain.figures import Picture
from tsfmicro_lab.training.metrics import class_table, confusion, fold_table, has_units
from tsfmicro_lab.training.splits import Fold

HOVER = "says %{x:.0%}, right %{y:.0%}, %{text} clips<extra></extra>"
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
        for role, rows in enumerate((fold.train, fold.inner, fold.test), start=1):
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


def folds_chart(predictions: pd.DataFrame, classes: Sequence[str], by: str = "subject") -> go.Figure:
    """UF1 and accuracy of each subject, the hardest first.

    Args:
        predictions: Of one model and seed.
        classes: All classes.
        by: What is a fold.

    Returns:
        A plotly figure.

    Example:
        >>> table = pd.DataFrame({"subject": ["s", "t"], "truth": ["a", "b"], "predicted": ["a", "a"]})
        >>> folds_chart(table, ["a", "b"]).data[0].x.tolist()
        ['t', 's']
    """
    table = fold_table(predictions, classes, by).sort_values(["accuracy", "uf1"])
    figure = go.Figure()
    for colour, (column, name) in zip(COLOURS, {"uf1": "UF1", "accuracy": "accuracy"}.items(), strict=False):
        figure.add_bar(
            x=table[by].astype(str), y=table[column], name=name, marker_color=colour, customdata=table["clips"],
            hovertemplate="%{x}: %{y:.2f}, %{customdata} clips<extra></extra>",
        )  # fmt: skip
    figure.update_layout(template="plotly_white", xaxis_title=by, yaxis={"range": [0, 1], "title": "score"})
    figure.update_xaxes(type="category")
    return figure


def reliability_chart(bins: pd.DataFrame) -> go.Figure:
    """How often a model is right against how sure it says to be; below the diagonal it is too sure.

    Args:
        bins: From `training.calibration`.

    Returns:
        A plotly figure; dots grow with the number of clips.

    Example:
        >>> reliability_chart(pd.DataFrame({"confidence": [0.8], "accuracy": [0.5], "clips": [4]})).data[1].y.tolist()
        [0.5]
    """
    figure = go.Figure(go.Scatter(x=[0, 1], y=[0, 1], mode="lines", name="calibrated", line={"dash": "dot"}))
    size = 6 + 24 * np.sqrt(bins["clips"] / bins["clips"].max())
    marker = {"size": size, "color": COLOURS[0]}
    figure.add_scatter(x=bins.confidence, y=bins.accuracy, mode="lines+markers", name="model", marker=marker)
    figure.data[1].update(text=bins["clips"], hovertemplate=HOVER)
    axis = {"range": [0, 1], "tickformat": ".0%"}
    figure.update_layout(template="plotly_white", xaxis=axis | {"title": "sure"}, yaxis=axis | {"title": "right"})
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
        right.bar(units["name"], units["f1"], color=COLOURS[0])
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
    left.bar(right_share.index.astype(str), right_share, color=COLOURS[0])
    left.tick_params(axis="x", rotation=90, labelsize=7)
    left.set(ylabel="accuracy", ylim=(0, 1))
    return figure
