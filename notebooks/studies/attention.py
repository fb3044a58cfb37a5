"""Attention and retention taken apart, for notebook 02: weights over a face, one term less, the largest tensor."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tsfmicro_lab.explain.figures import Picture
from tsfmicro_lab.models.retention import Grid, ManhattanRetention, rotate

#: What a layer of Manhattan retention is made of besides its projections.
TERMS = ("rotation", "1/√d", "decay", "5×5 convolution")


def weights_figure(
    maps: Mapping[str, Tensor | np.ndarray],
    query: tuple[int, int] | None = None,
    limit: float | None = None,
    label: str = "weight",
    width: float = 2.5,
) -> Picture:
    """Maps side by side on one scale; pictures (side, side, 3) are shown as they are; the query in orange.

    Args:
        maps: By title.
        query: Row and column of the token that asks.
        limit: End of the scale; the largest value by default.
        label: Of the scale.
        width: Of each map, inches.

    Example:
        >>> len(weights_figure({"even": torch.ones(14, 14), "one": torch.eye(14)}, (7, 7)).axes)
        3
    """
    shown = {title: np.asarray(values) for title, values in maps.items()}
    top = limit or max((float(m.max()) for m in shown.values() if m.ndim == 2), default=1.0)
    figure = Picture(figsize=(width * len(shown) + 0.6, width + 0.3), layout="constrained")
    drawn = None
    for axis, (title, values) in zip(np.ravel(figure.subplots(1, len(shown))), shown.items(), strict=True):
        image = axis.imshow(values, **({"vmin": 0, "vmax": top} if values.ndim == 2 else {}))
        drawn = image if values.ndim == 2 else drawn
        axis.set_title(title, fontsize=10)
        axis.set(xticks=[], yticks=[])
        if query:
            scale = len(values) / 14 if values.ndim == 3 else 1
            y, x = ((p + 0.5) * scale - 0.5 for p in query)
            axis.plot(x, y, "s", color="#D55E00", markersize=6, fillstyle="none", markeredgewidth=2)
    if drawn is not None:
        figure.colorbar(drawn, ax=figure.axes, label=label)
    return figure


def without_terms(layer: ManhattanRetention, x: Grid, left_out: Collection[str] = (), order: str = "before") -> Grid:
    """What a layer of retention over all pairs would answer without some of :data:`TERMS`; with all, the same.

    Args:
        layer: Trained or not; it is left as it was.
        x: What it reads.
        left_out: Some of :data:`TERMS`.
        order: Whether the decay comes `before` the softmax, as in the code of RMT, or `after` it, as in its paper.

    Example:
        >>> layer = ManhattanRetention(8, heads=2, grid=3)
        >>> x = torch.randn(1, 3, 3, 8)
        >>> torch.allclose(without_terms(layer, x), layer(x), atol=1e-6)
        True
    """
    q, k, v = (rearrange(f(x), "b y x (h d) -> b h (y x) d", h=layer.heads) for f in (layer.q, layer.k, layer.v))
    if "rotation" not in left_out:
        q, k = (rotate(t, layer.sin, layer.cos) for t in (q, k))
    logits = q @ k.mT * (1 if "1/√d" in left_out else layer.scale)
    bias = torch.zeros_like(layer.bias) if "decay" in left_out else layer.bias
    weights = (logits + bias).softmax(-1) if order == "before" else logits.softmax(-1) * bias.exp()
    gathered = rearrange(weights @ v, "b h (y x) d -> b y x (h d)", y=layer.grid)
    return layer.out(gathered if "5×5 convolution" in left_out else gathered + layer.local(layer.v(x)))


class Largest(TorchDispatchMode):
    """While it is on, remembers how many numbers the largest tensor holds that any operation makes.

    Example:
        >>> with Largest() as largest:
        ...     _ = torch.ones(5, 2) @ torch.ones(2, 5)
        >>> largest.numbers
        25
    """

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs an operation and looks at what it makes."""
        made = func(*args, **(kwargs or {}))
        several = made if isinstance(made, tuple | list) else (made,)
        self.numbers = max(self.numbers, *(t.numel() for t in several if isinstance(t, Tensor)), 0)
        return made


def largest_tensor(call: Callable[..., Any], *arguments: Any) -> int:
    """Numbers in the largest tensor that a call makes."""
    with Largest() as largest:
        call(*arguments)
    return largest.numbers


def share_elsewhere(a: Float[Tensor, "*rows n"], b: Float[Tensor, "*rows n"]) -> float:
    """Share of the weight that one attention puts elsewhere than another: 0 if they agree, 1 if they never meet."""
    return float((a - b).abs().sum(-1).mean() / 2)
