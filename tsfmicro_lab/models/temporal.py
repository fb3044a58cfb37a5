"""The temporal branch: a convolutional stem and a pyramid of retention blocks over the difference frame ("how")."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tsfmicro_lab.models.retention import RetentionBlock


class ConvStem(nn.Sequential):
    """Four 3×3 convolutions that halve the image and lift its 3 channels to `dim`; the first two have half of them.

    Shape:
        (B, 3, H, W) → (B, dim, H/2, W/2).
    """

    def __init__(self, dim: int) -> None:
        half = dim // 2
        layers: list[nn.Module] = []
        for i, o, stride in ((3, half, 2), (half, half, 1), (half, dim, 1), (dim, dim, 1)):
            layers += [nn.Conv2d(i, o, 3, stride, padding=1), nn.BatchNorm2d(o), nn.GELU()]
        super().__init__(*layers[:-1])  # no activation after the last

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim half_h half_w"]:
        """Returns the map, its channels last in memory, where all that follows works without copies."""
        return super().forward(image.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2))


class RetentionPyramid(nn.Module):
    """Stages of retention blocks; between two, a strided convolution halves the grid and widens the channels.

    Its arguments are the side of the first grid, in tokens, and fields of
    :class:`~tsfmicro_lab.models.tsfmicro.TSFmicroConfig`; stochastic depth grows linearly from 0 at the first block.

    Shape:
        (B, dims[0], grid, grid) → (B, dims[-1], g, g) with g = grid / 2^(stages - 1).
    """

    def __init__(
        self,
        grid: int,
        dims: Sequence[int],
        depths: Sequence[int],
        heads: int,
        decomposed: Sequence[bool],
        spreads: Sequence[float],
        drop_path: float = 0.1,
    ) -> None:
        super().__init__()
        rates = iter(torch.linspace(0, drop_path, sum(depths)).tolist())
        self.stages, self.downsamples = nn.ModuleList(), nn.ModuleList()
        for i, (dim, depth) in enumerate(zip(dims, depths, strict=True)):
            blocks = (
                RetentionBlock(
                    dim, heads, grid >> i, decomposed=decomposed[i], spread=spreads[i], drop_path=next(rates)
                )
                for _ in range(depth)
            )
            self.stages.append(nn.Sequential(*blocks))
            if i + 1 < len(dims):
                conv = nn.Conv2d(dim, dims[i + 1], 3, stride=2, padding=1)
                self.downsamples.append(nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(dims[i + 1]))))

    def forward(self, x: Float[Tensor, "batch dim height width"]) -> Float[Tensor, "batch wider coarse_h coarse_w"]:
        """Returns the map of the last stage."""
        x = x.permute(0, 2, 3, 1)
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i < len(self.downsamples):
                x = self.downsamples[i](x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x.permute(0, 3, 1, 2)
