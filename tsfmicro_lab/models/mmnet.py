"""MMNet: attention that is handed on from stage to stage reads the motion, a thumbnail of the face tells where it is.

Li, Sui, Zhu, Zhao, "MMNet: Muscle Motion-Guided Network for Micro-Expression Recognition", IJCAI 2022, arXiv
2201.05297. Of the paper the abstract and a figure were read; written from notes on its public code (muse1998/MMNet, no
licence), whose logits it meets. `base` is its form for five classes, `three` that for three; `tiny` is ours. Its first
weights are drawn as there, but for those of the first convolution, which are drawn as all others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from tsfmicro_lab.models.base import ORIGINS, Image, Logits, ModelConfig, Recognizer, sizes
from tsfmicro_lab.models.retention import DropPath
from tsfmicro_lab.models.tsfmicro import RetentionPyramid, StreamSum, TSFmicroConfig
from tsfmicro_lab.models.vit import Map, SpatialAttention, ThumbnailViT, conv_bn, draw_linear

Stage = Float[Tensor, "batch wider height width"]
#: How much each place counts.
Weights = Float[Tensor, "batch 1 _ _"]


@dataclass(frozen=True)
class MMNetConfig(ModelConfig):
    """The sizes of an MMNet.

    Attributes:
        stem: Channels of the first convolution.
        dims: Channels of each stage of the motion branch; the last is also the width of the position branch.
        temporal: What the stages are: continuous `attention`, or TSFmicro's `retention` in the same body, an ablation.
        spatial_depth, spatial_heads, widen, drop_path: Of the position branch: its blocks, their attention heads, how
            many times wider their perceptrons are, and the stochastic depth of the last.
        init_std: Standard deviation of the initial weights of the transformer's linear layers.
    """

    stem: int = 180
    dims: Sequence[int] = (128, 128, 256, 512)
    temporal: Literal["attention", "retention"] = "attention"
    spatial_depth: int = 2
    spatial_heads: int = 4
    widen: int = 4
    drop_path: float = 0.0
    init_std: float = 0.02


class AttendedBlock(nn.Module):
    """Residual block, whose output is weighted place by place; its weights are multiplied by those of the stage before.

    x, a' → o = relu(body(x) + shortcut(x)), a = attention(o) · maxpool(a') → o · a, a
    """

    def __init__(self, i: int, o: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv_bn(i, o, 3, stride), nn.ReLU(), conv_bn(o, o, 1))
        self.shortcut = conv_bn(i, o, 1, stride) if stride > 1 else nn.Identity()
        self.attention = SpatialAttention()

    def forward(self, x: Map, before: Weights | None) -> tuple[Stage, Weights]:
        """Returns the weighted map and the weights."""
        out = torch.relu(self.body(x) + self.shortcut(x))
        weights = self.attention(out)
        if before is not None:
            weights = weights * F.max_pool2d(before, 3, stride=2, padding=1)
        return out * weights, weights


class ContinuousAttention(nn.Module):
    """The motion branch: stages of :class:`AttendedBlock`; all but the first halve the map."""

    def __init__(self, dims: Sequence[int]) -> None:
        super().__init__()
        steps = [(dims[0], dims[0], 1), *((i, o, 2) for i, o in pairwise(dims))]
        self.stages = nn.ModuleDict({f"layer{n}": AttendedBlock(*step) for n, step in enumerate(steps, start=1)})

    def steps(self, x: Map) -> Iterator[tuple[Map, Weights]]:
        """Each stage's map, and how much each place of it counted."""
        weights = None
        for stage in self.stages.values():
            x, weights = stage(x, weights)
            yield x, weights

    def forward(self, x: Map) -> Stage:
        """Returns the map of the last stage."""
        *_, (last, _) = self.steps(x)
        return last


class PlaceClassifier(nn.Module):
    """One linear layer on all channels of all places: unlike a mean over the map, it knows where something is."""

    def __init__(self, dim: int, grid: int, num_classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(dim * grid**2, num_classes)

    def evidence(self, x: Map) -> Float[Tensor, "batch classes grid_h grid_w"]:
        """What each place says for each class; the mean over the map is the logit, less its bias."""
        weight = self.head.weight.view(-1, *x.shape[1:])
        return torch.einsum("b d y x, c d y x -> b c y x", x, weight) * x[0, 0].numel()

    def forward(self, x: Map) -> Logits:
        """Returns the logits."""
        return self.head(x.flatten(1))


def _retention(c: MMNetConfig) -> RetentionPyramid:
    """As many stages of TSFmicro's pyramid, of one block each: its last, if there are fewer than four."""
    n, form = len(c.dims), TSFmicroConfig(image_size=c.image_size, dims=c.dims)
    return RetentionPyramid(replace(form, depths=(1,) * n, decomposed=form.decomposed[-n:], spreads=form.spreads[-n:]))


class MMNet(Recognizer):
    """Continuous attention on the difference, plus the layout of the onset frame; one linear layer on all places."""

    name, year, checked, origin = "mmnet", 2022, True, ORIGINS["mmnet"]
    presets = sizes("mmnet", MMNetConfig)
    config: MMNetConfig

    def __init__(self, c: MMNetConfig) -> None:
        super().__init__(c)
        dim, grid = c.dims[-1], c.image_size >> len(c.dims)
        self.stem = nn.Sequential(conv_bn(3, c.stem, 3, 2), nn.ReLU(), conv_bn(c.stem, c.dims[0]), nn.ReLU())
        self.temporal = ContinuousAttention(c.dims) if c.temporal == "attention" else _retention(c)
        self.spatial = ThumbnailViT(grid, dim, c.spatial_depth, c.spatial_heads, c.widen, antialias=False)
        draw_linear(self, c.init_std)
        for n, block in enumerate(self.spatial.vit.blocks):
            block.drop = DropPath(c.drop_path * n / max(c.spatial_depth - 1, 1))
        self.fuse, self.classifier = StreamSum(), PlaceClassifier(dim, grid, c.num_classes)

    def forward(self, onset: Image, difference: Image) -> Logits:
        """Returns the logits."""
        how = self.temporal(self.stem(difference))
        return self.classifier(self.fuse(how, self.spatial(onset)))
