"""People: a head of its own for each seed, with painted skin, hair and eyes."""

from dataclasses import dataclass, field
from functools import cache

import cv2
import numpy as np
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

from tsfmicro_lab.data.mesh import LOOKS, SKIN_ROWS, TEXTURE, Vertices, head_mesh, places_of
from tsfmicro_lab.data.rendering import Surface
from tsfmicro_lab.data.skin import STRANDS, STRANDS_HEIGHT, collar, hairline, paint

#: How strongly a local mode is drawn: the standard deviation of its largest movement, millimetres, and of its weight.
_SPREAD, _LARGEST = 1.7, 0.33
#: Lengths of hair, millimetres, and how many men and women wear it so: our estimate.
_LENGTHS = ((1, 3, 8, 13), (0.20, 0.25, 0.35, 0.20), (0.08, 0.17, 0.35, 0.40))
#: Where on the scalp hair is combed away from.
_CROWN = np.array([0.0, 105.0, -75.0])


@dataclass(frozen=True)
class Person:
    """Who is drawn: all that makes one person differ from another, each a number."""

    seed: int = 0
    shape: dict[str, float] = field(default_factory=dict, repr=False)  #: weight of each shape mode
    lids: float = 0.05  #: how far the lids are lowered at rest, as a share of a blink; below 0 they are open wider
    age: float = 0.2  #: from a young adult (0) to an old one (1)
    melanin: float = 0.3  #: from the lightest (0) to the darkest (1) human skin
    blood: float = 0.5  #: redness of the skin, 0 to 1
    iris: float = 0.7  #: from blue (0) over green and hazel to nearly black (1)
    hair: float = 0.8  #: from fair (0) to black (1)
    red: float = 0.1  #: how red the hair is
    grey: float = 0.0  #: share of grey hair
    length: float = 5.0  #: of the hair, millimetres
    curl: float = 0.1  #: from straight (0) to tight curls (1)
    comb: float = 0.3  #: from back (-1) over to the sides (0) to the front (1)
    parting: float = 0.0  #: millimetres to the subject's left
    receding: float = 0.0  #: how far the hairline went back: 1 by far; below 0 it is low
    brow: float = 0.9  #: width and density of the brows
    beard: float = 0.0  #: from shaved (0) over a shadow (0.2) to a short beard (1)

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

        Example:
            >>> Person.draw(3) == Person.draw(3), Person.draw(3) == Person.draw(4)
            (True, False)
        """
        if not 0 <= variation <= 2:
            raise ValueError(f"variation is {variation}, expected 0 (all alike) to 2: 1 is that of people")
        rng = np.random.default_rng([seed, 17])
        male, age, ancestry = rng.beta(0.3, 0.3), rng.beta(0.9, 1.3), rng.dirichlet(np.full(3, 0.5))
        shares = {"african": ancestry[0], "asian": ancestry[1], "caucasian": ancestry[2], "male": male}
        shares |= {"female": 1 - male, "old": age, "young": 1 - age, "child": 0.0}
        shape = {name: (1 - variation) * weight for name, weight in cls.mean().shape.items()}
        for name, delta in head_mesh().modes.items():
            weight = min(_LARGEST, _SPREAD / np.abs(delta).max()) * np.clip(rng.normal(), -1.8, 1.8)
            weight *= np.prod([less for part, less in LOOKS["tight"].items() if part in name])
            if name.startswith("people-"):
                shape[name] = shape.get(name, 0.0) + variation * np.prod([shares[p] for p in name.split("-")[1:]])
            else:
                shape[name] = variation * (abs(weight) if name.startswith("asym") else weight)
        tilts, wanted = _tilts(), 0.2 + 0.25 * variation * np.clip(rng.normal(), -2, 2)
        tilt = tilts[""] + sum(tilts[name] * weight for name, weight in shape.items())
        shape["mouth-mouth-angles"] += (wanted - tilt) / tilts["mouth-mouth-angles"]
        shape["eyebrows-eyebrows-angle"] += 0.08
        looks = _looks(rng, male, age, ancestry)
        return cls(seed, {k: float(v) for k, v in shape.items()}, **{k: float(v) for k, v in looks.items()})

    def vertices(self) -> Vertices:
        """The head at rest, millimetres: lids a little lowered, lips closed.

        Raises:
            ValueError: A shape mode is not known.
        """
        mesh = head_mesh()
        if unknown := set(self.shape) - set(mesh.modes):
            raise ValueError(f"shape mode {min(unknown)!r} is not known: choose from head_mesh().modes")
        rest = mesh.vertices + sum(np.float32(w) * mesh.modes[n] for n, w in self.shape.items())
        rest += np.float32(self.lids) * (mesh.units["eyeBlinkLeft"] + mesh.units["eyeBlinkRight"])
        gap, opened = (np.subtract(*places_of(x)[[13, 14], 1]) for x in (rest, mesh.units["jawOpen"]))
        return rest - np.float32((gap - 0.1) / opened) * mesh.units["jawOpen"]


@cache
def _tilts() -> dict[str, float]:
    """How far the head without modes ("") and each mode lift the mouth's corners over its closed lips, millimetres."""
    mesh = head_mesh()
    rows = {n: places_of(d)[:, 1] for n, d in {"": mesh.vertices, "jaw": mesh.units["jawOpen"], **mesh.modes}.items()}
    lifts = {name: float(y[[61, 291]].mean() - y[[13, 14]].mean()) for name, y in rows.items()}
    jaw = lifts["jaw"] / (rows["jaw"][13] - rows["jaw"][14])
    return {name: float(lifts[name] - jaw * (y[13] - y[14])) for name, y in rows.items()}


def _looks(rng: np.random.Generator, male: float, age: float, ancestry: np.ndarray) -> dict[str, float]:
    """Colours and hair; they go with ancestry only loosely."""
    melanin = np.clip(1.45 * (0.6 * rng.uniform() + 0.4 * ancestry @ (0.85, 0.35, 0.15)) - 0.2, 0, 1) ** 1.2
    hair, man = np.clip(rng.beta(0.8, 1.1) + 1.6 * melanin - 0.25, 0, 1), male > 0.5
    fair, curl = (1 - melanin) * (melanin < 0.4), rng.beta(0.8, 3) + 0.9 * ancestry[0] * rng.choice(2)
    lost = man * (rng.uniform() < 0.2 + 0.5 * age) * rng.uniform(0.3, 1.0)
    length = rng.choice(_LENGTHS[0], p=_LENGTHS[1 if man else 2]) * rng.uniform(0.8, 1.2)
    return {
        "lids": rng.uniform(-0.06, 0.06), "age": age, "melanin": melanin, "blood": rng.uniform(0.15, 1),
        "hair": hair, "red": min(1.0, 1.5 * rng.beta(0.4, 1.0)) * fair, "curl": min(curl, 1.0), "length": length,
        "iris": np.clip(1.25 * rng.uniform() - 0.25 + 1.7 * melanin, 0, 1),
        "grey": np.clip(rng.normal(1.5 * age - 0.55, 0.25), 0, 1),
        "comb": rng.uniform(-1, 0.4), "parting": rng.normal(0, 25), "receding": lost + rng.normal(0.05, 0.2),
        "brow": rng.uniform(0.6, 1.0) + 0.25 * male,
        "beard": man * rng.choice([0.03, 0.15, 0.4, 1.0], p=[0.4, 0.25, 0.2, 0.15]) * rng.uniform(0.6, 1.1),
    }  # fmt: skip


def draw_head(person: Person) -> Surface:
    """Paints a person and grows the hair: what can be moved and drawn, before a wall.

    Example:
        >>> surface = draw_head(Person.draw(1))
        >>> len(surface.vertices) > len(head_mesh().vertices)  # locks of hair follow the head's own
        True
    """
    mesh, rng = head_mesh(), np.random.default_rng([person.seed, 29])
    head, texture, uv, triangles = person.vertices(), paint(person), mesh.uv, mesh.triangles
    skin = (mesh.masks["eye"] + mesh.masks["teeth"] + mesh.masks["mouth"] == 0) & (uv[:, 1] < SKIN_ROWS)
    hairy = skin * (hairline(person, *uv.T) / 20).clip(0, 1) * (1 - mesh.masks["ears"])
    cloth = skin * (collar(*uv.T) / 4).clip(0, 1)
    below = skin * np.interp(uv[:, 1], (580, 660), (0, 0.6))  # clothes send light to the neck
    sky = (mesh.open_sky ** (1 - below)).astype(np.float32)
    gloss = (0.10 + 0.03 * person.blood) * (1 - 0.65 * person.melanin) + 0.05 * mesh.masks["lips"]
    gloss = np.where(mesh.masks["eye"] > 0, 0.7, gloss * (1 - 0.6 * hairy) * (1 - 0.9 * cloth)).astype(np.float32)
    wall = cv2.resize(rng.uniform(0.8, 1.1, (2, 2)), (32, 32))[..., None] * rng.uniform(0.2, 0.88) ** 2
    background = (wall * rng.uniform(0.75, 1.15, 3)).astype(np.float32)
    normals = Surface(head, triangles, uv, texture, sky, gloss, background).normals(head)
    cap = person.length * (0.3 + 0.4 * person.curl) * hairy
    head = (head + (cap + 3.0 * cloth)[:, None] * normals).astype(np.float32)
    if person.length < 7:  # the roots alone
        return Surface(head, triangles, uv, texture, sky, gloss, background)
    hair, more, places = locks(person, head, normals, triangles[skin[triangles].all(1)], hairy)
    dim = np.interp(places[:, 1] - STRANDS[1], (0, 120), (0.7, 1.0)).astype(np.float32)  # between other locks
    rest, gloss = np.concatenate([head, hair]), np.pad(gloss, (0, len(hair)), constant_values=0.03)
    triangles, uv, sky = np.concatenate([triangles, more + len(head)]), np.concatenate([uv, places]), np.r_[sky, dim]
    return Surface(rest, triangles, uv, texture, sky, gloss, background, follow=along_with(head, hair))


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector, axis=-1, keepdims=True).clip(1e-9)


def locks(
    person: Person, skin: Vertices, normals: Vertices, triangles: np.ndarray, hairy: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices, triangles and places in the texture of a person's locks.

    Args:
        person: Whose length, curls and way to comb are used.
        skin: Vertices on which hair lies, millimetres.
        normals: Their directions.
        triangles: Of the skin.
        hairy: How much hair grows at a vertex, 0 to 1.
    """
    rng, curl = np.random.default_rng([person.seed, 31]), person.curl
    parts, count, comb = 3, 800, person.comb * (1 - 0.5 * curl)  # parts that each lock is bent from; locks
    a, b, c = skin[triangles].transpose(1, 0, 2)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) * (hairy[triangles].mean(1) - 0.3).clip(0)
    area *= (b[:, 2] > -100) * (0.35 + 0.65 * (b[:, 2] > -30))
    chosen, bary = triangles[rng.choice(len(triangles), count, p=area / area.sum())], rng.dirichlet((1, 1, 1), count)
    point = np.einsum("lk,lkd->ld", bary, skin[chosen])
    out = _unit(np.einsum("lk,lkd->ld", bary, normals[chosen]))
    inside = (bary * hairy[chosen]).sum(1)[:, None]  # shorter at the hairline
    step = person.length * rng.uniform(0.8, 1.1, (count, 1)) * inside / parts
    side = np.tanh((point[:, :1] - person.parting) / 6) * (1, 0, 0) - (0, 0.2, 0)
    combed = comb * _unit(point - _CROWN) + (1 - abs(comb)) * side
    low = ((50 - point[:, 1:2]) / 50).clip(0, 1) * (abs(point[:, :1]) > 40)
    combed = _unit(combed * (1 - low) + low * (0, -0.9, -0.7))
    drift = np.sin(point @ rng.normal(0, 0.06, (3, 3)) + rng.uniform(0, 6, 3))  # neighbours lie alike
    lift = 0.08 + 0.25 * curl + rng.uniform(0, 0.12, (count, 1))
    along = combed - (combed * out).sum(1, keepdims=True) * out + lift * out
    along = _unit(along + 0.22 * drift + rng.normal(0, 0.07 + 0.3 * curl, (count, 3)))
    tree, layer = cKDTree(skin), rng.uniform(0.5, 2.5, count)
    phase, turn = rng.uniform(0, 6.28, (count, 1)), rng.uniform(0.8, 1.6, (count, 1))
    spine, across = [], []
    for part in range(parts + 1):
        wide = _unit(np.cross(along, out + np.array([0, 0, 0.4])))
        wave = np.cos(phase + part * turn) * wide + np.sin(phase + part * turn) * out
        spine.append(point + (part > 0) * curl * np.minimum(step * 0.8, 5) * wave)
        across.append(wide)
        before, point = point, point + step * along
        near = tree.query(point)[1]
        out = _unit(normals[near] + 0.5 * out)
        height = ((point - skin[near]) * normals[near]).sum(1)
        rise = min(1.0, (part + 1) / 2) * layer * min(1.0, person.length / 10)
        point = point + (rise - height).clip(0)[:, None] * normals[near]
        along = _unit(along + _unit(point - before))
        along = _unit(along - 0.6 * (1 - curl) * (along * out).sum(1, keepdims=True).clip(0) * out)
    half = (0.7 + 0.03 * person.length) * rng.uniform(0.6, 1.2, (count, 1))
    taper = np.interp(np.linspace(0, 1, parts + 1), (0, 0.2, 0.7, 1), (0.9, 1, 1, 0.5))
    edge = half[None] * taper[:, None, None] * np.stack(across)
    vertices = np.stack([np.stack(spine) - edge, np.stack(spine) + edge], 2).swapaxes(0, 1)  # lock, part, side
    i = 2 * np.arange(parts)[:, None] + (2 * (parts + 1) * np.arange(count))[:, None, None]
    quads = np.concatenate([i + np.array(corners) for corners in ((0, 1, 2), (1, 3, 2))]).reshape(-1, 3)
    column = rng.uniform(0, TEXTURE - STRANDS[0] - 32, (count, 1, 1)) + 2.6 * half[:, None] * np.array([0, 2])
    row = np.broadcast_to(np.linspace(0, STRANDS_HEIGHT, parts + 1)[:, None], (count, parts + 1, 2))
    uv = np.stack([np.broadcast_to(column, row.shape), row], -1) + STRANDS
    return vertices.reshape(-1, 3).astype(np.float32), quads.astype(np.int32), uv.reshape(-1, 2).astype(np.float32)


def along_with(head: Vertices, hair: np.ndarray) -> csr_matrix:
    """How hair goes along with the head: as four places of the scalp do, which no unit moves."""
    anchors = [int(np.argmax(head @ np.array(way))) for way in ((0, 1, 0), (1, 0.6, 0), (-1, 0.6, 0), (0, 0.8, -1))]
    where = np.repeat(np.arange(len(hair)), 4), np.tile(anchors, len(hair))
    return csr_matrix((mixture(head[anchors], hair).ravel().astype(np.float32), where), (len(hair), len(head)))


def mixture(four: np.ndarray, points: np.ndarray) -> np.ndarray:
    """How points are mixed from four others, so that they move with them as one."""
    return np.asarray(np.linalg.solve(*(np.c_[x, np.ones(len(x))].T for x in (four, points))).T)
