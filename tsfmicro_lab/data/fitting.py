"""The mean head is brought onto the landmarks of a picture: what a unit would do to any aligned face."""

from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from tsfmicro_lab.clips import Field, Points
from tsfmicro_lab.data.heads import Person
from tsfmicro_lab.data.mesh import Vertices, head_mesh, places_of
from tsfmicro_lab.data.motion import unit_delta
from tsfmicro_lab.data.rendering import DISTANCE, EYE_LEVEL, SCALE, Camera, motion_field
from tsfmicro_lab.preprocess.landmarks import FACE_POINTS


class Fit(NamedTuple):
    """The mean head on a face in a picture."""

    vertices: Vertices  #: millimetres; `Camera(size).project` brings them onto the picture's pixels
    frame: Float32[np.ndarray, "3 3"]  #: rotation × scale: turns what a unit does to the mean head into this pose


def fit_head(points: Points, size: int = 224) -> Fit:
    """Fits the mean head to landmarks: pose and scale by a scaled orthographic camera, the rest by a thin-plate spline.

    The spline carries what is left at the landmarks to all vertices, in the picture's plane; depth stays the mean
    head's. It is linear in what is left, so its matrix is computed once.

    Args:
        points: The 30 named points or the 478 of MediaPipe's mesh, pixels.
        size: Side of the picture, pixels.

    Raises:
        ValueError: The points are not that many, not finite, or lie on a line or in one place.
    """
    if len(points) not in (len(FACE_POINTS), 478) or not np.isfinite(points).all():
        raise ValueError(f"a head is fitted to {len(FACE_POINTS)} named points or all 478, finite; got {points.shape}")
    camera, mean, index = Camera(size), Person.mean().vertices(), _index(len(points))
    centred = points - points.mean(0)
    if np.linalg.svd(centred, compute_uv=False)[1] < 1e-3 * max(size, 1) * np.sqrt(len(points)):
        raise ValueError("the landmarks lie on a line or in one place, which no face does: check them")
    head, depth = places_of(mean)[index], np.zeros(len(points))
    for _ in range(4):  # each time with the perspective of the last
        target = unproject(points, depth, size)
        affine = np.linalg.lstsq(head - head.mean(0), target - target.mean(0), rcond=None)[0].T
        u, s, vt = np.linalg.svd(affine, full_matrices=False)
        rows = u @ vt
        frame = s.mean() * np.vstack([rows, np.cross(*rows)])
        shift = np.append(target.mean(0) - frame[:2] @ head.mean(0), 0)
        depth = head @ frame[2]
    vertices = (mean @ frame.T + shift).astype(np.float32)
    for _ in range(2):  # a landmark lies between vertices: the second time meets it
        pixels = camera.project(vertices)
        pixels += _spline(len(points)) @ (points - places_of(pixels)[index])
        vertices[:, :2] = unproject(pixels, vertices[:, 2], size)
    return Fit(vertices, frame.astype(np.float32))


def unproject(pixels: np.ndarray, depth: np.ndarray, size: int) -> np.ndarray:
    """The x and y, millimetres, that the camera sees at these pixels and depths."""
    seen = (pixels - (size - 1) / 2) * (1, -1) / (size * SCALE) * (1 - depth / DISTANCE)[:, None]
    return np.asarray(seen - (0, (0.5 - EYE_LEVEL) / SCALE))


def _index(count: int) -> np.ndarray:
    return np.arange(478) if count == 478 else np.array(list(FACE_POINTS.values()))


@cache
def _spline(count: int) -> Float32[np.ndarray, "vertices points"]:
    """What each landmark's shift does to each vertex: on a head whose mouth is open, to tell the lips apart."""
    from scipy.interpolate import RBFInterpolator

    apart = Person.mean().vertices() + 0.5 * head_mesh().units["jawOpen"]
    sites = places_of(apart)[_index(count), :2]
    spline = RBFInterpolator(sites, np.eye(count), smoothing=1.0, kernel="thin_plate_spline")
    return np.asarray(spline(apart[:, :2]), np.float32)


def unit_field(unit: str, landmarks: Points, size: int) -> Field:
    """How an action unit in full strength would move a face with these landmarks, pixels, shape (2, size, size).

    Args:
        unit: Such as `12`, or the one-sided `R12`.
        landmarks: The 30 named points of a picture, or all 478, pixels.
        size: Side of the picture, pixels.
    """
    fit = fit_head(landmarks, size)
    moved = fit.vertices + unit_delta(unit) @ fit.frame.T
    return motion_field(head_mesh().triangles, fit.vertices, moved.astype(np.float32), Camera(size))[0]
