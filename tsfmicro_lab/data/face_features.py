"""Eyes, brows and hair of the synthetic face: what is laid upon the lit head, much of it strand by strand."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32
from scipy.interpolate import CubicSpline

from tsfmicro_lab.data.face_paint import Colour, Grid, Plane, key_light, linear, over, ramp, smooth
from tsfmicro_lab.data.face_params import FACE_UNIT, FaceParams

#: Hair from fair to black; irises from blue to dark brown (sRGB).
HAIR = ((206, 172, 118), (128, 90, 54), (66, 42, 27), (27, 21, 19))
IRIS = ((96, 124, 148), (104, 122, 98), (122, 98, 58), (74, 46, 28), (48, 30, 22))


def hair_colour(p: FaceParams) -> Float32[np.ndarray, "3"]:
    """Mix melanin, copper and grey."""
    colour = ramp(HAIR, p.hair_melanin)
    colour += (linear(np.array([150.0, 70.0, 30.0])) - colour) * 0.8 * p.hair_red * (1 - 0.7 * p.hair_melanin)
    colour += (linear(np.array([175.0, 172.0, 168.0])) - colour) * p.hair_grey
    return colour


def freckles(g: Grid, complexion: Colour) -> Colour:
    """Scatter small spots over nose and cheeks."""
    rng = np.random.default_rng((g.p.texture_seed, 5))
    centre = np.array([0.0, 0.42]) + rng.normal(0, 1, (450, 2)) * np.array([0.5, 0.17])
    cover, depth = g.strands(centre[:, None] + rng.normal(0, 0.007, (450, 2, 2)), rng.uniform(0.2, 1.0, 450))
    return complexion * (1 - 0.6 * g.p.freckles * cover * depth)[..., None]


def beard(g: Grid, complexion: Colour) -> Colour:
    """Darken cheeks, chin, throat and upper lip by the shadow of a beard or by stubble."""
    p, m = g.p, g.p.mouth_y
    cheeks = smooth(0.60, 0.85, g.ax + 0.55 * (g.y - 0.3)) * smooth(0.35, 0.9, g.y)
    hairy = np.clip(cheeks + 0.9 * g.bump(0.0, m - 0.27, 0.38, 0.09), 0, 1)
    hairy *= (1 - smooth(p.chin_y - 0.05, p.chin_y + 0.2, g.y)) * (1 - 0.8 * g.bump(0.45, m - 0.25, 0.12, 0.12))
    stubble = np.clip(0.8 + 0.25 * g.noise(0.0013, 6) + 0.08 * g.noise(0.012, 12), 0, 1.3) * hairy
    stubble = np.clip(0.62 * p.beard * stubble, 0, 0.8).astype(np.float32)
    return over(complexion, complexion * 0.12 + hair_colour(p) * 0.25, stubble)


def lid_edges(g: Grid) -> tuple[Plane, Plane, Plane]:
    """Return the position across the eye (-1 inner, 1 outer corner) and the heights of the upper and lower lid."""
    p = g.p
    t = (g.ax - p.eye_spacing / 2) / (p.eye_width / 2)
    s = np.clip(t, -1, 1)
    corners = -(0.02 + p.eye_slant / 2) * s
    upper = corners - 0.57 * p.eye_opening * np.clip(1 - s**2, 0, 1) ** 0.62 * (1 - 0.12 * s)
    lower = corners + 0.43 * p.eye_opening * np.clip(1 - s**2, 0, 1) ** 0.8 * (1 + 0.18 * s)
    return t, upper, lower


def eyeballs(g: Grid) -> Colour:
    """Paint the eyes behind the lids: white, iris of one colour, pupil, the lid's shadow and the catch-light."""
    p, eye, radius = g.p, g.p.eye_spacing / 2, 0.094
    t, upper, _ = lid_edges(g)
    dx, dy = g.ax - eye, g.y + 0.012
    r = np.hypot(dx, dy) / radius
    fibres = np.sin(np.arctan2(dy, dx) * 23 + 3 * g.noise(0.01, 7)) * 0.5 + np.sin(np.arctan2(dy, dx) * 41) * 0.3
    iris = ramp(IRIS, p.iris_melanin) * (1 + 0.22 * fibres + 0.35 * (1 - r))[..., None]
    iris = iris * (1 - 0.65 * smooth(0.75, 1.02, r) + 0.25 * smooth(0.0, 1.3, dy / radius))[..., None]
    iris = over(iris, np.full(3, 0.004, np.float32), 1 - smooth(p.pupil - 0.07, p.pupil + 0.07, r))
    ball = (1 - 0.35 * np.clip(t, -1, 1) ** 2)[..., None] * np.array([0.56, 0.52, 0.49], np.float32)
    ball = over(ball, linear(np.array([196.0, 120.0, 110.0])), (1 - smooth(-0.98, -0.78, t)) * 0.8)
    eyes = over(ball, iris, 1 - smooth(0.92, 1.05, r)) * (0.25 + 0.75 * smooth(-0.02, 0.075, g.y - upper))[..., None]
    kx = key_light(p)[0]
    eyes *= (1 + 0.1 * kx * np.sign(g.x))[..., None]
    glint = np.hypot(g.x - np.sign(g.x) * eye - 0.035 * kx, g.y + 0.05) / 0.017
    return over(eyes, np.ones(3, np.float32), 0.9 * (1 - smooth(0.5, 1.3, glint)))


def eyes(g: Grid, lit: Colour) -> tuple[Colour, Colour, Plane]:
    """Open the eyes in a lit head; return it with open and closed eyes, and how far down the opening a pixel is."""
    p = g.p
    t, upper, lower = lid_edges(g)
    near = np.clip(1 - smooth(1.1, 1.4, np.abs(t)), 0, 1) * smooth(-0.32, -0.22, g.y) * (1 - smooth(0.14, 0.22, g.y))
    across = np.clip(1.15 - t**2, 0, 1)
    crease = (g.y - upper + 0.075 * across**0.3 + 0.01) / 0.022
    fold = 0.7 * p.lid_crease * across * np.exp(-(crease**2)) * near
    closed = lit * (1 - 0.5 * fold - 0.25 * near * np.exp(-(((g.y - lower + 0.01) / 0.035) ** 2)) * across)[..., None]
    rim = 0.5 * np.exp(-(((g.y - lower - 0.012) / 0.012) ** 2)) * across * near
    opened = over(lit * (1 - fold)[..., None], np.minimum(lit * 1.25 + 0.02, 1), rim)
    soft = 0.5 / (FACE_UNIT * g.size) + 0.006
    inside = smooth(-soft, soft, np.minimum(g.y - upper, lower - g.y) - 0.3 * soft) * (np.abs(t) < 1)
    opened = over(opened, eyeballs(g), inside.astype(np.float32))
    ink = hair_colour(p) * 0.12 + 0.004
    lid = np.clip((g.y - upper) / np.maximum(lower - upper, 0.02), 0, 1)
    lid = np.where((np.abs(t) < 1.4) & (g.y > -0.32) & (g.y < 0.22), lid, 2.0).astype(np.float32)
    return over(opened, ink, lashes(g, closed=False) * near), over(closed, ink, lashes(g, closed=True) * near), lid


def lashes(g: Grid, closed: bool) -> Plane:
    """Draw the lash line and the lashes, on the upper lid's edge or, with the eyes closed, on the lower one's."""
    p, rng = g.p, np.random.default_rng((g.p.texture_seed, 21))
    t, upper, lower = lid_edges(g)
    edge = lower if closed else upper
    within = smooth(1.06, 0.93, np.abs(t))
    line = (0.75 + 0.25 * np.clip(t, -1, 1)) * np.exp(-(((g.y - edge + 0.004) / 0.017) ** 2)) * within
    s = rng.uniform(-0.8, 1.0, (2, 55))
    bend = rng.uniform(0.0, 1.0, s.shape)
    length = (0.018 + 0.032 * p.lashes * rng.uniform(0.5, 1, s.shape)) * (0.75 + 0.4 * s)
    sign = 1 if closed else -1
    top = 0.43 * (1 - s**2) ** 0.8 * (1 + 0.18 * s) if closed else -0.57 * (1 - s**2) ** 0.62 * (1 - 0.12 * s)
    y = -(0.02 + p.eye_slant / 2) * s + top * p.eye_opening
    k = np.linspace(0, 1, 5)
    x = p.eye_spacing / 2 + s * p.eye_width / 2
    x = x[..., None] + (0.45 * s + 0.2 * bend)[..., None] * length[..., None] * k
    y = y[..., None] + sign * length[..., None] * (0.35 * k + 0.5 * k**2)
    x *= np.array([1, -1])[:, None, None]
    hairs = g.strands(np.stack([x, y], -1).reshape(-1, 5, 2), np.ones(s.size))[0]
    rim = np.exp(-(((g.y - lower) / 0.012) ** 2)) * within * (0.25 if not closed else 0.0)
    return np.clip(0.85 * line + 0.55 * p.lashes * hairs + rim, 0, 0.95)


def brows(g: Grid) -> Plane:
    """Draw the brows hair by hair: upright at the inner end, lying outwards at the outer one."""
    p, rng = g.p, np.random.default_rng((g.p.texture_seed, 22))
    s, across = rng.uniform(0, 1, (2, 230)) ** 0.9, rng.normal(0, 0.36, (2, 230)).clip(-0.8, 0.8)
    x, y, thick = brow_line(p, s)
    angle = np.radians(80 - 75 * s**0.55 + 28 * across) + rng.normal(0, 0.12, s.shape)
    length = (0.075 + 0.035 * rng.uniform(0, 1, s.shape)) * (1 - 0.25 * s)
    k = np.linspace(-0.5, 0.5, 4)
    px = x[..., None] + (length * np.cos(angle))[..., None] * k
    py = (y + across * thick)[..., None] - (length * np.sin(angle))[..., None] * k
    px *= np.array([1, -1])[:, None, None]
    keep: Bool[np.ndarray, "two n"] = rng.uniform(0, 1, s.shape) < p.brow_density
    hairs = g.strands(np.stack([px, py], -1)[keep], np.ones(int(keep.sum())))[0]
    axis = np.clip((g.ax - p.eye_spacing / 2 + 0.28) / 0.62, 0, 1)
    _, mid, wide = brow_line(p, axis)
    along = (np.abs(axis - 0.5) < 0.47).astype(np.float32)
    shadow = np.exp(-(((g.y - mid) / (0.62 * wide)) ** 2)) * g.blur(along, 0.03)
    return np.clip(0.75 * hairs + 0.42 * p.brow_density * shadow, 0, 0.92)


def brow_line(p: FaceParams, s: Float[np.ndarray, "*n"]) -> tuple[Float[np.ndarray, "*n"], ...]:
    """Return x, y and thickness along the brow, from its inner (0) to its outer end (1)."""
    arch = -0.075 * np.abs(np.sin(np.pi * np.clip(s, 0, 1) ** 1.35)) ** 1.2
    y = -p.brow_height + 0.03 - p.brow_slope * s + arch + 0.015 * s
    thick = p.brow_thickness * (1 - 0.55 * s**1.6) * (0.75 + 0.25 * np.clip(4 * s, 0, 1))
    return p.eye_spacing / 2 - 0.28 + 0.62 * s, y, thick


def hair_curve(
    p: FaceParams, side: float, q: Float[np.ndarray, "*n"], s: Float[np.ndarray, "*n"]
) -> Float[np.ndarray, "*n 2"]:
    """Follow the hair from the parting (s=0) by temple (2), ear (3), jaw (5) and beyond (6).

    All hair lies between an inner curve (q=0), the hair line and the edge of the face, and an outer one (q=1), the
    silhouette; the same family of curves fills the mass of hair and lays its strands.
    """
    w, f, back = p.head_width / 2, -p.forehead_height, p.hair_recession
    long, part = p.hair_length**1.3, p.hair_part * (1 - 0.6 * back)
    v = p.hair_volume * (1 + 0.6 * p.hair_curl)
    top = v * (1 - 0.8 * back)
    x_in = [part, side * 0.52 * w + 0.2 * part, side * 0.84 * w, side * 0.955 * w, side * (0.98 - 0.05 * long) * w]
    y_in = [f - 0.62 * back, f + 0.05 - 0.5 * back, -0.55 - 0.3 * back, -0.1, 0.45, 1.25, 2.5]
    x_out = [0.5 * part, side * 0.62 * w, side * (0.99 * w + 0.6 * v), side * (w + 0.03 + (0.06 + 0.7 * v) * long)]
    x_out += [side * (w + (0.14 + reach * v) * long) for reach in (1.0, 1.1, 0.7)]
    y_out = [-1.68 - 0.75 * top, -1.46 - 0.75 * top, -0.72, -0.05, 0.5, 1.3, 2.5]
    inner = np.array([[*x_in, side * 0.84 * w, side * 0.86 * w], y_in]).T
    outer = np.array([x_out, y_out]).T
    level: Any = ((1, [side * 0.5, 0.0]), (2, [0.0, 0.0]))
    a, b = (CubicSpline(np.arange(7.0), curve, bc_type=level)(s) for curve in (inner, outer))
    return a + (b - a) * q[..., None]


def hair_end(p: FaceParams) -> float:
    """Return how far along its curves the hair reaches."""
    return 3.0 + 2.9 * float(p.hair_length**1.6)


def hair_lines(p: FaceParams, count: int) -> Float[np.ndarray, "n m 2"]:
    """Lay strands along the family of curves or swept across it, wavy or coiled, in locks and not quite in order."""
    rng = np.random.default_rng((p.texture_seed, 23))
    lock = rng.integers(0, 90, count)
    side = np.where(lock % 2 == 0, -1.0, 1.0)
    end = hair_end(p) + (0.12 + 0.12 * p.hair_length) * (0.6 * rng.normal(0, 1, 90)[lock] + rng.normal(0, 0.5, count))
    q = 0.65 * rng.uniform(0, 1, count) + 0.35 * rng.uniform(0, 1, 90)[lock]
    q = np.clip(0.5 + 1.18 * (q - 0.5), 0.015, 0.985)
    start = np.abs(rng.uniform(-0.3, 1.0, count)) * np.maximum(end - 0.25, 1.5)
    length = (0.45 + 2.0 * p.hair_length) * rng.uniform(0.6, 1.0, count)
    k = np.linspace(0, 1, 16)
    upright = p.hair_sweep * np.clip(1.6 - 0.55 * start, 0, 1) * (0.5 + 0.5 * (1 - p.hair_length))
    along = np.minimum(length * (1 - 0.85 * upright), np.maximum(end - start, 0.05))
    s = np.clip(start[:, None] + along[:, None] * k - 0.05 - 0.35 * upright[:, None] ** 2, -0.4, 6.0)
    loose = 0.03 + 0.1 * (1 - p.hair_length)
    rise = upright * (0.35 + 0.4 * rng.uniform(0, 1, count)) + loose * rng.normal(0, 1, count)
    qs = q[:, None] * (1 - 0.5 * upright[:, None]) + rise[:, None] * k
    qs = np.minimum(qs, 1.0 + 0.07 * np.abs(rng.normal(0, 1, count))[:, None])
    right, left = hair_curve(p, -1.0, qs, s), hair_curve(p, 1.0, qs, s)
    lines = np.where((side > 0)[:, None, None], left, right)
    reach = np.linalg.norm(np.diff(lines, axis=1), axis=-1).sum(1)[:, None]
    wave = 2 * np.pi * (1.2 + 2.5 * p.hair_curl) * reach * k + rng.uniform(0, 6.3, 90)[lock][:, None] + 4 * q[:, None]
    size = 0.012 + 0.065 * p.hair_curl**1.2
    lines = lines + size * k[:, None] ** 0.3 * np.stack([np.cos(wave), np.sin(wave) * p.hair_curl], -1)
    return np.concatenate([lines, fringe_lines(p, rng, k)])


def fringe_lines(p: FaceParams, rng: np.random.Generator, k: Float[np.ndarray, "m"]) -> Float[np.ndarray, "n m 2"]:
    """Let strands fall from above the hair line over the forehead, in locks."""
    count = 420
    lock = rng.integers(0, 30, count)
    side = np.where(lock % 2 == 0, -1.0, 1.0)
    fall = (p.forehead_height - 0.42) * np.clip(p.hair_fringe - 0.4, 0, 1) / 0.6 * (1 - p.hair_recession)
    s, q = rng.uniform(0.0, 1.5, count) ** 0.9, rng.uniform(0.0, 0.35, count)
    root = np.where((side > 0)[:, None], hair_curve(p, 1.0, q, s), hair_curve(p, -1.0, q, s))
    ends = fall * (0.8 + 0.18 * rng.normal(0, 1, 30)[lock] + 0.08 * rng.normal(0, 1, count)) * (1 - 0.15 * s)
    sway = fall * (p.hair_part + 0.3 * rng.normal(0, 1, 30)[lock]) + 0.02 * rng.normal(0, 1, count)
    wave = 0.03 * p.hair_curl * np.sin(9 * k * (1 + p.hair_curl) + lock[:, None])
    x = root[:, :1] + sway[:, None] * k**1.5 * 0.6 + wave
    return np.stack([x, root[:, 1:] + np.clip(ends, 0, 1.1 * fall)[:, None] * k], -1)


def hair_mass(g: Grid) -> Plane:
    """Fill the mass of the hair, short of its edges, where single strands show."""
    s = np.linspace(0, hair_end(g.p) - 0.08, 60)
    thin = 0.42 * np.clip(1 - (s[-1] - s) / 0.7, 0, 1)
    sides = []
    for side in (-1.0, 1.0):
        inner, outer = hair_curve(g.p, side, 0.08 + thin, s), hair_curve(g.p, side, 0.93 - thin, s)
        sides.append(g.fill(np.concatenate([inner, outer[::-1]]), 0.035))
    return np.clip(sides[0] + sides[1], 0, 1)


def hair(g: Grid, picture: Colour) -> Colour:
    """Lay the hair over the head: its mass, its strands, each with its own value, and a band of gloss."""
    p, rng = g.p, np.random.default_rng((g.p.texture_seed, 24))
    lines = hair_lines(p, 2600)
    cover, value = g.strands(lines, rng.beta(1.3, 1.3, len(lines)))
    mass = hair_mass(g)
    on_head = 1 - smooth(0.9, 1.0, np.hypot(g.x / (p.head_width / 2), (g.y - 0.1) / 1.72))
    picture = picture * (1 - 0.4 * g.blur(mass, 0.07) * (1 - mass) * on_head)[..., None]
    dome = np.clip(1 - (g.x / 1.6) ** 2 - ((g.y + 0.1) / 2.1) ** 2, 0, 1)
    kx, ky, _ = key_light(p)
    facing = 0.35 + 0.35 * (g.x / 1.5 * kx + g.y / 1.9 * ky) + 0.45 * np.sqrt(dome)
    facing = np.clip(facing, 0.12, 1.2)
    ring = np.hypot(g.x - 0.3 * kx, g.y) - 1.32 - 0.04 * np.sin(9 * g.x)
    band = np.exp(-((ring / 0.14) ** 2)) * facing * (1 - 0.6 * p.hair_curl)
    colour = hair_colour(p) * ((0.3 + 1.1 * value) * facing)[..., None]
    colour += (0.09 * band * value)[..., None] * (0.35 + 1.5 * hair_colour(p))
    under = hair_colour(p) * (0.35 * facing)[..., None]
    picture = over(picture, under.astype(np.float32), 0.9 * mass)
    return over(picture, colour.astype(np.float32), np.clip(0.88 * cover, 0, 1))


def hair_behind(g: Grid, picture: Colour) -> Colour:
    """Paint the hair that hangs behind the neck."""
    s = np.linspace(1.5, hair_end(g.p) - 0.1 - 0.3 * g.p.hair_length, 40)
    left, right = (hair_curve(g.p, side, np.full(40, 0.78), s) for side in (-1.0, 1.0))
    mass = g.fill(np.concatenate([left, right[::-1]]), 0.02 + 0.06 * g.p.hair_length)
    return over(picture, hair_colour(g.p) * 0.2, mass)
