"""The two streams inside a trained model: what they carry and pass on, and what is lost without one.

Token Grad-CAM and attention rollout are maps from inside the network: where both streams meet, and what retention and
attention pass on.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from tsfmicro_lab.data.samples import Samples
from tsfmicro_lab.models import Recognizer
from tsfmicro_lab.models.retention import ManhattanRetention
from tsfmicro_lab.models.tsfmicro import StreamSum, TSFmicroEarly, TSFmicroS2T, TSFmicroT2S
from tsfmicro_lab.models.vit import SelfAttention, to_map
from tsfmicro_lab.training.metrics import scores

Inputs = Mapping[str, Tensor]
Seen = Mapping[nn.Module, tuple[Tensor, ...]]
Flow = Float[Tensor, "batch _ _"]
#: Layers that pass something from one token to another.
MIXING = ManhattanRetention | SelfAttention

#: What is done to one stream at test time: its weight is 0 (off), or its input is that of a clip of another subject, a
#: plain grey picture, noise as strong as the clip's own, or the mean of all other subjects.
INTERVENTIONS: dict[str, tuple[str, str]] = {
    "intact": ("", ""),
    "onset of another": ("onset", "another"),
    "mean onset": ("onset", "mean"),
    "onset grey": ("onset", "grey"),
    "onset noise": ("onset", "noise"),
    "where off": ("onset", "off"),
    "difference of another": ("difference", "another"),
    "how off": ("difference", "off"),
}


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
    hooks = [layer.register_forward_pre_hook(lambda layer, given: seen.update({layer: given})) for layer in layers]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def fuse_of(model: Recognizer) -> StreamSum:
    """The layer in which a fusion variant adds its streams; a ValueError for a model that has none."""
    fuse = getattr(model, "fuse", None)
    if not isinstance(fuse, StreamSum):
        raise ValueError(
            f"{model.name} reads {' and '.join(model.input_names)} and adds no two streams: "
            "choose a fusion variant such as tsfmicro_late"
        )
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
    fuse_of(model)
    if isinstance(model, TSFmicroEarly):
        raise ValueError(
            "TSFmicroEarly adds the onset frame to the difference before its first retention, so a rollout cannot tell "
            "its streams apart: choose another method or tsfmicro_late"
        )
    with inputs_seen(*(m for m in model.modules() if isinstance(m, MIXING))) as seen:
        model(**inputs)
    onset, grid = inputs["onset"], model.config.grid
    even = torch.full((len(onset), grid, grid), 1 / grid**2, device=onset.device)

    parts: Any = model  # a variant with two streams has both branches
    where = _through_layers(even, parts.spatial, seen)
    before = isinstance(model, TSFmicroT2S) and model.config.inject == "before"
    how = _through_layers(where if before else even, parts.temporal, seen)
    if isinstance(model, TSFmicroS2T):
        where = _through_layers(F.adaptive_avg_pool2d(how, grid), parts.spatial, seen)
    where, how = (F.interpolate(flow[:, None], onset.shape[-2:], mode="bilinear") for flow in (where, how))
    return where / where.sum((1, 2, 3), keepdim=True), how / how.sum((1, 2, 3), keepdim=True)


def _through_layers(flow: Flow, branch: nn.Module, seen: Seen) -> Flow:
    for layer in reversed([m for m in branch.modules() if isinstance(m, MIXING)]):
        (x,) = seen[layer]
        if x.ndim == 4 and x.shape[1] > flow.shape[1]:  # from a coarse token to the four that it was made of
            flow = F.interpolate(flow[:, None], scale_factor=2.0, mode="nearest")[:, 0] / 4
        if isinstance(layer, ManhattanRetention) and layer.decomposed:
            given = _through_lines(flow, *layer.line_weights(x))
        else:
            given = _through(flow, layer.weights(x))
        flow = (flow + given) / 2
    return flow


def _through(flow: Flow, weights: Float[Tensor, "batch heads n n"]) -> Flow:
    """From what each token gave to the end to what each token of the layer's input gave."""
    given = torch.einsum("b q, b h q k -> b k", flow.flatten(1), weights) / weights.shape[1]
    return rearrange(given, "b (y x) -> b y x", y=flow.shape[1])


def _through_lines(flow: Flow, rows: Tensor, columns: Tensor) -> Flow:
    """The same for decomposed retention, which mixes rows first and then columns."""
    return torch.einsum("b y x, b h x y v, b h v x u -> b v u", flow, columns, rows) / rows.shape[1]


@torch.no_grad()
def intervene(
    model: Recognizer, samples: Samples, index: Int64[np.ndarray, " n"], *, donors: int = 4, seed: int = 0
) -> pd.DataFrame:
    """Predicts clips under each of :data:`INTERVENTIONS`.

    A stream whose removal changes nothing was not used. If removal costs more than a grey picture or noise in its
    place, the stream gave a constant that the network counts on, and nothing about this clip. If it bears a swap, but
    not grey, it gave something that all faces share.

    Args:
        model: A trained fusion variant.
        samples: All samples, from which the donors of a swap are drawn.
        index: Clips to predict, of subjects that the model was not trained on.
        donors: Clips of other subjects for each swap, and draws of the noise.
        seed: Of the draws.

    Returns:
        One row per clip, intervention and donor: `subject`, `intervention`, `truth`, `predicted`, `p_truth`.
    """
    names, rng = np.array(samples.classes, dtype=object), np.random.default_rng(seed)
    inputs = model.eval().inputs_of(samples)
    others = [np.flatnonzero(samples.subjects != samples.subjects[i]) for i in index]
    if not all(map(len, others)):
        raise ValueError("all samples are of one subject: a swap needs another")
    swapped = np.stack([rng.choice(rows, donors) for rows in others])
    labels, tables = samples.label.cpu().numpy()[index], []
    for name, (stream, what) in INTERVENTIONS.items():
        for given in swapped.T if what in ("another", "noise") else swapped.T[:1]:
            changed = {n: x[index] for n, x in inputs.items()}
            if what not in ("", "off"):
                changed[stream] = _substitute(what, inputs[stream], index, given, others, rng)
            with stream_weights(model, **({stream: 0.0} if what == "off" else {})):
                logits = model(**changed)
            p = logits.float().softmax(-1).cpu().numpy()
            about = {"subject": samples.subjects[index], "intervention": name, "truth": names[labels]}
            said = {"predicted": names[p.argmax(1)], "p_truth": p[np.arange(len(p)), labels]}
            tables.append(pd.DataFrame(about | said))
    return pd.concat(tables, ignore_index=True)


def _substitute(
    what: str, x: Tensor, index: np.ndarray, donors: np.ndarray, others: list[np.ndarray], rng: np.random.Generator
) -> Tensor:
    """What stands in for an input; grey is the mean colour, 0 after normalisation."""
    if what == "another":
        return x[donors]
    if what == "mean":
        return torch.stack([x[rows].mean(0) for rows in others])
    own = x[index]
    noise = torch.from_numpy(rng.standard_normal(own.shape, np.float32)).to(x.device)
    axes: Any = {"dim": (2, 3), "keepdim": True}
    return own.mean(**axes) + own.std(**axes) * noise if what == "noise" else torch.zeros_like(own)


def intervention_scores(table: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    """UF1 under each intervention of :func:`intervene`, mean probability of the true class, UF1 lost by it."""
    groups = table.groupby("intervention", sort=False)
    uf1 = {name: scores(list(group.truth), list(group.predicted), classes)["uf1"] for name, group in groups}
    result = pd.DataFrame({"uf1": pd.Series(uf1), "p_truth": groups.p_truth.mean()})
    return result.assign(lost=uf1["intact"] - result.uf1).rename_axis("intervention").reset_index()
