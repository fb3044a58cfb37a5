"""SLSTT in two stages: the first trains the transformer, the second leaves it, and no fold sees whom it tests."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from studies.two_stages import TwoStages
from tsfmicro_lab.data import SyntheticMicroExpressions, prepare
from tsfmicro_lab.models import create_model, from_pretrained
from tsfmicro_lab.models.slstt import SLSTTLSTM
from tsfmicro_lab.training import Recipe, fit, leave_one_subject_out, run_fold

SGD = Recipe(1, 4, lr=0.05, optimizer="sgd", weight_decay=1e-4, flip=0, degrees=0, shift=0)
RUN = TwoStages("slstt_lstm", recipe=SGD, first=replace(SGD, epochs=2, lr=1e-3))


@pytest.fixture(scope="module")
def samples():
    tensors = (*create_model("slstt_lstm").prepared, "onset", "apex")
    size = create_model("slstt_lstm").config.image_size
    return prepare(SyntheticMicroExpressions(2, 10, 64), size, tensors=tensors, progress=False)


def parts(model):
    return {name: x.clone() for name, x in model.state_dict().items()}


def trained(run, samples, epochs=1):
    model = run.create(len(samples.classes), 0)
    fit(model, samples, np.arange(10), replace(run.recipe, epochs=epochs))
    return parts(model)


def test_the_first_stage_trains_the_transformer_and_the_second_what_follows(samples):
    drawn, one, two = parts(RUN.create(len(samples.classes), 0)), trained(RUN, samples), trained(RUN, samples, 2)
    kept = [name for name in drawn if name.startswith(("vit.blocks", "vit.embed"))]
    assert all(torch.equal(one[name], two[name]) for name in kept), "frozen in the second stage"
    assert not any(torch.equal(drawn[name], one[name]) for name in kept if "weight" in name)
    assert not torch.equal(one["fc2.weight"], two["fc2.weight"])
    longer = trained(replace(RUN, first=replace(RUN.first, epochs=3)), samples)
    assert not torch.equal(one["vit.blocks.0.mlp.0.weight"], longer["vit.blocks.0.mlp.0.weight"])
    still = trained(replace(RUN, first=replace(RUN.first, lr=0.0)), samples)
    assert all(torch.equal(drawn[name], still[name]) for name in kept)
    thawed = replace(RUN, settings={"freeze_encoder": False})
    free = trained(thawed, samples), trained(thawed, samples, 2)
    assert not torch.equal(*(state["vit.blocks.0.mlp.0.weight"] for state in free))


def test_the_first_stage_learns_from_labels_of_the_training_clips_alone(samples):
    seen = []
    fold = leave_one_subject_out(samples.annotations)[0]
    drawn = type(samples).pick

    def pick(self, rows, names=None):
        seen.append(set(torch.as_tensor(rows).tolist()))
        return drawn(self, rows, names)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(samples), "pick", pick)
        model = RUN.create(len(samples.classes), 0)
        fit(model, samples, fold.train, RUN.recipe)
    assert set().union(*seen) == set(fold.train.tolist())
    shuffled = replace(samples, label=samples.label.roll(1))
    one, other = (trained(RUN, each)["vit.blocks.0.mlp.0.weight"] for each in (samples, shuffled))
    assert not torch.equal(one, other)


def test_a_run_travels_and_its_model_is_saved_as_a_plain_one(samples, tmp_path):
    run = pickle.loads(pickle.dumps(RUN))
    assert run == RUN
    fold = leave_one_subject_out(samples.annotations)[0]
    once, again = (run_fold(run, samples, fold, tmp_path / name) for name in "ab")
    assert once.equals(again), "the same bits"
    model = from_pretrained(tmp_path / "a")
    assert type(model) is SLSTTLSTM
    assert np.allclose(model.logits(samples, fold.test).softmax(1), once.filter(like="p_"), atol=1e-6)
