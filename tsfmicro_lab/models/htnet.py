"""HTNet: optical flow of four regions of the face, put together to one picture, and a hierarchy of transformers on it.

Wang, Zhang, Luo, Sankaranarayana, "HTNet for Micro-Expression Recognition", Neurocomputing 602 (2024), arXiv
2307.14637. Of the paper the abstract, two figures and a table were read; written from notes on its public code
(wangzhifengharrison/HTNet, no licence), whose logits the network meets. It is a NesT (Zhang et al., AAAI 2022, arXiv
2105.12723). `base` is its public size, with `depths=(2, 2, 8)` the other one; `tiny` is ours.

With these settings every block of the hierarchy holds one token. A token that attends to itself alone gets weight 1,
whatever query and key say: their weights never act (:attr:`HTNet.tokens`). The public code takes rows for columns when
it cuts out the regions; here they lie where they are called to.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from tsfmicro_lab.models.base import ORIGINS, Image, Logits, sizes
from tsfmicro_lab.models.shallow import Shallow, ShallowConfig, planes
from tsfmicro_lab.models.vit import ChannelNorm, Map, PointsBatch, TransformerBlock, crop_regions

#: Regions of the picture's upper row, and of its lower row.
REGIONS = ("right eye", "left eye", "right mouth corner", "left mouth corner")


@dataclass(frozen=True)
class HTNetConfig(ShallowConfig):
    """The sizes of an HTNet.

    Attributes:
        patch_size: Side of a patch, pixels.
        dim, heads: Channels of a token and attention heads at the first level; each level doubles them.
        depths: Transformer blocks of each level.
        bytes: Whether strain and flow are each stretched to 0..255, as in the public code.
    """

    patch_size: int = 7
    dim: int = 256
    heads: int = 3
    depths: Sequence[int] = (2, 2, 10)
    bytes: bool = True


class Level(nn.Module):
    """Transformer blocks within each of n × n parts of a map: (B, dim, H, W) → the same."""

    def __init__(self, dim: int, heads: int, depth: int, parts: int, tokens: int) -> None:
        super().__init__()
        self.parts, self.position = parts, nn.Parameter(torch.randn(tokens))
        self.layers = nn.Sequential(*(TransformerBlock(dim, heads, eps=1e-5, bias=False) for _ in range(depth)))

    def forward(self, x: Map) -> Map:
        """Returns the refined map."""
        sizes = {"n": self.parts, "m": self.parts, "y": x.shape[-2] // self.parts}
        tokens = rearrange(x, "b d (n y) (m x) -> (b n m) (y x) d", **sizes)
        tokens = self.layers(tokens + self.position[:, None])
        return rearrange(tokens, "(b n m) (y x) d -> b d (n y) (m x)", **sizes)


def _merge(i: int, o: int) -> nn.Sequential:
    """Halves the grid: a part of the next level holds four of this one's."""
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), ChannelNorm(o), nn.MaxPool2d(3, 2, padding=1))


class HTNet(Shallow):
    """Patches of four regions of flow → levels of attention, between which places are merged → mean, linear layer."""

    name, year, checked, origin = "htnet", 2024, True, ORIGINS["htnet"]
    presets = sizes("htnet", HTNetConfig)
    config: HTNetConfig
    auxiliary_names = ("landmarks",)
    input_names = ("flow", "landmarks")

    def __init__(self, c: HTNetConfig) -> None:
        super().__init__(c)
        self.prepared = ("landmarks", *self.prepared)
        above, grid = len(c.depths) - 1, c.image_size // c.patch_size
        if c.image_size % (c.patch_size << above):
            sizes = f"image_size ({c.image_size}) must be a multiple of patch_size ({c.patch_size})"
            raise ValueError(f"{sizes} times {1 << above}, since {above + 1} levels halve the grid {above} times")
        #: Tokens that attend to one another.
        self.tokens = (grid >> above) ** 2
        self.patches = nn.Conv2d(3, c.dim, c.patch_size, stride=c.patch_size)
        widths = [c.dim << n for n in range(above + 1)]
        parts = [(width, c.heads << n, c.depths[n], 1 << (above - n)) for n, width in enumerate(widths)]
        self.levels = nn.ModuleList(Level(*part, self.tokens) for part in parts)
        self.merges = nn.ModuleList(_merge(i, o) for i, o in pairwise(widths))
        self.norm, self.head = ChannelNorm(widths[-1]), nn.Linear(widths[-1], c.num_classes)

    def regions(self, flow: Float[Tensor, "batch 2 side side"], landmarks: PointsBatch) -> Image:
        """The picture that the network reads: eyes above the corners of the mouth."""
        c = self.config
        crops = crop_regions(planes(flow, c.bytes), landmarks, 0.5, c.image_size // 2, REGIONS)
        return rearrange(crops, "b (two more) c y x -> b c (two y) (more x)", two=2)

    def answer(self, picture: Image) -> Logits:
        """Returns the logits of a picture of regions."""
        x = self.levels[0](self.patches(picture))
        for merge, level in zip(self.merges, [*self.levels][1:], strict=True):
            x = level(merge(x))
        return self.head(self.norm(x).mean((2, 3)))

    def forward(self, flow: Float[Tensor, "batch 2 side side"], landmarks: PointsBatch) -> Logits:
        """Returns the logits."""
        return self.answer(self.regions(flow, landmarks))
