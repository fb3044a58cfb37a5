"""WhereHowExplorer: which pixels a prediction rests on, and what happens when some of them hold still."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import cv2
import ipywidgets as widgets
import numpy as np
import torch

from tsfmicro_lab.clips import Clip
from tsfmicro_lab.data.motion import ACTION_UNITS
from tsfmicro_lab.data.schema import Dataset
from tsfmicro_lab.explain.attribution import WhereHow, where_how
from tsfmicro_lab.explain.figures import MAP_LABEL, shared_limit, stream_title
from tsfmicro_lab.explain.methods import METHODS
from tsfmicro_lab.explain.regions import clip_regions, region_table, without_motion
from tsfmicro_lab.models.base import STREAMS, Recognizer
from tsfmicro_lab.preprocess.alignment import align_clip, onset_landmarks
from tsfmicro_lab.preprocess.keyframes import with_apex
from tsfmicro_lab.preprocess.landmarks import Landmarker
from tsfmicro_lab.widgets.explorer import Explorer, button, clip_menu, menu, model_and_classes, slider
from tsfmicro_lab.widgets.tiles import Bars, Tile, outlined, over_face, show_all, signed

#: Which inputs a switched-off region is taken from.
TAKEN_FROM = {"how: it holds still": ("difference",), "where: it is blotted out": ("onset",), "both": tuple(STREAMS)}


class WhereHowExplorer(Explorer):
    """Maps of one prediction over the face, and a switch for each action unit's region.

    Click into a picture, or use the buttons, to take a region out: it holds still (the difference there becomes zero),
    or the onset frame there gets the mean colour, or both; logits and maps are computed again. Where the truth is
    known, the truly moved region is outlined. Both maps share one scale. The model is copied; None stands for
    `where_how`, which ships. Where clips bring no landmarks, `landmarker` finds them, MediaPipe by default; pictures
    are `size` pixels wide.

    Attributes:
        clip, target, method: Whose prediction, which class (the predicted one by default) and how it is explained.
        still, stream: By action unit, whether its region is taken out, and from which input.
        blend: Strength of the colours over the face.
        maps, logits: What is shown.
        table: Share of each map in each region.

    Raises:
        ValueError: The model does not read onset and difference, or classes do not fit it.
    """

    legend = f"maps: {MAP_LABEL}; black: what truly moved; blue: regions taken out"

    def __init__(
        self,
        model: Recognizer | None,
        data: Dataset | Sequence[Clip],
        classes: Sequence[str] | None = None,
        *,
        landmarker: Landmarker | None = None,
        size: int = 240,
        index: int = 0,
    ) -> None:
        model, classes = model_and_classes(model, classes, "where_how")
        if missing := [name for name in STREAMS if name not in model.input_names]:
            lacks = f"{type(model).__name__} does not read the {' and '.join(missing)} frame"
            raise ValueError(f"{lacks}: explore a model that reads onset and difference, such as tsfmicro_late")
        self.model, self.classes, self.size = copy.deepcopy(model).cpu().eval(), classes, size
        self.clip = clip_menu(data, index)
        self.target = menu("explain", ["predicted", *classes])
        self.method = menu("method", list(METHODS))
        self.stream = menu("a region that is off", TAKEN_FROM)
        self.blend = slider("strength of colours", 1, 0, 1, 0.05)
        self.still = {
            unit: widgets.ToggleButton(description=f"{unit} {name}", tooltip=f"take out the region of AU {unit}")
            for unit, (name, *_) in ACTION_UNITS.items()
        }
        self.tiles = [Tile(t, size, self._click) for t in ("onset", "difference", *map(stream_title, STREAMS))]
        self.bars, self.rows = Bars(classes), widgets.HTML()
        controls = [
            [[c] for c in (self.clip, self.target, self.method, self.blend, self.stream)],
            [[widgets.HTML("<small>take out the region of an action unit:</small>")]],
            [[switch] for switch in (*self.still.values(), button("all regions on", "undo", self.reset))],
        ]
        super().__init__(controls, [self.tiles, [self.bars, self.rows]])
        self._read = lru_cache(maxsize=32)(lambda i: self._aligned(data[i], landmarker))
        self.when([self.clip, self.target, self.method, self.stream, *self.still.values()], self._explain, "explaining")
        self.when([self.blend], self._show)
        self._explain()

    def reset(self) -> None:
        """Switches every region on again."""
        for switch in self.still.values():
            switch.value = False

    def _click(self, x: float, y: float) -> None:
        side = self.model.config.image_size
        hit = [unit for unit, region in self.regions.items() if region[int(y * side), int(x * side)]]
        for unit in sorted(hit, key=lambda unit: int(self.regions[unit].sum()))[:1]:
            self.still[unit].value = not self.still[unit].value

    def _aligned(self, clip: Clip, landmarker: Landmarker | None) -> tuple[Clip, dict[str, torch.Tensor]]:
        clip = replace(clip, landmarks=onset_landmarks(clip, landmarker))
        shown = with_apex(align_clip(clip, self.model.config.image_size))
        return shown, self.model.inputs_of(replace(clip, apex=shown.apex))

    def _explain(self) -> None:
        self.shown, inputs = self._read(self.clip.value)
        self.regions, self.inputs = clip_regions(self.shown), dict(inputs)
        for unit, switch in self.still.items():
            for name in self.stream.value if switch.value else ():
                self.inputs[name] = without_motion(self.inputs[name], self.regions[unit])
        target = None if self.target.value == "predicted" else self.classes.index(self.target.value)
        self.maps: WhereHow = where_how(self.model, self.inputs, target, self.method.value, regions=self.regions)
        with torch.no_grad():
            self.logits = self.model(**self.inputs)[0]
        self.table = region_table(self.maps, self.regions)
        self._show()

    def _show(self) -> None:
        face, limit = self.shown.frame(self.shown.onset), shared_limit([self.maps])
        pictures = [face, signed(self.inputs["difference"][0].mean(0).numpy())]
        for heat in (self.maps[name] for name in STREAMS):
            alpha = self.blend.value * np.sqrt(np.clip(np.abs(heat) / limit, 0, 1))
            pictures.append(over_face(face, signed(np.sign(heat) * np.sqrt(np.abs(heat)), limit**0.5), alpha))
        off = [self.regions[unit] for unit, switch in self.still.items() if switch.value]
        truth = [self.shown.truth.moved] if self.shown.truth else []
        large = [cv2.resize(p, (self.size, self.size), interpolation=cv2.INTER_NEAREST) for p in pictures]
        show_all(self.tiles, *(outlined(outlined(p, off, (0, 90, 180)), truth, (0, 0, 0)) for p in large))
        self.bars.show(self.model, self.logits)
        table = self.table.sort_values("difference", ascending=False)
        self.rows.value = table.to_html(index=False, float_format=lambda share: f"{share:.0%}")
        share = f"{self.maps.share('difference'):.0%} of all attribution goes to the difference"
        zero = "" if all(heat.any() for heat in self.maps.values()) else "; <b>a map is all zero</b>"
        explained = f"explained <b>{self.classes[self.maps.target]}</b>"
        self.story.value = f"{self.shown.id}: label <b>{self.shown.emotion or 'none'}</b>; {explained}; {share}{zero}"
