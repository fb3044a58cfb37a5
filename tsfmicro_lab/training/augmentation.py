"""From bytes to what a model reads, with one random draw for everything that is known of a sample."""

import re
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from tsfmicro_lab.data.tensors import kind_of
from tsfmicro_lab.preprocess import POINT_NAMES

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
        flip: Share of the samples that are mirrored.

    Example:
        >>> frames = torch.randint(0, 256, (4, 3, 56, 56), dtype=torch.uint8)
        >>> moved = Augmentation(56)({"onset": frames, "apex": frames})
        >>> bool((moved["onset"] == moved["apex"]).all())
        True
    """

    def __init__(self, size: int, degrees: float = 3.0, shift: float = 15 / 224, flip: float = 0.5) -> None:
        super().__init__()
        self.size, self.degrees, self.shift, self.flip = size, degrees, shift, flip

    def draw(self, n: int, device: torch.device | str = "cpu") -> Float[Tensor, "n 2 3"]:
        """One flip, angle and shift for each of n samples: where each place of the result is read from.

        Drawn on the device, so that nobody waits for it; as :func:`torch.nn.functional.affine_grid` wants it.
        """
        u = torch.rand(4, n, device=device)
        mirror = torch.where(u[0] < self.flip, -1.0, 1.0)
        angle = torch.deg2rad((2 * u[1] - 1) * self.degrees)
        x, y = (2 * u[2:] - 1) * 2 * self.shift  # the side of an image is 2 long
        rows = (mirror * angle.cos(), -mirror * angle.sin(), x, angle.sin(), angle.cos(), y)
        return torch.stack(rows, 1).view(n, 2, 3)

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns the tensors, moved alike as their kinds want it; images 0 to 255, as floats. `label` stays as it is.

        Raises:
            ValueError: A tensor has a name of no kind (see `data.tensors`).
        """
        first = next(iter(batch.values()))
        place = self.draw(len(first), first.device)
        done = dict(batch)
        for name, x in batch.items():
            kind = kind_of(name) if name != "label" else None
            if kind == "points":
                done[name] = _move_points(x, place, self.size)
            elif kind:
                done[name] = move(x.flatten(1, -3).float(), place).reshape(x.shape)
            if kind == "flow":
                done[name] = torch.einsum("bji,b...jyx->b...iyx", place[:, :, :2], done[name])
        return done


def move(frames: Float[Tensor, "batch c h w"], place: Float[Tensor, "batch 2 3"]) -> Float[Tensor, "batch c h w"]:
    """Reads each sample's channels, all alike, at the places that :meth:`Augmentation.draw` drew.

    Example:
        >>> frames = torch.arange(4.0).view(1, 1, 2, 2)
        >>> move(frames, torch.tensor([[[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]))
        tensor([[[[1., 0.],
                  [3., 2.]]]])
    """
    grid = F.affine_grid(place, list(frames.shape), align_corners=False)
    return F.grid_sample(frames, grid, padding_mode="border", align_corners=False)


def _move_points(
    points: Float[Tensor, "batch points 2"], place: Float[Tensor, "batch 2 3"], size: int
) -> Float[Tensor, "batch points 2"]:
    """Points where their pixels go: back along the map, which turns. In a mirror, left and right change names."""
    seen = (2 * points + 1) / size - 1 - place[:, None, :, 2]
    moved = ((torch.einsum("bji,bpj->bpi", place[:, :, :2], seen) + 1) * size - 1) / 2
    mirrored = torch.linalg.det(place[:, :, :2]) < 0
    return torch.where(mirrored[:, None, None], moved[:, list(MIRRORED)], moved)
