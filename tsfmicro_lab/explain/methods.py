"""The attribution methods: each one a thin function over captum, on all inputs that are pictures at once.

All take the model, its inputs (1, 3, H, W), which want gradients, the class and the settings;
all return one map per input, (1, channels, H, W), channels to be summed. `attribution.where_how` calls them by their
name in :data:`METHODS`, checks what goes in and what comes out, and documents the settings.
"""

import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from typing import NamedTuple

import numpy as np
import torch
from captum import attr
from jaxtyping import Bool, Int64
from torch import Tensor, nn

from tsfmicro_lab.explain.streams import attention_relevance, attention_rollout, token_grad_cam
from tsfmicro_lab.models import STREAMS, Recognizer

Mask = Bool[np.ndarray, "_ _"]
Masks = Mapping[str, Mask]
Tensors = tuple[Tensor, ...]
Method = Callable[..., Tensors]


class Settings(NamedTuple):
    """What `attribution.where_how` was told, and its documentation explains."""

    baseline: Tensors
    steps: int
    batch_size: int
    regions: Masks


class InOrder(nn.Module):
    """A model as captum calls it: with its pictures in order, the other inputs of a sample held as they are."""

    def __init__(self, model: Recognizer, sample: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.model = model
        self.names = [name for name in model.input_names if name not in model.auxiliary_names]
        self.fixed = {name: sample[name] for name in model.auxiliary_names}

    def free(self, inputs: Mapping[str, Tensor]) -> Tensors:
        """The pictures among some inputs, in order."""
        return tuple(inputs[name].detach().clone().to(next(self.model.parameters()).device) for name in self.names)

    def named(self, inputs: Tensors) -> dict[str, Tensor]:
        """All inputs of the model by name."""
        fixed = {name: x.expand(len(inputs[0]), *x.shape[1:]) for name, x in self.fixed.items()}
        return dict(zip(self.names, inputs, strict=True)) | fixed

    def forward(self, *inputs: Tensor) -> Tensor:
        """Returns the logits."""
        return self.model(**self.named(inputs))


class InFrames(InOrder):
    """The same, asked for onset frame and apex frame: the former acts through both inputs of the model."""

    def __init__(self, model: Recognizer, sample: Mapping[str, Tensor]) -> None:
        super().__init__(model, sample)
        self.names = ["onset frame", "apex frame"]

    def free(self, inputs: Mapping[str, Tensor]) -> Tensors:
        """Onset and apex frame, normalised."""
        onset, difference = (inputs[name].detach().to(next(self.model.parameters()).device) for name in STREAMS)
        return onset.clone(), onset + difference

    def named(self, inputs: Tensors) -> dict[str, Tensor]:
        """What the model reads of them."""
        onset, apex = inputs
        return {"onset": onset, "difference": apex - onset}


def averaged(method: Method) -> Method:
    """The method with the maps of all K baselines averaged, each of which it would take alone."""

    @wraps(method)
    def over_all(model: InOrder, x: Tensors, target: int, s: Settings) -> Tensors:
        each = [s._replace(baseline=tuple(b[[k]] for b in s.baseline)) for k in range(len(s.baseline[0]))]
        drawn = [method(model, x, target, one) for one in each]
        return tuple(torch.stack(maps).mean(0) for maps in zip(*drawn, strict=True))

    return over_all


@averaged
def integrated_gradients(model: InOrder, x: Tensors, target: int, s: Settings) -> Tensors:
    """The gradient, averaged on the way from the baseline, times that way (Sundararajan et al., arXiv 1703.01365)."""
    how = {"n_steps": s.steps, "internal_batch_size": s.batch_size}
    return attr.IntegratedGradients(model).attribute(x, s.baseline, target, **how)


def input_x_gradient(model: InOrder, x: Tensors, target: int, _: Settings) -> Tensors:
    """The same with one step, at the input; the baseline is zero."""
    return attr.InputXGradient(model).attribute(x, target)


def saliency(model: InOrder, x: Tensors, target: int, _: Settings) -> Tensors:
    """The gradient's absolute value (Simonyan et al., arXiv 1312.6034). It has no sign."""
    return attr.Saliency(model).attribute(x, target)


def smooth_grad(model: InOrder, x: Tensors, target: int, s: Settings) -> Tensors:
    """Absolute mean gradient over copies with noise of 15 % of each input's range (Smilkov, arXiv 1706.03825)."""
    noise = {"stdevs": tuple(0.15 * (one.max() - one.min()).item() for one in x), "nt_type": "smoothgrad"}
    copies = {"nt_samples": s.steps, "nt_samples_batch_size": s.batch_size}
    maps = attr.NoiseTunnel(attr.Saliency(model)).attribute(x, target=target, abs=False, **noise, **copies)
    return tuple(m.abs() for m in maps)


def gradient_shap(model: InOrder, x: Tensors, target: int, s: Settings) -> Tensors:
    """The gradient at random points on the ways from random baselines (Lundberg and Lee, arXiv 1705.07874)."""
    parts = [min(s.batch_size, s.steps - done) for done in range(0, s.steps, s.batch_size)]
    drawn = [(part, attr.GradientShap(model).attribute(x, s.baseline, part, 0.0, target)) for part in parts]
    return tuple(sum(part / s.steps * maps[i] for part, maps in drawn) for i in range(len(x)))


@averaged
def deep_lift(model: InOrder, x: Tensors, target: int, s: Settings) -> Tensors:
    """Differences passed back layer by layer (Shrikumar et al., arXiv 1704.02685).

    captum knows rules for ReLU and its like, softmax modules and max pooling. For GELU, SiLU, layer norm and fused
    attention, of which TSFmicro is made, it silently takes the plain gradient, and the maps no longer add up.
    `where_how` refuses such maps.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # captum announces its hooks, which it takes away again
        return attr.DeepLift(model).attribute(x, s.baseline, target)


@averaged
def occlusion(model: InOrder, x: Tensors, target: int, s: Settings) -> Tensors:
    """How far the logit falls when a window (an eighth of the side) shows the baseline, mean of all windows on a pixel.

    The idea is Zeiler and Fergus's (arXiv 1311.2901). Windows overlap by half.
    """
    side = max(x[0].shape[-1] // 8, 1)
    windows, strides = (tuple((one.shape[1], n, n) for one in x) for n in (side, (side + 1) // 2))
    how = {"perturbations_per_eval": s.batch_size}
    maps = attr.Occlusion(model).attribute(x, windows, strides, s.baseline, target, **how)
    return tuple(m / m.shape[1] for m in maps)  # captum writes the fall into each colour


@averaged
def feature_ablation(model: InOrder, x: Tensors, target: int, s: Settings) -> Tensors:
    """How far the logit falls when one region of one input shows the baseline: no motion there, or another's face."""
    return _by_region(attr.FeatureAblation(model), x, target, s)


@averaged
def kernel_shap(model: InOrder, x: Tensors, target: int, s: Settings) -> Tensors:
    """Shapley values of regions and inputs, fitted to random coalitions (Lundberg and Lee, arXiv 1705.07874)."""
    return _by_region(attr.KernelShap(model), x, target, s, n_samples=4 * s.steps)


def grad_cam(model: InOrder, x: Tensors, target: int, _: Settings) -> Tensors:
    """Grad-CAM of both streams where the model adds them (see `streams.token_grad_cam`)."""
    return token_grad_cam(model.model, model.named(x), target)


def relevance(model: InOrder, x: Tensors, target: int, _: Settings) -> Tensors:
    """What retention and attention pass on in favour of a class, without a sign (see `streams.attention_relevance`)."""
    return attention_relevance(model.model, model.named(x), target)


def rollout(model: InOrder, x: Tensors, target: int, _: Settings) -> Tensors:
    """What retention and attention pass on, whatever the class (see `streams.attention_rollout`)."""
    return attention_rollout(model.model, model.named(x))


METHODS: dict[str, Method] = {
    "integrated gradients": integrated_gradients,
    "input × gradient": input_x_gradient,
    "saliency": saliency,
    "SmoothGrad": smooth_grad,
    "gradient SHAP": gradient_shap,
    "DeepLift": deep_lift,
    "occlusion": occlusion,
    "feature ablation": feature_ablation,
    "KernelSHAP": kernel_shap,
    "token Grad-CAM": grad_cam,
    "attention relevance": relevance,
    "rollout": rollout,
}
#: All maps together must sum to the change of the logit from the baseline: checked, and told as completeness error.
COMPLETE = {integrated_gradients, gradient_shap, deep_lift, kernel_shap}
#: Ask per region, and need to be told which.
REGIONAL = {feature_ablation, kernel_shap}
#: Look inside the network, where there are streams and no frames.
INSIDE = {grad_cam, relevance, rollout}
#: Take inputs of any shape, such as a row of frames; the others need one picture per input.
ANY_SHAPE = {integrated_gradients, input_x_gradient, saliency, smooth_grad, gradient_shap}


def partition(regions: Masks) -> Int64[np.ndarray, "_ _"]:
    """Each pixel's region, 1 + its position in the mapping: of those that overlap, the smallest; 0 where there is none.

    Example:
        >>> large, small = np.array([[True, True, False]]), np.array([[False, True, False]])
        >>> partition({"cheek": large, "eye": small})
        array([[1, 2, 0]])
    """
    names = list(regions)
    parts = np.zeros(regions[names[0]].shape, np.int64)
    for name in sorted(names, key=lambda n: -int(regions[n].sum())):
        parts[regions[name]] = 1 + names.index(name)
    return parts


def _by_region(method: attr.PerturbationAttribution, x: Tensors, target: int, s: Settings, **settings: int) -> Tensors:
    """What a method finds for each region of each input, shared out among its pixels and channels."""
    parts = torch.from_numpy(partition(s.regions)).to(x[0].device)[None, None]
    masks = tuple(parts + i * (int(parts.max()) + 1) for i in range(len(x)))
    how = {"feature_mask": masks, "perturbations_per_eval": s.batch_size}
    maps = method.attribute(x, s.baseline, target, **how, **settings)  # a region's value in each of its pixels
    size = masks[0].flatten().bincount()
    return tuple(m / (size[masks[0]] * m.shape[1]) for m in maps)
