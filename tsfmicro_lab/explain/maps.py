"""Where-how maps in plotly: one symmetric scale for all maps of a figure, over the face, with a slider that blends."""

import base64
from collections.abc import Sequence

import cv2
import matplotlib as mpl
import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from tsfmicro_lab.explain.attribution import Heat, WhereHow
from tsfmicro_lab.explain.charts import COLOURS
from tsfmicro_lab.explain.figures import DIVERGING, comparable, shared_limit


def maps_chart(
    faces: Sequence[np.ndarray], maps: Sequence[WhereHow], titles: Sequence[str], *, columns: int = 1, side: int = 190
) -> go.Figure:
    """Where and how of several clips, methods or classes over their faces.

    Every map has the same scale, so that what is pale beside another is weak. Colours grow with the square root.
    Maps of different methods, whose units differ, are drawn as shares of their own attribution. A map of zeros leaves
    the face as it is and says so.

    Args:
        faces: RGB frames, 0 to 255, one for each pair of maps; or one for all.
        maps: The pairs.
        titles: One for each pair.
        columns: Pairs side by side.
        side: Of a map, screen pixels.

    Returns:
        A plotly figure with a slider for the strength of the colours.

    Raises:
        ValueError: There is no map, or titles and faces are not as many.

    Example:
        >>> heat = np.random.default_rng(0).normal(size=(56, 56))
        >>> pair = WhereHow(heat, 0 * heat, target=0, method="noise", completeness_error=0.0)
        >>> figure = maps_chart([np.full((56, 56, 3), 128.0)], [pair], ["noise"])
        >>> [note.text for note in figure.layout.annotations][-1]
        'all zero'
    """
    faces = [*faces] * len(maps) if len(faces) == 1 else list(faces)
    if not maps or len(titles) != len(maps) or len(faces) != len(maps):
        raise ValueError(f"there are {len(maps)} pairs of maps, {len(faces)} faces and {len(titles)} titles")
    maps = comparable(maps)
    rows = -(-len(maps) // columns)
    names = [name for title in titles for name in (f"{title}<br>where", "how")]
    figure = make_subplots(
        rows, 2 * columns, subplot_titles=names, horizontal_spacing=0.01, vertical_spacing=min(0.35 / rows, 0.2)
    )
    for i, (face, pair) in enumerate(zip(faces, maps, strict=True)):
        for j, heat in enumerate((pair.where, pair.how)):
            _draw(figure, face, heat, i // columns + 1, 2 * (i % columns) + j + 1)
    limit = shared_limit(maps)
    figure.update_layout(
        template="plotly_white",
        coloraxis={"cmin": -limit, "cmax": limit, "colorscale": _scale(), "colorbar": _bar(limit)},
        sliders=[_blend([i for i, trace in enumerate(figure.data) if trace.type == "heatmap"])],
        width=2 * columns * side + 140,
        height=rows * (side + 40) + 130,
        margin={"t": 50, "b": 70, "l": 10, "r": 10},
    )
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    figure.update_annotations(font_size=12)
    return figure


def regions_chart(table: pd.DataFrame) -> go.Figure:
    """Share of each map inside each region as bars, beside what an even map would have there.

    Args:
        table: From `regions.region_table`, or a mean of several.

    Returns:
        A plotly figure.

    Example:
        >>> row = {"region": "12", "where": 0.1, "how": 0.6, "area": 0.08}
        >>> [bar.name for bar in regions_chart(pd.DataFrame([row])).data]
        ['how (difference)', 'where (onset)', 'area: what an even map has']
    """
    figure = go.Figure()
    names = {"how": "how (difference)", "where": "where (onset)"}
    for (column, name), colour in zip(names.items(), COLOURS, strict=False):
        figure.add_bar(x="AU " + table.region, y=table[column], name=name, marker_color=colour)
    marker = {"symbol": "line-ew", "size": 22, "line": {"width": 2, "color": "black"}}
    figure.add_scatter(
        x="AU " + table.region, y=table.area, mode="markers", marker=marker, name="area: what an even map has"
    )
    figure.update_layout(template="plotly_white", yaxis={"title": "share of the map", "tickformat": ".0%"})
    return figure


def _draw(figure: go.Figure, face: np.ndarray, heat: Heat, row: int, column: int) -> None:
    height, width = face.shape[:2]
    pale = np.repeat(255 - (255 - face.mean(-1, keepdims=True)) * 0.45, 3, -1).astype(np.uint8)
    encoded = base64.b64encode(cv2.imencode(".png", pale)[1].tobytes()).decode()
    figure.add_trace(go.Image(source=f"data:image/png;base64,{encoded}", hoverinfo="skip"), row, column)
    place = {"x0": (width / heat.shape[1] - 1) / 2, "dx": width / heat.shape[1]}
    place |= {"y0": (height / heat.shape[0] - 1) / 2, "dy": height / heat.shape[0]}
    shown = np.asarray(heat, np.float32)
    figure.add_trace(
        go.Heatmap(z=shown, coloraxis="coloraxis", hovertemplate="%{z:.3g}<extra></extra>", **place), row, column
    )
    if not heat.any():
        figure.add_annotation(x=width / 2, y=height / 2, text="all zero", showarrow=False, row=row, col=column)


def _scale(stops: int = 41) -> list[tuple[float, str]]:
    """Orange and purple that grow out of nothing with the square root."""
    scale = []
    for s in np.linspace(-1, 1, stops):
        r, g, b, _ = mpl.colormaps[DIVERGING](0.5 + 0.5 * s, bytes=True)
        scale.append((float(0.5 + 0.5 * np.sign(s) * s**2), f"rgba({r},{g},{b},{abs(s):.3f})"))
    return scale


def _bar(limit: float) -> dict[str, object]:
    ticks = [float(np.sign(s) * s**2 * limit) for s in (-1, -0.7, -0.4, 0, 0.4, 0.7, 1)]
    text = [f"{tick:.1e}" if tick else "0" for tick in ticks]
    return {"title": "for the class (orange)<br>against it (purple)", "tickvals": ticks, "ticktext": text, "len": 0.9}


def _blend(traces: list[int]) -> dict[str, object]:
    steps = [
        {"label": f"{s:.0%}", "method": "restyle", "args": [{"opacity": float(s)}, traces]}
        for s in np.linspace(0, 1, 11)
    ]
    return {
        "active": 10,
        "steps": steps,
        "currentvalue": {"prefix": "strength of colours: "},
        "len": 0.8,
        "x": 0.1,
        "pad": {"t": 10},
    }
