"""What all explorers share: controls that call something, a message, a line that tells, and rows of pictures."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import ipywidgets as widgets
from IPython.display import Image

from tsfmicro_lab.clips import Clip
from tsfmicro_lab.data.schema import Dataset
from tsfmicro_lab.explain.figures import Picture
from tsfmicro_lab.models import Recognizer, from_pretrained
from tsfmicro_lab.widgets.tiles import Tile

#: What a reader's choice can lead to, told in one sentence; other errors are ours, and keep their trace.
REFUSALS = (ValueError, OSError)


class Explorer(widgets.VBox):
    """Rows of columns of controls, a message, a line (`story`) that tells what is seen, and rows of what is drawn."""

    #: What colours and lines of the pictures mean.
    legend = ""

    def __init__(
        self, controls: Sequence[Sequence[Sequence[widgets.Widget]]], below: Sequence[Sequence[widgets.Widget]]
    ) -> None:
        # With room of their own, so that pictures stay where they are.
        self.message, self.story = (widgets.HTML(layout={"min_height": "22px", "margin": "0"}) for _ in range(2))
        self.below = below
        rows = ([widgets.VBox(column) for column in row] for row in controls)
        above, beneath = ([widgets.HBox(row, layout={"flex_flow": "row wrap"}) for row in r] for r in (rows, below))
        super().__init__([*above, self.message, self.story, *beneath, widgets.HTML(f"<small>{self.legend}</small>")])

    @contextmanager
    def telling(self, busy: str = "") -> Iterator[None]:
        """Says that work goes on, then nothing, or the error, which is raised on."""
        self.message.value = busy and f"<i>{busy} …</i>"
        try:
            yield
        except Exception as error:
            self.message.value = f"<b>⚠ {error}</b>"
            self.clear()
            raise
        self.message.value = ""

    def clear(self) -> None:
        """Takes away what no longer holds when something is refused."""

    def when(self, controls: Iterable[Any], call: Callable[[], None], busy: str = "", names: Any = "value") -> None:
        """Calls something whenever one of some controls changes; the message tells what is refused, without a trace."""

        def run(_: object) -> None:
            with suppress(*REFUSALS), self.telling(busy):
                call()

        for control in controls:
            control.observe(run, names)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        return super()._repr_mimebundle_(**kwargs) | {"image/png": self.snapshot().data}

    def story_text(self) -> str:
        """Line and legend as plain text."""
        return re.sub("<[^>]*>", "", self.story.value) + f"\n{self.legend}"

    def snapshot(self) -> Image:
        """All pictures as a still one, with titles, legend and line, to be read without a kernel."""
        rows = [tiles for row in self.below if (tiles := [t for t in row if isinstance(t, Tile)])]
        width = max(sum(tile.pixels.shape[1] + 6 for tile in row) for row in rows)
        top = height = sum(max(tile.size for tile in row) + 24 for row in rows) + 40
        figure = Picture(figsize=(width / 80, height / 80), dpi=80)
        for row in rows:
            left = 0
            for tile in row:
                figure.text(left / width, (top - 16) / height, tile.title, fontsize=10)
                figure.figimage(tile.pixels, left, top - 20 - tile.size)
                left += tile.pixels.shape[1] + 6
            top -= max(tile.size for tile in row) + 24
        figure.text(0, 4 / height, self.story_text(), fontsize=9, wrap=True)
        return Image(data=figure._repr_png_(), format="png")


def model_and_classes(
    model: Recognizer | None, classes: Sequence[str] | None, shipped: str = "emotions"
) -> tuple[Recognizer, list[str]]:
    """A model, by default one that ships, and a name for each of its classes; refuses other numbers of names."""
    model = model or from_pretrained(shipped)
    classes = classes or model.config.classes
    if len(classes) != model.config.num_classes:
        raise ValueError(f"the model has {model.config.num_classes} classes: name them all with classes=")
    return model, list(classes)


def slider(label: str, value: float, low: float, high: float, step: float = 1, *, wait: bool = False) -> widgets.Widget:
    """A slider, of whole numbers where the step is one; `wait` until the mouse lets go."""
    kind = widgets.IntSlider if isinstance(step, int) else widgets.FloatSlider
    return labelled(kind(value, min=low, max=high, step=step, continuous_update=not wait), label)


def menu(label: str, options: Any, **settings: Any) -> widgets.Widget:
    """A menu; its options are values, (text, value) pairs or a mapping from text to value."""
    return labelled(widgets.Dropdown(options=options, **settings), label)


def clip_menu(data: Dataset | Sequence[Clip], index: int) -> widgets.Widget:
    """A menu over clips by number, name and label; its value is the number."""
    if not 0 <= index < len(data):
        raise ValueError(f"there is no clip {index}: choose one of 0 to {len(data) - 1}")
    if isinstance(data, Dataset):
        names = [f"{s}/{c} {e}" for s, c, e in data.annotations[["subject", "clip", "emotion"]].to_numpy()]
    elif strange := [type(clip).__name__ for clip in data if not isinstance(clip, Clip)]:
        raise ValueError(f"{strange[0]} is no clip: make one as Clip(name, subject, frames, onset, apex, offset)")
    else:
        names = [f"{clip.id} {clip.emotion or ''}" for clip in data]
    return menu("clip", [(f"{i}: {n}", i) for i, n in enumerate(names)], value=index)


def button(text: str, icon: str, call: Callable[[], object]) -> widgets.Button:
    """A button that calls something, which tells what it refuses."""

    def run(_: object) -> None:
        with suppress(*REFUSALS):
            call()

    pressed = widgets.Button(description=text, icon=icon, layout={"width": "auto"})
    pressed.on_click(run)
    return pressed


def player(moved: widgets.Widget, interval: int) -> widgets.Play:
    """Moves a slider by itself, a step every so many milliseconds."""
    play = widgets.Play(interval=interval)
    widgets.jslink((play, "value"), (moved, "value"))
    return play


def labelled(control: widgets.Widget, label: str) -> widgets.Widget:
    """A slider or menu with a label in front, all of one width."""
    control.description = label
    control.style.description_width = "12.5em"
    control.layout.width = "29em"
    return control
