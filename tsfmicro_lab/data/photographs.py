"""Photographs that move: the mean head is brought onto a portrait's landmarks, and its units move the picture."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from scipy.spatial import Delaunay

from tsfmicro_lab.clips import Frame, Points, read_image
from tsfmicro_lab.data.fitting import fit_head, unproject
from tsfmicro_lab.data.heads import Person, mixture
from tsfmicro_lab.data.mesh import head_mesh, places_of
from tsfmicro_lab.data.motion import Distractors, Motion, Strengths
from tsfmicro_lab.data.moving_face import MovingFace
from tsfmicro_lab.data.rendering import SCALE, SUPERSAMPLE, Camera, Light, Surface, shade
from tsfmicro_lab.data.synthetic import SyntheticMicroExpressions
from tsfmicro_lab.preprocess.alignment import apply_alignment, estimate_alignment, transform_points
from tsfmicro_lab.preprocess.landmarks import FACE_POINTS, default_landmarker

Source = Path | str | np.ndarray
Sources = Source | Sequence[Source] | None


#: The photograph goes on beyond the picture, by this share of its side, and moves together with the head up to there.
MARGIN = 0.25
#: Least side of a picture and height of a face, pixels, and what files are taken from a folder.
SMALLEST, SUFFIXES = 64, (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
#: Cells of the backdrop, a side.
_CELLS = 40
#: Standard deviation of the blur of the texture, its pixels: as a lens has it, and so that it can move smoothly.
_BLUR = 1.1


@dataclass(frozen=True, eq=False)
class Portrait:
    """A photograph of one face and where its landmarks are."""

    image: Frame = field(repr=False)  #: RGB
    points: Points = field(repr=False)  #: 478 landmarks, or the 30 named ones (lids, lips are met less well), pixels
    name: str = "photograph"  #: what messages call it


def find_portrait(picture: Source, name: str = "") -> Portrait:
    """Reads a picture of one face, from a file or as an array, and finds its landmarks with MediaPipe.

    Grey, 16-bit and transparent pictures become RGB of 8 bits; one that lies on its side is turned (as its EXIF note
    says, or until a face is found); one that is larger than needed shrinks.

    Raises:
        ValueError: It is no picture, is too small, or shows no face or several.
        FileNotFoundError: The landmarker's model is missing.
    """
    landmarker, name = default_landmarker(faces=2), name or str(picture if isinstance(picture, str | Path) else "array")
    image = _as_rgb(picture, name) if isinstance(picture, np.ndarray) else read_image(picture)
    if min(image.shape[:2]) < SMALLEST:
        raise ValueError(f"{name} is {image.shape[1]}×{image.shape[0]} px: take one of {SMALLEST} px or more a side")
    turned = (np.ascontiguousarray(np.rot90(image, turns)) for turns in (0, 1, 3, 2))
    found = ((i, meshes) for i in turned if (meshes := landmarker.find_meshes(i)) and _upright(meshes[0]))
    image, faces = next(found, (image, []))
    if len(faces) != 1:
        remedy = "cut out one of them" if faces else "take one that shows it from the front, whole and upright"
        raise ValueError(f"{name} shows {len(faces) or 'no'} face{'s' * (len(faces) > 1)}: {remedy}")
    extent = float(np.ptp(faces[0], axis=0).max())
    if extent < SMALLEST:
        raise ValueError(f"the face in {name} is only {extent:.0f} px high: take a picture in which it has {SMALLEST}")
    scale = min(1.0, 512 / extent)
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
    return Portrait(image, ((faces[0] + 0.5) * scale - 0.5).astype(np.float32), name)


def _upright(mesh: Points) -> bool:
    """Whether the chin lies below the root of the nose; MediaPipe places a face on its side less well."""
    across, down = mesh[152] - mesh[168]
    return bool(down > abs(across))


def _as_rgb(picture: np.ndarray, name: str) -> Frame:
    kind, channels = picture.dtype, picture.shape[2:]
    if kind not in (np.uint8, np.uint16) or picture.ndim < 2 or channels not in ((), (1,), (3,), (4,)):
        raise ValueError(f"{name} is {kind} {picture.shape}, not (height, width, 3) uint8: convert it to RGB")
    eight = (picture // 257 if kind == np.uint16 else picture).astype(np.uint8)
    return eight[..., :3] if channels in ((3,), (4,)) else np.dstack([eight] * 3)


@lru_cache(maxsize=16)
def photographed(portrait: Portrait, size: int = 224) -> Surface:
    """Makes a photograph a surface that moves like a head; its texture is the photograph around the face.

    At rest it shows the photograph, whose light its skin keeps. Around the face a backdrop goes along, less and less
    up to its border. What lips and lids hide is painted: the eye's white goes on, teeth are dim, the mouth is dark.

    Args:
        portrait: Photograph and landmarks.
        size: Side of the pictures to be drawn, pixels: the eyes get their usual place and distance there.
    """
    points = portrait.points
    named = points[list(FACE_POINTS.values())] if len(points) == 478 else points
    # The aligned face with room around it, and a margin beyond the picture.
    matrix = 0.7 * estimate_alignment(named, size) + np.array([[0, 0, 0.15 * size], [0, 0, 0.20 * size]])
    margin = round(MARGIN * SUPERSAMPLE * size)
    side, offset = SUPERSAMPLE * size + 2 * margin, margin + (SUPERSAMPLE - 1) / 2
    photo = apply_alignment(portrait.image, SUPERSAMPLE * matrix + np.array([[0, 0, offset]] * 2), side)
    photo = cv2.GaussianBlur(photo, (0, 0), _BLUR)
    view = photo[margin : side - margin, margin : side - margin]
    fit = fit_head(transform_points(points, matrix), size)
    pixels = Camera(size).project(fit.vertices)
    face, inner, rim, skull = _face()
    masks = head_mesh().masks
    # The backdrop is a grid behind the face.
    ticks = np.linspace(-margin, side - margin, _CELLS + 1) / SUPERSAMPLE - 0.5
    nodes = np.stack(np.meshgrid(ticks, ticks), -1).reshape(-1, 2)
    depth = np.full(len(nodes), fit.vertices[np.unique(face), 2].min() - 5)
    back = np.c_[unproject(nodes, depth, size), depth]
    near, far, nearest = _follow(nodes, pixels[rim], size)
    node = np.arange(len(nodes)).reshape(_CELLS + 1, -1) + len(pixels)
    a, b, c, d = node[:-1, :-1].ravel(), node[1:, :-1].ravel(), node[1:, 1:].ravel(), node[:-1, 1:].ravel()
    # What lies behind lips and lids has a texture of its own, so copies of its vertices.
    behind, copies = np.unique(inner, return_inverse=True)
    inner = copies.reshape(-1, 3) + len(pixels) + len(nodes)
    follow = csr_matrix((len(nodes) + len(behind), len(pixels)), dtype=np.float32).tolil()
    follow[: len(nodes), rim] = near
    # Turned with the head as if it lay as deep as the rim beside it, or the face would shift against it.
    beside = fit.vertices[rim[nearest], 2]
    along = mixture(fit.vertices[skull], np.c_[unproject(nodes, beside, size), beside])
    follow[: len(nodes), skull] = far * along - near @ mixture(fit.vertices[skull], fit.vertices[rim])
    follow[np.arange(len(behind)) + len(nodes), behind] = 1
    inside = np.flatnonzero((masks["teeth"] + masks["mouth"])[behind] > 0)
    hidden = fit.vertices[behind]
    # Teeth and mouth stay with the skull; its middle comes nearer the lips: the less shows when the head turns.
    x, y, z = Person.mean().vertices()[behind[inside]].T
    hidden[inside, 2] += 0.4 * np.exp(-((x / 22) ** 2) - ((y + 68) / 15) ** 2) * np.minimum(25 - z, 20)
    hidden[inside, :2] = unproject(pixels[behind[inside]], hidden[inside, 2], size)
    follow[inside + len(nodes)] = 0
    follow[inside[:, None] + len(nodes), skull] = mixture(fit.vertices[skull], hidden[inside])
    vertices = np.concatenate([fit.vertices, back, hidden])
    triangles = np.concatenate([face, np.stack([a, b, c], 1), np.stack([a, c, d], 1), inner]).astype(np.int32)
    uv = SUPERSAMPLE * np.concatenate([pixels, nodes, pixels[behind]]) + offset
    uv[-len(behind) :, 0] += side
    texture, zero = (np.concatenate([photo, photo], 1) / np.float32(255)) ** 2.2, np.zeros(len(vertices), np.float32)
    arrays = vertices.astype(np.float32), triangles, uv.astype(np.float32), texture, zero + 1, zero
    density, background = SUPERSAMPLE * size * SCALE, (view / np.float32(255)) ** 2.2
    surface = Surface(*arrays, background, density, fit.frame, follow=follow.tocsr())
    painted = _behind(surface, behind, inner.astype(np.int32), view)
    texture[margin : side - margin, side + margin : 2 * side - margin] = (painted / np.float32(255)) ** 2.2
    return replace(surface, lit=shade(surface, surface.vertices, Light())[0].mean(1))


@cache
def _face() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Triangles within the oval of the face, those behind lips and lids, vertices at the rim, four of the skull."""
    mesh, mean = head_mesh(), Person.mean().vertices()
    triangles, masks = mesh.triangles, mesh.masks
    a, b, c = mean[triangles].transpose(1, 0, 2)
    oval = (Delaunay(places_of(mean)[:, :2]).find_simplex(mean[:, :2]) >= 0)[triangles].all(1)
    inner = (masks["eye"] + masks["teeth"] + masks["mouth"] > 0)[triangles].any(1)
    soft = inner | (masks["lips"] + masks["eyelids"] > 0)[triangles].all(1)
    near = mean[triangles, 2].min(1) > np.where(soft, -75, -50)
    kept = oval & near & (soft | (np.cross(b - a, c - a)[:, 2] > 0))
    rim = np.intersect1d(triangles[kept], triangles[~(oval & near) & ~soft])
    still = np.flatnonzero(~np.any([np.any(delta, axis=1) for delta in mesh.units.values()], axis=0))
    skull = still[(mean[still] @ np.array([[1, -1, 0, 0], [0, 0, 1, 0], [0, 0, 0, -1]])).argmax(0)]
    return triangles[kept & ~inner], triangles[kept & inner], rim, skull


def _follow(nodes: np.ndarray, rim: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How nodes go along with the rim, close to it, and with the head, less and less to the border; the nearest rim."""
    from scipy.interpolate import RBFInterpolator

    border = nodes[(nodes == nodes.min()).any(1) | (nodes == nodes.max()).any(1)]
    sites = np.concatenate([rim, border])
    spline = RBFInterpolator(sites, np.eye(len(sites), len(rim)), smoothing=1.0)(nodes)
    distance = np.linalg.norm(nodes[:, None] - rim, axis=2)
    close = np.exp(-((distance.min(1, keepdims=True) / (0.07 * size)) ** 2))
    return spline * close, spline.sum(1, keepdims=True), distance.argmin(1)


def _behind(surface: Surface, behind: np.ndarray, inner: np.ndarray, photo: Frame) -> np.ndarray:
    """The photograph as it goes on behind lips and lids: eyes and teeth as far as they are seen, and then paint."""
    from scipy.ndimage import distance_transform_edt

    masks, camera = head_mesh().masks, Camera(len(photo) // SUPERSAMPLE)
    kinds = np.zeros((len(surface.vertices), 3), np.float32)
    kinds[-len(behind) :] = np.stack([masks["eye"][behind], masks["teeth"][behind], np.ones(len(behind))], 1)
    shown = camera.rasterize(surface.vertices, surface.triangles, kinds, len(photo))[0][..., 2] > 0.5
    eye, teeth, _ = np.moveaxis(camera.rasterize(surface.vertices, inner, kinds, len(photo))[0], -1, 0)[..., None]
    core = cv2.erode(shown.astype(np.uint8), np.ones((5, 5), np.uint8))
    distance, (row, column) = distance_transform_edt(1 - core, return_indices=True)
    further = cv2.GaussianBlur(photo[row, column], (0, 0), 1.5)
    keep = np.exp(-((distance[..., None] / len(photo) / (0.02 + 0.02 * eye)) ** 2))
    third = len(photo) // 3
    paint = photo[third:-third, third:-third].mean((0, 1)) * (0.12 + eye * 0.7 + teeth * 0.3)
    return np.where(shown[..., None], photo, keep * further + (1 - keep) * paint)


def photograph(image: Frame, landmarks: Points, units: Strengths, size: int = 224, seed: int = 0) -> MovingFace:
    """Moves a photograph by action units.

    Args:
        image: RGB photograph of one face.
        landmarks: Its 478 landmarks or the 30 named ones, pixels of the photograph.
        units: Largest displacement of each action unit, pixels of the result.
        size: Side of the result, a square around the face, pixels.
        seed: Of duration, drift, flicker and noise; the eyes do not blink.

    Raises:
        ValueError: The landmarks are not that many, not finite, or show no face.

    Example:
        >>> from skimage.data import astronaut
        >>> points = MediaPipeLandmarker()(astronaut())  # doctest: +SKIP
        >>> photograph(astronaut(), points, {"12": 3.0}).clip("EP01", "astronaut")  # doctest: +SKIP
        Clip astronaut/EP01: 110 frames at 200 fps, onset 8, apex 41, offset 103, no label, AU 12
    """
    motion = Motion.draw(units, Distractors(blinks=0.0), [seed, 4])
    return MovingFace(photographed(Portrait(image, landmarks), size), motion, Camera(size))


class PhotographMicroExpressions(SyntheticMicroExpressions):
    """Micro-expressions of photographed people: the same plan, units, distractors and truth as those of heads.

    Each picture is a subject. What cannot be right: skin does not wrinkle, shadows and highlights in the photograph
    move with the skin, glasses and hair before the face are taken for skin (a blink pulls a frame down), stretched lids
    show lashes twice as long, and where lips part wider than a micro-expression parts them, the teeth are painted.

    Args:
        source: A folder, a picture (file or RGB array) or a list of them; by default :func:`packaged_portraits`.
        clips_per_subject: Clips of each; the other settings are those of :class:`SyntheticMicroExpressions`.
        image_size: Side of the frames, pixels.
        seed: The same seed gives the same clips.

    Attributes:
        portraits: The pictures that are used, in the order of the subjects.
        report: Pictures that were left out, and why.

    Raises:
        ValueError: No picture can be used.
        FileNotFoundError: The landmarker's model is missing.
    """

    name = "photographs"

    def __init__(
        self, source: Sources = None, clips_per_subject: int = 12, image_size: int = 128, seed: int = 0, **settings: Any
    ) -> None:
        if settings.get("where", "free") != "free":
            raise ValueError("a photograph shows too little around the face to film it unaligned: take heads for that")
        default_landmarker(faces=2)  # without it no picture can be used, and none is to blame
        self.portraits, rows = list[Portrait](), list[tuple[str, str, str]]()
        for name, picture in _pictures(source).items():
            try:
                self.portraits.append(find_portrait(picture, name))
            except (OSError, ValueError) as error:
                rows.append((name, "", str(error)))
        if not self.portraits:
            raise ValueError(f"no picture can be used: {rows[0][2] if rows else f'{source} holds none'}")
        super().__init__(len(self.portraits), clips_per_subject, image_size, seed, **settings)
        self.report = pd.DataFrame(rows, columns=list(self.report))

    def face(self, subject: int) -> Surface:
        """A subject's face at rest; subjects count from 0."""
        return photographed(self.portraits[subject], self.image_size)

    def light(self, subject: int) -> Light:
        """The light of the photograph, which the texture holds already."""
        return Light()


def packaged_portraits() -> dict[str, Source]:
    """Two portraits in the public domain that scikit-image and matplotlib bring, by the names of who is seen."""
    from matplotlib.cbook import get_sample_data
    from skimage.data import astronaut

    return {"Eileen Collins": astronaut(), "Grace Hopper": get_sample_data("grace_hopper.jpg", asfileobj=False)}


def _pictures(source: Sources) -> dict[str, Source]:
    """All pictures of a source by their names."""
    if source is None:
        return packaged_portraits()
    if isinstance(source, str | Path) and Path(source).is_dir():
        source = sorted(path for path in Path(source).iterdir() if path.suffix.lower() in SUFFIXES)
    several = [source] if isinstance(source, str | Path | np.ndarray) else source
    return {f"picture {i}" if isinstance(p, np.ndarray) else str(p): p for i, p in enumerate(several, start=1)}
