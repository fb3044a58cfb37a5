"""Key frames: how strong the expression is over time, and the apex where nobody annotated one."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import cv2
import numpy as np
from jaxtyping import Bool, Float

from tsfmicro_lab.clips import Clip, ClipError, Frame, LazyFrames

#: Frames that SLSTT reads of a clip.
FRAMES = 11
#: Side of the aligned face whose blocks are compared, and of these blocks, pixels.
SIZE, BLOCK = 112, 8
#: Share of the face's blocks that count: those that changed most. A one-sided movement fills few.
TOP_SHARE = 1 / 12


def difference_frame(onset: Frame, apex: Frame) -> Float[np.ndarray, "_ _ 3"]:
    """Signed difference apex - onset, in grey levels from -255 to 255; exactly zero for identical frames.

    Raises:
        ValueError: The sizes differ.
    """
    if onset.shape != apex.shape:
        raise ValueError(f"onset {onset.shape} and apex {apex.shape} must have one size: align the clip first")
    return apex.astype(np.float32) - onset.astype(np.float32)


def distances(frames: Sequence[Frame] | LazyFrames, reference: int) -> Float[np.ndarray, " frames"]:
    """:func:`block_difference` of each aligned frame and the one of that index."""
    greys = [small_grey(frames[i]) for i in range(len(frames))]
    return np.array([block_difference(grey, greys[reference]) for grey in greys])


def spot_apex(clip: Clip) -> int:
    """Index of the frame of an aligned clip that shows most of what comes after the onset and goes before the offset.

    By :func:`pulse` between onset and offset, so a slow turn of the head counts little; where the clip ends before the
    face has begun to come back, it lies too early (docs/results.md has the errors of both kinds).
    """
    greys = [small_grey(clip.frame(i)) for i in range(clip.onset, clip.offset + 1)]
    return clip.onset + farthest(np.array([pulse(grey, greys[0], greys[-1]) for grey in greys]))


def farthest(curve: Float[np.ndarray, " frames"]) -> int:
    """Where a smoothed curve is highest."""
    return int(np.argmax(cv2.GaussianBlur(curve[:, None], (1, 0), 1, sigmaY=1.5) if len(curve) > 3 else curve))


def with_apex(clip: Clip) -> Clip:
    """The clip itself if its apex is annotated, else with the spotted one."""
    return clip if clip.apex is not None else replace(clip, apex=spot_apex(clip))


def normalized_grey(image: Frame) -> Float[np.ndarray, "_ _"]:
    """Grey frame with camera noise smoothed out, and flicker by scaling to a mean brightness of 128."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    smooth = cv2.GaussianBlur(grey, (0, 0), max(image.shape[0] / 100, 0.5))
    return smooth * np.float32(128 / max(float(grey.mean()), 1.0))


def small_grey(frame: Frame) -> Float[np.ndarray, "_ _"]:
    """An aligned frame as :func:`block_difference` compares it."""
    return normalized_grey(cv2.resize(frame, (SIZE, SIZE), interpolation=cv2.INTER_AREA))


def block_difference(a: Float[np.ndarray, "_ _"], b: Float[np.ndarray, "_ _"]) -> float:
    """Mean absolute difference of the face's blocks that changed most, less what head and light explain.

    Both are aligned frames from :func:`small_grey`.
    """
    return _top(_blocks(np.abs(_residual(a, b))))


def pulse(now: Float[np.ndarray, "_ _"], before: Float[np.ndarray, "_ _"], after: Float[np.ndarray, "_ _"]) -> float:
    r"""How far the face's blocks went and came back, grey levels: a step that stays and a steady drift give nothing.

    .. math:: r = \begin{cases} \min(|d_b|, |d_a|) & d_b d_a > 0 \\ 0 & \text{else} \end{cases}, \qquad
        p = \bar r^2 / \left(\tfrac12 \overline{|d_b + d_a|} + 0.1\right)

    with the differences :math:`d_b, d_a` of a frame and one before and after it, less what head and light explain;
    means over a block: what came back, times the share of the change that did. The mean over the blocks that have most.

    Example:
        >>> rest = np.random.default_rng(0).uniform(90, 160, (SIZE, SIZE)).astype(np.float32)
        >>> moved = rest.copy()
        >>> moved[80:96, 40:72] += 30
        >>> pulse(moved, rest, rest) > 10, pulse(moved, rest, moved) < 0.5
        (True, True)
    """
    back, on = _residual(now, before), _residual(now, after)
    returned = np.where(back * on > 0, np.minimum(np.abs(back), np.abs(on)), 0)
    return _top(_blocks(returned) ** 2 / (_blocks(np.abs(back + on) / 2) + 0.1))


def _blocks(x: np.ndarray) -> np.ndarray:
    """Means over the blocks of the face."""
    return x.reshape(SIZE // BLOCK, BLOCK, -1, BLOCK).mean((1, 3))[_face_blocks()]


def _top(blocks: np.ndarray) -> float:
    """Mean of those that have most."""
    return float(np.sort(blocks)[-round(TOP_SHARE * len(blocks)) :].mean())


def _residual(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Difference a - b, less the least-squares share of a shift, turn, zoom and change of light of the whole face."""
    dy, dx = np.gradient(b)
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j].astype(np.float32)
    basis = np.stack([dx, dy, x * dy - y * dx, x * dx + y * dy, b, np.ones_like(b)])
    inside = np.kron(_face_blocks(), np.ones((BLOCK, BLOCK), bool))
    seen = basis[:, inside]
    share = np.linalg.solve(seen @ seen.T + 1e-3 * np.eye(len(seen)), seen @ (a - b)[inside])
    return (a - b - np.tensordot(share, basis, 1)).astype(np.float32)


@cache
def _face_blocks() -> Bool[np.ndarray, "rows columns"]:
    """Blocks of the aligned face that are compared: the oval of the face without eyes and bridge, which blinks pull."""
    x, y = np.meshgrid(*[(np.arange(SIZE // BLOCK) + 0.5) * BLOCK / SIZE] * 2)
    oval = ((x - 0.5) / 0.40) ** 2 + ((y - 0.57) / 0.45) ** 2 <= 1
    return oval & ((np.abs(x - 0.5) > 0.29) | (np.abs(y - 0.36) > 0.08))


def strongest_pair(clip: Clip) -> tuple[int, int]:
    """Indices of the pair of frames near onset and apex that differs most, as the public TSFmicro code trains on.

    Of onset + i and apex - j, with i and j up to reach · (apex - onset), the pair with the largest Euclidean distance
    of its pixels. The clip's `reach` is that code's for its data set.
    """
    onset, apex = clip.key_frames
    reach = int(clip.reach * (apex - onset))
    early, late = range(onset, onset + reach + 1), range(apex - reach, apex + 1)
    first, last = (np.stack([clip.frame(i).astype(np.float32).ravel() for i in near]) for near in (early, late))
    distance = np.linalg.norm(first[:, None] - last[None], axis=-1)
    i, j = divmod(int(distance.argmax()), reach + 1)
    return early[i], late[j]


def apex_frames(clip: Clip, count: int = FRAMES, *, before: bool = False) -> list[Frame]:
    """Frames around the apex in numeric order, interpolated between neighbours where the clip has fewer.

    They run from max(apex - count // 2, onset + 1) to min(start + count - 1, offset). A frame between two others is
    their weighted mean, which is enough for motion of a pixel; the paper's program has a network draw it. With `before`
    there is one more, as far before the first as the others are apart.

    Raises:
        ClipError: The clip has no apex, or fewer than two frames after its onset to interpolate between.

    Example:
        >>> frames = [np.full((2, 2, 3), 20 * i, np.uint8) for i in range(4)]
        >>> [int(f[0, 0, 0]) for f in apex_frames(Clip("EP01", "sub01", frames, 0, 2, 3), 5)]
        [20, 30, 40, 50, 60]
    """
    onset, apex = clip.key_frames
    start = max(apex - count // 2, onset + 1)
    end = min(start + count - 1, clip.offset)
    if end <= start:
        few = f"{max(end - start + 1, 0)} frame after its onset, {count} are read, and interpolation needs two"
        raise ClipError(f"clip {clip.id} has {few}: correct onset and offset, or leave the clip out")
    frames = []
    step = (end - start) / (count - 1)  # at most 1, so that the frame before the first is in the clip
    for place in start + step * np.arange(-1 if before else 0, count):
        frame, part = clip.frame(int(place)), float(place % 1)
        frames.append(cv2.addWeighted(frame, 1 - part, clip.frame(int(place) + 1), part, 0) if part > 1e-9 else frame)
    return frames
