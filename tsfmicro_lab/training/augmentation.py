"""From bytes to what a model reads, with one random draw for all frames of a sample."""

from collections.abc import Mapping
from functools import cache

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

#: Mean and standard deviation of ImageNet's images, by which the paper normalises both frames.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def to_inputs(onset: Tensor, apex: Tensor) -> dict[str, Tensor]:
    """Normalised onset frame and difference frame, the inputs of TSFmicro.

    Both frames are normalised and then subtracted, so the mean cancels and the difference is scaled by 1 / std
    (as TSFmicro does). Identical frames give a difference of exactly zero.

    Args:
        onset: Aligned onset frames, 0 to 255, bytes or floats.
        apex: Aligned apex frames, alike.

    Shape:
        Two tensors (B, 3, H, W) → two of the same shape.

    Returns:
        `onset` and `difference`, float32.

    Raises:
        ValueError: The frames differ in shape, or are no images of three channels.

    Example:
        >>> frame = torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8)
        >>> float(to_inputs(frame, frame)["difference"].abs().max())
        0.0
    """
    if onset.shape != apex.shape or onset.ndim != 4 or onset.shape[1] != 3:
        raise ValueError(
            f"onset {tuple(onset.shape)} and apex {tuple(apex.shape)} must both be (batch, 3, height, width)"
        )
    scale, shift = _normalisation(onset.device)
    first, second = onset.float(), apex.float()
    return {"onset": first * scale - shift, "difference": (second - first) * scale}


@cache  # a tensor made anew would be copied to the device, and waited for, at every step
def _normalisation(device: torch.device) -> tuple[Tensor, Tensor]:
    mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (MEAN, STD))
    return 1 / (255 * std), mean / std


class Augmentation(nn.Module):
    """Flip, small rotation and shift, drawn once per sample and applied to onset and apex alike.

    A draw per frame would move the apex against the onset: motion that nobody made. The defaults are those of the
    public TSFmicro code for five classes, its shift of 15 px at 224 px taken as a share of the side.

    Args:
        size: Side of the frames, pixels.
        degrees: Largest rotation either way.
        shift: Largest shift, as a share of the side.

    Example:
        >>> frames = torch.randint(0, 256, (4, 3, 56, 56), dtype=torch.uint8)
        >>> onset, apex = Augmentation(56)(frames, frames)
        >>> bool((onset == apex).all())
        True
    """

    def __init__(self, size: int, degrees: float = 3.0, shift: float = 15 / 224) -> None:
        super().__init__()
        self.size, self.degrees, self.shift = size, degrees, shift

    def draw(self, n: int, device: torch.device | str = "cpu") -> Float[Tensor, "n 2 3"]:
        """One flip, angle and shift for each of n samples: where each place of the result is read from.

        Drawn on the device, so that nobody waits for it; as :func:`torch.nn.functional.affine_grid` wants it.
        """
        u = torch.rand(4, n, device=device)
        mirror = torch.where(u[0] < 0.5, -1.0, 1.0)
        angle = torch.deg2rad((2 * u[1] - 1) * self.degrees)
        x, y = (2 * u[2:] - 1) * 2 * self.shift  # the side of an image is 2 long
        rows = (mirror * angle.cos(), -mirror * angle.sin(), x, angle.sin(), angle.cos(), y)
        return torch.stack(rows, 1).view(n, 2, 3)

    def forward(
        self, onset: UInt8[Tensor, "batch 3 height width"], apex: UInt8[Tensor, "batch 3 height width"]
    ) -> tuple[Float[Tensor, "batch 3 height width"], Float[Tensor, "batch 3 height width"]]:
        """Returns onset and apex, moved alike, 0 to 255."""
        both = move(torch.cat((onset, apex), 1), self.draw(len(onset), onset.device))
        return both[:, :3], both[:, 3:]


def move(frames: Tensor, place: Float[Tensor, "batch 2 3"]) -> Float[Tensor, "batch channels height width"]:
    """Reads each sample's frames, all channels alike, at the places that :meth:`Augmentation.draw` drew.

    Args:
        frames: Bytes or floats (B, C, H, W).
        place: One affine map per sample.

    Example:
        >>> frames = torch.arange(4.0).view(1, 1, 2, 2)
        >>> move(frames, torch.tensor([[[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]))
        tensor([[[[1., 0.],
                  [3., 2.]]]])
    """
    grid = F.affine_grid(place, list(frames.shape), align_corners=False)
    return F.grid_sample(frames.float(), grid, padding_mode="border", align_corners=False)


def inputs_of(batch: Mapping[str, Tensor], augment: Augmentation | None = None) -> dict[str, Tensor]:
    """The model's inputs for a batch of samples.

    Args:
        batch: `onset` and `apex`, bytes (see `Samples.pick`).
        augment: Applied first, in training.

    Example:
        >>> frames = torch.zeros(2, 3, 56, 56, dtype=torch.uint8)
        >>> sorted(inputs_of({"onset": frames, "apex": frames}))
        ['difference', 'onset']
    """
    onset, apex = batch["onset"], batch["apex"]
    return to_inputs(*(augment(onset, apex) if augment else (onset, apex)))
