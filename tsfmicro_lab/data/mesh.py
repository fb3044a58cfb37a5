"""The mesh of a human head that every face with known motion moves by: its shape, its units and its landmarks.

Base mesh and shape targets are MakeHuman's, the 52 face units Mika Suominen's, all CC0; `heads.md` beside the file
tells where they come from, and `notebooks/studies/build_heads.py` made the file from them. Lengths are millimetres:
x to the subject's left (the image's right), y up, z to the camera, from the middle between the eyes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float, Float32, Int32

#: Without a name, so that one call may take meshes of several sizes.
Vertices = Float32[np.ndarray, "_ 3"]
#: The texture is a picture wrapped around the head like a cylinder, with closed lids: pixels per millimetre, and the
#: pixel of the front at the height of the eyes. Below it lie patches for eyeball, teeth and the mouth's inside.
TEXTURE, DENSITY, FRONT, EYE_ROW = 1024, 2.56, 512.0, 320.0
SKIN_ROWS = 832
#: Centre and radius of the eyeball's picture in the texture, and the places of teeth and mouth, pixels.
EYE_PATCH, EYE_PATCH_RADIUS = (96.0, 928.0), 92.0
TEETH_PATCH, MOUTH_PATCH = (224.0, 928.0), (288.0, 928.0)
EYE_RADIUS = 14.95
_FILE = Path(__file__).with_name("heads.npz")
_RINGS, _SECTORS = 16, 28


@dataclass(frozen=True)
class Mesh:
    """Skin, teeth and two eyeballs as one mesh; deltas are millimetres per vertex at weight 1."""

    vertices: Vertices  #: of the base mesh, which is no person: a person adds modes to it
    triangles: Int32[np.ndarray, "triangles 3"]
    uv: Float32[np.ndarray, "vertices 2"]  #: place in the texture, pixels
    open_sky: Float32[np.ndarray, " vertices"]  #: share of the sky that a vertex sees, 0 deep inside, 1 in the open
    units: Mapping[str, Float32[np.ndarray, "vertices 3"]]  #: the 52 face units
    modes: Mapping[str, Float32[np.ndarray, "vertices 3"]]  #: shape modes of identity; `people-…` are whole people
    masks: Mapping[str, Float32[np.ndarray, " vertices"]]  #: 0 to 1: lips, eyelids, ears, teeth, mouth, eye
    eyes: Mapping[str, slice]  #: vertices of the eyeballs, right and left
    places: tuple[Int32[np.ndarray, "478 3"], Float32[np.ndarray, "478 3"]]  #: landmarks: vertices and their weights


@lru_cache(maxsize=2)
def head_mesh(path: Path | str = _FILE) -> Mesh:
    """Reads the mesh.

    Raises:
        ValueError: The file is damaged or lacks something.

    Example:
        >>> mesh = head_mesh()
        >>> len(mesh.units), np.abs(mesh.units["mouthSmileLeft"]).max().round(1)
        (52, np.float32(17.8))
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            a = {name: file[name] for name in file.files}
        _check(a)
        skin, sphere = a["vertices"], _eyeball()
        count = len(skin)
        triangles = [a["triangles"].astype(np.int32), *(sphere[1] + count + side * len(sphere[0]) for side in range(2))]
        balls = [EYE_RADIUS * sphere[0] + centre for centre in a["eyes"]]
        uv = np.array([FRONT, EYE_ROW], np.float32) + DENSITY * a["cylinder"] * np.array([1, -1], np.float32)
        uv[a["mask_teeth"] > 0], uv[a["mask_mouth"] > 0] = TEETH_PATCH, MOUTH_PATCH
        eye_uv = np.array(EYE_PATCH, np.float32) + EYE_PATCH_RADIUS * sphere[0][:, :2] * np.array([1, -1], np.float32)
        extra = 2 * len(sphere[0])
        masks = {k.removeprefix("mask_"): np.pad(v / np.float32(255), (0, extra)) for k, v in a.items() if "mask_" in k}
        masks["eye"] = np.pad(np.zeros(count, np.float32), (0, extra), constant_values=1)
        units = {str(n): _delta(d, np.zeros((2, 3)), extra) for n, d in zip(a["unit_names"], a["units"], strict=True)}
        named = zip(a["mode_names"], a["modes"], a["mode_eyes"], strict=True)
        return Mesh(
            np.concatenate([skin, *balls]).astype(np.float32),
            np.concatenate(triangles).astype(np.int32),
            np.concatenate([uv, eye_uv, eye_uv]).astype(np.float32),
            np.pad(a["open_sky"] / np.float32(255), (0, extra), constant_values=1),
            units,
            {str(n): _delta(d, eyes, extra) for n, d, eyes in named},
            masks,
            {side: slice(count + i * extra // 2, count + (i + 1) * extra // 2) for i, side in enumerate(("R", "L"))},
            (a["place_vertices"].astype(np.int32), a["place_weights"].astype(np.float32)),
        )
    except (KeyError, OSError, EOFError, BadZipFile, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}): install the package again, or rebuild the file") from error


def places_of(vertices: Float[np.ndarray, "vertices d"], mesh: Mesh | None = None) -> Float[np.ndarray, "478 d"]:
    """Where the 478 landmarks of MediaPipe's mesh lie, given where the vertices are (in space or in the image)."""
    corners, weights = (mesh or head_mesh()).places
    return np.einsum("pk,pkd->pd", weights, vertices[corners])


def _check(a: Mapping[str, np.ndarray]) -> None:
    count, units, modes = len(a["vertices"]), len(a["unit_names"]), len(a["mode_names"])
    shapes = {"vertices": (count, 3), "cylinder": (count, 2), "open_sky": (count,), "eyes": (2, 3)}
    shapes |= {"units": (units, count, 3), "modes": (modes, count, 3), "mode_eyes": (modes, 2, 3)}
    shapes |= dict.fromkeys(("place_vertices", "place_weights"), (478, 3))
    shapes |= {name: (count,) for name in a if name.startswith("mask_")}
    for name, shape in shapes.items():
        if a[name].shape != shape:
            raise ValueError(f"{name} has the shape {a[name].shape} instead of {shape}")
    if a["triangles"].ndim != 2 or not 0 <= a["triangles"].min() <= a["triangles"].max() < count:
        raise ValueError("triangles name vertices that there are not")


def _delta(hundredths: np.ndarray, eyes: np.ndarray, extra: int) -> Float32[np.ndarray, "vertices 3"]:
    return np.concatenate([hundredths.astype(np.float32) / 100, np.repeat(eyes, extra // 2, axis=0)]).astype(np.float32)


def _eyeball() -> tuple[np.ndarray, np.ndarray]:
    """The front of a unit sphere, a little more than a half, around the z axis: vertices and triangles."""
    polar = np.linspace(0.001, 1.75, _RINGS)[:, None]
    around = np.arange(_SECTORS) * 2 * np.pi / _SECTORS
    ring = np.stack(np.broadcast_arrays(np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)))
    i = np.arange((_RINGS - 1) * _SECTORS)
    right = i - i % _SECTORS + (i + 1) % _SECTORS
    quads = np.stack([i, i + _SECTORS, right + _SECTORS, right])
    triangles = np.concatenate([quads[[0, 1, 2]].T, quads[[0, 2, 3]].T])
    return ring.reshape(3, -1).T.astype(np.float32), triangles.astype(np.int32)
