"""The mean of many faces' maps, on the mean of their faces."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, Real
from scipy.interpolate import RBFInterpolator

from tsfmicro_lab.clips import Clip, Points
from tsfmicro_lab.explain import WhereHow


def to_face(
    image: Real[np.ndarray, "height width *colours"], landmarks: Points, onto: Points
) -> Float[np.ndarray, "height width *colours"]:
    """Warps a picture or a map so that its landmarks come to lie on others (thin-plate splines; corners stay)."""
    height, width = image.shape[:2]
    edge = np.array([(x, y) for x in (0, 0.5, 1) for y in (0, 0.5, 1) if (x, y) != (0.5, 0.5)]) * (width, height) - 0.5
    # Smoothed a little, since closed lips put several points into one place, which may leave it for different ones.
    spline = RBFInterpolator(np.concatenate([onto, edge]), np.concatenate([landmarks, edge]), smoothing=0.1)
    y, x = np.mgrid[:height, :width]
    at = spline(np.stack([x, y], -1).reshape(-1, 2)).reshape(height, width, 2).astype(np.float32)
    image = image.astype(np.float32)
    return cv2.remap(image, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def average_maps(maps: Sequence[WhereHow], clips: Sequence[Clip]) -> tuple[WhereHow, Float[np.ndarray, "size size 3"]]:
    """Mean of many explanations on the mean of their faces, each clip counting alike.

    Each is divided by its sum of absolute values first, else a few clips with large logits would be the mean. The clips
    are aligned, to the maps' size, and have landmarks.

    Returns:
        (mean maps, mean onset frame, 0 to 255). A pixel's value is the mean share of the attribution, with its sign;
        the target is -1 where the explained classes differ.

    Raises:
        ValueError: There are none, methods are mixed, or a clip has no landmarks.
    """
    if not maps or len(maps) != len(clips):
        raise ValueError(f"there are {len(maps)} explanations for {len(clips)} clips: give one for each, at least one")
    if len({m.method for m in maps}) > 1:
        raise ValueError(f"maps of different methods have different units: {sorted({m.method for m in maps})}")
    for clip in clips:
        if clip.landmarks is None:
            raise ValueError(f"clip {clip.id} has no landmarks to warp by: call preprocess.align_clip first")
    points = [np.asarray(clip.landmarks) for clip in clips]
    mean = np.mean(points, 0)
    face = np.mean([to_face(clip.frame(clip.onset), p, mean) for clip, p in zip(clips, points, strict=True)], 0)
    shares = [m.as_shares() for m in maps]
    heat = {n: np.mean([to_face(m[n], p, mean) for m, p in zip(shares, points, strict=True)], 0) for n in maps[0]}
    targets = {m.target for m in maps}
    return WhereHow(heat, targets.pop() if len(targets) == 1 else -1, maps[0].method), face
