"""Pictures of the lessons: maps side by side, attribution over time, magnified motion, signed values in colour."""

from collections.abc import Mapping, Sequence

import cv2
import matplotlib as mpl
import numpy as np
import pandas as pd
from jaxtyping import Float

from tsfmicro_lab.clips import Field, Frame
from tsfmicro_lab.explain import WhereHow
from tsfmicro_lab.explain.attribution import TINY
from tsfmicro_lab.explain.figures import (
    DIVERGING,
    MAP_LABEL,
    Picture,
    colour_bar,
    overlay_map,
    picture_grid,
    shared_limit,
    stream_title,
)
from tsfmicro_lab.explain.methods import Mask
from tsfmicro_lab.explain.regions import shared_out


def maps_figure(faces: Sequence[np.ndarray], maps: Sequence[WhereHow], titles: Sequence[str]) -> Picture:
    """Maps of several clips, methods or models over their faces: a column for each, a row per input, one scale for all.

    Maps of different methods are drawn as shares of their own attribution. A map of zeros says so. There is a face,
    0 to 255, for each explanation, or one for all.

    Raises:
        ValueError: There is no map, titles and faces are not as many, or a map is not finite.
    """
    faces = [*faces] * len(maps) if len(faces) == 1 else list(faces)
    if not maps or len(titles) != len(maps) or len(faces) != len(maps):
        raise ValueError(f"there are {len(maps)} explanations, {len(faces)} faces and {len(titles)} titles")
    names = list(maps[0])
    figure, axes = picture_grid(len(names), titles, side=2.6 if len(titles) < 7 else 1.7)
    if len({m.method for m in maps}) > 1:
        maps = [m.as_shares() for m in maps]
    limit = shared_limit(maps)
    for column, face, one in zip(axes.T, faces, maps, strict=True):
        for axis, name in zip(column, names, strict=True):
            image = overlay_map(axis, face, one[name], limit)
    for axis, name in zip(axes[:, 0], names, strict=True):
        axis.set_ylabel(stream_title(name), fontsize=11)
    colour_bar(figure, axes, np.s_[:], image, MAP_LABEL)
    return figure


def magnify(frame: Frame, flow: Field, factor: float) -> Frame:
    """The frame with its motion since the onset, of which `flow` tells, made larger.

    Each pixel is carried on along its flow, (factor - 1) times as far again. At 1 nothing changes, at 0 the face is
    back at rest. A picture to look at: what the flow missed stays small, what it made up grows.

    Example:
        >>> frame = np.zeros((1, 6, 3), np.uint8)
        >>> frame[:, 2] = 200  # a point that came one pixel from the left
        >>> right = np.stack([np.ones((1, 6)), np.zeros((1, 6))])
        >>> magnify(frame, right, 3)[0, :, 0].tolist()
        [0, 0, 0, 0, 200, 0]
    """
    y, x = np.mgrid[: len(frame), : frame.shape[1]].astype(np.float32)

    def read(image: np.ndarray, back: np.ndarray, how: int) -> np.ndarray:
        return cv2.remap(image, x - back[..., 0], y - back[..., 1], how, borderMode=cv2.BORDER_REFLECT)

    # The flow is known where a point was at rest; here it is wanted where the magnified point arrives.
    at_rest = np.ascontiguousarray(np.moveaxis(flow, 0, -1), np.float32)
    arriving = at_rest
    for _ in range(3):
        arriving = read(at_rest, factor * arriving, cv2.INTER_LINEAR)
    return read(frame, (factor - 1) * arriving, cv2.INTER_CUBIC)


def frame_table(heat: Float[np.ndarray, "frames _ _"], regions: Mapping[str, Mask]) -> pd.DataFrame:
    """Share of all attribution in each region of each frame, such as of SLSTT's flow; shared pixels are shared out.

    Example:
        >>> heat = np.array([[[3.0, 0.0]], [[0.0, -1.0]]])
        >>> frame_table(heat, {"left": np.array([[True, False]])}).share.tolist()
        [0.75, 0.0, 0.0, 0.25]
    """
    mass = np.abs(heat) / max(float(np.abs(heat).sum()), TINY)
    weights = shared_out(regions).items()
    rows = [(i, name, float((frame * w).sum())) for i, frame in enumerate(mass) for name, w in weights]
    return pd.DataFrame(rows, columns=["frame", "region", "share"])


def signed(values: Float[np.ndarray, "_ _"], limit: float) -> Frame:
    """Orange above zero, purple below, white at zero, full colour at the limit."""
    return mpl.colormaps[DIVERGING](np.clip(0.5 + 0.5 * values / max(limit, 1e-12), 0, 1), bytes=True)[..., :3]
