"""From bytes to what a model reads, with one random draw for all frames of a sample."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

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
    mean, std = (torch.tensor(v, device=onset.device).view(1, 3, 1, 1) for v in (MEAN, STD))
    first, second = ((x.float() / 255 - mean) / std for x in (onset, apex))
    return {"onset": first, "difference": second - first}


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
        import kornia.augmentation as K

        self._draw: Any = K.AugmentationSequential(
            K.RandomHorizontalFlip(p=0.5),
            K.RandomAffine(degrees=degrees, translate=(shift, shift), padding_mode="border", p=1.0),
            data_keys=["input"],
        )
        self.size = size

    def forward(
        self, onset: UInt8[Tensor, "batch 3 height width"], apex: UInt8[Tensor, "batch 3 height width"]
    ) -> tuple[Float[Tensor, "batch 3 height width"], Float[Tensor, "batch 3 height width"]]:
        """Returns onset and apex, moved alike, 0 to 255."""
        both: Tensor = self._draw(torch.cat((onset, apex), 1).float() / 255) * 255
        return both[:, :3], both[:, 3:]


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
