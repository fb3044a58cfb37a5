from dataclasses import replace

import numpy as np
import pytest

from tsfmicro_lab.clips import Clip, ClipError
from tsfmicro_lab.data import Distractors, SyntheticMicroExpressions, prepare
from tsfmicro_lab.preprocess.alignment import align_clip
from tsfmicro_lab.preprocess.keyframes import (
    apex_frames,
    difference_frame,
    intensity_curve,
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
            curve, onset = intensity_curve(clip), clip.frame(clip.onset).astype(float)
            plain = np.array([np.abs(clip.frame(i) - onset).mean() for i in range(clip.apex + 1)])
            assert curve[clip.onset] == 0
            shares.append([x[: clip.onset].max() / x[clip.apex] for x in (curve, plain)])
    ours, plain = np.exp(np.log(shares).mean(0))
    assert ours < 0.7 * plain


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
    assert strongest_pair(clip, share=0.0) == (0, 60)


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
