"""The mesh of a human head that every face with known motion moves by: its shape, its units and its landmarks.

Base mesh and shape targets are MakeHuman's, the 52 face units Mika Suominen's, all CC0; `heads.md` beside the file
tells where they come from, and `notebooks/studies/build_heads.py` made the file from them. Lengths are millimetres:
x to the subject's left (the image's right), y up, z to the camera, from the middle between the eyes.
"""

import tomllib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any
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
#: Tables of looks.toml.
LOOKS: dict[str, Any] = tomllib.loads((files(__package__) / "looks.toml").read_text("utf-8"))
_FILE = Path(__file__).with_name("heads.npz")


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
        (52, np.float32(14.5))
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            a = {name: file[name] for name in file.files}
        _check(a)
        stored = {"units": np.float32(100), "modes": np.float32(100), "masks": np.float32(255)}  # as whole numbers
        named = {name: dict(zip(map(str, a[f"{name}_names"]), a[name] / x, strict=True)) for name, x in stored.items()}
        eyes = {side: slice(start, stop) for side, (start, stop) in zip("RL", a["eyes"].tolist(), strict=True)}
        places = a["place_vertices"].astype(np.int32), a["place_weights"]
        triangles, sky = a["triangles"].astype(np.int32), a["open_sky"] / np.float32(255)
        return Mesh(a["vertices"], triangles, a["uv"], sky, **named, eyes=eyes, places=places)
    except (KeyError, OSError, EOFError, TypeError, BadZipFile, zlib.error, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}): install the package again, or rebuild the file") from error


def places_of(vertices: Float[np.ndarray, "vertices d"], mesh: Mesh | None = None) -> Float[np.ndarray, "478 d"]:
    """Where the 478 landmarks of MediaPipe's mesh lie, given where the vertices are (in space or in the image)."""
    corners, weights = (mesh or head_mesh()).places
    return np.einsum("pk,pkd->pd", weights, vertices[corners])


def _check(a: Mapping[str, np.ndarray]) -> None:
    count = len(a["vertices"])
    shapes = {"vertices": (count, 3), "uv": (count, 2), "open_sky": (count,), "eyes": (2, 2)}
    shapes |= {kind: (len(a[f"{kind}_names"]), count, 3) for kind in ("units", "modes")}
    shapes |= dict.fromkeys(("place_vertices", "place_weights"), (478, 3)) | {"masks": (len(a["masks_names"]), count)}
    for name, shape in shapes.items():
        if a[name].shape != shape:
            raise ValueError(f"{name} has the shape {a[name].shape} instead of {shape}")
    if not all(np.isfinite(a[name]).all() for name in ("vertices", "uv", "place_weights")):
        raise ValueError("some of its numbers are not finite")
    if a["triangles"].shape[1:] != (3,) or not max(a["triangles"].max(), a["place_vertices"].max()) < count:
        raise ValueError("triangles name vertices that there are not")
