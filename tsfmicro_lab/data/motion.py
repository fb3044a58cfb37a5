"""How action units move a face: displacement fields, and the exact warp that carries them out.

The Facial Action Coding System (Ekman, Friesen, Hager 2002) describes what each unit does to a face in words. The
table below says the same in numbers: smooth bumps of displacement, anchored at landmarks, in the face's own frame. The
numbers are ours, set by eye against the manual's descriptions; no real face was measured for them.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32
from torch.nn import functional as F

from tsfmicro_lab.clips import Field, Points
from tsfmicro_lab.preprocess.landmarks import POINT_INDEX

#: A pixel belongs to the moved region where it moves at least this share of the largest displacement.
MOVED_SHARE = 0.25


class Bump(NamedTuple):
    """A smooth displacement around a place of the face."""

    anchors: tuple[str, ...]  #: the place: mean of these landmarks. `side_` stands for `right_` and `left_`
    #: (outward, down) on the side it is on; for a bump in the middle, (to the subject's left, down)
    direction: tuple[float, float]
    spread: tuple[float, float]  #: width and height of the Gaussian (its sigma), inter-ocular distances


_TABLE = """
1  inner brow raiser    | side_brow_inner                  | -0.1 -1.0  | 0.20 0.20
2  outer brow raiser    | side_brow_outer side_brow_middle |  0.1 -1.0  | 0.24 0.20
4  brow lowerer         | side_brow_inner                  | -0.6  0.8  | 0.18 0.18
4  brow lowerer         | side_brow_middle                 | -0.2  0.6  | 0.20 0.16
5  upper lid raiser     | side_eye_top                     |  0.0 -1.0  | 0.17 0.07
6  cheek raiser         | side_cheek                       | -0.1 -1.0  | 0.28 0.20
6  cheek raiser         | side_eye_outer                   | -0.5 -0.2  | 0.12 0.12
7  lid tightener        | side_eye_bottom                  | -0.2 -1.0  | 0.17 0.07
7  lid tightener        | side_eye_top                     |  0.0  0.45 | 0.17 0.06
9  nose wrinkler        | side_nose_wing nose_root         | -0.1 -0.7  | 0.14 0.18
9  nose wrinkler        | side_nose_wing                   |  0.1 -1.0  | 0.13 0.13
9  nose wrinkler        | side_nose_wing upper_lip_top     |  0.0 -0.6  | 0.14 0.10
9  nose wrinkler        | side_brow_inner                  | -0.3  0.4  | 0.13 0.12
12 lip corner puller    | side_mouth_corner                |  0.75 -0.65 | 0.18 0.14
12 lip corner puller    | side_mouth_corner side_cheek     |  0.2 -0.5  | 0.20 0.16
14 dimpler              | side_mouth_corner                |  1.0  0.1  | 0.12 0.10
15 lip corner depressor | side_mouth_corner                |  0.1  1.0  | 0.15 0.13
17 chin raiser          | lower_lip_bottom chin            |  0.0 -1.0  | 0.24 0.15
17 chin raiser          | lower_lip_bottom                 |  0.0 -0.7  | 0.22 0.08
24 lip presser          | upper_lip_top                    |  0.0  0.7  | 0.20 0.07
24 lip presser          | lower_lip_bottom                 |  0.0 -0.9  | 0.20 0.07
24 lip presser          | side_mouth_corner                | -0.5  0.0  | 0.10 0.08
"""


def _read_table() -> dict[str, tuple[str, tuple[Bump, ...]]]:
    units: dict[str, tuple[str, tuple[Bump, ...]]] = {}
    for line in _TABLE.strip().splitlines():
        unit, anchors, direction, spread = (cell.split() for cell in line.split("|"))
        (a, b), (c, d) = map(float, direction), map(float, spread)
        before = units.get(unit[0], ("", ()))[1]
        units[unit[0]] = " ".join(unit[1:]), (*before, Bump(tuple(anchors), (a, b), (c, d)))
    return units


#: Name and movement of each action unit.
ACTION_UNITS = _read_table()


def displacement(units: Mapping[str, float], landmarks: Points, size: int) -> Field:
    """Displacement (dx, dy) of each pixel of a resting face by action units, pixels, shape (2, size, size).

    Args:
        units: For each unit, such as "12" or the one-sided "R12", its largest displacement in pixels.
        landmarks: The named points of the resting face, pixels.
        size: Side of the square image, pixels.

    Raises:
        ValueError: A unit is unknown.
    """
    total = np.zeros((2, size, size), np.float32)
    for name, amplitude in units.items():
        unit = _unit_field(name, landmarks, size)
        total += amplitude / max(float(np.hypot(*unit).max()), 1e-6) * unit
    return total


def moved_region(expression: Field) -> np.ndarray:
    """Pixels that move at least a quarter as far as the one that moves farthest."""
    magnitude = np.hypot(*expression)
    return (magnitude >= MOVED_SHARE * magnitude.max()) & (magnitude > 0)


def unit_regions(landmarks: Points, size: int) -> dict[str, np.ndarray]:
    """Where each of the :data:`ACTION_UNITS` would move this face, drawn or real: a mask (size, size) per unit."""
    return {unit: moved_region(displacement({unit: 1.0}, landmarks, size)) for unit in ACTION_UNITS}


def backward(field: Float32[torch.Tensor, "batch 2 height width"]) -> Float32[torch.Tensor, "batch 2 height width"]:
    r"""Inverts a displacement field: where each pixel of the moved image comes from.

    A point x goes to x + u(x). The pixel y of the moved image therefore shows what was at y + b(y), with
    :math:`b(y) = -u(y + b(y))`. The iteration contracts as long as u changes by less than one pixel per pixel.

    Example:
        >>> to_the_right = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
        >>> backward(to_the_right)[0, :, 0, 0].tolist()
        [-1.0, -0.0]
    """
    b = -field
    for _ in range(5):
        b = -sample(field, b)
    return b


def sample(
    image: Float32[torch.Tensor, "batch channels height width"],
    offset: Float32[torch.Tensor, "batch 2 h w"],
    mode: str = "bicubic",
) -> Float32[torch.Tensor, "batch channels h w"]:
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


def _unit_field(name: str, landmarks: Points, size: int) -> Field:
    match = re.fullmatch(r"([LR]?)(\d+)", name)
    if not match or match[2] not in ACTION_UNITS:
        raise ValueError(f"unknown action unit '{name}': choose from {', '.join(ACTION_UNITS)}, with L or R in front")
    sides = {"": ("right", "left"), "L": ("left",), "R": ("right",)}[match[1]]
    right_eye, left_eye = (_place((f"{side}_eye_outer", f"{side}_eye_inner"), landmarks) for side in ("right", "left"))
    across = left_eye - right_eye
    scale = float(np.hypot(*across))
    across = across / max(scale, 1e-6)
    down = np.array([-across[1], across[0]])
    y, x = np.mgrid[:size, :size].astype(np.float32)
    total = np.zeros((2, size, size), np.float32)
    for bump in ACTION_UNITS[match[2]][1]:
        central = not any(anchor.startswith("side_") for anchor in bump.anchors)
        for side in ("middle",) if central else sides:
            centre = _place(tuple(anchor.replace("side_", f"{side}_") for anchor in bump.anchors), landmarks)
            dx, dy = (x - centre[0]) / scale, (y - centre[1]) / scale
            u, v = dx * across[0] + dy * across[1], dx * down[0] + dy * down[1]
            gauss = np.exp(-0.5 * ((u / bump.spread[0]) ** 2 + (v / bump.spread[1]) ** 2))
            outward = -across if side == "right" else across
            direction = bump.direction[0] * outward + bump.direction[1] * down
            total += gauss * direction[:, None, None].astype(np.float32)
    return total


def _place(names: tuple[str, ...], landmarks: Points) -> np.ndarray:
    return landmarks[[POINT_INDEX[name] for name in names]].mean(0).astype(np.float64)
