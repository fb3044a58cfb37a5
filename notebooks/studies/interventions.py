"""What a trained fusion variant loses when one of its streams is taken away or replaced at test time."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int64
from torch import Tensor

from tsfmicro_lab.data import Samples
from tsfmicro_lab.explain.streams import stream_weights
from tsfmicro_lab.models import Recognizer
from tsfmicro_lab.training.metrics import scores

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


@torch.no_grad()
def intervene(
    model: Recognizer, samples: Samples, index: Int64[np.ndarray, " n"], *, donors: int = 4, seed: int = 0
) -> pd.DataFrame:
    """Predicts clips under each of :data:`INTERVENTIONS`.

    A stream whose removal changes nothing is not needed; it may still mislead, if a false picture there does harm. If
    removal costs more than grey or noise, the stream gave a constant that the network counts on, and nothing about
    this clip. If it bears a swap, but not grey, it gave something that all faces share.

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
