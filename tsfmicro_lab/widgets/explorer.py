"""What all explorers share: controls that call something, a message, a line that tells, and rows of pictures."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from html import escape, unescape
from itertools import chain, zip_longest
from textwrap import fill
from typing import Any

import ipywidgets as widgets
import pandas as pd
import traitlets
from IPython.display import Image

from tsfmicro_lab.clips import Clip
from tsfmicro_lab.data.samples import Samples
from tsfmicro_lab.data.schema import Dataset
from tsfmicro_lab.explain.figures import Picture
from tsfmicro_lab.models import Recognizer, from_pretrained
from tsfmicro_lab.widgets.tiles import Bars, Pictures

#: A model and its classes.
Named = tuple[Recognizer, list[str]]
#: What a reader's choice can lead to, told in one sentence; other errors are ours, and keep their trace.
REFUSALS = (ValueError, OSError)


class Explorer(widgets.VBox):
    """Controls, a message, a line (`story`) that tells what is seen, and rows of what is drawn.

    Attributes:
        controls: By name, (widget, trait): what is chosen with. Most are traits of the explorer, too, to be set,
            observed and linked.
        state: All that is chosen, a dictionary: keep it, and assign it, or a part of it, to come back to a view.
    """

    #: What colours and lines of the pictures mean.
    legend = ""
    state = traitlets.Dict()

    def __init__(self, controls: Mapping[str, widgets.Widget], below: Sequence[Sequence[widgets.Widget]]) -> None:
        # With room of their own, so that pictures stay where they are.
        self.message, self.story = (widgets.HTML(layout={"min_height": h, "margin": "0"}) for h in ("20px", "40px"))
        self.below, self.controls = below, dict[str, Any]()
        above, *rows = (widgets.HBox(row, layout={"flex_flow": "row wrap"}) for row in ([*controls.values()], *below))
        super().__init__([above, self.message, self.story, *rows, widgets.HTML(f"<small>{self.legend}</small>")])
        self.add_class("tsf-explorer").observe(self._take, "state")
        self.offer(**{name: (control, "value") for name, control in controls.items()})

    def offer(self, **controls: Any) -> None:
        """Makes (widget, trait) pairs part of the state, and traits of the explorer where it has such."""
        self.controls |= controls
        for widget, trait in controls.values():
            widget.observe(self._tell, trait)
        self._tell()
        for name in filter(self.has_trait, controls):
            self.observe(self._take, name)

    @contextmanager
    def telling(self, busy: str = "") -> Iterator[None]:
        """Says that work goes on, then nothing, or the error, which is raised on."""
        self.message.value = busy and f"<i role='status'>{busy} …</i>"
        try:
            yield
        except Exception as error:
            self.message.value = f"<b role='alert'>⚠ {escape(str(error), quote=False)}</b>"
            self.clear()
            raise
        self.message.value = ""

    def clear(self) -> None:
        """Dims pictures that no longer hold, and takes away what was told of them, when something is refused."""
        for part in (self.story, *chain(*self.below)):
            if part is self.story or isinstance(part, Bars):
                part.value = ""
            elif isinstance(part, Pictures):
                part.past = True

    def when(self, controls: Iterable[Any], call: Callable[[], None], busy: str = "") -> None:
        """Calls something when a trait (its name), a control or a (widget, trait) changes; tells what is refused."""

        def run(_: object) -> None:
            with suppress(*REFUSALS), self.telling(busy):
                call()

        for control in controls:
            pair = (self, control) if isinstance(control, str) else (control, "value")
            widget, name = control if isinstance(control, tuple) else pair
            widget.observe(run, name)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        return super()._repr_mimebundle_(**kwargs) | {"image/png": self.snapshot().data}

    def story_text(self) -> str:
        """Line and legend as plain text."""
        return unescape(re.sub("<[^>]*>", "", self.story.value or self.message.value)) + f"\n{self.legend}"

    def snapshot(self) -> Image:
        """All pictures as a still one, with titles, scales, legend and line, to be read without a kernel."""
        drawn = [(p.shown, p.columns) for p in chain(*self.below) if isinstance(p, Pictures)]
        rows = [shown[i : i + n] for shown, n in drawn for i in range(0, len(shown), n)]
        most = max(map(len, rows))
        figure = Picture(figsize=(2.3 * most, 2.6 * len(rows) + 0.7), layout="constrained")
        for axes, row in zip(figure.subplots(len(rows), most, squeeze=False), rows, strict=True):
            for axis, pane in zip_longest(axes, row):
                pane.draw(axis) if pane else axis.set_axis_off()
        figure.supxlabel("\n".join(fill(told, 34 * most) for told in self.story_text().split("\n")), fontsize=8)
        return Image(data=figure._repr_png_(), format="png")

    def chosen(self, table: pd.DataFrame, *columns: str) -> pd.Series:
        """Which rows are asked for by the menus of the names of some columns: one value each, or `all`."""
        asked = [(table[name] == getattr(self, name)) | (getattr(self, name) == "all") for name in columns]
        return pd.concat(asked, axis=1).all(axis=1)

    def _tell(self, _: object = None) -> None:
        """What the controls say becomes state and traits."""
        self.state = {name: getattr(widget, trait) for name, (widget, trait) in self.controls.items()}
        for name in filter(self.has_trait, self.controls):
            self.set_trait(name, self.state[name])

    def _take(self, change: Any) -> None:
        """Brings controls to what state or a trait was set to, and these to what the controls made of it."""
        wanted = change.new if change.name == "state" else {change.name: change.new}
        if strange := wanted.keys() - self.controls:
            raise ValueError(f"there is no control {', '.join(strange)}: choose from {', '.join(self.controls)}")
        try:
            for name, value in wanted.items():
                self.controls[name][0].set_trait(self.controls[name][1], value)
        finally:
            self._tell()


def model_and_classes(model: Recognizer | None, classes: Sequence[str] | None, shipped: str = "emotions") -> Named:
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


def clip_table(data: Dataset | Samples | Sequence[Clip]) -> pd.DataFrame:
    """Subject, name and label of each clip."""
    columns = ["subject", "clip", "emotion"]
    if isinstance(data, Dataset | Samples):
        return data.annotations[columns].reset_index(drop=True)
    if strange := [type(clip).__name__ for clip in data if not isinstance(clip, Clip)]:
        raise ValueError(f"{strange[0]} is no clip: make one as Clip(name, subject, frames, onset, apex, offset)")
    return pd.DataFrame([(clip.subject, clip.name, clip.emotion) for clip in data], columns=columns)


def clip_menu(data: Dataset | Samples | Sequence[Clip], index: int, label: str = "clip") -> widgets.Widget:
    """A menu over clips by number, name and label; its value is the number."""
    if not len(data):
        raise ValueError("there is no clip to explore")
    if not 0 <= index < len(data):
        raise ValueError(f"there is no clip {index}: choose one of 0 to {len(data) - 1}")
    rows = clip_table(data).fillna("").to_numpy()
    return menu(label, [(f"{i}: {s}/{c} {e}", i) for i, (s, c, e) in enumerate(rows)], value=index)


def button(text: str, icon: str, call: Callable[[], object]) -> widgets.Button:
    """A button that calls something, which tells what it refuses."""

    def run(_: object) -> None:
        with suppress(*REFUSALS):
            call()

    pressed = widgets.Button(description=text, icon=icon, layout={"width": "auto"})
    pressed.on_click(run)
    return pressed


def labelled(control: widgets.Widget, label: str) -> widgets.Widget:
    """A slider or menu with a label in front, all of one width."""
    control.description = control.tooltip = label
    control.style.description_width = "initial"  # as wide as it is, so that nothing is cut
    control.layout.width = control.layout.width or "21em"
    return control
