"""The displacement generation module of FRL-DGT: a network that looks at two frames and says how far each pixel moved.

Rebuilt from the abstract of Zhai et al., CVPR 2023, arXiv 2304.04420, and what others say of it; no code was found.
That it is convolutional, reads onset and apex, and is trained by losses called reconstruction, normalization and
smoothing is the paper's; the network's shape, the losses' formulas and their weights are our choice.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn
from torch.nn import functional as F

from tsfmicro_lab.models.base import Image

Displacement = Float[Tensor, "batch 2 height width"]


def sample(
    image: Float32[Tensor, "batch channels height width"], offset: Float32[Tensor, "batch 2 h w"], mode: str = "bicubic"
) -> Float32[Tensor, "batch channels h w"]:
    """Reads an image at every pixel plus an offset (dx, dy), interpolated as `mode` of `F.grid_sample` says.

    The side of the image may be k times the offset's, k = 1, 2, …: it is read at k times the places.

    Example:
        >>> image = torch.arange(4.0).view(1, 1, 1, 4)
        >>> half_a_pixel = torch.tensor([0.5, 0.0]).view(1, 2, 1, 1).expand(1, 2, 1, 4)
        >>> sample(image, half_a_pixel, "bilinear")[0, 0, 0].tolist()
        [0.5, 1.5, 2.5, 3.0]
    """
    h, w = offset.shape[-2:]
    x = torch.arange(w, device=offset.device) + offset[:, 0]
    y = torch.arange(h, device=offset.device)[:, None] + offset[:, 1]
    grid = torch.stack(((2 * x + 1) / w - 1, (2 * y + 1) / h - 1), dim=-1)
    return F.grid_sample(image, grid, mode=mode, padding_mode="border", align_corners=False)


def reconstruction(displacement: Displacement, onset: Image, apex: Image) -> Tensor:
    """L1 + SSIM between the onset frame and the apex frame read back along the displacement; images from 0 to 1.

    The description warps the onset frame to the apex; we read the same equation from its other end, so that the
    displacement belongs to the pixels of the onset frame, as true motion and optical flow do in this lab.
    """
    back = sample(apex, displacement, "bilinear")
    return (back - onset).abs().mean() + ((1 - ssim(back, onset)) / 2).clamp(0, 1).mean()


def ssim(a: Image, b: Image, window: int = 5, sigma: float = 1.5) -> Image:
    """Structural similarity in a Gaussian window around each pixel (Wang et al., IEEE TIP 13(4), 2004).

    The images have values from 0 to 1; the window's side (odd) and the Gaussian's standard deviation are in pixels.
    """
    bell = torch.exp(-((torch.arange(window, device=a.device) - window // 2) ** 2) / (2 * sigma**2))
    kernel = (torch.outer(bell, bell) / bell.sum() ** 2).expand(3, 1, window, window)

    def mean(x: Image) -> Image:
        return F.conv2d(F.pad(x, [window // 2] * 4, mode="reflect"), kernel, groups=3)

    mean_a, mean_b, c1, c2 = mean(a), mean(b), 0.01**2, 0.03**2
    var_a, var_b, cov = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2, mean(a * b) - mean_a * mean_b
    return (2 * mean_a * mean_b + c1) * (2 * cov + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))


def normalization(displacement: Displacement) -> Tensor:
    """Squared mean displacement over the image, in pixels: what moves the whole face is the head, no expression."""
    return displacement.mean((2, 3)).square().sum(1).mean()


def smoothing(displacement: Displacement, onset: Image) -> Tensor:
    """Total variation of the displacement, forgiven where the onset frame itself has an edge."""
    edges = {axis: onset.diff(dim=axis).abs().mean(1, keepdim=True) for axis in (2, 3)}
    parts = [(displacement.diff(dim=axis).abs() * torch.exp(-10 * edge)).mean() for axis, edge in edges.items()]
    return torch.stack(parts).sum()


class DGM(nn.Module):
    """A small U-Net on onset and apex at half the resolution, whose output is bounded by a scaled tanh.

    Motion of the skin is smooth, so half the resolution is enough for the result, and a quarter of the work; what it
    reads, two images from 0 to 1, keeps every pixel, two by two folded into channels.

    Args:
        width: Channels of the first level; each of the three levels doubles them.
        reach: Largest displacement, as a share of the side. Ours: micro-movements stay below.
    """

    def __init__(self, width: int = 16, reach: float = 0.04) -> None:
        super().__init__()
        self.reach, w = reach, width
        self.down = nn.ModuleList((_double(24, w), _double(w, 2 * w), _double(2 * w, 4 * w)))
        self.up = nn.ModuleList((_double(6 * w, 2 * w), _double(3 * w, w)))
        self.out = nn.Conv2d(w, 2, 3, padding=1)
        nn.init.normal_(self.out.weight, std=1e-3)  # begins near no motion

    def forward(self, onset: Image, apex: Image) -> Displacement:
        """Returns the displacement of each pixel of the onset frame."""
        x = torch.cat((onset, 20 * (apex - onset)), 1)
        kept: list[Tensor] = []
        for block in self.down:
            x = block(F.avg_pool2d(x, 2) if kept else F.pixel_unshuffle(x, 2))
            kept.append(x)
        for block, skip in zip(self.up, (kept[1], kept[0]), strict=True):
            x = block(torch.cat((F.interpolate(x, skip.shape[-2:], mode="bilinear"), skip), 1))
        coarse = self.reach * onset.shape[-1] * torch.tanh(self.out(x))
        return F.interpolate(coarse, onset.shape[-2:], mode="bilinear")


def self_supervised(displacement: Displacement, onset: Image, apex: Image, weights: Sequence[float]) -> Tensor:
    """The three losses, reconstruction, normalization and smoothing, weighted; none of them knows a label."""
    parts = (reconstruction(displacement, onset, apex), normalization(displacement), smoothing(displacement, onset))
    return torch.stack([w * part for w, part in zip(weights, parts, strict=True)]).sum()


def _double(i: int, o: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (i, o):
        layers += [nn.Conv2d(channels, o, 3, padding=1), nn.GroupNorm(4, o), nn.GELU()]
    return nn.Sequential(*layers)
