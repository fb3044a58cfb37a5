"""Hair as some hundred flat locks that grow from the scalp, lie on the head and hang down."""

from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

from tsfmicro_lab.data.mesh import SKIN_ROWS, TEXTURE, Vertices

if TYPE_CHECKING:
    from tsfmicro_lab.data.heads import Person

#: Part of the texture with strands of hair, from root (top) to tip: first column and row, height.
STRANDS, STRANDS_HEIGHT = (400, SKIN_ROWS + 8), TEXTURE - SKIN_ROWS - 12
_LOCKS, _PARTS = 520, 6
_CROWN = np.array([0.0, 105.0, -75.0])


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector, axis=-1, keepdims=True).clip(1e-9)


def locks(
    person: "Person", skin: Vertices, normals: Vertices, triangles: np.ndarray, hairy: np.ndarray
) -> tuple[Vertices, np.ndarray, np.ndarray]:
    """Vertices, triangles and places in the texture of a person's locks.

    Args:
        person: Whose length, curls and way to comb are used.
        skin: Vertices on which hair lies, millimetres.
        normals: Their directions.
        triangles: Of the skin.
        hairy: How much hair grows at a vertex, 0 to 1.
    """
    rng = np.random.default_rng([person.seed, 31])
    a, b, c = skin[triangles].transpose(1, 0, 2)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) * hairy[triangles].min(1)
    area *= (b[:, 2] > -90) * (0.35 + 0.65 * (b[:, 2] > -30))
    chosen = triangles[rng.choice(len(triangles), _LOCKS, p=area / area.sum())]
    bary = rng.dirichlet((1, 1, 1), _LOCKS)
    point = np.einsum("lk,lkd->ld", bary, skin[chosen])
    out = _unit(np.einsum("lk,lkd->ld", bary, normals[chosen]))
    length = person.length * rng.uniform(0.65, 1.2, _LOCKS)
    side = np.where(point[:, :1] > person.parting, 1.0, -1.0) * (1, 0, 0)
    combed = person.comb * _unit(point - _CROWN) + (1 - abs(person.comb)) * side
    low = ((45 - point[:, 1:2]) / 60).clip(0, 1) * (abs(point[:, :1]) > 40)
    combed = _unit(combed * (1 - low) + low * (0, -1, -0.35))
    lift = 0.05 + 0.7 * person.curl + 0.4 * (person.length < 10) + rng.uniform(0, 0.2, (_LOCKS, 1))
    along = combed - (combed * out).sum(1, keepdims=True) * out + lift * out
    along = _unit(along + rng.normal(0, 0.10 + 0.35 * person.curl, (_LOCKS, 3)))
    tree, layer = cKDTree(skin), rng.uniform(0.5, 4.0, _LOCKS)
    step = (length / _PARTS)[:, None]
    phase, turn = rng.uniform(0, 6.28, (_LOCKS, 1)), rng.uniform(0.5, 1.2, (_LOCKS, 1)) * (0.6 + 1.2 * person.curl)
    spine, across = [], []
    for part in range(_PARTS + 1):
        wide = _unit(np.cross(along, out))
        wave = (
            person.curl * step * 0.9 * (np.cos(phase + part * turn * 2) * wide + np.sin(phase + part * turn * 2) * out)
        )
        spine.append(point + (part > 0) * wave)
        across.append(wide)
        before, point = point, point + step * along
        near = tree.query(point)[1]
        out = _unit(normals[near] + 0.3 * out)
        height = ((point - skin[near]) * normals[near]).sum(1)
        rise = min(1.0, (part + 1) / 2) * layer * min(1.0, person.length / 8)
        point = point + (rise - height).clip(0)[:, None] * normals[near]
        along = _unit(point - before + step * (0, -0.12 * (1 - 0.8 * person.curl), 0))
    half = (1.0 + 2.6 * min(1.0, person.length / 25)) * rng.uniform(0.6, 1.2, (_LOCKS, 1))
    taper = np.interp(np.linspace(0, 1, _PARTS + 1), (0, 0.2, 0.7, 1), (0.6, 1, 0.8, 0.05))
    edge = half[None] * taper[:, None, None] * np.stack(across)
    vertices = np.stack([np.stack(spine) - edge, np.stack(spine) + edge], 2).swapaxes(0, 1)  # lock, part, side
    i = 2 * np.arange(_PARTS)[:, None] + (2 * (_PARTS + 1) * np.arange(_LOCKS))[:, None, None]
    quads = np.concatenate([i + np.array(corners) for corners in ((0, 1, 2), (1, 3, 2))]).reshape(-1, 3)
    column = rng.uniform(0, TEXTURE - STRANDS[0] - 24, (_LOCKS, 1, 1)) + 2.6 * half[:, None] * np.array([0, 2])
    row = np.broadcast_to(np.linspace(0, STRANDS_HEIGHT, _PARTS + 1)[:, None], (_LOCKS, _PARTS + 1, 2))
    uv = np.stack([np.broadcast_to(column, row.shape), row], -1) + STRANDS
    return vertices.reshape(-1, 3).astype(np.float32), quads.astype(np.int32), uv.reshape(-1, 2).astype(np.float32)


def along_with(head: Vertices, hair: Vertices) -> csr_matrix:
    """How hair goes along with the head: as four places of the scalp do, which no unit moves."""
    anchors = [int(np.argmax(head @ np.array(way))) for way in ((0, 1, 0), (1, 0.6, 0), (-1, 0.6, 0), (0, 0.8, -1))]
    corners = np.c_[head[anchors], np.ones(4)]
    weights = np.linalg.solve(corners.T, np.c_[hair, np.ones(len(hair))].T).T
    where = np.repeat(np.arange(len(hair)), 4), np.tile(anchors, len(hair))
    return csr_matrix((weights.ravel().astype(np.float32), where), (len(hair), len(head)))
