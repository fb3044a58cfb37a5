import dataclasses

import cv2
import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.spatial.transform import Rotation

from tsfmicro_lab.data.heads import Person, draw_head
from tsfmicro_lab.data.mesh import FRONT, head_mesh, places_of
from tsfmicro_lab.data.rendering import Camera, Light, draw, encode, to_frame

MANY = 1000


def _places(people: list[Person]) -> np.ndarray:
    """The landmarks of many people, millimetres, without lids and lips: people × (478 · 3)."""
    mesh = head_mesh()
    modes = np.stack([places_of(delta).ravel() for delta in mesh.modes.values()])
    weights = np.array([[person.shape.get(name, 0.0) for name in mesh.modes] for person in people], np.float32)
    return places_of(mesh.vertices).ravel() + weights @ modes


def _picture(surface, size=224, light=None) -> np.ndarray:
    return encode(draw(surface, surface.vertices, Camera(size), light or Light()))


@pytest.fixture(scope="module")
def people():
    return [Person.draw(seed) for seed in range(MANY)]


def test_the_same_seed_gives_the_same_bits():
    first, second = draw_head(Person.draw(5)), draw_head(Person.draw(5))
    for name in ("vertices", "triangles", "uv", "texture", "sky", "gloss", "background"):
        assert np.array_equal(getattr(first, name), getattr(second, name)), name
    assert not np.array_equal(first.texture, draw_head(Person.draw(6)).texture)


def test_a_thousand_people_can_be_told_apart(people):
    nearest = pdist(_places(people)).min() / np.sqrt(478)
    assert nearest > 1.5  # millimetres, root mean square over the landmarks
    alike = [Person.draw(seed, variation=0.0) for seed in range(20)]
    assert pdist(_places(alike)).max() / np.sqrt(478) < 0.01


def test_variation_scales_how_far_proportions_are_from_the_mean():
    spread = [_places([Person.draw(seed, v) for seed in range(60)]).std(0).mean() for v in (0.5, 1.0)]
    assert spread[1] == pytest.approx(2 * spread[0], rel=0.01)


def test_brows_nose_and_mouth_lie_at_different_places(people):
    points = _places(people).reshape(MANY, 478, 3)
    eyes = points[:, [33, 263], 1].mean(1)
    for name, landmark in {"brow": 105, "nose": 1, "mouth": 13, "chin": 152}.items():
        height = points[:, landmark, 1] - eyes
        assert height.std() > (1.0 if name == "brow" else 1.75), name  # millimetres; 1.75 are 1.5 px at 224 px
    assert np.corrcoef(points[:, 105, 1] - eyes, points[:, 13, 1] - eyes)[0, 1] < 0.5


def test_faces_are_neutral_at_rest(people):
    points = np.stack([places_of(person.vertices())[..., 1] for person in people[:200]])
    corners = points[:, [61, 291]] - points[:, [13, 14]].mean(1, keepdims=True)
    assert abs(corners.mean()) < 0.4  # millimetres over the line of the lips
    assert abs(corners.mean(1)).max() < 1.0
    assert abs(np.diff(corners)).max() < 1.0
    slope = points[:, [55, 285]].mean(1) - points[:, [46, 276]].mean(1)  # inner ends of the brows over the outer ones
    typical = np.subtract(*(places_of(Person.mean().vertices())[ends, 1].mean() for ends in ([55, 285], [46, 276])))
    assert abs(slope - typical).max() < 3.5


def test_tones_spread_over_all_of_human_skin(people):
    melanin = np.array([person.melanin for person in people])
    assert (np.histogram(melanin, 5, (0, 1))[0] > 0.05 * MANY).all()
    tones = []
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        cheek = draw_head(dataclasses.replace(Person.mean(), melanin=value)).texture[380:420, int(FRONT) + 120 :][
            :, :40
        ]
        tones.append(cheek.mean((0, 1)))
    assert (np.diff(tones, axis=0) < 0).all()
    assert tones[0][0] / tones[-1][0] > 6


def test_looks_go_with_ancestry_only_loosely(people):
    african = [sum(w for n, w in p.shape.items() if n.startswith("people-african")) for p in people]
    for name in ("melanin", "curl"):
        r = np.corrcoef(african, [getattr(p, name) for p in people])[0, 1]
        assert 0.2 < r < 0.75, name


def test_lips_are_redder_and_brows_darker_than_the_skin():
    person = dataclasses.replace(Person.mean(), melanin=0.2, hair=1.0)
    mesh, texture = head_mesh(), draw_head(person).texture
    lip = texture[tuple(mesh.uv[mesh.masks["lips"] > 0.9].round().astype(int).T[::-1])].mean(0)
    cheek, brow, forehead = (
        texture[y - 3 : y + 4, x - 3 : x + 4].mean((0, 1))
        for x, y in places_of(mesh.uv)[[205, 65, 151]].round().astype(int)
    )
    assert lip[0] / lip[1] > 1.2 * cheek[0] / cheek[1]
    assert brow.mean() < 0.75 * forehead.mean()


def test_a_large_and_a_small_picture_show_the_same():
    surface = draw_head(Person.draw(2))
    small, large = _picture(surface, 112), cv2.resize(_picture(surface, 448), (112, 112), interpolation=cv2.INTER_AREA)
    assert abs(small - large).mean() < 2


def test_hair_turns_with_the_head_and_lips_touch_at_rest():
    surface = draw_head(dataclasses.replace(Person.draw(3), length=20.0))
    count = len(head_mesh().vertices)
    assert len(surface.vertices) > count + 1000
    turned = Rotation.from_euler("yxz", (0.2, 0.1, 0.05)).apply(surface.vertices).astype(np.float32)
    assert abs(surface.complete(turned[:count]) - turned).max() < 0.01
    for seed in range(10):
        upper, lower = places_of(Person.draw(seed).vertices())[[13, 14], 1]
        assert upper - lower == pytest.approx(0.1, abs=0.05)


def test_bad_numbers_are_refused_in_a_sentence():
    with pytest.raises(ValueError, match=r"variation is 3, expected 0 .* to 2"):
        Person.draw(0, variation=3)
    with pytest.raises(ValueError, match=r"shape mode 'nose-nose-long' is not known: choose from"):
        draw_head(Person(shape={"nose-nose-long": 1.0}))


def test_the_landmarker_finds_faces(landmarker):
    found, off = 0, []
    for seed in range(30):
        surface = draw_head(Person.draw(seed))
        points = landmarker.meshes(to_frame(_picture(surface, 336, Light.draw(np.random.default_rng(seed)))))
        if len(points):
            found += 1
            truth = places_of(Camera(336).project(surface.vertices))
            eyes = np.hypot(*(truth[33] - truth[263]))
            off.append(np.hypot(*(points[0] - truth)[[33, 133, 263, 362, 61, 291, 1]].T).mean() / eyes)
    assert found >= 29
    assert np.median(off) < 0.06  # of the distance between the outer corners of the eyes
