"""Painters of the synthetic face, one per anatomical part: sculpt a relief, light it, and lay strands upon it."""

import colorsys
import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Float32
from scipy.interpolate import CubicSpline

from tsfmicro_lab.data.face_params import EYE_LEVEL, FACE_UNIT, LENS_BLUR, FaceParams

Plane = Float32[np.ndarray, "height width"]
Colour = Float32[np.ndarray, "height width 3"]
#: Strands and noise are drawn at this resolution whatever the size of the image.
FIXED = 672
#: Human skin from light to dark (sRGB), even steps of the parameter.
SKIN = ((244, 212, 193), (226, 182, 152), (190, 138, 105), (132, 88, 62), (80, 52, 40))


def linear(rgb: Float[np.ndarray, "*shape 3"]) -> Float32[np.ndarray, "*shape 3"]:
    """Turn sRGB bytes into linear light."""
    return ((np.asarray(rgb) / 255.0) ** 2.2).astype(np.float32)


def ramp(colours: tuple[tuple[int, int, int], ...], t: float) -> Float32[np.ndarray, "3"]:
    """Pick a linear colour at ``t`` in [0, 1] along a series of sRGB colours."""
    steps = np.linspace(0, 1, len(colours))
    return linear(np.array([np.interp(t, steps, channel) for channel in zip(*colours, strict=True)]))


def smooth(low: float, high: float, t: Plane) -> Plane:
    """Rise smoothly from 0 at ``low`` to 1 at ``high``."""
    s = np.clip((t - low) / (high - low), 0, 1)
    return s * s * (3 - 2 * s)


def over(below: Colour, above: Colour | Float32[np.ndarray, "3"], alpha: Plane) -> Colour:
    """Lay one colour over another."""
    return below + (above - below) * alpha[..., None]


@dataclass(frozen=True)
class Grid:
    """Face coordinates of every texture pixel, and what is scattered on it."""

    p: FaceParams
    x: Plane
    ax: Plane  # the distance from the midline
    y: Plane
    size: int

    @classmethod
    def of(cls, p: FaceParams, size: int) -> "Grid":
        """Lay the coordinates of the head, turned and shifted as the subject's head is."""
        t = (np.arange(size, dtype=np.float32) + 0.5) / size
        u, v = (t - 0.5 - p.shift_x)[None, :] / FACE_UNIT, (t - EYE_LEVEL - p.shift_y)[:, None] / FACE_UNIT
        c, s = math.cos(math.radians(p.roll)), math.sin(math.radians(p.roll))
        x = (c * u + s * v).astype(np.float32)
        return cls(p, x, np.abs(x), (c * v - s * u).astype(np.float32), size)

    def bump(self, x: float, y: float, sx: float, sy: float) -> Plane:
        """Return a Gaussian bump on both sides of the midline (one if ``x`` is 0)."""
        return np.exp(-0.5 * (((self.ax - x) / sx) ** 2 + ((self.y - y) / sy) ** 2))

    def noise(self, sigma: float, salt: int) -> Plane:
        """Return smooth noise of unit variance; ``sigma`` is a fraction of the image side."""
        cells = int(np.clip(2.5 / sigma, 16, FIXED))
        rng = np.random.default_rng((self.p.texture_seed, salt))
        field = cv2.GaussianBlur(rng.standard_normal((cells, cells), dtype=np.float32), (0, 0), sigma * cells)
        way = cv2.INTER_AREA if cells > self.size else cv2.INTER_CUBIC
        return cv2.resize(field / field.std(), (self.size, self.size), interpolation=way)

    def blur(self, plane: Plane, sigma: float) -> Plane:
        """Blur by ``sigma`` face units."""
        return cv2.GaussianBlur(plane, (0, 0), sigma * FACE_UNIT * self.size)

    def strands(self, points: Float[np.ndarray, "n m 2"], values: Float[np.ndarray, "n"]) -> tuple[Plane, Plane]:
        """Draw hairs given in face coordinates; return how much they cover and their mean value."""
        canvas = np.zeros((FIXED, FIXED, 3), np.uint8)
        pixels = np.round((self.p.to_image(points.astype(np.float32)) * FIXED - 0.5) * 16).astype(np.int32)
        for line, value in zip(pixels, np.clip(values * 255, 0, 255), strict=True):
            cv2.polylines(canvas, [line], False, (255, float(value), 0), 1, cv2.LINE_AA, 4)
        way = cv2.INTER_AREA if self.size < FIXED else cv2.INTER_LINEAR
        small = cv2.resize(canvas, (self.size, self.size), interpolation=way).astype(np.float32) / 255
        return small[..., 0], small[..., 1] / np.maximum(small[..., 0], 1e-3)

    def fill(self, points: Float[np.ndarray, "n 2"], soft: float) -> Plane:
        """Fill a polygon given in face coordinates, with an edge ``soft`` units wide."""
        canvas = np.zeros((self.size, self.size), np.uint8)
        pixels = np.round((self.p.to_image(points.astype(np.float32)) * self.size - 0.5) * 16).astype(np.int32)
        cv2.fillPoly(canvas, [pixels], (255,), cv2.LINE_AA, 4)
        return self.blur(canvas.astype(np.float32) / 255, soft)


def key_light(p: FaceParams) -> tuple[float, float, float]:
    """Return the direction towards the main light: right, down, towards the viewer."""
    a, e = math.radians(p.light_azimuth), math.radians(p.light_elevation)
    return math.sin(a) * math.cos(e), -math.sin(e), math.cos(a) * math.cos(e)


def light(g: Grid, z: Plane, albedo: Colour, gloss: Plane | float, hollow: float = 2.0) -> Colour:
    """Light a relief: a key light that skin scatters (red most), light from all around, hollows and gloss."""
    p, pixel = g.p, 1 / (FACE_UNIT * g.size)
    zy, zx = np.gradient(z, pixel)
    norm = 1 / np.sqrt(1 + zx * zx + zy * zy)
    kx, ky, kz = key_light(p)
    facing = (kz - zx * kx - zy * ky) * norm
    closed_in = np.exp(-hollow * np.clip(g.blur(z, 0.12) - z, 0, None))
    sky = (0.35 + p.light_softness) * 0.62 * (0.56 + 0.28 * zy * norm + 0.16 * norm) * closed_in
    direct = (1 - 0.6 * p.light_softness) * 1.32 * (0.45 + 0.55 * closed_in)
    lit: Colour = np.empty_like(albedo)
    warm = (1 + 0.07 * p.light_warmth, 1.0, 1 - 0.09 * p.light_warmth)
    for c, wrap in enumerate((0.42, 0.26, 0.2)):
        lit[..., c] = albedo[..., c] * warm[c] * (direct * np.clip((facing + wrap) / (1 + wrap), 0, None) ** 1.3 + sky)
    half = math.sqrt(2 + 2 * kz)  # the gloss faces halfway between the light and the viewer
    shine = np.clip(((kz + 1) / half - zx * (kx / half) - zy * (ky / half)) * norm, 0, 1) ** 18
    lit += (0.095 * gloss * shine * closed_in)[..., None]
    return lit


def skull(g: Grid) -> Plane:
    """Return the distance from the head's middle, 1 on its outline: cranium, temples, cheekbones, jaw and chin."""
    p, w, j = g.p, g.p.head_width / 2, g.p.jaw_width / 2
    middle = 0.15
    edge = [(0.0, p.chin_y), (0.22, p.chin_y - 0.025), (0.50 * j, p.chin_y - 0.14), (0.80 * j, p.mouth_y + 0.33)]
    edge += [(j, p.mouth_y + 0.0), (0.96 * w, 0.62), (w, 0.15), (w, -0.35), (0.98 * w, -0.75), (0.85 * w, -1.15)]
    edge += [(0.53 * w, -1.49), (0.0, -1.66)]
    ex, ey = np.array(edge).T
    radius = CubicSpline(np.arctan2(ex, ey - middle), np.hypot(ex, ey - middle), bc_type="clamped")
    table = np.linspace(0, np.pi, 721)
    at = np.interp(np.arctan2(g.ax, g.y - middle), table, radius(table)).astype(np.float32)
    return np.hypot(g.x, g.y - middle) / at


def relief(g: Grid, rho: Plane) -> Plane:
    """Sculpt the head: dome, brow ridge, sockets, cheekbones, muzzle, chin and the folds between them."""
    p, eye, m = g.p, g.p.eye_spacing / 2, g.p.mouth_y
    z: Plane = 1.08 * np.clip(1 - (rho / 1.035) ** 2.7, 0, 1) ** 0.62
    z += 0.05 * p.brow_ridge * g.bump(eye - 0.05, -p.brow_height + 0.03, 0.28, 0.1)
    z -= 0.12 * g.bump(eye - 0.02, -0.06, 0.25, 0.15) + 0.07 * g.bump(0.23, -0.07, 0.09, 0.13)
    z += 0.10 * g.bump(eye, 0.0, 0.19, 0.11)
    z += 0.07 * p.cheekbones * g.bump(0.72, 0.42, 0.26, 0.2) - 0.03 * p.cheekbones * g.bump(0.8, 0.95, 0.2, 0.25)
    z += 0.10 * g.bump(0.0, m - 0.05, 0.36, 0.27)
    z -= 0.05 * g.bump(0.0, m + 0.68 * p.lip_fullness + 0.07, 0.24, 0.07)
    z += 0.08 * g.bump(0.0, p.chin_y - 0.24, 0.22, 0.17)
    fold = p.nose_width / 2 + 0.03 + 0.34 * np.clip(g.y - 0.8 * p.nose_length, 0, 1) ** 0.8
    along = smooth(0.72 * p.nose_length, 0.95 * p.nose_length, g.y) * (1 - smooth(m - 0.22, m + 0.16, g.y))
    z += (0.006 + 0.02 * p.age_lines) * along * np.tanh((g.ax - fold) / 0.07) * np.exp(-(((g.ax - fold) / 0.2) ** 2))
    z -= 0.018 * g.bump(0.0, m - 0.43 * p.lip_fullness - 0.09, 0.035, 0.07)
    z += 0.012 * g.bump(0.075, m - 0.43 * p.lip_fullness - 0.08, 0.025, 0.07)
    z += nose(g) + lips(g)[0] + wrinkles(g)
    return z


def wrinkles(g: Grid) -> Plane:
    """Crease the forehead and the skin beside and under the eyes."""
    p, eye = g.p, g.p.eye_spacing / 2
    wave = np.cos((g.y + 0.05 * g.x**2 + 0.012 * g.noise(0.05, 11)) * 2 * np.pi / 0.16)
    z: Plane = 0.0045 * p.age_lines * wave * g.bump(0.0, -0.66, 0.42, 0.12)
    fan = np.cos(np.arctan2(g.y + 0.02, g.ax - eye - 0.12) * 13)
    z += 0.004 * p.age_lines * fan * g.bump(eye + 0.34, 0.02, 0.07, 0.1)
    bag = g.y - 0.155 + 0.5 * (g.ax - eye) ** 2
    z -= (0.004 + 0.012 * p.age_lines) * np.exp(-((bag / 0.03) ** 2)) * g.bump(eye - 0.04, 0.15, 0.14, 0.1)
    return z


def nose(g: Grid) -> Plane:
    """Sculpt the nose: bridge, tip, wings and the drop to the upper lip."""
    p, n, w = g.p, g.p.nose_length, g.p.nose_width / 2
    t = np.clip((g.y + 0.25) / (0.70 * n + 0.25), 0, 1)
    ridge = (0.03 + 0.23 * t**1.5) * smooth(-0.35, -0.05, g.y) * p.nose_bridge + 0.06 * t**3
    ridge *= 1 - smooth(0.74 * n, 1.1 * n, g.y)
    z: Plane = ridge * np.exp(-0.5 * (g.ax / (0.085 + 0.05 * t * w / 0.28)) ** 2)
    z += 0.09 * p.nose_bulb * g.bump(0.0, 0.74 * n, 0.11, 0.105)
    wing = np.clip(1 - ((g.ax - 0.70 * w) / (0.33 * w)) ** 2 - ((g.y - 0.85 * n) / 0.115) ** 2, 0, 1)
    z += g.blur(0.15 * np.sqrt(wing), 0.026)
    z += 0.04 * g.bump(0.0, 0.93 * n, 0.05, 0.05)
    return z


def lips(g: Grid) -> tuple[Plane, Plane, Plane]:
    """Shape the lips: their relief, where they are red, and how near the mouth line is."""
    p, half, m = g.p, g.p.mouth_width / 2, g.p.mouth_y
    t = np.clip(g.ax / half, 0, 1.2)
    body = np.clip(1 - t**2, 0, 1)
    line = m + 0.012 * np.exp(-((g.ax / 0.05) ** 2)) - 0.012 * np.exp(-(((g.ax - 0.16) / 0.1) ** 2)) + 0.01 * t**4
    bow = 1 - 0.13 * np.exp(-((g.ax / 0.05) ** 2)) + 0.10 * np.exp(-(((g.ax - 0.09) / 0.07) ** 2))
    top = line - 0.44 * p.lip_fullness * bow * body**0.85
    bottom = line + 0.56 * p.lip_fullness * body**0.6
    up = np.clip((line - g.y) / np.maximum(line - top, 1e-3), -1, 2)
    down = np.clip((g.y - line) / np.maximum(bottom - line, 1e-3), -1, 2)
    inside = smooth(0.0, 0.14, body)
    red = inside * np.where(g.y < line, 1 - smooth(0.78, 1.08, up), 1 - smooth(0.74, 1.1, down))
    upper = 0.038 * np.sin(np.pi * np.clip(up, 0, 1) ** 2)
    swell = np.where(g.y < line, upper, 0.23 * np.clip(down * (1 - down), 0, 1))
    near = np.exp(-(((g.y - line) / 0.016) ** 2)) * smooth(-0.03, 0.12, 1.03 - t)
    corner = g.bump(half + 0.005, m + 0.01, 0.035, 0.03)
    z = g.blur(swell * inside, 0.018) - 0.035 * g.blur(near, 0.012) - 0.03 * corner
    return z, g.blur(red, 0.01), np.maximum(near, 0.6 * corner)


def skin(g: Grid) -> Colour:
    """Colour the skin: tone, undertone, blood, blotches and pores."""
    p = g.p
    base = ramp(SKIN, p.skin_tone) * np.array([1.0, 1 + 0.03 * p.undertone, 1 - 0.10 * p.undertone], np.float32)
    blood = g.bump(0.72, 0.48, 0.24, 0.2) + 0.9 * g.bump(0.0, 0.74 * p.nose_length, 0.2, 0.13)
    blood += 0.4 * g.bump(0.0, p.chin_y - 0.2, 0.2, 0.15)
    blood = p.redness * blood + 0.25 * p.blotch * g.noise(0.03, 1) + 0.1 * p.blotch * g.noise(0.008, 2)
    tint = np.exp(blood[..., None] * np.array([-0.03, -0.17, -0.14], np.float32))
    dusk = g.bump(p.eye_spacing / 2 - 0.03, 0.12, 0.2, 0.07) + 0.6 * g.bump(p.eye_spacing / 2, -0.13, 0.2, 0.06)
    shade = 1 + 0.03 * p.pores * g.noise(0.0022, 3) + 0.035 * p.blotch * g.noise(0.06, 4) - 0.13 * dusk
    return base * tint * shade[..., None]


def ears(g: Grid, picture: Colour, complexion: Colour) -> Colour:
    """Paint the ears: rim, hollow and lobe."""
    x0, y0 = g.p.head_width / 2 + 0.04, 0.19
    u, v = (g.ax - x0 + 0.16 * (g.y - y0)) / 0.145, (g.y - y0) / 0.37
    d = np.hypot(u * (1 + 0.28 * v), v)
    shell = np.exp(-(((u + 0.25) / 0.42) ** 2) - ((v - 0.08) / 0.36) ** 2)
    groove = np.exp(-(((d - 0.68) / 0.09) ** 2)) * smooth(-0.7, 0.2, u - 0.9 * v)
    z = 0.07 * np.sqrt(np.clip(1 - d**2, 0, 1)) + 0.05 * np.exp(-(((d - 0.85) / 0.12) ** 2))
    tint = complexion * np.array([1.0, 0.86, 0.84], np.float32) * (1 - 0.55 * shell - 0.3 * groove)[..., None]
    lit = light(g, z - 0.10 * shell - 0.03 * groove, tint, 0.1, hollow=6.0)
    return over(picture, lit, 1 - smooth(0.96, 1.04, d))


def body(g: Grid, picture: Colour, skin_colour: Colour, head: Plane) -> Colour:
    """Paint the neck, in the shadow of the chin, the shoulders and the clothes."""
    p = g.p
    half = 0.37 * p.jaw_width + 0.03 * (g.y - 1.5) ** 2 + 2.3 * np.clip(g.y - 1.76, 0, None) ** 1.6
    z = 0.55 * np.sqrt(np.clip(1 - (g.ax / np.maximum(half, 0.1)) ** 2, 0, 1))
    z += 0.05 * np.exp(-(((g.ax - 0.34 + 0.35 * (g.y - 1.6)) / 0.09) ** 2)) - 0.05 * g.bump(0.0, 2.35, 0.1, 0.12)
    mask = (1 - smooth(-0.02, 0.02, g.ax - half)) * (g.y > 0.8)
    unit = FACE_UNIT * g.size
    drop = np.array([[1, 0, -0.05 * unit * key_light(p)[0]], [0, 1, 0.17 * unit]])
    under = g.blur(cv2.warpAffine(head, drop, (g.size, g.size)), 0.07) * smooth(0.9, 1.4, g.y)
    neck = light(g, z, skin_colour * (1 - 0.76 * under)[..., None], 0.15 * (1 - under))
    picture = over(picture, neck, mask)
    collar = 2.02 + 0.24 * p.neckline - (0.42 - 0.05 * p.neckline) * (g.ax / 0.8) ** (1.2 + 0.8 * (1 - p.neckline))
    cloth = smooth(0.0, 0.03, g.y - collar) * (1 - smooth(-0.02, 0.02, g.ax - half - 0.05))
    hue = colorsys.hsv_to_rgb(p.cloth_hue, p.cloth_saturation, 255 * p.cloth_value)
    weave = linear(np.array(hue)) * (1 + 0.08 * g.noise(0.0022, 8))[..., None] + 0.008
    folds = z + 0.02 * g.noise(0.05, 9) + 0.06 * np.exp(-(((g.y - collar - 0.06) / 0.06) ** 2))
    picture = picture * (1 - 0.35 * np.exp(-(((g.y - collar) / 0.05) ** 2)) * mask)[..., None]
    return over(picture, light(g, folds, weave, 0.0), cloth)


def ground(g: Grid) -> Colour:
    """Paint a plain ground that the light falls off on."""
    p = g.p
    tint = linear(255 * np.array(colorsys.hsv_to_rgb(p.ground_hue, 0.13, p.ground_value)))
    fall = 1 - 0.11 * g.x * key_light(p)[0] - 0.10 * g.y + 0.03 * g.noise(0.12, 10)
    return tint * np.clip(fall, 0.3, 1.6)[..., None]


def head(g: Grid, rho: Plane, complexion: Colour) -> Colour:
    """Light the head, its lips and nostrils; the lids are still closed."""
    p, n, w = g.p, g.p.nose_length, g.p.nose_width / 2
    z = relief(g, rho)
    _, red, near = lips(g)
    mouth = complexion * (1 - 0.62 * p.lip_colour * np.array([0.22, 0.85, 0.7], np.float32))
    albedo = over(complexion, mouth, red) * (1 - 0.78 * near)[..., None]
    d = np.hypot((g.ax - 0.45 * w) / (0.22 * w), (g.y - 0.945 * n - 0.12 * (g.ax - 0.45 * w)) / 0.034)
    albedo *= (1 - 0.82 * np.exp(-(d**3)))[..., None]
    gloss = 0.15 + g.bump(0.0, -0.55, 0.4, 0.25) + 1.2 * g.bump(0.0, 0.35, 0.1, 0.35)
    gloss = gloss + 0.5 * g.bump(0.7, 0.35, 0.2, 0.15)
    return light(g, z, albedo, p.oiliness * gloss + 0.45 * red)


def finish(picture: Colour) -> Colour:
    """Turn linear light into sRGB without detail too fine for the image size."""
    srgb = np.clip(picture, 0, 1) ** np.float32(1 / 2.2)
    return np.clip(cv2.GaussianBlur(srgb, (0, 0), LENS_BLUR), 0, 1)
