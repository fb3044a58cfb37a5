"""Paints a person: skin, lips, brows, roots of hair, eyes and clothes, in the texture that is wrapped around the head.

Places are pixels of the texture (`mesh.py` tells how they belong to millimetres); colours are linear light. Skin is
modelled by what absorbs light in it: melanin and blood, each a map, as powers of their colours. What differs between
people without a number in `Person` (how the iris is streaked) comes from their seed.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
from jaxtyping import Float32

from tsfmicro_lab.data.mesh import EYE_PATCH, EYE_PATCH_RADIUS, FRONT, LOOKS, SKIN_ROWS, TEETH_PATCH, TEXTURE, head_mesh
from tsfmicro_lab.data.rendering import EYE_LEVEL, SCALE, Camera

if TYPE_CHECKING:
    from tsfmicro_lab.data.heads import Person

Line = Sequence[Sequence[float]]
Map = Float32[np.ndarray, "rows columns"]
_OUTLINES: dict[str, Line] = LOOKS["outlines"]
#: Depth of those folds in the oldest, and in the youngest people.
_DEPTH = {"forehead": (1.3, 0.04), "eyes": (1.2, 0.03), "mouth": (0.9, 0.12)}
#: Part of the texture with strands of hair, from root (top) to tip: first column and row, height.
STRANDS, STRANDS_HEIGHT = (400, SKIN_ROWS + 8), TEXTURE - SKIN_ROWS - 12
_Y, _X = np.mgrid[:SKIN_ROWS, :TEXTURE].astype(np.float32)
_SIDE = abs(_X - FRONT)


def _rgb(*values: float) -> Float32[np.ndarray, "3"]:
    return np.array(values, np.float32)


def _pixels(points: np.ndarray, shift: int = 4) -> np.ndarray:
    """Places as OpenCV's drawing wants them: whole numbers of a part of a pixel."""
    return np.rint(points * (1 << shift)).astype(np.int32)


def _spot(column: float, row: float, width: float, height: float) -> Map:
    """A soft spot on both halves of the face."""
    return np.exp(-(((_SIDE - column) / width) ** 2) - ((_Y - row) / height) ** 2)


def _step(value: Map) -> Map:
    """Rises smoothly from 0 at 0 to 1 at 1."""
    value = value.clip(0, 1)
    return value * value * (3 - 2 * value)


def _noise(rng: np.random.Generator, scale: float, stretch: float = 1.0) -> Map:
    """Smooth noise of standard deviation about 1 whose blotches are `scale` pixels wide and `stretch` times as high."""
    size = int(SKIN_ROWS / scale / stretch) + 4, int(TEXTURE / scale) + 4
    return cv2.resize(rng.standard_normal(size, np.float32), (TEXTURE, SKIN_ROWS), interpolation=cv2.INTER_CUBIC) * 1.4


def _drawn(*lines: Line, blur: float = 1.6) -> Map:
    """Smooth lines through some points, and their mirror images."""
    picture = np.zeros((SKIN_ROWS, TEXTURE), np.uint8)
    for points in lines:
        at = np.linspace(0, len(points) - 1, 40)
        curve = np.stack([np.interp(at, range(len(points)), c) for c in zip(*points, strict=True)], 1)
        curve = cv2.GaussianBlur(curve, (1, 9), 2.5, borderType=cv2.BORDER_REPLICATE)
        both = [_pixels(curve * (side, 1) + (FRONT, 0)) for side in (1, -1)]
        cv2.polylines(picture, both, False, 255, 2, cv2.LINE_AA, 4)
    return cv2.GaussianBlur(picture, (0, 0), blur) / np.float32(255)


@lru_cache(maxsize=1)
def _masks() -> dict[str, Map]:
    """Regions that lie at the same places of everybody's texture."""
    mesh = head_mesh()
    skin = mesh.masks["mouth"] + mesh.masks["teeth"] + mesh.masks["eye"] == 0
    flat = (mesh.uv - (TEXTURE - 1) / 2) * (1, -1) / (TEXTURE * SCALE)
    values, inside = np.stack([mesh.masks[n] for n in ("lips", "eyelids", "ears")], 1), skin[mesh.triangles].all(1)
    camera = Camera(shift=(0.0, 0.5 - EYE_LEVEL))
    flat = np.pad(flat, ((0, 0), (0, 1))).astype(np.float32)
    picture, _ = camera.rasterize(flat, mesh.triangles[inside], values, TEXTURE)
    lips, lids, ears = picture[:SKIN_ROWS].transpose(2, 0, 1)
    masks = {"lips": _step(cv2.GaussianBlur(lips, (0, 0), 2) * 1.3 - 0.15), "lids": lids, "ears": ears}
    masks["flush"] = _spot(135, 400, 55, 42) + 0.9 * _spot(0, 415, 34, 26) + 0.35 * _spot(0, 585, 50, 28)
    masks["flush"] += 0.8 * ears + 0.25 * _spot(0, 240, 130, 40)
    masks["under"], masks["socket"] = _spot(88, 352, 42, 14), _spot(50, 318, 22, 26) + 0.5 * _spot(90, 302, 55, 12)
    masks["chin"] = _step((_Y - 590 + 0.00035 * _SIDE**2) / 60) * _step((800 - _Y) / 150)
    masks["seam"] = _drawn(_OUTLINES["seam"]) + 0.5 * _spot(75, 493, 7, 5)
    masks["lashes"] = _drawn(_OUTLINES["lid"], blur=0.7)
    beard = np.zeros((SKIN_ROWS, TEXTURE), np.uint8)
    for side in (1, -1):
        cv2.fillPoly(beard, [_pixels(np.array(_OUTLINES["beard"]) * (side, 1) + (FRONT, 0), 0)], 255)
    masks["beard"] = cv2.GaussianBlur(beard, (0, 0), 11) / np.float32(255) * (1 - masks["lips"])
    masks["beard"] *= 1 - 0.75 * _spot(48, 520, 26, 12) - 0.3 * _spot(190, 520, 60, 40)
    return masks | {name: _drawn(*folds) for name, folds in LOOKS["folds"].items()}


def hairline(person: "Person", column: np.ndarray, row: np.ndarray) -> np.ndarray:
    """How far inside the hair a place of the texture lies, pixels; negative on the face."""
    at, down = np.array(_OUTLINES["hairline"], np.float32).T
    down = down - person.receding * (25 * np.exp(-((at / 150) ** 4)) + 62 * np.exp(-(((at - 150) / 60) ** 2)))
    edge = cv2.GaussianBlur(np.interp(abs(np.arange(TEXTURE) - FRONT), at, down)[None], (0, 0), 5)[0]
    slope, column = np.sqrt(1 + np.gradient(edge) ** 2), column.clip(0, TEXTURE - 1).astype(int)
    return ((edge[column] - row) / slope[column]).astype(np.float32)


def collar(column: np.ndarray, row: np.ndarray) -> np.ndarray:
    """How far inside the clothes a place of the texture lies, pixels."""
    return row - (705 - 0.00045 * (column - FRONT) ** 2).clip(640)


def paint(person: "Person") -> Float32[np.ndarray, "1024 1024 3"]:
    """The whole texture of a person."""
    rng, masks = np.random.default_rng([person.seed, 23]), _masks()
    texture = np.full((TEXTURE, TEXTURE, 3), _rgb(0.05, 0.014, 0.011))  # inside the mouth
    skin, height = texture[:SKIN_ROWS], STRANDS_HEIGHT + 4
    skin[:] = _bare(person, rng, masks)
    _paint_hair(person, rng, skin, masks)
    _paint_brows(person, rng, skin)
    _paint_clothes(rng, skin)
    lock, lighter = _hair(person, rng, (height, TEXTURE - STRANDS[0]), 1.4, 90), np.linspace(0.85, 1.05, height)
    texture[STRANDS[1] : STRANDS[1] + height, STRANDS[0] :] = lock * lighter[:, None, None]
    _paint_eye(person, rng, texture)
    cv2.circle(texture, _pixels(np.array(TEETH_PATCH), 0).tolist(), 20, (0.55, 0.50, 0.42), -1)
    return texture


def _bare(person: "Person", rng: np.random.Generator, masks: dict[str, Map]) -> np.ndarray:
    """Skin and lips."""
    pores = cv2.GaussianBlur(rng.standard_normal((SKIN_ROWS, TEXTURE), np.float32), (0, 0), 0.9) * 2
    blotch, cloud, large = _noise(rng, 7), _noise(rng, 22), _noise(rng, 80)
    melanin = person.melanin * (1 + 0.012 * cloud + 0.015 * large) + 0.005 * (blotch + cloud) + 0.008 * pores
    melanin += 0.10 * masks["under"] + 0.06 * masks["socket"] + masks["lips"] * (0.04 + 0.10 * person.melanin)
    blood = 0.25 + person.blood * (0.35 + 0.75 * masks["flush"] * (1 + 0.15 * cloud)) + 0.03 * (blotch + cloud + large)
    blood += 0.35 * masks["under"] + masks["lips"] * rng.uniform(1.1, 1.5) + 0.15 * masks["lids"]
    light, dark, red = _rgb(0.76, 0.555, 0.425), _rgb(0.098, 0.046, 0.026), _rgb(0.96, 0.66, 0.67)
    light *= 1 + rng.uniform(-0.07, 0.07) * _rgb(0, 0.4, -1)  # from rosy to golden
    absorb = np.log(dark / light) * melanin[..., None] + np.log(red) * blood[..., None].clip(0, 4)
    shade = (1 - 0.15 * masks["chin"]) * (1 - 0.5 * masks["seam"]).clip(0.3) * _relief(person, rng, pores, masks)
    return light * cv2.exp(absorb) * shade[..., None]


def _relief(person: "Person", rng: np.random.Generator, pores: Map, masks: dict[str, Map]) -> Map:
    """How folds and pores take light away or add some, lit from above."""
    deep = {name: rng.uniform(0.4, 1.1) * (person.age**1.5 * old + young) for name, (old, young) in _DEPTH.items()}
    folds = sum(weight * masks[name] for name, weight in deep.items()) * (1 + 0.5 * _noise(rng, 30)).clip(0.1)
    height = 0.15 * pores * (1 + 0.8 * masks["flush"]) * (0.6 + 0.8 * person.age) - 2.2 * folds
    height += 0.12 * person.age * _noise(rng, 3, 0.5) + 0.25 * masks["lips"] * _noise(rng, 2.5, 5)
    slope = cv2.Sobel(height, cv2.CV_32F, 0, 1) + 0.4 * cv2.Sobel(height, cv2.CV_32F, 1, 0)
    return (1 - 0.038 * slope - 0.22 * folds).clip(0.25, 1.6)


def _blend(skin: np.ndarray, colour: np.ndarray, alpha: Map) -> None:
    skin += alpha[..., None] * (colour.astype(np.float32) - skin)


def _hair_colour(person: "Person") -> Float32[np.ndarray, "3"]:
    """Colour of hair without grey: black, brown, blond, red and what lies between."""
    fair, red, dark = _rgb(0.46, 0.31, 0.15), _rgb(0.34, 0.10, 0.03), _rgb(0.014, 0.010, 0.009)
    return (fair ** (1 - person.red) * red**person.red) ** (1 - person.hair) * dark**person.hair


def _hair(person: "Person", rng: np.random.Generator, shape: tuple[int, int], wide: float, long: float) -> np.ndarray:
    """Hair that runs downwards: each strand a little lighter or darker, some grey."""
    grids = [(int(shape[0] / long) + 3, int(shape[1] / width) + 2) for width in (wide, 6 * wide)]
    random = (rng.standard_normal(grid, np.float32) for grid in grids)
    shade, lock = (cv2.resize(r, shape[::-1], interpolation=cv2.INTER_CUBIC) for r in random)
    grey = _rgb(0.30, 0.295, 0.285) - _hair_colour(person)
    mixed = _hair_colour(person) + (person.grey * (1 + 0.15 * shade)).clip(0, 1)[..., None] * grey
    return mixed * cv2.exp(0.16 * shade + 0.12 * lock)[..., None]


def _paint_hair(person: "Person", rng: np.random.Generator, skin: np.ndarray, masks: dict[str, Map]) -> None:
    """Roots on the scalp with the shadow of what grows there, and the beard: a shadow, stubble or short hair."""
    top, jaw, short = slice(0, 440), slice(310, 660), person.length < 7
    grain = rng.standard_normal(skin.shape[:2], np.float32)
    edge = hairline(person, _X[top], _Y[top]) + (2 * _noise(rng, 9) + 3 * _noise(rng, 2.5, 1.5))[top]
    cover = _step(edge / 20) * (1 - masks["ears"][top]) * (0.75 if person.length < 2 else 0.99)
    if short:
        cover *= (0.72 + 0.08 * person.length + 0.25 * grain[top]).clip(0, 1)
    else:
        skin[top] *= 1 - 0.35 * _step((edge + 24) / 40)[..., None]
    _blend(skin[top], _hair(person, rng, edge.shape, 2.0, 3 if short else 24) * (1.0 if short else 0.75), cover)
    if person.beard > 0.02:
        dots = cv2.GaussianBlur(grain[jaw], (0, 0), sigmaX=0.5, sigmaY=1.2) * 2.2
        amount = masks["beard"][jaw] * (1 + 0.12 * _noise(rng, 30)[jaw])
        skin[jaw] *= (1 - 0.8 * min(person.beard, 0.3) * amount)[..., None]
        alpha = (amount * (0.9 * person.beard + 0.45 * person.beard**0.5 * dots)).clip(0, 0.92)
        _blend(skin[jaw], 0.8 * _hair(person, rng, dots.shape, 2.0, 24), alpha)


def _paint_brows(person: "Person", rng: np.random.Generator, skin: np.ndarray) -> None:
    """Lashes and brows, whose hairs stand upright near the nose and lie along the brow further out."""
    _blend(skin, _hair_colour(person) * 0.25, _masks()["lashes"])
    colour = np.minimum(0.6 * _hair_colour(person), 0.5 * skin[250, int(FRONT)])
    fine, top, inner, height, width, count = 4, 210, 20, 110, 180, int(330 * person.brow)
    curve = np.polynomial.Polynomial.fit((0, 0.3, 0.62, 1), (277, 272, rng.uniform(268, 272), 284), 3)
    for side in (1, -1):
        t, across = rng.beta(1.15, 1.25, count), rng.normal(0, 0.5, count).clip(-1, 1)
        half = person.brow * np.interp(t, (0, 0.15, 0.55, 1), (5.0, 7.2, 6.0, 1.4))
        up = np.interp(t, (0, 0.2, 0.5, 1), (1.25, 0.75, 0.35, 0.05)) + 0.28 * across + rng.normal(0, 0.13, count)
        up -= np.arctan2(curve.deriv()(t), 132)
        bend = up - rng.normal(0.35, 0.15, count) * np.interp(t, (0, 1), (1, 0.4))
        size = (rng.uniform(9, 17, count) * np.interp(t, (0, 0.2, 1), (0.75, 1, 0.75)))[:, None] / 2
        start = np.stack([36 + 132 * t, curve(t) + across * half], 1)
        middle = start + size * np.stack([np.cos(up), -np.sin(up)], 1)
        end = middle + size * np.stack([np.cos(bend), -np.sin(bend)], 1)
        ink, points = np.zeros((fine * height, fine * width), np.uint8), np.stack([start, middle, end], 1)
        for part, strength, thick in ((slice(0, 2), 255, 2), (slice(1, 3), 230, 2)):
            stroke = list(_pixels((points[:, part] - (inner, top)) * fine, 3))
            cv2.polylines(ink, stroke, False, strength, thick, cv2.LINE_AA, 3)
        alpha = cv2.resize(ink, (width, height), interpolation=cv2.INTER_AREA)[:, ::side] / np.float32(255)
        left = int(FRONT) + (inner if side > 0 else -inner - width)
        alpha = 1 - (1 - 0.25 * cv2.GaussianBlur(alpha, (0, 0), 3)) * (1 - 0.95 * alpha)
        _blend(skin[top : top + height, left : left + width], colour, alpha)


def _paint_clothes(rng: np.random.Generator, skin: np.ndarray) -> None:
    """A shirt of one colour, with its folds and a seam along the collar."""
    rows, hue = slice(620, SKIN_ROWS), rng.uniform(0.1, 0.8) ** 2 * rng.uniform(0.5, 1.2, 3) ** 1.5
    edge = collar(_X, _Y)[rows]
    seam = 1 - 0.35 * np.exp(-(((edge - 12) / 1.5) ** 2)) - 0.5 * np.exp(-((edge / 3) ** 2))
    cloth = (1 + 0.10 * _noise(rng, 60)[rows] + 0.05 * _noise(rng, 2)[rows]) * seam
    _blend(skin[rows], cloth[..., None] * hue.astype(np.float32), _step(edge + 0.5))


def _paint_eye(person: "Person", rng: np.random.Generator, texture: np.ndarray) -> None:
    """White, iris and pupil, darker under the upper lid and in the corners."""
    (column, row), reach, pupil = (int(c) for c in EYE_PATCH), int(EYE_PATCH_RADIUS) + 3, rng.uniform(0.115, 0.16)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32) / EYE_PATCH_RADIUS
    r, angle = np.hypot(x, y - 0.05), np.arctan2(y - 0.05, x)  # the gaze rests a little below the horizon
    corner = (x**2)[..., None] * _rgb(0.7, 1.15, 1.15)
    white = _rgb(0.43, 0.39, 0.36) * np.exp(-corner - 0.04 * person.age * _rgb(0, 1, 3))
    stops = [(0.06, 0.13, 0.22), (0.08, 0.12, 0.06), (0.13, 0.08, 0.028), (0.07, 0.03, 0.012), (0.03, 0.014, 0.009)]
    iris = np.stack([np.interp(4 * person.iris, range(5), c) for c in zip(*stops, strict=True)])
    fibre = np.interp(angle, np.linspace(-np.pi, np.pi, 90), rng.normal(0, 1, 90), period=2 * np.pi)
    ring = np.exp(-(((r - pupil - 0.05) / 0.05) ** 2)) * 0.5 - 0.75 * _step((r - 0.30) / 0.085)
    disc = iris * (np.exp(0.16 * fibre + ring) * (1 - _step((pupil + 0.012 - r) / 0.024)))[..., None] + 0.002
    picture = white + _step((0.405 - r) / 0.05)[..., None] * (disc - white)
    shadow = 1 - 0.45 * _step((-y - 0.02) / 0.27)[..., None]
    texture[row - reach : row + reach + 1, column - reach : column + reach + 1] = picture * shadow
