"""Maps from inside the network: Grad-CAM where both streams meet, and what retention and attention pass on."""

from collections.abc import Mapping
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from tsfmicro_lab.explain.streams import fuse_of, inputs_seen
from tsfmicro_lab.models import Recognizer
from tsfmicro_lab.models.retention import ManhattanRetention
from tsfmicro_lab.models.tsfmicro import RetentionPyramid, TSFmicroEarly, TSFmicroS2T, TSFmicroT2S
from tsfmicro_lab.models.vit import SelfAttention, ThumbnailViT, to_map

Inputs = Mapping[str, Tensor]
Seen = Mapping[nn.Module, tuple[Tensor, ...]]
Flow = Float[Tensor, "batch _ _"]


def token_grad_cam(model: Recognizer, inputs: Inputs, target: int) -> tuple[Tensor, ...]:
    r"""Grad-CAM where a fusion variant adds its streams: channels weighed by the logit's mean gradient in each.

    .. math:: \sum_c \Bigl(\frac{1}{n} \sum_{p} \frac{\partial f}{\partial A_{cp}}\Bigr) A_{cp}

    (Selvaraju et al., ICCV 2017, arXiv 1610.02391, without its ReLU: here the sign is kept.) captum's `LayerGradCam`
    averages tokens over channels instead of positions, so tokens are first laid out on their grid.

    Returns:
        The maps of onset and difference, each (B, 1, H, W), stretched to the input.
    """
    fuse = fuse_of(model)
    with inputs_seen(fuse) as seen:
        logit = model(**{n: x.detach().clone().requires_grad_() for n, x in inputs.items()})[:, target].sum()
    maps = []
    for activation, slope in reversed([*zip(seen[fuse], torch.autograd.grad(logit, seen[fuse]), strict=True)]):
        a, g = (x if x.ndim == 4 else to_map(x) for x in (activation.detach(), slope))
        cam = (g.mean((2, 3), keepdim=True) * a).sum(1, keepdim=True)
        maps.append(F.interpolate(cam, inputs["onset"].shape[-2:], mode="bilinear"))
    return tuple(maps)


@torch.no_grad()
def attention_rollout(model: Recognizer, inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Attention rollout: how much of each token reaches the end, if retention and attention alone carried it.

    Abnar and Zuidema (arXiv 2005.00928): per layer, half of a token stays and half is mixed by the mean weights of the
    heads. Convolutions, perceptrons and the values themselves are not seen, and neither is the class. Nothing larger
    than one layer's weights is held.

    Returns:
        The maps of onset and difference, each (B, 1, H, W) with sum 1 per clip.

    Raises:
        ValueError: The model adds its streams before the first such layer, as early fusion does, or has no two.
    """
    fuse_of(model)
    if isinstance(model, TSFmicroEarly):
        raise ValueError(
            "TSFmicroEarly adds the onset frame to the difference before its first retention, so a rollout cannot tell "
            "its streams apart: choose another method or tsfmicro_late"
        )
    with inputs_seen(*(m for m in model.modules() if isinstance(m, ManhattanRetention | SelfAttention))) as seen:
        model(**inputs)
    onset, grid = inputs["onset"], model.config.grid
    even = torch.full((len(onset), grid, grid), 1 / grid**2, device=onset.device)

    parts: Any = model  # a variant with two streams has both branches
    where = _through_vit(even, parts.spatial, seen)
    before = isinstance(model, TSFmicroT2S) and model.config.inject == "before"
    how = _through_pyramid(where if before else even, parts.temporal, seen)
    if isinstance(model, TSFmicroS2T):
        where = _through_vit(F.adaptive_avg_pool2d(how, grid), parts.spatial, seen)
    where, how = (F.interpolate(flow[:, None], onset.shape[-2:], mode="bilinear") for flow in (where, how))
    return where / where.sum((1, 2, 3), keepdim=True), how / how.sum((1, 2, 3), keepdim=True)


def _through_vit(flow: Flow, branch: ThumbnailViT, seen: Seen) -> Flow:
    for layer in reversed([m for m in branch.modules() if isinstance(m, SelfAttention)]):
        flow = (flow + _through(flow, layer.weights(*seen[layer]))) / 2
    return flow


def _through_pyramid(flow: Flow, pyramid: RetentionPyramid, seen: Seen) -> Flow:
    for layer in reversed([m for m in pyramid.modules() if isinstance(m, ManhattanRetention)]):
        if layer.grid > flow.shape[1]:  # from a coarse token to the four that it was made of
            flow = F.interpolate(flow[:, None], scale_factor=2.0, mode="nearest")[:, 0] / 4
        (x,) = seen[layer]
        given = _through_lines(flow, *layer.line_weights(x)) if layer.decomposed else _through(flow, layer.weights(x))
        flow = (flow + given) / 2
    return flow


def _through(flow: Flow, weights: Float[Tensor, "batch heads n n"]) -> Flow:
    """From what each token gave to the end to what each token of the layer's input gave."""
    given = torch.einsum("b q, b h q k -> b k", flow.flatten(1), weights) / weights.shape[1]
    return rearrange(given, "b (y x) -> b y x", y=flow.shape[1])


def _through_lines(flow: Flow, rows: Tensor, columns: Tensor) -> Flow:
    """The same for decomposed retention, which mixes rows first and then columns."""
    return torch.einsum("b y x, b h x y v, b h v x u -> b v u", flow, columns, rows) / rows.shape[1]
