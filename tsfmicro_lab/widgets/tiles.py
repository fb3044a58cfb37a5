"""Pictures of an explorer, drawn by the browser and, as a still, by matplotlib; and the bars of a prediction."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

import anywidget
import cv2
import ipywidgets as widgets
import matplotlib as mpl
import numpy as np
import torch
import traitlets
from jaxtyping import Float
from matplotlib.axes import Axes

from tsfmicro_lab.clips import Frame
from tsfmicro_lab.explain.figures import DIVERGING, overlay_map
from tsfmicro_lab.models.base import Recognizer
from tsfmicro_lab.preprocess.flow import flow_colours


def scripts(*names: str) -> str:
    """Some of the JavaScript files beside this one as one module."""
    return "\n".join(Path(__file__).with_name(f"{name}.js").read_text("utf-8") for name in names)


@dataclass(frozen=True, eq=False)
class Pane:
    """A face, values in colour, or values over a pale face, where colours grow with the square root.

    Attributes:
        title, face: A heading, and an RGB picture.
        values: Of kind `signed` (H, W), orange and purple; `strength` (H, W), from zero; or `flow` (2, H, W).
        limit, unit: Value of full colour, by default the 99.5 % quantile of all; and what is measured.
        smooth: Whether the values are a map of pixels; otherwise each is a position of a grid, a hard cell.
        outlines: Regions to outline, masks of any size, each with a colour; `ink` is that of text.
    """

    title: str
    face: Frame | None = None
    values: np.ndarray | None = None
    limit: float | None = None
    kind: str = "signed"
    unit: str = ""
    smooth: bool = False
    outlines: Sequence[tuple[str, np.ndarray]] = ()

    @property
    def full(self) -> float:
        """Value of full colour."""
        most = 0.0 if self.values is None else float(np.quantile(np.abs(self.values), 0.995))
        return max(most if self.limit is None else self.limit, 1e-12)

    def sent(self) -> dict[str, Any]:
        """What the browser needs."""
        rings = [(c, [(r / m.shape[::-1]).tolist() for r in outline(m)]) for c, m in self.outlines]
        sent: dict[str, Any] = {n: getattr(self, n) for n in ("title", "kind", "unit", "smooth")}
        sent |= {"limit": self.full, "outlines": rings}
        if self.face is not None:
            sent["face"] = _encoded(self.face.shape, self.face.tobytes())
        if self.values is None:
            return sent | {"told": "a picture"}
        numbers = np.round(self.values / self.full * 8192).clip(-32768, 32767).astype("<i2")
        told = f"{self.values.min():.2g} to {self.values.max():.2g} {self.unit}, full colour at {self.full:.2g}"
        return sent | {"values": numbers.tobytes(), "shape": self.values.shape[-2:], "told": told}

    def draw(self, axis: Axes) -> None:
        """Draws the same with matplotlib."""
        axis.set_title(self.title, fontsize=9)
        axis.set(xticks=[], yticks=[], frame_on=False)
        if self.values is None or self.kind == "flow":
            axis.imshow(np.asarray(self.face) if self.values is None else flow_colours(self.values, self.full))
            return
        if self.face is not None:
            image = overlay_map(axis, self.face, self.values, self.full)
        else:
            low, colours = (-self.full, DIVERGING) if self.kind == "signed" else (0, "viridis")
            image = axis.imshow(self.values, colours, vmin=low, vmax=self.full)
        bar: Any = {"location": "bottom", "pad": 0.01, "aspect": 40, "format": "%.2g", "ticks": image.get_clim()}
        axis.figure.colorbar(mpl.cm.ScalarMappable(image.norm, image.cmap), ax=axis, label=self.unit, **bar)


class Pictures(anywidget.AnyWidget):  # type: ignore[misc]
    """A row of :class:`Pane`, or rows of `columns`: the browser draws them, with one cross and one zoom for all.

    Attributes:
        shown: What is drawn.
        blend: Strength of colours over a face.
        past: Whether they no longer hold: then they are dim.
        place: Where they were clicked, if something follows from that: (x, y) in shares of width and height.
    """

    _esm = scripts("pictures", "controls", "panes", "gallery")
    _css = Path(__file__).with_name("viewer.css")
    panes, place = (traitlets.List().tag(sync=True) for _ in range(2))
    past, clickable = (traitlets.Bool().tag(sync=True) for _ in range(2))
    columns, blend = traitlets.Int().tag(sync=True), traitlets.Float(1).tag(sync=True)

    def __init__(self, on_click: Callable[[float, float], None] | None = None) -> None:
        super().__init__(clickable=on_click is not None, layout={"width": "100%"})
        self.shown: Sequence[Pane] = ()
        if on_click:
            self.observe(lambda change: on_click(*change.new), names="place")

    def show(self, *shown: Pane, columns: int = 0) -> None:
        """Shows panes, in one row or in rows of so many."""
        self.shown = shown
        with self.hold_sync():
            self.columns, self.past, self.panes = columns or len(shown), False, [pane.sent() for pane in shown]


class Bars(widgets.HTML):
    """The probability of every class as a bar, the largest in bold, and what the model says."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = classes
        super().__init__()

    def show(self, model: Recognizer, logits: Float[torch.Tensor, " classes"]) -> None:
        """Shows the probabilities that a model means by some logits."""
        self.probabilities = model.probabilities(logits[None])[0].tolist()
        self.numbers = [f"{p:.0%} (logit {x:+.2f})" for p, x in zip(self.probabilities, logits.tolist(), strict=True)]
        self.said = model.tell(logits[None], self.classes)[0]
        bar = "<td style='width: 9em'><hr style='margin: 0; border-width: 8px 0 0; width: {:.1%}'><td>"
        names, most = map(escape, self.classes), max(self.probabilities)
        parts = zip(names, self.probabilities, self.numbers, strict=True)
        rows = [f"<tr style='font-weight: {600 if p == most else 400}'><td>{n}{bar.format(p)}{x}" for n, p, x in parts]
        self.value = f"<table style='line-height:1.4'>{''.join(rows)}</table>the model says: <b>{escape(self.said)}</b>"


def checked_size(size: int) -> int:
    """The side of pictures, pixels, if they can be explored."""
    if not 32 <= size <= 1024:
        raise ValueError(f"pictures of {size} pixels cannot be explored: give a size of 32 to 1024")
    return size


def png(picture: Frame) -> bytes:
    """Encodes an RGB picture."""
    return cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()


@lru_cache(64)
def _encoded(shape: tuple[int, ...], pixels: bytes) -> bytes:
    return png(np.frombuffer(pixels, np.uint8).reshape(shape))  # most pictures are those of the step before


def outline(mask: np.ndarray) -> Sequence[np.ndarray]:
    """Rings of points (x, y) around a region."""
    rings, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [ring[:, 0] for ring in rings]
