"""Maps and the face: attribution by region, and what moving a region's action unit really does."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from tsfmicro_lab.clips import Clip, Points
from tsfmicro_lab.data.fitting import unit_field
from tsfmicro_lab.data.motion import ACTION_UNITS, check_units, moved_region
from tsfmicro_lab.data.moving_face import MovingFace
from tsfmicro_lab.explain.attribution import WhereHow, mass_inside
from tsfmicro_lab.explain.methods import Mask
from tsfmicro_lab.models import Recognizer


def clip_regions(clip: Clip) -> dict[str, Mask]:
    """Where each action unit would move the face of an aligned clip: a mask per unit, also of its one-sided ones.

    Raises:
        ValueError: The clip has no landmarks.
    """
    if clip.landmarks is None:
        raise ValueError(f"clip {clip.id} has no landmarks to tell its regions by: call preprocess.align_clip first")
    size = len(clip.frame(clip.onset))
    sided = [unit for unit in clip.action_units if not unit.isdigit() and unit.lstrip("LR") in ACTION_UNITS]
    own = {unit: moved_region(unit_field(unit, clip.landmarks, size)) for unit in sided}
    return unit_regions(clip.landmarks, size) | own


def unit_regions(landmarks: Points, size: int) -> dict[str, Mask]:
    """Where each of the :data:`ACTION_UNITS` would move a face with these landmarks: a mask (size, size) per unit."""
    return {unit: moved_region(unit_field(unit, landmarks, size)) for unit in ACTION_UNITS}


def region_table(maps: WhereHow, regions: Mapping[str, Mask]) -> pd.DataFrame:
    """Attribution mass of each map inside each region (see :func:`clip_regions`), and the area: what chance puts there.

    Example:
        >>> maps = WhereHow({"onset": np.eye(2), "difference": np.ones((2, 2))}, target=0, method="x")
        >>> region_table(maps, {"top": np.array([[True, True], [False, False]])}).to_dict("records")
        [{'region': 'top', 'onset': 0.5, 'difference': 0.5, 'area': 0.5}]
    """
    inside = {name: [mass_inside(heat, mask)[0] for mask in regions.values()] for name, heat in maps.items()}
    return pd.DataFrame({"region": regions.keys(), **inside, "area": [mask.mean() for mask in regions.values()]})


def frame_table(heat: Float[np.ndarray, "frames _ _"], regions: Mapping[str, Mask]) -> pd.DataFrame:
    """Share of all attribution in each region of each frame, such as of SLSTT's flow; `elsewhere` is in no region.

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


def counterfactual_logits(
    model: Recognizer, moving: MovingFace, expressions: Sequence[Mapping[str, float]]
) -> Float[np.ndarray, "expressions classes"]:
    """Counterfactual logits: what a model says if the same person in the same clip had made other movements.

    Face, timing, head drift, light and camera noise stay as they are, to the bit. An expression gives action units and
    their largest displacement, in pixels of the rendered frame. See `SyntheticMicroExpressions.moving_face`.
    """
    motions = [replace(moving.motion, units=dict(units)) for units in expressions]
    clips = [MovingFace(moving.face, motion, moving.camera, moving.light).clip("EP01", "face") for motion in motions]
    return torch.cat([model.logits(clip) for clip in clips]).numpy()


def unit_effects(
    model: Recognizer, moving: MovingFace, target: int, units: Sequence[str] | None = None, pixels: float | None = None
) -> pd.DataFrame:
    """Causal effect of each action unit on a logit: with it, minus without it, all else equal.

    Units of the clip are taken away; others are added, as strong as the clip's strongest if `pixels` are not given, or
    as far as skin goes. By default the clip's own are tried and all that a face can show besides.

    Returns:
        One row per unit: `unit`, `name`, `present`, `effect` (logits).

    Raises:
        ValueError: The target is none of the classes, or a unit is unknown.
    """
    own = dict(moving.motion.units)
    chosen = list(units) if units is not None else [*own, *(u for u in ACTION_UNITS if _fits(u, own))]
    wanted = pixels or max(own.values(), default=1.5 * moving.size / 224)
    without = {u: {k: v for k, v in own.items() if k != u} for u in own}
    changed = [without[u] if u in own else {**own, u: min(wanted, moving.reach(u))} for u in chosen]
    logits = counterfactual_logits(model, moving, [own, *changed])
    if not 0 <= target < logits.shape[1]:
        raise ValueError(f"target {target} is none of the model's {logits.shape[1]} classes")
    present, names = [u in own for u in chosen], [ACTION_UNITS[u.lstrip("LR")][0] for u in chosen]
    effect = np.where(present, 1, -1) * (logits[0] - logits[1:])[:, target]
    return pd.DataFrame({"unit": chosen, "name": names, "present": present, "effect": effect})


def _fits(unit: str, others: Iterable[str]) -> bool:
    """Whether a face can show a unit besides others."""
    try:
        check_units([*others, unit])
    except ValueError:
        return False
    return True
