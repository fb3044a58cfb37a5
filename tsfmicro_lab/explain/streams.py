"""The two streams inside a trained model: what they carry, and what is lost without one or with somebody else's."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from tsfmicro_lab.data.samples import Samples
from tsfmicro_lab.models import TSFmicro
from tsfmicro_lab.models.spatial import to_map
from tsfmicro_lab.models.tsfmicro import StreamSum
from tsfmicro_lab.training.augmentation import inputs_of
from tsfmicro_lab.training.metrics import scores


@dataclass(frozen=True)
class Intervention:
    """What is done to the two streams at test time.

    Attributes:
        how_weight: Factor of the stream of the difference frame, where the streams are added.
        where_weight: Factor of the stream of the onset frame.
        swap: Input that is taken from a clip of another subject.
    """

    how_weight: float = 1.0
    where_weight: float = 1.0
    swap: str | None = None


INTERVENTIONS = {
    "intact": Intervention(),
    "onset of another": Intervention(swap="onset"),
    "where off": Intervention(where_weight=0.0),
    "difference of another": Intervention(swap="difference"),
    "how off": Intervention(how_weight=0.0),
}


@contextmanager
def stream_weights(model: TSFmicro, how: float, where: float) -> Iterator[None]:
    """Weighs the two streams differently for a while.

    Args:
        model: A fusion variant.
        how: Factor of the difference's stream where both are added, 1 in training.
        where: Factor of the onset frame's stream, 1 in training.

    Raises:
        ValueError: The model has one stream only.

    Example:
        >>> from tsfmicro_lab.models import create_model
        >>> model = create_model("tsfmicro_late", 3).eval()
        >>> x = [torch.randn(2, 3, 56, 56) for _ in model.input_names]
        >>> with stream_weights(model, how=0, where=1):
        ...     print(torch.equal(model(x[0], x[1]), model(x[0], -x[1])))
        True
    """
    fuse = fuse_of(model)
    before = fuse.how_weight, fuse.where_weight
    fuse.how_weight, fuse.where_weight = how, where
    try:
        yield
    finally:
        fuse.how_weight, fuse.where_weight = before


@dataclass(frozen=True)
class Inside:
    """What one sample looks like on its way through a fusion variant.

    Attributes:
        logits: One per class.
        how: How much each place stands out in the difference's stream, where the streams are added: the length of its
            vector, measured from the mean over all places (a layer norm may have made all vectors equally long).
        where: The same for the onset frame's stream.
        evidence: Per class, what each place says for it; the mean over places is the logit, less the class's bias.
    """

    logits: Float[np.ndarray, " classes"]
    how: Float[np.ndarray, "fine fine"] = field(repr=False)
    where: Float[np.ndarray, "fine fine"] = field(repr=False)
    evidence: Float[np.ndarray, "classes grid grid"] = field(repr=False)


@torch.no_grad()
def look_inside(model: TSFmicro, inputs: Mapping[str, Tensor]) -> Inside:
    """Runs one sample and keeps both streams and the evidence map.

    Args:
        model: A fusion variant; left in evaluation mode.
        inputs: `onset` and `difference`, normalised, (1, 3, H, W).

    Returns:
        Maps on the grids where the network holds them, weights of the streams included.

    Raises:
        ValueError: The model has one stream only.

    Example:
        >>> from tsfmicro_lab.models import create_model
        >>> model = create_model("tsfmicro_early", 3, seed=0)
        >>> inside = look_inside(model, {name: torch.randn(1, 3, 56, 56) for name in model.input_names})
        >>> inside.how.shape, inside.evidence.shape
        ((28, 28), (3, 14, 14))
    """
    fuse = fuse_of(model)
    seen: dict[str, Any] = {}
    hooks = [
        fuse.register_forward_pre_hook(lambda _, arguments: seen.update(streams=arguments)),
        model.classifier.register_forward_pre_hook(lambda _, arguments: seen.update(last=arguments[0])),
    ]
    try:
        logits = model.eval()(*(inputs[name] for name in model.input_names))
    finally:
        for hook in hooks:
            hook.remove()
    maps = [stream if stream.ndim == 4 else to_map(stream) for stream in seen["streams"]]
    how, where = ((x[0] - x[0].mean((1, 2), keepdim=True)).float().norm(dim=0).cpu().numpy() for x in maps)
    return Inside(
        logits=logits[0].float().cpu().numpy(),
        how=abs(fuse.how_weight) * how,
        where=abs(fuse.where_weight) * where,
        evidence=model.classifier.evidence(seen["last"])[0].float().cpu().numpy(),
    )


def fuse_of(model: TSFmicro) -> StreamSum:
    """The place where a fusion variant adds its streams.

    Raises:
        ValueError: The model has one stream only.
    """
    fuse = getattr(model, "fuse", None)
    if not isinstance(fuse, StreamSum):
        raise ValueError(f"{model.name} reads {' and '.join(model.input_names)} alone: there is nothing to weigh")
    return fuse


@torch.no_grad()
def intervene(
    model: TSFmicro, samples: Samples, index: Int64[np.ndarray, " n"], *, donors: int = 4, seed: int = 0
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

    Raises:
        ValueError: The model has one stream only, or there is no other subject to swap with.

    Example:
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions, prepare
        >>> from tsfmicro_lab.models import create_model
        >>> samples = prepare(SyntheticMicroExpressions(2, 5, image_size=64), 56, progress=False)
        >>> table = intervene(create_model("tsfmicro_late", 5), samples, np.arange(5), donors=2)
        >>> table.intervention.value_counts(sort=False).tolist()
        [5, 10, 5, 10, 5]
    """
    model.eval()
    device = next(model.parameters()).device
    names = np.array(samples.classes, dtype=object)
    rng = np.random.default_rng(seed)
    inputs = {n: x.to(device) for n, x in inputs_of(samples.pick(torch.arange(len(samples)))).items()}
    swapped = np.stack([_donors(samples, i, donors, rng) for i in index.tolist()])
    tables = []
    for name, change in INTERVENTIONS.items():
        for others in swapped.T if change.swap else (index,):
            rows = {n: torch.from_numpy(others if n == change.swap else index) for n in inputs}
            batch = {n: x[rows[n].to(device)] for n, x in inputs.items()}
            with stream_weights(model, change.how_weight, change.where_weight):
                logits = model(*(batch[n] for n in model.input_names))
            p = logits.float().softmax(-1).cpu().numpy()
            labels = samples.label.numpy()[index]
            tables.append(
                pd.DataFrame(
                    {
                        "subject": samples.subjects[index],
                        "intervention": name,
                        "truth": names[labels],
                        "predicted": names[p.argmax(1)],
                        "p_truth": p[np.arange(len(p)), labels],
                    }
                )
            )
    return pd.concat(tables, ignore_index=True)


def intervention_scores(table: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    """UF1 under each intervention and what it lost against the intact model.

    Args:
        table: From :func:`intervene`, all folds together.
        classes: All classes.

    Returns:
        One row per intervention: `intervention`, `uf1`, `lost`, `p_truth` (mean probability of the true class).
    """
    rows = []
    for name, group in table.groupby("intervention", sort=False):
        uf1 = scores(list(group.truth), list(group.predicted), classes)["uf1"]
        rows.append({"intervention": name, "uf1": uf1, "p_truth": float(group.p_truth.mean())})
    result = pd.DataFrame(rows)
    intact = float(result.uf1[result.intervention == "intact"].iloc[0])
    return result.assign(lost=intact - result.uf1)


def _donors(samples: Samples, i: int, count: int, rng: np.random.Generator) -> np.ndarray:
    others = np.flatnonzero(samples.subjects != samples.subjects[i])
    if not len(others):
        raise ValueError("all samples are of one subject: a swap needs another")
    return rng.choice(others, count)
