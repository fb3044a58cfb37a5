"""OnsetApexExplorer: the onset and the apex frame of a clip on one timeline, and all that follows from them."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from html import escape

import numpy as np
import traitlets
from IPython.display import Image

from tsfmicro_lab.clips import Clip, LazyFrames
from tsfmicro_lab.data.motion import ACTION_UNITS
from tsfmicro_lab.data.schema import Dataset
from tsfmicro_lab.explain.figures import clips_figure
from tsfmicro_lab.explain.regions import unit_regions
from tsfmicro_lab.models.base import Recognizer
from tsfmicro_lab.preprocess import Landmarker, align_clip, difference_frame, onset_landmarks
from tsfmicro_lab.preprocess.flow import FLOWS, optical_flow, resize_flow
from tsfmicro_lab.widgets.explorer import Explorer, clip_menu, menu, model_and_classes
from tsfmicro_lab.widgets.tiles import Bars, checked_size
from tsfmicro_lab.widgets.viewer import FrameViewer

#: Recorded frames that are kept in memory, bytes; sides at which flow is computed and sent, pixels: from larger frames
#: it is no nearer to the truth, and takes longer.
KEPT_BYTES, FLOW_FROM, FLOW_SIDE = 64 * 2**20, 192, 112


class OnsetApexExplorer(Explorer):
    """Choose onset and apex of a clip and see what a model would be given: frames, difference, flow, prediction.

    The clip is aligned by one transform from its annotated onset frame and shown by a :class:`FrameViewer`, which needs
    no kernel. Optical flow and the prediction of a model, by default the one of emotions that ships, follow when a
    handle comes to rest. Where clips bring no landmarks, `landmarker` finds them, MediaPipe by default; aligned frames
    are `size` pixels wide.

    Attributes:
        onset, apex: Frames at the handles: traits that can be set, observed and linked; what is set pushes the other.
        clip, flow: Number of the clip, and how optical flow is computed.
        viewer: Timeline and pictures.
        difference, motion: Of the apex from the onset, in grey levels and pixels.

    Raises:
        ValueError: There is no such clip, it cannot be read, or classes or size do not fit.
    """

    legend = "difference: orange brighter, purple darker; flow: colour is direction, strength is length"
    onset, apex = traitlets.Int(), traitlets.Int()
    clip, flow = traitlets.Int(), traitlets.Unicode()

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
        self.model, names = model_and_classes(model, classes)
        self.landmarker, self.size, self.viewer, self.bars = landmarker, checked_size(size), FrameViewer(), Bars(names)
        controls = {"clip": clip_menu(self.data, index), "flow": menu("flow", list(FLOWS))}
        super().__init__(controls, [[self.viewer], [self.bars]])
        self.offer(**{name: (self.viewer, name) for name in ("view", "onset", "apex")})
        self._new_clip()
        self.when(["clip"], self._new_clip, "reading the clip")
        self.when(["flow", "onset", "apex"], self._update)

    def reset(self) -> None:
        """Goes back to the annotated onset and apex (or the spotted one, where none is annotated)."""
        self.onset, self.apex = self.viewer.info["reset"]

    def clear(self) -> None:
        """Takes flow, prediction and line away when something is refused."""
        super().clear()
        self.viewer.flow = {}

    def snapshot(self) -> Image:
        """Onset, apex, difference and flow as a still picture, the curve with its key frames, and the line."""
        info, last = self.viewer.info, max(self.apex, self.shown.offset)
        clip = replace(self.shown, onset=self.onset, apex=self.apex, offset=last, truth=None)
        figure = clips_figure([clip], self.viewer.view.get("gain", 20), self.flow)
        figure.set_size_inches(10.4, 5.6)
        figure.set_layout_engine("constrained", rect=(0, 0.36, 1, 0.64))
        curve = figure.add_axes((0.06, 0.17, 0.93, 0.15), xlabel="frame", ylabel="grey levels", facecolor="none")
        curve.plot(self.viewer.numbers, info["levels"])
        curve.axvspan(self.onset, self.apex, alpha=0.2, label="onset to apex")
        curve.plot(info["annotated"], [0, 0, 0], "g^", label="annotated")
        curve.plot(info["spotted"], max(info["levels"]), "mv", label="spotted apex")
        curve.legend(fontsize=8)
        figure.text(0.01, 0.02, self.story_text(), fontsize=9)
        return Image(data=figure._repr_png_(), format="png")

    def _new_clip(self) -> None:
        self.viewer.frames = []
        clip = self.data[self.clip]
        read = lru_cache(max(16, KEPT_BYTES // clip.frame(clip.onset).nbytes))(clip.frame)
        landmarks = onset_landmarks(clip, self.landmarker)
        self.recorded = replace(clip, frames=LazyFrames(read, range(len(clip.frames))), landmarks=landmarks)
        self.shown, small = (align_clip(self.recorded, side) for side in (self.size, min(self.size, FLOW_FROM)))
        self._frames = lru_cache(16)(lambda n: (self.shown.frame(n), small.frame(n)))
        masks = unit_regions(onset_landmarks(self.shown), self.size)
        moved = [masks[unit.lstrip("LR")] for unit in clip.action_units if unit.lstrip("LR") in masks]
        regions = {"annotated": np.any(moved, 0)} if moved else {}
        self.viewer.show(self.shown, regions | {f"{u} {ACTION_UNITS[u][0]}": mask for u, mask in masks.items()})
        self._update()

    def _update(self) -> None:
        i, j = self.viewer.onset, self.viewer.apex
        (onset, first), (apex, last) = map(self._frames, (i, j))
        flow = optical_flow(first, last, self.flow)
        self.difference, self.motion = difference_frame(onset, apex), resize_flow(flow, self.size)
        logits = self.model.logits(replace(self.recorded, onset=i, apex=j, offset=max(j, self.recorded.offset)))[0]
        small = resize_flow(flow, min(self.size, FLOW_SIDE))
        sent = {"data": (small * 256).clip(-32768, 32767).astype("<i2").tobytes(), "shape": small.shape[1:]}
        self.viewer.flow = sent | {"title": f"optical flow ({self.flow})", "pair": [i, j]}
        self.bars.show(self.model, logits)
        units = escape(" + ".join(self.shown.action_units) or "not annotated")
        label = f"{escape(self.shown.id)}: label <b>{escape(self.shown.emotion or 'none')}</b>, action units {units}"
        longest = f"longest flow {np.quantile(np.hypot(*flow), 0.995) * self.size / len(flow[0]):.2f} px"
        self.story.value = f"{label}; onset {i} to apex {j}: {(j - i) / self.shown.fps * 1e3:.0f} ms, {longest}"
