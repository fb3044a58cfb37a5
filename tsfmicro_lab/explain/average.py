"""Maps of many faces on one mean face, and what the two streams have to do with each other."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import torch
from jaxtyping import Float, Real
from scipy.interpolate import RBFInterpolator
from torch import Tensor

from tsfmicro_lab.clips import Clip, Points
from tsfmicro_lab.explain.attribution import WhereHow
from tsfmicro_lab.models import TSFmicro


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
    """Mean of many pairs of maps on the mean of their faces, each clip counting alike.

    Every pair is divided by its sum of absolute values first, else a few clips with large logits would be the mean.

    Args:
        maps: Of one method, of the clips' size.
        clips: Aligned clips with landmarks, one for each pair.

    Returns:
        (mean maps, mean onset frame, 0 to 255). A pixel's value is the mean share of the attribution, with its sign.

    Raises:
        ValueError: There are none, methods are mixed, or a clip has no landmarks.

    Example:
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions
        >>> from tsfmicro_lab.preprocess import align_clip
        >>> clips = [align_clip(clip, 56) for clip in SyntheticMicroExpressions(2, 1, image_size=64)]
        >>> even = WhereHow(np.ones((56, 56)), np.ones((56, 56)), target=0, method="x", completeness_error=0.0)
        >>> mean, face = average_maps([even, even], clips)
        >>> float(mean.how.sum().round(3)), face.shape
        (0.5, (56, 56, 3))
    """
    if not maps or len(maps) != len(clips):
        raise ValueError(
            f"there are {len(maps)} pairs of maps for {len(clips)} clips: give one for each, and at least one"
        )
    if len({m.method for m in maps}) > 1:
        raise ValueError(f"maps of different methods have different units: {sorted({m.method for m in maps})}")
    for clip in clips:
        if clip.landmarks is None:
            raise ValueError(f"clip {clip.id} has no landmarks to warp by: call preprocess.align_clip first")
    points = [np.asarray(clip.landmarks) for clip in clips]
    mean = np.mean(points, 0)
    faces = [to_face(clip.frame(clip.onset), p, mean) for clip, p in zip(clips, points, strict=True)]
    shares = [m.as_shares() for m in maps]
    where, how = (
        np.mean([to_face(getattr(m, stream), p, mean) for m, p in zip(shares, points, strict=True)], 0)
        for stream in ("where", "how")
    )
    targets = {m.target for m in maps}
    target = targets.pop() if len(targets) == 1 else -1
    return WhereHow(where, how, target, maps[0].method, float("nan")), np.mean(faces, 0)


@torch.no_grad()
def complementarity(model: TSFmicro, sample: Mapping[str, Tensor], maps: WhereHow) -> dict[str, float]:
    """How far two streams say the same: in the picture, and in the logit.

    Args:
        model: The explained model.
        sample: The explained inputs.
        maps: The explanation.

    Returns:
        `overlap`: common area of both maps' absolute shares, 0 (apart) to 1 (the same places). In logits, an input
        being "there" or at the baseline: `where alone`, `how alone`: what one adds to nothing; `where given how`, `how
        given where`: what it adds to the other; `synergy`: what both say together beyond the sum of each alone.

    Example:
        >>> from tsfmicro_lab.explain import where_how
        >>> from tsfmicro_lab.models import create_model
        >>> model = create_model("tsfmicro_late", 3, seed=0)
        >>> sample = {name: torch.randn(1, 3, 56, 56) for name in model.input_names}
        >>> list(complementarity(model, sample, where_how(model, sample)))[:3]
        ['overlap', 'where alone', 'how alone']
    """
    masses = [np.abs(m).astype(float) for m in (maps.where, maps.how)]
    where, how = (m / max(m.sum(), np.finfo(float).tiny) for m in masses)
    device = next(model.parameters()).device
    onset, difference = (sample[n].reshape(1, *sample[n].shape[-3:]).to(device) for n in ("onset", "difference"))
    batch = {
        "onset": torch.cat([onset, onset, 0 * onset, 0 * onset]),
        "difference": torch.cat([difference, 0 * difference, difference, 0 * difference]),
    }
    logits = model.eval()(*(batch[name] for name in model.input_names))[:, maps.target].float()
    both, only_where, only_how, none = logits.tolist()
    return {
        "overlap": float(np.minimum(where, how).sum()),
        "where alone": only_where - none,
        "how alone": only_how - none,
        "where given how": both - only_how,
        "how given where": both - only_where,
        "synergy": both - only_where - only_how + none,
    }
