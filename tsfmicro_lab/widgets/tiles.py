"""Small pictures as encoded bytes, which is what makes a slider step fast."""

from collections.abc import Sequence

import cv2
import ipywidgets as widgets
import matplotlib as mpl
import numpy as np
from IPython.display import Image
from jaxtyping import Float, UInt8

from tsfmicro_lab.explain.figures import DIVERGING

Face = UInt8[np.ndarray, "_ _ 3"]


class Tile(widgets.VBox):
    """A titled picture.

    Args:
        title: Shown above it.
        size: Side, pixels.
    """

    def __init__(self, title: str, size: int = 140) -> None:
        self.size = size
        self.image = widgets.Image(format="png", width=size, height=size)
        self.pixels: Face = np.full((size, size, 3), 255, np.uint8)
        super().__init__([widgets.HTML(f"<small>{title}</small>"), self.image])

    def show(self, picture: Face, *, smooth: bool = False) -> None:
        """Shows a picture, enlarged to the tile's size."""
        how = cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST
        self.pixels = np.asarray(cv2.resize(picture, (self.size, self.size), interpolation=how))
        self.image.value = png(self.pixels)


def labelled(control: widgets.Widget, label: str) -> widgets.Widget:
    """A slider or menu with a label in front, all of one width."""
    control.description = label
    control.style.description_width = "9.5em"
    control.layout.width = "26em"
    return control


def png(picture: Face) -> bytes:
    """Encodes an RGB picture."""
    return bytes(cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1])[1])


def snapshot(rows: Sequence[Sequence[Tile]]) -> Image:
    """All tiles as one still picture, which stays when a notebook is read without a kernel."""
    return Image(data=png(np.vstack([np.hstack([tile.pixels for tile in row]) for row in rows])), format="png")


def signed(values: Float[np.ndarray, "_ _"], limit: float) -> Face:
    """Orange above zero, purple below, white at zero, full colour at the limit."""
    return _coloured(0.5 + 0.5 * values / max(limit, 1e-12), DIVERGING)


def strength(values: Float[np.ndarray, "_ _"], limit: float) -> Face:
    """Dark at zero, bright at the limit."""
    return _coloured(values / max(limit, 1e-12), "viridis")


def over_face(face: Face, colours: Face, alpha: Float[np.ndarray, "_ _"]) -> Face:
    """Lays colours over a pale face; both are brought to the face's size."""
    side = face.shape[:2]
    pale = 255 - (255 - face.mean(-1, keepdims=True)) * 0.45
    colours, alpha = (cv2.resize(a, side[::-1], interpolation=cv2.INTER_NEAREST) for a in (colours, alpha))
    weight = np.clip(alpha, 0, 1)[..., None]
    return np.asarray(pale * (1 - weight) + colours * weight, np.uint8)


def _coloured(share: Float[np.ndarray, "_ _"], name: str) -> Face:
    return np.asarray(mpl.colormaps[name](np.clip(share, 0, 1), bytes=True)[..., :3])
