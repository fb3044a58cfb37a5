"""Maps from inside the network: Grad-CAM where both streams meet, and what retention and attention pass on."""

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from tsfmicro_lab.explain.streams import fuse_of
from tsfmicro_lab.models import TSFmicro
from tsfmicro_lab.models.fusion import TSFmicroEarly, TSFmicroS2T, TSFmicroT2S
from tsfmicro_lab.models.retention import ManhattanRetention
from tsfmicro_lab.models.spatial import ThumbnailViT, to_map
from tsfmicro_lab.models.temporal import RetentionPyramid
from tsfmicro_lab.models.vit import SelfAttention

Pair = tuple[Tensor, ...]
Flow = Float[Tensor, "batch _ _"]


def token_grad_cam(model: TSFmicro, inputs: Pair, target: int, layer: nn.Module | None = None) -> Pair:
    r"""Grad-CAM: what a layer holds at each place, weighed by how the logit hangs on each channel on average.

    .. math:: \sum_c \Bigl(\frac{1}{n} \sum_{p} \frac{\partial f}{\partial A_{cp}}\Bigr) A_{cp}

    (Selvaraju et al., ICCV 2017, arXiv 1610.02391, without its ReLU: here the sign is kept.) captum's `LayerGradCam`
    averages tokens over channels instead of places, so tokens are first laid out on their grid.

    Args:
        model: A fusion variant.
        inputs: Onset and difference, (B, 3, H, W).
        target: Class to explain.
        layer: A layer that gives a map or tokens of a square grid; by default the two streams where they are added.

    Returns:
        For the default layer (where, how), else one map; (B, 1, H, W), stretched to the input.

    Raises:
        ValueError: The layer gives neither a map nor tokens of a square grid, or the forward pass does not visit it.

    Example:
        >>> from tsfmicro_lab.models import create_model
        >>> model = create_model("tsfmicro_t2s", 3, seed=0).eval()
        >>> where, how = token_grad_cam(model, (torch.randn(1, 3, 56, 56), torch.randn(1, 3, 56, 56)), target=0)
        >>> where.shape
        torch.Size([1, 1, 56, 56])
    """
    held: list[Tensor] = []
    if layer is None:
        hook = fuse_of(model).register_forward_pre_hook(lambda _, streams: held.extend(reversed(streams)))
    else:
        hook = layer.register_forward_hook(lambda _, __, out: held.append(out))
    try:
        logit = model(*(x.detach().clone().requires_grad_() for x in inputs))[:, target].sum()
    finally:
        hook.remove()
    name = type(layer).__name__
    if not held:
        raise ValueError(f"{type(model).__name__} does not run through this {name}: choose a layer that it visits")
    if not all(_is_grid(a) for a in held):
        shape = tuple(held[0].shape) if isinstance(held[0], Tensor) else type(held[0]).__name__
        raise ValueError(
            f"{name} gives {shape}, neither a map (batch, channels, side, side) nor tokens (batch, side², channels): "
            "Grad-CAM needs places; leave layer out, or choose model.temporal or a transformer block"
        )
    maps = []
    for activation, slope in zip(held, torch.autograd.grad(logit, held), strict=True):
        a, g = (x if x.ndim == 4 else to_map(x) for x in (activation.detach(), slope))
        cam = (g.mean((2, 3), keepdim=True) * a).sum(1, keepdim=True)
        maps.append(F.interpolate(cam, inputs[0].shape[-2:], mode="bilinear"))
    return tuple(maps)


@torch.no_grad()
def attention_rollout(model: TSFmicro, inputs: Pair) -> Pair:
    """How much of what each place holds reaches the end, if retention and attention alone carried it.

    Attention rollout (Abnar and Zuidema, arXiv 2005.00928): per layer, half of what a place holds stays and half is
    mixed by the mean weights of the heads. Convolutions, perceptrons and the values themselves are not seen, and
    neither is the class. Nothing larger than one layer's weights is held.

    Args:
        model: A fusion variant but early fusion, whose streams go through the same layers.
        inputs: Onset and difference, (B, 3, H, W).

    Returns:
        (where, how), each (B, 1, H, W) with sum 1 per clip.

    Raises:
        ValueError: The model adds its streams before the first such layer.

    Example:
        >>> from tsfmicro_lab.models import create_model
        >>> model = create_model("tsfmicro_late", 3, seed=0).eval()
        >>> where, how = attention_rollout(model, (torch.randn(2, 3, 56, 56), torch.randn(2, 3, 56, 56)))
        >>> how.sum((1, 2, 3)).round(decimals=4)
        tensor([1., 1.])
    """
    fuse_of(model)
    if isinstance(model, TSFmicroEarly):
        raise ValueError(
            "TSFmicroEarly adds the onset frame to the difference before its first retention, so a rollout cannot tell "
            "its streams apart: choose another method or tsfmicro_late"
        )
    seen: dict[nn.Module, Tensor] = {}
    layers = [m for m in model.modules() if isinstance(m, ManhattanRetention | SelfAttention)]
    hooks = [m.register_forward_pre_hook(lambda m, x: seen.update({m: x[0]})) for m in layers]
    try:
        model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    grid = model.config.grid
    even = torch.full((len(inputs[0]), grid, grid), 1 / grid**2, device=inputs[0].device)

    parts: Any = model  # a variant with two streams has both branches
    late = _through_vit(even, parts.spatial, seen)
    before = isinstance(model, TSFmicroT2S) and model.config.inject == "before"
    how = _through_pyramid(late if before else even, parts.temporal, seen)
    where = late
    if isinstance(model, TSFmicroS2T):
        where = _through_vit(F.adaptive_avg_pool2d(how, grid), parts.spatial, seen)
    side = inputs[0].shape[-1]
    stretched = [F.interpolate(f[:, None], (side, side), mode="bilinear") for f in (where, how)]
    return tuple(f / f.sum((1, 2, 3), keepdim=True) for f in stretched)


def _through_vit(flow: Flow, branch: ThumbnailViT, seen: dict[nn.Module, Tensor]) -> Flow:
    attentions = [m for m in branch.modules() if isinstance(m, SelfAttention)]
    for layer in reversed(attentions):
        flow = (flow + _through(flow, layer.weights(seen[layer]))) / 2
    return flow


def _through_pyramid(flow: Flow, pyramid: RetentionPyramid, seen: dict[nn.Module, Tensor]) -> Flow:
    layers = [m for m in pyramid.modules() if isinstance(m, ManhattanRetention)]
    for layer in reversed(layers):
        if layer.grid > flow.shape[1]:  # from a coarse place to the four that it was made of
            flow = F.interpolate(flow[:, None], scale_factor=2.0, mode="nearest")[:, 0] / 4
        x = seen[layer]
        given = _through_lines(flow, *layer.line_weights(x)) if layer.decomposed else _through(flow, layer.weights(x))
        flow = (flow + given) / 2
    return flow


def _through(flow: Flow, weights: Float[Tensor, "batch heads n n"]) -> Flow:
    """From what each place gave to the end to what each place of the layer's input gave."""
    given = torch.einsum("b q, b h q k -> b k", flow.flatten(1), weights) / weights.shape[1]
    return rearrange(given, "b (y x) -> b y x", y=flow.shape[1])


def _through_lines(flow: Flow, rows: Tensor, columns: Tensor) -> Flow:
    """The same for decomposed retention, which mixes rows first and then columns."""
    given = torch.einsum("b y x, b h x y v, b h v x u -> b v u", flow, columns, rows)
    return given / rows.shape[1]


def _is_grid(a: object) -> bool:
    if not isinstance(a, Tensor) or not a.requires_grad:
        return False
    if a.ndim == 4:
        return a.shape[2] == a.shape[3]
    return a.ndim == 3 and int(a.shape[1] ** 0.5) ** 2 == a.shape[1]
