"""Optical flow: how every pixel moved between two frames, and what the motion looks like when it is magnified."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np
from jaxtyping import Float

from tsfmicro_lab.clips import Field, Frame

#: Frames are continued so many pixels beyond their border: at the lower and right one OpenCV's Farnebäck else finds up
#: to half a pixel of motion between two equal frames.
BEYOND = 16


def farneback(
    onset: np.ndarray, frame: np.ndarray, iterations: int = 5, sigma: float = 1.1
) -> Float[np.ndarray, "height width 2"]:
    """Farnebäck's flow from one grey frame to another, (dx, dy) of each pixel."""
    grey = [cv2.copyMakeBorder(f, BEYOND, BEYOND, BEYOND, BEYOND, cv2.BORDER_REPLICATE) for f in (onset, frame)]
    flow = cv2.calcOpticalFlowFarneback(*grey, None, 0.5, 3, 15, iterations, 5, sigma, 0)  # type: ignore[call-overload]
    return np.asarray(flow, np.float32)[BEYOND:-BEYOND, BEYOND:-BEYOND]


def _dis(onset: np.ndarray, frame: np.ndarray) -> np.ndarray:
    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    method.setFinestScale(0)  # full resolution: the motion is a pixel or two
    return np.asarray(method.calc(onset, frame, None))  # type: ignore[call-overload]


def _tvl1(onset: np.ndarray, frame: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.optflow.DualTVL1OpticalFlow.create().calc(onset, frame, None))  # type: ignore[call-overload]


#: Farnebäck 2003, polynomial expansion; DIS, Kroeger et al. 2016, inverse search of patches; TV-L1, Zach et al. 2007,
#: total variation. All as OpenCV computes them. TV-L1 takes ten times as long as the others.
FLOWS: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = MappingProxyType(
    {"dis": _dis, "farneback": farneback, "tvl1": _tvl1}
)


def optical_flow(onset: Frame, frame: Frame, method: str = "dis") -> Field:
    """Displacement of every pixel from the onset frame to another one.

    Args:
        onset: RGB frame.
        frame: RGB frame of the same size, of the same aligned clip.
        method: `dis`, `farneback` or `tvl1`.

    Returns:
        (dx, dy) of each pixel of the onset frame, (2, H, W), pixels.

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
    return np.moveaxis(FLOWS[method](first, second), -1, 0).astype(np.float32)


def magnify(frame: Frame, flow: Field, factor: float) -> Frame:
    """The frame with its motion since the onset made larger.

    Each pixel is carried on along its flow, (factor - 1) times as far again. At 1 nothing changes, at 0 the face is
    back at rest. A picture to look at: what the flow missed stays small, what it made up grows.

    Args:
        frame: RGB frame.
        flow: Flow from the onset to it, pixels.
        factor: How many times as large.

    Returns:
        The magnified frame.

    Example:
        >>> frame = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
        >>> bool((magnify(frame, np.zeros((2, 3, 3), np.float32), 5) == frame).all())
        True
    """
    y, x = np.mgrid[: len(frame), : frame.shape[1]].astype(np.float32)

    def read(image: np.ndarray, back: np.ndarray, how: int) -> np.ndarray:
        return np.asarray(cv2.remap(image, x - back[..., 0], y - back[..., 1], how, borderMode=cv2.BORDER_REFLECT))

    # The flow is known where a point was at rest; here it is wanted where the magnified point arrives.
    at_rest = np.ascontiguousarray(np.moveaxis(flow, 0, -1), np.float32)
    arriving = at_rest
    for _ in range(3):
        arriving = read(at_rest, factor * arriving, cv2.INTER_LINEAR)
    return read(frame, (factor - 1) * arriving, cv2.INTER_CUBIC)


def flow_colours(flow: Field, limit: float) -> Frame:
    """Flow as colours: the hue is the direction, the strength of the colour the length.

    Args:
        flow: (dx, dy), pixels.
        limit: Length of full colour, pixels.

    Returns:
        RGB picture, white where nothing moves. Right is red, down yellow-green, left cyan, up violet.

    Example:
        >>> flow_colours(np.zeros((2, 1, 1), np.float32), 1.0).ravel().tolist()
        [255, 255, 255]
    """
    length = np.clip(np.hypot(*flow) / max(limit, 1e-6), 0, 1)
    hue = np.degrees(np.arctan2(flow[1], flow[0])) % 360
    hsv = np.stack([hue, length, np.ones_like(length)], -1).astype(np.float32)
    return np.asarray(255 * cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) + 0.5, np.uint8)


def endpoint_error(flow: Field, truth: Field) -> Float[np.ndarray, "_ _"]:
    """Distance between estimated and true end point of every pixel, pixels.

    Example:
        >>> endpoint_error(np.full((2, 1, 1), 3.0), np.stack([np.full((1, 1), 0.0), np.full((1, 1), -1.0)])).tolist()
        [[5.0]]
    """
    return np.asarray(np.hypot(*(flow - truth)))
