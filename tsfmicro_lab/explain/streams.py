"""The two streams inside a trained model: what they carry and pass on, and what is lost without one.

Token Grad-CAM, attention rollout and attention relevance are maps from inside the network: where both streams meet,
and what retention and attention pass on, whatever the class or for one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from tsfmicro_lab.models import Recognizer
from tsfmicro_lab.models.retention import ManhattanRetention
from tsfmicro_lab.models.tsfmicro import StreamSum
from tsfmicro_lab.models.vit import SelfAttention, to_map

Inputs = Mapping[str, Tensor]
Seen = Mapping[nn.Module, tuple[Tensor, ...]]
Flow = Float[Tensor, "batch _ _"]
Slope = Callable[[Tensor], Tensor | None]
TINY = float(np.finfo(np.float32).tiny)


@contextmanager
def stream_weights(model: Recognizer, *, onset: float = 1.0, difference: float = 1.0) -> Iterator[None]:
    """Weighs the two streams of a fusion variant differently for a while; both have weight 1 in training.

    Example:
        >>> from tsfmicro_lab.models import create_model
        >>> model = create_model("tsfmicro_late", 3).eval()
        >>> onset, difference = torch.randn(2, 1, 3, 56, 56)
        >>> with stream_weights(model, difference=0):
        ...     print(torch.equal(model(onset, difference), model(onset, -difference)))
        True
    """
    fuse = fuse_of(model)
    before = fuse.how_weight, fuse.where_weight
    fuse.how_weight, fuse.where_weight = difference, onset
    try:
        yield
    finally:
        fuse.how_weight, fuse.where_weight = before


class StreamActivations(NamedTuple):
    """Activations of one sample on its way through a fusion variant.

    Attributes:
        logits: One per class.
        streams: For `onset` and `difference`, how much each token stands out where the streams are added, weights
            included: the norm of its vector, measured from the mean over all tokens (a layer norm may have made all
            vectors equally long).
        evidence: Per class, what each token says for it (class activation map); the mean is the logit, less the bias.
    """

    logits: Float[np.ndarray, " classes"]
    streams: dict[str, Float[np.ndarray, "fine fine"]]
    evidence: Float[np.ndarray, "classes grid grid"]


@torch.no_grad()
def stream_activations(model: Recognizer, inputs: Inputs) -> StreamActivations:
    """Runs one sample through a fusion variant and keeps both streams and the class activation maps."""
    fuse = fuse_of(model)
    classifier: Any = model.classifier
    with inputs_seen(fuse, classifier) as seen:
        logits = model.eval()(**inputs)
    weights = {"difference": fuse.how_weight, "onset": fuse.where_weight}
    streams = {}
    for (name, weight), x in zip(weights.items(), seen[fuse], strict=True):
        x = (x if x.ndim == 4 else to_map(x))[0]
        streams[name] = abs(weight) * (x - x.mean((1, 2), keepdim=True)).float().norm(dim=0).cpu().numpy()
    evidence = classifier.evidence(*seen[classifier])[0].float().cpu().numpy()
    return StreamActivations(logits[0].float().cpu().numpy(), streams, evidence)


@contextmanager
def inputs_seen(*layers: nn.Module) -> Iterator[dict[nn.Module, tuple[Tensor, ...]]]:
    """Collects what some layers are given while a model runs."""
    seen: dict[nn.Module, tuple[Tensor, ...]] = {}
    with ExitStack() as hooks:
        for layer in layers:
            hooks.enter_context(layer.register_forward_pre_hook(lambda layer, given: seen.update({layer: given})))
        yield seen


def fuse_of(model: Recognizer) -> StreamSum:
    """The layer in which a fusion variant adds its streams; a ValueError for a model that has none."""
    fuse = getattr(model, "fuse", None)
    if not isinstance(fuse, StreamSum):
        alone = f"{model.name} reads {' and '.join(model.input_names)} and adds no two streams"
        raise ValueError(f"{alone}: choose a fusion variant such as tsfmicro_late")
    return fuse


def token_grad_cam(model: Recognizer, inputs: Inputs, target: int) -> tuple[Tensor, ...]:
    r"""Grad-CAM where a fusion variant adds its streams: channels weighed by the logit's mean gradient in each.

    .. math:: \sum_c \Bigl(\frac{1}{n} \sum_{p} \frac{\partial f}{\partial A_{cp}}\Bigr) A_{cp}

    (Selvaraju et al., ICCV 2017, arXiv 1610.02391, without its ReLU: here the sign is kept.) captum's `LayerGradCam`
    averages tokens over channels instead of positions, so tokens are first laid out on their grid.
    Maps of onset and difference, (B, 1, H, W), stretched to the input.
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
    than one layer's weights is held. Maps of onset and difference, (B, 1, H, W), each with sum 1 per clip.

    Raises:
        ValueError: The model adds its streams before the first such layer, as early fusion does, or has no two.
    """
    where, how = _walk_back(model, inputs)
    return where / where.sum((1, 2, 3), keepdim=True), how / how.sum((1, 2, 3), keepdim=True)


def attention_relevance(model: Recognizer, inputs: Inputs, target: int) -> tuple[Tensor, Tensor]:
    r"""Attention relevance: a rollout for one class, by what each layer passes on in favour of its logit f.

    .. math:: r \leftarrow \tfrac12 (r + r \bar A), \qquad \bar A \propto (A \odot \partial f / \partial A)^+

    After Chefer, Gur, Wolf (ICCV 2021, arXiv 2103.15679), whose networks end in a class token. Ours end in a mean: r
    begins with what each of the last tokens says for the class, (gradient · activation)⁺ summed over channels, and is
    shared out by the same measure where the streams are added. Rows of Ā sum to 1, as in a rollout; a token for which
    nothing speaks passes on by A. Retention's A holds its decay; the decomposed form passes columns, then rows.
    Maps of onset and difference, (B, 1, H, W), without a sign; together they sum to 1 per clip, or to 0 where no token
    speaks for the class.
    """
    where, how = _walk_back(model, {n: x.detach().clone().requires_grad_() for n, x in inputs.items()}, target)
    total = (where + how).sum((1, 2, 3), keepdim=True).clamp(min=TINY)
    return where / total, how / total


def _walk_back(model: Recognizer, inputs: Inputs, target: int | None = None) -> tuple[Tensor, Tensor]:
    """From the last tokens through retention and attention back to onset and difference, for one class or for any."""
    fuse, parts = fuse_of(model), cast(Any, model)
    layers = [m for m in model.modules() if isinstance(m, ManhattanRetention | SelfAttention)]
    with inputs_seen(fuse, parts.classifier, *layers, *map(_gathered, layers)) as seen:
        logits = model(**inputs)
    order = [m for m in seen if m is fuse or m in layers]  # as they ran
    before, after = order[: order.index(fuse)], order[order.index(fuse) + 1 :]
    if target is None and not before:
        early = f"{type(model).__name__} adds the onset frame to the difference before its first retention"
        raise ValueError(f"{early}, so a rollout cannot tell its streams apart: choose another method or tsfmicro_late")

    def slope(x: Tensor) -> Tensor | None:
        return None if target is None else torch.autograd.grad(logits[:, target].sum(), x, retain_graph=True)[0]

    def said(x: Tensor) -> Flow:
        given = torch.ones_like(x) if (g := slope(x)) is None else x.detach() * g
        return (given if x.ndim == 4 else to_map(given)).sum(1).clamp(min=0)

    how, where = (said(x) + TINY for x in seen[fuse])
    last = said(*seen[parts.classifier])
    flow = _through_layers(last / last.sum((1, 2), keepdim=True).clamp(min=TINY), after, seen, slope)
    temporal, maps = set(parts.temporal.modules()), []
    for part in (where, how):
        own = [m for m in before if (m in temporal) == (part is how)]
        heat = _through_layers(flow * part / (how + where), own, seen, slope)
        maps.append(F.interpolate(heat[:, None], model.config.image_size, mode="bilinear"))
    return maps[0], maps[1]


def _gathered(layer: nn.Module) -> nn.Module:
    """The part of a mixing layer that reads what its tokens gathered."""
    return layer.out if isinstance(layer, ManhattanRetention) else cast(SelfAttention, layer).proj


@torch.no_grad()
def _through_layers(flow: Flow, layers: Sequence[nn.Module], seen: Seen, slope: Slope) -> Flow:
    for layer in reversed(layers):
        (x,) = seen[layer]
        with torch.enable_grad():
            g = slope(*seen[_gathered(layer)])
        side = x.shape[1] if x.ndim == 4 else int(x.shape[1] ** 0.5)
        # From a coarse token to the four that it was made of, or back; what it holds is shared out.
        flow = F.adaptive_avg_pool2d(flow, side) * (flow.shape[1] / side) ** 2
        through = _through_lines if getattr(layer, "decomposed", False) else _through
        flow = (flow + through(flow, cast(Any, layer), x, g)) / 2
    return flow


def _through(flow: Flow, layer: ManhattanRetention | SelfAttention, x: Tensor, g: Tensor | None) -> Flow:
    """From what each token gave to the end to what each token of the layer's input gave."""
    weights = layer.weights(x)
    if g is not None:
        v = layer.v(x) if isinstance(layer, ManhattanRetention) else layer.qkv(x).chunk(3, -1)[2]
        g, v = (rearrange(t.flatten(1, -2), "b n (h d) -> b h n d", h=layer.heads) for t in (g, v))
        weights = _favouring(weights, g @ v.mT, (1, 3))
    given = torch.einsum("b q, b h q k -> b k", flow.flatten(1), weights) / layer.heads
    return rearrange(given, "b (y x) -> b y x", y=flow.shape[1])


def _through_lines(flow: Flow, layer: ManhattanRetention, x: Tensor, g: Tensor | None) -> Flow:
    """The same for decomposed retention, which mixes rows first and then columns."""
    rows, columns = layer.line_weights(x)
    if g is not None:
        g, v = (rearrange(t, "b y x (h d) -> b h y x d", h=layer.heads) for t in (g, layer.v(x)))
        between = torch.einsum("bhyxu, bhyud -> bhyxd", rows, v)
        rows = _favouring(rows, torch.einsum("bhxyv, bhyxd -> bhvxd", columns, g) @ v.mT, (4,))
        columns = _favouring(columns, torch.einsum("bhyxd, bhvxd -> bhxyv", g, between), (1, 4))
    return torch.einsum("b y x, b h x y v, b h v x u -> b v u", flow, columns, rows) / layer.heads


def _favouring(weights: Tensor, slope: Tensor, axes: tuple[int, ...]) -> Tensor:
    """(A ⊙ ∂f/∂A)⁺ with the sums of A along some axes; A itself where nothing speaks for the class."""
    good = (weights * slope).clamp(min=0)
    total = good.sum(axes, keepdim=True)
    return torch.where(total > 0, good * (weights.sum(axes, keepdim=True) / total.clamp(min=TINY)), weights)
