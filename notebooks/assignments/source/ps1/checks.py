"""Checks of ps1: alignment that keeps a still face still, the difference frame, the apex, the error of a flow."""

from collections.abc import Callable, Sequence
from itertools import pairwise, product

import cv2
import numpy as np

from tsfmicro_lab.clips import Frame
from tsfmicro_lab.data import Distractors, SyntheticMicroExpressions
from tsfmicro_lab.preprocess import apply_alignment, estimate_alignment, onset_landmarks

from checking import CheckFailed, check, compare, expect


def trembling_clip(seed: int, still: bool = False, frames: int = 5) -> tuple[list[Frame], np.ndarray]:
    """A few frames of a 3-D head, and landmarks that tremble from frame to frame as a landmarker's do.

    Args:
        seed: Of face, motion and tremble.
        still: Whether the face holds still.
        frames: How many, from onset to apex.

    Returns:
        Frames and (frames, points, 2) landmarks, pixels.

    Example:
        >>> frames, landmarks = trembling_clip(0, still=True)
        >>> bool((frames[0] == frames[-1]).all()), landmarks.shape
        (True, (5, 30, 2))
    """
    clip = SyntheticMicroExpressions(1, 1, 96, seed, amplitude=(3.0, 3.0), distractors=Distractors.none())[0]
    onset, apex = clip.key_frames
    shown = np.linspace(onset, onset if still else apex, frames).astype(int)
    landmarks = onset_landmarks(clip)
    tremble = np.random.default_rng(seed).normal(0, 0.6, (frames, len(landmarks), 2))
    return [clip.frame(int(i)) for i in shown], landmarks + tremble


@check
def check_align(align: Callable[..., np.ndarray], seed: int = 0) -> None:
    """A still face stays still, a moving one moves, and the eyes are in their places.

    Args:
        align: `align(frames, landmarks, size)` → (frames, size, size, 3) uint8.
        seed: Of the faces that are tried.
    """
    for size in (56, 80):
        frames, points = trembling_clip(seed + size, still=True)
        got = np.asarray(align([f.copy() for f in frames], points.copy(), size))
        expect(
            got.shape == (len(frames), size, size, 3), f"expected {len(frames)} frames of {size} px, got {got.shape}"
        )
        expect(got.dtype == np.uint8, f"frames are uint8, 0 to 255, got {got.dtype}")
        moved = max(float(np.linalg.norm(cv2.phaseCorrelate(_grey(got[0]), _grey(f))[0])) for f in got[1:])
        resized = np.stack([cv2.resize(f, (size, size)) for f in frames])
        expect(
            not np.array_equal(got, resized), "the eyes are not in their places: the frames were resized, not aligned"
        )
        expect(
            np.ptp(got.astype(int), axis=0).max() == 0,
            f"each frame was aligned on its own: a still face now moves by {moved:.1f} px; estimate the transform once",
        )
        frames, points = trembling_clip(seed + size + 1)
        got = np.asarray(align([f.copy() for f in frames], points.copy(), size))
        expect(
            np.ptp(got.astype(int), axis=0).max() > 0, "the movement is gone: align every frame, not the onset alone"
        )
        others = {
            "the transform comes from the mean of all landmarks; take those of the onset frame, the first": points.mean(
                0
            ),
            "the transform comes from the last frame's landmarks; take those of the onset frame, the first": points[-1],
        }
        mistakes = {message: _aligned(frames, p, size) for message, p in others.items()}
        compare(got, _aligned(frames, points[0], size), mistakes, "the aligned clip", tolerance=0.02)


@check
def check_difference(difference: Callable[..., np.ndarray], seed: int = 0) -> None:
    """The difference frame has a sign, and bytes do not wrap.

    Args:
        difference: `difference(onset, apex)` → (height, width, 3) in grey levels.
        seed: Of the frames that are tried.
    """
    rng = np.random.default_rng(seed)
    for _ in range(3):
        onset, apex = rng.integers(0, 256, (2, *rng.integers(3, 9, 2), 3)).astype(np.uint8)
        got = np.asarray(difference(onset.copy(), apex.copy()))
        true = apex.astype(float) - onset
        mistakes = {
            "bytes wrapped: 3 - 5 is 254 in uint8; convert to float before you subtract": apex - onset,
            "the sign is turned: the difference frame is apex - onset": -true,
            "the sign is lost: dark-to-bright and bright-to-dark are different movements": np.abs(true),
            "negative values were cut to 0 (cv2.subtract does that): half of the motion is gone": true.clip(0),
        }
        compare(got, true, mistakes, "the difference frame")


@check
def check_spot_apex(spot_apex: Callable[..., int], seed: int = 0) -> None:
    """The apex is found, in spite of flicker and of what happens after the offset.

    Args:
        spot_apex: `spot_apex(frames, onset, offset)` → index of the apex in `frames`.
        seed: Of the clips that are tried.
    """
    rng = np.random.default_rng(seed)
    data = SyntheticMicroExpressions(1, 10, 96, seed, amplitude=(6.0, 6.0), distractors=Distractors.none())
    large = data.annotations.emotion.isin(["surprise", "disgust", "happiness"])  # not of a lid or one corner alone
    clips = [data[int(i)] for i in np.flatnonzero(large)[:3]]
    rendered = [[clip.frame(i) for i in range(len(clip.frames))] for clip in clips]
    for flicker, (clip, own) in product((0.0, 0.02), zip(clips, rendered, strict=True)):
        frames = [own[clip.onset]] * 40 + own  # nothing happens for a while
        frames[-1] = np.roll(frames[-1], 8, axis=1)  # the head turns, long after the expression
        onset, apex, offset = (40 + i for i in (*clip.key_frames, clip.offset))
        gains = 1 + flicker * rng.uniform(-1, 1, len(frames))
        gains[onset], gains[offset - 1] = 1, 1 + 5 * flicker  # a flash, when the expression is almost over
        shown = [(0.85 * f * g).round().astype(np.uint8) for f, g in zip(frames, gains, strict=True)]
        got = int(spot_apex(list(shown), onset, offset))
        if abs(got - apex) <= max(4, (offset - onset) // 6):
            continue
        off = f"got frame {got}, the apex is {apex} of a clip with onset {onset} and offset {offset}"
        expect(got <= offset, f"the head turns after the offset: search between onset and offset only; {off}")
        expect(got >= onset, f"that counts from the onset or lies before it: an index of `frames` is wanted; {off}")
        expect(not flicker, f"the light flickered: divide each frame by its mean brightness first; {off}")
        speed = [np.abs(b.astype(float) - a).mean() for a, b in pairwise(shown)]
        fastest = [onset + int(np.argmax(speed[onset:apex])), apex + int(np.argmax(speed[apex:offset]))]
        moving = min(abs(got - f) for f in fastest) <= 3
        expect(not moving, f"that is where the face moves fastest: compare with the onset frame; {off}")
        raise CheckFailed(f"which frame is farthest from the onset frame? {off}")


@check
def check_endpoint_error(error: Callable[..., float], seed: int = 0) -> None:
    """The end-point error is the mean distance in pixels, inside the region.

    Args:
        error: `error(flow, truth, region)` → pixels; flows (2, height, width), region (height, width) bool.
        seed: Of the flows that are tried.
    """
    rng = np.random.default_rng(seed)
    for _ in range(3):
        flow, truth = rng.normal(size=(2, 2, *rng.integers(4, 12, 2)))
        region = rng.random(flow.shape[1:]) < 0.4
        region[0, 0] = True
        distance, apart = np.hypot(*(flow - truth)), (flow - truth)[:, region]
        mistakes = {
            "that is the mean over the whole picture: only the region counts": distance.mean(),
            "lengths were compared, not end points: motion to the left and to the right would be equal": np.abs(
                np.hypot(*flow) - np.hypot(*truth)
            )[region].mean(),
            "that is a squared error: take the square root of dx² + dy² at each pixel, then the mean": (apart**2)
            .sum(0)
            .mean(),
            "the root was taken after the mean: each pixel's distance comes first": np.sqrt((apart**2).sum(0).mean()),
            "|dx| + |dy| is no distance: take sqrt(dx² + dy²)": np.abs(apart).sum(0).mean(),
        }
        compare(error(flow, truth, region), distance[region].mean(), mistakes, "the end-point error")


def _aligned(frames: Sequence[Frame], points: np.ndarray, size: int) -> np.ndarray:
    matrix = estimate_alignment(points, size)
    return np.stack([apply_alignment(frame, matrix, size) for frame in frames])


def _grey(frame: Frame) -> np.ndarray:
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.float32)
