"""Small pictures as encoded bytes, which is what makes a slider step fast, and controls that all explorers share."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import anywidget
import cv2
import ipywidgets as widgets
import matplotlib as mpl
import numpy as np
import traitlets
from IPython.display import Image
from jaxtyping import Float, UInt8

from tsfmicro_lab.clips import Clip
from tsfmicro_lab.data.schema import Dataset
from tsfmicro_lab.explain.figures import DIVERGING

Face = UInt8[np.ndarray, "_ _ 3"]

CLICKABLE = """
function render({ model, el }) {
  const image = document.createElement("img");
  image.style.cssText = "display: block; max-width: 100%";
  let url = null;
  function draw() {
    if (url) URL.revokeObjectURL(url);
    url = URL.createObjectURL(new Blob([model.get("value")], { type: "image/png" }));
    image.src = url;
    image.alt = model.get("title");
    image.style.cursor = model.get("clickable") ? "crosshair" : "default";
  }
  image.addEventListener("click", (event) => {
    if (!model.get("clickable")) return;
    const box = image.getBoundingClientRect();
    model.set("place", [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]);
    model.save_changes();
  });
  model.on("change:value", draw);
  draw();
  el.appendChild(image);
  return () => url && URL.revokeObjectURL(url);
}
export default { render };
"""


class Picture(anywidget.AnyWidget):  # type: ignore[misc]
    """A PNG that tells where it was clicked.

    Attributes:
        value: The encoded picture.
        title: What it shows, for screen readers.
        clickable: Whether clicks are told.
        place: (x, y) of the last click, shares of width and height.
    """

    _esm = CLICKABLE
    value = traitlets.Bytes().tag(sync=True)
    title = traitlets.Unicode().tag(sync=True)
    clickable = traitlets.Bool(False).tag(sync=True)
    place = traitlets.List(traitlets.Float(), []).tag(sync=True)


class Tile(widgets.VBox):
    """A titled picture.

    Args:
        title: Shown above it.
        size: Side, pixels.
        on_click: Called with (x, y), shares of width and height, when the picture is clicked.
    """

    def __init__(self, title: str, size: int = 140, on_click: Callable[[float, float], None] | None = None) -> None:
        self.size = size
        self.image = Picture(title=title, clickable=on_click is not None)
        self.pixels: Face = np.full((size, size, 3), 255, np.uint8)
        if on_click:
            self.image.observe(lambda change: on_click(*change.new), names="place")
        super().__init__([widgets.HTML(f"<small>{title}</small>"), self.image])

    def show(self, picture: Face, *, smooth: bool = False) -> None:
        """Shows a picture, brought to the tile's height; its proportions stay."""
        width = round(picture.shape[1] * self.size / picture.shape[0])
        how = cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST
        self.pixels = np.asarray(cv2.resize(picture, (width, self.size), interpolation=how))
        self.image.value = png(self.pixels)


class Bars(widgets.VBox):
    """The probability of every class as a bar, the largest marked.

    Args:
        classes: Names of the classes.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.levels = [widgets.FloatProgress(0, min=0, max=1, layout={"width": "9em"}) for _ in classes]
        self.numbers = [widgets.Label() for _ in classes]
        names = [widgets.Label(name, layout={"width": "6em"}) for name in classes]
        super().__init__([widgets.HBox(row) for row in zip(names, self.levels, self.numbers, strict=True)])

    def show(self, logits: Float[np.ndarray, " classes"]) -> None:
        """Shows the probabilities that belong to some logits."""
        p = np.exp(logits - logits.max())
        p = p / p.sum()
        for i, (level, number) in enumerate(zip(self.levels, self.numbers, strict=True)):
            level.value = float(p[i])
            level.bar_style = "success" if i == int(p.argmax()) else ""
            number.value = f"{p[i]:.0%} (logit {logits[i]:+.2f})"


class Message(widgets.HTML):
    """A line that says what the widget is doing, or what went wrong in it."""

    @contextmanager
    def telling(self, busy: str = "") -> Iterator[None]:
        """Says that work goes on, then nothing, or the error, which is raised on."""
        if busy:
            self.value = f"<i>{busy} …</i>"
        try:
            yield
        except Exception as error:
            self.value = f"<b>⚠ {error}</b>"
            raise
        self.value = ""


def clip_menu(data: Dataset | Sequence[Clip], index: int) -> widgets.Dropdown:
    """A menu over clips by number, name and label; its value is the number."""
    if isinstance(data, Dataset):
        rows = data.annotations
        names = [f"{s}/{c} {e}" for s, c, e in zip(rows.subject, rows["clip"], rows.emotion, strict=True)]
    else:
        names = [f"{clip.id} {clip.emotion or ''}" for clip in data]
    return labelled(widgets.Dropdown(options=[(f"{i}: {n}", i) for i, n in enumerate(names)], value=index), "clip")


def labelled(control: widgets.Widget, label: str) -> widgets.Widget:
    """A slider or menu with a label in front, all of one width."""
    control.description = label
    control.style.description_width = "11em"
    control.layout.width = "28em"
    return control


def png(picture: Face) -> bytes:
    """Encodes an RGB picture."""
    return bytes(cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1])[1])


def snapshot(rows: Sequence[Sequence[Tile]]) -> Image:
    """All tiles as one still picture, which stays when a notebook is read without a kernel."""
    lines = [np.hstack([tile.pixels for tile in row]) for row in rows]
    width = max(line.shape[1] for line in lines)
    padded = [np.pad(line, ((0, 0), (0, width - line.shape[1]), (0, 0)), constant_values=255) for line in lines]
    return Image(data=png(np.vstack(padded)), format="png")


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
