"""The fields of a recipe do what torch's parts of the same name do, and a training goes on bit for bit with each."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F
from torch.optim import lr_scheduler

from tsfmicro_lab.models import create_model
from tsfmicro_lab.models.base import cross_entropy
from tsfmicro_lab.preprocess import POINT_NAMES
from tsfmicro_lab.training import Checkpoint, Recipe, Run, fit, loop, protocols, run_fold
from tsfmicro_lab.training.loop import criterion_of
from tsfmicro_lab.training.splits import nested_leave_one_subject_out

SCHEDULES = {
    "exponential": lambda o: lr_scheduler.ExponentialLR(o, 0.5),
    "step": lambda o: lr_scheduler.StepLR(o, 2, 0.5),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, 6),
    "cosine, again": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 4),
}


def rates(schedule, epochs):
    found = []
    for _ in range(epochs):
        found.append(schedule.get_last_lr()[0])
        schedule.optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("warmup", [0, 3])
def test_schedules_are_those_of_torch(name, warmup):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
    schedule = SCHEDULES[name](optimizer)
    if warmup:
        rising = lr_scheduler.LinearLR(optimizer, 1 / (warmup + 1), total_iters=warmup)
        schedule = lr_scheduler.SequentialLR(optimizer, [rising, schedule], [warmup])
    decay = {"exponential": {"decay": 0.5}, "step": {"decay": 0.5, "decay_epochs": 2}, "cosine": {}}
    decay = (decay | {"cosine, again": {"decay_epochs": 4}})[name]
    recipe = Recipe(6 + warmup, schedule=name.partition(",")[0], warmup=warmup, **decay)
    expected = rates(schedule, recipe.epochs)
    assert [recipe.rate(epoch) for epoch in range(1, recipe.epochs + 1)] == pytest.approx(expected)
    assert len(set(expected)) > 2


def test_the_exponential_decay_ends_after_its_epochs():
    recipe = Recipe(schedule="exponential", decay=0.5, decay_epochs=2)
    assert [recipe.rate(epoch) for epoch in (1, 2, 3, 4, 5)] == [1, 0.5, 0.25, 0.25, 0.25]


@pytest.mark.parametrize(
    ("settings", "reference"),
    [
        ({"optimizer": "adamw"}, partial(torch.optim.AdamW, weight_decay=0.1)),
        ({"optimizer": "adam"}, partial(torch.optim.Adam, weight_decay=0.1)),
        ({"optimizer": "sgd", "momentum": 0.8}, partial(torch.optim.SGD, weight_decay=0.1, momentum=0.8)),
        ({"optimizer": "sgd", "clip_norm": 0.01}, partial(torch.optim.SGD, weight_decay=0.1, momentum=0.9)),
    ],
)
def test_optimizers_and_clipping_are_those_of_torch(samples, monkeypatch, settings, reference):
    """Three epochs of one batch each, against the loop that anybody would write."""
    monkeypatch.setattr(loop, "Augmentation", lambda *_: lambda batch: batch)
    recipe = Recipe(epochs=3, batch_size=20, lr=1e-2, **settings)
    net, plain = (create_model("off_apexnet", 5, seed=0) for _ in range(2))
    flow = torch.randn(40, 2, 28, 28)
    fit(net, replace(samples, tensors={"flow_tvl1": flow}), np.arange(20), recipe)
    optimizer = reference(plain.parameters(), 1e-2)
    for epoch in (1, 2, 3):
        optimizer.param_groups[0]["lr"] = 1e-2 * recipe.rate(epoch)
        optimizer.zero_grad()
        F.cross_entropy(plain(**plain.inputs({"flow_tvl1": flow[:20]})), samples.label[:20]).backward()
        if recipe.clip_norm:
            torch.nn.utils.clip_grad_norm_(plain.parameters(), recipe.clip_norm)
        optimizer.step()
    ends = [
        torch.nn.utils.parameters_to_vector(x.parameters())
        for x in (create_model("off_apexnet", 5, seed=0), net, plain)
    ]
    moved = (ends[2] - ends[0]).norm()
    assert moved > 1e-4
    assert (ends[1] - ends[2]).norm() < 0.01 * moved


def test_class_weights_are_those_of_torch():
    torch.manual_seed(0)
    logits, label, weight = torch.randn(12, 3), torch.arange(12) % 3, torch.tensor([0.2, 1.0, 3.0])
    assert torch.allclose(cross_entropy(logits, label, weight), F.cross_entropy(logits, label, weight))
    assert torch.allclose(cross_entropy(logits, label), F.cross_entropy(logits, label))
    units = (logits > 0).flip(0).long()
    expected = F.binary_cross_entropy_with_logits(logits, units.float(), pos_weight=weight)
    assert torch.allclose(cross_entropy(logits, units, weight), expected)


def test_the_focal_loss_is_that_of_its_paper():
    """-(1 - p)^gamma log p, by hand; and no slope is lost where a model is sure."""
    torch.manual_seed(0)
    logits, label, weight = torch.randn(12, 3), torch.arange(12) % 3, torch.tensor([0.2, 1.0, 3.0])
    p = logits.softmax(1)[torch.arange(12), label]
    each = -((1 - p) ** 2) * p.log()
    assert torch.allclose(cross_entropy(logits, label, focal=2), each.mean())
    expected = (each * weight[label]).sum() / weight[label].sum()
    assert torch.allclose(cross_entropy(logits, label, weight, 2), expected)
    units = (logits > 0).flip(0).long()
    q = torch.where(units > 0, logits.sigmoid(), 1 - logits.sigmoid())
    assert torch.allclose(cross_entropy(logits, units, focal=2), (-((1 - q) ** 2) * q.log()).mean())
    for gamma in (0.5, 1.0, 2.0):
        sure = torch.tensor([[200.0, -200.0, 0.0]], requires_grad=True)
        cross_entropy(sure, torch.tensor([0]), focal=gamma).backward()
        assert sure.grad.isfinite().all()


def test_class_weights_are_counted_on_the_training_clips_alone():
    label = torch.tensor([0, 0, 0, 1, 2, 2, 2, 2])
    rows = torch.arange(4)
    weights = criterion_of(Recipe(class_weights=True), label[rows], 3).keywords["weight"]
    assert weights[:2].tolist() == pytest.approx([1 / 3, 1.0])
    units = torch.tensor([[1, 0], [1, 0], [1, 1], [0, 0]])
    assert criterion_of(Recipe(class_weights=True), units, 2).keywords["weight"].tolist() == pytest.approx([1 / 3, 3])
    assert criterion_of(Recipe(), label, 3).keywords["weight"] is None


@pytest.mark.parametrize(
    "field", [{"class_weights": True}, {"focal": 2.0}, {"clip_norm": 0.05}, {"warmup": 1}, {"flip": 0.0}]
)
@pytest.mark.parametrize("name", ["tsfmicro_spatial", "frl_dgt"])
def test_every_field_reaches_the_training(samples, field, name):
    """Also to a model with losses of its own (FRL-DGT): without the field the parameters end elsewhere."""
    dgt = name == "frl_dgt"
    given = samples.with_tensors(landmarks=torch.rand(40, len(POINT_NAMES), 2) * 56) if dgt else samples
    rows = np.flatnonzero(samples.label.numpy() != 1)[:19]
    ends = []
    for recipe in (Recipe(epochs=1), Recipe(epochs=1, **field)):
        net = create_model(name, 5, seed=0, **({"pretrain_epochs": 0} if dgt else {}))
        fit(net, given, rows, recipe)
        ends.append(torch.nn.utils.parameters_to_vector(net.parameters()))
    assert not torch.allclose(*ends, atol=1e-4)


KINDS = {
    "sgd, step": Recipe(4, 8, optimizer="sgd", schedule="step", decay=0.5, decay_epochs=2, clip_norm=1.0),
    "adam, cosine": Recipe(4, 8, optimizer="adam", schedule="cosine", warmup=2, weight_decay=0.0),
    "adamw, weights": Recipe(4, 8, schedule="exponential", decay=0.9, warmup=1, class_weights=True, focal=2.0),
}


class Killed(Exception):
    pass


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_goes_on_bit_for_bit_with_every_schedule(samples, tmp_path, kind):
    def go(name, stop=0):
        def look(epoch, _):
            if epoch == stop:
                raise Killed

        net = create_model("tsfmicro_spatial", 5, seed=0)
        losses = fit(net, samples, np.arange(24), KINDS[kind], after_epoch=look, checkpoint=Checkpoint(tmp_path / name))
        return losses, net.state_dict()

    with pytest.raises(Killed):
        go("a", stop=3)
    (losses, resumed), (expected, whole) = go("a"), go("b")
    assert losses == expected
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "lion"}, "unknown optimizer 'lion': choose from adamw, adam, sgd"),
        ({"schedule": "linear"}, "unknown schedule 'linear': choose from exponential, step, cosine"),
        ({"focal": -1.0}, "focal of a recipe must be at least 0, got -1"),
        ({"decay": 0.9}, "decay 0.9 is of schedule 'exponential' or 'step', not of 'cosine': name one"),
        ({"decay_epochs": 0}, "decay_epochs of a recipe must be at least 1"),
        ({"patience": -2}, "patience of a recipe must be at least 0"),
    ],
)
def test_recipes_that_mean_nothing_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**settings)


def test_patience_wants_validation_subjects(samples):
    patient = Recipe(patience=2)
    for selection in ("last", "oracle"):
        with pytest.raises(ValueError, match=f"patience ends a training by validation subjects, .* '{selection}' has"):
            Run(recipe=patient, selection=selection)
    with pytest.raises(ValueError, match="patience needs validation subjects: use run_fold or cross_validate"):
        fit(create_model("tsfmicro_spatial", 5), samples, np.arange(20), patient)


def test_training_ends_when_validation_subjects_learn_no_more(samples, monkeypatch, tmp_path):
    """Best in the second of seven epochs: with patience 3 the fifth is the last, and a killed fold ends there, too."""
    told = [0.3, 0.5, 0.4, 0.5, 0.2, 0.9, 0.9, 0.9]
    fold = nested_leave_one_subject_out(samples.annotations)[0]
    run = Run("tsfmicro_spatial", recipe=Recipe(7, patience=3), selection="validation")

    def go(folder, stop=99):
        seen = []

        def uf1(model, given, rows):
            if len(seen) == stop:
                raise Killed
            if len(rows) == len(fold.validation):
                seen.append(1)
                return told[len(seen) - 1 + skipped]
            return 0.0

        monkeypatch.setattr(protocols, "_uf1", uf1)
        return run_fold(run, samples, fold, checkpoints=tmp_path / folder)

    skipped = 0
    rows = go("whole")
    assert rows.attrs["epochs"] == 5
    assert set(rows.epoch) == {4}, "the later of two that are equally good is kept"
    with pytest.raises(Killed):
        go("killed", stop=3)
    skipped = 3
    pd.testing.assert_frame_equal(go("killed"), rows)
    skipped = 5
    again = go("whole")  # a fold that had ended is not trained further
    pd.testing.assert_frame_equal(again, rows)
    assert again.attrs["epochs"] == 5
