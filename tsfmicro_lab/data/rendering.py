"""Draws a surface that moves: triangles, light and texture, and the exact motion of every visible pixel."""

from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import Bool, Float32
from scipy.sparse import csr_matrix

from tsfmicro_lab.clips import Frame
from tsfmicro_lab.data.mesh import DENSITY, Vertices

Image = Float32[np.ndarray, "size size 3"]
Depth = Float32[np.ndarray, "size size"]
Vectors = Float32[np.ndarray, "2 size size"]

#: Distance of the camera, millimetres, and how large a millimetre appears at the eyes, as a share of the image's side.
DISTANCE, SCALE = 1500.0, 0.235 / 61.5
#: Height of the eyes in the image, as a share of its side.
EYE_LEVEL = 0.45
#: Pixels are drawn this many times finer, a side, than they are shown: edges move by fractions of a pixel.
SUPERSAMPLE = 2
_NEAR, _FAR = 200.0, 6000.0


@dataclass(frozen=True)
class Camera:
    """Where the face appears in the picture: by default upright and in the middle."""

    size: int = 224  #: side of the picture, pixels
    zoom: float = 1.0
    roll: float = 0.0  #: radians, clockwise in the picture
    shift: tuple[float, float] = (0.0, 0.0)  #: to the right and down, as a share of the side

    def project(self, vertices: Float32[np.ndarray, "n 3"]) -> Float32[np.ndarray, "n 2"]:
        """Millimetres in space to pixels; the centre of the first pixel is 0."""
        placed = self._placed(vertices)
        xy = self.size * SCALE * DISTANCE * placed[:, :2] / (DISTANCE - placed[:, 2:])
        return (xy * (1, -1) + (self.size - 1) / 2).astype(np.float32)

    def rasterize(self, vertices: Vertices, triangles: np.ndarray, values: Vertices, size: int) -> tuple[Image, Depth]:
        """Interpolates three values per vertex over visible triangles; the depth is infinite where none is."""
        picture, depth = np.zeros((size, size, 3), np.float32), np.full((size, size), _FAR, np.float32)
        settings = cv2.TriangleRasterizeSettings().setShadingType(cv2.RASTERIZE_SHADING_SHADED)
        settings.setCullingMode(cv2.RASTERIZE_CULLING_CW)
        pose = np.eye(4, dtype=np.float32)
        pose[2, 3] = -DISTANCE
        cv2.triangleRasterize(
            self._placed(vertices)[:, None], triangles[:, None], np.ascontiguousarray(values, np.float32)[:, None],
            picture, depth, pose, 2 * np.arctan(0.5 / SCALE / DISTANCE), _NEAR, _FAR, settings,
        )  # fmt: skip
        depth[depth > 0.99 * _FAR] = np.inf
        return picture, depth

    def _placed(self, vertices: Float32[np.ndarray, "n 3"]) -> Vertices:
        """Vertices as the camera sees them: turned, enlarged and shifted in the picture's plane."""
        c, s = self.zoom * np.cos(self.roll), self.zoom * np.sin(self.roll)
        turn = np.array([[c, s, 0], [-s, c, 0], [0, 0, self.zoom]], np.float32)
        shift = np.array([self.shift[0], 0.5 - EYE_LEVEL - self.shift[1], 0], np.float32) / np.float32(SCALE)
        return np.asarray(vertices @ turn.T + shift, np.float32)


@dataclass(frozen=True)
class Light:
    """A lamp (key), a softer one from the other side (fill), and light from everywhere; linear, per colour."""

    key: tuple[float, float, float] = (0.45, 0.45, 0.9)  #: direction to the lamp: left in the image is negative x
    colour: tuple[float, float, float] = (0.85, 0.80, 0.74)
    fill: float = 0.30
    ambient: float = 0.42

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Light":
        """A light as rooms and studios have it: from either side, warmer or cooler, harder or softer."""
        warm, strength = rng.uniform(-1, 1), rng.uniform(0.85, 1.15)
        colour = strength * (1 + 0.06 * warm), strength * 0.96, strength * (0.92 - 0.07 * warm)
        key = float(rng.choice([-1, 1]) * rng.uniform(0.1, 0.8)), rng.uniform(0.3, 0.7), 0.9
        return cls(key, colour, rng.uniform(0.12, 0.32), rng.uniform(0.28, 0.45))


@dataclass(frozen=True)
class Surface:
    """What can be moved and drawn: a head or a photograph, at rest.

    The vertices of the head come first, moved by the units of the mesh: a delta d of a unit is frame @ d here.
    """

    vertices: Vertices  #: millimetres, looking into the camera
    triangles: np.ndarray
    uv: Float32[np.ndarray, "vertices 2"]  #: place in the texture, pixels
    texture: Float32[np.ndarray, "height width 3"]  #: linear light, 0 to 1
    sky: Float32[np.ndarray, " vertices"]  #: share of the surroundings' light that arrives
    gloss: Float32[np.ndarray, " vertices"]  #: strength of the highlight
    background: Float32[np.ndarray, "*size 3"]  #: a colour, or a picture that fills the frame; linear light
    density: float = DENSITY  #: pixels of the texture for a millimetre of the face
    #: Turns and scales what a unit does to the mean head, upright, into this surface's pose.
    frame: Float32[np.ndarray, "3 3"] = field(default_factory=lambda: np.eye(3, dtype=np.float32))
    lit: Float32[np.ndarray, " vertices"] | None = None  #: shade that the texture holds already; a head's holds none
    follow: np.ndarray | csr_matrix | None = None  #: how the vertices behind the head's own go along

    @cached_property
    def corners(self) -> csr_matrix:
        """Vertices × triangles: sums what belongs to triangles at their vertices."""
        count = len(self.triangles)
        where = self.triangles.T.ravel(), np.tile(np.arange(count), 3)
        return csr_matrix((np.ones(3 * count, np.float32), where), (len(self.vertices), count))

    @cached_property
    def smaller(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The texture, and the same at a half and at a quarter of its side, for small pictures."""
        half = cv2.pyrDown(self.texture)
        return self.texture, half, cv2.pyrDown(half)

    def complete(self, head: Vertices) -> np.ndarray:
        """All vertices, when the head's own have moved."""
        if self.follow is None:
            return head
        count = len(head)
        return np.concatenate([head, self.vertices[count:] + self.follow @ (head - self.vertices[:count])])

    def normals(self, vertices: Vertices) -> Vertices:
        """Direction of each vertex, outwards."""
        a, b, c = vertices[self.triangles].transpose(1, 2, 0)
        u, v = b - a, c - a
        across = [u[i - 2] * v[i - 1] - u[i - 1] * v[i - 2] for i in range(3)]  # np.cross takes three times as long
        total = self.corners @ np.stack(across, 1)
        return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-9)


#: Light that does not depend on the skin's slope, in a photograph, and how much darker or brighter its skin can become.
EVEN = 0.5
_RELIGHT = 0.6, 1.6
#: How far light reaches around the edge into red, green and blue: skin lets red through.
_WRAP = np.array([0.36, 0.20, 0.14], np.float32)


def shade(surface: Surface, vertices: Vertices, light: Light) -> tuple[np.ndarray, np.ndarray]:
    """Light that a vertex sends back from its colour, per colour channel, and the highlight on top of it."""
    normal = surface.normals(vertices)
    key = np.array(light.key) / np.linalg.norm(light.key)
    other, half = (way / np.linalg.norm(way) for way in (key * (-1, 0.3, 1), key + np.array([0, 0, 1])))
    lamp, fill = (((normal @ way)[:, None] + _WRAP).clip(0) / (1 + _WRAP) for way in (key, other))
    sky = surface.sky[:, None] ** 1.4  # light that comes by way of other skin is left out: deeper, as photographs are
    around = light.ambient * (0.75 + 0.25 * normal[:, 1:2]) * sky
    diffuse = around + (0.15 + 0.85 * sky) * (np.array(light.colour) * lamp + light.fill * fill)
    if surface.lit is not None and surface.follow is not None:
        ratio = ((diffuse.mean(1) + EVEN) / (surface.lit + EVEN)).clip(*_RELIGHT)
        count = surface.follow.shape[1]
        flat = ratio[count]  # a corner of the backdrop, which goes along with the face as it does in motion
        ratio[:count][~normal[:count].any(1)] = flat
        ratio[count:] = flat + surface.follow @ (ratio[:count] - flat)
        return np.repeat(ratio[:, None], 3, 1).astype(np.float32), np.zeros(len(normal), np.float32)
    shine = (normal @ half).clip(0)
    highlight = surface.gloss * np.where(surface.gloss > 0.5, shine**150, 0.35 * shine**12 + 0.65 * shine**40)
    return diffuse.astype(np.float32), (highlight * (0.2 + 0.8 * surface.sky)).astype(np.float32)


def draw(surface: Surface, vertices: Vertices, camera: Camera, light: Light, slopes: Vertices | None = None) -> Image:
    """A picture of the surface in linear light; `slopes` are other vertices whose slopes the light is to meet."""
    fine = SUPERSAMPLE * camera.size
    diffuse, highlight = shade(surface, vertices if slopes is None else slopes, light)
    # The level of the texture whose pixels are about as large as the picture's.
    level = int(np.clip(np.log2(surface.density / (fine * SCALE * camera.zoom)) + 0.4, 0, 2))
    uv = (surface.uv + 0.5) / 2**level - 0.5
    place, depth = camera.rasterize(vertices, surface.triangles, np.c_[uv, highlight], fine)
    lit, _ = camera.rasterize(vertices, surface.triangles, diffuse, fine)
    column, row, shine = np.moveaxis(place, -1, 0)
    colour = cv2.remap(surface.smaller[level], column, row, cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE)
    colour *= lit
    colour += shine[..., None]
    behind = surface.background if surface.background.ndim == 3 else surface.background[None, None]
    behind = cv2.resize(behind, (fine, fine), interpolation=cv2.INTER_LINEAR)
    cv2.copyTo(behind, np.isinf(depth).view(np.uint8), colour)
    return cv2.resize(colour, (camera.size, camera.size), interpolation=cv2.INTER_AREA)


def encode(linear: Float32[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w 3"]:
    """Linear light to the grey levels of a screen (sRGB's curve, as a power), 0 to 255, not rounded."""
    return 255 * cv2.pow(linear.clip(0, 1), 1 / 2.2)


def to_frame(picture: Float32[np.ndarray, "h w 3"]) -> Frame:
    """Rounds grey levels to a frame."""
    return picture.round().clip(0, 255).astype(np.uint8)


def motion_field(triangles: np.ndarray, start: Vertices, end: Vertices, camera: Camera) -> tuple[Vectors, Depth]:
    """How each pixel of the first state moves to the second (dx, dy), pixels, and how far behind it then lies.

    The second is its distance from the camera in the second state, millimetres; infinite where there is no face, which
    does not move.
    """
    size = camera.size
    place, depth = camera.rasterize(start, triangles, end, size)
    there = camera.project(place.reshape(-1, 3)).reshape(size, size, 2)
    there[np.isinf(depth)] = _grid(size)[np.isinf(depth)]
    distance = DISTANCE - camera.zoom * place[..., 2]
    field = np.moveaxis(there - _grid(size), -1, 0)
    field[np.abs(field) < 5e-4] = 0  # the rasteriser's precision
    return field, np.where(np.isinf(depth), np.inf, distance).astype(np.float32)


def still_visible(
    triangles: np.ndarray, start: Vertices, end: Vertices, field: Vectors, distance: Depth, camera: Camera
) -> Bool[np.ndarray, "size size"]:
    """Which pixels of the first state are seen in the second: nothing has come before them, nor have they left.

    Beside a pixel's new place something covers it that is nearer and has moved otherwise, by half a pixel or more.
    """
    size = camera.size
    there = np.moveaxis(_grid(size), -1, 0) + field
    source, depth = camera.rasterize(end, triangles, start, size)
    came = np.moveaxis(_grid(size) - camera.project(source.reshape(-1, 3)).reshape(size, size, 2), -1, 0)
    came[:, np.isinf(depth)] = 0
    behind = np.minimum(distance, _FAR) - 0.3
    column, row = (np.floor(t).clip(0, size - 2).astype(int) for t in there)
    seen = ((there >= -0.5) & (there <= size - 0.5)).all(0)
    for step in (0, 1, size, size + 1):  # the four pixels around the new place
        beside = row * size + column + step
        dx, dy = (f.take(beside) - own for f, own in zip(came, field, strict=True))
        seen &= (depth.take(beside) >= behind) | (dx * dx + dy * dy <= 0.25)
    return seen


def _grid(size: int) -> Float32[np.ndarray, "size size 2"]:
    return np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1).astype(np.float32)
