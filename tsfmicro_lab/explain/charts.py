"""Interactive charts by plotly express, in one template: colours that colour-blind readers tell apart, 21 of them."""

from collections.abc import Sequence

import pandas as pd
import plotly.express as px
import plotly.graph_objects as go
import plotly.io as pio

from tsfmicro_lab.explain.figures import GREY
from tsfmicro_lab.models.base import STREAMS
from tsfmicro_lab.training.metrics import confusion, fold_table


def _mixed(colour: str, other: int, share: float) -> str:
    """A colour with a share of black (0) or white (255)."""
    parts = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round((1 - share) * part + share * other):02X}" for part in parts)


_OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999")
#: Okabe and Ito's seven colours, told apart by colour-blind readers, then the same darker and lighter.
COLOURS = (*_OKABE_ITO, *(_mixed(c, 0, 0.45) for c in _OKABE_ITO), *(_mixed(c, 255, 0.55) for c in _OKABE_ITO))


def _template() -> go.layout.Template:
    """Plotly's white one without its ground; each seven colours have a dash, a symbol and a hatching of their own."""
    template = go.layout.Template(pio.templates["plotly_white"])
    template.layout.colorway = COLOURS
    template.layout.update(paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", font_color=GREY)
    for axis in (template.layout.xaxis, template.layout.yaxis):
        axis.update(gridcolor="rgba(122,122,122,0.25)", zerolinecolor=GREY, linecolor=GREY)
    lines = [go.Scatter(line_dash=d, marker_symbol=s) for d, s in zip(("solid", "dash", "dot"), range(3), strict=True)]
    template.data.scatter = [line for line in lines for _ in _OKABE_ITO]
    template.data.bar = [go.Bar(marker_pattern_shape=shape) for shape in ("", "/", "x") for _ in _OKABE_ITO]
    return template


#: Name of the template: `px.line(..., template=TEMPLATE)`.
TEMPLATE = "tsfmicro"
pio.templates[TEMPLATE] = _template()


def bars_chart(table: pd.DataFrame, x: str, y: str, color: str) -> go.Figure:
    """Means as bars side by side, a colour for each series; a dot for every row, where a bar stands for several.

    As in plotly express, `x`, `y` and `color` name columns: of the groups, the values and the series.

    Example:
        >>> table = pd.DataFrame([("late", "intact", 0.4), ("late", "how off", 0.1)], columns=["model", "what", "uf1"])
        >>> [(trace.type, trace.name) for trace in bars_chart(table, "model", "uf1", "what").data]
        [('bar', 'intact'), ('bar', 'how off')]
    """
    table = short_names(table)
    means = table.groupby([x, color], sort=False)[y].mean().reset_index()
    how = {"x": x, "y": y, "color": color, "template": TEMPLATE}
    figure = px.bar(means, pattern_shape=color, barmode="group", hover_data={y: ":.3f"}, **how)
    if len(means) < len(table):
        dots = px.scatter(table, hover_data=[c for c in ("seed",) if c in table], **how)
        dots.for_each_trace(lambda dot: dot.update(offsetgroup=dot.name, marker={"color": GREY, "size": 5}))
        figure.add_traces(dots.update_traces(showlegend=False).data).update_layout(scattermode="group")
    return figure


def scores_chart(table: pd.DataFrame) -> go.Figure:
    """UF1, UAR and accuracy of each model (`training.score_table`), a bar for the mean and a dot for every seed."""
    metrics = {"uf1": "UF1", "uar": "UAR", "accuracy": "accuracy"}
    long = table.rename(columns=metrics).melt(["model", "seed"], list(metrics.values()), "metric", "score")
    return bars_chart(long, "metric", "score", "model").update_yaxes(range=[0, 1]).update_xaxes(title=None)


def confusion_chart(predictions: pd.DataFrame, classes: Sequence[str]) -> go.Figure:
    """Confusion matrix as counts, coloured by the share of the true class."""
    counts = confusion(predictions, classes)
    share = counts / counts.sum(1, keepdims=True).clip(1)
    labels = {"x": "predicted", "y": "truth", "color": "share of<br>the class"}
    axes = {"x": list(classes), "y": list(classes), "labels": labels, "aspect": "auto", "template": TEMPLATE}
    figure = px.imshow(share, zmin=0, zmax=1, color_continuous_scale="Blues", **axes)
    hover = "truth %{y}, predicted %{x}: %{text} clips<extra></extra>"
    return figure.update_traces(text=counts, texttemplate="%{text}", hovertemplate=hover)


def shares_chart(shares: pd.DataFrame) -> go.Figure:
    """Attribution mass inside the truly moved region of each held-out clip, against chance.

    On the diagonal a map is no better than one spread evenly. The columns are `clip`, `truth`, `predicted`, and the
    shares `where`, `how` and `chance`.
    """
    names = {stream: f"{stream} ({name})" for name, stream in reversed(STREAMS.items())}
    about = ["clip", "truth", "predicted", "chance"]
    long = shares.rename(columns=names).melt(about, list(names.values()), "map", "inside")
    hover = {"truth": True, "predicted": True, "chance": ":.0%", "inside": ":.0%"}
    series = {"color": "map", "symbol": "map", "hover_name": "clip", "hover_data": hover}
    figure = px.scatter(long, x="chance", y="inside", opacity=0.75, template=TEMPLATE, **series)
    top = 1.05 * float(shares.chance.max())
    figure.update_xaxes(title="share of the picture that moved (chance)", tickformat=".0%", range=[0, top])
    figure.update_yaxes(title="share of attribution inside it", tickformat=".0%", rangemode="tozero")
    return _diagonal(figure, top, "chance")


def folds_chart(predictions: pd.DataFrame, classes: Sequence[str], by: str = "subject") -> go.Figure:
    """UF1 and accuracy of each subject, or what else is a fold, the hardest first; of one model and seed."""
    table = fold_table(predictions, classes, by).sort_values(["accuracy", "uf1"]).rename(columns={"uf1": "UF1"})
    names = {"hover_data": {"clips": True, "value": ":.2f"}, "labels": {"value": "score", "variable": "score"}}
    figure = px.bar(table, x=by, y=["UF1", "accuracy"], barmode="group", template=TEMPLATE, **names)
    return figure.update_xaxes(type="category").update_yaxes(range=[0, 1])


def reliability_chart(bins: pd.DataFrame) -> go.Figure:
    """Reliability diagram: accuracy against confidence; below the diagonal a model is too sure.

    The bins are those of `training.calibration`; the area of a dot is its number of clips.
    """
    how = {"hover_data": {"confidence": ":.0%", "accuracy": ":.0%", "clips": True}, "template": TEMPLATE}
    figure = px.scatter(bins, x="confidence", y="accuracy", size="clips", size_max=26, **how)
    figure.update_traces(mode="lines+markers", name="model", showlegend=True, marker_sizemin=4)
    figure.update_xaxes(range=[0, 1], tickformat=".0%").update_yaxes(range=[0, 1], tickformat=".0%")
    return _diagonal(figure, 1.0, "calibrated")


def _diagonal(figure: go.Figure, top: float, name: str) -> go.Figure:
    line = {"color": "grey", "dash": "dot"}
    return figure.add_scatter(x=[0, top], y=[0, top], mode="lines", name=name, line=line, hoverinfo="skip")


def short_names(table: pd.DataFrame) -> pd.DataFrame:
    """The table with models named without the `tsfmicro_` that most begin with."""
    return table.assign(model=table["model"].astype(str).str.removeprefix("tsfmicro_")) if "model" in table else table
