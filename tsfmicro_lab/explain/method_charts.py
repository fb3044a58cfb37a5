"""Charts about explanations: how methods score, what a change of the model does to them, what truly was the cause."""

from collections.abc import Collection

import pandas as pd
import plotly.graph_objects as go

from tsfmicro_lab.explain.charts import COLOURS
from tsfmicro_lab.explain.truth import BETTER


def methods_chart(
    scores: pd.DataFrame, score: str, stream: str = "how", *, controls: Collection[str] = ("random", "edges", "input")
) -> go.Figure:
    """One score of every method: a dot and its 95 % interval, controls in another colour.

    Args:
        scores: Columns `method`, `stream`, `score`, `mean`, `low`, `high`, of clips of one kind.
        score: Which one.
        stream: `how` or `where`; scores of both maps together are found, too.
        controls: Methods that never saw the model.

    Returns:
        A plotly figure, the best method on top.

    Raises:
        ValueError: There is no such score.

    Example:
        >>> row = {"method": "saliency", "stream": "how", "score": "mass", "mean": 0.1, "low": 0.05, "high": 0.2}
        >>> methods_chart(pd.DataFrame([row]), "mass").data[0].x.tolist()
        [0.1]
    """
    rows = scores[(scores.score == score) & scores.stream.isin([stream, "both"])]
    if rows.empty:
        raise ValueError(f"no score '{score}' of '{stream}': choose from {sorted(set(scores.score))}")
    ascending = BETTER.get(score, 1) > 0  # plotly draws the first row at the bottom
    rows = rows.sort_values("mean", ascending=ascending)
    figure = go.Figure()
    for name, colour, chosen in (("method", COLOURS[0], False), ("control", COLOURS[1], True)):
        part = rows[rows.method.isin(list(controls)) == chosen]
        error = {"array": (part.high - part["mean"]).round(6), "arrayminus": (part["mean"] - part.low).round(6)}
        figure.add_scatter(
            x=part["mean"], y=part.method, error_x=error, mode="markers", marker={"color": colour, "size": 9}, name=name
        )
    figure.update_yaxes(categoryorder="array", categoryarray=list(rows.method))
    good = "higher is better" if ascending else "lower is better"
    figure.update_layout(template="plotly_white", xaxis_title=f"{score} ({good})", height=120 + 24 * len(rows))
    return figure


def sanity_chart(checks: pd.DataFrame) -> go.Figure:
    """Similarity of maps before and after a change, methods × changes; 1 means that the method did not notice.

    Args:
        checks: Columns `method`, `check`, `similarity`.

    Returns:
        A plotly figure.

    Example:
        >>> sanity_chart(pd.DataFrame([{"method": "rollout", "check": "classifier", "similarity": 1.0}])).data[0].text
        array([['1.00']], dtype=object)
    """
    table = checks.pivot_table(index="method", columns="check", values="similarity", sort=False)
    heat = go.Heatmap(
        z=table.to_numpy(),
        x=list(table.columns),
        y=list(table.index),
        text=table.map("{:.2f}".format).to_numpy(dtype=object),
        texttemplate="%{text}",
        colorscale="Cividis",
        zmin=0,
        zmax=1,
        colorbar={"title": "similarity"},
    )
    figure = go.Figure(heat)
    figure.update_layout(template="plotly_white", height=120 + 30 * len(table))
    figure.update_yaxes(autorange="reversed")
    return figure


def causes_chart(effects: pd.DataFrame) -> go.Figure:
    """Effect of each action unit on a logit, beside what an attribution claimed for its region.

    Args:
        effects: From `counterfactual.beside_attribution`.

    Returns:
        A plotly figure.

    Example:
        >>> row = {"unit": "12", "name": "lip corner puller", "present": True, "effect": 2.0, "claimed": 1.5}
        >>> [bar.name for bar in causes_chart(pd.DataFrame([row])).data]
        ['effect: with it minus without it', 'claimed by the map']
    """
    names = "AU " + effects.unit + " " + effects["name"].where(~effects.present, effects["name"] + " (moved)")
    figure = go.Figure()
    for column, title, colour in (
        ("effect", "effect: with it minus without it", COLOURS[2]),
        ("claimed", "claimed by the map", COLOURS[0]),
    ):
        figure.add_bar(y=names, x=effects[column], orientation="h", name=title, marker_color=colour)
    figure.update_layout(template="plotly_white", xaxis_title="logit", height=120 + 34 * len(effects))
    figure.update_yaxes(autorange="reversed")
    return figure
