"""Moves an image by a true displacement, to compare it with the frame that was rendered."""

import numpy as np
import torch

from tsfmicro_lab.clips import Field
from tsfmicro_lab.data.motion import backward, sample


def warp(image: np.ndarray, field: Field) -> np.ndarray:
    """Moves an image by a displacement field, sub-pixel exact."""
    pixels = torch.from_numpy(np.ascontiguousarray(image, np.float32)).permute(2, 0, 1)[None]
    moved = sample(pixels, backward(torch.from_numpy(np.ascontiguousarray(field, np.float32))[None]))
    return moved[0].permute(1, 2, 0).numpy()
