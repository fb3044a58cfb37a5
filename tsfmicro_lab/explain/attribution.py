"""Where-how attribution: which pixels of the onset frame and of the difference frame a prediction rests on."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from captum.attr import InputXGradient, IntegratedGradients, Saliency
from jaxtyping import Bool, Float
from torch import Tensor

from tsfmicro_lab.models import TSFmicro

Heat = Float[np.ndarray, "_ _"]
#: Integrated gradients shares the whole logit out; the other two look at one point of its slope and are faster.
METHODS = ("integrated gradients", "input × gradient", "saliency")


@dataclass(frozen=True)
class WhereHow:
    """Attribution of one logit to the two inputs, raw values: positive speaks for the target, negative against it.

    Attributes:
        where: To the onset frame, summed over colours.
        how: To the difference frame, summed over colours.
        target: Index of the explained class.
        method: How it was computed.
        completeness_error: |sum of both maps - (logit - logit at the baseline)|, relative to that change of the logit;
            NaN for methods that do not share the logit out.
    """

    where: Heat = field(repr=False)
    how: Heat = field(repr=False)
    target: int
    method: str
    completeness_error: float

    @property
    def how_share(self) -> float:
        """Share of the difference frame in all attribution, by absolute value."""
        where, how = np.abs(self.where).sum(), np.abs(self.how).sum()
        return float(how / max(where + how, np.finfo(float).tiny))


def where_how(
    model: TSFmicro,
    sample: Mapping[str, Tensor],
    target: int | None = None,
    method: str = METHODS[0],
    *,
    steps: int = 32,
    batch_size: int = 32,
) -> WhereHow:
    r"""Explains one prediction over both inputs at once, by default with integrated gradients.

    .. math:: a_i = (x_i - x'_i) \int_0^1 \frac{\partial f}{\partial x_i}\bigl(x' + \alpha (x - x')\bigr)\,d\alpha

    (Sundararajan, Taly, Yan, ICML 2017, arXiv 1703.01365; computed by captum.) The baseline x' is an onset
    frame of ImageNet's mean colour and a difference frame of zero, that is: no face known, nothing moved. `input ×
    gradient` is the same with one step, at x. `saliency` is the slope's absolute value, and has no sign.

    Args:
        model: Reads an onset and a difference frame.
        sample: `onset` and `difference`, normalised, (3, H, W) or (1, 3, H, W) (see `training.to_inputs`).
        target: Class to explain; the predicted one by default.
        method: One of :data:`METHODS`.
        steps: Points of the integral. The completeness error tells whether they were enough.
        batch_size: Points computed at once, which bounds the memory.

    Returns:
        The two maps, unscaled.

    Raises:
        ValueError: The method is unknown, the model reads only one stream, the target is none of its classes, or a map
            is not finite.

    Example:
        >>> from tsfmicro_lab.models import create_model
        >>> model = create_model("tsfmicro_late", 3, seed=0)
        >>> noise = torch.Generator().manual_seed(0)
        >>> sample = {name: torch.randn(3, 56, 56, generator=noise) for name in model.input_names}
        >>> maps = where_how(model, sample, target=1)
        >>> maps.where.shape, maps.completeness_error < 0.05
        ((56, 56), True)
    """
    missing = {"onset", "difference"} - set(model.input_names)
    if missing:
        raise ValueError(
            f"{type(model).__name__} does not read the {' and '.join(sorted(missing))} frame, "
            "so nothing can be attributed to it: explain a fusion variant such as tsfmicro_late"
        )
    if method not in METHODS:
        raise ValueError(f"unknown method '{method}': choose from {', '.join(METHODS)}")
    model.eval()
    device = next(model.parameters()).device
    # Cloning outside inference mode makes tensors that gradients can flow to, wherever the sample came from.
    inputs = tuple(
        sample[name].detach().clone().to(device).reshape(1, *sample[name].shape[-3:]) for name in model.input_names
    )
    with torch.no_grad():
        logits = model(*inputs)[0]
    if target is None:
        target = int(logits.argmax())
    if not 0 <= target < len(logits):
        raise ValueError(f"target {target} is none of the model's {len(logits)} classes (0 to {len(logits) - 1})")
    error = float("nan")
    if method == METHODS[0]:
        baselines = tuple(torch.zeros_like(x) for x in inputs)
        maps, delta = IntegratedGradients(model).attribute(
            inputs, baselines, target, n_steps=steps, internal_batch_size=batch_size, return_convergence_delta=True
        )
        with torch.no_grad():
            change = float(logits[target] - model(*baselines)[0, target])
        error = abs(float(delta)) / max(abs(change), 1e-6)
    else:
        explainer = InputXGradient(model) if method == METHODS[1] else Saliency(model)
        maps = explainer.attribute(tuple(x.requires_grad_() for x in inputs), target)
    heat = dict(zip(model.input_names, (m.detach().sum(1)[0].float().cpu().numpy() for m in maps), strict=True))
    if not all(np.isfinite(m).all() for m in heat.values()):
        raise ValueError("the attribution is not finite: check the sample and the model's weights for NaN")
    return WhereHow(heat["onset"], heat["difference"], target, method, error)


def share_inside(heat: Heat, region: Bool[np.ndarray, "_ _"]) -> tuple[float, float]:
    """Share of the attribution that lies in a region, and the share that chance would put there: the region's area.

    Args:
        heat: A map of a :class:`WhereHow`.
        region: For rendered clips, `clip.truth.moved`.

    Returns:
        (share of the absolute attribution, share of the area); (0, area) for a map of zeros.

    Raises:
        ValueError: The shapes differ.

    Example:
        >>> share_inside(np.array([[3.0, -1.0], [0.0, 0.0]]), np.array([[True, False], [False, False]]))
        (0.75, 0.25)
    """
    if heat.shape != region.shape:
        raise ValueError(f"map {heat.shape} and region {region.shape} differ: align the clip to the model's size")
    mass = np.abs(heat)
    return float(mass[region].sum() / max(float(mass.sum()), np.finfo(float).tiny)), float(region.mean())
