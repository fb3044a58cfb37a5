"""Charts of speed: throughput over one thing that varies, and layers under the machine's roof."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from studies.speed import Machine
from tsfmicro_lab.explain.charts import COLOURS


def speed_chart(table: pd.DataFrame, over: str = "batch", value: str = "clips_per_s", by: str = "way") -> go.Figure:
    """One line per way to run the model, both axes logarithmic: a straight line means that a law holds, a knee its end.

    Args:
        table: Rows of `speed.measure` with a column `by`.
        over: Column of the x-axis: `batch`, `side`, …
        value: Column of the y-axis: `clips_per_s`, `ms`, `mb`, …
        by: Column that tells the lines apart.

    Example:
        >>> rows = pd.DataFrame({"batch": [1, 2], "clips_per_s": [5.0, 9.0], "way": "float32"})
        >>> speed_chart(rows).data[0].y
        array([5., 9.])
    """
    figure = go.Figure()
    for colour, (name, rows) in zip(COLOURS, table.groupby(by, sort=False), strict=False):
        figure.add_scatter(
            x=rows[over].to_numpy(), y=rows[value].to_numpy(), name=str(name), marker_color=colour, mode="lines+markers"
        )
    names = {"clips_per_s": "clips a second", "ms": "milliseconds a step", "mb": "memory, MiB", "side": "side, pixels"}
    names |= {"seconds": "seconds, evaluation"}
    figure.update_xaxes(type="log", title=names.get(over, over), tickvals=sorted(set(table[over])))
    figure.update_yaxes(type="log", title=names.get(value, value))
    return figure.update_layout(template="plotly_white", showlegend=True, height=380)


def roofline_chart(table: pd.DataFrame, roof: Machine) -> go.Figure:
    """Every layer as a dot, its area the share of time, under what the machine could do at best.

    Args:
        table: From `speed.roofline`.
        roof: From `speed.machine`.

    Example:
        >>> row = {"layer": "stem.0", "kind": "Conv2d", "intensity": 5.0, "gflops": 9.0, "ms": 1.0, "flops": 9e6}
        >>> roofline_chart(pd.DataFrame([row]), Machine(100.0, 10.0)).data[0].name
        'roof'
    """
    counted = table[table.flops > 0]
    knee = roof.gflops / roof.gbytes
    x = np.array([min(counted.intensity.min(), knee) / 2, knee, max(counted.intensity.max(), knee) * 2])
    figure = go.Figure()
    figure.add_scatter(
        x=x, y=np.minimum(x * roof.gbytes, roof.gflops), name="roof", mode="lines", line={"color": "black"}
    )
    for colour, (kind, rows) in zip(COLOURS, counted.groupby("kind", sort=False), strict=False):
        figure.add_scatter(
            x=rows.intensity,
            y=rows.gflops,
            name=str(kind),
            mode="markers",
            marker={"color": colour, "size": 6 + 60 * np.sqrt(rows.ms / table.ms.sum())},
            text=[f"{r.layer}: {r.ms:.2f} ms" for r in rows.itertuples()],
        )
    figure.update_xaxes(type="log", title="operations for each byte moved")
    figure.update_yaxes(type="log", title="10⁹ operations a second")
    return figure.update_layout(template="plotly_white", height=460)
