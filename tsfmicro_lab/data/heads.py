"""People: a head of its own for each seed, with painted skin."""

from dataclasses import dataclass, field

import numpy as np

from tsfmicro_lab.data.mesh import EYE_PATCH, EYE_PATCH_RADIUS, SKIN_ROWS, TEETH_PATCH, TEXTURE, Vertices, head_mesh
from tsfmicro_lab.data.rendering import Surface


@dataclass(frozen=True)
class Person:
    """Who is drawn: all that makes one person differ from another, each a number."""

    seed: int = 0
    shape: dict[str, float] = field(default_factory=dict)  #: weight of each shape mode
    melanin: float = 0.3  #: from the lightest (0) to the darkest (1) human skin

    @classmethod
    def mean(cls) -> "Person":
        """The mean of young adults, for measuring."""
        young = [name for name in head_mesh().modes if name.startswith("people-") and name.endswith("young")]
        return cls(shape=dict.fromkeys(young, 1 / len(young)))

    @classmethod
    def draw(cls, seed: int, variation: float = 1.0) -> "Person":
        """Draws a person: the same seed gives the same one."""
        rng = np.random.default_rng([seed, 17])
        mesh = head_mesh()
        people = [name for name in mesh.modes if name.startswith("people-") and not name.endswith("child")]
        shape = dict(zip(people, rng.dirichlet(np.full(len(people), 0.25)), strict=True))
        shape |= {n: variation * 0.4 * rng.normal() for n in mesh.modes if not n.startswith(("people-", "asym"))}
        shape |= {n: variation * 0.25 * abs(rng.normal()) for n in mesh.modes if n.startswith("asym")}
        return cls(seed, shape, rng.uniform())

    def vertices(self) -> Vertices:
        """The head at rest, millimetres."""
        mesh = head_mesh()
        return mesh.vertices + sum(np.float32(w) * mesh.modes[n] for n, w in self.shape.items())


def draw_head(person: Person) -> Surface:
    """Paints a person's skin and eyes: what can be moved and drawn."""
    mesh = head_mesh()
    light, dark = np.float32([0.72, 0.48, 0.37]), np.float32([0.10, 0.05, 0.03])
    texture = np.empty((TEXTURE, TEXTURE, 3), np.float32)
    texture[:] = light ** (1 - person.melanin) * dark**person.melanin
    texture[SKIN_ROWS:] = 0.02
    y, x = np.mgrid[:TEXTURE, :TEXTURE]
    eye = np.hypot(x - EYE_PATCH[0], y - EYE_PATCH[1]) / EYE_PATCH_RADIUS
    for radius, colour in ((1.0, (0.6, 0.58, 0.55)), (0.42, (0.1, 0.06, 0.03)), (0.2, (0.005, 0.005, 0.005))):
        texture[eye < radius] = colour
    column, row = (int(c) for c in TEETH_PATCH)
    texture[row - 20 : row + 20, column - 20 : column + 20] = 0.6
    gloss = np.where(mesh.masks["eye"] > 0, 0.9, 0.05).astype(np.float32)
    background = np.float32([0.1, 0.12, 0.14])
    return Surface(person.vertices(), mesh.triangles, mesh.uv, texture, mesh.open_sky, gloss, background)
