"""Short hair as many narrow locks that grow from the scalp and lie on the head."""

from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

from tsfmicro_lab.data.mesh import SKIN_ROWS, TEXTURE, Vertices

if TYPE_CHECKING:
    from tsfmicro_lab.data.heads import Person

#: Part of the texture with strands of hair, from root (top) to tip: first column and row, height.
STRANDS, STRANDS_HEIGHT = (400, SKIN_ROWS + 8), TEXTURE - SKIN_ROWS - 12
_LOCKS, _PARTS = 800, 3
_CROWN = np.array([0.0, 105.0, -75.0])


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector, axis=-1, keepdims=True).clip(1e-9)


def locks(
    person: "Person", skin: Vertices, normals: Vertices, triangles: np.ndarray, hairy: np.ndarray
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
    parts, count, comb = _PARTS, _LOCKS, person.comb * (1 - 0.5 * curl)
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
    corners = np.c_[head[anchors], np.ones(4)]
    weights = np.linalg.solve(corners.T, np.c_[hair, np.ones(len(hair))].T).T
    where = np.repeat(np.arange(len(hair)), 4), np.tile(anchors, len(hair))
    return csr_matrix((weights.ravel().astype(np.float32), where), (len(hair), len(head)))
