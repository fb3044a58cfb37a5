"""A long take of one synthetic face: micro-expressions at known times, with rest, blinks and sway between them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float32

from tsfmicro_lab.clips import LazyFrames
from tsfmicro_lab.data.moving_face import FPS, REFERENCE_SIZE, Distractors, Motion, MovingFace


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
        super().__init__(takes[0].face, _motion(begin + pause, takes[0].size, distractors or Distractors(), seed))
        self.frames = LazyFrames(self.render, range(begin + pause))
        self.table = pd.DataFrame(
            {
                **{key: shift + getattr(take.motion, key) for key in ("onset", "apex", "offset")},
                "action_units": "+".join(take.motion.units),
                "amplitude": max(take.motion.units.values()),
            }
            for shift, take in self.takes
        )

    def displacement(self, frame: int) -> Float32[np.ndarray, "2 height width"]:
        """Displacement of every resting pixel in a frame, pixels: the expression of that time and the head's sway."""
        field = super().displacement(frame)
        for shift, take in self.takes:
            if intensity := take.motion.intensity(frame - shift):
                field = field + np.float32(intensity) * take.expression
        return field


def _motion(frames: int, size: int, strength: Distractors, seed: int) -> Motion:
    """No expression of its own, but all that happens besides; how strong is set by plausibility, as for the clips."""
    rng = np.random.default_rng([seed, 5])
    t = np.arange(frames) / FPS
    fast = rng.normal(size=(2, 3)), rng.uniform(0, 2 * np.pi, (2, 3)), rng.uniform(0.6, 2.0, (2, 3))
    slow = 4 * rng.normal(size=(2, 3)), rng.uniform(0, 2 * np.pi, (2, 3)), rng.uniform(0.03, 0.2, (2, 3))
    waves = [wave for group in (fast, slow) for wave in zip(*group, strict=True)]
    sway = sum(a * np.sin(2 * np.pi * f * t[:, None] + p) for a, p, f in waves)
    sway = sway * (0.2 * size / REFERENCE_SIZE, 0.2 * size / REFERENCE_SIZE, 0.0015)
    lids, centre = np.zeros(frames), rng.uniform(0.5, 4.0)
    while strength.blinks and centre < t[-1]:
        lids = np.maximum(lids, 1.3 * np.exp(-(((t - centre) / 0.06) ** 2)) - 0.05)
        centre += rng.uniform(2.0, 6.0)
    flicker = rng.normal(0, 0.006, frames) + 0.008 * np.sin(2 * np.pi * rng.uniform(5, 95) * t)
    tracks = (strength.drift * sway, 1 + strength.flicker * flicker, lids.clip(0, 1))
    drift, gain, closure = (x.astype(np.float32) for x in tracks)
    return Motion({}, 0, 0, 0, frames, drift, gain, closure, 1.5 * strength.noise, (seed, 6))
