"""What moving an action unit really does to a prediction: the same clip, rendered again with other movements."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from tsfmicro_lab.data.motion import ACTION_UNITS, check_units
from tsfmicro_lab.data.moving_face import MovingFace
from tsfmicro_lab.models import Recognizer


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
