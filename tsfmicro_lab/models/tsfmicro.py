"""TSFmicro: a retention branch reads how the face moved, a transformer branch reads where things lie on it.

Liu, Nan, Qian, Fu, "Temporal and Spatial Feature Fusion Framework for Dynamic Micro Expression Recognition",
arXiv 2505.16372 (2025). Written from the paper and checked against logits of its public code; `base` is the paper's
size, `small` and `tiny` are ours: each halves the image and leaves out the first stage of the pyramid, so that the last
grid, and with it the thumbnail of the spatial branch, always has 14×14 places.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tsfmicro_lab.models.base import Recognizer
from tsfmicro_lab.models.spatial import ThumbnailViT
from tsfmicro_lab.models.temporal import RetentionPyramid

Image = Float[Tensor, "batch 3 height width"]
Map = Float[Tensor, "batch dim grid_h grid_w"]
Logits = Float[Tensor, "batch classes"]


@dataclass(frozen=True)
class TSFmicroConfig:
    """The sizes of a TSFmicro network.

    Attributes:
        num_classes: Emotions to tell apart.
        image_size: Side of the aligned face, pixels.
        dims: Channels of each stage of the temporal pyramid; the last is also the width of the spatial branch.
        depths: Retention blocks of each stage.
        decomposed: Per stage, retention along rows and columns instead of over all pairs of places.
        spreads: Per stage, b of the decay rule (:func:`~tsfmicro_lab.models.retention.head_decay`).
        heads: Retention heads in every block.
        drop_path: Stochastic depth of the last retention block.
        spatial_depth: Transformer blocks of the spatial branch.
        spatial_heads: Attention heads of the spatial branch.
        inject: For T→S: whether the motion joins the onset's tokens `before` the transformer, as in the paper's
            figure, or `after` it, as in the public code.
        classes: Names of the emotions, where they are known: a saved model brings them along.
        init_std: Spread of the initial weights of linear layers. The public code's 0.02 suits 512 channels; narrow
            layers start closer to 1 / sqrt(channels).

    Example:
        >>> TSFmicroConfig(image_size=224).grid
        14
    """

    num_classes: int = 5
    image_size: int = 224
    dims: Sequence[int] = (64, 128, 256, 512)
    depths: Sequence[int] = (1, 1, 2, 1)
    decomposed: Sequence[bool] = (True, True, False, False)
    spreads: Sequence[float] = (4.0, 4.0, 6.0, 6.0)
    heads: int = 2
    drop_path: float = 0.1
    spatial_depth: int = 2
    spatial_heads: int = 4
    inject: str = "before"
    init_std: float = 0.02
    classes: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.classes and len(self.classes) != self.num_classes:
            raise ValueError(f"{self.num_classes} classes, but {len(self.classes)} names: {', '.join(self.classes)}")
        if self.inject not in ("before", "after"):
            raise ValueError(f"inject must be 'before' or 'after', got '{self.inject}'")

    @property
    def grid(self) -> int:
        """Side of the last grid, in tokens."""
        return self.image_size >> len(self.dims)


PRESETS: dict[str, dict[str, Any]] = {
    "base": {},
    "small": {
        "image_size": 112,
        "dims": (48, 96, 192),
        "depths": (1, 2, 1),
        "decomposed": (True, False, False),
        "spreads": (4.0, 6.0, 6.0),
        "init_std": 0.05,
    },
    "tiny": {
        "image_size": 56,
        "dims": (24, 48),
        "depths": (1, 1),
        "decomposed": (True, False),
        "spreads": (6.0, 6.0),
        "spatial_depth": 1,
        "init_std": 0.1,
    },
}


class Classifier(nn.Module):
    """1×1 expansion to twice the channels, batch norm, SiLU, mean over the map, one linear layer.

    Shape:
        (B, dim, g, g) → (B, num_classes).

    Example:
        >>> Classifier(8, num_classes=3)(torch.randn(2, 8, 14, 14)).shape
        torch.Size([2, 3])
    """

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        self.expand, self.norm = nn.Linear(dim, 2 * dim), nn.BatchNorm2d(2 * dim)
        self.head = nn.Linear(2 * dim, num_classes)

    def features(self, x: Map) -> Float[Tensor, "batch wide grid_h grid_w"]:
        """Returns what the last layer averages over the map."""
        x = self.expand(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return nn.functional.silu(self.norm(x))

    def evidence(self, x: Map) -> Float[Tensor, "batch classes grid_h grid_w"]:
        """What each place says for each class: the mean over all places is the logit, less its bias.

        No gradient is needed, since the last layer is linear (Zhou et al., CVPR 2016, class activation maps).
        """
        return torch.einsum("b d y x, c d -> b c y x", self.features(x), self.head.weight)

    def forward(self, x: Map) -> Logits:
        """Returns the logits."""
        logits: Tensor = self.head(self.features(x).mean((-2, -1)))
        return logits


class StreamSum(nn.Module):
    """Fusion by addition: how + where, both of weight 1 in every variant.

    The weights are no parameters. The lab moves them to ask what a trained model does when a stream is weakened (0.5)
    or switched off (0).

    Shape:
        Two tensors of the same shape → their sum.

    Example:
        >>> fuse = StreamSum()
        >>> fuse.where_weight = 0.5
        >>> fuse(torch.ones(1), torch.ones(1))
        tensor([1.5000])
    """

    def __init__(self) -> None:
        super().__init__()
        self.how_weight = 1.0
        self.where_weight = 1.0

    def forward(self, how: Float[Tensor, "*shape"], where: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Returns the weighted sum."""
        return self.how_weight * how + self.where_weight * where


class TSFmicro(Recognizer):
    """What every variant shares: the onset frame answers *where*, the difference frame *how*.

    Args:
        config: Sizes; defaults are the paper's.
    """

    origin = "written from arXiv 2505.16372; meets the reference logits of its public code at base size"
    Config = TSFmicroConfig
    presets = PRESETS
    config: TSFmicroConfig
    classifier: Classifier

    def _temporal(self, c: TSFmicroConfig) -> RetentionPyramid:
        return RetentionPyramid(
            c.image_size // 2, c.dims, c.depths, c.heads, c.decomposed, c.spreads, drop_path=c.drop_path
        )

    def _spatial(self, c: TSFmicroConfig) -> ThumbnailViT:
        return ThumbnailViT(c.grid, c.dims[-1], c.spatial_depth, c.spatial_heads)

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=self.config.init_std)
            nn.init.zeros_(module.bias)
