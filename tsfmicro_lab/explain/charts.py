"""Interactive charts of an evaluation."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from tsfmicro_lab.training.metrics import confusion

#: Okabe and Ito's colours, told apart by colour-blind readers.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999")


def scores_chart(table: pd.DataFrame) -> go.Figure:
    """UF1, UAR and accuracy of each model, a bar for the mean and a dot for every seed.

    Args:
        table: From `training.score_table`.

    Returns:
        A plotly figure.

    Example:
        >>> table = pd.DataFrame({"model": ["late"], "seed": [0], "uf1": [0.4], "uar": [0.5], "accuracy": [0.6]})
        >>> scores_chart(table).data[0].y
        (0.4, 0.5, 0.6)
    """
    figure = go.Figure()
    metrics = {"uf1": "UF1", "uar": "UAR", "accuracy": "accuracy"}
    for colour, (model, rows) in zip(COLOURS, table.groupby("model", sort=False), strict=False):
        name = str(model).removeprefix("tsfmicro_")
        means = [rows[m].mean() for m in metrics]
        figure.add_bar(x=list(metrics.values()), y=means, name=name, marker_color=colour, offsetgroup=name)
        for _, row in rows.iterrows() if len(rows) > 1 else ():
            figure.add_scatter(
                x=list(metrics.values()),
                y=[row[m] for m in metrics],
                mode="markers",
                marker={"color": "black", "size": 5},
                name=f"seed {row.seed}",
                offsetgroup=name,
                showlegend=False,
            )
    figure.update_layout(
        template="plotly_white", barmode="group", scattermode="group", yaxis={"range": [0, 1], "title": "score"}
    )
    return figure


def confusion_chart(predictions: pd.DataFrame, classes: Sequence[str]) -> go.Figure:
    """Confusion matrix as counts, coloured by the share of the true class.

    Args:
        predictions: Columns `truth` and `predicted`.
        classes: All classes.

    Returns:
        A plotly figure.

    Example:
        >>> table = pd.DataFrame({"truth": ["a", "b"], "predicted": ["a", "a"]})
        >>> confusion_chart(table, ["a", "b"]).data[0].text.tolist()
        [[1, 0], [1, 0]]
    """
    counts = confusion(predictions, classes)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    names = list(classes)
    figure = go.Figure(
        go.Heatmap(
            z=share,
            x=names,
            y=names,
            text=counts,
            texttemplate="%{text}",
            colorscale="Blues",
            zmin=0,
            zmax=1,
            colorbar={"title": "share of<br>the class"},
            hovertemplate="truth %{y}, predicted %{x}: %{text} clips<extra></extra>",
        )
    )
    figure.update_layout(template="plotly_white", xaxis_title="predicted", yaxis_title="truth")
    figure.update_yaxes(autorange="reversed")
    return figure


def shares_chart(shares: pd.DataFrame) -> go.Figure:
    """For each held-out clip, the share of attribution inside the truly moved region against chance.

    Args:
        shares: Columns `clip`, `truth`, `predicted`, `where`, `how`, `chance`, all shares between 0 and 1.

    Returns:
        A plotly figure; on the diagonal a map is no better than one spread evenly.

    Example:
        >>> row = {"clip": "s/1", "truth": "a", "predicted": "b", "where": 0.1, "how": 0.4, "chance": 0.2}
        >>> shares_chart(pd.DataFrame([row])).data[0].y.tolist()
        [0.4]
    """
    figure = go.Figure()
    streams = {"how": "how (difference)", "where": "where (onset)"}
    for colour, (column, name) in zip(COLOURS, streams.items(), strict=False):
        figure.add_scatter(
            x=shares.chance,
            y=shares[column],
            mode="markers",
            name=name,
            marker={"color": colour, "size": 8, "opacity": 0.75},
            text=shares["clip"] + ": " + shares.truth + ", predicted " + shares.predicted,
            hovertemplate="%{text}<br>inside %{y:.0%}, area %{x:.0%}<extra></extra>",
        )
    top = 1.05 * float(shares.chance.max())
    figure.add_scatter(x=[0, top], y=[0, top], mode="lines", name="chance", line={"color": "grey", "dash": "dot"})
    figure.update_layout(
        template="plotly_white",
        xaxis={"title": "share of the picture that moved (chance)", "tickformat": ".0%", "range": [0, top]},
        yaxis={"title": "share of attribution inside it", "tickformat": ".0%", "range": [0, None]},
    )
    return figure


def curves_chart(history: pd.DataFrame) -> go.Figure:
    """Loss over the epochs, of training clips (solid) and of held-out subjects (dashed), a colour for each model.

    Args:
        history: From `training.learning_curves`, with a column `model` if there are several.

    Returns:
        A plotly figure.

    Example:
        >>> history = pd.DataFrame({"epoch": [1, 2], "train_loss": [1.6, 1.5], "test_loss": [1.6, 1.6]})
        >>> [line.name for line in curves_chart(history).data]
        ['training', 'held out']
    """
    figure = go.Figure()
    groups = history.groupby("model", sort=False) if "model" in history else [("", history)]
    for colour, (model, rows) in zip(COLOURS, groups, strict=False):
        for column, name, dash in (("train_loss", "training", "solid"), ("test_loss", "held out", "dash")):
            line = {"color": colour, "dash": dash}
            figure.add_scatter(x=rows.epoch, y=rows[column], mode="lines", name=f"{model!s} {name}".strip(), line=line)
    figure.update_layout(template="plotly_white", xaxis_title="epoch", yaxis_title="loss (cross-entropy)")
    return figure


def intervals_chart(intervals: pd.DataFrame, score: str = "uf1") -> go.Figure:
    """A dot and a 95 % interval per model.

    Args:
        intervals: Columns `model`, `uf1`, `low`, `high`, `gain`, `gain_low`, `gain_high`, one row per model.
        score: `uf1`, or `gain` over the temporal branch alone.

    Returns:
        A plotly figure.

    Example:
        >>> row = {"model": "late", "uf1": 0.4, "low": 0.3, "high": 0.5}
        >>> intervals_chart(pd.DataFrame([row])).data[0].error_x.array.tolist()
        [0.1]
    """
    low, high = ("low", "high") if score == "uf1" else ("gain_low", "gain_high")
    middle = intervals[score]
    error = {"array": (intervals[high] - middle).round(6), "arrayminus": (middle - intervals[low]).round(6)}
    names = intervals.model.str.removeprefix("tsfmicro_")
    figure = go.Figure(go.Scatter(x=middle, y=names, error_x=error, mode="markers", marker={"color": COLOURS[0]}))
    title = "UF1, mean over seeds" if score == "uf1" else "gain in UF1 over the temporal branch alone"
    figure.update_layout(template="plotly_white", xaxis_title=title)
    figure.update_yaxes(autorange="reversed")
    if score == "gain":
        figure.add_vline(0, line_dash="dot", line_color="grey")
    return figure


def layout_chart(intervals: pd.DataFrame, model: str = "tsfmicro_late") -> go.Figure:
    """How the gain of a fusion over the difference alone changes as faces differ more: the test of "where".

    Args:
        intervals: Columns `distractors`, `layout`, `model`, `gain`, `gain_low`, `gain_high`.
        model: Whose gain.

    Returns:
        A plotly figure.

    Example:
        >>> row = {"distractors": "all", "layout": 1.0, "model": "tsfmicro_late"}
        >>> row |= {"gain": 0.1, "gain_low": 0.0, "gain_high": 0.2}
        >>> layout_chart(pd.DataFrame([row])).data[0].name
        'distractors: all'
    """
    figure = go.Figure()
    groups = intervals[intervals.model == model].groupby("distractors", sort=False)
    for shift, (colour, (name, rows)) in enumerate(zip(COLOURS, groups, strict=False)):
        error = {"array": rows.gain_high - rows.gain, "arrayminus": rows.gain - rows.gain_low}
        line = {"color": colour}
        figure.add_scatter(
            x=rows.layout + 0.02 * shift, y=rows.gain, error_y=error, name=f"distractors: {name}", line=line
        )
    figure.add_hline(0, line_dash="dot", line_color="grey")
    figure.update_layout(
        template="plotly_white",
        xaxis={"title": "variation of the faces' layout (1: about as between adults)", "tickvals": [0, 1, 2]},
        yaxis_title="gain in UF1 over the difference alone",
        showlegend=True,
    )
    return figure


def interventions_chart(streams: pd.DataFrame) -> go.Figure:
    """UF1 of each variant, intact and with a stream switched off or taken from another subject; a dot for every seed.

    Args:
        streams: Columns `model`, `seed`, `intervention`, `uf1`.

    Returns:
        A plotly figure.

    Example:
        >>> rows = [("late", 0, "intact", 0.4), ("late", 0, "how off", 0.1)]
        >>> table = pd.DataFrame(rows, columns=["model", "seed", "intervention", "uf1"])
        >>> [trace.name for trace in interventions_chart(table).data if trace.type == "bar"]
        ['intact', 'how off']
    """
    figure = go.Figure()
    for colour, (name, rows) in zip(COLOURS, streams.groupby("intervention", sort=False), strict=False):
        means = rows.groupby("model", sort=False).uf1.mean()
        figure.add_bar(x=means.index.str.removeprefix("tsfmicro_"), y=means, name=name, marker_color=colour)
        figure.add_scatter(
            x=rows.model.str.removeprefix("tsfmicro_"),
            y=rows.uf1,
            mode="markers",
            marker={"color": "black", "size": 5},
            offsetgroup=name,
            showlegend=False,
        )
        figure.data[-2].offsetgroup = name
    figure.update_layout(template="plotly_white", barmode="group", scattermode="group", yaxis_title="UF1")
    return figure
