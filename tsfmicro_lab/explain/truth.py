"""Maps against what is known: the true motion of a drawn clip, and the model's own answers."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from captum.metrics import infidelity, sensitivity_max
from jaxtyping import Float
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score
from torch import Tensor
from torch.nn import functional as F

from tsfmicro_lab.clips import Truth
from tsfmicro_lab.explain.attribution import Heat, WhereHow, mass_inside, one_sample
from tsfmicro_lab.explain.methods import InOrder, Mask, Tensors
from tsfmicro_lab.models import Recognizer
from tsfmicro_lab.seeds import seeded

Explain = Callable[[dict[str, Tensor]], WhereHow]


def pointing(heat: Heat, region: Mask) -> float:
    """The pointing game: does the strongest pixel lie in the region (Zhang et al., arXiv 1608.00507)?

    1 or 0; of several pixels of equal absolute value the share that lies in it; 0 for a map of zeros.

    Example:
        >>> pointing(np.array([[3.0, -3.0, 0.0]]), np.array([[True, False, False]]))
        0.5
    """
    mass = np.abs(heat)
    return float(region[mass == mass.max()].mean()) if mass.any() else 0.0


def rank_correlation(first: Heat, second: Heat) -> float:
    """Spearman's correlation of two maps' absolute values, pixel by pixel; 0 where one of them is even."""
    first, second = np.abs(first), np.abs(second)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(round(spearmanr(first, second, axis=None).statistic, 12))


def truth_scores(heat: Heat, truth: Truth) -> dict[str, float]:
    """How well a map finds what truly moved in a rendered clip.

    Returns:
        `pointing`; `mass`: share of the attribution in the moved region; `precision`: average precision of the pixels;
        for these three chance is the region's share of the picture, `area`. `rank`: Spearman's correlation with the
        length of the true displacement, 0 by chance.
    """
    share, area = mass_inside(heat, truth.moved)
    return {
        "pointing": pointing(heat, truth.moved),
        "mass": share,
        "precision": float(average_precision_score(truth.moved.ravel(), np.abs(heat).ravel())),
        "rank": rank_correlation(heat, np.hypot(*truth.expression)),
        "area": area,
    }


@torch.no_grad()
def perturbation_curves(
    model: Recognizer, inputs: Mapping[str, Tensor], maps: WhereHow, name: str = "difference", points: int = 17
) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]:
    """Deletion and insertion: probability of the explained class as pixels are taken out or put in, strongest first.

    Petsiuk, Das, Saenko (arXiv 1806.07421), here of one input while the others stay. A good map makes the first fall
    soon and the second rise soon; the mean of each curve is the score. The sign of the maps counts.
    """
    heat, x = maps[name], one_sample(model, inputs)
    rank = np.empty(heat.size)
    rank[np.argsort(-heat.ravel(), kind="stable")] = np.arange(heat.size)
    limits = np.linspace(0, heat.size, points).reshape(-1, *[1] * x[name][0].ndim)
    kept = torch.from_numpy(rank.reshape(1, *heat.shape[:-2], 1, *heat.shape[-2:]) >= limits).to(x[name])
    batch = {n: one.expand(points, *one.shape[1:]) for n, one in x.items()}
    both = [model(**batch | {name: x[name] * keep}).float().softmax(-1).cpu().numpy() for keep in (kept, 1 - kept)]
    return both[0][:, maps.target], both[1][:, maps.target]


def relative_infidelity(
    model: Recognizer, inputs: Mapping[str, Tensor], maps: WhereHow, *, count: int = 40, seed: int = 0
) -> float:
    """Relative infidelity: the share of the model's answers to perturbations that a map leaves unexplained.

    Infidelity is Yeh et al.'s (arXiv 1901.09392), computed by captum. Random halves of 7×7 tiles of all inputs are set
    to zero, `count` times. The map predicts that the logit falls by what it gives those tiles, times the one factor
    that suits it best. The result is the mean squared error over the mean squared fall: 0 is perfect, 1 no better than
    a map of zeros.
    """
    asked = InOrder(model, sample := one_sample(model, inputs))
    x = asked.free(sample)

    def tiles(x: Tensors) -> tuple[Tensors, Tensors]:
        masks = [F.interpolate((torch.rand(len(one), 1, 7, 7) < 0.5).float(), one.shape[-2:]) for one in x]
        gone = tuple(m.to(one).expand_as(one).contiguous() for m, one in zip(masks, x, strict=True))
        return gone, tuple(one * (1 - m) for one, m in zip(x, gone, strict=True))

    def error(scale: float) -> float:
        shares = [torch.from_numpy(scale * maps[name]) for name in asked.names]
        heat = tuple((s.to(one) / one.shape[1]).expand_as(one).contiguous() for s, one in zip(shares, x, strict=True))
        with seeded(seed), torch.no_grad():
            settings = {"target": maps.target, "n_perturb_samples": count, "normalize": scale != 0}
            return float(infidelity(asked, tiles, x, heat, **settings))

    if not any(heat.any() for heat in maps.values()):
        return 1.0
    return error(1.0) / max(error(0.0), 1e-12)


def sensitivity(
    explain: Explain, inputs: Mapping[str, Tensor], *, radius: float = 0.02, count: int = 4, seed: int = 0
) -> float:
    """Max-sensitivity: how far the maps move, relative to their norm, when the inputs move a little.

    Yeh et al. (arXiv 1901.09392), computed by captum; the largest of a few draws. The inputs have a batch axis; their
    pixels change by 0.02 at most, about one grey level of the onset frame. `explain` leads from inputs to maps, such as
    a `where_how` with its model, class and method.
    """

    def maps(x: Tensors) -> Tensors:
        explained = [explain({n: t[[i]] for n, t in zip(inputs, x, strict=True)}) for i in range(len(x[0]))]
        return tuple(torch.from_numpy(np.stack([e[name] for e in explained])) for name in explained[0])

    with seeded(seed):
        return float(sensitivity_max(maps, tuple(inputs.values()), perturb_radius=radius, n_perturb_samples=count))
