"""The parameters of a synthetic face: where its features lie and how it looks, and how a subject is drawn."""

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from jaxtyping import Float32
from scipy.special import ndtr, ndtri

#: Mean distance between the eye centres, as a fraction of the image side: one *face unit*. With human proportions a
#: head is about 3.6 units high, so this is what leaves room for the hair, the neck and the shoulders.
FACE_UNIT = 0.235
#: Low-pass filter of every texture (sigma, texture pixels), so that sampling it at the image size has no aliasing.
LENS_BLUR = 1.1
#: Height of the eyes in the image, as a fraction of its side.
EYE_LEVEL = 0.45


def _layout(mean: float, spread: float) -> Any:
    """Declare a proportion of the face: its mean and, as a fraction of it, its spread between people."""
    return field(default=mean, metadata={"mean": mean, "sd": abs(mean) * spread})


def _offset(sd: float) -> Any:
    """Declare a signed proportion around zero."""
    return field(default=0.0, metadata={"mean": 0.0, "sd": sd})


def _look(low: float, high: float, power: float = 1.0) -> Any:
    """Declare a look, uniform between two bounds; a power above one makes high values rare."""
    return field(default=low + (high - low) * 0.5**power, metadata={"low": low, "high": high, "power": power})


@dataclass(frozen=True)
class FaceParams:
    """One subject: where the features lie (layout) and how skin, eyes, hair, clothes and light look (looks).

    Lengths are in face units, the mean distance between the eye centres; spreads are our estimate of those of
    adults, not taken from a table of anthropometry. Every parameter is continuous and drawn independently of all
    others: there are no categories of people.
    """

    # Layout: means and spreads (sd as a fraction of the mean, or in the field's own unit where the mean is zero).
    eye_spacing: float = _layout(1.0, 0.05)  #: between the eye centres
    eye_width: float = _layout(0.455, 0.05)  #: between the corners of one eye
    eye_opening: float = _layout(0.168, 0.10)  #: between the lids
    eye_slant: float = _offset(0.012)  #: how much higher the outer corner lies than the inner one, beyond the mean
    brow_height: float = _layout(0.30, 0.14)  #: from the eye centre up to the middle of the brow
    brow_slope: float = _offset(0.025)  #: rise of the brow from its inner to its outer end, beyond the mean
    nose_length: float = _layout(0.74, 0.07)  #: from eye level to the nose base
    nose_width: float = _layout(0.56, 0.08)  #: between the wings
    mouth_drop: float = _layout(0.35, 0.10)  #: from the nose base to the mouth line
    mouth_width: float = _layout(0.80, 0.07)  #: between the corners
    lip_fullness: float = _layout(0.29, 0.15)  #: both lips together
    chin_height: float = _layout(0.73, 0.07)  #: from the mouth line to the chin
    head_width: float = _layout(2.22, 0.05)  #: at the cheekbones
    jaw_width: float = _layout(1.76, 0.06)  #: at the level of the mouth
    forehead_height: float = _layout(0.94, 0.07)  #: from eye level to the hair line
    roll: float = _offset(1.0)  #: rotation of the head in the image, degrees
    shift_x: float = _offset(0.006)  #: horizontal offset of the head, fraction of the image side
    shift_y: float = _offset(0.005)  #: vertical offset, fraction of the image side
    # Looks: skin.
    skin_tone: float = _look(0.0, 1.0)  #: from the lightest (0) to the darkest (1) human skin
    undertone: float = _look(-1.0, 1.0)  #: from rosy to golden
    redness: float = _look(0.3, 1.0)  #: blood in cheeks, nose and ears
    blotch: float = _look(0.3, 1.0)  #: slow variation of the skin's colour
    pores: float = _look(0.4, 1.0)  #: fine texture
    freckles: float = _look(0.0, 1.0, 5.0)  #: amount of freckles
    beard: float = _look(0.0, 1.0, 3.0)  #: from none through a shadow to stubble
    age_lines: float = _look(0.0, 1.0, 2.0)  #: depth of the lines of forehead, eyes and cheeks
    oiliness: float = _look(0.25, 0.9)  #: gloss of forehead and nose
    lip_colour: float = _look(0.3, 1.0)  #: how much the lips differ from the skin
    # Looks: relief of the bone and of the soft parts.
    nose_bridge: float = _look(0.6, 1.25)  #: height of the bridge
    nose_bulb: float = _look(0.8, 1.25)  #: roundness of the tip
    cheekbones: float = _look(0.5, 1.4)  #: prominence
    brow_ridge: float = _look(0.3, 1.3)  #: prominence
    # Looks: eyes and brows.
    iris_melanin: float = _look(0.0, 1.0)  #: from blue through green and hazel to dark brown
    pupil: float = _look(0.30, 0.48)  #: radius of the pupil, fraction of the iris
    lid_crease: float = _look(0.1, 1.0)  #: depth of the fold above the eye
    lashes: float = _look(0.3, 1.0)  #: length and density
    brow_thickness: float = _look(0.07, 0.125)  #: from the lower to the upper edge
    brow_density: float = _look(0.55, 1.0)  #: amount of hairs
    # Looks: hair.
    hair_melanin: float = _look(0.0, 1.0)  #: from fair to black
    hair_red: float = _look(0.0, 1.0, 3.0)  #: copper
    hair_grey: float = _look(0.0, 1.0, 6.0)  #: share of grey
    hair_length: float = _look(0.0, 1.0, 1.5)  #: from cropped to beyond the shoulders
    hair_volume: float = _look(0.05, 0.26)  #: height above the skull
    hair_curl: float = _look(0.0, 1.0, 1.5)  #: from straight to coiled
    hair_part: float = _look(-0.55, 0.55)  #: where the parting lies, from the subject's right to left
    hair_sweep: float = _look(0.0, 1.0)  #: from parted and combed down to brushed up and back
    hair_fringe: float = _look(0.0, 1.0)  #: how far strands fall over the forehead (above 0.4)
    hair_recession: float = _look(0.0, 1.0, 4.0)  #: how far the hair line has moved back; 1 leaves the sides only
    # Looks: light, ground, clothes, and the seed of strands, pores and freckles.
    light_azimuth: float = _look(-50.0, 50.0)  #: direction of the main light, degrees to the image's right
    light_elevation: float = _look(15.0, 50.0)  #: degrees above the face
    light_softness: float = _look(0.2, 0.7)  #: share of light from all around
    light_warmth: float = _look(-1.0, 1.0)  #: from bluish to yellowish
    ground_value: float = _look(0.18, 0.8)  #: brightness of the ground
    ground_hue: float = _look(0.0, 1.0)  #: tint of the ground
    cloth_value: float = _look(0.05, 0.65)  #: brightness of the clothes
    cloth_hue: float = _look(0.0, 1.0)  #: hue of the clothes
    cloth_saturation: float = _look(0.0, 0.5, 1.3)  #: saturation of the clothes
    neckline: float = _look(0.0, 1.0)  #: from a high round collar to an open one
    texture_seed: int = 0  #: seed of everything that is scattered

    @classmethod
    def draw(cls, rng: np.random.Generator, layout_variation: float = 1.0) -> "FaceParams":
        """Draw a subject.

        Layout fields are ``mean + layout_variation * sd * z`` with ``z`` normal, truncated at ±2: 0 gives every subject
        the same layout, 1 the spread between people. The same generator gives the same looks at every variation.
        """
        values: dict[str, Any] = {}
        for entry in fields(cls):
            u, meta = rng.random(), entry.metadata
            if "sd" in meta:
                z = float(ndtri(ndtr(-2.0) + u * (ndtr(2.0) - ndtr(-2.0))))
                values[entry.name] = meta["mean"] + layout_variation * meta["sd"] * z
            elif "low" in meta:
                values[entry.name] = meta["low"] + (meta["high"] - meta["low"]) * u ** meta["power"]
            else:
                values[entry.name] = int(u * 2**31)
        return cls(**values)

    @property
    def mouth_y(self) -> float:
        """Height of the mouth line below the eyes."""
        return self.nose_length + self.mouth_drop

    @property
    def chin_y(self) -> float:
        """Height of the chin below the eyes."""
        return self.mouth_y + self.chin_height

    def to_image(self, points: Float32[np.ndarray, "*shape 2"]) -> Float32[np.ndarray, "*shape 2"]:
        """Map face coordinates (units, origin between the eyes) to fractions of the image side."""
        c, s = np.cos(np.radians(self.roll)), np.sin(np.radians(self.roll))
        turn = np.array([[c, s], [-s, c]], np.float32) * np.float32(FACE_UNIT)
        return points @ turn + np.array([0.5 + self.shift_x, EYE_LEVEL + self.shift_y], np.float32)


def face_points(params: FaceParams) -> dict[str, tuple[float, float]]:
    """Name the points of the face's left half and middle, in face coordinates (x to the image's right, y down)."""
    p = params
    eye, half, wing = p.eye_spacing / 2, p.eye_width / 2, p.nose_width / 2
    brow = -p.brow_height - 0.45 * p.brow_thickness
    return {
        "brow_inner": (eye - 0.26, brow),
        "brow_middle": (eye + 0.16, brow - 0.05 - 0.6 * p.brow_slope),
        "brow_outer": (eye + 0.39, brow + 0.085 - p.brow_slope),
        "eye_inner": (eye - half - 0.01, 0.035 + p.eye_slant / 2),
        "eye_top": (eye + 0.02, -0.64 * p.eye_opening),
        "eye_outer": (eye + half - 0.02, -0.03 - p.eye_slant / 2),
        "eye_bottom": (eye, 0.43 * p.eye_opening),
        "nose_root": (0.0, -0.05),
        "nose_tip": (0.0, 0.735 * p.nose_length),
        "nose_base": (0.0, p.nose_length),
        "nose_wing": (wing + 0.03, 0.82 * p.nose_length),
        "mouth_corner": (p.mouth_width / 2, p.mouth_y - 0.01),
        "upper_lip_top": (0.0, p.mouth_y - 0.34 * p.lip_fullness),
        "upper_lip_bottom": (0.0, p.mouth_y),
        "lower_lip_top": (0.0, p.mouth_y),
        "lower_lip_bottom": (0.0, p.mouth_y + 0.47 * p.lip_fullness),
        "cheek": (0.73 * p.eye_spacing, 0.53),
        "jaw": (0.48 * p.jaw_width, p.mouth_y + 0.09),
        "chin": (0.0, p.chin_y - 0.08),
    }
