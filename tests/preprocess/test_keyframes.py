from dataclasses import replace

import cv2
import numpy as np
import pytest

from tsfmicro_lab.clips import Clip, ClipError
from tsfmicro_lab.data import Distractors, SyntheticMicroExpressions, prepare
from tsfmicro_lab.preprocess.alignment import ANCHORS, align_clip
from tsfmicro_lab.preprocess.keyframes import (
    SIZE,
    apex_frames,
    block_difference,
    difference_frame,
    distances,
    farthest,
    pulse,
    small_grey,
    spot_apex,
    strongest_pair,
    with_apex,
)


def test_the_apex_is_spotted_in_clean_clips():
    data = SyntheticMicroExpressions(2, 6, image_size=96, seed=1, distractors=Distractors.none())
    errors = [abs(spot_apex(align_clip(data[i], 96)) - data[i].apex) for i in range(len(data))]
    assert max(errors) <= 3


def test_intensity_is_zero_at_the_onset_and_bears_flicker_better_than_the_plain_difference():
    """Before the onset nothing moves but the light: how large that looks, as a share of the apex."""
    flicker = replace(Distractors.none(), flicker=1.0)
    shares = []
    for seed in (1, 2):
        data = SyntheticMicroExpressions(1, 6, image_size=96, seed=seed, distractors=flicker, amplitude=(3, 3))
        for clip in (data[i] for i in range(len(data))):
            curve, onset = distances(clip.frames, clip.onset), clip.frame(clip.onset).astype(float)
            plain = np.array([np.abs(clip.frame(i) - onset).mean() for i in range(clip.apex + 1)])
            assert curve[clip.onset] == 0
            shares.append([x[: clip.onset].max() / x[clip.apex] for x in (curve, plain)])
    ours, plain = np.exp(np.log(shares).mean(0))
    assert ours < 0.7 * plain


def test_one_bright_frame_is_no_apex_and_a_slow_rise_is():
    slow = np.exp(-(((np.arange(40) - 25) / 6) ** 2)).astype(np.float32)
    spiked = slow.copy()
    spiked[8] = 1.2  # a flash of one frame is higher than the rise, until it is smoothed
    assert farthest(slow) == farthest(spiked) == 25
    spiked[7:10] = 1.6
    assert farthest(spiked) == 8, "three such frames are a movement"
    assert farthest(np.array([0, 2, 1], np.float32)) == 1


def moved(frames, *, dx=0.0, gain=1.0, at=()):
    """A textured face of 112 px; in some frames a part of a cheek goes down by 3 px."""
    rng = np.random.default_rng(0)
    face = cv2.GaussianBlur(rng.uniform(60, 200, (112, 112, 3)), (0, 0), 2)
    turn = np.array([[1, 0, dx], [0, 1, 0]])
    made = []
    for i in range(frames):
        frame = face.copy()
        if i in at:
            frame[60:84, 20:44] = face[57:81, 20:44]
        made.append(np.clip(gain**i * cv2.warpAffine(frame, turn * [[1, 1, i], [1, 1, 1]], (112, 112)), 0, 255))
    return [np.rint(f).astype(np.uint8) for f in made]


def test_a_shift_and_a_change_of_light_of_the_whole_face_are_taken_out():
    grey = [small_grey(f) for f in (*moved(2, dx=0.5, gain=1.05), *moved(2, at=[1]))]
    whole, part = block_difference(grey[1], grey[0]), block_difference(grey[3], grey[2])
    plain = [np.abs(b - a).mean() for a, b in (grey[:2], grey[2:])]
    assert block_difference(grey[0], grey[0]) == 0
    assert part > 4 * whole
    assert plain[1] < plain[0], "the control: without taking it out, the shift is the larger change"


@pytest.mark.parametrize(("degrees", "zoom"), [(0.2, 1), (0, 1.004)])
def test_a_turn_and_a_zoom_of_the_whole_face_are_taken_out(degrees, zoom):
    rest = small_grey(moved(1)[0])
    matrix = cv2.getRotationMatrix2D(((SIZE - 1) / 2, (SIZE - 1) / 2), degrees, zoom)
    changed = cv2.warpAffine(rest, matrix, (SIZE, SIZE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    assert block_difference(changed, rest) < 0.3 * np.abs(changed - rest).mean()


def test_what_lies_between_the_corners_of_the_eyes_does_not_count():
    """Blinks; the control: the same change 24 px lower does."""
    rest = small_grey(moved(1)[0])
    (left, y), (right, _) = (SIZE * np.array(ANCHORS[f"{side}_eye_outer"]) for side in ("right", "left"))
    for down, counts in ((0, False), (24, True)):
        changed = rest.copy()
        changed[round(y) + down - 6 : round(y) + down + 6, int(left) : int(right)] += 30
        assert (block_difference(changed, rest) > 1) == (pulse(changed, rest, rest) > 1) == counts


def test_the_apex_lies_between_onset_and_offset():
    frames = moved(30, at=[12, 13, 14, 24, 25, 26, 27])
    clip = Clip("a", "s", frames, 6, None, 18)
    assert spot_apex(clip) == 13
    assert spot_apex(replace(clip, offset=29)) in range(24, 28)
    assert spot_apex(replace(clip, onset=13, offset=13)) == 13


def test_a_step_and_a_drift_are_no_pulse():
    rest, there, drift, far = (small_grey(f) for f in (*moved(2, at=[1]), *moved(3, dx=0.5)[1:]))
    back = pulse(there, rest, rest)
    assert back > 1
    assert pulse(there, rest, there) < 0.01 * back
    assert pulse(rest, there, rest) < 0.01 * back
    assert pulse(drift, rest, far) < 0.1 * back


def test_a_head_that_moves_on_does_not_take_the_apex_along():
    """The control: by the distance from the onset it would."""
    clip = Clip("a", "s", moved(30, dx=0.2, gain=1.002, at=[9, 10, 11]), 0, None, 29)
    assert spot_apex(clip) in (9, 10, 11)
    assert farthest(distances(clip.frames, clip.onset)) > 20


def test_a_clip_without_an_apex_gets_one_and_keeps_an_annotated_one(data):
    clip = align_clip(data[0], 56)
    assert with_apex(clip) is clip
    assert with_apex(replace(clip, apex=None)).apex == spot_apex(clip)


def test_prepare_spots_a_missing_apex(data):
    class WithoutApex(SyntheticMicroExpressions):
        def __getitem__(self, index):
            return replace(super().__getitem__(index), apex=None)

    bare = WithoutApex(1, 3, image_size=96, seed=3, distractors=Distractors.none())
    samples = prepare(bare, 56, progress=False)
    assert (samples.onset != samples.apex).flatten(1).any(1).all()


def test_difference_of_other_sizes_is_refused():
    with pytest.raises(ValueError, match="must have one size"):
        difference_frame(np.zeros((2, 2, 3), np.uint8), np.zeros((3, 3, 3), np.uint8))


def test_the_strongest_pair_is_the_one_that_differs_most():
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 100, (61, 8, 8, 3)).astype(np.uint8)
    frames[1], frames[58] = 0, 255  # within reach of onset 0 and apex 60: int(0.15 * 60 / 4) = 2
    frames[4], frames[50] = 0, 255
    clip = Clip("a", "s", list(frames), 0, 60, 60)
    assert strongest_pair(clip) == (1, 58)
    assert strongest_pair(replace(clip, reach=0.0)) == (0, 60)


def test_frames_are_centred_on_the_apex_in_numeric_order(data):
    clip = data[0]
    long = replace(clip, frames=[np.full((4, 4, 3), i, np.uint8) for i in range(60)], onset=0, apex=30, offset=59)
    assert [int(f[0, 0, 0]) for f in apex_frames(long)] == list(range(25, 36))
    early = replace(long, apex=2)
    assert [int(f[0, 0, 0]) for f in apex_frames(early)] == list(range(1, 12))
    short = replace(long, apex=2, offset=6)
    made = [int(f[0, 0, 0]) for f in apex_frames(short)]
    assert made[0] == 1
    assert made[-1] == 6
    assert made == sorted(made)
    assert len(made) == 11


@pytest.mark.parametrize(("onset", "apex", "offset"), [(3, 3, 3), (3, 4, 4)])
def test_a_clip_too_short_to_interpolate_is_named(data, onset, apex, offset):
    clip = replace(data[0], onset=onset, apex=apex, offset=offset)
    with pytest.raises(ClipError, match=r"clip sub01/EP01 has [01] frame after its onset, 11 are read"):
        apex_frames(clip)
