"""Facial regions after FACS, cut out with gradient. The list and their size are our choice."""

from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from tsfmicro_lab.preprocess.landmarks import FACE, POINT_NAMES

PointsBatch = Float[Tensor, "batch points 2"]

#: Facial regions after FACS, each a square around the mean of some points (see preprocess/face.toml).
AU_REGIONS: dict[str, list[str]] = FACE["regions"]


def region_centres(
    landmarks: PointsBatch, names: Sequence[str] = tuple(AU_REGIONS)
) -> Float[Tensor, "batch regions 2"]:
    """Centre of each of :data:`AU_REGIONS`, or of those named, pixels."""
    index = ([POINT_NAMES.index(point) for point in AU_REGIONS[name]] for name in names)
    return torch.stack([landmarks[:, points].mean(1) for points in index], 1)


def crop_regions(
    image: Float[Tensor, "batch channels side side"],
    landmarks: PointsBatch,
    share: float,
    size: int,
    names: Sequence[str] = tuple(AU_REGIONS),
) -> Float[Tensor, "batch regions channels size size"]:
    """Samples a square around the centre of each AU region, or of those named, with gradient to the image.

    The square's side is a `share` of the image's; `size` pixels are sampled along it. A square that reaches over the
    edge of the image is moved inside, so that no region is made of nothing.

    Raises:
        ValueError: A landmark is not finite, or a region lies wholly outside the image.
    """
    side, half = image.shape[-1], share * image.shape[-1] / 2
    centres = region_centres(landmarks, names)
    outside = ((centres < -half) | (centres > side - 1 + half) | ~centres.isfinite()).any(-1)
    if not image.is_meta and outside.any():
        sample, region = (int(i) for i in outside.nonzero()[0])
        raise ValueError(
            f"sample {sample}: region '{names[region]}' around {centres[sample, region].tolist()} lies "
            f"outside the {side}×{side} px image: check the clip's landmarks, they must belong to the aligned frame"
        )
    centres = centres.clamp(half, side - 1 - half)
    line = torch.linspace(-half, half, size, device=image.device)
    at = centres[:, :, None, None] + torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)
    grid = rearrange(2 * at / (side - 1) - 1, "b r y x two -> b (r y) x two")
    crops = F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=True)
    return rearrange(crops, "b c (r y) x -> b r c y x", r=len(names))
