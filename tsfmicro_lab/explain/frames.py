"""Where-how for models of many frames or many levels: shares per frame and region, and pictures of both."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Float

from tsfmicro_lab.explain.charts import COLOURS
from tsfmicro_lab.explain.figures import DIVERGING, Picture
from tsfmicro_lab.explain.methods import Mask


def frame_table(heat: Float[np.ndarray, "frames _ _"], regions: Mapping[str, Mask]) -> pd.DataFrame:
    """Share of all attribution that lies in each region of each frame, by absolute value.

    Regions may overlap. `elsewhere` is what lies in none of them.

    Args:
        heat: One map per frame (see `attribute`).
        regions: Masks by name, of the maps' size.

    Returns:
        Rows `frame` (from 0), `region`, `share`; all shares of an attribution lie between 0 and 1.

    Example:
        >>> heat = np.array([[[3.0, 0.0]], [[0.0, -1.0]]])
        >>> frame_table(heat, {"left": np.array([[True, False]])}).share.tolist()
        [0.75, 0.0, 0.0, 0.25]
    """
    mass = np.abs(heat) / max(float(np.abs(heat).sum()), np.finfo(float).tiny)
    named = {**regions, "elsewhere": ~np.any(list(regions.values()), axis=0)}
    rows = [(i, name, float(frame[mask].sum())) for i, frame in enumerate(mass) for name, mask in named.items()]
    return pd.DataFrame(rows, columns=["frame", "region", "share"])


def frames_chart(table: pd.DataFrame, most: int = 6) -> go.Figure:
    """Shares per frame and region as a heat map, the regions with the largest shares on top.

    Args:
        table: From :func:`frame_table`.
        most: How many regions are shown.

    Example:
        >>> rows = pd.DataFrame({"frame": [0, 1], "region": "12", "share": [0.2, 0.5]})
        >>> frames_chart(rows).data[0].z.tolist()
        [[0.2, 0.5]]
    """
    wide = table.pivot_table(index="region", columns="frame", values="share")
    order = wide.sum(axis=1).sort_values().index[-most:]
    shown = wide.loc[order]
    figure = go.Figure(
        go.Heatmap(z=shown.to_numpy(), x=shown.columns.tolist(), y=order.tolist(), colorscale="Blues", zmin=0)
    )
    figure.update_layout(xaxis_title="frame", yaxis_title="region", height=120 + 30 * len(shown), yaxis_type="category")
    return figure


def levels_chart(evidence: Mapping[str, Sequence[float]], classes: Sequence[str]) -> go.Figure:
    """What each level adds to each logit, side by side.

    Args:
        evidence: Per level, one number per class (see `FRLDGT.level_evidence`).
        classes: Names of the classes.

    Example:
        >>> len(levels_chart({"local": [0.1, -0.2], "global": [0.0, 0.3]}, ["a", "b"]).data)
        2
    """
    bars = [
        go.Bar(name=level, x=list(classes), y=list(values), marker_color=colour)
        for (level, values), colour in zip(evidence.items(), COLOURS, strict=False)
    ]
    figure = go.Figure(bars)
    figure.update_layout(barmode="group", yaxis_title="added to the logit", height=320)
    return figure


def strip_figure(rows: Mapping[str, Sequence[np.ndarray]], limit: float | None = None) -> Picture:
    """Rows of small pictures, one column per frame: RGB images, or maps in orange (for) and purple.

    Args:
        rows: Per row its pictures: (H, W, 3), or (H, W) with a sign.
        limit: Value of full colour for maps; by default the largest of each row.

    Example:
        >>> len(strip_figure({"flow": [np.zeros((4, 4, 3))] * 3}).axes)
        3
    """
    columns = max(len(pictures) for pictures in rows.values())
    figure = Picture(figsize=(1.1 * columns, 1.25 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for line, (name, pictures) in zip(axes, rows.items(), strict=True):
        full = limit or max(float(np.abs(p).max()) for p in pictures) or 1.0
        for i, axis in enumerate(line):
            axis.set_xticks([])
            axis.set_yticks([])
            if i < len(pictures):
                axis.imshow(pictures[i], cmap=DIVERGING, vmin=-full, vmax=full)
        line[0].set_ylabel(name, fontsize=8)
    return figure
