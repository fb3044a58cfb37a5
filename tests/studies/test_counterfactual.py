import numpy as np
import pytest
import torch

from studies.counterfactual import counterfactual_logits, unit_effects
from tsfmicro_lab.data.motion import ACTION_UNITS
from tsfmicro_lab.explain.regions import clip_regions
from tsfmicro_lab.models import create_model
from tsfmicro_lab.preprocess import align_clip
from tsfmicro_lab.training import predict


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
    effects = unit_effects(model, moving, 0, pixels=100.0)  # farther than skin goes: cut there
    both = clip.action_units[0][1:]
    assert set(effects.unit) == {*moving.motion.units, *ACTION_UNITS} - {both}, "nobody shows L12 and 12 together"
    regions = clip_regions(clip)
    assert set(effects.unit) <= set(regions)
    sided, both = regions[clip.action_units[0]], regions[both]
    assert sided.sum() < both.sum()


def test_what_cannot_be_asked_is_refused(data, model):
    moving = data.moving_face(0)
    with pytest.raises(ValueError, match="target 5 is none of the model's 5 classes"):
        unit_effects(model, moving, 5, units=["12"])
    with pytest.raises(ValueError, match="99"):
        unit_effects(model, moving, 0, units=["99"])
