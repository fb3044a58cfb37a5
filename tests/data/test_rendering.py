from dataclasses import replace

import cv2
import numpy as np
import pytest

from tsfmicro_lab.data import Distractors, rendering
from tsfmicro_lab.data.heads import Person, draw_head
from tsfmicro_lab.data.motion import Motion
from tsfmicro_lab.data.moving_face import MovingFace
from tsfmicro_lab.data.rendering import DISTANCE, Camera, Light, draw, motion_field

#: Clips whose motion is unlike: a smile, a frown, an open mouth on a head that turns, eyes that close.
CLIPS = {
    "smile": (0, {"12": 3.0}, {}),
    "frown": (3, {"4": 2.5, "9": 2.0}, {}),
    "turn": (2, {"26": 4.0}, {"turn": 15.0, "drift": 2.0}),
    "close": (4, {"43": 6.0}, {}),
}


def moving_face(name, size=224):
    person, units, strength = CLIPS[name]
    units = {unit: pixels * size / 224 for unit, pixels in units.items()}
    motion = Motion.draw(units, replace(Distractors.none(), **strength), [0], (60, 0.4))
    return MovingFace(draw_head(Person.draw(person)), motion, Camera(size))


@pytest.fixture
def unlit(monkeypatch):
    """Switches light off: every vertex sends back four fifths of its colour, wherever it moves."""
    monkeypatch.setattr(
        rendering,
        "shade",
        lambda surface, vertices, light: (np.full((len(vertices), 3), 0.8, np.float32), np.zeros(len(vertices), "f")),
    )


def ends(moving):
    return moving.vertices(moving.motion.onset), moving.vertices(moving.motion.apex)


@pytest.mark.parametrize("name", CLIPS)
def test_the_field_is_the_finite_difference_of_projected_vertices(name):
    """The picture is shifted until a vertex lies on the centre of a pixel, and both are compared there."""
    moving = moving_face(name)
    start, end = ends(moving)
    triangles, rng, errors = moving.face.triangles, np.random.default_rng(0), []
    front = np.flatnonzero((moving.face.normals(start)[:, 2] > 0.5) & (start[:, 1] > -110))
    for vertex in rng.choice(front, 60, replace=False):
        shift = np.zeros(2)
        for _ in range(4):
            camera = Camera(224, shift=(shift[0], shift[1]))
            place = camera.project(start[[vertex]])[0]
            shift += (np.rint(place) - place) / 224
        x, y = np.rint(place).astype(int)
        on_top = camera.rasterize(start, triangles, start, 224)[0][y, x]
        if np.abs(on_top - start[vertex]).max() < 0.01:  # else something hides it
            field, distance = motion_field(triangles, start, end, camera)
            errors.append(np.abs(field[:, y, x] - (camera.project(end[[vertex]])[0] - place)).max())
            assert distance[y, x] == pytest.approx(DISTANCE - end[vertex, 2], abs=0.01)
    assert len(errors) >= 15
    assert max(errors) <= 0.01


@pytest.mark.parametrize("zoom_and_roll", [(1.0, 0.0), (0.8, 0.3)])
def test_the_field_between_vertices_is_that_of_an_independent_ray(zoom_and_roll):
    """Barycentric coordinates in double precision, made true to perspective, on the nearest triangle of a pixel."""
    moving = moving_face("turn")
    camera = Camera(224, *zoom_and_roll)
    start, end = ends(moving)
    field, _ = motion_field(moving.face.triangles, start, end, camera)
    flat, flat_end = camera.project(start).astype(float), end.astype(float)
    depth = DISTANCE - camera._placed(start)[:, 2].astype(float)
    corners = flat[moving.face.triangles]
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    compared, rng = [], np.random.default_rng(1)
    for x, y in rng.integers(50, 180, (150, 2)):
        to = np.array([x, y]) - corners  # from each corner to the pixel
        cross = [to[:, i, 0] * to[:, i - 2, 1] - to[:, i, 1] * to[:, i - 2, 0] for i in (1, 2, 0)]
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.stack(cross, 1) / area[:, None]
        inside = np.flatnonzero((share > 1e-3).all(1) & (area < 0))  # y points down, so fronts run backwards
        if not len(inside):
            continue
        weights = share[inside] / depth[moving.face.triangles[inside]]
        far = 1 / weights.sum(1)
        order = np.argsort(far)
        if len(far) > 1 and far[order[1]] - far[order[0]] < 0.5:
            continue
        nearest = order[0]
        point = (weights[nearest] / weights[nearest].sum()) @ flat_end[moving.face.triangles[inside[nearest]]]
        true = camera.project(point[None].astype(np.float32))[0] - (x, y)
        compared.append(np.abs(field[:, y, x] - true).max())
    assert len(compared) > 60
    assert np.quantile(compared, 0.97) <= 0.01  # a ray through an edge may meet the neighbour
    assert np.median(compared) < 1e-3


def texture_errors(moving, factor=1.0):
    """How far the apex, read where the true field leads to, is from the onset: grey levels."""
    truth, motion = moving.truth(), moving.motion
    onset, apex = (moving.noise_free(i) for i in (motion.onset, motion.apex))
    y, x = np.mgrid[: moving.size, : moving.size].astype(np.float32)
    dx, dy = factor * truth.field
    return np.abs(cv2.remap(apex, x + dx, y + dy, cv2.INTER_CUBIC) - onset).mean(-1), truth


@pytest.mark.parametrize("name", ["smile", "frown", "close"])
def test_without_light_the_texture_moves_along_the_true_field(name, unlit):
    errors, truth = texture_errors(moving_face(name))
    still, longer = (texture_errors(moving_face(name), factor)[0] for factor in (0.0, 1.3))
    assert errors[truth.visible].mean() <= 0.5
    assert errors[truth.visible].mean() < 0.4 * still[truth.visible].mean()
    assert errors[truth.visible].mean() < 0.85 * longer[truth.visible].mean()


@pytest.mark.parametrize("name", ["smile", "frown"])
def test_without_light_what_remains_where_the_face_moved_is_resampling(name, unlit):
    """Fine brows and pores do not survive being read between pixels: with more pixels the error goes."""
    small, large = (texture_errors(moving_face(name, size)) for size in (224, 448))
    (coarse, truth), (fine, fine_truth) = small, large
    assert fine[fine_truth.visible & fine_truth.moved].mean() <= 0.5
    assert fine[fine_truth.visible & fine_truth.moved].mean() < 0.7 * coarse[truth.visible & truth.moved].mean()


def test_light_changes_the_skin_as_it_moves():
    """The same clip with light: the slope of the cheek changes, so texture alone does not explain the apex."""
    moving = moving_face("smile")
    lit, truth = texture_errors(moving)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendering, "shade", lambda s, v, light: (np.full((len(v), 3), 0.8, "f"), np.zeros(len(v), "f")))
        plain, _ = texture_errors(moving)
    assert lit[truth.visible & truth.moved].mean() > 1.5 * plain[truth.visible & truth.moved].mean()


@pytest.mark.parametrize("name", ["close", "turn"])
def test_what_is_hidden_was_covered_and_what_is_visible_agrees(name, unlit):
    moving = moving_face(name)
    errors, truth = texture_errors(moving)
    hidden, motion = ~truth.visible, moving.motion
    assert 0.001 < hidden.mean() < 0.05
    assert errors[hidden].mean() > 10 * errors[~hidden].mean()
    # The depth of the apex, drawn four times finer, says which surface lies where a hidden pixel went.
    start, end = ends(moving)
    _, distance = motion_field(moving.face.triangles, start, end, moving.camera)
    depth = moving.camera.rasterize(end, moving.face.triangles, end, 4 * moving.size)[1]
    y, x = np.nonzero(hidden)
    there = np.stack([x, y]) + truth.field[:, hidden]
    kept = ((there >= 0) & (there < moving.size - 1)).all(0)
    column, row = (4 * (there[:, kept] + 0.5) - 0.5).round().astype(int)
    reached = cv2.erode(np.minimum(depth, 6000), np.ones((9, 9)))[row, column]  # within a pixel
    assert kept.sum() > 30
    assert (reached < np.minimum(distance[hidden][kept], 6000) - 0.2).mean() > 0.99
    assert motion.apex > motion.onset


def test_nothing_is_hidden_while_nothing_moves():
    moving = moving_face("frown")
    still = MovingFace(moving.face, replace(moving.motion, units={}), moving.camera)
    assert still.truth().visible.all()
    assert not still.truth().field.any()
    assert not still.truth().moved.any()


def test_a_camera_zooms_rolls_and_shifts_the_same_picture():
    face, light = draw_head(Person.draw(1)), Light()
    small, large = (draw(face, face.vertices, Camera(size), light) for size in (112, 224))
    assert np.abs(cv2.resize(large, (112, 112), interpolation=cv2.INTER_AREA) - small).mean() < 0.01
    points = {name: camera.project(face.vertices) for name, camera in {
        "plain": Camera(224), "shift": Camera(224, shift=(0.1, 0.05)), "zoom": Camera(224, zoom=1.5),
        "roll": Camera(224, roll=np.pi / 2), "size": Camera(448),
    }.items()}  # fmt: skip
    middle = int(np.linalg.norm(face.vertices[:, :2], axis=1).argmin())
    moved = points["shift"] - points["plain"]
    assert np.allclose(moved[middle], (22.4, 11.2), atol=2.5)
    spread = {name: np.ptp(p, axis=0) for name, p in points.items()}
    assert np.allclose(spread["zoom"] / spread["plain"], 1.5, rtol=0.15)
    assert np.allclose(spread["roll"], spread["plain"][::-1], rtol=0.1)
    assert np.allclose((points["size"] + 0.5) / 2, points["plain"] + 0.5, atol=1e-3)
