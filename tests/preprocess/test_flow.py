import numpy as np
import pytest

from tsfmicro_lab.data import Distractors, SyntheticMicroExpressions
from tsfmicro_lab.data.motion import warp
from tsfmicro_lab.preprocess import FLOWS, align_clip, endpoint_error, flow_colours, magnify, optical_flow


@pytest.fixture(scope="module")
def clip():
    data = SyntheticMicroExpressions(1, 6, image_size=224, seed=8, distractors=Distractors.none())
    return align_clip(data[int(data.annotations.amplitude.idxmax())], 224)


def pair(clip):
    return clip.frame(clip.onset), clip.frame(clip.apex)


@pytest.mark.parametrize(("method", "limit"), [("dis", 0.25), ("tvl1", 0.5), ("farneback", 0.6)])
def test_flow_finds_the_true_motion_better_than_no_flow_does(clip, method, limit):
    moved = clip.truth.moved
    error = endpoint_error(optical_flow(*pair(clip), method), clip.truth.field)[moved].mean()
    nothing = np.hypot(*clip.truth.field)[moved].mean()
    assert error < limit * nothing


@pytest.mark.parametrize("method", FLOWS)
def test_a_still_face_does_not_flow(clip, method):
    onset = clip.frame(clip.onset)
    assert np.abs(optical_flow(onset, onset, method)).max() < 0.1


def test_magnified_motion_is_the_true_motion_made_larger(clip):
    onset, apex = pair(clip)
    moved = clip.truth.moved
    larger = warp(onset, 3 * clip.truth.expression)
    distance = {f: np.abs(magnify(apex, clip.truth.field, f) - larger)[moved].mean() for f in (1.0, 3.0, 5.0)}
    assert distance[3.0] < 0.5 * min(distance[1.0], distance[5.0])
    assert np.array_equal(magnify(apex, clip.truth.field, 1), apex)
    rest = magnify(apex, clip.truth.field, 0)
    assert np.abs(rest.astype(float) - onset)[moved].mean() < 0.3 * np.abs(apex.astype(float) - onset)[moved].mean()


def test_opposite_directions_have_opposite_colours_and_rest_is_white():
    right, left = (flow_colours(np.stack([np.full((1, 1), d), np.zeros((1, 1))]), 2.0)[0, 0] for d in (2.0, -2.0))
    assert right.tolist() == [255, 0, 0]
    assert left.tolist() == [0, 255, 255]
    assert flow_colours(np.zeros((2, 2, 2)), 2.0).min() == 255


def test_wrong_input_is_named(clip):
    onset, apex = pair(clip)
    with pytest.raises(ValueError, match="unknown flow 'raft': choose from dis, farneback, tvl1"):
        optical_flow(onset, apex, "raft")
    with pytest.raises(ValueError, match="must have one size: align the clip first"):
        optical_flow(onset, apex[:-1])
