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
from tsfmicro_lab.preprocess import align_clip


@torch.no_grad()
def counterfactual_logits(
    model: Recognizer, moving: MovingFace, expressions: Sequence[Mapping[str, float]]
) -> Float[np.ndarray, "expressions classes"]:
    """Counterfactual logits: what a model says if the same person in the same clip had made other movements.

    Face, timing, head drift, light and camera noise stay as they are, to the bit.

    Args:
        model: A trained model.
        moving: The renderer of a clip (see `SyntheticMicroExpressions.moving_face`).
        expressions: For each answer, the action units and their largest displacement, pixels of the rendered frame.

    Returns:
        Logits.

    Example:
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions
        >>> from tsfmicro_lab.models import create_model
        >>> moving = SyntheticMicroExpressions(1, 1, image_size=64).moving_face(0)
        >>> counterfactual_logits(create_model("tsfmicro_late", 5), moving, [{}, {"12": 1.0}]).shape
        (2, 5)
    """
    size = model.config.image_size
    motion = moving.motion
    clips = [MovingFace(moving.face, replace(motion, units=dict(u))).clip("EP01", "face") for u in expressions]
    aligned = [align_clip(clip, size) for clip in clips]
    onset = aligned[0].frame(motion.onset)
    apexes = np.stack([clip.frame(motion.apex) for clip in aligned])
    pair = [torch.from_numpy(x).permute(0, 3, 1, 2) for x in (np.repeat(onset[None], len(apexes), 0), apexes)]
    device = next(model.parameters()).device
    inputs = model.inputs({name: x.to(device) for name, x in zip(("onset", "apex"), pair, strict=True)})
    return np.asarray(model.eval()(**inputs).float().cpu().numpy())


def unit_effects(
    model: Recognizer,
    moving: MovingFace,
    target: int,
    *,
    units: Sequence[str] | None = None,
    pixels: float | None = None,
) -> pd.DataFrame:
    """The effect of each action unit on a logit: with it, minus without it, all else equal.

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

    Example:
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions
        >>> from tsfmicro_lab.models import create_model
        >>> moving = SyntheticMicroExpressions(1, 1, image_size=64).moving_face(0)
        >>> unit_effects(create_model("tsfmicro_late", 5), moving, 0, units=["4", "12"]).shape
        (2, 4)
    """
    own = dict(moving.motion.units)
    chosen = list(units) if units is not None else list(dict.fromkeys([*own, *ACTION_UNITS]))
    strength = pixels or max(own.values(), default=1.5 * moving.size / 224)
    changed = [{k: v for k, v in own.items() if k != u} if u in own else {**own, u: strength} for u in chosen]
    logits = counterfactual_logits(model, moving, [own, *changed])
    if not 0 <= target < logits.shape[1]:
        raise ValueError(f"target {target} is none of the model's {logits.shape[1]} classes")
    effect = (logits[0] - logits[1:])[:, target]
    present = np.array([u in own for u in chosen])
    names = [ACTION_UNITS[u.lstrip("LR")][0] for u in chosen]
    return pd.DataFrame(
        {"unit": chosen, "name": names, "present": present, "effect": np.where(present, effect, -effect)}
    )
