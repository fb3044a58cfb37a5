"""Charts and figures of the lessons: intervals, a map of *when*, rows of small maps."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import plotly.express as px
import plotly.graph_objects as go
import torch

from tsfmicro_lab.clips import Clip
from tsfmicro_lab.explain.charts import TEMPLATE, short_names
from tsfmicro_lab.explain.figures import DIVERGING, Picture
from tsfmicro_lab.models import Recognizer
from tsfmicro_lab.preprocess.alignment import onset_landmarks


def intervals_chart(
    table: pd.DataFrame, x: str, y: str, low: str, high: str, color: str | None = None, *, title: str | None = None
) -> go.Figure:
    """A dot and its 95 % interval for each row, the first row on top; a line at zero, where an interval meets it.

    Columns hold the dots (`x`), their names (`y`), the ends of the intervals, and the series (`color`), which lie side
    by side where several have one name. The x-axis has the title `title`, or the column's name.
    """
    shown = short_names(table).assign(more=table[high] - table[x], less=table[x] - table[low])
    hover = {"more": False, "less": False} | dict.fromkeys((x, low, high), ":.3f")
    series = {"color": color, "symbol": color, "hover_data": hover, "height": 140 + 26 * len(shown)}
    figure = px.scatter(shown, x=x, y=y, error_x="more", error_x_minus="less", template=TEMPLATE, **series)
    figure.update_traces(marker_size=8).update_layout(xaxis_title=title or x)
    if shown[y].duplicated().any():
        figure.for_each_trace(lambda dots: dots.update(orientation="h", offsetgroup=dots.name))
        figure.update_layout(scattermode="group")
    figure.update_yaxes(type="category", autorange="reversed", categoryorder="array", categoryarray=shown[y].unique())
    if table[low].min() <= 0 <= table[high].max():
        figure.add_vline(0, line_dash="dot", line_color="grey")
    return figure


def over_time(model: Recognizer, clip: Clip, classes: Sequence[str]) -> pd.DataFrame:
    """A map of *when*: what the model says as the apex slides over the frames of a clip, from onset to offset.

    The face of a clip without landmarks is found once, in the onset frame.

    Returns:
        One row per frame and class: `frame`, `class`, `logit`, `probability` (softmax).
    """
    clip, frames = replace(clip, landmarks=onset_landmarks(clip)), range(clip.onset, clip.offset + 1)
    logits = torch.cat([model.logits(replace(clip, apex=i)) for i in frames])
    rows = pd.MultiIndex.from_product([frames, classes], names=["frame", "class"]).to_frame(index=False)
    return rows.assign(logit=logits.numpy().ravel(), probability=logits.softmax(-1).numpy().ravel())


def when_chart(table: pd.DataFrame, apex: int) -> go.Figure:
    """A map of *when* (:func:`over_time`): probability of each class with the apex in each frame; and the apex."""
    how = {"hover_data": {"logit": ":.2f", "probability": ":.0%"}, "template": TEMPLATE}
    figure = px.line(table, x="frame", y="probability", color="class", line_dash="class", **how)
    figure.update_yaxes(range=[0, 1], tickformat=".0%").update_xaxes(title="frame taken for the apex")
    return figure.add_vline(apex, line_dash="dot", line_color="grey", annotation_text="apex")


def strip_figure(rows: Mapping[str, Sequence[np.ndarray]], limit: float | None = None) -> Picture:
    """Rows of small pictures, one column per frame: RGB images, or maps in orange (for) and purple (against).

    Maps (H, W) have full colour at `limit`, by default the largest value of their row.
    """
    columns = max(len(pictures) for pictures in rows.values())
    figure = Picture(figsize=(1.1 * columns, 1.25 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    for line, (name, pictures) in zip(axes, rows.items(), strict=True):
        full = limit or max(float(np.abs(p).max()) for p in pictures) or 1.0
        for axis in line[len(pictures) :]:  # a row may be shorter
            axis.set_visible(False)
        for axis, picture in zip(line, pictures, strict=False):
            axis.imshow(picture, cmap=DIVERGING, vmin=-full, vmax=full)
        line[0].set_ylabel(name, fontsize=8)
    return figure
