"""From bytes to what a model reads, with one random draw for everything that is known of a sample."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tsfmicro_lab.data.tensors import is_displacement, is_image, is_points
from tsfmicro_lab.models.base import MEAN, STD, Recognizer, to_inputs
from tsfmicro_lab.preprocess import POINT_NAMES

__all__ = ["MEAN", "MIRRORED", "STD", "Augmentation", "inputs_of", "to_inputs"]

SWAP = {"left": "right", "right": "left"}
#: For each named point, the one that takes its place in a mirror.
MIRRORED = tuple(POINT_NAMES.index(re.sub("left|right", lambda m: SWAP[m[0]], name)) for name in POINT_NAMES)


class Augmentation(nn.Module):
    """Flip, small rotation and shift, drawn once per sample and applied to all its tensors alike.

    A draw per frame would move the apex against the onset: motion that nobody made. Displacements turn with the image,
    and points go where their pixels go. The defaults are those of the public TSFmicro code for five classes, its shift
    of 15 px at 224 px taken as a share of the side.

    Args:
        size: Side of the frames, pixels.
        degrees: Largest rotation either way.
        shift: Largest shift, as a share of the side.

    Example:
        >>> frames = torch.randint(0, 256, (4, 3, 56, 56), dtype=torch.uint8)
        >>> moved = Augmentation(56)({"onset": frames, "apex": frames})
        >>> bool((moved["onset"] == moved["apex"]).all())
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

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns the tensors (see `data.tensors` for their kinds), moved alike; images 0 to 255, as floats.

        Tensors of other kinds, such as labels, pass unchanged.
        """
        planes = {name: x for name, x in batch.items() if is_image(x) or is_displacement(x)}
        flat = {name: x.flatten(1, -3).float() for name, x in planes.items()}
        moved = self._draw(torch.cat(list(flat.values()), 1) / 255) * 255
        matrix = self._draw.transform_matrix
        parts = moved.split([x.shape[1] for x in flat.values()], 1)
        done = {name: part.reshape(x.shape) for (name, x), part in zip(planes.items(), parts, strict=True)}
        for name, x in batch.items():
            if is_displacement(x):
                done[name] = torch.einsum("bij,b...jyx->b...iyx", matrix[:, :2, :2], done[name])
            elif is_points(x):
                done[name] = _move_points(x, matrix)
        return {**batch, **done}


def _move_points(
    points: Float[Tensor, "batch points 2"], matrix: Float[Tensor, "batch 3 3"]
) -> Float[Tensor, "batch points 2"]:
    """Points where the transform carries their pixels; in a mirror, left and right change names."""
    moved = torch.einsum("bij,bpj->bpi", matrix[:, :2, :2], points) + matrix[:, None, :2, 2]
    mirrored = torch.linalg.det(matrix[:, :2, :2]) < 0
    return torch.where(mirrored[:, None, None], moved[:, list(MIRRORED)], moved)


def inputs_of(
    batch: Mapping[str, Tensor], augment: Augmentation | None = None, model: Recognizer | None = None
) -> dict[str, Tensor]:
    """The model's inputs for a batch of samples.

    Args:
        batch: Prepared tensors (see `Samples.pick`).
        augment: Applied first, in training.
        model: Whose inputs; those of TSFmicro by default.

    Example:
        >>> frames = torch.zeros(2, 3, 56, 56, dtype=torch.uint8)
        >>> sorted(inputs_of({"onset": frames, "apex": frames}))
        ['difference', 'onset']
    """
    moved = augment(batch) if augment else batch
    return model.inputs(moved) if model else to_inputs(moved["onset"], moved["apex"])
