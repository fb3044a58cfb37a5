"""A diagram of a model, drawn from what its code does."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from studies.anatomy import Part, anatomy
from tsfmicro_lab.explain.figures import Picture
from tsfmicro_lab.models import Recognizer

#: Okabe and Ito's colours, pale enough for text; how and where keep them in every figure of a network.
STREAM_COLOURS = {"how": "#F6C98F", "where": "#9CCBEA", "both": "#A8DDC9"}
WIDTH, HEIGHT = 0.78, 0.5


def diagram(model: Recognizer) -> Figure:
    """Boxes for the parts of a model, arrows for what they read; orange for how, blue for where, green for both.

    Nothing is drawn by hand: :func:`~studies.anatomy.anatomy` runs the model and sees what reads what.

    Args:
        model: Any model of the lab.

    Returns:
        A matplotlib figure.

    Example:
        >>> from tsfmicro_lab.models import create_model
        >>> len(diagram(create_model("tsfmicro_late")).axes[0].patches)
        7
    """
    parts = anatomy(model)
    columns = _columns(parts)
    rows = _rows(parts)
    last = max(columns.values())
    figure = Picture(figsize=(1.55 * (last + 1), 2.1 * (1 + max(rows.values()))), layout="constrained")
    axis = figure.add_subplot()
    axis.set(xlim=(-0.5, last + 0.5), ylim=(-0.5, max(rows.values()) + 0.45))
    axis.set_axis_off()
    for part in parts:
        x, y = columns[part.name], rows[part.name]
        _box(axis, part, x, y)
        for source in part.sources:
            start = (columns[source] + WIDTH / 2, rows[source])
            arrow = {"arrowstyle": "-|>", "color": "grey", "shrinkA": 0, "shrinkB": 0}
            axis.annotate("", (x - WIDTH / 2, y), start, arrowprops=arrow)
    return figure


def _columns(parts: list[Part]) -> dict[str, int]:
    """Each part stands one column behind the last of what it reads."""
    columns: dict[str, int] = {}
    for part in parts:
        columns[part.name] = 1 + max((columns[s] for s in part.sources), default=-1)
    return columns


def _rows(parts: list[Part]) -> dict[str, float]:
    """One lane per stream, where above how; what reads both stands between them."""
    lanes = {"how": 0.0, "where": 1.0, "both": 0.5}
    two = len({part.stream for part in parts}) > 1
    return {part.name: lanes[part.stream] if two else 0.0 for part in parts}


def _box(axis: Axes, part: Part, x: float, y: float) -> None:
    style = "square" if part.kind == "input" else "round,rounding_size=0.08"
    corner = (x - WIDTH / 2, y - HEIGHT / 2)
    axis.add_patch(
        FancyBboxPatch(
            corner, WIDTH, HEIGHT, boxstyle=f"{style},pad=0", facecolor=STREAM_COLOURS[part.stream], edgecolor="#444444"
        )
    )
    name = part.name.replace("spatial.", "spatial.\n")
    axis.text(x, y + 0.1, name, ha="center", va="center", fontsize=10, weight="bold", color="#222222")
    axis.text(x, y - 0.1, part.kind, ha="center", va="center", fontsize=7.5, color="#333333")
    shape = "×".join(map(str, part.shape))
    axis.text(x, y - HEIGHT / 2 - 0.03, shape, ha="center", va="top", fontsize=7.5, color="grey")
