from dataclasses import replace

import numpy as np
import pytest
import torch

from tsfmicro_lab.explain import WhereHow, average_maps
from tsfmicro_lab.explain.regions import clip_regions, counterfactual_logits, to_face, unit_effects
from tsfmicro_lab.models import create_model
from tsfmicro_lab.preprocess import POINT_NAMES, align_clip
from tsfmicro_lab.training import predict


@pytest.fixture(scope="module")
def clips(data):
    return [align_clip(data[i], 56) for i in (0, 10, 20, 30)]


def spot(at, scale=1.0):
    y, x = np.mgrid[:56, :56]
    heat = scale * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 8)
    return WhereHow({"onset": 0 * heat, "difference": heat}, 0, "made up")


def test_a_spot_on_everybodys_mouth_corner_is_one_spot_on_the_mean_face(clips):
    corner = POINT_NAMES.index("left_mouth_corner")
    maps = [spot(clip.landmarks[corner]) for clip in clips]
    mean, face = average_maps(maps, clips)
    place = np.mean([clip.landmarks[corner] for clip in clips], 0)
    y, x = np.unravel_index(mean["difference"].argmax(), mean["difference"].shape)
    assert np.hypot(x - place[0], y - place[1]) < 1.5
    plain = np.mean([m.as_shares()["difference"] for m in maps], 0)
    assert mean["difference"].max() > plain.max(), "without the warp the spot is smeared"
    assert face.shape == (56, 56, 3)
    assert 0 <= face.min() < face.max() <= 255


def test_each_clip_counts_alike(clips):
    quiet, loud = spot((10, 10)), spot((40, 40), scale=1000)
    mean, _ = average_maps([quiet, loud], clips[:2])
    assert mean["difference"][:28, :28].sum() == pytest.approx(mean["difference"][28:, 28:].sum(), rel=0.15)
    assert np.abs(mean["difference"]).sum() + np.abs(mean["onset"]).sum() == pytest.approx(1, rel=0.1)


def test_a_warp_moves_landmarks_onto_landmarks(clips):
    first, second = (np.asarray(c.landmarks) for c in clips[:2])
    nose = POINT_NAMES.index("nose_tip") if "nose_tip" in POINT_NAMES else 0
    moved = to_face(spot(first[nose])["difference"], first, second)
    y, x = np.unravel_index(moved.argmax(), moved.shape)
    assert np.hypot(x - second[nose][0], y - second[nose][1]) < 1.5


def test_what_cannot_be_averaged_is_refused(clips):
    maps = [spot((9, 9))] * 2
    with pytest.raises(ValueError, match="2 explanations for 1 clips"):
        average_maps(maps, clips[:1])
    with pytest.raises(ValueError, match="0 explanations"):
        average_maps([], [])
    with pytest.raises(ValueError, match="different methods have different units"):
        average_maps([maps[0], replace(maps[1], method="other")], clips[:2])
    with pytest.raises(ValueError, match=r"no landmarks to warp by: call preprocess\.align_clip"):
        average_maps(maps, [clips[0], replace(clips[1], landmarks=None)])


@pytest.fixture(scope="module")
def model():
    return create_model("tsfmicro_late", 5, seed=0).eval()


def test_the_clip_as_it_was_gets_the_answer_it_had(model, data, samples):
    """Drift, light and noise are the same to the bit, so the logits are."""
    moving = data.moving_face(4)
    logits = torch.from_numpy(counterfactual_logits(model, moving, [moving.motion.units])[0])
    assert torch.allclose(logits.softmax(0), torch.from_numpy(predict(model, samples, np.array([4]))[0]), atol=1e-5)


def test_an_effect_is_the_logit_with_the_unit_minus_without(model, data):
    moving = data.moving_face(4)
    own = dict(moving.motion.units)
    present, absent = next(iter(own)), next(u for u in ("1", "12") if u not in own)
    effects = unit_effects(model, moving, 2, units=[present, absent], pixels=1.0).set_index("unit")
    with_it, without, more = counterfactual_logits(
        model, moving, [own, {k: v for k, v in own.items() if k != present}, {**own, absent: 1.0}]
    )[:, 2]
    assert effects.effect[present] == pytest.approx(with_it - without, abs=1e-6)
    assert effects.effect[absent] == pytest.approx(more - with_it, abs=1e-6)
    assert effects.present.tolist() == [True, False]


def test_all_units_and_the_clips_own_are_tried(data, model):
    i = next(i for i, units in enumerate(data.annotations.action_units) if units.startswith(("L", "R")))
    moving, clip = data.moving_face(i), align_clip(data[i], 56)
    effects = unit_effects(model, moving, 0)
    assert set(effects.unit) == {*moving.motion.units, *map(str, (1, 2, 4, 5, 6, 7, 9, 12, 14, 15, 17, 24))}
    regions = clip_regions(clip)
    assert set(effects.unit) <= set(regions)
    sided, both = regions[clip.action_units[0]], regions[clip.action_units[0][1:]]
    assert sided.sum() < both.sum()


def test_what_cannot_be_asked_is_refused(data, model):
    moving = data.moving_face(0)
    with pytest.raises(ValueError, match="target 5 is none of the model's 5 classes"):
        unit_effects(model, moving, 5, units=["12"])
    with pytest.raises(ValueError, match="99"):
        unit_effects(model, moving, 0, units=["99"])
