from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from takes import long_take

from tsfmicro_lab.preprocess.keyframes import SIZE
from tsfmicro_lab.preprocess.spotting import MotionTrace, Segment, cut, spot, trace_motion


def stream(frames, fps=200):
    return ((i / fps, lambda i=i: frames[i]) for i in range(len(frames)))


@pytest.fixture(scope="module")
def take():
    """Brows and nose, with neither turn nor lamp: raised lids (AU 5) alone are too little to be spotted."""
    return long_take(seed=0, turn=0.0, light=0.0)


@pytest.fixture(scope="module")
def frames(take):
    return list(take.frames)


@pytest.fixture(scope="module")
def trace(take, frames):
    return trace_motion(stream(frames), lambda image: [take.landmarks])


def test_every_strong_movement_is_spotted_with_its_key_frames(take, frames, trace):
    spots = spot(trace)
    assert len(spots) == len(take.table) == 3
    assert (spots.strength > 1).all()
    clips = cut(stream(frames), trace, spots)
    errors = []
    for clip, apex, true in zip(clips, spots.apex, take.table.itertuples(), strict=True):
        found = np.array([clip.onset, clip.apex, clip.offset]) + apex - clip.apex
        errors.append(np.abs(found - [true.onset, true.apex, true.offset]))
        assert clip.frame(clip.apex).shape == (224, 224, 3)
    assert np.array(errors)[:, 1].max() <= 12
    assert np.median(errors) <= 12  # sway can hide where a movement began or ended


def test_a_face_at_rest_gives_nothing_though_it_sways_and_flickers():
    take = long_take(seed=201, expressions=1, rest=1.5)
    rest = [take.frames[i] for i in range(take.table.onset[0])]
    trace = trace_motion(stream(rest), lambda image: [take.landmarks])
    assert np.isfinite(trace.curve).sum() > 200
    assert spot(trace).empty


def test_a_head_that_moves_on_is_aligned_anew(take, frames, trace):
    step, shift = len(frames) // 2, 14
    moved = frames[:step] + [np.roll(frame, shift, axis=1) for frame in frames[step:]]
    shown = []

    def read(i):
        shown.append(i)
        return moved[i]

    def face(_):
        return [take.landmarks + np.array([shift if shown[-1] >= step else 0, 0], np.float32)]

    jumped = trace_motion(((i / 200, lambda i=i: read(i)) for i in range(len(moved))), face)
    assert len(jumped.segments) == 2
    assert step <= jumped.segments[1].start <= step + 20
    gone = np.isnan(jumped.curve)
    assert gone[step - 30 : step + 30].all()
    # What lies half a window, and what the curve is smoothed by, before the jump is as it was without it.
    before = ~gone & (np.arange(len(gone)) < np.flatnonzero(~gone[:step])[-1] - 5)
    assert before.sum() > 50
    np.testing.assert_allclose(jumped.curve[before], trace.curve[before], rtol=1e-5)


def test_frames_without_a_face_are_unknown(take, frames):
    faces = iter([[take.landmarks]] * 4 + [[]] * 2 + [[take.landmarks]] * 20)
    trace = trace_motion(stream(frames[:160]), lambda image: next(faces))
    assert trace.searches.faces.tolist() == [1] * 4 + [0] * 2 + [1] * 2
    assert len(trace.segments) == 2
    spans = [(segment.start, segment.end) for segment in trace.segments]
    assert spans == [(0, 61), (120, 160)], "up to the last search that found the face, and from the next"


def test_the_followed_face_stays_the_same(take, frames):
    other = take.landmarks * 1.2 + np.array([300, 0], np.float32)
    wide = [np.hstack([frames[0]] * 3)] * 60
    lists = iter([[take.landmarks], [other, take.landmarks], [other, take.landmarks]])
    trace = trace_motion(stream(wide), lambda image: next(lists))
    assert len(trace.segments) == 1
    assert trace.searches.faces.tolist() == [1, 2, 2]


def test_where_the_followed_face_is_gone_the_largest_is_followed(take, frames):
    places = ((0.5, 0), (0.5, 100), (1, 200))
    small, near, large = (take.landmarks * scale + np.array([at, 0], np.float32) for scale, at in places)
    lists = iter([[small], [near, large]])
    trace = trace_motion(stream([np.hstack([frames[0]] * 3)] * 40), lambda image: next(lists))
    assert np.ptp(trace.segments[1].landmarks, axis=0) == pytest.approx(np.ptp(large, axis=0), rel=1e-4)


def curve_of(*parts, fps=100, gap=None):
    """A trace at rest, with bumps (centre, width, height; seconds) and a gap of which nothing is known."""
    t = np.arange(6 * fps) / fps
    curve = 1 + 0.1 * np.sin(40 * t) + sum(h * np.exp(-(((t - c) / w) ** 2)) for c, w, h in parts)
    if gap:
        curve[(t > gap[0]) & (t < gap[1])] = np.nan
    searches = pd.DataFrame({"frame": range(0, len(t), 10), "faces": 1, "x": 0.0, "y": 0.0})
    return MotionTrace(t, curve, [], searches)


def test_a_flash_is_no_moment_and_of_two_within_04_s_the_higher_counts():
    assert spot(curve_of((1, 0.08, 5), (3, 0.02, 9))).apex.tolist() == [100]
    assert spot(curve_of((1, 0.08, 5), (1.3, 0.08, 7))).apex.tolist() == [130]
    assert spot(curve_of((1, 0.08, 5), (1.5, 0.08, 7))).apex.tolist() == [100, 150]
    assert spot(curve_of((1, 0.08, 5), (1.5, 0.08, 7)), most=1).apex.tolist() == [150]
    assert spot(curve_of((1, 0.08, 5), fps=30)).apex.tolist() == [30]


def test_the_heads_way_around_a_moment_is_told_in_pixels():
    """By hand: five searches lie within 0.25 s, 5 px apart; a median over three takes half a step off either end."""
    trace = curve_of((3, 0.08, 5))
    step = np.arange(len(trace.searches), dtype=float)

    def head(x, y=0.0):
        return spot(replace(trace, searches=trace.searches.assign(x=x, y=y)))["head"].tolist()

    assert head(3 * step, 4 * step) == pytest.approx([20 * 0.75 * 224 / SIZE])
    assert head(9.0 * (step == 30)) == head(9.0 * (step > 33)) == [0], "one wrong search, and a turn that came later"


def test_a_peak_at_the_rim_of_what_is_known_is_told():
    spots = spot(curve_of((1, 0.08, 5), (3, 0.08, 5), gap=(3.1, 4)))
    assert spots.rim.tolist() == [False, True]
    assert spot(curve_of((0.1, 0.08, 5), (3, 0.08, 5))).rim.tolist() == [True, False]


def test_an_expression_that_stays_is_no_moment_and_one_that_goes_is(take, frames):
    """The control: the same film, in which the first expression ends as it did."""
    apex, offset = take.table.loc[0, ["apex", "offset"]]
    short = frames[: offset + 100]
    near = np.random.default_rng(0).integers(apex - 3, apex + 4, len(short) - apex)  # each with a noise of its own
    held = [*short[:apex], *(short[i] for i in near)]
    seen = [spot(trace_motion(stream(film), lambda image: [take.landmarks])) for film in (short, held)]
    assert [len(spots) for spots in seen] == [1, 0]


@pytest.mark.parametrize("fps", [100, 200])
def test_what_goes_on_is_cut_within_a_quarter_of_a_second(take, frames, fps):
    """What grows evenly away from the apex comes to 90 % of what it is after 0.25 s in 0.225 s; a clip holds 0.8 s."""
    face = frames[0].astype(float)
    x, y = take.landmarks.mean(0).astype(int)
    patch = np.zeros_like(face)
    patch[y + 10 : y + 30, x - 10 : x + 10] = 60
    away = np.abs(np.arange(fps + 1) - fps // 2) / fps
    film = [(face * 0.7 + patch * share).astype(np.uint8) for share in away]
    whole = Segment(0, take.landmarks)
    whole.end = len(film)
    trace = MotionTrace(np.arange(len(film)) / fps, away, [whole], pd.DataFrame())
    [clip] = cut(stream(film, fps), trace, pd.DataFrame({"apex": [fps // 2]}))
    rise, fall = (clip.apex - clip.onset) / fps, (clip.offset - clip.apex) / fps
    assert (rise, fall) == pytest.approx((0.225, 0.225), abs=0.02)
    assert len(clip.frames) / fps == pytest.approx(0.8, abs=0.011)
    assert clip.fps == pytest.approx(fps)


def test_an_empty_video_and_a_curve_of_nothing():
    with pytest.raises(ValueError, match="no frame"):
        trace_motion([], lambda image: [])
    nothing = MotionTrace(
        np.arange(3.0), np.full(3, np.nan), [], pd.DataFrame({"frame": [0], "faces": 0, "x": 0.0, "y": 0.0})
    )
    assert spot(nothing).empty
