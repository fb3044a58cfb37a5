import pickle
from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest

from tsfmicro_lab.data import Distractors, SyntheticMicroExpressions, rendering
from tsfmicro_lab.data.heads import Person, draw_head
from tsfmicro_lab.data.mesh import EYE_RADIUS, head_mesh, places_of
from tsfmicro_lab.data.motion import ACTION_UNITS, Motion
from tsfmicro_lab.data.moving_face import INTENSITIES, MovingFace
from tsfmicro_lab.data.rendering import SCALE, Camera
from tsfmicro_lab.preprocess.landmarks import FACE_POINTS

CLEAN = Distractors.none()


@cache
def head(seed=0):
    return draw_head(Person.draw(seed))


def moving(units=None, seed=0, size=128, person=0, bias=0.0, **strength):
    motion = Motion.draw(units or {}, replace(CLEAN, **strength), [seed], (60, 0.4))
    return MovingFace(head(person), replace(motion, bias=bias), Camera(size))


def with_tracks(face, **tracks):
    """The same clip, the apex's row of some tracks set by hand."""
    motion = face.motion
    changed = {name: np.array(getattr(motion, name)) for name in tracks}
    for name, value in tracks.items():
        changed[name][motion.apex] = value
    return MovingFace(face.face, replace(motion, **changed), face.camera)


def own(face, frame):
    """The head's own vertices, without hair."""
    return face.vertices(frame)[: len(head_mesh().vertices)]


def shift(face):
    return own(face, face.motion.apex) - own(face, face.motion.onset)


@pytest.mark.parametrize("unit", [*ACTION_UNITS, "L12", "R4"])
@pytest.mark.parametrize("size", [64, 224])
def test_amplitudes_are_kept_at_each_size(unit, size):
    """Before perspective, which makes what is nearer to the camera larger."""
    pixels = size / 224
    delta = shift(moving({unit: pixels}, size=size))[:, :2]
    assert np.hypot(*delta.T).max() * SCALE * size == pytest.approx(pixels, rel=1e-3)


def test_the_largest_displacement_seen_is_about_the_amplitude():
    for unit in ("12", "4", "15", "L12"):
        assert np.hypot(*moving({unit: 2.0}, size=224).expression).max() == pytest.approx(2.0, rel=0.12)


def test_landmarks_move_as_the_field_says():
    face = moving({"12": 2.5, "1": 2.0}, size=224, turn=5.0, drift=2.0)
    motion, truth = face.motion, face.truth()
    onset, apex = face.mesh_points(motion.onset), face.mesh_points(motion.apex)
    assert onset.shape == (478, 2)
    assert (truth.mesh == onset).all()
    assert (face.landmarks == onset[list(FACE_POINTS.values())]).all()
    assert (face.clip("EP01", "s").landmarks == face.landmarks).all()
    field = np.moveaxis(truth.field, 0, -1)
    there = np.stack([cv2.remap(field[..., i], onset[:, :1], onset[:, 1:], cv2.INTER_LINEAR)[:, 0] for i in (0, 1)], 1)
    assert np.hypot(*(apex - onset).T).max() > 1.5
    error = np.hypot(*(there - (apex - onset)).T)
    assert np.median(error) < 0.05
    named = error[list(FACE_POINTS.values())]
    assert np.median(named) < 0.05
    assert np.quantile(named, 0.8) < 0.15


def test_the_expression_is_the_field_when_nothing_else_moves():
    truth = moving({"12": 2.0}).truth()
    assert (truth.field == truth.expression).all()
    disturbed = moving({"12": 2.0}, drift=2.0, turn=2.0).truth()
    assert (disturbed.expression == truth.expression).all()
    assert np.abs(disturbed.field - truth.field).max() > 0.05


def test_the_onset_has_no_motion():
    face = moving({"12": 2.0}, drift=1, turn=1, speech=1)
    assert not face.displacement(face.motion.onset).any()
    assert (face.displacement(face.motion.apex) == face.truth().field).all()


def test_drift_shifts_the_head_and_leaves_the_ground():
    face = with_tracks(moving(size=224), drift=(1.0, -0.5))
    field, points = face.truth().field, face.mesh_points(face.motion.onset)
    x, y = points[1].round().astype(int)
    assert field[:, y, x] == pytest.approx((1.0, -0.5), abs=0.1)
    assert not field[:, :8, :8].any()
    assert np.hypot(*field[:, -2:]).max() < 0.6 * np.hypot(1.0, 0.5)  # shoulders follow less


@pytest.mark.parametrize(("axis", "of"), [(0, "x"), (1, "y"), (2, "roll")])
def test_a_turn_is_around_the_neck(axis, of):
    angle = np.radians(3.0)
    face = with_tracks(moving(size=224), turn=np.eye(3)[axis] * angle)
    move = places_of(shift(face))
    nose, right, left = move[1], move[33], move[263]
    if of == "x":  # yaw: to the subject's left, so to larger x
        assert nose[0] > 0
        assert left[2] < right[2]
    elif of == "y":  # a nod: chin down or up, all alike left and right
        assert abs(nose[1]) > 0.5
        assert left == pytest.approx(right * (-1, 1, 1), abs=0.6)
    else:
        assert (left - right)[1] * nose[0] < 0 or abs((left - right)[1]) > 1
    before, after = (places_of(own(face, i)) for i in (face.motion.onset, face.motion.apex))
    assert np.linalg.norm(before[1] - before[10]) == pytest.approx(np.linalg.norm(after[1] - after[10]), abs=0.01)


def test_the_lamp_changes_the_light_and_moves_nothing():
    face = with_tracks(moving(), lamp=(0.3, 0.0))
    assert not face.truth().field.any()
    assert np.abs(face.noise_free(face.motion.apex) - face.noise_free(face.motion.onset)).mean() > 1


def test_flicker_scales_the_frame():
    face = moving(flicker=1)
    gain = face.motion.gain
    bright = int(np.argmax(np.abs(gain - 1)))
    plain = moving().render(bright)
    expected = (plain.astype(float) * gain[bright]).mean()
    assert face.render(bright).mean() == pytest.approx(expected, abs=0.3)
    assert face.render(bright).mean() != pytest.approx(plain.mean(), abs=0.3)


def test_noise_is_as_strong_as_it_says_and_another_in_each_frame():
    plain, noisy = moving(), moving(noise=1)
    grain = [noisy.render(i) - plain.noise_free(i) for i in (0, 1)]
    assert grain[0].std() == pytest.approx(noisy.motion.noise, rel=0.1)
    assert abs(np.corrcoef(grain[0].ravel(), grain[1].ravel())[0, 1]) < 0.05
    twice = moving(noise=2).render(0) - plain.noise_free(0)
    assert twice.std() == pytest.approx(2 * grain[0].std(), rel=0.1)


def gap(face, frame):
    """Between the lids' edges in the middle of both eyes, millimetres."""
    points = places_of(own(face, frame))[:, 1]
    return points[[159, 386]] - points[[145, 374]]


@pytest.mark.parametrize("person", range(6))
def test_a_full_blink_closes_the_eyes(person):
    face = with_tracks(moving(person=person, size=224), closure=1.0)
    onset, apex = face.motion.onset, face.motion.apex
    assert gap(face, onset).min() > 3
    assert np.abs(gap(face, apex)).max() < 1.5
    # No pixel shows an eyeball any more.
    eyeballs = np.repeat(head_mesh().masks["eye"][:, None], 3, 1)
    vertices = [face.vertices(i) for i in (onset, apex)]
    values = np.zeros((len(vertices[0]), 3), np.float32)
    values[: len(eyeballs)] = eyeballs
    seen = [(face.camera.rasterize(v, face.face.triangles, values, 448)[0][..., 0] > 0.5).sum() for v in vertices]
    assert seen[0] > 150
    assert seen[1] <= 0.02 * seen[0]


def test_a_blink_changes_the_eyes_alone():
    face = with_tracks(moving(size=224), closure=1.0)
    field, points = face.truth().field, face.mesh_points(face.motion.onset)
    below, above = points[4, 1], points[9, 1]  # nose tip and forehead
    moved = np.hypot(*field) > 0.05
    assert moved.any()
    assert not moved[int(below) :].any()
    assert not moved[: int(above) - 10].any()


def test_gaze_turns_the_eyeballs_and_nothing_else():
    face = with_tracks(moving(), gaze=(0.1, 0.0))
    delta = shift(face)
    eyes = np.zeros(len(delta), bool)
    for eye in head_mesh().eyes.values():
        eyes[eye] = True
    assert np.abs(delta[~eyes]).max() == 0
    assert delta[eyes, 0].max() == pytest.approx(EYE_RADIUS * np.sin(0.1), rel=0.05)  # the pupil, to the subject's left
    up = shift(with_tracks(moving(), gaze=(0.0, 0.1)))
    assert up[eyes, 1].max() == pytest.approx(EYE_RADIUS * np.sin(0.1), rel=0.05)
    picture = np.abs(face.noise_free(face.motion.apex) - face.noise_free(face.motion.onset)).max(-1) > 2
    ys, xs = np.nonzero(picture)
    points = face.mesh_points(face.motion.onset)
    corners = points[[33, 133, 362, 263]]
    assert picture.any()
    assert corners[:, 1].min() - 8 < ys.min() <= ys.max() < corners[:, 1].max() + 8
    assert corners[:, 0].min() - 2 < xs.min() <= xs.max() < corners[:, 0].max() + 2


def test_speech_moves_the_mouth_only():
    face = moving(speech=1.0, size=224)
    widest = int(face.motion.speech.sum(1).argmax())
    field = np.hypot(*face.displacement(widest))
    points = face.mesh_points(face.motion.onset)
    assert field.max() > 0.5
    assert field[: int(points[33, 1])].max() < 0.02 * field.max()  # at the eyes and above
    x, y = points[np.hypot(*(face.mesh_points(widest) - points).T).argmax()]
    assert points[61, 0] - 5 < x < points[291, 0] + 5
    assert y > points[4, 1]
    still = face.motion.speech[face.motion.onset]
    assert not still.any()


@pytest.mark.parametrize("kind", ["jpeg", "video"])
def test_compression_loses_more_when_it_is_stronger(kind):
    plain = moving({"12": 2.0})
    losses = []
    for strength in (0.0, 1.0, 3.0):
        frame = moving({"12": 2.0}, **{kind: strength}).render(20).astype(float)
        losses.append(np.abs(frame - plain.render(20)).mean())
    assert losses[0] == 0
    assert 0.1 < losses[1] < losses[2] < 10


def test_compressed_video_shows_blocks():
    """Steps between neighbours are larger at the borders of blocks than inside them."""
    frame = moving({"12": 2.0}, noise=1, video=5.0).render(20).astype(float)[..., 1]
    steps = np.abs(np.diff(frame, axis=1)).mean(0)
    border = np.arange(len(steps)) % 8 == 7
    raw = np.abs(np.diff(moving({"12": 2.0}, noise=1).render(20).astype(float)[..., 1], axis=1)).mean(0)
    assert steps[border].mean() / steps[~border].mean() > raw[border].mean() / raw[~border].mean()


def test_a_habit_moves_one_side_more():
    even, left = moving({"12": 2.0}), moving({"12": 2.0}, bias=0.3)
    corners = [np.linalg.norm(places_of(shift(face))[[291, 61]], axis=1) for face in (even, left)]
    assert corners[0][0] == pytest.approx(corners[0][1], rel=0.1)
    assert corners[1][0] > 1.5 * corners[1][1]
    assert np.hypot(*shift(left)[:, :2].T).max() == pytest.approx(np.hypot(*shift(even)[:, :2].T).max(), rel=0.01)


def test_facs_intensities_are_told_by_letters():
    reach = moving().reach("12")
    for letter, share in INTENSITIES.items():
        assert moving({"12": (share + 0.01) * reach}).facs_intensity("12") == letter
    assert moving({"12": 1.0}, size=224).facs_intensity("12") == moving({"12": 0.5}, size=112).facs_intensity("12")


def test_units_beyond_what_skin_can_do_are_refused():
    with pytest.raises(
        ValueError, match=r"40\.0 px are more than action unit 12 can move .*at most \d+\.\d px of .*128"
    ):
        moving({"12": 40.0})
    for nonsense in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="or below 0"):
            moving({"12": nonsense})
    with pytest.raises(ValueError, match="cannot show 43 and 5 together"):
        moving({"5": 0.5, "43": 0.5})
    with pytest.raises(ValueError, match="unknown action unit '3'"):
        moving({"3": 0.5})


@pytest.fixture
def drawn(monkeypatch):
    """Names of what has been drawn or measured."""
    calls = []
    for name in ("draw", "motion_field", "still_visible"):
        real = getattr(rendering, name)
        monkeypatch.setattr(rendering, name, lambda *given, name=name, real=real: (calls.append(name), real(*given))[1])
    return calls


def test_nothing_is_drawn_or_measured_until_it_is_asked_for(drawn):
    clip = SyntheticMicroExpressions(1, 3, 64)[1]
    assert clip.landmarks is not None
    assert len(clip.frames) > clip.offset
    assert drawn == []
    clip.frame(clip.apex)
    assert drawn == ["draw"]
    moved = clip.truth.moved
    first = list(drawn)
    assert set(first) == {"draw", "motion_field", "still_visible"}
    assert moved is clip.truth.moved
    assert clip.truth.field.shape == (2, 64, 64)
    assert drawn == first, "a truth is measured once"


def test_a_clip_goes_to_another_process():
    data = SyntheticMicroExpressions(1, 3, 64, seed=2)
    clip, copy = data[1], pickle.loads(pickle.dumps(data[1]))
    assert (copy.frame(copy.apex) == clip.frame(clip.apex)).all()
    assert (copy.truth.field == clip.truth.field).all()
    assert (copy.truth.visible == clip.truth.visible).all()
