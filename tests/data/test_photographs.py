import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from skimage.data import astronaut
from warping import warp

from tsfmicro_lab.data import rendering
from tsfmicro_lab.data.fitting import fit_head, unit_field
from tsfmicro_lab.data.heads import Person
from tsfmicro_lab.data.mesh import places_of
from tsfmicro_lab.data.motion import Distractors, unit_delta
from tsfmicro_lab.data.moving_face import NECK, MovingFace
from tsfmicro_lab.data.photographs import (
    MARGIN,
    PhotographMicroExpressions,
    find_portrait,
    packaged_portraits,
    photograph,
    photographed,
)
from tsfmicro_lab.data.rendering import SUPERSAMPLE, Camera, Light, draw, encode
from tsfmicro_lab.preprocess.landmarks import FACE_POINTS

SIZE = 160
NAMED = list(FACE_POINTS.values())


@pytest.fixture(scope="module")
def portraits(landmarker):
    return [find_portrait(picture, name) for name, picture in packaged_portraits().items()]


@pytest.fixture
def turned_head():
    """Landmarks of the mean head, turned by ten degrees, smaller and elsewhere, with what was done to it."""
    c, s = np.cos(0.175), np.sin(0.175)
    frame = 0.9 * np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    vertices = (Person.mean().vertices() @ frame.T + (8, -5, 0)).astype(np.float32)
    return places_of(Camera(SIZE).project(vertices)), vertices, frame


@pytest.mark.parametrize("index", [NAMED, slice(None)], ids=["30", "478"])
def test_the_head_comes_back_onto_its_own_landmarks(turned_head, index):
    points, vertices, frame = turned_head
    fit = fit_head(points[index], SIZE)
    assert np.abs(fit.frame - frame).max() < 0.02
    assert np.abs(places_of(Camera(SIZE).project(fit.vertices)) - points)[index].max() < 0.1
    assert np.abs(Camera(SIZE).project(fit.vertices) - Camera(SIZE).project(vertices)).max() < 0.5


def test_a_unit_moves_what_it_should_on_any_aligned_face(turned_head):
    points = turned_head[0]
    field = unit_field("R12", points[NAMED], SIZE)
    corner, other = points[61].round().astype(int), points[291].round().astype(int)
    assert field.shape == (2, SIZE, SIZE)
    assert field[1, corner[1], corner[0]] < -2  # up
    assert np.abs(field[:, other[1], other[0]]).max() < 0.3


@pytest.mark.parametrize("spoil", [np.zeros_like, lambda p: p * (1, 0), lambda p: p[:29], lambda p: p * np.nan])
def test_landmarks_that_are_no_face_are_refused(turned_head, spoil):
    with pytest.raises(ValueError, match=r"^(the landmarks lie on a line|a head is fitted to 30)[^.]*$"):
        fit_head(spoil(turned_head[0][NAMED]), SIZE)


@pytest.mark.parametrize("count", [0, 5, 29, 100, 468, 1000])
def test_a_wrong_number_of_landmarks_is_said(count):
    with pytest.raises(ValueError, match="a face has 30 named landmarks"):
        photograph(np.zeros((128, 128, 3), np.uint8), np.ones((count, 2), np.float32), {"12": 2.0})


def test_at_rest_the_surface_is_the_photograph(portraits):
    for portrait in portraits:
        surface = photographed(portrait, SIZE)
        margin = round(MARGIN * SUPERSAMPLE * SIZE)
        view = surface.texture[margin : margin + SUPERSAMPLE * SIZE, margin : margin + SUPERSAMPLE * SIZE]
        picture = cv2.resize(view, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        drawn = draw(surface, surface.vertices, Camera(SIZE), Light())
        assert np.abs(encode(drawn) - encode(picture)).max() <= 1


def test_projected_places_meet_the_landmarks(portraits):
    for portrait in portraits:
        extent = np.ptp(portrait.points, axis=0).max()
        size = len(portrait.image)
        places = places_of(Camera(size).project(fit_head(portrait.points, size).vertices))
        error = np.linalg.norm(places - portrait.points, axis=1) / extent * 100  # as if the face had 100 px
        assert error[NAMED].max() < 1
        assert np.quantile(error, 0.99) < 1


def clear(portrait, units, **settings):
    """A photograph that moves by units and by nothing else."""
    moving = photograph(portrait.image, portrait.points, units, SIZE)
    still = Distractors(**{**vars(Distractors.none()), **settings})
    motion = type(moving.motion).draw(units, still, [1, 4])
    return MovingFace(moving.face, motion, moving.camera)


def moved_to(pixel, start, end, triangles, camera):
    """Where the nearest triangle that covers a pixel takes it: by its barycentric coordinates, not by a rasteriser."""
    a, b, c = camera.project(start)[triangles].astype(float).transpose(1, 0, 2)
    (ux, uy), (vx, vy), (px, py) = (b - a).T, (c - a).T, (pixel - a).T
    area = ux * vy - uy * vx
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = (
            np.stack([area - (px * vy - py * vx) - (ux * py - uy * px), px * vy - py * vx, ux * py - uy * px]) / area
        )
    covers = np.flatnonzero((weights > -1e-4).all(0) & (area < 0))
    share = weights[:, covers] / (rendering.DISTANCE - start[triangles[covers], 2].T)
    share /= share.sum(0)
    nearest = np.einsum("kt,tk->t", share, start[triangles[covers], 2]).argmax()
    point = share[:, nearest] @ end[triangles[covers[nearest]]]
    return camera.project(point[None].astype(np.float32))[0]


def test_photographs_are_not_filmed_unaligned():
    with pytest.raises(ValueError, match="take heads for that"):
        PhotographMicroExpressions(None, 1, where="needed")


def test_the_true_field_equals_differences_of_projected_points(portraits):
    rng = np.random.default_rng(0)
    for portrait in portraits:
        moving = clear(portrait, {"12": 2.0, "4": 1.5}, turn=1.0, drift=1.0)
        start, end = (moving.vertices(i) for i in (moving.motion.onset, moving.motion.apex))
        field, errors = moving.truth().field, []
        for x, y in rng.integers(10, SIZE - 10, (150, 2)):
            pixel = np.array([x, y])
            there = moved_to(pixel, start, end, moving.face.triangles, moving.camera)
            errors.append(np.abs(field[:, y, x] - (there - pixel)).max())
        assert np.quantile(errors, 0.98) < 0.01  # an edge may fall on a pixel
        assert np.hypot(*field).max() > 1


@pytest.mark.parametrize("turn", [(0.035, 0, 0), (0, 0.035, 0), (0, 0, 0.035)])
def test_a_head_that_turns_by_two_degrees_does_not_tear_from_what_is_around_it(portraits, turn):
    for portrait in portraits:
        moving = photograph(portrait.image, portrait.points, {}, SIZE)
        head = (moving.face.vertices[:5372] - NECK) @ Rotation.from_euler("yxz", turn).as_matrix().T + NECK
        end = moving.face.complete(head.astype(np.float32))
        field, _ = rendering.motion_field(moving.face.triangles, moving.face.vertices, end, moving.camera)
        oval = cv2.convexHull(places_of(moving.camera.project(moving.face.vertices)).astype(np.int32))
        ring = cv2.polylines(np.zeros((SIZE, SIZE), np.uint8), [oval], True, 1, 9)[1:, 1:] > 0
        jumps = np.maximum(*(np.linalg.norm(np.diff(field, axis=a), axis=0)[-SIZE + 1 :, -SIZE + 1 :] for a in (1, 2)))
        assert np.quantile(jumps[ring], 0.99) < 0.5  # but for a fold at an ear lobe
        assert np.hypot(*field).max() > 2


def test_sampled_along_the_true_field_the_onset_is_the_apex_but_for_relighting(portraits, monkeypatch):
    monkeypatch.setattr(rendering, "EVEN", 1e6)  # all light is even: slopes change nothing
    for portrait in portraits:
        for units in ({"12": 2.0}, {"4": 2.0}, {"1": 2.0, "2": 2.0}, {"15": 1.5}):
            moving = clear(portrait, units)
            onset, apex = (moving.noise_free(i) for i in (moving.motion.onset, moving.motion.apex))
            inside = np.s_[8:-8, 8:-8]
            assert np.abs(warp(onset, moving.truth().field) - apex)[inside].mean() < 0.5
            assert np.abs(onset - apex).mean() > 2 * np.abs(warp(onset, moving.truth().field) - apex).mean()
            assert np.hypot(*moving.expression).max() == pytest.approx(max(units.values()), rel=0.25)


def test_the_landmarker_finds_the_landmarks_where_the_clip_says(portraits, landmarker):
    for portrait in portraits:
        clip = photograph(portrait.image, portrait.points, {"12": 3.0}, 224).clip("EP01", "somebody")
        found = landmarker(clip.frame(clip.onset))
        assert np.linalg.norm(found - clip.landmarks, axis=1).mean() < 2


def test_skin_that_tilts_changes_its_light_and_a_blink_closes_the_eyes(portraits):
    moving = clear(portraits[0], {"12": 2.0})
    surface, camera = moving.face, moving.camera
    smile = surface.complete(surface.vertices[:5372] + 0.3 * unit_delta("12") @ surface.frame.T)
    ratio = rendering.shade(surface, smile, Light())[0]
    assert rendering.shade(surface, surface.vertices, Light())[0] == pytest.approx(1)
    assert 0.6 <= ratio.min() < 0.97
    assert 1.01 < ratio.max() <= 1.6
    shut = camera.project(surface.complete(surface.vertices[:5372] + moving._blink))
    opened = [np.subtract(*places_of(p)[[145, 159], 1]) for p in (camera.project(surface.vertices), shut)]
    assert abs(opened[1]) < 0.25 * opened[0]


def test_the_data_set_is_that_of_heads_with_photographed_faces(portraits):
    data = PhotographMicroExpressions(clips_per_subject=3, image_size=96, seed=2)
    assert len(data) == 6
    assert data.annotations["subject"].unique().tolist() == ["sub01", "sub02"]
    assert data.report.empty
    clip = data[4]
    assert clip.frame(clip.onset).shape == (96, 96, 3)
    assert clip.landmarks is not None
    assert clip.truth is not None
    assert clip.truth.moved.any()
    again = PhotographMicroExpressions(clips_per_subject=3, image_size=96, seed=2)[4]
    assert np.array_equal(again.frame(again.apex), clip.frame(clip.apex))
    assert "PhotographMicroExpressions: 6 clips of 2 subjects" in repr(data)


def test_pictures_of_many_kinds_are_read(landmarker, tmp_path):
    image = astronaut()[:300, 50:400]
    wanted = find_portrait(image).points
    deep, grey = tmp_path / "16.png", tmp_path / "grey.png"
    cv2.imwrite(str(deep), image[..., ::-1].astype(np.uint16) * 257)
    cv2.imwrite(str(grey), cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
    clear_png = tmp_path / "alpha.png"
    cv2.imwrite(str(clear_png), cv2.cvtColor(image, cv2.COLOR_RGB2BGRA))
    kinds = [deep, grey, clear_png, image.astype(np.uint16) * 257, image[..., 1], np.dstack([image, image[..., :1]])]
    for kind in kinds:
        portrait = find_portrait(kind)
        assert portrait.image.shape == image.shape
        assert portrait.image.dtype == np.uint8
        assert np.linalg.norm(portrait.points - wanted, axis=1).mean() < 2


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_picture_on_its_side_is_turned(landmarker, turns):
    portrait = find_portrait(np.rot90(astronaut(), turns))
    surface = photographed(portrait, 96)
    picture = encode(draw(surface, surface.vertices, Camera(96), Light()))
    upright = photographed(find_portrait(astronaut()), 96)
    expected = encode(draw(upright, upright.vertices, Camera(96), Light()))
    assert np.abs(picture - expected)[24:72, 24:72].mean() < 12


def test_exif_says_which_way_is_up(landmarker, tmp_path):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees, clockwise
    Image.fromarray(np.ascontiguousarray(np.rot90(astronaut()))).save(tmp_path / "side.jpg", exif=exif, quality=95)
    portrait = find_portrait(tmp_path / "side.jpg")
    assert np.abs(portrait.image.astype(int) - astronaut()).mean() < 3


def two_faces():
    face = astronaut()[:300, 80:380]
    return np.hstack([face, face[:, ::-1]])


BAD = {
    "no face": (np.full((200, 200, 3), 90, np.uint8), "shows no face: take one that shows it from the front"),
    "two": (two_faces(), "shows 2 faces: cut out one of them"),
    "small": (cv2.resize(astronaut(), (60, 60)), "60×60 px: take one of 64 px"),
    "small face": (cv2.resize(astronaut(), (200, 200)), r"only \d+ px high: take a picture in which it has 64"),
    "float": (astronaut() / 255, "float64 .* convert it to RGB"),
    "odd": (np.zeros((99, 99, 2), np.uint8), "convert it to RGB"),
    "line": (np.zeros(99, np.uint8), "convert it to RGB"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_picture_that_cannot_be_used_is_refused_in_one_sentence(landmarker, kind):
    picture, sentence = BAD[kind]
    with pytest.raises(ValueError, match=sentence) as error:
        find_portrait(picture, "mine.jpg")
    assert "mine.jpg" in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="no picture can be used"):
        PhotographMicroExpressions(picture, 1)


def test_a_folder_with_bad_pictures_among_good_ones_goes_on_and_lists_them(landmarker, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), astronaut()[..., ::-1])
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    cv2.imwrite(str(tmp_path / "c.PNG"), BAD["no face"][0])
    (tmp_path / "notes.txt").write_text("none")
    data = PhotographMicroExpressions(tmp_path, clips_per_subject=2, image_size=64)
    assert [portrait.name for portrait in data.portraits] == [str(tmp_path / "a.png")]
    assert len(data) == 2
    assert [row.subject for row in data.report.itertuples()] == [str(tmp_path / "b.jpg"), str(tmp_path / "c.PNG")]
    assert data.report.what.str.contains("no readable image|no face").all()
    files = [tmp_path / "a.png", tmp_path / "gone.png", astronaut()]
    assert len(PhotographMicroExpressions(files, 1).portraits) == 2


def test_nothing_to_use_is_said(landmarker, tmp_path):
    for source in (tmp_path, []):
        with pytest.raises(ValueError, match="holds none"):
            PhotographMicroExpressions(source)
    with pytest.raises(ValueError, match=r"no picture can be used: .*gone"):
        PhotographMicroExpressions(tmp_path / "gone")
