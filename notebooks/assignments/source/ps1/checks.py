"""Checks of ps1: alignment that keeps a still face still, the difference frame, the apex, the error of a flow."""

import functools
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise, product

import cv2
import numpy as np

from tsfmicro_lab.clips import Frame
from tsfmicro_lab.data import Distractors, SyntheticMicroExpressions
from tsfmicro_lab.preprocess import (
    FLOWS,
    align_clip,
    apply_alignment,
    endpoint_error,
    estimate_alignment,
    onset_landmarks,
    optical_flow,
)

from checking import call, check, compare, converted, expect

OWN = "write the steps yourself; the lab's own function is what this exercise builds"


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
    drawn, landmarks = _trembling(seed, still, frames)
    return [frame.copy() for frame in drawn], landmarks.copy()


@functools.cache
def _trembling(seed: int, still: bool, frames: int) -> tuple[list[Frame], np.ndarray]:
    clip = SyntheticMicroExpressions(1, 1, 96, seed, amplitude=(3.0, 3.0), distractors=Distractors.none())[0]
    onset, apex = clip.key_frames
    shown = np.linspace(onset, onset if still else apex, frames).astype(int)
    landmarks = onset_landmarks(clip)
    tremble = np.random.default_rng(seed).normal(0, 0.6, (frames, len(landmarks), 2))
    return [clip.frame(int(i)) for i in shown], landmarks + tremble


@check
def check_align(
    align: Callable[..., np.ndarray],
    seed: int = 0,
    sizes: Sequence[int] = (56, 80),
    frames: int = 5,
    margin: int = 0,
    lamp: float = 1,
) -> None:
    """A still face stays still, a moving one moves, and the eyes are in their places.

    Args:
        align: `align(frames, landmarks, size)` → (frames, size, size, 3) uint8.
        seed: Of the faces that are tried.
        sizes: Sides of the aligned frames.
        frames: Frames of a clip.
        margin: Rows above the face; twice as many columns stand left of it.
        lamp: Share of the light that is left in the last frame of a moving clip.
    """
    for size in sizes:
        shown, points = _with_margin(*trembling_clip(seed + size, True, frames), margin)
        got = _aligned_by(align, shown, points, size)
        resized = np.stack([cv2.resize(f, (size, size)) for f in shown])
        expect(
            not np.array_equal(got, resized), "the eyes are not in their places: the frames were resized, not aligned"
        )
        moved = max(float(np.linalg.norm(cv2.phaseCorrelate(_grey(got[0]), _grey(f))[0])) for f in got[1:])
        expect(
            np.ptp(got.astype(int), axis=0).max() == 0,
            f"each frame was treated on its own: a still face now moves by {moved:.1f} px; estimate the transform once",
        )
        shown, points = _with_margin(*trembling_clip(seed + size + 1, False, frames), margin)
        light = np.linspace(1, lamp, frames)
        shown = [(frame * share).astype(np.uint8) for frame, share in zip(shown, light, strict=True)]
        got = _aligned_by(align, shown, points, size)
        expect(
            np.ptp(got.astype(int), axis=0).max() > 0, "the movement is gone: align every frame, not the onset alone"
        )
        true = _aligned(shown, points[0], size)
        mistakes = {
            "the transform comes from the mean of all landmarks; take those of the onset frame, the first": (
                lambda s=shown, p=points, n=size: _aligned(s, p.mean(0), n)
            ),
            "the transform comes from the last frame's landmarks; take those of the onset frame, the first": (
                lambda s=shown, p=points, n=size: _aligned(s, p[-1], n)
            ),
            "the colours are in another order: the frames are RGB, and so must be what you return": true[..., ::-1],
            "the frames came back in another order": true[::-1],
            "rows and columns are swapped": true.swapaxes(1, 2),
        }
        if not any(abs(got - other.astype(float)).max() <= 5 for other in _sampled(shown, points[0], size)):
            compare(got, true, mistakes, "the aligned clip", tolerance=0.02)


def _sampled(shown: Sequence[Frame], points: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """What other samplings than the lab's give: as good, and other bytes at edges."""
    matrix = estimate_alignment(points, size)
    for how, border in product((cv2.INTER_LINEAR, cv2.INTER_CUBIC), (cv2.BORDER_CONSTANT, cv2.BORDER_REFLECT)):
        yield np.stack([cv2.warpAffine(f, matrix, (size, size), flags=how, borderMode=border) for f in shown])


def _aligned_by(align: Callable[..., np.ndarray], shown: Sequence[Frame], points: np.ndarray, size: int) -> np.ndarray:
    got = call(
        align, list(shown), points, size, returns="items", forbids={"tsfmicro_lab.preprocess.alignment.align_": OWN}
    )
    types = {str(getattr(frame, "dtype", type(frame).__name__)).removeprefix("torch.") for frame in got}
    expect(len(got) == len(shown), f"expected {len(shown)} frames of {size} px, got {len(got)} items")
    array = converted(got, "array", "align must return")
    shape = (len(shown), size, size, 3)
    expect(array.shape == shape, f"expected {len(shown)} frames of {size} px, {shape}, got {array.shape}")
    expect(types == {"uint8"}, f"frames are uint8, 0 to 255, got {', '.join(sorted(types))}")
    return array.astype(np.uint8)


@check
def check_difference(difference: Callable[..., np.ndarray], seed: int = 0, most: int = 255) -> None:
    """The difference frame has a sign, and bytes do not wrap.

    Args:
        difference: `difference(onset, apex)` → (height, width, 3) in grey levels.
        seed: Of the frames that are tried.
        most: How far both frames are apart at most; the less, the fainter the movement.
    """
    rng = np.random.default_rng(seed)
    for _ in range(3):
        onset = rng.integers(0, 256, (*rng.integers(3, 9, 2), 3)).astype(np.uint8)
        apex = (onset + rng.integers(-most, most + 1, onset.shape)).clip(0, 255).astype(np.uint8)
        apex.flat[0], onset.flat[0] = np.uint8(0), np.uint8(min(most, 200))
        apex.flat[1], onset.flat[1] = np.uint8(most), np.uint8(0)
        true = apex.astype(float) - onset
        mistakes = {
            "bytes wrapped: 3 - 5 is 254 in uint8; convert to float before you subtract": apex - onset,
            "bytes wrapped: int8 ends at 127, and a difference at 255": (apex - onset).view(np.int8),
            "the sign is turned: the difference frame is apex - onset": -true,
            "the sign is lost: dark-to-bright and bright-to-dark are different movements": np.abs(true),
            "negative values were cut to 0 (cv2.subtract does that): half of the motion is gone": true.clip(0),
            "grey levels are wanted, 0 to 255 apart: do not divide": true / 255,
            "that is the apex frame; subtract the onset frame": apex,
            "that is one number per pixel: keep the three colours": true.mean(-1),
        }
        compare(
            call(difference, onset, apex, returns="array", forbids=_BY_HAND), true, mistakes, "the difference frame"
        )


_BY_HAND = {f"tsfmicro_lab.preprocess.{name}": OWN for name in ("keyframes.", "flow.endpoint")}


@check
def check_spot_apex(
    spot_apex: Callable[..., int],
    seed: int = 0,
    places: Sequence[float] = (0.25, 0.7, 0.5),
    length: int = 36,
    before: int = 40,
) -> None:
    """The apex is found, in spite of flicker and of what happens before the onset and after the offset.

    Args:
        spot_apex: `spot_apex(frames, onset, offset)` → index of the apex in `frames`.
        seed: Of the clips that are tried.
        places: Where the apex lies in each clip, as a share of the time from onset to offset.
        length: Frames from onset to offset.
        before: Frames before the onset.
    """
    rng = np.random.default_rng(seed)
    clips = [_timed(seed, number, place, length) for number, place in enumerate(places)]
    for flicker, (own, rise) in product((0.0, 0.02), clips):
        turned = np.roll(own[0], 8, axis=1)  # the head turns, when there is no expression
        frames = [turned] + [own[0]] * (before - 1) + own + [own[-1], own[-1], turned]
        onset, apex, offset = before, before + rise, before + length
        gains = 1 + flicker * rng.uniform(-1, 1, len(frames))
        gains[onset], gains[offset - 1] = 1, 1 + 5 * flicker  # a flash, when the expression is almost over
        gains[onset + 1] = gains[offset - 1] if rise > length / 2 else 1
        shown = [(0.85 * f * g).round().astype(np.uint8) for f, g in zip(frames, gains, strict=True)]
        got = call(spot_apex, shown, onset, offset, returns="whole", forbids=_BY_HAND)
        off = f"got frame {got}, the apex is {apex} of a clip with onset {onset} and offset {offset}"
        far = abs(got - apex) > max(4, length // 6)
        expect(
            not far or got <= offset, f"the head turns after the offset: search between onset and offset only; {off}"
        )
        expect(
            not far or got >= onset,
            f"that counts from the onset or lies before it: an index of `frames` is wanted; {off}",
        )
        steady = "right where the light is steady, wrong where it flickers: compare frames of equal mean brightness"
        expect(not far or not flicker, f"{steady}; {off}")
        speed = [np.abs(b.astype(float) - a).mean() for a, b in pairwise(shown)]
        fastest = [onset + int(np.argmax(speed[onset:apex])), apex + int(np.argmax(speed[apex:offset]))]
        moving = min(abs(got - f) for f in fastest) <= 3
        fast = "near that frame the face moves fastest, but is not farthest: compare each frame with the onset frame"
        expect(not far or not moving, f"{fast}; {off}")
        expect(not far, f"which frame is farthest from the onset frame? {off}")


@functools.cache
def _timed(seed: int, number: int, place: float, length: int) -> tuple[list[Frame], int]:
    """Frames from onset to offset of a clip whose apex lies at `place`, and the frames until then."""
    data = SyntheticMicroExpressions(1, 10, 96, seed, amplitude=(6.0, 6.0), distractors=Distractors.none())
    large = data.annotations.emotion.isin(["surprise", "disgust", "happiness"])  # not of a lid or one corner alone
    clip, rise = data[int(np.flatnonzero(large)[number])], round(place * length)
    times = [*np.linspace(clip.onset, clip.apex, rise + 1), *np.linspace(clip.apex, clip.offset, length - rise + 1)[1:]]
    drawn = {i: clip.frame(i) for i in sorted({round(t) for t in times})}
    return [drawn[round(t)] for t in times], rise


@check
def check_endpoint_error(error: Callable[..., float], seed: int = 0, uneven: bool = False) -> None:
    """The end-point error is the mean distance in pixels, inside the region.

    Args:
        error: `error(flow, truth, region)` → pixels; flows (2, height, width), region (height, width) bool.
        seed: Of the flows that are tried.
        uneven: Whether the region is one block, errors are few and large, and outside the truth is unknown (NaN).
    """
    rng = np.random.default_rng(seed)
    for _ in range(3):
        flow, truth = rng.normal(size=(2, 2, *rng.integers(6, 12, 2)))
        region = rng.random(flow.shape[1:]) < 0.4
        region[0, :2] = True
        if uneven:
            region[:], region[1:4, 2:5], truth[:, 1] = False, True, 0
            flow = truth + np.where(rng.random(truth.shape) < 0.2, rng.normal(4, 9, truth.shape), 0)
            flow[:, 2, 3], flow[:, 1, 2] = truth[:, 2, 3] + (3, -4), (2, 1)
            truth[:, ~region] = np.nan
        distance, apart = np.hypot(*(flow - truth)), (flow - truth)[:, region]
        true = distance[region].mean()
        mistakes = {
            "that is the mean over the whole picture: only the region counts": distance.mean(),
            "what lies outside the region must count nothing, not 0": np.where(region, distance, 0).mean(),
            "lengths were compared, not end points: motion to the left and to the right would be equal": np.abs(
                np.hypot(*flow) - np.hypot(*truth)
            )[region].mean(),
            "that is a squared error: take the square root of dx² + dy² at each pixel, then the mean": (apart**2)
            .sum(0)
            .mean(),
            "the root was taken after the mean: each pixel's distance comes first": np.sqrt((apart**2).sum(0).mean()),
            "|dx| + |dy| is no distance: take sqrt(dx² + dy²)": np.abs(apart).sum(0).mean(),
            "that is the mean over both components; one distance per pixel is wanted": np.abs(apart).mean(),
            "errors to the left and to the right cancel: take the distance before the mean": np.hypot(*apart.mean(1)),
            "that is the sum over the region; divide by its number of pixels": distance[region].sum(),
        }
        compare(
            call(error, flow, truth, region, returns="number", forbids=_BY_HAND), true, mistakes, "the end-point error"
        )


@check
def check_best_flow(name: str, error: float, seed: int) -> None:
    """The best flow on your own clip, and its error.

    Args:
        name: Of the method.
        error: Its end-point error on what moved, pixels.
        seed: Of the student's clip.
    """
    inside, whole = _flow_errors(seed)
    known = isinstance(name, str) and name in inside
    expect(known, f"best_method is one of {list(inside)}, got {name!r}")
    best, error = min(inside, key=lambda m: inside[m]), converted(error, "number", "best_error must be")
    expect(inside[name] <= inside[best] + 0.005, f"on your clip another flow is better than {name}")
    mistakes = {"that is the error over the whole picture, not inside truth.moved": whole[name]}
    if not abs(error - inside[name]) <= 0.0051:  # two digits are enough
        compare(
            error, inside[name], mistakes, "best_error, pixels", tolerance=0.02, hint="Was `me` changed afterwards?"
        )


@functools.cache
def _flow_errors(seed: int) -> tuple[dict[str, float], dict[str, float]]:
    """Error of each flow inside what moved, and over the whole picture."""
    clip = align_clip(SyntheticMicroExpressions(1, 1, 128, seed, amplitude=(2.0, 3.0))[0], 112)
    if clip.truth is None:
        raise ValueError("the clip has no truth")
    onset, apex = map(clip.frame, clip.key_frames)
    maps = {m: endpoint_error(optical_flow(onset, apex, m), clip.truth.field) for m in FLOWS}
    moved = clip.truth.moved
    return {m: float(e[moved].mean()) for m, e in maps.items()}, {m: float(e.mean()) for m, e in maps.items()}


def _with_margin(frames: Sequence[Frame], points: np.ndarray, margin: int) -> tuple[list[Frame], np.ndarray]:
    sides = ((margin, 0), (2 * margin, 0), (0, 0))
    return [np.pad(f, sides, mode="edge") for f in frames], points + np.array([2 * margin, margin])


def _aligned(frames: Sequence[Frame], points: np.ndarray, size: int) -> np.ndarray:
    matrix = estimate_alignment(points, size)
    return np.stack([apply_alignment(frame, matrix, size) for frame in frames])


def _grey(frame: Frame) -> np.ndarray:
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.float32)
