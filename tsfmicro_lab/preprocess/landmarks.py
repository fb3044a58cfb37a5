"""Facial landmarks: the points this lab names, and the model that finds them on a real face."""

import atexit
import hashlib
import os
import tomllib
from collections.abc import Callable
from functools import cache
from http.client import HTTPException
from importlib.resources import files
from itertools import product
from pathlib import Path
from urllib.request import urlopen

import numpy as np

from tsfmicro_lab.clips import Frame, Points
from tsfmicro_lab.files import write_whole

#: The named points and their indices in MediaPipe's face mesh of 478 points, and regions of the face around some.
FACE = tomllib.loads((files(__package__) / "face.toml").read_text("utf-8"))
FACE_POINTS: dict[str, int] = FACE["points"]
POINT_NAMES = tuple(FACE_POINTS)
POINT_INDEX = {name: i for i, name in enumerate(POINT_NAMES)}

MODEL_URL, MODEL_SHA256 = FACE["model"]["url"], FACE["model"]["sha256"]
MODEL_VARIABLE = "TSFMICRO_FACE_LANDMARKER"

#: Height of the smallest face that the detector finds, as a share of the larger side of the picture, or of its part.
SMALLEST_SHARE = 0.125
#: Side above which a picture without a face is searched in parts, pixels.
LARGE = 1000


class FaceNotFoundError(ValueError):
    """No face was found in an image."""


#: Finds the named points of one face in an image, pixels, or raises :class:`FaceNotFoundError`.
Landmarker = Callable[[Frame], Points]


def cached_model() -> Path:
    """Where a downloaded landmarker model is kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tsfmicro-lab" / "face_landmarker.task"


def find_model(download: bool = True) -> Path:
    """Finds MediaPipe's landmarker model: environment variable, else cache, else download (3.6 MiB, checked by sha256).

    Raises:
        FileNotFoundError: There is no model; the message says how to get it.
    """
    if given := os.environ.get(MODEL_VARIABLE):
        if not Path(given).is_file():
            raise FileNotFoundError(f"{MODEL_VARIABLE} names {given}, which is no file: correct or unset it")
        return Path(given)
    target = cached_model()
    if target.is_file():
        return target
    remedy = f"download {MODEL_URL} to {target}, or set {MODEL_VARIABLE} to where it lies"
    if not download:
        raise FileNotFoundError(f"the face landmarker model is not on this machine; the demo fetches it, or {remedy}")
    try:
        with urlopen(MODEL_URL, timeout=60) as answer:
            content: bytes = answer.read()
        if (digest := hashlib.sha256(content).hexdigest()) != MODEL_SHA256:
            raise OSError(f"its sha256 is {digest[:8]}…, not {MODEL_SHA256[:8]}…")
        write_whole(target, lambda path: path.write_bytes(content))
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise FileNotFoundError(f"the face landmarker model could not be downloaded ({reason}): {remedy}") from error
    return target


class MediaPipeLandmarker:
    """MediaPipe's FaceLandmarker (478 points), reduced to the named points.

    MediaPipe is imported here and nowhere else, when the first real face is landmarked: newer versions report usage
    metrics to their maker, which a data set's licence may forbid. Data sets that bring landmarks never get here. The
    model is found by :func:`find_model` if it is not given.

    Raises:
        FileNotFoundError: There is no model.
        ImportError: A system library that MediaPipe needs is missing.
        ValueError: The file is no landmarker model.
    """

    def __init__(self, model: Path | str | None = None, faces: int = 4) -> None:
        path = Path(model) if model else find_model()
        os.environ.setdefault("GLOG_minloglevel", "2")  # its start-up notes drown what a reader should see
        try:
            from mediapipe.tasks.python import BaseOptions, vision

            options = vision.FaceLandmarkerOptions(base_options=BaseOptions(str(path)), num_faces=faces)
            self._landmarker = vision.FaceLandmarker.create_from_options(options)
            # It closes itself through a thread pool that is gone when Python ends, and prints a trace: let it rest.
            atexit.register(setattr, self._landmarker, "_handle", None)
        except OSError as error:
            raise ImportError(f"MediaPipe cannot start ({error}): on Debian, apt install libegl1 libgles2") from error
        except RuntimeError as error:
            raise ValueError(f"{path} is no landmarker model ({error}): delete it, it is downloaded again") from error

    def meshes(self, image: Frame) -> list[Points]:
        """All 478 points of the mesh of every face that is seen, pixels."""
        from mediapipe import Image, ImageFormat

        height, width = image.shape[:2]
        picture = Image(image_format=ImageFormat.SRGB, data=np.ascontiguousarray(image))
        faces = self._landmarker.detect(picture).face_landmarks
        # MediaPipe's coordinates run from the image's edge, ours from the centre of the first pixel.
        return [np.array([(p.x * width - 0.5, p.y * height - 0.5) for p in face], np.float32) for face in faces]

    def find_meshes(self, image: Frame) -> list[Points]:
        """The mesh of every face that is seen, pixels, in large pictures of small ones, too; none if there is no face.

        MediaPipe's detector sees 192 pixels of the whole picture. Where a large one shows it no face, its parts of half
        the size are searched one by one.
        """
        meshes = self.meshes(image)
        height, width = image.shape[:2]
        if not meshes and max(height, width) > LARGE:
            for y, x in product((0, height // 4, height // 2), (0, width // 4, width // 2)):
                part = self.meshes(image[y : y + height // 2, x : x + width // 2])
                meshes += [m for m in (mesh + np.array([x, y], np.float32) for mesh in part) if not _known(m, meshes)]
        return meshes

    def find_all(self, image: Frame) -> list[Points]:
        """The named points of every face that :meth:`find_meshes` finds, pixels."""
        return [mesh[list(FACE_POINTS.values())] for mesh in self.find_meshes(image)]

    def __call__(self, image: Frame) -> Points:
        """The named points of the largest face, pixels; a FaceNotFoundError if none is seen."""
        if faces := self.find_all(image):
            return max(faces, key=extent)
        (height, width), side = image.shape[:2], max(image.shape)
        needs = f"whole and upright, at least {round(SMALLEST_SHARE * side / (1 + (side > LARGE)))} px high"
        raise FaceNotFoundError(f"no face found in an image of {width}×{height} px: show it {needs}")


def extent(points: Points) -> float:
    """How large a face is: the product of its width and height."""
    return float(np.prod(np.ptp(points, axis=0)))


def _known(mesh: np.ndarray, others: list[np.ndarray]) -> bool:
    """Whether a face was found before, in an overlapping part of the picture."""
    return any(np.abs(mesh.mean(0) - other.mean(0)).max() < np.ptp(other, axis=0).max() / 2 for other in others)


#: The landmarker that is used when none is given, created once.
default_landmarker = cache(MediaPipeLandmarker)
