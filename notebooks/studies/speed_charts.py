"""Charts of speed: throughput over one thing that varies, and layers under the machine's roof."""

import numpy as np
import pandas as pd
import plotly.express as px
import plotly.graph_objects as go

from studies.speed import Machine
from tsfmicro_lab.explain.charts import TEMPLATE
from tsfmicro_lab.explain.figures import GREY

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


def above_roof(table: pd.DataFrame, roof: Machine, slack: float = 1.1) -> pd.DataFrame:
    """Layers that are faster than the machine is said to be: where there are any, a roofline is not to be read.

    Either the roof was measured too low, on a machine that was busy meanwhile; or an operation was counted that was not
    done; or, left of the knee, the bytes came from a cache and not from memory.

    Args:
        table: From `speed.roofline`.
        roof: From `speed.machine`.
        slack: Share of the roof up to which a dot is a dot on it: timings vary.

    Returns:
        The rows, with a column `limit`: what their intensity allows, 10⁹ operations a second.

    Example:
        >>> layers = pd.DataFrame({"intensity": [2.0, 2.0, 50.0], "gflops": [19.0, 30.0, 120.0], "flops": 1e6})
        >>> above_roof(layers, Machine(100.0, 10.0)).index.tolist()
        [1, 2]
    """
    limit = np.minimum(table.intensity * roof.gbytes, roof.gflops)
    return table.assign(limit=limit)[(table.flops > 0) & (table.gflops > slack * limit)]


def roofline_chart(table: pd.DataFrame, roof: Machine) -> go.Figure:
    """Every layer as a dot, its area the share of time, under what the machine could do at best.

    Its title says so if the chart is not to be read, see :func:`above_roof`; the roof is then red and dashed.

    Args:
        table: From `speed.roofline`.
        roof: From `speed.machine`.

    Example:
        >>> row = {"layer": "stem.0", "kind": "Conv2d", "intensity": 5.0, "gflops": 9.0, "ms": 1.0, "flops": 9e6}
        >>> chart = roofline_chart(pd.DataFrame([row]), Machine(100.0, 10.0))
        >>> [trace.name for trace in chart.data], chart.layout.title.text
        (['Conv2d', 'roof'], 'every layer is under the roof')
        >>> roofline_chart(pd.DataFrame([row]), Machine(100.0, 1.0)).layout.title.text
        'not to be read: 1 of 1 layers lie above the roof'
    """
    counted = table[table.flops > 0].assign(share=table.ms / table.ms.sum())
    knee = roof.gflops / roof.gbytes
    x = np.array([min(counted.intensity.min(), knee) / 2, knee, max(counted.intensity.max(), knee) * 2])
    dots = {"color": "kind", "size": "share", "size_max": 60, "hover_name": "layer", "hover_data": ["ms"]}
    axes = {"log_x": True, "log_y": True, "labels": LABELS, "height": 420, "template": TEMPLATE}
    figure = px.scatter(counted, "intensity", "gflops", **dots, **axes)
    above = len(above_roof(counted, roof))
    line = {"color": "#D55E00", "dash": "dash"} if above else {"color": GREY, "dash": "solid"}
    figure.add_scatter(x=x, y=np.minimum(x * roof.gbytes, roof.gflops), name="roof", mode="lines", line=line)
    wrong = f"not to be read: {above} of {len(counted)} layers lie above the roof"
    return figure.update_layout(title=wrong if above else "every layer is under the roof")
