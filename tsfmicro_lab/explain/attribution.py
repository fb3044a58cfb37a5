"""Attribution: which pixels of its inputs a prediction rests on; where-how, of the onset and the difference frame."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tsfmicro_lab.explain.methods import (
    COMPLETE,
    METHODS,
    REGIONAL,
    Mask,
    Pair,
    Settings,
    deep_lift,
    gradient_shap,
    input_x_gradient,
    integrated_gradients,
    saliency,
    seeded,
    smooth_grad,
)
from tsfmicro_lab.models import Recognizer
from tsfmicro_lab.progress import track

Heat = Float[np.ndarray, "_ _"]
#: Methods that take inputs of any shape, such as a row of frames; the others need one image per input.
ANY_SHAPE = {integrated_gradients, input_x_gradient, saliency, smooth_grad, gradient_shap}
#: DeepLift's maps are refused if they miss more than this share of the change of the logit.
DEEP_LIFT_TOLERANCE = 0.1


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

    def as_shares(self) -> "WhereHow":
        """Both maps divided by the sum of all absolute values, so that methods of different units can be compared."""
        total = max(float(np.abs(self.where).sum() + np.abs(self.how).sum()), np.finfo(float).tiny)
        return replace(self, where=self.where / total, how=self.how / total)


@dataclass(frozen=True)
class Attribution:
    """Attribution of one logit to all inputs of a model, raw values.

    Attributes:
        maps: For each input that is a picture, its pixels, summed over colours: (H, W), or (frames, H, W).
        target: Index of the explained class.
        method: How it was computed.
        completeness_error: See :class:`WhereHow`.
    """

    maps: Mapping[str, Float[np.ndarray, "*places"]] = field(repr=False)
    target: int
    method: str
    completeness_error: float


def where_how(
    model: Recognizer,
    sample: Mapping[str, Tensor],
    target: int | None = None,
    method: str = "integrated gradients",
    *,
    steps: int = 32,
    batch_size: int = 32,
    seed: int = 0,
    baseline: Mapping[str, Tensor] | None = None,
    regions: Mapping[str, Mask] | None = None,
) -> WhereHow:
    r"""Explains one prediction over both inputs at once, by default with integrated gradients.

    .. math:: a_i = (x_i - x'_i) \int_0^1 \frac{\partial f}{\partial x_i}\bigl(x' + \alpha (x - x')\bigr)\,d\alpha

    (Sundararajan, Taly, Yan, ICML 2017, arXiv 1703.01365; computed by captum.) The baseline x' is an onset
    frame of ImageNet's mean colour and a difference frame of zero, that is: no face known, nothing moved. The other
    methods are told in :mod:`~tsfmicro_lab.explain.methods`.

    Args:
        model: Reads an onset and a difference frame.
        sample: `onset` and `difference`, normalised, (3, H, W) or (1, 3, H, W) (see `training.to_inputs`).
        target: Class to explain; the predicted one by default.
        method: One of :data:`~tsfmicro_lab.explain.methods.METHODS`.
        steps: Points of the integral, noisy copies, or, times 4, coalitions. The completeness error tells whether
            they were enough.
        batch_size: Inputs computed at once, which bounds the memory. Where noise is drawn, it is drawn batch by batch.
        seed: Of the methods that draw.
        baseline: Another x': `onset` and `difference`, (K, 3, H, W). Gradient SHAP draws from all K and feature
            ablation averages over them; the others take the first.
        regions: For feature ablation and KernelSHAP: masks by name (see `data.motion.unit_regions`).

    Returns:
        The two maps, unscaled.

    Raises:
        ValueError: The method is unknown or lacks its regions, the model reads only one stream or ignores one, its
            weights were made in inference mode, the target is none of its classes, or a map is not finite.

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
    found = attribute(
        model,
        sample,
        target,
        method,
        steps=steps,
        batch_size=batch_size,
        seed=seed,
        baseline=baseline,
        regions=regions,
    )
    maps = found.maps
    return WhereHow(maps["onset"], maps["difference"], found.target, method, found.completeness_error)


def attribute(
    model: Recognizer,
    sample: Mapping[str, Tensor],
    target: int | None = None,
    method: str = "integrated gradients",
    *,
    steps: int = 32,
    batch_size: int = 32,
    seed: int = 0,
    baseline: Mapping[str, Tensor] | None = None,
    regions: Mapping[str, Mask] | None = None,
) -> Attribution:
    """Explains one prediction over all inputs of any model that are pictures; the others are held as they are.

    Args:
        model: Any model.
        sample: Its inputs by name, one sample with or without a batch axis.
        target: See :func:`where_how`, as of all that follow. The baseline is the model's
            `nothing_known`: zero, and for flow pictures black.
        method: For inputs of several frames, one that works by gradients.
        steps: Points of the integral.
        batch_size: Inputs computed at once.
        seed: Of the methods that draw.
        baseline: Another baseline.
        regions: Masks by name.

    Raises:
        ValueError: See :func:`where_how`.

    Example:
        >>> from tsfmicro_lab.models import create_model
        >>> model = create_model("slstt_mean", 3, seed=0)
        >>> attribute(model, {"flow": torch.randn(11, 3, 56, 56)}, method="saliency").maps["flow"].shape
        (11, 56, 56)
    """
    _check(model, method, regions)
    sample = {name: sample[name].reshape(1, *shape) for name, shape in model.input_shapes.items()}
    # Outside inference mode a clone makes tensors that gradients can flow to, wherever the sample came from.
    with torch.inference_mode(False), torch.enable_grad(), seeded(seed):
        names = [name for name in model.input_names if name not in model.fixed_names]
        asked = _Fixed(model, _pair(model, sample, model.fixed_names)) if model.fixed_names else model
        inputs = _pair(model, sample, names)
        known = dict(zip(names, inputs, strict=True))
        origin = _pair(model, baseline or model.nothing_known(known), names)
        target = _target(asked, names, inputs, target)
        settings = Settings(steps, batch_size, seed, origin, regions)
        maps = METHODS[method](asked, inputs, target, settings)
        heat = dict(zip(names, (m.detach().sum(-3)[0].float().cpu().numpy() for m in maps), strict=True))
        if not all(np.isfinite(m).all() for m in heat.values()):
            raise ValueError("the attribution is not finite: check the sample and the model's weights for NaN")
        error = float("nan")
        if METHODS[method] in COMPLETE:
            error = _completeness(asked, inputs, origin, target, sum(float(m.sum()) for m in heat.values()))
    if METHODS[method] is deep_lift and error > DEEP_LIFT_TOLERANCE:
        raise ValueError(
            f"DeepLift does not fit {type(model).__name__}: its maps miss {error:.0%} of the change of the logit, "
            "since captum has no rule for GELU, SiLU, layer norm and fused attention; choose integrated gradients"
        )
    return Attribution(heat, target, method, error)


def where_how_batch(
    model: Recognizer,
    batch: Mapping[str, Tensor],
    targets: Sequence[int] | None = None,
    method: str = "integrated gradients",
    *,
    regions: Sequence[Mapping[str, Mask]] | None = None,
    progress: bool = False,
    **settings: Any,
) -> list[WhereHow]:
    """Explains many predictions, one after the other: what is held at once does not grow with their number.

    Args:
        model: Reads an onset and a difference frame.
        batch: `onset` and `difference`, (B, 3, H, W).
        targets: Class to explain of each; the predicted ones by default.
        method: See :func:`where_how`.
        regions: For the methods that ask per region: masks of each.
        progress: Whether to show a progress bar.
        **settings: Others of :func:`where_how`.

    Returns:
        The maps, in order.

    Example:
        >>> from tsfmicro_lab.models import create_model
        >>> model = create_model("tsfmicro_late", 3, seed=0)
        >>> batch = {name: torch.randn(2, 3, 56, 56) for name in model.input_names}
        >>> len(where_how_batch(model, batch, method="saliency"))
        2
    """
    count = len(batch["difference"])
    return [
        where_how(
            model,
            {name: x[i] for name, x in batch.items()},
            None if targets is None else int(targets[i]),
            method,
            regions=None if regions is None else regions[i],
            **settings,
        )
        for i in track(range(count), method, progress)
    ]


def _check(model: Recognizer, method: str, regions: Mapping[str, Mask] | None) -> None:
    if method not in METHODS:
        raise ValueError(f"unknown method '{method}': choose from {', '.join(METHODS)}")
    if any(len(s) != 3 for n, s in model.input_shapes.items() if n not in model.fixed_names) or model.fixed_names:
        able = [name for name, how in METHODS.items() if how in ANY_SHAPE]
        if method not in able:
            raise ValueError(f"{method} does not fit the inputs of {type(model).__name__}: choose {', '.join(able)}")
    if METHODS[method] in REGIONAL and not regions:
        raise ValueError(
            f"{method} asks region by region: give regions=, such as unit_regions(clip.landmarks, size) of data.motion"
        )
    if any(p.is_inference() for p in model.parameters()):
        raise ValueError(
            "the model's weights were made in inference mode, so no gradient passes through them: create or load the "
            "model outside torch.inference_mode()"
        )
    model.eval()


class _Fixed(nn.Module):
    """A model with its last inputs held as they are, which captum need not know of."""

    def __init__(self, model: Recognizer, fixed: Pair) -> None:
        super().__init__()
        self.model, self.fixed = model, fixed

    def forward(self, *inputs: Tensor) -> Tensor:
        free, held = iter(inputs), iter(self.fixed)
        names = self.model.input_names
        fixed = self.model.fixed_names
        given = [next(held).expand(len(inputs[0]), -1, -1) if name in fixed else next(free) for name in names]
        return self.model(*given)


def _pair(model: Recognizer, sample: Mapping[str, Tensor], names: Sequence[str]) -> Pair:
    device = next(model.parameters()).device
    return tuple(sample[name].detach().clone().to(device) for name in names)


def _target(model: nn.Module, names: Sequence[str], inputs: Pair, target: int | None) -> int:
    """The class to explain, after a look at whether each stream has a say in it."""
    looked = tuple(x.clone().requires_grad_() for x in inputs)
    logits = model(*looked)[0]
    chosen = int(logits.argmax()) if target is None else target
    if not 0 <= chosen < len(logits):
        raise ValueError(f"target {chosen} is none of the model's {len(logits)} classes (0 to {len(logits) - 1})")
    slopes = torch.autograd.grad(logits[chosen], looked, allow_unused=True)
    unused = [name for name, slope in zip(names, slopes, strict=True) if slope is None]
    if unused:
        raise ValueError(
            f"{type(model).__name__} takes the {' and '.join(unused)} frame and ignores it, "
            "so nothing can be attributed to it: check the variant's forward"
        )
    return chosen


@torch.no_grad()
def _completeness(model: nn.Module, inputs: Pair, baseline: Pair, target: int, total: float) -> float:
    change = float(model(*inputs)[0, target] - model(*baseline)[:, target].mean())
    return abs(total - change) / max(abs(change), 1e-6)


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
