"""LeakageExplorer: what each leak adds, as more epochs are looked at, fewer subjects scored, more labels are noise."""

import itertools
from collections.abc import Sequence

import ipywidgets as widgets
import numpy as np
import pandas as pd
import traitlets
from IPython.display import Image
from matplotlib.patches import Patch

from studies.leakage_scores import Leakage, gains
from tsfmicro_lab.explain.charts import COLOURS
from tsfmicro_lab.explain.figures import Picture
from tsfmicro_lab.training.splits import Fold
from tsfmicro_lab.widgets.explorer import Explorer, labelled, slider

#: What a clip is used for in a fold.
ROLES = {"not used": "#ffffff", "training": "#c9d7e3", "chooses the epoch": "#E69F00", "test": "#0072B2"}


def folds_figure(folds: Sequence[Fold], annotations: pd.DataFrame) -> Picture:
    """A protocol as a picture: a row for each fold, a column for each clip, clips of one subject side by side.

    Args:
        folds: From `training.splits`.
        annotations: What their rows count.
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


def leaks_figure(gains: pd.DataFrame, labels: Sequence[str] = ("noise", "true")) -> Picture:
    """What each way to score adds to the honest UF1 of the same models: on noise, all of it without learning anything.

    Args:
        gains: From `leakage_scores.gains`.
        labels: Which labels to draw, the first ones decide the order.

    Returns:
        A matplotlib figure; dots are means over experiments, bars their intervals, corrected for all leaks.

    Example:
        >>> row = {"labels": "noise", "leak": "last", "uf1": 0.3, "gain": 0.0, "low": 0.0, "high": 0.0}
        >>> len(leaks_figure(pd.DataFrame([row]), ["noise"]).axes)
        1
    """
    shown = gains[gains.labels.isin(labels) & ~gains.leak.isin(["last", "chance"])]
    names = shown[shown.labels == labels[0]].sort_values("gain").leak.tolist()
    names += [leak for leak in shown.leak.unique() if leak not in names]
    figure = Picture(figsize=(9, 1.4 + 0.36 * len(names)), layout="constrained")
    axis = figure.add_subplot()
    for i, (label, colour) in enumerate(zip(labels, itertools.cycle(COLOURS), strict=False)):
        rows = shown[shown.labels == label].set_index("leak").reindex([n for n in names if n in set(shown.leak)])
        place = np.arange(len(names)) + 0.16 * (i - (len(labels) - 1) / 2)
        error = np.abs([rows.gain - rows.low, rows.high - rows.gain])
        axis.errorbar(rows.gain, place, xerr=error, fmt="o", color=colour, capsize=2, label=f"labels: {label}")
    axis.axvline(0, color="grey", lw=0.8, ls=":")
    axis.set_yticks(range(len(names)), [f"{n} (honest)" if n == "validation" else n for n in names], fontsize=9)
    axis.set_xlabel("UF1 above the honest score of the same models (last epoch, pooled)")
    axis.set_title(
        "UF1 gained without learning anything (leaky, all but validation)" if "noise" in labels else "UF1 gained"
    )
    axis.legend(loc="lower right", frameon=False, fontsize=9)
    return figure


class LeakageExplorer(Explorer):
    """Three sliders over stored training runs, which are scored anew at every move.

    Args:
        leakage: What was measured.

    Attributes:
        noise: Which labels are read: true, half noise or noise.
        epochs: How many epochs are looked at.
        subjects: How many subjects are scored.
        table: The gains that are shown.

    Example:
        >>> from studies.leakage_scores import Leakage
        >>> explorer = LeakageExplorer(Leakage.load("notebooks/results/leakage.json"))
        >>> explorer.epochs = 2
        >>> explorer.table.labels.unique().tolist()
        ['noise']
    """

    noise = traitlets.Unicode()
    epochs, subjects = traitlets.Int(), traitlets.Int()

    def __init__(self, leakage: Leakage) -> None:
        self.leakage, self.picture = leakage, widgets.Image(format="png")
        epochs, people = len(leakage.clips.epochs[0]), leakage.clips.subject.nunique()
        names = [("none", "true"), ("half", "half noise"), ("all", "noise")]
        controls = {
            "noise": labelled(widgets.SelectionSlider(options=names, value="noise"), "labels that are noise"),
            "epochs": slider("epochs looked at", epochs, 1, epochs, wait=True),
            "subjects": slider("subjects scored", people, 2, people, wait=True),
        }
        super().__init__(controls, [[self.picture]])
        self.when(controls, self._show, "scoring")
        self._show()

    def snapshot(self) -> Image:
        """The picture as a still one."""
        return Image(data=bytes(self.picture.value), format="png")

    def _show(self) -> None:
        chosen = self.noise
        self.table = gains(self.leakage.scores(self.epochs, self.subjects, chosen))
        self.picture.value = leaks_figure(self.table, [chosen])._repr_png_()
