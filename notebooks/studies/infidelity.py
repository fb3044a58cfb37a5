"""How much of a model's answers to perturbations a map leaves unexplained."""

import numpy as np
import torch
from torch.nn import functional as F

from studies.truth import Imputation, Inputs, impute
from tsfmicro_lab.explain.attribution import TINY, WhereHow, one_sample
from tsfmicro_lab.models import Recognizer


@torch.no_grad()
def relative_infidelity(
    model: Recognizer, inputs: Inputs, maps: WhereHow, imputation: Imputation = "zero", count: int = 40, seed: int = 0
) -> float:
    r"""Relative infidelity: the share of the model's answers to perturbations that a map leaves unexplained.

    .. math:: \min_s \sum_i (\Delta f_i - s\,m_i)^2 / \sum_i \Delta f_i^2

    After Yeh et al.'s infidelity (arXiv 1901.09392). Random halves of 7×7 tiles of all pictures are taken out (see
    :func:`impute`), `count` times; the logit falls by Δf, and m is what the map gives to those tiles. 0 is perfect, 1
    no better than a map of zeros.
    """
    x, draw, kept = one_sample(model, inputs), torch.Generator().manual_seed(seed), {}
    for n in maps:
        tiles = F.interpolate((torch.rand(count, 1, 7, 7, generator=draw) < 0.5).float(), x[n].shape[-2:]) > 0
        kept[n] = tiles.reshape(count, *[1] * (x[n].ndim - 3), *x[n].shape[-2:]).to(x[n].device)
    batch = {n: one.expand(count, *one.shape[1:]) for n, one in x.items()}
    fall = model(**x)[:, maps.target] - model(**impute(model, batch, kept, imputation, seed))[:, maps.target]
    change, given = fall.double().cpu().numpy(), np.zeros(count)
    for n, heat in maps.items():
        given += np.where(kept[n][..., 0, :, :].cpu().numpy(), 0, heat).reshape(count, -1).sum(1)
    return 1 - float((given @ change) ** 2 / max((given @ given) * (change @ change), TINY))
