"""Maps against what is known: the true motion of a drawn clip, and the model's own answers."""

from collections.abc import Mapping
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from scipy import sparse
from scipy.sparse import linalg
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score
from torch import Tensor

from tsfmicro_lab.clips import Truth
from tsfmicro_lab.explain.attribution import Heat, WhereHow, mass_inside, one_sample
from tsfmicro_lab.explain.methods import Mask
from tsfmicro_lab.models import Recognizer

Inputs = Mapping[str, Tensor]
#: What stands in for missing pixels (see :func:`impute`).
Imputation = str | Inputs


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


def impute(model: Recognizer, inputs: Inputs, keep: Inputs, imputation: Imputation, seed: int = 0) -> dict[str, Tensor]:
    """Inputs of which only some pixels are kept; what stands in for the others decides what a deletion measures.

    Args:
        model: Whose inputs they are.
        inputs: By name, (B, …, C, H, W).
        keep: Where they are kept, by name, booleans (B, …, 1, H, W); an input that is not named stays whole.
        imputation: What stands in. `zero`: the model's baseline, from which integrated gradients start as well; of a
            difference frame, where little moves, it changes few pixels. `linear`: ROAD's noisy linear imputation (Rong
            et al., ICML 2022, arXiv 2202.00449), by which a hole's shape tells less: each missing pixel is the mean
            of its eight neighbours, straight ones counting twice, all solved for at once, plus a little noise. Or the
            inputs of another clip, by name.
        seed: Of the noise.

    Raises:
        ValueError: The imputation is unknown.
    """
    if isinstance(imputation, str) and imputation not in ("zero", "linear"):
        raise ValueError(f"imputation must be 'zero', 'linear' or the inputs of another clip, got '{imputation}'")
    if imputation == "linear":
        return {n: _noisy_linear(x, keep[n], seed) if n in keep else x for n, x in inputs.items()}
    other = model.baseline(inputs) if isinstance(imputation, str) else imputation
    return {n: torch.where(keep[n], x, other[n].to(x)) if n in keep else x for n, x in inputs.items()}


def _noisy_linear(x: Tensor, keep: Tensor, seed: int) -> Tensor:
    frames = x.expand(torch.broadcast_shapes(x.shape, keep.shape))
    pictures = frames.flatten(-2).flatten(0, -3).double().cpu().numpy().copy()
    kept = keep.expand(*frames.shape[:-3], 1, -1, -1).flatten(-2).flatten(0, -2).cpu().numpy()
    mean, rng = _mean_of_neighbours(*x.shape[-2:]), np.random.default_rng(seed)
    for picture, there in zip(pictures, kept, strict=True):
        rows = mean[~there]
        # A millionth of a pull to zero: so a picture of which nothing is kept has an answer as well.
        system = (1 + 1e-6) * sparse.eye_array(rows.shape[0]) - rows[:, ~there]
        missing = linalg.spsolve(system.tocsc(), rows[:, there] @ picture[:, there].T).reshape(-1, len(picture))
        picture[:, ~there] = missing.T + 0.01 * rng.standard_normal(missing.T.shape)
    return torch.from_numpy(pictures).reshape(frames.shape).to(x)


@cache
def _mean_of_neighbours(height: int, width: int) -> sparse.csr_array:
    """The matrix that replaces each pixel of a picture, in raster order, by the mean of its eight neighbours."""
    lines = (sparse.diags_array([0.5, 1.0, 0.5], offsets=[-1, 0, 1], shape=(n, n)) for n in (height, width))
    weights = sparse.kron(*lines) - sparse.eye_array(height * width)
    return sparse.csr_array(sparse.diags_array(1 / weights.sum(1)) @ weights)


@torch.no_grad()
def perturbation_curves(
    model: Recognizer,
    inputs: Inputs,
    maps: WhereHow,
    name: str = "difference",
    points: int = 17,
    imputation: Imputation = "zero",
) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]:
    """Deletion and insertion: probability of the explained class as pixels are taken out or put in, strongest first.

    Petsiuk, Das, Saenko (arXiv 1806.07421), here of one input while the others stay. A good map makes the first fall
    soon and the second rise soon; the mean of each curve is the score. The sign of the maps counts. What stands in for
    missing pixels is told in :func:`impute`.
    """
    heat, x = maps[name], one_sample(model, inputs)
    rank = np.empty(heat.size)
    rank[np.argsort(-heat.ravel(), kind="stable")] = np.arange(heat.size)
    limits = np.linspace(0, heat.size, points).reshape(-1, *[1] * x[name][0].ndim)
    late = torch.from_numpy(rank.reshape(1, *heat.shape[:-2], 1, *heat.shape[-2:]) >= limits).to(x[name].device)
    batch = {n: one.expand(points, *one.shape[1:]) for n, one in x.items()}
    both = [model(**impute(model, batch, {name: keep}, imputation)).float().softmax(-1) for keep in (late, ~late)]
    return both[0][:, maps.target].cpu().numpy(), both[1][:, maps.target].cpu().numpy()
