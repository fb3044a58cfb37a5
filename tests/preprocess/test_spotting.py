import numpy as np
import pandas as pd
import pytest
from takes import long_take

from tsfmicro_lab.preprocess.spotting import cut, spot
from tsfmicro_lab.preprocess.watching import Watched, watch


def stream(frames, fps=200):
    return ((i / fps, lambda i=i: frames[i]) for i in range(len(frames)))


@pytest.fixture(scope="module")
def take():
    return long_take(seed=203)


@pytest.fixture(scope="module")
def frames(take):
    return list(take.frames)


@pytest.fixture(scope="module")
def watched(take, frames):
    return watch(stream(frames), lambda image: [take.face.landmarks])


def test_every_strong_movement_is_spotted_with_its_key_frames(take, frames, watched):
    spots = spot(watched)
    assert len(spots) == len(take.table) == 3
    assert (spots.strength > 1).all()
    clips = cut(stream(frames), watched, spots)
    for clip, apex, true in zip(clips, spots.apex, take.table.itertuples(), strict=True):
        found = np.array([clip.onset, clip.apex, clip.offset]) + apex - clip.apex
        assert np.abs(found - [true.onset, true.apex, true.offset]).max() <= 12, (found, true)
        assert clip.frame(clip.apex).shape == (224, 224, 3)


def test_a_face_at_rest_gives_nothing_though_it_sways_and_flickers():
    take = long_take(seed=201, expressions=1, rest=1.5)
    rest = [take.frames[i] for i in range(take.table.onset[0])]
    watched = watch(stream(rest), lambda image: [take.face.landmarks])
    assert np.isfinite(watched.curve).sum() > 200
    assert spot(watched).empty


def test_a_head_that_moves_on_is_aligned_anew(take, frames, watched):
    step, shift = len(frames) // 2, 14
    moved = frames[:step] + [np.roll(frame, shift, axis=1) for frame in frames[step:]]
    shown = []

    def read(i):
        shown.append(i)
        return moved[i]

    def face(_):
        return [take.face.landmarks + np.array([shift if shown[-1] >= step else 0, 0], np.float32)]

    jumped = watch(((i / 200, lambda i=i: read(i)) for i in range(len(moved))), face)
    assert len(jumped.shots) == 2
    assert step <= jumped.shots[1].start <= step + 20
    gone = np.isnan(jumped.curve)
    assert gone[step - 30 : step + 30].all()
    # What lies a reach and more before the jump is as it was without it.
    before = ~gone & (np.arange(len(gone)) < step)
    assert before.sum() > 50
    np.testing.assert_allclose(jumped.curve[before], watched.curve[before], rtol=1e-5)


def test_frames_without_a_face_are_unknown(take, frames):
    faces = iter([[take.face.landmarks]] * 4 + [[]] * 2 + [[take.face.landmarks]] * 20)
    watched = watch(stream(frames[:160]), lambda image: next(faces))
    assert watched.looks.faces.tolist() == [1] * 4 + [0] * 2 + [1] * 2
    assert len(watched.shots) == 2
    assert watched.shots[0].end <= 61 + 20
    assert watched.shots[1].start == 120


def test_the_followed_face_stays_the_same(take, frames):
    other = take.face.landmarks * 1.2 + np.array([300, 0], np.float32)
    wide = [np.hstack([frames[0]] * 3)] * 60
    lists = iter([[take.face.landmarks], [other, take.face.landmarks], [other, take.face.landmarks]])
    watched = watch(stream(wide), lambda image: next(lists))
    assert len(watched.shots) == 1
    assert watched.looks.faces.tolist() == [1, 2, 2]


def test_an_empty_video_and_a_curve_of_nothing():
    with pytest.raises(ValueError, match="no frame"):
        watch([], lambda image: [])
    nothing = Watched(
        np.arange(3.0), np.full(3, np.nan), [], pd.DataFrame({"frame": [0], "faces": 0, "x": 0.0, "y": 0.0})
    )
    assert spot(nothing).empty
