"""Attribution by region: how much of each map lies where an action unit moves the face, and motion taken out there."""

from collections.abc import Mapping

import cv2
import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from tsfmicro_lab.clips import Clip
from tsfmicro_lab.data.motion import ACTION_UNITS, displacement, moved_region, unit_regions
from tsfmicro_lab.explain.attribution import WhereHow, mass_inside
from tsfmicro_lab.explain.methods import Mask


def clip_regions(clip: Clip) -> dict[str, Mask]:
    """Where each action unit would move the face of an aligned clip, one-sided units of the clip by themselves.

    Returns:
        A mask per unit, of the frames' size.

    Raises:
        ValueError: The clip has no landmarks.
    """
    if clip.landmarks is None:
        raise ValueError(f"clip {clip.id} has no landmarks to tell its regions by: call preprocess.align_clip first")
    size = len(clip.frame(clip.onset))
    sided = [unit for unit in clip.action_units if not unit.isdigit() and unit.lstrip("LR") in ACTION_UNITS]
    own = {unit: moved_region(displacement({unit: 1.0}, clip.landmarks, size)) for unit in sided}
    return unit_regions(clip.landmarks, size) | own


def region_table(maps: WhereHow, regions: Mapping[str, Mask]) -> pd.DataFrame:
    """Attribution mass of each map inside each region, beside what an even map would have there.

    Args:
        maps: Attribution of one prediction.
        regions: Masks by name, of the maps' size (see :func:`clip_regions`). They may overlap.

    Returns:
        One row per region: `region`, a column for each input, `area`; shares between 0 and 1.

    Example:
        >>> maps = WhereHow({"onset": np.eye(2), "difference": np.ones((2, 2))}, target=0, method="x")
        >>> region_table(maps, {"top": np.array([[True, True], [False, False]])}).to_dict("records")
        [{'region': 'top', 'onset': 0.5, 'difference': 0.5, 'area': 0.5}]
    """
    rows = []
    for region, mask in regions.items():
        inside = {name: mass_inside(heat, mask)[0] for name, heat in maps.items()}
        rows.append({"region": region, **inside, "area": float(mask.mean())})
    return pd.DataFrame(rows)


def frame_table(heat: Float[np.ndarray, "frames _ _"], regions: Mapping[str, Mask]) -> pd.DataFrame:
    """Share of all attribution that lies in each region of each frame, by absolute value.

    Args:
        heat: One map per frame, such as `maps["flow"]` of SLSTT.
        regions: Masks by name, of the maps' size, which may overlap. `elsewhere` is what lies in none of them.

    Returns:
        Rows `frame` (from 0), `region`, `share`.

    Example:
        >>> heat = np.array([[[3.0, 0.0]], [[0.0, -1.0]]])
        >>> frame_table(heat, {"left": np.array([[True, False]])}).share.tolist()
        [0.75, 0.0, 0.0, 0.25]
    """
    mass = np.abs(heat) / max(float(np.abs(heat).sum()), np.finfo(float).tiny)
    named = {**regions, "elsewhere": ~np.any(list(regions.values()), axis=0)}
    rows = [(i, name, float(frame[mask].sum())) for i, frame in enumerate(mass) for name, mask in named.items()]
    return pd.DataFrame(rows, columns=["frame", "region", "share"])


def without_motion(difference: Float[Tensor, "1 3 height width"], region: Mask) -> Float[Tensor, "1 3 height width"]:
    """A difference frame as it would be, had nothing moved inside a region.

    The edge is soft, since a hard one would look like motion.
    """
    sigma = max(len(region) / 60, 0.5)
    soft = cv2.GaussianBlur(region.astype(np.float32), (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return difference * torch.from_numpy(1 - np.maximum(soft, region)).to(difference)
