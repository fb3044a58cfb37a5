"""OnsetApexExplorer: sliders over the onset and the apex frame of a clip, and all that follows from them."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import cv2
import ipywidgets as widgets
import numpy as np
import torch
from IPython.display import Image

from tsfmicro_lab.clips import Clip, Frame, LazyFrames, Points
from tsfmicro_lab.data.motion import ACTION_UNITS, unit_regions
from tsfmicro_lab.data.schema import Dataset
from tsfmicro_lab.models import Recognizer
from tsfmicro_lab.preprocess.alignment import align_clip
from tsfmicro_lab.preprocess.flow import FLOWS, flow_colours, magnify, optical_flow
from tsfmicro_lab.preprocess.keyframes import difference_frame, intensity_curve, spot_apex
from tsfmicro_lab.preprocess.landmarks import Landmarker
from tsfmicro_lab.widgets.tiles import Bars, Message, Tile, clip_menu, labelled, signed, snapshot

#: Frames that are read for the curve of a long clip.
CURVE_FRAMES = 300


class OnsetApexExplorer(widgets.VBox):
    """Choose onset and apex of a clip and see what a model would be given: frames, difference, flow, prediction.

    The clip is aligned by one transform from its annotated onset frame. Annotated key frames are marked below the
    intensity curve, the spotted apex above it.

    Args:
        data: A clip, several, or a data set.
        model: A trained model whose prediction follows the sliders, if any.
        classes: Names of its classes.
        landmarker: What finds landmarks where the clips bring none; MediaPipe by default.
        size: Side of the aligned frames that are shown, pixels.
        index: The clip shown first.

    Attributes:
        clip: Dropdown over the clips.
        onset: Slider over the frames, up to the apex.
        apex: Slider over the frames, from the onset on; `play` moves it.
        gain: Slider: grey levels at which the difference is fully coloured.
        factor: Slider: motion magnification of the apex frame.
        flow: Dropdown: method of the optical flow.
        arrows: Checkbox: flow as arrows instead of colours.
        points: Checkbox: landmarks on the onset frame.
        region: Dropdown: where an action unit would move this face, as an outline.
        message: What went wrong, if anything.

    Raises:
        ValueError: There is no clip, or classes do not fit the model.

    Example:
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions
        >>> explorer = OnsetApexExplorer(SyntheticMicroExpressions(1, 2, image_size=64), size=64)
        >>> explorer.apex.value = explorer.onset.value
        >>> float(np.abs(explorer.difference).max())
        0.0
    """

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
        if model is not None and len(classes or ()) != model.config.num_classes:
            raise ValueError(f"the model has {model.config.num_classes} classes: name them all with classes=")
        self.model, self.landmarker, self.size = model, landmarker, size
        self.message = Message()
        self.clip = clip_menu(self.data, index)
        self.onset = labelled(widgets.IntSlider(0, 0, 1), "onset")
        self.apex = labelled(widgets.IntSlider(1, 0, 1), "apex")
        self.play = widgets.Play(interval=60, description="play")
        widgets.jslink((self.play, "value"), (self.apex, "value"))
        self.gain = labelled(widgets.FloatSlider(20, min=2, max=100, step=1), "full colour at")
        self.factor = labelled(widgets.FloatSlider(1, min=0, max=15, step=0.5), "magnify motion ×")
        self.flow = labelled(widgets.Dropdown(options=list(FLOWS)), "flow")
        self.arrows = widgets.Checkbox(False, description="flow as arrows", indent=False)
        self.points = widgets.Checkbox(False, description="landmarks", indent=False)
        units = [("none", ""), ("annotated", "annotated"), *((f"{u} {ACTION_UNITS[u][0]}", u) for u in ACTION_UNITS)]
        self.region = labelled(widgets.Dropdown(options=units), "action unit")
        self.tiles = [Tile(title, size) for title in ("onset", "apex", "difference", "optical flow")]
        self.curve = Tile("intensity: distance of each frame from the onset", 90, self._click_curve)
        self.bars = Bars(classes or ())
        self.story = widgets.HTML()
        annotated = widgets.Button(description="as annotated", icon="undo", layout={"width": "auto"})
        annotated.on_click(lambda _: self.reset())
        spotted = widgets.Button(description="spotted apex", icon="search", layout={"width": "auto"})
        spotted.on_click(lambda _: self._set(self.onset.value, max(self.spotted, self.onset.value)))
        left = widgets.VBox([self.clip, self.onset, self.apex, widgets.HBox([self.play, annotated, spotted])])
        right = widgets.VBox([self.gain, self.factor, self.flow, self.region, widgets.HBox([self.points, self.arrows])])
        pictures = widgets.HBox(self.tiles, layout={"flex_flow": "row wrap"})
        last = widgets.HBox([self.curve, self.bars], layout={"flex_flow": "row wrap"})
        super().__init__([widgets.HBox([left, right]), self.message, self.story, pictures, last])
        self.clip.observe(self._new_clip, names="value")
        for control in (self.onset, self.apex):
            control.observe(self._key_frames, names="value")
        for control in (self.gain, self.factor, self.flow, self.arrows, self.points, self.region):
            control.observe(self._update, names="value")
        self._new_clip()

    def reset(self) -> None:
        """Goes back to the annotated onset and apex (or the spotted one, where none is annotated)."""
        self._set(self.shown.onset, self.spotted if self.shown.apex is None else self.shown.apex)

    def snapshot(self) -> Image:
        """The pictures as a still one."""
        return snapshot([self.tiles, [self.curve]])

    def _set(self, onset: int, apex: int) -> None:
        """Sets both sliders at once: between two assignments they could block each other."""
        self._quiet = True
        last = len(self.shown.frames) - 1
        for slider in (self.onset, self.apex, self.play):
            slider.min, slider.max = 0, last
        self.onset.value, self.apex.value = onset, apex
        self._quiet = False
        self._key_frames()

    def _new_clip(self, change: object = None) -> None:
        with self.message.telling("reading the clip"):
            clip = self.data[self.clip.value]
            read = lru_cache(maxsize=600)(clip.frame)
            cached = replace(clip, frames=LazyFrames(read, range(len(clip.frames))))
            self.shown = align_clip(cached, self.size, self.landmarker)
            small = self.model.config.image_size if self.model else self.size
            self.read = self.shown if small == self.size else align_clip(cached, small, self.landmarker)
            step = -(-len(clip.frames) // CURVE_FRAMES)
            few = replace(
                self.shown,
                frames=LazyFrames(self.shown.frame, range(0, len(clip.frames), step)),
                onset=clip.onset // step,
                apex=None,
                offset=clip.offset // step,
                truth=None,
            )
            self.levels = intensity_curve(few)
            self.spotted = min(spot_apex(few) * step, clip.offset)
            landmarks: Points | None = self.shown.landmarks
            self.regions = {} if landmarks is None else unit_regions(landmarks, self.size)
        self.reset()

    def _click_curve(self, x: float, y: float) -> None:
        self.apex.value = int(x * len(self.shown.frames))

    def _key_frames(self, change: object = None) -> None:
        if getattr(self, "_quiet", False):
            return
        self.onset.max, self.apex.min, self.play.min = self.apex.value, self.onset.value, self.onset.value
        self._update()

    def _update(self, change: object = None) -> None:
        with self.message.telling():
            onset, apex = self.shown.frame(self.onset.value), self.shown.frame(self.apex.value)
            self.difference = difference_frame(onset, apex)
            self.motion = optical_flow(onset, apex, self.flow.value)
            first, second, third, fourth = self.tiles
            first.show(self._overlaid(onset))
            second.show(magnify(apex, self.motion, self.factor.value))
            third.show(self._outlined(signed(self.difference.mean(-1), self.gain.value)))
            fourth.show(self._outlined(self._flow_picture(onset)))
            self.curve.show(self._curve_picture())
            self._tell()
            if self.model is not None:
                self.bars.show(self._logits())

    @torch.no_grad()
    def _logits(self) -> np.ndarray:
        assert self.model is not None
        pair = [
            torch.from_numpy(self.read.frame(i)).permute(2, 0, 1)[None] for i in (self.onset.value, self.apex.value)
        ]
        inputs = self.model.inputs(dict(zip(("onset", "apex"), pair, strict=True)))
        logits = self.model.eval()(**inputs)
        return np.asarray(logits[0].cpu().numpy())

    def _tell(self) -> None:
        between = (self.apex.value - self.onset.value) / self.shown.fps
        length = np.hypot(*self.motion)
        units = " + ".join(self.shown.action_units) or "not annotated"
        self.story.value = (
            f"{self.shown.id}: label <b>{self.shown.emotion or 'none'}</b>, action units {units}; onset to apex "
            f"{between * 1e3:.0f} ms, longest flow {np.quantile(length, 0.995):.2f} px"
        )

    def _flow_picture(self, onset: Frame) -> Frame:
        if not self.arrows.value:
            return flow_colours(self.motion, 3 * self.size / 224)
        picture = np.asarray(255 - (255 - np.repeat(onset.mean(-1, keepdims=True), 3, -1)) * 0.45, np.uint8).copy()
        step = max(self.size // 20, 1)
        for y in range(step // 2, self.size, step):
            for x in range(step // 2, self.size, step):
                dx, dy = 4 * self.motion[:, y, x]
                if np.hypot(dx, dy) > 1:
                    cv2.arrowedLine(picture, (x, y), (round(x + dx), round(y + dy)), (0, 60, 120), 1, cv2.LINE_AA)
        return picture

    def _overlaid(self, onset: Frame) -> Frame:
        picture = self._outlined(onset)
        if self.points.value and self.shown.landmarks is not None:
            picture = picture.copy()
            for x, y in self.shown.landmarks:
                cv2.circle(picture, (round(float(x)), round(float(y))), max(self.size // 110, 1), (0, 220, 120), -1)
        return picture

    def _outlined(self, picture: Frame) -> Frame:
        chosen = self.region.value
        units = [u.lstrip("LR") for u in self.shown.action_units] if chosen == "annotated" else [chosen]
        outlined = picture.copy()
        for unit in units:
            if unit in self.regions:
                edges, _ = cv2.findContours(
                    self.regions[unit].astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
                )
                cv2.drawContours(outlined, edges, -1, (0, 90, 180), 1)
        return outlined

    def _curve_picture(self, width: int = 640, height: int = 90) -> Frame:
        picture = np.full((height, width, 3), 255, np.uint8)
        count = len(self.shown.frames)
        top = max(float(self.levels.max()), 1e-6)

        def x_of(frame: int) -> int:
            return round((frame + 0.5) / count * width)

        x = np.linspace(0.5 / len(self.levels), 1 - 0.5 / len(self.levels), len(self.levels)) * width
        y = height - 12 - self.levels / top * (height - 24)
        cv2.rectangle(picture, (x_of(self.onset.value), 0), (x_of(self.apex.value), height), (255, 236, 210), -1)
        line = np.stack([x, y], -1).round().astype(np.int32)
        cv2.polylines(picture, [line], False, (70, 70, 70), 1, cv2.LINE_AA)
        for frame in (self.shown.onset, self.shown.apex, self.shown.offset):
            if frame is not None:
                cv2.drawMarker(picture, (x_of(frame), height - 6), (0, 90, 180), cv2.MARKER_TRIANGLE_UP, 9, 2)
        cv2.drawMarker(picture, (x_of(self.spotted), 6), (200, 90, 0), cv2.MARKER_TRIANGLE_DOWN, 9, 2)
        return picture
