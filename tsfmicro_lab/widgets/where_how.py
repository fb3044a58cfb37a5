"""WhereHowExplorer: which pixels a prediction rests on, and what happens when some of them hold still."""

import copy
from collections.abc import Sequence
from functools import lru_cache

import cv2
import ipywidgets as widgets
import numpy as np
import torch
from IPython.display import Image

from tsfmicro_lab.clips import Clip
from tsfmicro_lab.data.motion import ACTION_UNITS
from tsfmicro_lab.data.schema import Dataset
from tsfmicro_lab.explain.attribution import WhereHow, where_how
from tsfmicro_lab.explain.figures import shared_limit, stream_title
from tsfmicro_lab.explain.methods import METHODS
from tsfmicro_lab.explain.regions import clip_regions, region_table, without_motion
from tsfmicro_lab.models import Recognizer
from tsfmicro_lab.models.base import STREAMS
from tsfmicro_lab.preprocess.alignment import align_clip
from tsfmicro_lab.preprocess.keyframes import with_apex
from tsfmicro_lab.preprocess.landmarks import Landmarker
from tsfmicro_lab.training import to_inputs
from tsfmicro_lab.widgets.tiles import Bars, Message, Tile, clip_menu, labelled, over_face, signed, snapshot

#: Which inputs a switched-off region is taken from.
TAKEN_FROM = {
    "how: it holds still": ("difference",),
    "where: it is blotted out": ("onset",),
    "both": ("onset", "difference"),
}


class WhereHowExplorer(widgets.VBox):
    """Maps of one prediction over the face, and a switch for each action unit's region.

    Click into a picture, or use the buttons, to take a region out: it holds still (the difference there becomes zero),
    or the onset frame there gets the mean colour, or both; logits and maps are computed again. Where the truth is
    known, the truly moved region is outlined. Both maps share one scale.

    Args:
        model: A trained fusion variant. It is copied.
        data: A data set, or a list of clips.
        classes: Names of the model's classes.
        landmarker: What finds landmarks where the clips bring none; MediaPipe by default.
        size: Side of the pictures, pixels.
        index: The clip shown first.

    Attributes:
        clip: Dropdown over the clips.
        target: Dropdown: the class that is explained; the predicted one by default.
        method: Dropdown: how it is explained.
        stream: Dropdown: from which input the regions are taken.
        blend: Slider: strength of the colours over the face.
        still: One button per action unit; pressed, its region is taken out.
        table: Share of each map in each region, the last maps' ones.

    Raises:
        ValueError: The model does not read onset and difference, or classes do not fit it.

    Example:
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions
        >>> from tsfmicro_lab.models import create_model
        >>> data = SyntheticMicroExpressions(1, 2, image_size=64)
        >>> explorer = WhereHowExplorer(create_model("tsfmicro_late", 2), data, ["a", "b"])
        >>> before = explorer.logits
        >>> explorer.still["12"].value = True
        >>> bool((explorer.logits != before).any())
        True
    """

    def __init__(
        self,
        model: Recognizer,
        data: Dataset | Sequence[Clip],
        classes: Sequence[str],
        *,
        landmarker: Landmarker | None = None,
        size: int = 240,
        index: int = 0,
    ) -> None:
        if len(classes) != model.config.num_classes:
            raise ValueError(f"the model has {model.config.num_classes} classes: name them all with classes=")
        if missing := [name for name in STREAMS if name not in model.input_names]:
            raise ValueError(
                f"{type(model).__name__} does not read the {' and '.join(missing)} frame: explore a model that reads "
                "onset and difference, such as tsfmicro_late"
            )
        self.model, self.data, self.classes = copy.deepcopy(model).cpu().eval(), data, list(classes)
        self.clip = clip_menu(data, index)
        self.target = labelled(widgets.Dropdown(options=["predicted", *classes]), "explain")
        self.method = labelled(widgets.Dropdown(options=list(METHODS)), "method")
        self.stream = labelled(widgets.Dropdown(options=TAKEN_FROM), "a region that is off")
        self.blend = labelled(widgets.FloatSlider(1, min=0, max=1, step=0.05), "strength of colours")
        self.still = {unit: self._switch(unit) for unit in ACTION_UNITS}
        moving = widgets.Button(description="all regions on", icon="undo")
        moving.on_click(lambda _: self.reset())
        titles = ("onset", "difference", *map(stream_title, STREAMS))
        self.tiles = [Tile(title, size, self._click) for title in titles]
        self.bars, self.message, self.story, self.rows = Bars(classes), Message(), widgets.HTML(), widgets.HTML()
        switches = widgets.HBox([*self.still.values(), moving], layout={"flex_flow": "row wrap"})
        super().__init__(
            [
                widgets.HBox(
                    [self.clip, self.target, self.method, self.blend, self.stream], layout={"flex_flow": "row wrap"}
                ),
                widgets.HTML("<small>take out the region of an action unit:</small>"),
                switches,
                self.message,
                self.story,
                widgets.HBox(self.tiles, layout={"flex_flow": "row wrap"}),
                widgets.HBox([self.bars, self.rows]),
            ]
        )
        self._prepare = lru_cache(maxsize=32)(
            lambda i: with_apex(align_clip(data[i], model.config.image_size, landmarker))
        )
        for control in (self.clip, self.target, self.method, self.stream, *self.still.values()):
            control.observe(self._explain, names="value")
        self.blend.observe(self._show, names="value")
        self._explain()

    def reset(self) -> None:
        """Switches every region on again."""
        for switch in self.still.values():
            switch.value = False

    def snapshot(self) -> Image:
        """The pictures as a still one."""
        return snapshot([self.tiles])

    def _switch(self, unit: str) -> widgets.ToggleButton:
        name = ACTION_UNITS[unit][0]
        return widgets.ToggleButton(False, description=f"{unit} {name}", tooltip=f"take out the region of AU {unit}")

    def _click(self, x: float, y: float) -> None:
        """Switches the smallest region under the pointer."""
        side = self.model.config.image_size
        place = min(int(y * side), side - 1), min(int(x * side), side - 1)
        hit = [unit for unit in self.still if self.regions[unit][place]]
        if hit:
            switch = self.still[min(hit, key=lambda unit: int(self.regions[unit].sum()))]
            switch.value = not switch.value

    def _explain(self, change: object = None) -> None:
        with self.message.telling("explaining"):
            self.shown = self._prepare(self.clip.value)
            self.regions = clip_regions(self.shown)
            pair = [torch.from_numpy(self.shown.frame(i)).permute(2, 0, 1)[None] for i in self.shown.key_frames]
            self.inputs = to_inputs(*pair)
            for unit, switch in self.still.items():
                for name in self.stream.value if switch.value else ():
                    self.inputs[name] = without_motion(self.inputs[name], self.regions[unit])
            target = None if self.target.value == "predicted" else self.classes.index(self.target.value)
            self.maps: WhereHow = where_how(self.model, self.inputs, target, self.method.value, regions=self.regions)
            with torch.no_grad():
                self.logits = self.model(**self.inputs)[0].numpy()
            self.table = region_table(self.maps, self.regions)
        self._show()

    def _show(self, change: object = None) -> None:
        face = self.shown.frame(self.shown.onset)
        difference = self.inputs["difference"][0].mean(0).numpy()
        limit = shared_limit([self.maps])
        onset, moved, *heats = self.tiles
        onset.show(self._outlined(face, onset.size), smooth=True)
        most = float(np.quantile(np.abs(difference), 0.995))
        moved.show(self._outlined(signed(difference, most), moved.size))
        for tile, heat in zip(heats, self.maps.values(), strict=True):
            alpha = self.blend.value * np.sqrt(np.clip(np.abs(heat) / limit, 0, 1))
            rooted = np.sign(heat) * np.sqrt(np.abs(heat))
            tile.show(self._outlined(over_face(face, signed(rooted, limit**0.5), alpha), tile.size))
        self.bars.show(self.logits)
        self.rows.value = self.table.sort_values("difference", ascending=False).to_html(
            index=False, float_format=lambda share: f"{share:.0%}"
        )
        self.story.value = (
            f"{self.shown.id}: label <b>{self.shown.emotion or 'none'}</b>; explained <b>"
            f"{self.classes[self.maps.target]}</b>; {self.maps.share('difference'):.0%} of all attribution goes to the "
            "difference" + ("" if all(heat.any() for heat in self.maps.values()) else "; <b>a map is all zero</b>")
        )

    def _outlined(self, picture: np.ndarray, size: int) -> np.ndarray:
        """The picture with outlines: black for what truly moved, blue for what is taken out."""
        large = cv2.resize(picture, (size, size), interpolation=cv2.INTER_NEAREST)
        masks = [(self.regions[unit], (0, 90, 180)) for unit, switch in self.still.items() if switch.value]
        if self.shown.truth is not None:
            masks.append((self.shown.truth.moved, (0, 0, 0)))
        for mask, colour in masks:
            fine = cv2.resize(mask.astype(np.float32), (size, size)) > 0.5
            edges, _ = cv2.findContours(fine.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(large, edges, -1, colour, 1)
        return np.asarray(large)
