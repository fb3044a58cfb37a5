"""Moves an image by a true displacement, to compare it with the frame that was rendered."""

import numpy as np
import torch

from tsfmicro_lab.clips import Field
from tsfmicro_lab.models.frl_dgt import sample


def warp(image: np.ndarray, field: Field) -> np.ndarray:
    """Moves an image by a displacement field, sub-pixel exact."""
    pixels = torch.from_numpy(np.ascontiguousarray(image, np.float32)).permute(2, 0, 1)[None]
    moved = sample(pixels, backward(torch.from_numpy(np.ascontiguousarray(field, np.float32))[None]))
    return moved[0].permute(1, 2, 0).numpy()


def backward(field):
    r"""Inverts a displacement field: where each pixel of the moved image comes from.

    A point x goes to x + u(x). The pixel y of the moved image therefore shows what was at y + b(y), with
    :math:`b(y) = -u(y + b(y))`. The iteration contracts as long as u changes by less than one pixel per pixel.
    """
    b = -field
    for _ in range(5):
        b = -sample(field, b)
    return b
