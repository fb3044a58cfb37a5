"""A face that moves: what happens in a clip, and the frames that a camera records of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np
import torch
from jaxtyping import Float32

from tsfmicro_lab.clips import Clip, Frame, LazyFrames, Points, Truth
from tsfmicro_lab.data.face_params import LENS_BLUR
from tsfmicro_lab.data.faces import SUPERSAMPLE, Face
from tsfmicro_lab.data.motion import backward, displacement, moved_region, sample
from tsfmicro_lab.preprocess.alignment import estimate_alignment, transform_points
from tsfmicro_lab.preprocess.landmarks import POINT_INDEX

Timing = tuple[int, float] | None
FPS = 200.0
#: Frames before the onset and after the offset, as a recording has them.
LEAD, TAIL = 8, 6
#: Image side to which amplitudes and drifts in pixels refer.
REFERENCE_SIZE = 224


@dataclass(frozen=True)
class Distractors:
    """What changes between frames without being an expression; 0 switches one off, 1 is the default strength."""

    drift: float = 1.0  #: the head sways by some tenths of a pixel (at 224 px) and tilts a little
    flicker: float = 1.0  #: the light changes by about 1 % from frame to frame
    noise: float = 1.0  #: the camera adds about 1.5 grey levels of noise
    blinks: float = 1.0  #: one clip in ten holds a blink

    @classmethod
    def none(cls) -> "Distractors":
        """No distractor at all."""
        return cls(0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Motion:
    """Everything that happens in one rendered clip."""

    units: Mapping[str, float]  #: largest displacement of each action unit, pixels of the image
    onset: int
    apex: int
    offset: int
    frames: int  #: number of frames
    drift: Float32[np.ndarray, "frames 3"] = field(repr=False)  #: shift, pixels, and tilt, radians; 0 at the onset
    gain: Float32[np.ndarray, " frames"] = field(repr=False)  #: brightness, 1 is neutral
    closure: Float32[np.ndarray, " frames"] = field(repr=False)  #: how far the eyes are closed, 0 to 1
    noise: float  #: standard deviation of the camera's noise, grey levels
    seed: tuple[int, ...]  #: of the noise of each frame

    @classmethod
    def draw(
        cls, units: Mapping[str, float], size: int, distractors: Distractors, seed: Sequence[int], timing: Timing = None
    ) -> "Motion":
        """Draws duration (0.1 to 0.5 s), time of the apex and distractors: the same numbers whatever their strengths.

        Args:
            units: Largest displacement of each action unit, pixels.
            size: Side of the image, pixels.
            distractors: Their strengths.
            seed: Makes the draw reproducible.
            timing: Duration in frames and the share of it before the apex, instead of drawn ones.
        """
        rng = np.random.default_rng(list(seed))
        drawn = int(rng.uniform(0.1, 0.5) * FPS), rng.uniform(0.3, 0.6)
        duration, rise = timing or drawn
        onset, offset = LEAD, LEAD + duration
        apex = onset + max(2, round(duration * rise))
        frames = offset + 1 + TAIL
        t = np.arange(frames) / FPS
        # Two slow sines an axis, zero at the onset; the tilt is about 0.1 degrees.
        wave = rng.normal(size=(2, 3)), rng.uniform(0, 2 * np.pi, (2, 3)), rng.uniform(0.6, 2.0, (2, 3))
        sway = sum(a * np.sin(2 * np.pi * f * t[:, None] + p) for a, p, f in zip(*wave, strict=True))
        sway = (sway - sway[onset]) * (0.2 * size / REFERENCE_SIZE, 0.2 * size / REFERENCE_SIZE, 0.0015)
        flicker = rng.normal(0, 0.006, frames) + 0.008 * np.sin(2 * np.pi * rng.uniform(5, 95) * t)
        blink, centre, length = rng.uniform(), rng.uniform(onset, offset), rng.uniform(0.12, 0.25) * FPS
        closed = np.clip(1.3 * np.exp(-(((np.arange(frames) - centre) / (0.32 * length)) ** 2)) - 0.05, 0, 1)
        closed = closed * (blink < 0.1 * distractors.blinks)
        tracks = distractors.drift * sway, 1 + distractors.flicker * flicker, closed
        drift, gain, closure = (track.astype(np.float32) for track in tracks)
        noise = distractors.noise * float(rng.uniform(1.0, 2.0))
        return cls(dict(units), onset, apex, offset, frames, drift, gain, closure, noise, tuple(seed))

    def intensity(self, frame: int) -> float:
        """Strength of the expression: rises to 1 at the apex, falls to 0 at the offset, both like a cosine."""
        if not self.onset < frame < self.offset:
            return 0.0
        rest = self.onset if frame <= self.apex else self.offset
        return float(0.5 - 0.5 * np.cos(np.pi * ((frame - rest) / (self.apex - rest))))


class MovingFace:
    """A face, drawn or photographed, that moves: renders any frame of its clip when asked."""

    def __init__(self, face: Face, motion: Motion) -> None:
        self.face, self.motion = face, motion
        self.size = len(face.open) // SUPERSAMPLE

    @cached_property
    def expression(self) -> Float32[np.ndarray, "2 height width"]:
        """Displacement that the action units make at the apex, pixels."""
        return displacement(self.motion.units, self.face.landmarks, self.size)

    def displacement(self, frame: int) -> Float32[np.ndarray, "2 height width"]:
        """Displacement of every resting pixel in a frame, pixels: expression and head drift."""
        dx, dy, tilt = self.motion.drift[frame]
        y, x = np.mgrid[: self.size, : self.size].astype(np.float32)
        cx, cy = self.face.landmarks[POINT_INDEX["nose_tip"]]
        # The head moves as one, the ground does not: the motion fades out towards the edge of the picture.
        radius = np.hypot((x - cx) / 0.42, (y - cy) / 0.5) / self.size
        head = 0.5 + 0.5 * np.cos(np.pi * np.clip((radius - 0.7) / 0.5, 0, 1))
        drift = head * np.stack([dx - tilt * (y - cy), dy + tilt * (x - cx)])
        return (self.motion.intensity(frame) * self.expression + drift).astype(np.float32)

    def noise_free(self, frame: int) -> Float32[np.ndarray, "height width 3"]:
        """A frame without flicker and camera noise, 0 to 255, not rounded."""
        texture = self._texture(float(self.motion.closure[frame]))
        b = backward(torch.from_numpy(self.displacement(frame))[None])
        pixels = sample(torch.from_numpy(texture).permute(2, 0, 1)[None], b)
        return 255 * pixels[0].permute(1, 2, 0).numpy().clip(0, 1)

    def render(self, frame: int) -> Frame:
        """A frame as the camera records it."""
        rng = np.random.default_rng([*self.motion.seed, frame])
        image = self.noise_free(frame) * self.motion.gain[frame]
        if self.motion.noise:
            image = image + self.motion.noise * rng.standard_normal(image.shape, np.float32)
        return image.round().clip(0, 255).astype(np.uint8)

    def truth(self) -> Truth:
        """The true motion between onset and apex."""
        return Truth(self.displacement(self.motion.apex), self.expression, moved_region(self.expression))

    def clip(self, name: str, subject: str, emotion: str | None = None) -> Clip:
        """The clip, whose frames are rendered when asked for."""
        m = self.motion
        frames, units = LazyFrames(self.render, range(m.frames)), tuple(m.units)
        keys = (m.onset, m.apex, m.offset)
        return Clip(name, subject, frames, *keys, FPS, emotion, units, self.face.landmarks, self.truth())

    def _texture(self, closure: float) -> Float32[np.ndarray, "height width 3"]:
        if closure == 0:
            return self.face.open
        # The lid comes down like a curtain with a soft edge.
        lid = np.clip((closure * 1.1 - self.face.lid) / 0.1, 0, 1)[..., None]
        return np.asarray(lid * self.face.closed + (1 - lid) * self.face.open, np.float32)


def photograph(
    image: Frame, landmarks: Points, units: Mapping[str, float], size: int = 224, seed: int = 0
) -> MovingFace:
    """Moves a real photograph by action units, through the same motion model as the drawn faces.

    Args:
        image: RGB photograph of one face.
        landmarks: Its named points, pixels of the photograph.
        units: Largest displacement of each action unit, pixels of the result.
        size: Side of the result, a square around the face, pixels.
        seed: Of duration, drift, flicker and noise. A photograph cannot blink: what its lids hide is unknown.

    Example:
        >>> from skimage.data import astronaut
        >>> points = MediaPipeLandmarker()(astronaut())  # doctest: +SKIP
        >>> photograph(astronaut(), points, {"12": 3.0}).clip("EP01", "astronaut")  # doctest: +SKIP
        Clip astronaut/EP01: 105 frames at 200 fps, onset 8, apex 41, offset 98, no label, AU 12
    """
    # A frame as wide as that of a drawn face: the aligned face with room around it.
    matrix = estimate_alignment(landmarks, size)
    matrix = 0.7 * matrix + np.array([[0, 0, 0.15 * size], [0, 0, 0.20 * size]])
    # Pixel x of the image is pixel 2 x + 0.5 of the texture.
    fine = SUPERSAMPLE * matrix + np.array([[0, 0, (SUPERSAMPLE - 1) / 2]])
    side = SUPERSAMPLE * size
    texture = cv2.warpAffine(image, fine, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    texture = cv2.GaussianBlur(texture, (0, 0), LENS_BLUR)
    pixels = (np.asarray(texture, np.float32) / 255).clip(0, 1)
    face = Face(pixels, pixels, np.full((side, side), 2.0, np.float32), transform_points(landmarks, matrix))
    return MovingFace(face, Motion.draw(units, size, Distractors(blinks=0.0), [seed, 4]))
