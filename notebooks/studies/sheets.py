"""Draws the sheets of the data cards: 40 heads, six of them beside two photographs; and photographs that move.

    python notebooks/studies/sheets.py [data_cards/heads.jpg] [data_cards/photographs.jpg]

The photographs are NASA's portrait of Eileen Collins (with scikit-image) and the US Navy's of Grace Hopper (with
Matplotlib), both in the public domain.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
from matplotlib import cbook, image
from skimage import data

from tsfmicro_lab.clips import Frame
from tsfmicro_lab.data.heads import Person, draw_head
from tsfmicro_lab.data.motion import Distractors, Motion
from tsfmicro_lab.data.moving_face import MovingFace
from tsfmicro_lab.data.photographs import Portrait, find_portrait, packaged_portraits, photograph
from tsfmicro_lab.data.rendering import Camera, Light, draw, encode, to_frame

SIDE = 224
#: Middle of the face and side of the square to cut out, pixels, and the people of the second sheet.
COLLINS, HOPPER = (225, 115, 226), (264, 195, 256)
BESIDE = (52, 50, 43, 56, 53, 46)
#: What the photographs do.
UNITS = (("12",), ("4",), ("1", "2"), ("43",))


def portrait(seed: int, size: int = SIDE) -> Frame:
    """A person in a light of their own."""
    surface, light = draw_head(Person.draw(seed)), Light.draw(np.random.default_rng([seed, 41]))
    return to_frame(encode(draw(surface, surface.vertices, Camera(size), light)))


def cut(picture: Frame, column: int, row: int, side: int) -> Frame:
    """A square of a photograph, at the size of the heads."""
    top, left = row - side // 2, column - side // 2
    square = picture[max(top, 0) : top + side, left : left + side]
    return np.asarray(cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def moved(portrait: Portrait) -> Frame:
    """A photograph at rest and at the apex of units of 3 px (at 224 px), above five times what that changes."""
    faces = [photograph(portrait.image, portrait.points, dict.fromkeys(units, 3.0), SIDE) for units in UNITS]
    still = Distractors.none()
    faces = [MovingFace(f.face, Motion.draw(f.motion.units, still, [0]), f.camera) for f in faces]
    rest, *apexes = faces[0].noise_free(0), *(f.noise_free(f.motion.apex) for f in faces)
    changes = [np.full_like(rest, 128), *(128 + 5 * (apex - rest) for apex in apexes)]
    return np.vstack([np.hstack([to_frame(p) for p in row]) for row in ([rest, *apexes], changes)])


def save(out: str, sheet: Frame, limit: int) -> None:
    """Writes a JPEG of at most so many bytes, in the best quality that allows it."""
    for quality in range(92, 60, -4):
        cv2.imwrite(out, sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        if Path(out).stat().st_size <= limit:
            break
    print(f"{out}: {Path(out).stat().st_size / 1e3:.0f} kB at quality {quality}")


def main(out: str = "data_cards/heads.jpg", photographs: str = "data_cards/photographs.jpg") -> None:
    """Writes the sheet of heads, the row with photographs on top, and the sheet of photographs that move."""
    hopper = np.asarray(image.imread(str(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))))
    photos = [cut(data.astronaut(), *COLLINS), cut(hopper, *HOPPER)]
    heads = [portrait(seed) for seed in range(40)]
    beside = [portrait(seed) for seed in BESIDE]
    rows = [[*beside[:3], photos[0], photos[1], *beside[3:]], *(heads[i : i + 8] for i in range(0, 40, 8))]
    sheet = np.vstack([np.hstack(row) for row in rows])
    save(out, sheet, 400_000)
    portraits = [find_portrait(picture, name) for name, picture in packaged_portraits().items()]
    save(photographs, np.vstack([moved(portrait) for portrait in portraits]), 300_000)


if __name__ == "__main__":
    main(*sys.argv[1:])
