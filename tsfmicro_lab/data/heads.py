"""People: a head of its own for each seed, with painted skin, hair and eyes."""

from dataclasses import dataclass, field

import cv2
import numpy as np

from tsfmicro_lab.data.hair import STRANDS, along_with, locks
from tsfmicro_lab.data.mesh import SKIN_ROWS, TEXTURE, Vertices, head_mesh, places_of
from tsfmicro_lab.data.rendering import Surface
from tsfmicro_lab.data.skin import collar, hairline, paint

#: How strongly a local mode is drawn: the standard deviation of its largest movement, millimetres, and of its weight.
_SPREAD, _LARGEST = 1.7, 0.33
#: Modes that move whole features: they may differ more between people.
_WIDER = {
    "eyebrows-eyebrows-trans": 1.5, "eyebrows-eyebrows-angle": 0.6, "mouth-mouth-trans": 1.5,
    "nose-nose-scale-vert": 1.5, "nose-nose-volume": 1.4, "chin-chin-height": 1.5, "head-head-fat": 1.6,
    "head-head-scale-horiz": 1.5, "forehead-forehead-nubian": 0.5,
}  # fmt: skip
#: Shapes of the whole head exclude one another and have no opposite.
_LENGTHS = ((0.2, 0.25, 0.3, 0.2, 0.03, 0.02), (0.04, 0.06, 0.1, 0.2, 0.3, 0.3))
_CLASSES = ("diamond", "invertedtriangular", "oval", "rectangular", "round", "square", "triangular")


@dataclass(frozen=True)
class Person:
    """Who is drawn: all that makes one person differ from another, each a number."""

    seed: int = 0
    shape: dict[str, float] = field(default_factory=dict)  #: weight of each shape mode
    lids: float = 0.05  #: how far the lids are lowered at rest, as a share of a blink
    age: float = 0.2  #: from a young adult (0) to an old one (1)
    melanin: float = 0.3  #: from the lightest (0) to the darkest (1) human skin
    blood: float = 0.5  #: redness of the skin, 0 to 1
    undertone: float = 0.0  #: from rosy (-1) to golden (1)
    freckles: float = 0.0
    lipstick: float = 0.0  #: additional red of the lips, 0 to 1
    iris: float = 0.7  #: from blue (0) over green and hazel to nearly black (1)
    pupil: float = 0.14  #: radius, as a share of the eyeball's
    hair: float = 0.8  #: from fair (0) to black (1)
    red: float = 0.1  #: how red the hair is
    grey: float = 0.0  #: share of grey hair
    length: float = 5.0  #: of the hair, millimetres
    curl: float = 0.1  #: from straight (0) to tight curls (1)
    comb: float = 0.3  #: from back (-1) over to the sides (0) to the front (1)
    parting: float = 0.0  #: millimetres to the subject's left
    receding: float = 0.0  #: how far the hairline went back, 0 to 1
    hairline: float = 0.0  #: lower (1) or higher (-1) than usual
    bald: float = 0.0  #: thinness of the hair on top
    brow: float = 1.0  #: density of the brows
    brow_width: float = 1.0
    arch: float = 0.0  #: how much the brow is bent, -1 to 1
    beard: float = 0.0  #: from shaved (0) over a shadow (0.2) to a short beard (1)
    collar: float = 0.0

    @classmethod
    def mean(cls) -> "Person":
        """The mean of young adults, for measuring."""
        young = [name for name in head_mesh().modes if name.startswith("people-") and name.endswith("young")]
        return cls(shape=dict.fromkeys(young, 1 / len(young)))

    @classmethod
    def draw(cls, seed: int, variation: float = 1.0) -> "Person":
        """Draws a person: the same seed gives the same one.

        Args:
            seed: Who: any integer from 0.
            variation: How far the proportions are from the mean face: 0 gives everybody the same, 2 caricatures.

        Raises:
            ValueError: The variation is not between 0 and 2.
        """
        if not 0 <= variation <= 2:
            raise ValueError(f"variation is {variation}, expected 0 (all alike) to 2: 1 is that of people")
        rng = np.random.default_rng([seed, 17])
        modes = head_mesh().modes
        male, age = rng.beta(0.3, 0.3), rng.beta(0.9, 1.3)
        ancestry = rng.dirichlet(np.full(3, 0.5))
        shape = cls.mean().shape
        shape = {name: (1 - variation) * weight for name, weight in shape.items()}
        for share, origin in zip(ancestry, ("african", "asian", "caucasian"), strict=True):
            for part, sex in ((male, "male"), (1 - male, "female")):
                for when, old in ((age, "old"), (1 - age, "young")):
                    name = f"people-{origin}-{sex}-{old}"
                    shape[name] = shape.get(name, 0.0) + variation * share * part * when
        for name, delta in modes.items():
            weight = min(_LARGEST, _SPREAD * _WIDER.get(name, 1.0) / np.abs(delta).max()) * rng.normal()
            weight *= 0.6 if name.startswith("eyes") else 1.0
            if name.startswith("asym"):
                shape[name] = variation * 0.4 * abs(weight)
            elif not name.startswith("people-") and name.removeprefix("head-head-") not in _CLASSES:
                shape[name] = variation * weight
        shape["mouth-mouth-angles"] += 0.15  # at rest, most corners of the mouth do not hang
        shape["eyebrows-eyebrows-angle"] += 0.08
        shape[f"head-head-{rng.choice(_CLASSES)}"] = variation * 0.2 * rng.uniform()
        return cls(seed, shape, **{k: float(v) for k, v in _looks(rng, male, age, ancestry).items()})

    def vertices(self) -> Vertices:
        """The head at rest, millimetres.

        Raises:
            ValueError: A shape mode is not known.
        """
        mesh = head_mesh()
        if unknown := set(self.shape) - set(mesh.modes):
            raise ValueError(f"shape mode {min(unknown)!r} is not known: choose from head_mesh().modes")
        rest = mesh.vertices + sum(np.float32(w) * mesh.modes[n] for n, w in self.shape.items())
        rest += np.float32(self.lids) * (mesh.units["eyeBlinkLeft"] + mesh.units["eyeBlinkRight"])
        gap, opened = (np.subtract(*places_of(x)[[13, 14], 1]) for x in (rest, mesh.units["jawOpen"]))
        return rest - (gap - 0.1) / opened * mesh.units["jawOpen"]  # lips touch


def _looks(rng: np.random.Generator, male: float, age: float, ancestry: np.ndarray) -> dict[str, float]:
    """Colours and hair; they go with ancestry only loosely."""
    melanin = float((1.3 * (0.6 * rng.uniform() + 0.4 * ancestry @ (0.85, 0.35, 0.15)) - 0.14).clip(0, 1))
    hair = min(1.0, rng.beta(1.6, 1.0) + 1.3 * melanin)
    fair = max(0.0, 1 - 2 * melanin) * (1 - hair)
    length = float(rng.choice([1.0, 4.0, 14.0, 30.0, 90.0, 170.0], p=_LENGTHS[int(male < 0.5)]) * rng.uniform(0.7, 1.4))
    curl = min(1.0, rng.beta(0.8, 3) + 0.9 * ancestry[0] * (rng.uniform() < 0.7))
    length = min(length, 200 - 160 * curl)
    lost = male > 0.5 and rng.uniform() < 0.2 + 0.5 * age
    return {
        "lids": rng.uniform(0.0, 0.12), "age": age, "melanin": melanin, "blood": rng.uniform(0.15, 1.0),
        "undertone": rng.uniform(-1, 1), "freckles": max(0.0, rng.normal(0.4 * fair, 0.3)) * (melanin < 0.5),
        "lipstick": (male < 0.5) * rng.uniform(0, 1) ** 2, "iris": min(1.0, rng.beta(1.0, 1.0) + 1.4 * melanin),
        "pupil": rng.uniform(0.115, 0.16), "hair": hair, "red": rng.beta(1, 4) + 0.4 * fair * rng.uniform(),
        "grey": min(1.0, max(0.0, 1.5 * age - 0.55 + 0.25 * rng.normal())), "length": length,
        "curl": curl, "comb": rng.uniform(-1, 1),
        "parting": rng.normal(0, 25),
        "receding": lost * rng.uniform(0.3, 1.0) + 0.1 * rng.uniform(), "hairline": rng.normal() * 0.5,
        "bald": lost * rng.uniform() * age, "brow": rng.uniform(0.55, 1.0) + 0.35 * male,
        "brow_width": rng.uniform(0.6, 0.95) + 0.25 * male, "arch": rng.uniform(-1, 1) + 0.3 * (0.5 - male),
        "beard": (male > 0.5) * rng.choice([0.03, 0.15, 0.4, 1.0], p=[0.4, 0.25, 0.2, 0.15]) * rng.uniform(0.6, 1.1),
        "collar": rng.uniform(-1, 1),
    }  # fmt: skip


def draw_head(person: Person) -> Surface:
    """Paints a person's skin and eyes: what can be moved and drawn."""
    mesh, rng = head_mesh(), np.random.default_rng([person.seed, 29])
    rest, texture = person.vertices(), paint(person)
    gloss = np.where(
        mesh.masks["eye"] > 0, 0.9, 0.09 + 0.04 * person.blood + 0.09 * person.melanin + 0.10 * mesh.masks["lips"]
    )
    column = mesh.uv[:, 0].clip(0, TEXTURE - 1).astype(int)
    skin = (mesh.masks["eye"] + mesh.masks["teeth"] + mesh.masks["mouth"] == 0) & (mesh.uv[:, 1] < SKIN_ROWS)
    hairy = skin * (hairline(person, *mesh.uv.T) / 20).clip(0, 1) * (1 - mesh.masks["ears"])
    cloth = skin * ((mesh.uv[:, 1] - collar(person)[column]) / 4).clip(0, 1)
    gloss = (gloss * (1 - 0.6 * hairy) * (1 - 0.9 * cloth)).astype(np.float32)
    plain = Surface(rest, mesh.triangles, mesh.uv, texture, mesh.open_sky, gloss, np.zeros(3, np.float32))
    cap = (1 - 0.7 * person.bald) * min(person.length * (0.25 + 0.4 * person.curl), 14) * hairy
    normals = plain.normals(rest)
    rest = (rest + (cap + 3.0 * cloth)[:, None] * normals).astype(np.float32)
    on = skin[mesh.triangles].all(1)
    more, extra, places = np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32), np.zeros((0, 2), np.float32)
    if person.length >= 7:
        more, extra, places = locks(person, rest, normals, mesh.triangles[on], hairy)
    sky = np.concatenate(
        [mesh.open_sky, np.interp(places[:, 1] - STRANDS[1], (0, 120), (0.45, 1.0)).astype(np.float32)]
    )
    gloss = np.pad(gloss, (0, len(more)), constant_values=0.06 + 0.12 * person.hair)
    triangles = np.concatenate([mesh.triangles, extra + len(rest)])
    rest, uv = np.concatenate([rest, more]), np.concatenate([mesh.uv, places])
    wall = rng.uniform(0.2, 0.88) ** 2 * rng.uniform(0.75, 1.15, 3)
    shade = cv2.resize(rng.uniform(0.8, 1.1, (2, 2)).astype(np.float32), (32, 32), interpolation=cv2.INTER_CUBIC)
    background = (wall * shade[..., None]).astype(np.float32)
    follow = along_with(rest[: len(cap)], more)
    return Surface(rest, triangles, uv, texture, sky, gloss, background, follow=follow)
