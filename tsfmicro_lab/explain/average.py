"""Maps of many faces on one mean face, and what the two streams have to do with each other."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import torch
from jaxtyping import Float, Real
from torch import Tensor

from tsfmicro_lab.clips import Clip, Points
from tsfmicro_lab.explain.attribution import WhereHow, one_sample
from tsfmicro_lab.models import Recognizer
from tsfmicro_lab.models.base import STREAMS


def to_face(
    image: Real[np.ndarray, "height width *colours"], landmarks: Points, onto: Points
) -> Float[np.ndarray, "height width *colours"]:
    """Moves a picture or a map so that its landmarks come to lie on others (thin-plate splines; corners stay).

    Args:
        image: Of any range.
        landmarks: Its points, pixels.
        onto: Where they are to go.

    Returns:
        The moved picture.

    Example:
        >>> points = np.random.default_rng(0).uniform(8, 24, (30, 2))
        >>> heat = np.random.default_rng(1).normal(size=(32, 32))
        >>> bool(np.abs(to_face(heat, points, points) - heat).max() < 1e-3)
        True
    """
    from scipy.interpolate import RBFInterpolator

    height, width = image.shape[:2]
    edge = np.array(
        [(x, y) for x in (0, width / 2, width) for y in (0, height / 2, height) if (x, y) != (width / 2, height / 2)]
    )
    source, target = (np.concatenate([points, edge - 0.5]) for points in (landmarks, onto))
    # Smoothed a little, since closed lips put several points into one place, which may leave it for different ones.
    spline = RBFInterpolator(target, source, smoothing=0.1)
    y, x = np.mgrid[:height, :width]
    places = spline(np.stack([x, y], -1).reshape(-1, 2)).reshape(height, width, 2).astype(np.float32)
    moved = cv2.remap(
        image.astype(np.float32), places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved)


def average_maps(maps: Sequence[WhereHow], clips: Sequence[Clip]) -> tuple[WhereHow, Float[np.ndarray, "size size 3"]]:
    """Mean of many explanations on the mean of their faces, each clip counting alike.

    Every explanation is divided by its sum of absolute values first, else a few clips with large logits would be the
    mean.

    Args:
        maps: Of one method, of the clips' size.
        clips: Aligned clips with landmarks, one for each.

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
    heat = {
        name: np.mean([to_face(m[name], p, mean) for m, p in zip(shares, points, strict=True)], 0) for name in maps[0]
    }
    targets = {m.target for m in maps}
    return WhereHow(heat, targets.pop() if len(targets) == 1 else -1, maps[0].method), face


@torch.no_grad()
def complementarity(model: Recognizer, inputs: Mapping[str, Tensor], maps: WhereHow) -> dict[str, float]:
    """How far onset and difference say the same: in the picture, and in the logit.

    Args:
        model: The explained model, of these two inputs.
        inputs: The explained inputs.
        maps: The explanation.

    Returns:
        `overlap`: common area of both maps' absolute shares, 0 (apart) to 1 (the same pixels). In logits, an input
        being there or at the baseline: `onset alone`, `difference alone`: what one adds to the baseline; `onset given
        difference`, `difference given onset`: what it adds to the other; `synergy` (interaction): what both say
        together beyond the sum of each alone.

    Example:
        >>> from tsfmicro_lab.explain import where_how
        >>> from tsfmicro_lab.models import create_model
        >>> model = create_model("tsfmicro_late", 3, seed=0)
        >>> inputs = {name: torch.randn(1, 3, 56, 56) for name in model.input_names}
        >>> list(complementarity(model, inputs, where_how(model, inputs)))[:3]
        ['overlap', 'onset alone', 'difference alone']
    """
    first, second = (np.abs(maps[name]).astype(float) for name in STREAMS)
    tiny = np.finfo(float).tiny
    overlap = np.minimum(first / max(first.sum(), tiny), second / max(second.sum(), tiny)).sum()
    x = one_sample(model, inputs)
    none = model.baseline(x)
    batch = {
        "onset": torch.cat([x["onset"], x["onset"], none["onset"], none["onset"]]),
        "difference": torch.cat([x["difference"], none["difference"]] * 2),
    }
    logits = model.eval()(**batch)[:, maps.target].float()
    both, onset, difference, nothing = logits.tolist()
    return {
        "overlap": float(overlap),
        "onset alone": onset - nothing,
        "difference alone": difference - nothing,
        "onset given difference": both - difference,
        "difference given onset": both - onset,
        "synergy": both - onset - difference + nothing,
    }
