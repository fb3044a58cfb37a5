"""Maps and the face: attribution by the region of each action unit."""

from collections.abc import Iterable, Mapping

import cv2
import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import Tensor

from tsfmicro_lab.clips import Clip, Points
from tsfmicro_lab.data.fitting import unit_field
from tsfmicro_lab.data.motion import ACTION_UNITS, moved_region
from tsfmicro_lab.explain.attribution import TINY, WhereHow
from tsfmicro_lab.explain.methods import Mask


def clip_regions(clip: Clip) -> dict[str, Mask]:
    """Where each action unit would move the face of an aligned clip: a mask per unit, also of its one-sided ones.

    Raises:
        ValueError: The clip has no landmarks.
    """
    if clip.landmarks is None:
        raise ValueError(f"clip {clip.id} has no landmarks to tell its regions by: call preprocess.align_clip first")
    size = len(clip.frame(clip.onset))
    sided = [unit for unit in clip.action_units if not unit.isdigit() and unit.lstrip("LR") in ACTION_UNITS]
    return unit_regions(clip.landmarks, size, [*ACTION_UNITS, *sided])


def unit_regions(landmarks: Points, size: int, units: Iterable[str] = ACTION_UNITS) -> dict[str, Mask]:
    """Where each unit (see :data:`ACTION_UNITS`) would move a face with these landmarks: masks (size, size) by unit."""
    return {unit: moved_region(unit_field(unit, landmarks, size)) for unit in units}


def shared_out(regions: Mapping[str, Mask]) -> dict[str, Float[np.ndarray, "_ _"]]:
    """Regions as weights: a pixel in several counts for each by an equal part, so that nothing is counted twice.

    `elsewhere` has the pixels of no region; all weights together are 1 everywhere.

    Example:
        >>> shared_out({"cheek": np.array([[True, True, False]]), "eye": np.array([[False, True, False]])})
        {'cheek': array([[1. , 0.5, 0. ]]), 'eye': array([[0. , 0.5, 0. ]]), 'elsewhere': array([[0., 0., 1.]])}
    """
    count = np.sum(list(regions.values()), axis=0)
    return {n: mask / np.maximum(count, 1) for n, mask in {**regions, "elsewhere": count == 0}.items()}


def region_table(maps: WhereHow, regions: Mapping[str, Mask], *, signed: bool = False) -> pd.DataFrame:
    """Each map's attribution in each region (see :func:`clip_regions`), shared pixels shared out, and `elsewhere`.

    By default shares of the map's mass, beside the `area`, which is what chance puts there. `signed` gives sums of the
    values: with integrated gradients, logits, which over all rows and maps sum to the change of the logit.

    Example:
        >>> maps = WhereHow({"onset": np.eye(2), "difference": np.ones((2, 2))}, target=0, method="x")
        >>> region_table(maps, {"top": np.array([[True, True], [False, False]])}).to_dict("records")[0]
        {'region': 'top', 'onset': 0.5, 'difference': 0.5, 'area': 0.5}
    """
    weights = shared_out(regions)
    heats = {n: heat if signed else np.abs(heat) / max(np.abs(heat).sum(), TINY) for n, heat in maps.items()}
    inside = {n: [float((heat * w).sum()) for w in weights.values()] for n, heat in heats.items()}
    return pd.DataFrame({"region": weights.keys(), **inside, "area": [w.mean() for w in weights.values()]})


def without_motion(difference: Float[Tensor, "1 3 height width"], region: Mask) -> Float[Tensor, "1 3 height width"]:
    """A difference frame as it would be, had nothing moved inside a region.

    The edge is soft, since a hard one would look like motion.
    """
    sigma = max(len(region) / 60, 0.5)
    soft = cv2.GaussianBlur(region.astype(np.float32), (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return difference * difference.new_tensor(1 - np.maximum(soft, region))
