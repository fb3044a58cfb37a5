"""Paints a person: skin, lips, brows, hair, eyes and clothes, in the texture that is wrapped around the head.

Places are pixels of the texture (`mesh.py` tells how they belong to millimetres); colours are linear light. Skin is
modelled by what absorbs light in it: melanin and blood, each a map, as a power of their colours.
"""

from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
from jaxtyping import Float32

from tsfmicro_lab.data.hair import STRANDS, STRANDS_HEIGHT
from tsfmicro_lab.data.mesh import EYE_PATCH, EYE_PATCH_RADIUS, FRONT, SKIN_ROWS, TEETH_PATCH, TEXTURE, head_mesh

if TYPE_CHECKING:
    from tsfmicro_lab.data.heads import Person

Map = Float32[np.ndarray, "rows columns"]
#: Edge of the hair around the face: columns from the middle, and the row down to which hair grows.
_HAIRLINE = np.array([
    (0, 168), (60, 165), (120, 168), (165, 186), (195, 230), (212, 280), (232, 306), (262, 318), (290, 335), (318, 375),
    (345, 378), (352, 300), (385, 275), (430, 300), (470, 380), (512, 420),
])  # fmt: skip
_BEARD = np.array([(-345, 330), (-318, 330), (-295, 440), (-220, 490), (-150, 500), (-100, 470), (-55, 445), (0, 452),
                   (55, 445), (100, 470), (150, 500), (220, 490), (295, 440), (318, 330), (345, 330), (330, 560),
                   (200, 590), (0, 618), (-200, 590), (-330, 560)])  # fmt: skip
#: Margin of the closed lids: columns from the middle, rows.
_LID = ((64, 324), (68, 327), (74, 330), (84, 331.5), (97, 332), (111, 333), (120, 331.5), (129, 327), (135, 323))
_Y, _X = np.mgrid[:SKIN_ROWS, :TEXTURE].astype(np.float32)


def _rgb(*values: float) -> Float32[np.ndarray, "3"]:
    return np.array(values, np.float32)


def _pixels(points: np.ndarray, shift: int = 4) -> np.ndarray:
    """Places as OpenCV's drawing wants them."""
    return np.rint(points * (1 << shift)).astype(np.int32)


def _spot(column: float, row: float, width: float, height: float) -> Map:
    """A soft spot on both halves of the face."""
    return np.exp(-((((abs(_X - FRONT) - column) / width) ** 2) + ((_Y - row) / height) ** 2))


def _step(value: Map) -> Map:
    """Rises smoothly from 0 at 0 to 1 at 1."""
    value = value.clip(0, 1)
    return value * value * (3 - 2 * value)


def _noise(rng: np.random.Generator, scale: float, stretch: float = 1.0) -> Map:
    """Smooth noise of standard deviation about 1 whose blotches are `scale` pixels wide and `stretch` times as high."""
    size = int(SKIN_ROWS / scale / stretch) + 4, int(TEXTURE / scale) + 4
    return cv2.resize(rng.standard_normal(size, np.float32), (TEXTURE, SKIN_ROWS), interpolation=cv2.INTER_CUBIC) * 1.4


@lru_cache(maxsize=1)
def _masks() -> dict[str, Map]:
    """Regions that lie at the same places of everybody's texture."""
    mesh, masks = head_mesh(), {}
    settings = cv2.TriangleRasterizeSettings().setShadingType(cv2.RASTERIZE_SHADING_SHADED)
    settings.setCullingMode(cv2.RASTERIZE_CULLING_NONE)
    flat = np.c_[(mesh.uv + 0.5 - TEXTURE / 2) * (1, -1), np.zeros(len(mesh.uv))].astype(np.float32)
    picture, depth = np.zeros((TEXTURE, TEXTURE, 3), np.float32), np.full((TEXTURE, TEXTURE), 9e3, np.float32)
    pose = np.eye(4, dtype=np.float32)
    pose[2, 3] = -4000
    skin = mesh.masks["mouth"] + mesh.masks["teeth"] + mesh.masks["eye"] == 0
    values = np.stack([mesh.masks[name] for name in ("lips", "eyelids", "ears")], 1)
    inside = mesh.triangles[skin[mesh.triangles].all(1)]
    cv2.triangleRasterize(flat[:, None], inside[:, None], values[:, None].copy(), picture, depth, pose,
                          2 * np.arctan(TEXTURE / 2 / 4000), 100.0, 9e3, settings)  # fmt: skip
    masks["lips"], masks["eyelids"], masks["ears"] = picture[:SKIN_ROWS].transpose(2, 0, 1)
    masks["lips"] = _step(cv2.GaussianBlur(masks["lips"], (0, 0), 2) * 1.3 - 0.15)
    masks["flush"] = _spot(135, 400, 55, 42) + 0.9 * _spot(0, 415, 34, 26) + 0.35 * _spot(0, 585, 50, 28)
    masks["flush"] += 0.8 * masks["ears"] + 0.25 * _spot(0, 240, 130, 40)
    masks["under"] = _spot(88, 352, 42, 14)
    masks["socket"] = _spot(50, 318, 22, 26) + 0.5 * _spot(90, 302, 55, 12)
    masks["chin"] = _step((_Y - 590 + 0.00035 * (_X - FRONT) ** 2) / 60) * _step((800 - _Y) / 150)
    beard = np.zeros((SKIN_ROWS, TEXTURE), np.uint8)
    cv2.fillPoly(beard, [_pixels(_BEARD + np.array([FRONT, 0]), 0)], 255)
    masks["beard"] = cv2.GaussianBlur(beard / np.float32(255), (0, 0), 11) * (1 - masks["lips"])
    masks["beard"] *= 1 - 0.75 * _spot(48, 520, 26, 12) - 0.3 * _spot(190, 520, 60, 40)
    masks["wrinkle_brow"] = sum(
        _line([(-150, r + 10), (-80, r), (-30, r + 4), (0, r + 5), (30, r + 3), (90, r - 1), (150, r + 9)], False)
        for r in (192, 214, 236)
    )
    crow = [
        [(178, 322), (200, 312), (222, 298)],
        [(180, 328), (205, 327), (228, 324)],
        [(178, 334), (203, 343), (220, 356)],
    ]
    masks["wrinkle_eye"] = sum(_line(c) for c in crow) + 0.7 * _line([(45, 345), (70, 362), (110, 366), (150, 352)])
    masks["wrinkle_mouth"] = _line([(48, 405), (66, 425), (88, 462), (98, 500)]) + 0.5 * _line(
        [(84, 505), (92, 530), (90, 560)]
    )
    masks["seam"] = _line([(-74, 493), (-50, 489), (-20, 486), (0, 488), (20, 486), (50, 489), (74, 493)], False)
    masks["seam"] += 0.5 * _spot(75, 493, 7, 5)
    masks["frown"] = _line([(14, 282), (11, 262), (13, 248)])
    return masks


def _line(points: list[tuple[int, int]], both: bool = True) -> Map:
    """A fold of the skin, pictured as depth: a smooth curve that fades at its ends."""
    at = np.linspace(0, len(points) - 1, 40)
    curve = np.stack([np.interp(at, range(len(points)), c) for c in np.array(points, float).T], 1)
    curve = cv2.GaussianBlur(curve, (1, 9), 2.5, borderType=cv2.BORDER_REPLICATE)
    picture = np.zeros((SKIN_ROWS, TEXTURE), np.float32)
    for i in range(len(curve) - 1):
        for side in (1, -1) if both else (1,):
            ends = _pixels(curve[i : i + 2] * (side, 1) + (FRONT, 0))
            cv2.line(
                picture, ends[0].tolist(), ends[1].tolist(), float(np.sin(np.pi * (i + 1) / 40)), 2, cv2.LINE_AA, 4
            )
    return cv2.GaussianBlur(picture, (0, 0), 1.6)


def hair_colour(person: "Person") -> Float32[np.ndarray, "3"]:
    """Colour of the hair without grey: black, brown, blond, red and what lies between."""
    fair, red, dark = _rgb(0.50, 0.35, 0.19), _rgb(0.33, 0.11, 0.04), _rgb(0.011, 0.008, 0.007)
    return (fair ** (1 - person.red) * red**person.red) ** (1 - person.hair) * dark**person.hair


def hairline(person: "Person", column: np.ndarray, row: np.ndarray) -> np.ndarray:
    """How far inside the hair a place of the texture lies, pixels; negative on the face."""
    at, down = _HAIRLINE.T.astype(np.float32)
    front, corner = np.exp(-((at / 150) ** 4)), np.exp(-(((at - 150) / 60) ** 2))
    down = down - person.receding * (30 * front + 62 * corner) + person.hairline * 14 * front
    side = np.arange(TEXTURE)
    edge = cv2.GaussianBlur(np.interp(abs(side - FRONT), at, down)[None], (0, 0), 5)[0]
    slope, column = np.sqrt(1 + np.gradient(edge) ** 2), column.clip(0, TEXTURE - 1).astype(int)
    return ((edge[column] - row) / slope[column]).astype(np.float32)


def paint(person: "Person") -> Float32[np.ndarray, "1024 1024 3"]:
    """The whole texture of a person."""
    rng, masks = np.random.default_rng([person.seed, 23]), _masks()
    texture = np.full((TEXTURE, TEXTURE, 3), 0.01, np.float32)
    pores = cv2.GaussianBlur(rng.standard_normal((SKIN_ROWS, TEXTURE), np.float32), (0, 0), 0.9) * 2.0
    blotch, cloud, large = _noise(rng, 7), _noise(rng, 22), _noise(rng, 80)
    melanin = person.melanin * (1 + 0.012 * cloud + 0.015 * large) + 0.005 * (blotch + cloud) + 0.008 * pores
    melanin += 0.10 * masks["under"] + 0.06 * masks["socket"] + masks["lips"] * (0.04 + 0.10 * person.melanin)
    blood = (
        0.25
        + person.blood * (0.35 + 0.75 * masks["flush"] * (1 + 0.15 * cloud))
        + 0.035 * blotch
        + 0.03 * cloud
        + 0.03 * large
    )
    blood += 0.35 * masks["under"] + masks["lips"] * (1.1 + 0.5 * person.lipstick) + 0.15 * masks["eyelids"]
    melanin += _freckles(person, rng, blotch)
    light, dark, red = _rgb(0.86, 0.64, 0.50), _rgb(0.092, 0.040, 0.021), _rgb(0.96, 0.66, 0.67)
    light *= 1 + 0.07 * person.undertone * _rgb(0, 0.4, -1)
    absorb = np.log(dark / light) * melanin[..., None] + np.log(red) * blood[..., None].clip(0, 4)
    shade = _relief(person, rng, pores, masks) * (1 - 0.45 * masks["chin"]) * (1 - 0.5 * masks["seam"]).clip(0.3)
    skin = light * cv2.exp(absorb.astype(np.float32)) * shade[..., None]
    _paint_hair(person, rng, skin, masks)
    _paint_brows(person, rng, skin)
    _paint_lashes(person, rng, skin)
    _paint_clothes(rng, skin, _Y - collar(person))
    texture[:SKIN_ROWS] = skin
    height, width = STRANDS_HEIGHT + 4, TEXTURE - STRANDS[0]
    lock = _strands(person, rng, (height, width), 1.4, 90) * np.linspace(0.6, 1.15, height)[:, None, None]
    texture[STRANDS[1] : STRANDS[1] + height, STRANDS[0] :] = lock
    _paint_eye(person, rng, texture)
    column, row = (int(c) for c in TEETH_PATCH)
    texture[row - 20 : row + 20, column - 20 : column + 20] = (0.55, 0.50, 0.42)
    return texture


def _freckles(person: "Person", rng: np.random.Generator, blotch: Map) -> Map:
    """Freckles around the nose and a few moles, as melanin."""
    spots = np.zeros((SKIN_ROWS, TEXTURE), np.float32)
    for count, spread, size, depth in (
        (int(420 * person.freckles), (110, 60), (0.7, 1.5), 0.16),
        (rng.poisson(3 + 14 * person.freckles * person.age), (260, 160), (1.0, 2.2), 0.45),
    ):
        for x, y, r, d in zip(*(rng.normal((FRONT, 395), spread, (count, 2)).T), rng.uniform(*size, count),
                              depth * rng.uniform(0.3, 1, count), strict=True):  # fmt: skip
            cv2.circle(spots, (int(16 * x), int(16 * y)), int(16 * r), float(d), -1, cv2.LINE_AA, 4)
    return cv2.GaussianBlur(spots, (0, 0), 0.8)


def _relief(person: "Person", rng: np.random.Generator, pores: Map, masks: dict[str, Map]) -> Map:
    """How folds and pores take light away or add some, lit from above."""
    wobble = 1 + 0.5 * _noise(rng, 30)
    folds = sum(
        weight * (person.age**1.5 * strength + base) * masks[name]
        for (name, strength, base), weight in zip(
            (("wrinkle_brow", 1.3, 0.04), ("wrinkle_eye", 1.2, 0.03), ("wrinkle_mouth", 0.9, 0.12),
             ("frown", 0.8, 0.05)),
            rng.uniform(0.4, 1.1, 4).tolist(), strict=True)
    ) * wobble.clip(0.1)  # fmt: skip
    height = 0.15 * pores * (1 + 0.8 * masks["flush"]) * (0.6 + 0.8 * person.age) - 2.2 * folds
    height += 0.5 * person.age * cv2.GaussianBlur(_noise(rng, 3, 0.5), (0, 0), 1) * 0.25
    height += 0.25 * masks["lips"] * _noise(rng, 2.5, 5)
    slope = cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=1 / 8) + 0.4 * cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=1 / 8)
    return (1 - 0.30 * slope - 0.22 * folds).clip(0.25, 1.6)


def _blend(skin: np.ndarray, colour: np.ndarray, alpha: Map) -> None:
    skin += alpha[..., None] * (colour.astype(np.float32) - skin)


def _strands(
    person: "Person", rng: np.random.Generator, shape: tuple[int, int], width: float = 2.0, length: float = 60
) -> np.ndarray:
    """Hair that runs downwards: each strand a little lighter or darker, some grey."""
    small = rng.standard_normal((int(shape[0] / length) + 3, int(shape[1] / width) + 2), np.float32)
    thick = rng.standard_normal((int(shape[0] / length) + 3, int(shape[1] / width / 6) + 2), np.float32)
    shade, lock = (cv2.resize(n, shape[::-1], interpolation=cv2.INTER_CUBIC) for n in (small, thick))
    grey = _step(2.2 * person.grey - 0.6 + 0.5 * shade) * min(1.0, 4 * person.grey)
    colour = hair_colour(person) * cv2.exp(0.26 * shade + 0.24 * lock)[..., None]
    return colour * (1 - grey[..., None]) + grey[..., None] * _rgb(0.36, 0.35, 0.34) * cv2.exp(0.25 * lock)[..., None]


def _paint_hair(person: "Person", rng: np.random.Generator, skin: np.ndarray, masks: dict[str, Map]) -> None:
    """Roots on the scalp, and the beard: a shadow, stubble or short hair."""
    top, jaw = slice(0, 440), slice(310, 660)
    colour = _strands(person, rng, skin[top].shape[:2], 2.0, 24 if person.length > 7 else 3)
    colour *= 0.75 if person.length > 7 else 1
    grain = rng.standard_normal(skin.shape[:2], np.float32)
    edge = hairline(person, _X[top], _Y[top]) + (4 * _noise(rng, 9) + 4 * _noise(rng, 3, 1.5))[top]
    cover = _step(edge / 20) * (1 - masks["ears"][top]) * (0.75 if person.length < 2 else 0.99)
    cover *= 1 - person.bald * _step((edge - 10) / 40) * _step((290 - abs(_X[top] - FRONT)) / 60)
    if person.length < 7:
        cover *= (0.72 + 0.08 * person.length + 0.25 * grain[top]).clip(0, 1)
    _blend(skin[top], colour, cover)
    if person.beard > 0.02:
        dots = cv2.GaussianBlur(grain[jaw], (0, 0), sigmaX=0.5, sigmaY=1.2) * 2.2
        amount = masks["beard"][jaw] * (1 + 0.12 * _noise(rng, 30)[jaw])
        skin[jaw] *= (1 - 0.8 * min(person.beard, 0.3) * amount)[..., None]
        alpha = (amount * (0.9 * person.beard + 0.45 * person.beard**0.5 * dots)).clip(0, 0.92)
        _blend(skin[jaw], 0.8 * _strands(person, rng, dots.shape, 2.0, 24), alpha)


def _paint_brows(person: "Person", rng: np.random.Generator, skin: np.ndarray) -> None:
    """Hairs of the brows: upright near the nose, lying outwards and along the brow further on."""
    colour = hair_colour(person) * 0.8 * (1 - 0.4 * person.grey) + 0.4 * person.grey * _rgb(0.14, 0.11, 0.09)
    fine, top, inner, height, width = 4, 210, 20, 110, 180
    curve = np.polynomial.Polynomial.fit((0, 0.3, 0.62, 1), (280, 274, 270.5 - 2.5 * person.arch, 286), 3)
    for side in (1, -1):
        count = int(230 * person.brow)
        t = rng.beta(1.15, 1.25, count)
        across = rng.normal(0, 0.5, count).clip(-1, 1)
        half = person.brow_width * np.interp(t, (0, 0.15, 0.55, 1), (5.0, 7.2, 6.0, 1.4))
        start = np.stack([36 + 132 * t, curve(t) + across * half], 1)
        up = np.interp(t, (0, 0.2, 0.5, 1), (1.25, 0.75, 0.35, 0.05)) + 0.28 * across + rng.normal(0, 0.13, count)
        up -= np.arctan2(curve.deriv()(t), 132)
        size = (rng.uniform(9, 17, count) * np.interp(t, (0, 0.2, 1), (0.75, 1, 0.75)))[:, None] / 2
        bend = up - rng.normal(0.35, 0.15, count) * np.interp(t, (0, 1), (1, 0.4))
        middle = start + size * np.stack([np.cos(up), -np.sin(up)], 1)
        end = middle + size * np.stack([np.cos(bend), -np.sin(bend)], 1)
        ink = np.zeros((fine * height, fine * width), np.uint8)
        for place in _pixels((np.stack([start, middle, end], 1) - (inner, top)) * fine, 3):
            cv2.polylines(ink, [place[:2]], False, 255, 3, cv2.LINE_AA, 3)
            cv2.polylines(ink, [place[1:]], False, 200, 2, cv2.LINE_AA, 3)
        alpha = cv2.resize(ink, (width, height), interpolation=cv2.INTER_AREA)[:, ::side] / np.float32(255)
        left = int(FRONT) + (inner if side > 0 else -inner - width)
        where = slice(top, top + height), slice(left, left + width)
        _blend(skin[where], colour, 0.35 * cv2.GaussianBlur(alpha, (0, 0), 5))
        _blend(skin[where], colour, 0.85 * alpha * (1 - 0.4 * (1 - person.hair)))


def _paint_lashes(person: "Person", rng: np.random.Generator, skin: np.ndarray) -> None:
    """The dark margin of the upper lid, and the lashes of the lower one."""
    mask = np.zeros(skin.shape[:2], np.uint8)
    for side in (1, -1):
        curve = np.array(_LID[2:]) * (side, 1) + (FRONT, 0)
        cv2.polylines(mask, [_pixels(curve - (0, 1.0))], False, 255, 3, cv2.LINE_AA, 4)
        for t in rng.uniform(1, len(curve) - 1.5, 45):
            root = np.array([np.interp(t, range(len(curve)), c) for c in curve.T])
            tip = root + np.array([side * (t - 3) * 0.8, rng.uniform(3, 6)])
            cv2.polylines(mask, [_pixels(np.stack([root, tip]))], False, 70, 1, cv2.LINE_AA, 4)
    _blend(skin, hair_colour(person) * 0.25, cv2.GaussianBlur(mask, (0, 0), 0.7) / np.float32(255))


def _paint_clothes(rng: np.random.Generator, skin: np.ndarray, edge: Map) -> None:
    """A shirt of one colour, with its folds and a seam along the collar."""
    rows = slice(620, SKIN_ROWS)
    edge, hue = edge[rows], rng.uniform(0.1, 0.8) ** 2 * rng.uniform(0.5, 1.2, 3) ** 1.5
    seam = 1 - 0.35 * np.exp(-(((edge - 12) / 1.5) ** 2)) - 0.5 * np.exp(-((edge / 3) ** 2))
    cloth = (1 + 0.10 * _noise(rng, 60)[rows] + 0.05 * _noise(rng, 2)[rows]) * seam
    _blend(skin[rows], cloth[..., None] * hue.astype(np.float32), _step(edge + 0.5))


def collar(person: "Person") -> Float32[np.ndarray, " columns"]:
    """The row at which clothes begin, for each column of the texture."""
    a = abs(np.arange(TEXTURE) - FRONT)
    return (705 + 40 * person.collar - 0.00045 * a**2).clip(640).astype(np.float32)


def _paint_eye(person: "Person", rng: np.random.Generator, texture: np.ndarray) -> None:
    column, row, radius = int(EYE_PATCH[0]), int(EYE_PATCH[1]), int(EYE_PATCH_RADIUS) + 3
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float32) / EYE_PATCH_RADIUS
    r, angle = np.hypot(x, y - 0.05), np.arctan2(y - 0.05, x)  # the gaze rests a little below the horizon
    white = _rgb(0.47, 0.43, 0.40) * (1 - 0.04 * person.age * _rgb(0, 1, 3))
    white = white * np.exp(-(x**2)[..., None] * _rgb(0.7, 1.15, 1.15))
    stops = np.array(
        [[0.13, 0.21, 0.30], [0.14, 0.17, 0.13], [0.17, 0.10, 0.04], [0.07, 0.03, 0.013], [0.025, 0.012, 0.008]]
    )
    iris = np.stack([np.interp(4 * person.iris, range(5), stops[:, c]) for c in range(3)])
    fibre = np.interp(angle % (2 * np.pi), np.linspace(0, 2 * np.pi, 90), rng.normal(0, 1, 90), period=2 * np.pi)
    edge, pupil = 0.385, person.pupil
    ring = np.exp(-(((r - pupil - 0.05) / 0.05) ** 2)) * 0.5 - 0.75 * _step((r - 0.30) / 0.085)
    disc = iris * np.exp(0.16 * fibre + ring)[..., None]
    disc = disc * (1 - _step((pupil + 0.012 - r) / 0.024))[..., None] + 0.002
    mix = _step((edge + 0.02 - r) / 0.05)[..., None]
    picture = white * (1 - mix) + disc * mix
    picture = picture * (1 - 0.6 * _step((-y - 0.02) / 0.27))[..., None]
    texture[row - radius : row + radius + 1, column - radius : column + radius + 1] = picture
