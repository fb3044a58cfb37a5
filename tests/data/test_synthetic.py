from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2_contingency

from tsfmicro_lab.data import Distractors, SyntheticMicroExpressions, check_annotations, prepare
from tsfmicro_lab.data.synthetic import CLASS_COUNTS, MEGC, PROTOTYPES

CLEAN = Distractors.none()


def frames_of(data, i):
    clip = data[i]
    return np.stack([clip.frame(j) for j in (clip.onset, clip.apex, clip.offset)])


def test_the_same_seed_gives_the_same_clips_in_any_order():
    first, again = (SyntheticMicroExpressions(3, 5, 96, seed=9) for _ in range(2))
    pd.testing.assert_frame_equal(first.annotations, again.annotations)
    backwards = [frames_of(again, i) for i in (14, 7, 0)]
    for i, frames in zip((14, 7, 0), backwards, strict=True):
        assert (frames_of(first, i) == frames).all()


def test_another_seed_gives_other_faces_and_labels():
    first, other = SyntheticMicroExpressions(3, 10, 96, seed=0), SyntheticMicroExpressions(3, 10, 96, seed=1)
    assert list(first.annotations.emotion) != list(other.annotations.emotion)
    assert np.abs(first[0].frame(0).astype(int) - other[0].frame(0)).mean() > 5


def test_the_apex_read_along_the_true_field_is_nearly_the_onset():
    """With light, whose shading moves otherwise than the texture; tests of the renderer switch it off."""
    data = SyntheticMicroExpressions(4, 5, image_size=224, seed=2, distractors=replace(CLEAN, drift=1.0))
    y, x = np.mgrid[:224, :224].astype(np.float32)
    for i in range(0, 20, 5):
        moving, clip = data.moving_face(i), data[i]
        onset, apex = moving.noise_free(clip.onset), moving.noise_free(clip.apex)
        hull = cv2.convexHull(clip.truth.mesh.round().astype(np.int32))
        face = cv2.fillConvexPoly(np.zeros((224, 224), np.uint8), hull, 1).astype(bool) & clip.truth.visible
        dx, dy = clip.truth.field
        error = np.abs(cv2.remap(apex, x + dx, y + dy, cv2.INTER_CUBIC) - onset)[face]
        assert error.mean() < 0.85 * np.abs(apex - onset)[face].mean()


def test_optical_flow_finds_the_true_motion():
    """An independent estimate: DIS flow on a clean clip, end-point error where the skin has texture."""
    data = SyntheticMicroExpressions(3, 5, image_size=224, seed=2, distractors=CLEAN, amplitude=(2.5, 3.0))
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    errors, lengths = [], []
    for i in range(0, 15, 3):
        clip = data[i]
        pair = [cv2.cvtColor(clip.frame(j), cv2.COLOR_RGB2GRAY) for j in (clip.onset, clip.apex)]
        found = flow.calc(*pair, None).transpose(2, 0, 1)
        region = np.hypot(*clip.truth.field) > 1
        errors.append(np.hypot(*(found - clip.truth.field))[region].mean())
        lengths.append(np.hypot(*clip.truth.field)[region].mean())
    assert np.mean(errors) < 0.5 * np.mean(lengths)


def test_the_true_motion_starts_at_rest_and_peaks_at_the_apex():
    data = SyntheticMicroExpressions(1, 3, image_size=96, seed=0)
    for i in range(3):
        moving, clip = data.moving_face(i), data[i]
        assert not moving.displacement(clip.onset).any()
        assert (moving.displacement(clip.apex) == clip.truth.field).all()
        strength = [moving.motion.intensity(j) for j in range(len(clip.frames))]
        assert int(np.argmax(strength)) == clip.apex
        assert max(strength) == 1.0
        assert strength[clip.offset] == 0.0
        assert 0.1 <= (clip.offset - clip.onset) / clip.fps <= 0.5


def test_amplitudes_are_those_of_micro_expressions():
    data = SyntheticMicroExpressions(4, 10, image_size=224, seed=0, distractors=CLEAN)
    peaks = [np.hypot(*displacement).max() for displacement in (data[i].truth.expression for i in range(0, 40, 5))]
    assert min(peaks) >= 0.45
    assert max(peaks) <= 2 * 3.0  # two units may overlap


def test_each_distractor_has_its_own_switch():
    def data(**strength):
        distractors = replace(CLEAN, **strength)
        return SyntheticMicroExpressions(2, 10, 96, seed=4, distractors=distractors, amplitude=(1, 1))

    clean = data()
    i, clip = 3, clean[3]
    resting = [clip.frame(j).astype(int) for j in range(clip.onset + 1)]
    assert all((frame == resting[0]).all() for frame in resting)
    assert (clip.truth.field == clip.truth.expression).all()

    def changes(**strength):
        """What the camera sees before anything has moved, and how far the true motion is from the expression."""
        other = data(**strength)[i]
        assert (other.truth.expression == clip.truth.expression).all()
        frames = np.stack([other.frame(j).astype(int) for j in range(clip.onset + 1)])
        return np.abs(frames - resting[0]).mean(), np.abs(other.truth.field - other.truth.expression).max()

    for name in ("drift", "turn"):
        seen, motion = changes(**{name: 4.0})
        assert seen > 0.02
        assert motion > 0.02
    for name in ("light", "flicker", "noise", "jpeg", "video"):
        seen, motion = changes(**{name: 4.0})
        assert seen > 0.02
        assert motion == 0
    once, twice = (data(drift=s)[i].truth for s in (1, 2))
    assert np.allclose(twice.field - twice.expression, 2 * (once.field - once.expression), atol=0.02)
    assert not clean.annotations.blink.any()
    assert data(blinks=10).annotations.blink.all()


def test_annotations_keep_the_contract_and_casme2s_balance():
    data = SyntheticMicroExpressions(10, 25, 64, seed=0)
    check_annotations(data.annotations)
    shares = data.annotations.emotion.value_counts(normalize=True)
    for emotion, count in CLASS_COUNTS.items():
        assert shares[emotion] == pytest.approx(count / 246, abs=0.005)
    assert set(data.annotations.emotion_megc.dropna()) == {"positive", "negative", "surprise"}
    for emotion, rows in data.annotations.groupby("emotion"):
        assert {tuple(units.split("+")) for units in rows.action_units} <= set(PROTOTYPES[emotion])
        assert rows.emotion_megc.isna().all() == (emotion not in MEGC)


def test_a_subject_says_nothing_about_the_emotion():
    data = SyntheticMicroExpressions(8, 12, 64, seed=0)
    counts = pd.crosstab(data.annotations.subject, data.annotations.emotion)
    assert (counts.max() - counts.min()).max() <= 1


def test_the_resting_face_does_not_depend_on_the_emotion():
    """Without noise and flicker, a subject's onset frame is the same whatever emotion follows."""
    data = SyntheticMicroExpressions(1, 8, 96, seed=0, distractors=CLEAN)
    onsets = [data[i].frame(data[i].onset) for i in range(8)]
    assert all((frame == onsets[0]).all() for frame in onsets)


def test_the_report_names_clips_in_repr():
    text = repr(SyntheticMicroExpressions(2, 5, 64, seed=0))
    assert "10 clips of 2 subjects, 64 px, 200 fps, seed 0" in text


@pytest.mark.parametrize("wrong", [{"subjects": 0}, {"clips_per_subject": 0}, {"image_size": 16}])
def test_impossible_sizes_are_refused(wrong):
    with pytest.raises(ValueError, match="must be at least"):
        SyntheticMicroExpressions(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"amplitude": pair} for pair in ((-3, -1), (3, 0.5), (0, 0), (float("nan"), 1), (1, float("inf")))),
        {"layout_variation": 5},
        {"layout_variation": -1},
        {"habits": -1},
        {"habits": float("nan")},
        {"seed": -1},
        {"balance": "even"},
        {"where": "somewhere"},
    ],
)
def test_impossible_settings_are_refused_before_anything_is_drawn(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SyntheticMicroExpressions(1, 1, 64, **wrong)


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), 1e9])
def test_impossible_strengths_are_refused(value):
    for name in vars(CLEAN):
        with pytest.raises(ValueError, match=f"the strength of {name} must lie between 0"):
            Distractors(**{name: value})


def test_prepare_keeps_order_labels_and_bytes(data):
    samples = prepare(data, 56, target="emotion_megc", progress=False)
    kept = data.annotations[data.annotations.emotion_megc.notna()]
    assert list(samples.table["clip"]) == list(kept["clip"])
    assert [samples.classes[i] for i in samples.label] == list(kept.emotion_megc)
    assert str(samples.onset.dtype) == "torch.uint8"
    with pytest.raises(ValueError, match="no column 'mood'"):
        prepare(data, 56, target="mood")


def test_casme2s_balance_is_dealt_to_every_subject_alike_and_the_others_as_they_say():
    uniform = SyntheticMicroExpressions(6, 20, 64, seed=0, balance="uniform").annotations
    assert uniform.emotion.value_counts().tolist() == [24] * 5
    uneven = SyntheticMicroExpressions(12, 20, 64, seed=0, balance="uneven").annotations
    counts = pd.crosstab(uneven.subject, uneven.emotion)
    assert counts.sum(axis=1).nunique() > 4
    even = pd.crosstab(*(SyntheticMicroExpressions(12, 20, 64).annotations[c] for c in ("subject", "emotion")))
    assert (even.max() - even.min()).max() <= 1
    assert (counts.max() - counts.min()).max() > 4
    assert chi2_contingency(counts).pvalue < 1e-3 < 0.99 < chi2_contingency(even).pvalue
    with pytest.raises(ValueError, match="balance is one of casme2, uniform, uneven, not 'even'"):
        SyntheticMicroExpressions(balance="even")


def test_habits_make_subjects_prefer_units_and_sides():
    def spread(habits):
        """Mean over subjects of how far their happy units are from being chosen alike, and the sides' biases."""
        data = SyntheticMicroExpressions(20, 40, 64, seed=1, balance="uniform", habits=habits)
        notes = data.annotations[data.annotations.emotion == "disgust"]
        counts = pd.crosstab(notes.subject, notes.action_units).to_numpy()
        wanted = counts.sum(1, keepdims=True) / counts.shape[1]
        chi = ((counts - wanted) ** 2 / wanted).sum(1).mean() / (counts.shape[1] - 1)
        biases = [data._motion(i).bias for i in range(0, len(data), 40)]
        return chi, np.std(biases)

    (plain, even), (liking, leaning) = spread(0.0), spread(1.0)
    assert plain == pytest.approx(1.0, abs=0.5)  # as chance has it
    assert liking > 2
    assert even == 0
    assert 0.08 < leaning < 0.2


def test_a_habit_is_the_subjects_and_not_the_clips():
    data = SyntheticMicroExpressions(3, 4, 64, seed=5)
    biases = [data.moving_face(i).motion.bias for i in range(12)]
    assert [len(set(biases[s : s + 4])) for s in (0, 4, 8)] == [1, 1, 1]
    assert len(set(biases)) == 3


def test_layout_variation_makes_heads_differ_more():
    def spread(variation):
        faces = [
            SyntheticMicroExpressions(4, 1, 64, layout_variation=variation).face(s).vertices[:4000] for s in range(4)
        ]
        return np.std(faces, axis=0).mean()

    none, usual, much = (spread(v) for v in (0.0, 1.0, 2.0))
    assert none < 0.3 * usual
    assert much > 1.5 * usual
