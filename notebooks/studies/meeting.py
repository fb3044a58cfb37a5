"""Where the streams of a variant meet: what has been seen of the face by then, and what can still be combined."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from tsfmicro_lab.explain.figures import Picture
from tsfmicro_lab.explain.streams import fuse_of
from tsfmicro_lab.models import Recognizer, create_model
from tsfmicro_lab.models.vit import to_map

#: Share of the largest value below which a map counts as zero.
NOTHING = 1e-9


class Meeting(NamedTuple):
    """One position of the grid on which a variant adds its streams: the middle one.

    Attributes:
        seen: How strongly each pixel of the onset frame acts on the onset's stream at this position, before the sum.
        combined: How strongly the motion that arrives at this position acts on what the logits make of the layout at
            each position: a second derivative of the network behind the sum, 0 where both can only be added.
    """

    seen: Float[np.ndarray, "side side"]
    combined: Float[np.ndarray, "grid grid"]


def five_variants(seed: int = 0) -> dict[str, Recognizer]:
    """The fusion variants in the size `tiny`, with parameters drawn by a seed, by their short names."""
    settings: dict[str, dict[str, str]] = {"early": {}, "t2s before": {"inject": "before"}}
    settings |= {"t2s after": {"inject": "after"}, "s2t": {}, "late": {}}
    return {name: create_model(f"tsfmicro_{name.split()[0]}", 5, seed=seed, **own) for name, own in settings.items()}


def meeting(model: Recognizer, seed: int = 0) -> Meeting:
    """Follows both streams of a variant through their sum, with noise for a clip, by derivatives.

    Example:
        >>> found = meeting(create_model("tsfmicro_late", 5))
        >>> float((found.seen > 0).mean()), int((found.combined > 0).sum())
        (1.0, 1)
    """
    draw, fuse = torch.Generator().manual_seed(seed), fuse_of(model.eval())
    streams: list[Tensor] = []

    def keep(_: torch.nn.Module, given: tuple[Tensor, ...], total: Tensor) -> None:
        streams.extend((given[1], total))

    inputs = {n: torch.randn(1, *s, generator=draw).requires_grad_() for n, s in model.input_shapes.items()}
    hook = fuse.register_forward_hook(keep)
    with sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
        logits = model(**inputs)
    hook.remove()
    where, total = streams
    (from_pixels,) = torch.autograd.grad(_middle(where, draw), inputs["onset"], retain_graph=True)
    score = (logits * torch.randn(logits.shape, generator=draw)).sum()
    (slope,) = torch.autograd.grad(score, total, create_graph=True)
    (crossed,) = torch.autograd.grad(_middle(slope, draw), total)
    return Meeting(_sizes(from_pixels), _sizes(crossed))


def meeting_table(models: Mapping[str, Recognizer]) -> pd.DataFrame:
    """A row for each variant: the grid of its sum, the share of the onset frame seen, of the positions combined."""
    rows = []
    for name, model in models.items():
        seen, combined = meeting(model)
        shares = {"onset frame seen": float((seen > 0).mean()), "positions combined": float((combined > 0).mean())}
        rows.append({"variant": name, "grid": len(combined), **shares})
    return pd.DataFrame(rows)


def meeting_figure(models: Mapping[str, Recognizer]) -> Picture:
    """The maps of :func:`meeting`, a column for each variant; white is nothing at all, the scale logarithmic."""
    figure = Picture(figsize=(2.1 * len(models), 4.6), layout="constrained")
    axes = figure.subplots(2, len(models), squeeze=False)
    for column, (name, model) in zip(axes.T, models.items(), strict=True):
        found = meeting(model)
        for axis, values in zip(column, found, strict=True):
            shown = np.log10(np.where(values > 0, values / values.max(), np.nan))
            drawn = axis.imshow(shown, cmap="Blues", vmin=-4, vmax=0)
            axis.set(xticks=[], yticks=[])
        column[0].set_title(f"{name}\nsum on {len(found.combined)}×{len(found.combined)}", fontsize=10)
    axes[0, 0].set_ylabel("onset frame, seen\nbefore the sum", fontsize=9)
    axes[1, 0].set_ylabel("layout that motion in the\nmiddle combines with", fontsize=9)
    figure.colorbar(drawn, ax=axes, label="share of the largest, as a power of 10", shrink=0.8)
    return figure


def _middle(x: Tensor, draw: torch.Generator) -> Tensor:
    """A random mixture of the channels in the middle of a map."""
    grid = _grid(x)[0]
    here = grid[:, grid.shape[1] // 2, grid.shape[2] // 2]
    return (here * torch.randn(here.shape, generator=draw)).sum()


def _sizes(x: Tensor) -> np.ndarray:
    """Length of the vector at each position; 0 where it is rounding."""
    sizes = np.asarray(_grid(x.detach())[0].norm(dim=0).numpy())
    return np.where(sizes > NOTHING * sizes.max(), sizes, 0.0)


def _grid(x: Tensor) -> Tensor:
    return x if x.ndim == 4 else to_map(x)
