"""FrameViewer, the aligned frames of a clip to scrub and compare without the kernel; WebcamRecorder, your own face."""

from pathlib import Path
from typing import Any

import anywidget
import cv2
import numpy as np
import traitlets
from traitlets import Bytes, Dict, Int, List

from tsfmicro_lab.clips import Clip, Frame
from tsfmicro_lab.preprocess.keyframes import block_difference, farthest, pulse, small_grey
from tsfmicro_lab.widgets.tiles import outline, png, scripts

#: Most that is sent of one clip: frames, and bytes of them.
MAX_FRAMES, MAX_BYTES = 300, 2 * 2**20
#: Recordings that grow beyond so many bytes are cut off.
MAX_RECORDING = 500 * 2**20
#: Full colour resolution, too: what changes is a grey level or two.
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]


class FrameViewer(anywidget.AnyWidget):  # type: ignore[misc]
    """One timeline with two handles, onset and apex, and pictures to compare, which the browser makes of the frames.

    Side by side, blink, swipe or amplified change, the difference beside them; one cross in all pictures, zoom, values
    under the pointer. Frames are sent once, at most :data:`MAX_BYTES`: as PNG where that fits, else as JPEG, else
    fewer. Saved with the notebook's widget state, all of it works without a kernel.

    Attributes:
        onset, apex: Frames at the handles, one of `numbers` each; what is set pushes the other along.
        numbers: Frames that were sent: all but of a long clip.
        view: What the switches say, such as `{"mode": "blink", "gain": 20, "times": 8}`.
        flow: Optical flow, if there is one: `data` (1/256 px, 16 bits), its `shape`, `title`, `pair` of frames.
        info: All else that is shown, such as `levels` of the curve, `annotated` key frames, the `spotted` apex.
    """

    _esm = scripts("pictures", "controls", "panes", "viewer")
    _css = Path(__file__).with_name("viewer.css")
    frames, numbers = List(Bytes()).tag(sync=True), List(Int(), [0]).tag(sync=True)
    info, flow, view = (Dict().tag(sync=True) for _ in range(3))
    onset, apex = Int().tag(sync=True), Int().tag(sync=True)

    def __init__(self, clip: Clip | None = None) -> None:
        super().__init__(layout={"width": "100%"})
        if clip:
            self.show(clip)

    def show(self, clip: Clip, regions: dict[str, np.ndarray] | None = None) -> None:
        """Shows an aligned clip at its annotated key frames, or the spotted apex; regions (masks) can be outlined.

        Raises:
            ClipError: A frame cannot be read.
        """
        first, count = clip.frame(clip.onset), len(clip.frames)
        rest, sent, greys = small_grey(first), dict[int, bytes](), dict[int, np.ndarray]()
        probes = [clip.frame(n) for n in (0, clip.onset, clip.offset)]
        lossy = max(len(png(frame)) for frame in probes) * min(count, MAX_FRAMES) > MAX_BYTES
        encode = _jpeg if lossy else png
        most = min(MAX_FRAMES, MAX_BYTES // max(len(encode(frame)) for frame in probes))
        for n in _sampled(clip, most):
            frame = clip.frame(n)
            sent[n], greys[n] = encode(frame), small_grey(frame)
        inside = [n for n in sent if clip.onset <= n <= clip.offset]
        spotted = inside[farthest(np.array([pulse(greys[n], rest, greys[inside[-1]]) for n in inside]))]
        reset = [clip.onset, spotted if clip.apex is None else clip.apex]
        info = {"name": clip.id, "count": count, "levels": [block_difference(g, rest) for g in greys.values()]}
        info |= {"type": "image/jpeg" if lossy else "image/png", "height": len(first), "width": first.shape[1]}
        info |= {"annotated": [clip.onset, clip.apex, clip.offset], "reset": reset, "fps": clip.fps, "spotted": spotted}
        info["points"] = [] if clip.landmarks is None else clip.landmarks.tolist()
        info["outlines"] = {name: [ring.tolist() for ring in outline(mask)] for name, mask in (regions or {}).items()}
        with self.hold_sync(), self.hold_trait_notifications():
            self.frames, self.numbers, self.info = list(sent.values()), list(sent), info
            self.flow = self.flow and self.flow | {"pair": []}  # of another clip: its place is kept
            self.onset, self.apex = reset

    @traitlets.validate("onset", "apex")  # type: ignore[untyped-decorator]
    def _sent(self, proposal: dict[str, Any]) -> int:
        return min(self.numbers, key=lambda n: abs(n - proposal["value"]))

    @traitlets.observe("onset", "apex")  # type: ignore[untyped-decorator]
    def _push(self, change: dict[str, Any]) -> None:
        if self.onset > self.apex:
            self.onset = self.apex = change["new"]


def _jpeg(picture: Frame) -> bytes:
    return cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), JPEG)[1].tobytes()


def _sampled(clip: Clip, most: int) -> list[int]:
    """About so many frames: half of them from onset to offset, half from all of the clip; the key frames always."""
    if (count := len(clip.frames)) <= most:
        return list(range(count))
    half = max(most // 2 - 1, 2)
    inside, everywhere = (np.linspace(*ends, half) for ends in ((clip.onset, clip.offset), (0, count - 1)))
    return sorted(set(map(int, [*inside, *everywhere, clip.apex or clip.onset])))


class WebcamRecorder(anywidget.AnyWidget):  # type: ignore[misc]
    """Records from the camera of the machine that shows the page; the file goes to the machine that runs the notebook.

    Each recording replaces the file.

    Attributes:
        path, seconds: Where the recording goes, and how long it is.
        status: "ready", "recording", "done", "cut off" or "failed".
        state: Path and seconds, a dictionary: keep it, and assign it to come back to it.
    """

    _esm = Path(__file__).with_name("webcam.js")
    path = traitlets.Unicode().tag(sync=True)
    seconds = traitlets.Float(5.0, min=1, max=60).tag(sync=True)
    status = traitlets.Unicode("ready").tag(sync=True)
    _size = 0
    state = property(lambda s: s.get_state(["path", "seconds"]), lambda s, w: [s.set_trait(*x) for x in w.items()])  # type: ignore[arg-type]

    def __init__(self, path: Path | str = "webcam.webm", seconds: float = 5.0) -> None:
        super().__init__(path=str(path), seconds=seconds)
        self.on_msg(self._take)

    def _take(self, _: object, content: dict[str, str], parts: list[memoryview]) -> None:
        path, kind = Path(self.path), content.get("kind")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._size = sum(map(len, parts)) + (kind != "begin" and self._size)
        if self._size <= MAX_RECORDING:
            with path.open("wb" if kind == "begin" else "ab") as file:
                file.writelines(parts)
        if kind == "end":
            self.status = "done" if self._size <= MAX_RECORDING else "cut off"
