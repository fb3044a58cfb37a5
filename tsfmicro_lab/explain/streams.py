"""The two streams inside a trained model: what they carry, and what is lost without one or with somebody else's."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from tsfmicro_lab.data.samples import Samples
from tsfmicro_lab.models import Recognizer
from tsfmicro_lab.models.tsfmicro import StreamSum
from tsfmicro_lab.models.vit import to_map
from tsfmicro_lab.training.metrics import scores

#: What is done at test time: the weight of each stream, and the input that is taken from a clip of another subject.
INTERVENTIONS: dict[str, tuple[dict[str, float], str | None]] = {
    "intact": ({}, None),
    "onset of another": ({}, "onset"),
    "where off": ({"onset": 0.0}, None),
    "difference of another": ({}, "difference"),
    "how off": ({"difference": 0.0}, None),
}


@contextmanager
def stream_weights(model: Recognizer, *, onset: float = 1.0, difference: float = 1.0) -> Iterator[None]:
    """Weighs the two streams of a fusion variant differently for a while; both have weight 1 in training.

    Raises:
        ValueError: The model adds no streams.

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


@dataclass(frozen=True)
class StreamActivations:
    """Activations of one sample on its way through a fusion variant.

    Attributes:
        logits: One per class.
        streams: For `onset` and `difference`, how much each token stands out where the streams are added, weights
            included: the norm of its vector, measured from the mean over all tokens (a layer norm may have made all
            vectors equally long).
        evidence: Per class, what each token says for it (class activation map); the mean is the logit, less the bias.
    """

    logits: Float[np.ndarray, " classes"]
    streams: dict[str, Float[np.ndarray, "fine fine"]] = field(repr=False)
    evidence: Float[np.ndarray, "classes grid grid"] = field(repr=False)


@torch.no_grad()
def stream_activations(model: Recognizer, inputs: Mapping[str, Tensor]) -> StreamActivations:
    """Runs one sample through a fusion variant and keeps both streams and the class activation maps.

    Args:
        model: A fusion variant; left in evaluation mode.
        inputs: `onset` and `difference`, normalised, (1, 3, H, W).
    """
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


@torch.no_grad()
def intervene(
    model: Recognizer, samples: Samples, index: Int64[np.ndarray, " n"], *, donors: int = 4, seed: int = 0
) -> pd.DataFrame:
    """Predicts clips under each of :data:`INTERVENTIONS`.

    A stream whose removal changes nothing was not used. A stream whose *swap* changes nothing, though its removal does,
    is used, but not for what is particular to this person.

    Args:
        model: A trained fusion variant.
        samples: All samples.
        index: Clips to predict, of subjects that the model was not trained on.
        donors: Clips of other subjects drawn for each swap.
        seed: Of the draw.

    Returns:
        One row per clip, intervention and donor: `subject`, `intervention`, `truth`, `predicted`, `p_truth`.
    """
    names, rng = np.array(samples.classes, dtype=object), np.random.default_rng(seed)
    inputs = model.eval().inputs_of(samples)
    swapped = np.stack([_donors(samples, i, donors, rng) for i in index.tolist()])
    labels = samples.label.numpy()[index]
    tables = []
    for name, (weights, swap) in INTERVENTIONS.items():
        for others in swapped.T if swap else (index,):
            rows = {n: torch.from_numpy(others if n == swap else index) for n in inputs}
            with stream_weights(model, **weights):
                logits = model(**{n: x[rows[n].to(x.device)] for n, x in inputs.items()})
            p = logits.float().softmax(-1).cpu().numpy()
            about = {"subject": samples.subjects[index], "intervention": name, "truth": names[labels]}
            said = {"predicted": names[p.argmax(1)], "p_truth": p[np.arange(len(p)), labels]}
            tables.append(pd.DataFrame(about | said))
    return pd.concat(tables, ignore_index=True)


def intervention_scores(table: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    """UF1 under each intervention of :func:`intervene`, mean probability of the true class, UF1 lost by it."""
    groups = table.groupby("intervention", sort=False)
    uf1 = {name: scores(list(group.truth), list(group.predicted), classes)["uf1"] for name, group in groups}
    result = pd.DataFrame({"uf1": pd.Series(uf1), "p_truth": groups.p_truth.mean()})
    return result.assign(lost=uf1["intact"] - result.uf1).rename_axis("intervention").reset_index()


def _donors(samples: Samples, i: int, count: int, rng: np.random.Generator) -> np.ndarray:
    others = np.flatnonzero(samples.subjects != samples.subjects[i])
    if not len(others):
        raise ValueError("all samples are of one subject: a swap needs another")
    return rng.choice(others, count)
