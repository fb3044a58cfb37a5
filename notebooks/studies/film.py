"""A long take of one synthetic face: micro-expressions at known times, with rest, blinks and sway between them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from tsfmicro_lab.clips import Frame, LazyFrames
from tsfmicro_lab.data.mesh import Vertices
from tsfmicro_lab.data.motion import FPS, Distractors, Motion
from tsfmicro_lab.data.moving_face import MovingFace
from tsfmicro_lab.data.video import VideoError


class LongTake(MovingFace):
    """Several micro-expressions of one face, one after another, in one recording without cuts.

    Args:
        takes: Renderers of single clips of one subject, in the order shown.
        rest: Seconds of rest before, between and after them.
        distractors: Of the whole take: sway of the head, flicker, noise, and a blink about every four seconds.
        seed: Of the distractors.

    Attributes:
        frames: Every frame, rendered when asked for.
        table: Onset, apex and offset of each expression (frames), its action units and largest displacement (pixels).

    Example:
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions
        >>> data = SyntheticMicroExpressions(1, 2, image_size=64)
        >>> take = LongTake([data.moving_face(0), data.moving_face(1)], rest=0.5)
        >>> len(take.frames) > 300, list(take.table.columns)
        (True, ['onset', 'apex', 'offset', 'action_units', 'amplitude'])
    """

    def __init__(
        self, takes: Sequence[MovingFace], rest: float = 1.0, distractors: Distractors | None = None, seed: int = 0
    ) -> None:
        pause, begin, shifts = round(rest * FPS), 0, []
        for take in takes:
            shifts.append(begin + pause - take.motion.onset)
            begin += pause + take.motion.offset - take.motion.onset
        self.takes = list(zip(shifts, takes, strict=True))
        motion = _motion(begin + pause, distractors or Distractors(), seed)
        super().__init__(takes[0].face, motion, takes[0].camera, takes[0].light)
        self.frames = LazyFrames(self.render, range(begin + pause))
        self.table = pd.DataFrame(
            {
                **{key: shift + getattr(take.motion, key) for key in ("onset", "apex", "offset")},
                "action_units": "+".join(take.motion.units),
                "amplitude": max(take.motion.units.values()),
            }
            for shift, take in self.takes
        )

    def _units(self, frame: int, expression: float | None = None) -> Vertices:
        """What the units of that time do to the face, millimetres."""
        shares = [(take, take.motion.intensity(frame - shift)) for shift, take in self.takes]
        return sum((take._units(0, share) for take, share in shares if share), super()._units(frame, 0.0))


def _motion(frames: int, strength: Distractors, seed: int) -> Motion:
    """No expression of its own, but all that happens besides, and a blink every few seconds."""
    rng = np.random.default_rng([seed, 5])
    motion = Motion.still(frames, strength, rng, slow=4.0)
    lids, centre = np.zeros(frames), rng.uniform(0.5, 4.0)
    while strength.blinks and centre < frames / FPS:
        lids = np.maximum(lids, 1.3 * np.exp(-(((np.arange(frames) / FPS - centre) / 0.06) ** 2)) - 0.05)
        centre += rng.uniform(2.0, 6.0) / strength.blinks
    closure = lids.clip(0, 1).astype(np.float32)
    return replace(motion, closure=closure, noise=1.5 * strength.noise, seed=(seed, 6))


def pauses(frames: int, rng: np.random.Generator) -> np.ndarray:
    """Share (frames, 1) of something that comes and goes: about a second of it, about a second without."""
    changes = np.cumsum(rng.uniform(0.6, 1.6, frames)) * FPS
    active = np.pad(np.searchsorted(changes, np.arange(frames)) % 2, 20, "edge")
    return np.convolve(active, np.hanning(43)[1:-1] / 21, "valid")[:, None].astype(np.float32)


def write_video(frames: Iterable[Frame], path: Path | str, fps: float, codec: str = "FFV1") -> Path:
    """Writes RGB frames of one size to a video file, whose ending chooses the container.

    The codec FFV1 (in .mkv) loses nothing; MJPG (in .avi) and mp4v (in .mp4) do.

    Raises:
        VideoError: There is no frame, or this OpenCV cannot write that codec.

    Example:
        >>> import tempfile
        >>> from tsfmicro_lab.data.video import Video
        >>> grey = [np.full((48, 64, 3), value, np.uint8) for value in (10, 20, 30)]
        >>> path = write_video(grey, Path(tempfile.mkdtemp()) / "grey.mkv", 100)
        >>> [(time, int(read().max())) for time, read in Video(path)]
        [(0.0, 10), (0.01, 20), (0.02, 30)]
    """
    writer = None
    for frame in frames:
        if writer is None:
            code = cv2.VideoWriter.fourcc(*codec)
            writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, fps, frame.shape[1::-1])
            if not writer.isOpened():
                raise VideoError(f"{path}: this OpenCV writes no {codec} there; try MJPG in an .avi file")
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    if writer is None:
        raise VideoError(f"{path}: there is no frame to write")
    writer.release()
    return Path(path)
