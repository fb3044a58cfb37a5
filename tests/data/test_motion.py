import pickle
from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import periodogram
from scipy.spatial.transform import Rotation
from scipy.stats import norm

from tsfmicro_lab.data import Distractors
from tsfmicro_lab.data.heads import Person
from tsfmicro_lab.data.mesh import head_mesh, places_of
from tsfmicro_lab.data.motion import (
    ACTION_UNITS,
    FPS,
    MOVED_SHARE,
    Motion,
    check_units,
    moved_region,
    trace,
    unit_delta,
    unit_reach,
)
from tsfmicro_lab.preprocess.landmarks import FACE_POINTS

# FACS unit, named point, how it moves: a line for each claim. `out` and `in` are away from the middle and towards it,
# after Ekman, Friesen and Hager's manual of 2002.
FACS = """
1  left_brow_inner    up
2  left_brow_outer    up
4  left_brow_inner    down
4  left_brow_inner    in
5  left_eye_top       up
6  left_cheek         up
7  left_eye_bottom    up
9  left_nose_wing     up
10 upper_lip_top      up
12 left_mouth_corner  out
12 left_mouth_corner  up
14 left_mouth_corner  out
15 left_mouth_corner  down
17 lower_lip_bottom   up
18 left_mouth_corner  in
20 left_mouth_corner  out
23 left_mouth_corner  in
24 upper_lip_top      down
24 left_mouth_corner  in
24 lower_lip_bottom   up
26 chin               down
26 lower_lip_bottom   down
28 upper_lip_top      down
28 lower_lip_bottom   up
43 left_eye_top       down
45 left_eye_top       down
"""
CLAIMS = [tuple(line.split()) for line in FACS.strip().splitlines()]
DIRECTIONS = {"up": (0, 1), "down": (0, -1), "out": (1, 0), "in": (-1, 0)}


def landmark_moves(unit):
    """What a unit in full strength does to the 478 landmarks, millimetres."""
    return places_of(unit_delta(unit))


def test_every_unit_of_the_table_is_claimed():
    assert {unit for unit, _, _ in CLAIMS} == set(ACTION_UNITS)
    assert len(ACTION_UNITS) == 20


#: Each claim of both sides; a point of the middle has no other side.
SIDED = [(*claim, "left") for claim in CLAIMS]
SIDED += [(*claim, "right") for claim in CLAIMS if claim[1].startswith("left")]


@pytest.mark.parametrize(("unit", "point", "way", "side"), SIDED)
def test_units_move_the_way_facs_says(unit, point, way, side):
    move = landmark_moves(unit)[FACE_POINTS[point.replace("left", side)]]
    x, y = DIRECTIONS[way]
    mirrored = move[:2] * (1 if side == "left" else -1, 1)  # the subject's left is at positive x
    largest = np.linalg.norm(unit_delta(unit), axis=1).max()
    assert mirrored @ (x, y) > 0.03 * largest


@pytest.mark.parametrize("unit", ACTION_UNITS)
def test_one_sided_units_leave_the_other_side_alone(unit):
    left, right, both = (unit_delta(side + unit) for side in ("L", "R", ""))
    assert np.allclose(left + right, both, atol=1e-4)
    x, peak = places_of(head_mesh().vertices)[:, 0], np.linalg.norm(left, axis=1).max()
    assert np.linalg.norm(places_of(left)[x < -25], axis=1).max() < 0.07 * peak
    assert np.linalg.norm(places_of(right)[x > 25], axis=1).max() < 0.07 * peak


@pytest.mark.parametrize("unit", ACTION_UNITS)
def test_sides_are_mirror_images(unit):
    places = places_of(Person.mean().vertices())
    partner = np.linalg.norm(places[:, None] * (-1, 1, 1) - places[None], axis=-1).argmin(1)
    apart = np.linalg.norm(places[partner] * (-1, 1, 1) - places, axis=1)
    left, right = landmark_moves(f"L{unit}"), landmark_moves(f"R{unit}")
    error = np.linalg.norm(right[partner] * (-1, 1, 1) - left, axis=1)[apart < 1.0]
    assert (apart < 1.0).sum() > 400
    assert error.max() < 0.15 * np.linalg.norm(left, axis=1).max()
    assert np.median(error) < 0.02 * np.linalg.norm(left, axis=1).max()


@pytest.mark.parametrize("unit", ["3", "X12", "", "12L", "L", "012", "l12"])
def test_unknown_units_are_named(unit):
    with pytest.raises(ValueError, match=f"unknown action unit '{unit}': choose from 1, 2, 4, .* with L or R in front"):
        unit_delta(unit)


@pytest.mark.parametrize(
    ("units", "message"),
    [
        (["43", "5"], "cannot show 43 and 5 together: leave one out"),
        (["L43", "L5"], "cannot show 43 and 5 together"),
        (["18", "R20"], "cannot show 18 and 20 together"),
        (["26", "28"], "cannot show 26 and 28 together"),
        (["12", "L12"], r"12\+L12 names 12 twice on one side: give it once"),
        (["1", "99"], "unknown action unit '99'"),
    ],
)
def test_units_that_contradict_one_another_are_refused(units, message):
    with pytest.raises(ValueError, match=message):
        check_units(units)


def test_sides_may_differ():
    check_units(["L43", "R5"])
    check_units(["L12", "R12", "R20", "L18"])


def test_reach_is_what_the_mesh_knows():
    assert unit_reach("12") == pytest.approx(unit_reach("L12"), rel=0.05)
    assert 5 < unit_reach("12") < 20
    assert all(unit_reach(unit) > 1.2 for unit in ACTION_UNITS)


def test_moved_region_is_where_most_moves():
    field = np.zeros((2, 5, 5), np.float32)
    field[0, 2] = [0, 0.4, 0.6, 1.9, 2.0]
    assert moved_region(field).sum() == 3
    assert np.hypot(*field)[moved_region(field)].min() >= MOVED_SHARE * 2.0
    assert not moved_region(np.zeros((2, 8, 8), np.float32)).any()


@pytest.mark.parametrize("unit", ["4", "12", "26"])
def test_a_trace_is_a_gaussian_patch_pulled_across_the_picture(unit):
    delta, face = unit_delta(unit), head_mesh().vertices
    at = np.linalg.norm(delta[:, :2], axis=1).argmax()
    apart = np.linalg.norm(face[:, :2] - face[at, :2], axis=1)
    wanted = np.outer(norm.pdf(apart, scale=5) / norm.pdf(0, scale=5), [*delta[at, :2], 0])
    np.testing.assert_allclose(trace(delta, face, 5.0), wanted, atol=1e-5)


def drawn(seed=0, **strength):
    return Motion.draw({"12": 1.0}, replace(Distractors.none(), **strength), [seed])


TRACKS = {"drift": "drift", "turn": "turn", "light": "lamp", "flicker": "gain", "speech": "speech"}


@pytest.mark.parametrize("name", TRACKS)
def test_each_strength_scales_its_own_track_alone(name):
    once, twice = drawn(**{name: 1.0}), drawn(**{name: 2.0})
    for track in ("drift", "turn", "lamp", "gain", "closure", "gaze", "speech"):
        rest = 1.0 if track == "gain" else 0.0
        one, two = getattr(once, track) - rest, getattr(twice, track) - rest
        assert one.any() == (track == TRACKS[name])
        assert np.allclose(two, 2 * one, atol=1e-6)
    assert once.noise == twice.noise == 0


def test_noise_blinks_and_gaze_have_switches():
    assert drawn().noise == 0
    assert drawn(noise=2).noise == pytest.approx(2 * drawn(noise=1).noise)
    shares = {s: np.mean([drawn(i, blinks=s).closure.any() for i in range(400)]) for s in (0, 1, 2)}
    assert shares[0] == 0
    assert shares[1] == pytest.approx(0.1, abs=0.04)
    assert shares[2] == pytest.approx(0.2, abs=0.05)
    looks = {s: np.mean([drawn(i, gaze=s).gaze.any() for i in range(400)]) for s in (0, 1, 2)}
    assert looks[0] == 0
    assert looks[1] == pytest.approx(0.3, abs=0.06)
    assert looks[2] == pytest.approx(0.6, abs=0.06)


def test_distractors_are_as_strong_as_their_sentences_say():
    many = [drawn(i, drift=1, turn=1, flicker=1, light=1, noise=1) for i in range(300)]

    def spread(track):
        return np.mean([np.abs(np.diff(getattr(m, track)[[m.onset, m.apex]], axis=0)).mean() for m in many])

    assert 0.03 < spread("drift") < 0.5  # tenths of a pixel
    assert 0.02 < np.degrees(spread("turn")) < 0.3  # about a seventh of a degree is the sway itself
    assert 0.1 < np.degrees(spread("lamp")) < 2
    assert np.mean([m.gain.std() for m in many]) == pytest.approx(0.01, abs=0.005)
    assert np.mean([m.noise for m in many]) == pytest.approx(1.5, abs=0.1)


def test_tracks_rest_at_the_onset():
    motion = drawn(3, drift=1, turn=1, light=1, speech=1)
    for track in ("drift", "turn", "lamp", "speech"):
        assert not getattr(motion, track)[motion.onset].any()


def test_the_same_seed_draws_the_same_whatever_the_strengths():
    plain, full = drawn(5), drawn(5, drift=1, noise=3, speech=1, video=1)
    assert (plain.onset, plain.apex, plain.offset) == (full.onset, full.apex, full.offset)
    again = drawn(5, drift=1, noise=3, speech=1, video=1)
    assert pickle.dumps(full) == pickle.dumps(again)
    assert (drawn(6).offset, drawn(7).offset) != (plain.offset, plain.offset)


def test_times_are_those_of_micro_expressions():
    motions = [drawn(i) for i in range(300)]
    lasts = np.array([m.offset - m.onset for m in motions]) / FPS
    rises = np.array([m.apex - m.onset for m in motions]) / FPS
    assert lasts.min() >= 0.165
    assert lasts.max() <= 0.5
    assert rises.min() >= 0.06
    assert rises.max() <= 0.26
    for m in motions[:20]:
        course = [m.intensity(i) for i in range(m.frames)]
        assert int(np.argmax(course)) == m.apex
        assert course[m.apex] == 1.0
        assert course[m.onset] == course[m.offset] == course[-1] == 0.0
        assert (np.diff(course[m.onset : m.apex + 1]) > 0).all()
        assert (np.diff(course[m.apex : m.offset + 1]) < 0).all()


@pytest.mark.parametrize(("timing", "key_frames"), [((40, 0.25), (10, 40)), ((4, 0.01), (2, 4)), ((9, 0.99), (8, 9))])
def test_a_timing_is_kept_and_leaves_time_to_rise_and_fall(timing, key_frames):
    motion = Motion.draw({}, Distractors.none(), [0], timing)
    assert (motion.apex - motion.onset, motion.offset - motion.onset) == key_frames


@pytest.mark.parametrize("timing", [(3, 0.5), (40, 0.0), (40, 1.0), (40, -0.5)])
def test_a_timing_that_is_none_is_refused(timing):
    with pytest.raises(ValueError, match="at least 4 frames and a share between 0 and 1"):
        Motion.draw({}, Distractors.none(), [0], timing)


def still(seed, frames=600, **strength):
    return Motion.still(frames, replace(Distractors.none(), **strength), np.random.default_rng(seed))


def test_blinks_and_jumps_of_the_eyes_last_as_long_as_eyes_take():
    """A blink of 0.12 to 0.25 s: 1.3 exp(-(x/0.32)²) = 0.05 gives 1.16 times that; a jump by Carpenter's rule."""
    blinks = [still(i, blinks=10.0).closure for i in range(60)]
    lasts = np.array([(b > 0).sum() for b in blinks]) / FPS / 1.155
    assert lasts.min() == pytest.approx(0.12, abs=0.01)
    assert lasts.max() == pytest.approx(0.25, abs=0.01)
    assert all(b.max() == 1 and b[0] == b[-1] == 0 for b in blinks)
    for looks in (still(i, gaze=4.0).gaze for i in range(60)):
        share, jump = looks @ looks[-1] / (looks[-1] @ looks[-1]), np.degrees(np.hypot(*looks[-1]))
        share = share.round(5)  # float32: 1 at the end, however a processor rounds
        assert (share < 1).sum() - (share <= 0).sum() == pytest.approx((21 + 2.2 * jump) / 1000 * FPS, abs=1)
        assert 0.2 <= np.flatnonzero(share > 0)[0] / len(looks) <= 0.85


def test_jaw_and_lips_move_at_the_rate_of_speech_and_no_wider_than_it_says():
    many = np.array([still(i, 4000, speech=1.0).speech for i in range(30)])
    assert many.max((0, 1)) == pytest.approx([0.12, 0.25], rel=0.05)
    for jaw, lips in many.transpose(0, 2, 1):
        if jaw.max() > 0.03 and lips.max() > 0.06:  # else the mouth was all but open at rest
            jaw_rate, lip_rate = (np.argmax(periodogram(x, FPS)[1]) * FPS / 4000 for x in (jaw, lips))
            assert 3.95 <= jaw_rate <= 5.05
            assert lip_rate == pytest.approx(jaw_rate / 2, abs=0.06)


def test_sway_is_slow_and_as_wide_as_its_sentences_say():
    many = [still(i, 4000, drift=1.0, turn=1.0, light=1.0) for i in range(40)]
    wide = {"drift": 0.2, "turn": np.radians(1 / 7), "lamp": np.radians(0.86)}  # about a seventh of a degree, and one
    for name, wanted in wide.items():
        tracks = np.array([getattr(m, name) for m in many])
        assert np.sqrt(tracks.var(1).mean()) == pytest.approx(wanted, rel=0.15)
        rates, power = periodogram(tracks, FPS, window="hann", axis=1)
        assert power[:, (rates > 0.45) & (rates < 2.15)].sum() > 0.98 * power.sum()


@pytest.mark.parametrize("name", Distractors.__dataclass_fields__)
def test_strengths_have_bounds(name):
    assert getattr(Distractors(**{name: 100.0}), name) == 100
    for value in (-0.1, 100.1, float("nan")):
        with pytest.raises(ValueError, match=f"strength of {name} must lie between 0"):
            Distractors(**{name: value})


@pytest.mark.parametrize(
    "text", ["shake=1", "drift", "drift=", "drift=-1", "drift=1,,", "drift=1,drift=2", "noise=1;drift=2", "nan"]
)
def test_strengths_that_are_none_are_refused(text):
    with pytest.raises(ValueError, match="is not such as drift=0,noise=2, each name once, with names of drift"):
        Distractors.parse(text)


def test_by_default_all_that_films_of_faces_have_is_as_strong_as_usual():
    off = {"speech", "jpeg", "video"}
    assert vars(Distractors()) == {name: float(name not in off) for name in Distractors.__dataclass_fields__}


def test_strengths_are_read_from_text():
    assert Distractors.parse("none") == Distractors.none()
    assert Distractors.parse("") == Distractors()
    assert Distractors.parse("drift=0, noise=2.5") == replace(Distractors(), drift=0.0, noise=2.5)


def test_a_turn_is_a_rotation_and_gaze_small():
    many = [drawn(i, gaze=3, turn=1) for i in range(200)]
    furthest = np.degrees(max(np.hypot(*m.gaze.T).max() for m in many))
    assert 5 < furthest < 20
    assert all(Rotation.from_euler("yxz", m.turn[m.apex]).magnitude() < np.radians(2) for m in many)
