"""Facial regions after FACS, cut out with gradient. The list and their size are our choice."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from tsfmicro_lab.preprocess import POINT_NAMES

PointsBatch = Float[Tensor, "batch points 2"]

#: Facial regions after FACS, each a square around the mean of some points. The list is ours.
AU_REGIONS: dict[str, tuple[str, ...]] = {
    "inner brows": ("right_brow_inner", "left_brow_inner"),
    "right outer brow": ("right_brow_middle", "right_brow_outer"),
    "left outer brow": ("left_brow_middle", "left_brow_outer"),
    "right eye": ("right_eye_outer", "right_eye_inner"),
    "left eye": ("left_eye_outer", "left_eye_inner"),
    "nose bridge": ("nose_root", "nose_tip"),
    "nose wings": ("right_nose_wing", "left_nose_wing"),
    "right cheek": ("right_cheek",),
    "left cheek": ("left_cheek",),
    "right mouth corner": ("right_mouth_corner",),
    "left mouth corner": ("left_mouth_corner",),
    "lips": ("upper_lip_bottom", "lower_lip_top"),
    "chin": ("lower_lip_bottom", "chin"),
}


def region_centres(landmarks: PointsBatch) -> Float[Tensor, "batch regions 2"]:
    """Centre of each of :data:`AU_REGIONS`, pixels."""
    index = ([POINT_NAMES.index(name) for name in names] for names in AU_REGIONS.values())
    return torch.stack([landmarks[:, points].mean(1) for points in index], 1)


def crop_regions(
    image: Float[Tensor, "batch channels side side"], landmarks: PointsBatch, share: float, size: int
) -> Float[Tensor, "batch regions channels size size"]:
    """Samples a square around each AU region's centre, with gradient to the image.

    The square's side is a `share` of the image's; `size` pixels are sampled along it. A square that reaches over the
    edge of the image is moved inside, so that no region is made of nothing.

    Raises:
        ValueError: A landmark is not finite, or a region lies wholly outside the image.
    """
    side, half = image.shape[-1], share * image.shape[-1] / 2
    centres = region_centres(landmarks)
    outside = ((centres < -half) | (centres > side - 1 + half) | ~centres.isfinite()).any(-1)
    if not image.is_meta and outside.any():
        sample, region = (int(i) for i in outside.nonzero()[0])
        raise ValueError(
            f"sample {sample}: region '{list(AU_REGIONS)[region]}' around {centres[sample, region].tolist()} lies "
            f"outside the {side}×{side} px image: check the clip's landmarks, they must belong to the aligned frame"
        )
    centres = centres.clamp(half, side - 1 - half)
    line = torch.linspace(-half, half, size, device=image.device)
    at = centres[:, :, None, None] + torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)
    grid = rearrange(2 * at / (side - 1) - 1, "b r y x two -> b (r y) x two")
    crops = F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=True)
    return rearrange(crops, "b c (r y) x -> b r c y x", r=len(AU_REGIONS))
