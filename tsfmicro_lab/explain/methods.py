"""The attribution methods, each one thin function over captum on both inputs at once.

All share their arguments: the model, the inputs (1, 3, H, W) in the order of its `input_names`, the class, and the
settings. All return one map per input, (1, channels, H, W), channels to be summed. `attribution.where_how` calls them
by their name in :data:`METHODS`, checks what goes in and what comes out, and documents what they share.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from captum.attr import (
    DeepLift,
    FeatureAblation,
    GradientShap,
    InputXGradient,
    IntegratedGradients,
    KernelShap,
    NoiseTunnel,
    Occlusion,
    Saliency,
)
from jaxtyping import Bool, Int64
from torch import Tensor, nn

from tsfmicro_lab.explain.tokens import attention_rollout, token_grad_cam
from tsfmicro_lab.models import Recognizer

Mask = Bool[np.ndarray, "_ _"]
Pair = tuple[Tensor, ...]


@dataclass(frozen=True)
class Settings:
    """What the methods may need besides model and inputs.

    Attributes:
        steps: Points of an integral, noisy copies, or, times 4, coalitions of regions.
        batch_size: Inputs computed at once, which bounds the memory.
        seed: Of the methods that draw.
        baseline: What stands for "nothing known": one tensor per input, or several to draw from, (K, 3, H, W).
        regions: Masks by name, for the methods that ask per region.
    """

    steps: int
    batch_size: int
    seed: int
    baseline: Pair
    regions: Mapping[str, Mask] | None = None


def integrated_gradients(model: nn.Module, inputs: Pair, target: int, s: Settings) -> Pair:
    """The gradient, averaged on the way from the baseline, times that way (Sundararajan et al., arXiv 1703.01365)."""
    first = tuple(b[:1] for b in s.baseline)
    explainer = IntegratedGradients(model)
    return tuple(explainer.attribute(inputs, first, target, n_steps=s.steps, internal_batch_size=s.batch_size))


def input_x_gradient(model: nn.Module, inputs: Pair, target: int, s: Settings) -> Pair:
    """The same with one step, at the input; the baseline is zero."""
    return tuple(InputXGradient(model).attribute(_wanting_gradients(inputs), target))


def saliency(model: nn.Module, inputs: Pair, target: int, s: Settings) -> Pair:
    """The slope's absolute value (Simonyan et al., arXiv 1312.6034). It has no sign."""
    return tuple(Saliency(model).attribute(_wanting_gradients(inputs), target))


def smooth_grad(model: nn.Module, inputs: Pair, target: int, s: Settings) -> Pair:
    """Absolute mean slope over copies with noise of 15 % of each input's range (Smilkov et al., arXiv 1706.03825)."""
    noise = tuple(0.15 * float(x.max() - x.min()) for x in inputs)
    maps = NoiseTunnel(Saliency(model)).attribute(
        inputs,
        nt_type="smoothgrad",
        nt_samples=s.steps,
        nt_samples_batch_size=s.batch_size,
        stdevs=noise,
        target=target,
        abs=False,
    )
    return tuple(m.abs() for m in maps)


def gradient_shap(model: nn.Module, inputs: Pair, target: int, s: Settings) -> Pair:
    """The gradient at random points on the ways from random baselines (Lundberg and Lee, arXiv 1705.07874)."""
    parts = [min(s.batch_size, s.steps - done) for done in range(0, s.steps, s.batch_size)]
    drawn = [GradientShap(model).attribute(inputs, s.baseline, part, 0.0, target) for part in parts]
    shares = torch.tensor(parts) / s.steps
    return tuple(sum(share * maps[i] for share, maps in zip(shares, drawn, strict=True)) for i in range(len(inputs)))


def deep_lift(model: nn.Module, inputs: Pair, target: int, s: Settings) -> Pair:
    """Differences passed back layer by layer (Shrikumar et al., arXiv 1704.02685).

    captum knows rules for ReLU and its like, softmax modules and max pooling. For GELU, SiLU, layer norm and fused
    attention, of which TSFmicro is made, it silently takes the plain gradient, and the maps no longer add up.
    `where_how` refuses such maps.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # captum announces its hooks, which it takes away again
        first = tuple(b[:1] for b in s.baseline)
        return tuple(DeepLift(_Inner(model)).attribute(_wanting_gradients(inputs), first, target))


def occlusion(model: nn.Module, inputs: Pair, target: int, s: Settings) -> Pair:
    """How far the logit falls when a window (an eighth of the side) shows the baseline, mean of all windows on a pixel.

    The idea is Zeiler and Fergus's (arXiv 1311.2901). Windows overlap by half.
    """
    side = max(inputs[0].shape[-1] // 8, 1)
    window, stride = (3, side, side), (3, (side + 1) // 2, (side + 1) // 2)
    maps = Occlusion(model).attribute(
        inputs,
        (window,) * len(inputs),
        (stride,) * len(inputs),
        tuple(b[:1] for b in s.baseline),
        target,
        perturbations_per_eval=s.batch_size,
    )
    return tuple(m / m.shape[1] for m in maps)  # captum writes the fall into each colour


def feature_ablation(model: nn.Module, inputs: Pair, target: int, s: Settings) -> Pair:
    """How far the logit falls when one region of one input shows the baseline: no motion there, or another's face.

    Averaged over the baselines, where several are given.
    """
    maps = [
        FeatureAblation(model).attribute(
            inputs,
            tuple(b[k : k + 1] for b in s.baseline),
            target,
            feature_mask=_feature_mask(inputs, s),
            perturbations_per_eval=s.batch_size,
        )
        for k in range(len(s.baseline[0]))
    ]
    return _spread(tuple(sum(m[i] for m in maps) / len(maps) for i in range(len(inputs))), inputs, s)


def kernel_shap(model: nn.Module, inputs: Pair, target: int, s: Settings) -> Pair:
    """Shapley values of regions and streams, fitted to random coalitions (Lundberg and Lee, arXiv 1705.07874)."""
    maps = KernelShap(model).attribute(
        inputs,
        tuple(b[:1] for b in s.baseline),
        target,
        feature_mask=_feature_mask(inputs, s),
        n_samples=4 * s.steps,
        perturbations_per_eval=s.batch_size,
    )
    return _spread(maps, inputs, s)


def grad_cam(model: nn.Module, inputs: Pair, target: int, s: Settings) -> Pair:
    """Grad-CAM of both streams where the model adds them (:func:`~tsfmicro_lab.explain.tokens.token_grad_cam`)."""
    assert isinstance(model, Recognizer)
    return token_grad_cam(model, inputs, target)


def rollout(model: nn.Module, inputs: Pair, target: int, s: Settings) -> Pair:
    """What retention and attention pass on; knows no class (:func:`~tsfmicro_lab.explain.tokens.attention_rollout`)."""
    assert isinstance(model, Recognizer)
    return attention_rollout(model, inputs)


Method = Callable[[nn.Module, Pair, int, Settings], Pair]
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
    "rollout": rollout,
}
#: Both maps together must sum to the change of the logit from the baseline: checked, and told as completeness error.
COMPLETE = {integrated_gradients, gradient_shap, deep_lift, kernel_shap}
#: Ask per region, and need to be told which.
REGIONAL = {feature_ablation, kernel_shap}


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Fixes what captum draws, from torch and numpy, and leaves both global states as they were."""
    state = np.random.get_state()  # noqa: NPY002 - captum draws from the global state
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002


def partition(regions: Mapping[str, Mask]) -> Int64[np.ndarray, "_ _"]:
    """Each pixel's region by number, so that no pixel counts twice.

    Args:
        regions: Masks, which may overlap: a pixel goes to the smallest of its regions.

    Returns:
        0 where there is none, else 1 + the region's place in the mapping.

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


class _Inner(nn.Module):
    """The model one level down: captum hands pairs of tensors to the outermost call, which TSFmicro's check refuses."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> Tensor:
        logits: Tensor = self.model(*inputs)
        return logits


def _feature_mask(inputs: Pair, s: Settings) -> Pair:
    assert s.regions is not None
    parts = torch.from_numpy(partition(s.regions)).to(inputs[0].device)[None, None]
    count = int(parts.max()) + 1
    return tuple(parts + i * count for i in range(len(inputs)))


def _spread(maps: Pair, inputs: Pair, s: Settings) -> Pair:
    """A region's value is written into each of its pixels and channels: shared out, it sums to itself again."""
    masks = _feature_mask(inputs, s)
    size = masks[0].flatten().bincount()
    return tuple(m / (size[masks[0]] * inputs[0].shape[1]) for m in maps)


def _wanting_gradients(inputs: Pair) -> Pair:
    return tuple(x.detach().clone().requires_grad_() for x in inputs)
