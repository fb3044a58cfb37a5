"""Maps against what is known: the true motion of a drawn clip, and the model's own answers."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from captum.metrics import infidelity, sensitivity_max
from jaxtyping import Float
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score
from torch import Tensor

from tsfmicro_lab.clips import Truth
from tsfmicro_lab.explain.attribution import Heat, WhereHow, share_inside
from tsfmicro_lab.explain.methods import Mask, Pair, seeded
from tsfmicro_lab.models import TSFmicro

#: Which end of each score is good: 1 the high one, -1 the low one.
BETTER = {
    "pointing": 1,
    "mass": 1,
    "precision": 1,
    "rank": 1,
    "deletion": -1,
    "insertion": 1,
    "infidelity": -1,
    "sensitivity": -1,
}


def pointing(heat: Heat, region: Mask) -> float:
    """The pointing game: does the strongest pixel lie in the region (Zhang et al., arXiv 1608.00507)?

    Args:
        heat: A map; its absolute value counts.
        region: Where the truth is.

    Returns:
        1 or 0; of several equally strong pixels the share that lies in it; 0 for a map of zeros.

    Example:
        >>> pointing(np.array([[3.0, -3.0, 0.0]]), np.array([[True, False, False]]))
        0.5
    """
    mass = np.abs(heat)
    return float(region[mass == mass.max()].mean()) if mass.any() else 0.0


def rank_correlation(first: Heat, second: Heat) -> float:
    """Spearman's correlation of two maps' absolute values, pixel by pixel; 0 where one of them is even.

    Example:
        >>> rank_correlation(np.array([[1.0, -2.0, 3.0]]), np.array([[0.1, 0.2, 0.3]]))
        1.0
    """
    first, second = np.abs(first), np.abs(second)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(round(spearmanr(first, second, axis=None).statistic, 12))


def truth_scores(heat: Heat, truth: Truth) -> dict[str, float]:
    """How well a map finds what truly moved.

    Args:
        heat: A map of the clip's size.
        truth: Of a rendered clip, aligned as the map is.

    Returns:
        `pointing`; `mass`: share of the attribution in the moved region; `precision`: average precision of the pixels;
        for these three chance is the region's share of the picture, `area`. `rank`: Spearman's correlation with the
        length of the true displacement, 0 by chance.

    Example:
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions
        >>> truth = SyntheticMicroExpressions(1, 1, image_size=64)[0].truth
        >>> scores = truth_scores(np.hypot(*truth.expression), truth)
        >>> scores["pointing"], round(scores["rank"], 3)
        (1.0, 1.0)
    """
    share, area = share_inside(heat, truth.moved)
    return {
        "pointing": pointing(heat, truth.moved),
        "mass": share,
        "precision": float(average_precision_score(truth.moved.ravel(), np.abs(heat).ravel())),
        "rank": rank_correlation(heat, np.hypot(*truth.expression)),
        "area": area,
    }


@torch.no_grad()
def perturbation_curves(
    model: TSFmicro, sample: Mapping[str, Tensor], maps: WhereHow, stream: str = "difference", points: int = 17
) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]:
    """Probability of the explained class as pixels are taken out, the most supporting first, and as they are put in.

    Deletion and insertion (Petsiuk, Das, Saenko, arXiv 1806.07421), here of one stream while the other stays. A good
    map makes the first fall soon and the second rise soon; the mean of each curve is the score.

    Args:
        model: The explained model.
        sample: The explained inputs.
        maps: The explanation. Its sign counts.
        stream: `difference` or `onset`.
        points: Points of each curve, from no pixel to all.

    Returns:
        (deletion, insertion).

    Example:
        >>> from tsfmicro_lab.explain import where_how
        >>> from tsfmicro_lab.models import create_model
        >>> model = create_model("tsfmicro_late", 3, seed=0)
        >>> sample = {name: torch.randn(1, 3, 56, 56) for name in model.input_names}
        >>> deletion, insertion = perturbation_curves(model, sample, where_how(model, sample, method="saliency"))
        >>> bool(np.isclose(deletion[0], insertion[-1])), bool(np.isclose(deletion[-1], insertion[0]))
        (True, True)
    """
    heat = maps.how if stream == "difference" else maps.where
    device = next(model.parameters()).device
    x = {name: sample[name].reshape(1, *sample[name].shape[-3:]).to(device) for name in model.input_names}
    order = np.argsort(-heat.ravel(), kind="stable")
    rank = np.empty(heat.size)
    rank[order] = np.arange(heat.size)
    limits = np.linspace(0, heat.size, points)[:, None, None, None]
    kept = torch.from_numpy(rank.reshape(1, 1, *heat.shape) >= limits).to(x[stream])
    curves = []
    for keep in (kept, 1 - kept):
        batch = {n: x[n] * keep if n == stream else x[n].expand(points, -1, -1, -1) for n in model.input_names}
        p = model(*batch.values()).float().softmax(-1)[:, maps.target]
        curves.append(p.cpu().numpy())
    return curves[0], curves[1]


def unfaithfulness(
    model: TSFmicro, sample: Mapping[str, Tensor], maps: WhereHow, *, count: int = 40, seed: int = 0
) -> float:
    """Infidelity (Yeh et al., arXiv 1901.09392), as a share: how much of the model's answers a map leaves unexplained.

    Random halves of 7×7 tiles of both inputs are set to the baseline. The map predicts that the logit falls by what it
    gives those tiles, times the one factor that suits it best. Computed by captum.

    Args:
        model: The explained model.
        sample: The explained inputs.
        maps: The explanation.
        count: Random draws.
        seed: Of the draws.

    Returns:
        Mean squared error over the mean squared fall: 0 is perfect, 1 no better than a map of zeros.
    """
    inputs = tuple(sample[n].detach().reshape(1, *sample[n].shape[-3:]) for n in model.input_names)
    heat = {"onset": maps.where, "difference": maps.how}

    def tiles(inputs: Pair) -> tuple[Pair, Pair]:
        drawn = [torch.rand(len(x), 1, 7, 7) < 0.5 for x in inputs]
        masks = [torch.nn.functional.interpolate(d.float(), x.shape[-2:]) for d, x in zip(drawn, inputs, strict=True)]
        gone = tuple(m.expand_as(x).contiguous() for m, x in zip(masks, inputs, strict=True))
        return gone, tuple(x * (1 - m) for x, m in zip(inputs, gone, strict=True))

    def error(scale: float) -> float:
        shares = tuple(scale * torch.from_numpy(heat[n])[None, None].expand(1, 3, -1, -1) / 3 for n in heat)
        with seeded(seed), torch.no_grad():
            arguments = {"target": maps.target, "n_perturb_samples": count, "normalize": scale != 0}
            return float(infidelity(model, tiles, inputs, tuple(s.contiguous() for s in shares), **arguments))

    if not maps.where.any() and not maps.how.any():
        return 1.0
    return error(1.0) / max(error(0.0), 1e-12)


def sensitivity(
    explain: Callable[[dict[str, Tensor]], WhereHow],
    sample: Mapping[str, Tensor],
    *,
    radius: float = 0.02,
    count: int = 4,
    seed: int = 0,
) -> float:
    """How far the maps move, relative to their length, when the inputs move a little; the largest of a few draws.

    Yeh et al. (arXiv 1901.09392), computed by captum. 0.02 is about one grey level of the onset frame.

    Args:
        explain: From inputs to maps, such as a `where_how` with its model, class and method.
        sample: The inputs.
        radius: Largest change of a normalised pixel.
        count: Draws.
        seed: Of the draws.

    Returns:
        0 for maps that do not move.

    Example:
        >>> still = WhereHow(np.ones((4, 4)), np.ones((4, 4)), target=0, method="x", completeness_error=0.0)
        >>> sensitivity(lambda sample: still, {name: torch.zeros(1, 3, 4, 4) for name in ("onset", "difference")})
        0.0
    """
    names = ("onset", "difference")
    inputs = tuple(sample[name].reshape(1, *sample[name].shape[-3:]) for name in names)

    def maps(inputs: Pair) -> Pair:
        explained = [
            explain(dict(zip(names, (x[i : i + 1] for x in inputs), strict=True))) for i in range(len(inputs[0]))
        ]
        return tuple(torch.from_numpy(np.stack([getattr(e, s) for e in explained])) for s in ("where", "how"))

    with seeded(seed):
        return float(sensitivity_max(maps, inputs, perturb_radius=radius, n_perturb_samples=count))
