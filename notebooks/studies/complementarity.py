"""How far onset and difference say the same: in the picture, and in the logit."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from tsfmicro_lab.explain.attribution import WhereHow, one_sample
from tsfmicro_lab.models.base import STREAMS, Recognizer


@torch.no_grad()
def complementarity(model: Recognizer, inputs: Mapping[str, Tensor], maps: WhereHow) -> dict[str, float]:
    """How far onset and difference say the same, by a model's explanation of its inputs: in the picture, in the logit.

    Returns:
        `overlap`: common area of both maps' absolute shares, 0 (apart) to 1 (the same pixels). In logits, an input
        being there or at the baseline: `onset alone`, `difference alone`: what one adds to the baseline; `onset given
        difference`, `difference given onset`: what it adds to the other; `synergy` (interaction): what both say
        together beyond the sum of each alone.
    """
    masses = [np.abs(maps[name]) for name in STREAMS]
    first, second = (mass / max(float(mass.sum()), np.finfo(np.float32).tiny) for mass in masses)
    sample = one_sample(model, inputs)
    nothing_there = model.baseline(sample)

    def logit(*there: str) -> float:
        given = sample | {name: nothing_there[name] for name in STREAMS if name not in there}
        return float(model.eval()(**given)[0, maps.target])

    both, onset, difference, nothing = logit(*STREAMS), logit("onset"), logit("difference"), logit()
    return {
        "overlap": float(np.minimum(first, second).sum()),
        "onset alone": onset - nothing,
        "difference alone": difference - nothing,
        "onset given difference": both - difference,
        "difference given onset": both - onset,
        "synergy": both - onset - difference + nothing,
    }
