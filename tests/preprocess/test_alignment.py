from dataclasses import replace

import cv2
import numpy as np
import pytest
from warping import warp

from tsfmicro_lab.clips import Clip, ClipError
from tsfmicro_lab.data import Distractors, SyntheticMicroExpressions
from tsfmicro_lab.preprocess.alignment import (
    ANCHORS,
    align_clip,
    apply_alignment,
    estimate_alignment,
    resize_clip,
    transform_points,
)
from tsfmicro_lab.preprocess.keyframes import difference_frame
from tsfmicro_lab.preprocess.landmarks import POINT_INDEX, POINT_NAMES, FaceNotFoundError


@pytest.mark.parametrize("size", [56, 112, 224])
def test_identical_frames_differ_by_exactly_zero_after_alignment(data, size):
    clip = data[0]
    still = replace(clip, frames=[clip.frame(clip.onset)] * len(clip.frames))
    aligned = align_clip(still, size)
    assert not difference_frame(aligned.frame(aligned.onset), aligned.frame(aligned.apex)).any()


@pytest.mark.parametrize("size", [56, 112, 224])
def test_eyes_come_to_their_places(data, size):
    for i in range(0, len(data), 10):
        points = align_clip(data[i], size).landmarks
        for name, place in ANCHORS.items():
            assert np.abs(points[POINT_INDEX[name]] - (np.array(place) * size - 0.5)).max() < 0.03 * size


def test_alignment_undoes_rotation_and_scale(data):
    clip = data[0]
    onset = clip.frame(clip.onset)
    turn = cv2.getRotationMatrix2D((60, 60), 9, 1.4) + np.array([[0, 0, 10.0], [0, 0, 14.0]])
    turned = cv2.warpAffine(onset, turn, (200, 200), flags=cv2.INTER_CUBIC)
    straight = apply_alignment(onset, estimate_alignment(clip.landmarks, 56), 56)
    again = apply_alignment(turned, estimate_alignment(transform_points(clip.landmarks, turn), 56), 56)
    middle = np.s_[8:-8, 8:-8]
    assert np.abs(straight[middle].astype(int) - again[middle]).mean() < 3


def test_scale_is_the_same_in_both_directions(data):
    matrix = estimate_alignment(data[0].landmarks, 56)
    assert np.hypot(*matrix[:, 0]) == pytest.approx(np.hypot(*matrix[:, 1]))
    assert matrix[:, 0] @ matrix[:, 1] == pytest.approx(0, abs=1e-9)


def test_true_motion_is_aligned_with_the_frames():
    data = SyntheticMicroExpressions(2, 5, image_size=224, seed=5, distractors=replace(Distractors.none(), drift=1.0))
    recorded, clip = data[1], align_clip(data[1], 160)
    onset, apex = clip.frame(clip.onset), clip.frame(clip.apex)
    before = np.abs(difference_frame(onset, apex)).mean()
    after = np.abs(warp(onset, clip.truth.field) - apex).mean()
    assert after < 0.7 * before  # what remains is shading, which no warp explains
    at_apex, expected = (
        one.landmarks + np.stack([one.truth.field[:, int(y), int(x)] for x, y in one.landmarks.clip(0, side).round()])
        for one, side in ((clip, 159), (recorded, 223))
    )
    assert np.abs(at_apex - transform_points(expected, estimate_alignment(recorded.landmarks, 160))).max() < 0.5


def test_landmarks_are_found_where_a_clip_has_none(data):
    clip = replace(data[0], landmarks=None)
    aligned = align_clip(clip, 56, landmarker=lambda image: data[0].landmarks)
    assert (aligned.frame(0) == align_clip(data[0], 56).frame(0)).all()


def test_a_face_that_is_not_found_names_the_clip(data):
    def blind(image):
        raise FaceNotFoundError("no face found")

    with pytest.raises(ClipError, match=r"sub01/EP01: no face found; look at frame 8, give landmarks, or leave"):
        align_clip(replace(data[0], landmarks=None), 56, landmarker=blind)


def test_senseless_landmarks_name_the_clip():
    frames = [np.zeros((9, 9, 3), np.uint8)] * 3
    clip = Clip("c1", "s1", frames, 0, 1, 2, landmarks=np.zeros((len(POINT_NAMES), 2), np.float32))
    with pytest.raises(ClipError, match=r"s1/c1: the eye corners .* give no face to align"):
        align_clip(clip, 56)


def test_shrinking_filters_first():
    """Stripes finer than the output's pixels turn grey instead of making a pattern."""
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    matrix = np.array([[0.3, 0, 0], [0, 0.3, 0]])  # at a quarter every pixel would meet the same place of a stripe
    assert cv2.warpAffine(stripes, matrix, (76, 76), flags=cv2.INTER_CUBIC)[8:-8, 8:-8].std() > 60, (
        "else it shows nothing"
    )
    small = apply_alignment(stripes, matrix, 76)
    assert small[8:-8, 8:-8].astype(int).std() < 8


def test_what_keeps_its_size_is_not_filtered():
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    for turn, expected in ((np.eye(2), image), (np.array([[0, 1.0], [1.0, 0]]), image.transpose(1, 0, 2))):
        assert (apply_alignment(image, np.column_stack([turn, [0, 0]]), 40) == expected).all()


def test_a_clip_as_it_was_filmed_is_its_middle_square():
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    points = np.tile([[29.5, 19.5], [10.0, 0.0]], (len(POINT_NAMES) // 2, 1)).astype(np.float32)
    clip = Clip("c1", "s1", [image] * 3, 0, 1, 2, landmarks=points)
    assert (resize_clip(clip, 40).frame(0) == image[:, 10:50]).all()
    half = resize_clip(clip, 20)
    assert half.landmarks[:2] == pytest.approx(np.array([[9.5, 9.5], [-0.25, -0.25]]))  # pixel centres, halved
    blocks = image[:, 10:50].reshape(20, 2, 20, 2, 3).mean((1, 3))
    assert np.corrcoef(half.frame(0).ravel(), blocks.ravel())[0, 1] > 0.9
