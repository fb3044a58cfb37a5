"""Small pictures as encoded bytes, which is what makes a slider step fast, and the bars of a prediction."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import anywidget
import cv2
import ipywidgets as widgets
import matplotlib as mpl
import numpy as np
import torch
import traitlets
from jaxtyping import Float

from tsfmicro_lab.clips import Frame
from tsfmicro_lab.explain.figures import DIVERGING
from tsfmicro_lab.models.base import Recognizer


class ClickableImage(anywidget.AnyWidget):  # type: ignore[misc]
    """A PNG with a title for screen readers; `place` tells where it was clicked, (x, y) in shares of its size."""

    _esm = Path(__file__).with_name("picture.js")
    value = traitlets.Bytes().tag(sync=True)
    title = traitlets.Unicode().tag(sync=True)
    clickable = traitlets.Bool(False).tag(sync=True)
    place = traitlets.List(traitlets.Float(), []).tag(sync=True)


class Tile(widgets.VBox):
    """A titled picture, so many pixels high; a click calls `on_click` with (x, y), shares of width and height."""

    def __init__(self, title: str, size: int = 140, on_click: Callable[[float, float], None] | None = None) -> None:
        self.size, self.title = size, title
        self.image = ClickableImage(title=title, clickable=on_click is not None)
        self.pixels: Frame = np.full((size, size, 3), 255, np.uint8)
        if on_click:
            self.image.observe(lambda change: on_click(*change.new), names="place")
        super().__init__([widgets.HTML(f"<small>{title}</small>"), self.image])

    def show(self, picture: Frame, *, smooth: bool = False) -> None:
        """Shows a picture, brought to the tile's height; its proportions stay."""
        width = round(picture.shape[1] * self.size / picture.shape[0])
        how = cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST
        self.pixels = cv2.resize(picture, (width, self.size), interpolation=how)
        self.image.value = png(self.pixels)


def show_all(tiles: Sequence[Tile], *pictures: Frame) -> None:
    """Shows a picture on each tile."""
    for tile, picture in zip(tiles, pictures, strict=True):
        tile.show(picture)


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
        rows = "".join(
            f"<tr style='font-weight: {600 if p == max(self.probabilities) else 400}'><td>{name}{bar.format(p)}{number}"
            for name, p, number in zip(self.classes, self.probabilities, self.numbers, strict=True)
        )
        self.value = f"<table style='line-height: 1.4'>{rows}</table>the model says: <b>{self.said}</b>"


def png(picture: Frame) -> bytes:
    """Encodes an RGB picture."""
    return cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()


def signed(values: Float[np.ndarray, "_ _"], limit: float | None = None) -> Frame:
    """Orange above zero, purple below, white at zero, full colour at the limit (their 99.5 % quantile by default)."""
    limit = float(np.quantile(np.abs(values), 0.995)) if limit is None else limit
    return _coloured(0.5 + 0.5 * values / max(limit, 1e-12), DIVERGING)


def strength(values: Float[np.ndarray, "_ _"], limit: float) -> Frame:
    """Dark at zero, bright at the limit."""
    return _coloured(values / max(limit, 1e-12), "viridis")


def over_face(face: Frame, colours: Frame, alpha: Float[np.ndarray, "_ _"]) -> Frame:
    """Lays colours over a pale face; both are brought to the face's size."""
    pale = 255 - (255 - face.mean(-1, keepdims=True)) * 0.45
    colours, alpha = (cv2.resize(a, face.shape[1::-1], interpolation=cv2.INTER_NEAREST) for a in (colours, alpha))
    weight = np.clip(alpha, 0, 1)[..., None]
    return (pale * (1 - weight) + colours * weight).astype(np.uint8)


def outlined(picture: Frame, masks: Iterable[np.ndarray], colour: tuple[int, int, int]) -> Frame:
    """The picture with the outlines of some regions, which are brought to its size."""
    drawn = picture.copy()
    for mask in masks:
        cv2.drawContours(drawn, outline(cv2.resize(mask.astype(np.float32), picture.shape[1::-1]) > 0.5), -1, colour, 1)
    return drawn


def outline(mask: np.ndarray) -> Sequence[np.ndarray]:
    """Rings of points (x, y) around a region."""
    rings, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [ring[:, 0] for ring in rings]


def _coloured(share: Float[np.ndarray, "_ _"], name: str) -> Frame:
    return mpl.colormaps[name](np.clip(share, 0, 1), bytes=True)[..., :3]
