"""A task for fusion in which the onset frame differs only in what a thumbnail of 14×14 cannot show."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from tsfmicro_lab.models import Recognizer
from tsfmicro_lab.models.base import Image
from tsfmicro_lab.models.vit import Thumbnail

Batch = tuple[Image, Image, Int64[Tensor, " n"]]


def hidden_stripes(thumbnail: Thumbnail, size: int) -> Float[Tensor, "size size"]:
    """Upright stripes of one pixel, changed so little that the thumbnail shows none of them.

    The thumbnail is linear, so what it cannot show is a subspace: the stripes are projected onto it.

    Example:
        >>> stripes = hidden_stripes(Thumbnail(14), 56)
        >>> bool(stripes.std() > 0.9), bool(Thumbnail(14)(stripes.expand(1, 3, 56, 56)).abs().max() < 1e-6)
        (True, True)
    """
    rows = torch.eye(size).reshape(size, 1, 1, size).expand(-1, 3, size, -1)
    shrinks = thumbnail(rows)[:, 0, 0].T  # what a row of pixels becomes
    cannot_show = torch.eye(size) - torch.linalg.pinv(shrinks) @ shrinks
    stripes = cannot_show @ (torch.arange(size) % 2 * 2.0 - 1)
    return stripes.expand(size, size)


def exclusive_or(stripes: Float[Tensor, "size size"], number: int, generator: torch.Generator) -> Batch:
    """Onset frames with upright or level stripes, differences with a bright or a dark spot anywhere; two classes.

    The class is whether exactly one of *upright* and *bright* holds, so neither frame alone says anything about it.
    """
    size = len(stripes)
    level, bright = torch.randint(0, 2, (2, number), generator=generator)
    y, x = torch.randint(size // 5, size - size // 5, (2, number, 1, 1), generator=generator)
    line = torch.arange(size)
    spot = torch.exp(-((line[:, None] - y) ** 2 + (line - x) ** 2) / 50)
    onset = torch.where(level[:, None, None] > 0, stripes.T, stripes)
    difference = spot * (2 * bright - 1)[:, None, None]
    return (*(t[:, None].expand(-1, 3, -1, -1).contiguous() for t in (onset, difference)), level ^ bright)


def learn(
    model: Recognizer, draw: Callable[[int], Batch], steps: int, batch_size: int = 8, lr: float = 3e-3, seed: int = 0
) -> list[float]:
    """Trains a fusion variant on clips that are drawn anew for every step; returns the loss of each step.

    The seed is of what the model drops while it learns, so that the same call gives the same network.
    """
    optimizer, losses = torch.optim.AdamW(model.train().parameters(), lr), []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(steps):
            onset, difference, label = draw(batch_size)
            loss = F.cross_entropy(model(onset=onset, difference=difference), label)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(float(loss.detach()))
    model.eval()
    return losses


@torch.no_grad()
def accuracy(model: Recognizer, batch: Batch) -> float:
    """Share of the clips that a model gets right."""
    onset, difference, label = batch
    return float((model.eval()(onset=onset, difference=difference).argmax(1) == label).float().mean())
