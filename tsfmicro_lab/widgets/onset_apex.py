"""OnsetApexExplorer: sliders over the onset and the apex frame of a clip, and all that follows from them."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import product

import cv2
import ipywidgets as widgets
import numpy as np

from tsfmicro_lab.clips import Clip, Frame, LazyFrames
from tsfmicro_lab.data.motion import ACTION_UNITS
from tsfmicro_lab.data.schema import Dataset
from tsfmicro_lab.explain.regions import unit_regions
from tsfmicro_lab.models.base import Recognizer
from tsfmicro_lab.preprocess.alignment import align_clip, onset_landmarks
from tsfmicro_lab.preprocess.flow import FLOWS, flow_colours, magnify, optical_flow
from tsfmicro_lab.preprocess.keyframes import difference_frame, intensity_curve, spot_apex
from tsfmicro_lab.preprocess.landmarks import Landmarker
from tsfmicro_lab.widgets.explorer import Explorer, button, clip_menu, menu, model_and_classes, player, slider
from tsfmicro_lab.widgets.tiles import Bars, Tile, outlined, over_face, show_all, signed

#: Frames that are read for the curve of a long clip.
CURVE_FRAMES = 300


class OnsetApexExplorer(Explorer):
    """Choose onset and apex of a clip and see what a model would be given: frames, difference, flow, prediction.

    The clip is aligned by one transform from its annotated onset frame. Annotated key frames are marked below the
    intensity curve, the spotted apex above it. The prediction of a model, by default the one of emotions that ships,
    follows the sliders. Where clips bring no landmarks, `landmarker` finds them, MediaPipe by default; aligned frames
    are `size` pixels wide.

    Attributes:
        clip, onset, apex: What is shown; `play` moves the apex.
        gain, factor: Grey levels at which the difference is fully coloured; magnification of the motion.
        flow, arrows: Method of the optical flow; as arrows instead of colours.
        points, region: Landmarks on the onset frame; outline of where an action unit would move this face.

    Raises:
        ValueError: There is no clip, or classes do not fit the model.
    """

    legend = "difference: orange brighter, purple darker; flow: colour is direction; ▲ annotated, ▼ spotted key frames"

    def __init__(
        self,
        data: Dataset | Clip | Sequence[Clip],
        model: Recognizer | None = None,
        classes: Sequence[str] | None = None,
        *,
        landmarker: Landmarker | None = None,
        size: int = 224,
        index: int = 0,
    ) -> None:
        self.data = [data] if isinstance(data, Clip) else data
        if not len(self.data):
            raise ValueError("there is no clip to explore")
        self.model, names = model_and_classes(model, classes)
        self.landmarker, self.size = landmarker, size
        self.clip = clip_menu(self.data, index)
        self.onset, self.apex = slider("onset", 0, 0, 1), slider("apex", 1, 0, 1)
        self.play = player(self.apex, 60)
        self.gain = slider("full colour at", 20, 2, 100, 1.0)
        self.factor = slider("magnify motion ×", 1, 0, 15, 0.5)
        self.flow = menu("flow", list(FLOWS))
        self.arrows = widgets.Checkbox(description="flow as arrows", indent=False, layout={"width": "auto"})
        self.points = widgets.Checkbox(description="landmarks", indent=False, layout={"width": "auto"})
        units = [("none", ""), ("annotated", "annotated"), *((f"{u} {ACTION_UNITS[u][0]}", u) for u in ACTION_UNITS)]
        self.region = menu("action unit", units)
        self.tiles = [Tile(title, size) for title in ("onset", "apex", "difference", "optical flow")]
        self.curve = Tile("intensity: distance of each frame from the onset", 90, self._click_curve)
        self.bars = Bars(names)
        annotated = button("as annotated", "undo", self.reset)
        spotted = button("spotted apex", "search", lambda: setattr(self.apex, "value", self.spotted))
        left = [self.clip, self.onset, self.apex, widgets.HBox([self.play, annotated, spotted])]
        right = [self.gain, self.factor, self.flow, self.region, widgets.HBox([self.points, self.arrows])]
        super().__init__([[left, right]], [self.tiles, [self.curve, self.bars]])
        self.when([self.clip], self._new_clip, "reading the clip")
        self.when([self.onset, self.apex], self._key_frames)
        self.when([self.gain, self.factor, self.flow, self.arrows, self.points, self.region], self._update)
        self._new_clip()

    def reset(self) -> None:
        """Goes back to the annotated onset and apex (or the spotted one, where none is annotated)."""
        self._quiet = True  # between two assignments the sliders could block each other
        for control in (self.onset, self.apex, self.play):
            control.min, control.max = 0, len(self.shown.frames) - 1
        self.onset.value = self.shown.onset
        self.apex.value = self.spotted if self.shown.apex is None else self.shown.apex
        self._quiet = False
        self._key_frames()

    def _new_clip(self) -> None:
        clip = self.data[self.clip.value]
        read = lru_cache(maxsize=600)(clip.frame)
        landmarks = onset_landmarks(clip, self.landmarker)
        self.recorded = replace(clip, frames=LazyFrames(read, range(len(clip.frames))), landmarks=landmarks)
        self.shown = align_clip(self.recorded, self.size)
        step = -(-len(clip.frames) // CURVE_FRAMES)
        few = LazyFrames(self.shown.frame, range(0, len(clip.frames), step))
        sampled = Clip(clip.name, clip.subject, few, clip.onset // step, None, clip.offset // step)
        self.levels = intensity_curve(sampled)
        self.spotted = min(spot_apex(sampled) * step, clip.offset)
        self.regions = unit_regions(onset_landmarks(self.shown), self.size)
        self.reset()

    def _click_curve(self, x: float, _: float) -> None:
        self.apex.value = int(x * len(self.shown.frames))

    def _key_frames(self) -> None:
        if not self._quiet:
            self.onset.max, self.apex.min, self.play.min = self.apex.value, self.onset.value, self.onset.value
            self._update()

    def _update(self) -> None:
        i, j = self.onset.value, self.apex.value
        onset, apex = self.shown.frame(i), self.shown.frame(j)
        self.difference = difference_frame(onset, apex)
        self.motion = optical_flow(onset, apex, self.flow.value)
        pictures = (onset, signed(self.difference.mean(-1), self.gain.value), self._flow_picture(onset))
        first, *others = map(self._outlined, pictures)
        show_all(self.tiles, self._with_points(first), magnify(apex, self.motion, self.factor.value), *others)
        self.curve.show(self._curve_picture())
        units = " + ".join(self.shown.action_units) or "not annotated"
        longest = f"longest flow {np.quantile(np.hypot(*self.motion), 0.995):.2f} px"
        label = f"{self.shown.id}: label <b>{self.shown.emotion or 'none'}</b>, action units {units}"
        self.story.value = f"{label}; onset to apex {(j - i) / self.shown.fps * 1e3:.0f} ms, {longest}"
        clip = replace(self.recorded, onset=i, apex=j, offset=max(j, self.recorded.offset))
        self.bars.show(self.model, self.model.logits(clip)[0])

    def _flow_picture(self, onset: Frame) -> Frame:
        if not self.arrows.value:
            return flow_colours(self.motion, 3 * self.size / 224)
        picture = over_face(onset, onset, np.zeros(onset.shape[:2]))
        step = max(self.size // 20, 1)
        for x, y in product(range(step // 2, self.size, step), repeat=2):
            dx, dy = 4 * self.motion[:, y, x]
            if np.hypot(dx, dy) > 1:
                cv2.arrowedLine(picture, (x, y), (round(x + dx), round(y + dy)), (0, 60, 120), 1, cv2.LINE_AA)
        return picture

    def _with_points(self, picture: Frame) -> Frame:
        for x, y in onset_landmarks(self.shown).round().astype(int).tolist() if self.points.value else []:
            cv2.circle(picture, (x, y), max(self.size // 110, 1), (0, 220, 120), -1)
        return picture

    def _outlined(self, picture: Frame) -> Frame:
        chosen = self.region.value
        units = [u.lstrip("LR") for u in self.shown.action_units] if chosen == "annotated" else [chosen]
        return outlined(picture, [self.regions[u] for u in units if u in self.regions], (0, 90, 180))

    def _curve_picture(self, width: int = 640, height: int = 90) -> Frame:
        picture = np.full((height, width, 3), 255, np.uint8)

        def x_of(frame: int) -> int:
            return round((frame + 0.5) / len(self.shown.frames) * width)

        x = (np.arange(len(self.levels)) + 0.5) / len(self.levels) * width
        y = height - 12 - self.levels / max(float(self.levels.max()), 1e-6) * (height - 24)
        cv2.rectangle(picture, (x_of(self.onset.value), 0), (x_of(self.apex.value), height), (255, 236, 210), -1)
        cv2.polylines(picture, [np.stack([x, y], -1).round().astype(np.int32)], False, (70, 70, 70), 1, cv2.LINE_AA)
        for frame in (self.shown.onset, self.shown.apex, self.shown.offset):
            if frame is not None:
                cv2.drawMarker(picture, (x_of(frame), height - 6), (0, 90, 180), cv2.MARKER_TRIANGLE_UP, 9, 2)
        cv2.drawMarker(picture, (x_of(self.spotted), 6), (200, 90, 0), cv2.MARKER_TRIANGLE_DOWN, 9, 2)
        return picture
