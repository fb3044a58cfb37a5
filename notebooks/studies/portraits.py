"""Photographs to move without a landmarker: the landmarks of the two packaged portraits are stored beside the studies.

`python -m studies.portraits` in notebooks/ finds them anew with MediaPipe.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tsfmicro_lab.clips import read_image
from tsfmicro_lab.data import PhotographMicroExpressions, SyntheticMicroExpressions
from tsfmicro_lab.data.photographs import Portrait, find_portrait, packaged_portraits
from tsfmicro_lab.preprocess import MediaPipeLandmarker

#: The 478 points of each portrait, pixels of the picture as its package brings it.
STORED = Path(__file__).with_suffix(".json")


class PublicPortraits(PhotographMicroExpressions):
    """Micro-expressions of the two portraits in the public domain, whether or not a landmarker's model is there.

    Example:
        >>> PublicPortraits(clips_per_subject=5, image_size=96)
        PublicPortraits: 10 clips of 2 subjects, 96 px, 200 fps, seed 0
            others 4, disgust 3, repression 1, happiness 1, surprise 1
    """

    def __init__(self, clips_per_subject: int = 12, image_size: int = 128, seed: int = 0, **settings: Any) -> None:
        self.portraits = list(stored_portraits())
        SyntheticMicroExpressions.__init__(self, len(self.portraits), clips_per_subject, image_size, seed, **settings)


@cache
def stored_portraits() -> tuple[Portrait, ...]:
    """The two packaged portraits with their stored landmarks."""
    points = json.loads(STORED.read_text(encoding="utf-8"))
    return tuple(Portrait(_picture(name), np.array(xy, np.float32), name) for name, xy in points.items())


def _picture(name: str) -> np.ndarray:
    """A packaged portrait as RGB."""
    picture: Any = packaged_portraits()[name]
    return picture if isinstance(picture, np.ndarray) else read_image(picture)


def landmarker(faces: int = 1) -> MediaPipeLandmarker | None:
    """MediaPipe's landmarker, whose model is fetched where it is not there; if it can't be, says so in one line."""
    try:
        with silent():
            found = MediaPipeLandmarker(faces=faces)
            found.meshes(np.zeros((64, 64, 3), np.uint8))  # its last notes come with the first picture
        return found
    except (FileNotFoundError, ImportError, ValueError) as missing:
        print(f"No landmarker here, so known points take the place of found ones: {missing}")
        return None


@contextmanager
def silent() -> Iterator[None]:
    """Keeps off the page what libraries write past Python: notes of MediaPipe's start, and of codecs."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


if __name__ == "__main__":
    found = {name: find_portrait(picture, name).points for name, picture in packaged_portraits().items()}
    STORED.write_text(json.dumps({name: xy.round(1).tolist() for name, xy in found.items()}), encoding="utf-8")
