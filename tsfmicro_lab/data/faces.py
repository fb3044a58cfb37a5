"""Synthetic human faces at rest: painted from a subject's parameters, with the places of their landmarks."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from tsfmicro_lab.data import face_features, face_paint
from tsfmicro_lab.data.face_params import FaceParams, face_points
from tsfmicro_lab.preprocess.landmarks import POINT_NAMES

#: The texture is drawn at this many times the image size, so that it can be moved by fractions of a pixel.
SUPERSAMPLE = 2
#: The subject's left is on the image's right.
SIDES = (("left", 1.0), ("right", -1.0))


@dataclass(frozen=True)
class Face:
    """A face at rest: sRGB textures in [0, 1], drawn at ``SUPERSAMPLE`` times the image size.

    ``lid`` tells how far down the eye opening a texture pixel lies: 0 at and above the upper lid's edge, 1 at and below
    the lower one's, 2 far from the eyes. A blink of closure c shows ``closed`` where ``lid < c``.
    """

    open: Float32[np.ndarray, "height width 3"]  #: with the eyes open
    closed: Float32[np.ndarray, "height width 3"]  #: with the eyes closed
    lid: Float32[np.ndarray, "height width"]
    landmarks: Float32[np.ndarray, "30 2"]  #: ``POINT_NAMES``, image pixels (texture: 2 * image coordinate + 0.5)


def draw_face(params: FaceParams, image_size: int = 224) -> Face:
    """Draw a face at rest, frontal and neutral.

    All shapes are functions of normalised coordinates and all scattered things (strands, pores, freckles) come from
    ``params.texture_seed`` at a fixed resolution: the same subject is the same face at every image size.

    Raises:
        ValueError: The image size is not in 64 to 512 pixels.
    """
    if not 64 <= image_size <= 512:
        raise ValueError(f"image_size is {image_size}; faces are drawn for 64 to 512 pixels")
    named = face_points(params)
    named |= {f"{side}_{name}": (sign * x, y) for name, (x, y) in named.items() for side, sign in SIDES}
    points = np.array([named[name] for name in POINT_NAMES], np.float32)
    opened, closed, lid = _paint(params, SUPERSAMPLE * image_size)
    return Face(opened, closed, lid, (params.to_image(points) * image_size - 0.5).astype(np.float32))


def _paint(
    p: FaceParams, size: int
) -> tuple[Float32[np.ndarray, "h w 3"], Float32[np.ndarray, "h w 3"], Float32[np.ndarray, "h w"]]:
    """Paint the picture from back to front, with the eyes open and closed."""
    g = face_paint.Grid.of(p, size)
    rho, complexion = face_paint.skull(g), face_features.beard(g, face_features.freckles(g, face_paint.skin(g)))
    skull = 1 - face_paint.smooth(0.985, 1.015, rho)
    picture = face_features.hair_behind(g, face_paint.ground(g))
    picture = face_paint.body(g, picture, complexion, skull)
    picture = face_paint.ears(g, picture, complexion)
    picture = face_paint.over(picture, face_paint.head(g, rho, complexion), skull)
    brows = face_features.brows(g)
    *layers, lid = face_features.eyes(g, picture)
    opened, closed = (
        face_paint.finish(face_features.hair(g, face_paint.over(layer, face_features.hair_colour(p) * 0.4, brows)))
        for layer in layers
    )
    return opened, closed, lid
