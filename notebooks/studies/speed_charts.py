"""Charts of speed: throughput over one thing that varies, and layers under the machine's roof."""

import numpy as np
import pandas as pd
import plotly.express as px
import plotly.graph_objects as go

from studies.speed import Machine
from tsfmicro_lab.explain.charts import TEMPLATE

LABELS = {"clips_per_s": "clips a second", "ms": "milliseconds a step", "mb": "memory, MiB", "side": "side, pixels"}
LABELS |= {"seconds": "seconds, evaluation", "intensity": "operations for each byte moved"}
LABELS |= {"gflops": "10⁹ operations a second", "share": "share of time"}


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
    axes = {"log_x": True, "log_y": True, "labels": LABELS, "height": 380, "template": TEMPLATE}
    figure = px.line(table, over, value, color=by, markers=True, **axes)
    figure.update_xaxes(tickvals=sorted(set(table[over])))
    return figure


def roofline_chart(table: pd.DataFrame, roof: Machine) -> go.Figure:
    """Every layer as a dot, its area the share of time, under what the machine could do at best.

    Args:
        table: From `speed.roofline`.
        roof: From `speed.machine`.

    Example:
        >>> row = {"layer": "stem.0", "kind": "Conv2d", "intensity": 5.0, "gflops": 9.0, "ms": 1.0, "flops": 9e6}
        >>> [trace.name for trace in roofline_chart(pd.DataFrame([row]), Machine(100.0, 10.0)).data]
        ['Conv2d', 'roof']
    """
    counted = table[table.flops > 0].assign(share=table.ms / table.ms.sum())
    knee = roof.gflops / roof.gbytes
    x = np.array([min(counted.intensity.min(), knee) / 2, knee, max(counted.intensity.max(), knee) * 2])
    dots = {"color": "kind", "size": "share", "size_max": 60, "hover_name": "layer", "hover_data": ["ms"]}
    axes = {"log_x": True, "log_y": True, "labels": LABELS, "height": 420, "template": TEMPLATE}
    figure = px.scatter(counted, "intensity", "gflops", **dots, **axes)
    line = {"color": "black", "dash": "solid"}
    figure.add_scatter(x=x, y=np.minimum(x * roof.gbytes, roof.gflops), name="roof", mode="lines", line=line)
    return figure
