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
