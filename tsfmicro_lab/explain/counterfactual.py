"""Counterfactual logits of a drawn face: what if this muscle had not moved? No attribution, but a cause."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from tsfmicro_lab.data.motion import ACTION_UNITS
from tsfmicro_lab.data.moving_face import MovingFace
from tsfmicro_lab.models import Recognizer


def counterfactual_logits(
    model: Recognizer, moving: MovingFace, expressions: Sequence[Mapping[str, float]]
) -> Float[np.ndarray, "expressions classes"]:
    """Counterfactual logits: what a model says if the same person in the same clip had made other movements.

    Face, timing, head drift, light and camera noise stay as they are, to the bit.

    Args:
        model: A trained model.
        moving: The renderer of a clip (see `SyntheticMicroExpressions.moving_face`).
        expressions: For each row of logits, action units and their largest displacement, pixels of the rendered frame.
    """
    motions = [replace(moving.motion, units=dict(units)) for units in expressions]
    clips = [MovingFace(moving.face, motion).clip("EP01", "face") for motion in motions]
    return torch.cat([model.logits(clip) for clip in clips]).numpy()


def unit_effects(
    model: Recognizer, moving: MovingFace, target: int, units: Sequence[str] | None = None, pixels: float | None = None
) -> pd.DataFrame:
    """Causal effect of each action unit on a logit: with it, minus without it, all else equal.

    Units of the clip are taken away; others are added, as strong as the clip's strongest.

    Args:
        model: A trained model.
        moving: The renderer of a clip.
        target: The class.
        units: Which to try; all of the motion model and the clip's own by default.
        pixels: Strength of the units that are added, pixels of the rendered frame.

    Returns:
        One row per unit: `unit`, `name`, `present`, `effect` (logits).

    Raises:
        ValueError: The target is none of the classes, or a unit is unknown.
    """
    own = dict(moving.motion.units)
    chosen = list(units) if units is not None else list(dict.fromkeys([*own, *ACTION_UNITS]))
    strength = pixels or max(own.values(), default=1.5 * moving.size / 224)
    changed = [{k: v for k, v in own.items() if k != u} if u in own else {**own, u: strength} for u in chosen]
    logits = counterfactual_logits(model, moving, [own, *changed])
    if not 0 <= target < logits.shape[1]:
        raise ValueError(f"target {target} is none of the model's {logits.shape[1]} classes")
    effect = (logits[0] - logits[1:])[:, target]
    present = [u in own for u in chosen]
    names = [ACTION_UNITS[u.lstrip("LR")][0] for u in chosen]
    effect = np.where(present, effect, -effect)
    return pd.DataFrame({"unit": chosen, "name": names, "present": present, "effect": effect})
