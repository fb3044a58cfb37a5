"""The frames around an apex, one square crop for all of them, and their flow: what SLSTT reads (arXiv 2112.05851)."""

from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Float

from tsfmicro_lab.clips import Clip, ClipError, Frame, Points
from tsfmicro_lab.preprocess.alignment import align_with
from tsfmicro_lab.preprocess.flow import farneback, optical_flow
from tsfmicro_lab.preprocess.landmarks import POINT_INDEX

#: Frames that SLSTT reads of a clip.
FRAMES = 11

Flows = Float[np.ndarray, "_ 2 _ _"]


def square_crop(clip: Clip, size: int) -> Clip:
    """The clip inside one fixed square around the nose tip, not rotated.

    The side is (chin - brow) + (chin - lower lip), as in the paper. There the landmarks are those of the apex frame;
    here they are the clip's, of the onset frame, a pixel or two away.

    Args:
        clip: With landmarks.
        size: Side of the cropped frames, pixels.

    Returns:
        A clip whose frames are cropped when asked for; landmarks and true motion move along.

    Raises:
        ClipError: There are no landmarks, or the square does not touch the frame.

    Example:
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions
        >>> square_crop(SyntheticMicroExpressions(1, 1, image_size=96)[0], 48).frame(0).shape
        (48, 48, 3)
    """
    if clip.landmarks is None:
        raise ClipError(f"clip {clip.id} has no landmarks to crop by: give them, or call preprocess.onset_landmarks")
    centre, side = square_of(clip.landmarks)
    height, width = clip.frame(clip.onset).shape[:2]
    inside = (-side / 2 < centre).all() and (centre < np.array([width, height]) + side / 2).all()
    if not np.isfinite(side) or side < 8 or not inside:
        raise ClipError(
            f"clip {clip.id}: the face crop ({side:.0f} px around {centre.round().tolist()}) lies outside the "
            f"{width}×{height} px frame or is empty: check the landmarks, they must be pixels of the onset frame"
        )
    scale = size / side
    shift = (size - 1) / 2 - scale * centre
    return align_with(clip, np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]), size)


def square_of(landmarks: Points) -> tuple[Float[np.ndarray, " 2"], float]:
    """Centre and side of the crop, pixels."""
    at = {name: landmarks[POINT_INDEX[name]].astype(float) for name in ("nose_tip", "chin", "lower_lip_bottom")}
    brow = landmarks[[POINT_INDEX[f"{side}_brow_middle"] for side in ("left", "right")], 1].min()
    return at["nose_tip"], float(2 * at["chin"][1] - brow - at["lower_lip_bottom"][1])


def apex_frames(clip: Clip, count: int = FRAMES, *, before: bool = False) -> list[Frame]:
    """Frames around the apex in numeric order, made up between neighbours where the clip has fewer.

    They run from max(apex - count // 2, onset + 1) to min(start + count - 1, offset). A frame between two others is
    their weighted mean, which is enough for motion of a pixel; the paper's program has a network draw it.

    Args:
        clip: With an apex.
        count: How many.
        before: One more, as far before the first as the others are apart.

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
        raise ClipError(
            f"clip {clip.id} has {max(end - start + 1, 0)} frame after its onset, {count} are read, and interpolation "
            "needs two: correct onset and offset, or leave the clip out"
        )
    made = []
    step = (end - start) / (count - 1)  # at most 1, so that the frame before the first is in the clip
    for place in start + step * np.arange(-1 if before else 0, count):
        first, part = int(place), float(place % 1)
        frame = clip.frame(first)
        made.append(cv2.addWeighted(frame, 1 - part, clip.frame(first + 1), part, 0) if part > 1e-9 else frame)
    return [np.asarray(frame, np.uint8) for frame in made]


def clip_flow(clip: Clip, size: int, *, short: bool = False, count: int = FRAMES) -> Flows:
    """Farnebäck flow of the frames around the apex, inside the face crop.

    Args:
        clip: With landmarks and an apex.
        size: Side of the result, pixels.
        short: From each frame to the next (t - 1 → t) instead of from the onset (onset → t). The paper's title speaks
            of both ranges, but its program and its results use the long one only.
        count: How many frames.

    Returns:
        (count, 2, size, size), pixels of the result.

    Raises:
        ClipError: See :func:`square_crop` and :func:`apex_frames`.

    Example:
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions
        >>> clip_flow(SyntheticMicroExpressions(1, 1, image_size=96)[0], 48).shape
        (11, 2, 48, 48)
    """
    if clip.landmarks is None:
        raise ClipError(f"clip {clip.id} has no landmarks to crop by: give them, or call preprocess.onset_landmarks")
    native = max(size, min(round(square_of(clip.landmarks)[1]), 384))  # flow needs the resolution, the model does not
    cropped = square_crop(clip, native)
    frames = apex_frames(cropped, count, before=short)
    pairs = list(pairwise(frames)) if short else [(cropped.frame(cropped.onset), frame) for frame in frames]
    return np.stack([resize_flow(_farneback(*pair), size) for pair in pairs])


def _farneback(first: Frame, second: Frame) -> Float[np.ndarray, "2 _ _"]:
    """Farnebäck flow with the settings of SLSTT's public code."""
    before, after = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (first, second))
    return np.moveaxis(farneback(before, after, iterations=3, sigma=1.2), -1, 0)


def key_flow(clip: Clip, size: int, method: str) -> Float[np.ndarray, "2 _ _"]:
    """Flow from onset to apex of an aligned clip, made smaller.

    Args:
        clip: Aligned, with an apex, at the resolution at which flow is to be computed.
        size: Side of the result, pixels.
        method: See :func:`~tsfmicro_lab.preprocess.flow.optical_flow`.
    """
    onset, apex = map(clip.frame, clip.key_frames)
    return resize_flow(optical_flow(onset, apex, method), size)


def resize_flow(flow: Float[np.ndarray, "2 _ _"], size: int) -> Float[np.ndarray, "2 _ _"]:
    """Flow at another size, its displacements in pixels of that size.

    Example:
        >>> resize_flow(np.ones((2, 8, 8), np.float32), 4)[0, 0].tolist()
        [0.5, 0.5, 0.5, 0.5]
    """
    if flow.shape[1:] == (size, size):
        return flow
    scale = size / flow.shape[-1]
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(np.ascontiguousarray(np.moveaxis(flow, 0, -1)), (size, size), interpolation=how)
    return np.moveaxis(np.asarray(small, np.float32), -1, 0) * np.float32(scale)
