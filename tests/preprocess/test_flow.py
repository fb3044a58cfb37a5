from dataclasses import replace

import numpy as np
import pytest
from warping import warp

from studies.pictures import magnify
from tsfmicro_lab.clips import ClipError
from tsfmicro_lab.data import Distractors, SyntheticMicroExpressions
from tsfmicro_lab.preprocess.alignment import align_clip
from tsfmicro_lab.preprocess.flow import (
    FLOWS,
    clip_flow,
    endpoint_error,
    flow_colours,
    optical_flow,
    resize_flow,
    square_crop,
)
from tsfmicro_lab.preprocess.landmarks import POINT_INDEX


@pytest.fixture(scope="module")
def clip():
    data = SyntheticMicroExpressions(1, 6, image_size=224, seed=8, distractors=Distractors.none())
    return align_clip(data[int(data.annotations.amplitude.idxmax())], 224)


def pair(clip):
    return map(clip.frame, clip.key_frames)


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


def test_the_crop_is_centred_on_the_nose_and_carries_landmarks_along(data):
    cropped = square_crop(data[0], 64)
    assert np.allclose(cropped.landmarks[POINT_INDEX["nose_tip"]], 31.5, atol=1e-3)
    away = replace(data[0], landmarks=data[0].landmarks + 500)
    with pytest.raises(ClipError, match=r"face crop .* lies outside the 96×96 px frame"):
        square_crop(away, 64)


def test_nothing_moves_where_all_frames_are_the_onset(data):
    for clip in (data[i] for i in range(4)):
        still = replace(clip, frames=[clip.frame(clip.onset)] * len(clip.frames))
        assert np.abs(clip_flow(still, 48)).max() < 1e-3
        assert np.abs(clip_flow(still, 48, short=True)).max() < 1e-3


def test_short_flow_adds_up_to_long_flow():
    data = SyntheticMicroExpressions(1, 6, image_size=96, seed=8, distractors=Distractors.none(), amplitude=(2.5, 3.0))
    clip = max((data[i] for i in range(len(data))), key=lambda clip: float(np.abs(clip.truth.field).max()))
    clip = replace(clip, onset=clip.apex - 5)  # so that the frame before the first of the eleven is the onset
    long, short = clip_flow(clip, 48), clip_flow(clip, 48, short=True)
    moved = np.hypot(*long[4]) > 0.5 * np.hypot(*long[4]).max()
    assert np.corrcoef(short[:5].sum(0)[:, moved].ravel(), long[4][:, moved].ravel())[0, 1] > 0.75
    assert np.abs(short[1:]).max() < np.abs(long).max()
    earlier = clip_flow(replace(clip, onset=clip.apex - 8), 48, short=True)
    assert np.allclose(earlier[1:], short[:-1]), "short flow does not know how far away the onset is"


def test_flow_shrinks_with_its_image(data):
    clip = square_crop(data[1], 128)
    fine = optical_flow(*pair(clip))
    assert np.abs(resize_flow(fine, 32)).mean() == pytest.approx(np.abs(fine).mean() / 4, rel=0.25)
