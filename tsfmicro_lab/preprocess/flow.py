"""Optical flow: how every pixel moved between two frames, and what the motion looks like when it is magnified."""

from collections.abc import Callable
from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Float

from tsfmicro_lab.clips import Clip, ClipError, Field, Frame
from tsfmicro_lab.preprocess.alignment import align_with
from tsfmicro_lab.preprocess.keyframes import apex_frames
from tsfmicro_lab.preprocess.landmarks import POINT_INDEX

#: Frames are continued so many pixels beyond their border: at the lower and right one OpenCV's Farnebäck else finds up
#: to half a pixel of motion between two equal frames.
BEYOND = 16


def _farneback(onset: np.ndarray, frame: np.ndarray, iterations: int = 5, sigma: float = 1.1) -> np.ndarray:
    grey = [cv2.copyMakeBorder(f, BEYOND, BEYOND, BEYOND, BEYOND, cv2.BORDER_REPLICATE) for f in (onset, frame)]
    flow = cv2.calcOpticalFlowFarneback(*grey, None, 0.5, 3, 15, iterations, 5, sigma, 0)  # type: ignore[call-overload]
    return flow[BEYOND:-BEYOND, BEYOND:-BEYOND]


def _dis(onset: np.ndarray, frame: np.ndarray) -> np.ndarray:
    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    method.setFinestScale(0)  # full resolution: the motion is a pixel or two
    return method.calc(onset, frame, None)  # type: ignore[call-overload]


def _tvl1(onset: np.ndarray, frame: np.ndarray) -> np.ndarray:
    return cv2.optflow.DualTVL1OpticalFlow.create().calc(onset, frame, None)  # type: ignore[call-overload]


#: Farnebäck 2003, polynomial expansion; DIS, Kroeger et al. 2016, inverse search of patches; TV-L1, Zach et al. 2007,
#: total variation. All as OpenCV computes them. TV-L1 takes ten times as long as the others.
FLOWS: dict[str, Callable[..., np.ndarray]] = {"dis": _dis, "farneback": _farneback, "tvl1": _tvl1}


def optical_flow(onset: Frame, frame: Frame, method: str = "dis", **settings: float) -> Field:
    """Displacement (dx, dy) of every pixel from the onset frame to another frame of the aligned clip, in pixels.

    The method is one of :data:`FLOWS`; Farnebäck's has the settings `iterations` and `sigma`.

    Raises:
        ValueError: The method is unknown or the sizes differ.

    Example:
        >>> noise = np.random.default_rng(0).integers(0, 255, (16, 16, 3)).astype(np.uint8)
        >>> onset = cv2.resize(noise, (64, 64), interpolation=cv2.INTER_CUBIC)
        >>> bool(abs(np.median(optical_flow(onset, np.roll(onset, 1, axis=1))[0]) - 1) < 0.1)
        True
    """
    if method not in FLOWS:
        raise ValueError(f"unknown flow '{method}': choose from {', '.join(FLOWS)}")
    if onset.shape != frame.shape:
        raise ValueError(f"onset {onset.shape} and frame {frame.shape} must have one size: align the clip first")
    first, second = (cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in (onset, frame))
    return np.moveaxis(FLOWS[method](first, second, **settings), -1, 0).astype(np.float32)


def resize_flow(flow: Field, size: int) -> Field:
    """Flow at another size, its displacements in pixels of that size.

    Example:
        >>> resize_flow(np.ones((2, 8, 8), np.float32), 4)[0, 0].tolist()
        [0.5, 0.5, 0.5, 0.5]
    """
    scale = np.float32(size / flow.shape[-1])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(np.ascontiguousarray(np.moveaxis(flow, 0, -1)), (size, size), interpolation=how)
    return scale * np.moveaxis(small, -1, 0)


def square_crop(clip: Clip, size: int) -> Clip:
    """The clip inside one fixed square around the nose tip, not rotated.

    The side is (chin - brow) + (chin - lower lip), as in the paper. There the landmarks are those of the apex frame;
    here they are the clip's, of the onset frame, a pixel or two away. They and the true motion move along.

    Raises:
        ClipError: There are no landmarks, or the square does not touch the frame.

    Example:
        >>> from tsfmicro_lab.data.synthetic import SyntheticMicroExpressions
        >>> square_crop(SyntheticMicroExpressions(1, 1, image_size=96)[0], 48).landmarks[POINT_INDEX["nose_tip"]]
        array([23.5, 23.5], dtype=float32)
    """
    centre, side = _square(clip)
    height, width = clip.frame(clip.onset).shape[:2]
    inside = (-side / 2 < centre).all() and (centre < np.array([width, height]) + side / 2).all()
    if not np.isfinite(side) or side < 8 or not inside:
        crop = f"the face crop ({side:.0f} px around {centre.round().tolist()}) lies outside the {width}×{height} px"
        remedy = "check the landmarks, they must be pixels of the onset frame"
        raise ClipError(f"clip {clip.id}: {crop} frame or is empty: {remedy}")
    scale = size / side
    return align_with(clip, np.column_stack([scale * np.eye(2), (size - 1) / 2 - scale * centre]), size)


def _square(clip: Clip) -> tuple[Float[np.ndarray, " 2"], float]:
    """Centre and side of the crop, pixels."""
    if clip.landmarks is None:
        raise ClipError(f"clip {clip.id} has no landmarks to crop by: give them, or call preprocess.onset_landmarks")
    at = {name: clip.landmarks[i].astype(float) for name, i in POINT_INDEX.items()}
    brow = min(at["left_brow_middle"][1], at["right_brow_middle"][1])
    return at["nose_tip"], float(2 * at["chin"][1] - brow - at["lower_lip_bottom"][1])


def clip_flow(clip: Clip, size: int, *, short: bool = False) -> Float[np.ndarray, "_ 2 _ _"]:
    """Farnebäck flow of the 11 frames around the apex, inside the face crop, in pixels of the result.

    Long flow leads from the onset to each frame, short flow from the frame before (t - 1 → t). The paper's title speaks
    of both, but its program and its results use the long one only.

    Raises:
        ClipError: See :func:`square_crop` and :func:`~tsfmicro_lab.preprocess.apex_frames`.
    """
    cropped = square_crop(clip, max(size, min(round(_square(clip)[1]), 384)))  # flow needs the resolution of the clip
    frames = apex_frames(cropped, before=short)
    pairs = pairwise(frames) if short else [(cropped.frame(cropped.onset), frame) for frame in frames]
    # The settings of SLSTT's public code.
    return np.stack([resize_flow(optical_flow(*pair, "farneback", iterations=3, sigma=1.2), size) for pair in pairs])


def flow_colours(flow: Field, limit: float) -> Frame:
    """Flow as colours: the hue is the direction, the strength of the colour the length, full at `limit` pixels.

    White where nothing moves; right is red, down yellow-green, left cyan, up violet.
    """
    length = np.clip(np.hypot(*flow) / max(limit, 1e-6), 0, 1)
    hue = np.degrees(np.arctan2(flow[1], flow[0])) % 360
    hsv = np.stack([hue, length, np.ones_like(length)], -1).astype(np.float32)
    return (255 * cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) + 0.5).astype(np.uint8)


def endpoint_error(flow: Field, truth: Field) -> Float[np.ndarray, "_ _"]:
    """Distance between estimated and true end point of every pixel, pixels."""
    return np.hypot(*(flow - truth))
