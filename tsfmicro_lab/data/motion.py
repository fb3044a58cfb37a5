"""What happens in a clip: action units and how they move a head, their course in time, and all that disturbs."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float32

from tsfmicro_lab.clips import Field
from tsfmicro_lab.data.mesh import LOOKS, Vertices, head_mesh
from tsfmicro_lab.data.rendering import SCALE

#: A pixel belongs to the moved region where it moves at least this share of the largest displacement.
MOVED_SHARE = 0.25
FPS = 200.0
#: Frames before the onset and after the offset, as a recording has them.
LEAD, TAIL = 8, 6
#: Image side to which amplitudes and drifts in pixels refer.
REFERENCE_SIZE = 224
Timing = tuple[int, float] | None
#: Largest displacement of each action unit, pixels of the image.
Strengths = Mapping[str, float]

#: Number → name and face units.
ACTION_UNITS = {str(unit): (str(name), tuple(parts)) for unit, (name, *parts) in LOOKS["action_units"].items()}
#: Units that one side of a face cannot show together.
_AGAINST = ({"5", "43"}, {"5", "45"}, {"43", "45"}, {"18", "20"}, {"26", "28"})


@lru_cache(maxsize=64)
def unit_delta(name: str) -> Vertices:
    """Displacement of every vertex by an action unit in full strength, millimetres; `L` or `R` in front for one side.

    Raises:
        ValueError: The unit is unknown.

    Example:
        >>> round(float(np.linalg.norm(unit_delta("L12"), axis=1).max()), 1)  # a full smile pulls the corner by 2 cm
        18.7
    """
    match = re.fullmatch(r"([LR]?)(\d+)", name)
    if not match or match[2] not in ACTION_UNITS:
        raise ValueError(f"unknown action unit '{name}': choose from {', '.join(ACTION_UNITS)}, with L or R in front")
    mesh, sides = head_mesh(), {"": ("Left", "Right"), "L": ("Left",), "R": ("Right",)}[match[1]]
    total = np.zeros_like(mesh.vertices)
    for made_of in ACTION_UNITS[match[2]][1]:
        unit, _, weight = made_of.partition(":")
        if unit.endswith("*"):
            total += sum(mesh.units[unit[:-1] + side] for side in sides)
        else:  # a unit of the middle has no sides of its own: it fades out within a centimetre
            left = 1 / (1 + np.exp(-mesh.vertices[:, :1] / 4))
            share = {"": np.ones_like(left), "L": left, "R": 1 - left}[match[1]]
            total += float(weight or 1) * share * mesh.units[unit]
    return total.astype(np.float32)


def unit_reach(name: str) -> float:
    """Largest displacement of an action unit in full strength, pixels of a picture of 224 px."""
    return float(np.hypot(*unit_delta(name)[:, :2].T).max()) * SCALE * REFERENCE_SIZE


def trace(delta: Vertices, vertices: Vertices, width: float) -> Vertices:
    """What is left of a movement where it is only a trace: a round patch of skin at its strongest place, pulled along.

    Every unit's trace has the same shape in a picture, so the place on the face and the direction alone tell the unit.

    Args:
        delta: Displacement of every vertex, millimetres.
        vertices: The face at rest, millimetres.
        width: Standard deviation of the patch, a Gaussian across the picture, millimetres.
    """
    strongest = np.hypot(delta[:, 0], delta[:, 1]).argmax()
    distance = np.hypot(*(vertices - vertices[strongest])[:, :2].T)
    weight = np.exp(-0.5 * (distance / width) ** 2)
    return (weight[:, None] * delta[strongest] * (1, 1, 0)).astype(np.float32)


def check_units(units: Sequence[str]) -> None:
    """Refuses units that do not exist or contradict one another.

    Raises:
        ValueError: With the units and the reason.
    """
    for other_side in "RL":
        shown = [unit.lstrip("LR") for unit in units if unit_delta(unit) is not None and unit[0] != other_side]
        if twice := {unit for unit in shown if shown.count(unit) > 1}:
            raise ValueError(f"{'+'.join(units)} names {', '.join(sorted(twice))} twice on one side: give it once")
        for pair in _AGAINST:
            if pair <= set(shown):
                raise ValueError(f"one side of a face cannot show {' and '.join(sorted(pair))} together: leave one out")


def moved_region(expression: Field) -> np.ndarray:
    """Pixels that move at least a quarter as far as the one that moves farthest."""
    magnitude = np.hypot(*expression)
    return (magnitude >= MOVED_SHARE * magnitude.max()) & (magnitude > 0)


@dataclass(frozen=True)
class Distractors:
    """What changes between frames without being an expression; 0 switches one off, 1 is the usual strength.

    The strengths are set by plausibility, not measured on recordings.
    """

    drift: float = 1.0  #: the head sways by some tenths of a pixel (at 224 px)
    flicker: float = 1.0  #: the light changes by about 1 % from frame to frame
    noise: float = 1.0  #: the camera adds about 1.5 grey levels of noise
    blinks: float = 1.0  #: one clip in ten holds a blink
    turn: float = 1.0  #: the head turns, nods and tilts by about a seventh of a degree, around the neck
    light: float = 1.0  #: the lamp wanders by about a degree, so that shading changes with the skin's slope
    gaze: float = 1.0  #: in three clips of ten the eyes jump to another place
    speech: float = 0.0  #: jaw and lips move as in speech, four to five times a second
    jpeg: float = 0.0  #: every frame is stored as a JPEG; 1 is quality 85, 2 is 70
    video: float = 0.0  #: as H.264 does, a frame stores what differs from the one before, in blocks of 8 x 8 pixels

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value <= 100:
                raise ValueError(f"the strength of {name} must lie between 0 (off) and 100, got {value}")

    @classmethod
    def none(cls) -> "Distractors":
        """No distractor at all."""
        return cls(**dict.fromkeys(cls.__dataclass_fields__, 0.0))

    @classmethod
    def parse(cls, text: str) -> "Distractors":
        """Reads strengths as a command line gives them: `drift=0,noise=2`, the others as usual, or `none`.

        Raises:
            ValueError: A name is unknown or a strength is no number from 0 up.

        Example:
            >>> Distractors.parse("noise=2").noise
            2.0
        """
        if text.strip() == "none":
            return cls.none()
        parts = [part.strip() for part in text.split(",")] if text.strip() else []
        given = {m[1]: m[2] for part in parts if (m := re.fullmatch(r"(\w+)=(\d+\.?\d*|\.\d+)", part))}
        if len(given) < len(parts) or set(given) - set(cls.__dataclass_fields__):
            names = ", ".join(cls.__dataclass_fields__)
            raise ValueError(f"'{text}' is not such as drift=0,noise=2, each name once, with names of {names}")
        return cls(**{name: float(value) for name, value in given.items()})


@dataclass(frozen=True)
class Motion:
    """Everything that happens in a clip. Tracks have a row a frame; all but gain and closure are 0 at the onset."""

    units: Strengths
    onset: int
    apex: int
    offset: int
    frames: int  #: number of frames
    drift: Float32[np.ndarray, "frames 2"] = field(repr=False)  #: shift to the right and down, pixels at 224 px
    turn: Float32[np.ndarray, "frames 3"] = field(repr=False)  #: yaw, nod and tilt, radians
    lamp: Float32[np.ndarray, "frames 2"] = field(repr=False)  #: how the lamp has wandered, radians
    gain: Float32[np.ndarray, " frames"] = field(repr=False)  #: brightness, 1 is neutral
    closure: Float32[np.ndarray, " frames"] = field(repr=False)  #: how far the eyes are closed, 0 to 1
    gaze: Float32[np.ndarray, "frames 2"] = field(repr=False)  #: to the subject's left and up, radians
    speech: Float32[np.ndarray, "frames 2"] = field(repr=False)  #: weight of an open jaw and of rounded lips
    distractors: Distractors = Distractors()
    noise: float = 0.0  #: standard deviation of the camera's noise, grey levels
    trace: float = 0.0  #: width of the patch of skin that a unit moves, millimetres; 0 moves all that it can
    bias: float = 0.0  #: habit: how much stronger the left side moves than the right, as a share
    seed: tuple[int, ...] = (0,)  #: of the noise of each frame

    @classmethod
    def draw(cls, units: Strengths, distractors: Distractors, seed: Sequence[int], timing: Timing = None) -> "Motion":
        """Draws duration, time of the apex and distractors: the same numbers whatever their strengths.

        A clip lasts 0.17 to 0.5 s and rises for 0.065 to 0.26 s, as Yan et al. found for micro-expressions (Journal of
        Nonverbal Behavior 37: 217–230, 2013).

        Args:
            units: Largest displacement of each action unit, pixels of the image.
            distractors: Their strengths.
            seed: Makes the draw reproducible.
            timing: Duration in frames and the share of it before the apex, instead of drawn ones.

        Raises:
            ValueError: A duration is too short to rise and fall, or the share is not between 0 and 1.
        """
        rng = np.random.default_rng(list(seed))
        drawn = int(rng.uniform(0.17, 0.5) * FPS), rng.uniform(0.065, 0.26) * FPS
        duration, rise = (timing[0], timing[0] * timing[1]) if timing else (drawn[0], min(drawn[1], 0.6 * drawn[0]))
        if not (duration >= 4 and 0 < rise < duration):
            raise ValueError(f"timing is at least 4 frames and a share between 0 and 1, not {timing}")
        onset, offset = LEAD, LEAD + duration
        apex = onset + min(max(2, round(rise)), duration - 1)
        noise = distractors.noise * float(rng.uniform(1.0, 2.0))
        still = cls.still(offset + 1 + TAIL, distractors, rng, rest=onset)
        return replace(still, units=dict(units), onset=onset, apex=apex, offset=offset, noise=noise, seed=tuple(seed))

    @classmethod
    def still(
        cls, frames: int, strength: Distractors, rng: np.random.Generator, rest: int = 0, slow: float = 0
    ) -> "Motion":
        """No expression, but all that happens besides; `slow` adds slower and wider sway, as in a long take."""
        t = np.arange(frames) / FPS

        def sway(axes: int) -> np.ndarray:
            """Two slow sines an axis, of standard deviation about 1, and four times wider ones if asked."""
            total = np.zeros((frames, axes))
            for size, low, high in ((1.0, 0.6, 2.0), (slow, 0.03, 0.2)):
                height, phase = rng.normal(size=(2, axes)), rng.uniform(0, 2 * np.pi, (2, axes))
                wave = height, phase, rng.uniform(low, high, (2, axes))
                total += size * sum(a * np.sin(2 * np.pi * f * t[:, None] + p) for a, p, f in zip(*wave, strict=True))
            return total - total[rest]

        drift, turn, lamp = 0.2 * sway(2), 0.0025 * sway(3), 0.015 * sway(2)
        flicker = rng.normal(0, 0.006, frames) + 0.008 * np.sin(2 * np.pi * rng.uniform(5, 95) * t)
        blink, centre = rng.uniform(), rng.uniform(0.1, 0.9) * frames
        width = 0.32 * rng.uniform(0.12, 0.25) * FPS
        lids = np.clip(1.3 * np.exp(-(((np.arange(frames) - centre) / width) ** 2)) - 0.05, 0, 1)
        # A saccade of θ degrees takes about 21 + 2.2 θ ms (Carpenter, Movements of the Eyes, 1988).
        jump, at = rng.normal(0, 0.05, 2), rng.uniform(0.2, 0.8) * frames
        lasts = (0.021 + 0.0022 * np.degrees(np.hypot(*jump))) * FPS
        gaze = (rng.uniform() < 0.3 * strength.gaze) * np.clip((np.arange(frames) - at) / lasts, 0, 1)[:, None] * jump
        # Mouths open at 2 to 7 Hz in speech (Chandrasekaran et al., PLoS Comput Biol 5(7): e1000436, 2009).
        rate, phase = rng.uniform(4, 5), rng.uniform(0, 2 * np.pi, 2)
        open_ = 0.5 - 0.5 * np.cos(2 * np.pi * rate * t[:, None] * (1, 0.5) + phase)
        tracks = {"drift": strength.drift * drift, "turn": strength.turn * turn, "lamp": strength.light * lamp}
        tracks |= {"gain": 1 + strength.flicker * flicker, "closure": lids * (blink < 0.1 * strength.blinks)}
        tracks |= {"gaze": gaze, "speech": strength.speech * np.array([0.12, 0.25]) * (open_ - open_[rest]).clip(0)}
        arrays: dict[str, Any] = {name: np.asarray(track, np.float32) for name, track in tracks.items()}
        return cls({}, 0, 0, 0, frames, **arrays, distractors=strength)

    def intensity(self, frame: int) -> float:
        """Strength of the expression: rises to 1 at the apex, falls to 0 at the offset, both like a cosine.

        The course of the curve between the key frames is our estimate.
        """
        if not self.onset < frame < self.offset:
            return 0.0
        rest = self.onset if frame <= self.apex else self.offset
        return float(0.5 - 0.5 * np.cos(np.pi * ((frame - rest) / (self.apex - rest))))
