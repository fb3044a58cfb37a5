from dataclasses import replace

import numpy as np
import pytest
import torch

from tsfmicro_lab.data import Distractors, SyntheticMicroExpressions, prepare
from tsfmicro_lab.data.tensors import KEY_FRAMES, STRONGEST
from tsfmicro_lab.models import create_model
from tsfmicro_lab.training import RECIPES, Recipe, fit, loop, predict
from tsfmicro_lab.training.loop import _batches, recalibrate, training_batch

QUICK = Recipe(epochs=2)


def model(seed=0, name="tsfmicro_late"):
    return create_model(name, 5, "tiny", seed=seed, dims=(8, 24))


def test_it_learns_what_can_be_learnt():
    """Clear movements without distractors: a trained model recognises most of its own training clips."""
    data = SyntheticMicroExpressions(
        4, 10, image_size=96, seed=1, distractors=Distractors.none(), amplitude=(3, 3), layout_variation=0
    )
    samples = prepare(data, 56, target="emotion_megc", progress=False)
    net = create_model("tsfmicro_late", 3, "tiny", seed=0)
    everything = np.arange(len(samples))
    losses = fit(net, samples, everything, replace(RECIPES["tiny"], epochs=25, shift=0.0, degrees=0.0))
    assert losses[-1] < 0.5 * losses[0]
    correct = predict(net, samples, everything).argmax(1) == samples.label.numpy()
    assert correct.mean() > 0.9


def test_the_same_seed_trains_the_same_model(samples):
    states = []
    for seed in (1, 1, 2):
        net = model()
        fit(net, samples, np.arange(20), QUICK, seed=seed)
        states.append(net.state_dict())
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    assert any(not torch.equal(states[0][k], states[2][k]) for k in states[0])


def test_training_leaves_the_global_random_state_alone(samples):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    fit(model(), samples, np.arange(10), Recipe(epochs=1))
    assert torch.rand(1) == expected


def test_only_the_given_samples_are_seen(samples):
    changed = samples.with_tensors(apex=samples.apex.clone())
    changed.apex[20:] = 0
    nets = []
    for given in (samples, changed):
        nets.append(model())
        fit(nets[-1], given, np.arange(20), QUICK)
    a, b = (net.state_dict() for net in nets)
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_after_epoch_sees_every_epoch_and_evaluation_mode(samples):
    net, seen = model(), []
    losses = fit(net, samples, np.arange(10), QUICK, after_epoch=lambda e, loss: seen.append((e, loss, net.training)))
    assert seen == [(1, losses[0], False), (2, losses[1], False)]


def test_what_nobody_looks_at_is_recalibrated_at_the_end_only(samples, monkeypatch):
    made, nets = [], []
    monkeypatch.setattr(loop, "recalibrate", lambda *given: made.append(1) or recalibrate(*given))
    for looks in (True, False):
        nets.append(model())
        fit(nets[-1], samples, np.arange(20), QUICK, after_epoch=lambda *_: None, looks=looks)
        made.append(0)
    assert made == [1, 1, 0, 1, 0]
    a, b = (net.state_dict() for net in nets)
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_probabilities_sum_to_one_whatever_the_batch(samples):
    net = model()
    rows = predict(net, samples, np.arange(13))
    assert rows.shape == (13, 5)
    assert rows.sum(1) == pytest.approx(np.ones(13), abs=1e-5)
    assert np.allclose(rows, predict(net, samples, np.arange(13), batch_size=4), atol=1e-5)


def test_batches_are_even_complete_and_shuffled():
    for n, size in ((17, 8), (9, 8), (84, 8), (3, 8)):
        parts = _batches(torch.arange(n), size, torch.Generator().manual_seed(1))
        order = torch.cat(parts)
        assert torch.equal(order.sort().values, torch.arange(n))
        assert not torch.equal(order, torch.arange(n))
        lengths = [len(p) for p in parts]
        assert max(lengths) - min(lengths) <= 1


def test_the_strongest_pair_is_trained_on_and_the_annotated_one_tested(data):
    samples = prepare(data, 56, tensors=(*KEY_FRAMES, *STRONGEST), progress=False)
    assert (samples["strongest_apex"] != samples["apex"]).any()
    rows = torch.arange(4)
    batch = training_batch(samples, rows, KEY_FRAMES, strongest_pair=True)
    assert torch.equal(batch["apex"], samples["strongest_apex"][:4])
    assert torch.equal(batch["onset"], samples["strongest_onset"][:4])
    assert torch.equal(training_batch(samples, rows, KEY_FRAMES)["apex"], samples["apex"][:4])
    nets = [model(), model()]
    blind = samples.with_tensors(onset=torch.zeros_like(samples.onset), apex=torch.zeros_like(samples.apex))
    for net, given in zip(nets, (samples, blind), strict=True):
        fit(net, given, np.arange(20), replace(QUICK, strongest_pair=True))
    assert all(torch.equal(w, nets[1].state_dict()[name]) for name, w in nets[0].state_dict().items())
    assert not np.allclose(predict(nets[0], samples, np.arange(5)), predict(nets[0], blind, np.arange(5)))


def test_without_the_strongest_pair_the_message_says_what_to_prepare(samples):
    with pytest.raises(ValueError, match="no 'strongest_onset': prepare"):
        fit(model(), samples, np.arange(20), replace(QUICK, strongest_pair=True))


def test_recalibrated_batch_norm_holds_the_training_clips_statistics(samples):
    """The first batch norm of the stem has the mean of its inputs over the training clips, whatever it held before."""
    net, rows = create_model("tsfmicro_temporal", 5, "tiny", seed=0), np.arange(20)
    norm = next(m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d))
    norm.running_mean += 7
    momentum, parameters = norm.momentum, [p.clone() for p in net.parameters()]
    seen = []
    norm.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0]))
    net.eval()
    recalibrate(net, samples, rows, Recipe(batch_size=5))
    assert torch.allclose(norm.running_mean, torch.cat(seen).mean((0, 2, 3)), atol=1e-4)
    assert norm.momentum == momentum
    assert not any(m.training for m in net.modules())
    assert all(torch.equal(a, b) for a, b in zip(parameters, net.parameters(), strict=True))


def test_a_recipe_without_recalibration_keeps_what_was_gathered(samples):
    nets = []
    for anew in (True, False):
        nets.append(create_model("tsfmicro_temporal", 5, "tiny", seed=0))
        fit(nets[-1], samples, np.arange(20), replace(QUICK, recalibrate=anew))
    (a, b), buffers = nets, dict(nets[0].named_buffers())
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert any(not torch.equal(x, dict(b.named_buffers())[name]) for name, x in buffers.items())
    assert not RECIPES["base"].recalibrate


def test_a_loss_that_is_not_finite_stops_at_once_and_names_the_clips(samples):
    broken = samples.with_tensors(onset=samples.onset.float())
    broken.onset[7] = float("nan")
    subject, clip = samples.table.loc[7, ["subject", "clip"]]
    with pytest.raises(FloatingPointError, match=rf"epoch 1, batch \d+; values of {subject}/{clip} are not finite"):
        fit(model(), broken, np.arange(20), QUICK)


def test_a_learning_rate_that_is_too_large_is_told(samples):
    with pytest.raises(FloatingPointError, match=r"the loss is not finite in epoch .* try a smaller lr"):
        fit(model(), samples, np.arange(20), Recipe(epochs=30, lr=1e12))


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch_size": 0}, {"lr": -1.0}, {"lr": float("nan")}])
def test_recipes_that_train_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} of a recipe must be at least"):
        Recipe(**wrong)


def test_labels_that_the_model_does_not_have_are_told(samples):
    with pytest.raises(ValueError, match="labels run from 0 to 4, but the model has 3 classes"):
        fit(create_model("tsfmicro_late", 3, "tiny", seed=0), samples, np.arange(20), QUICK)


@pytest.mark.parametrize("units", [1, 2, 4])
def test_action_units_that_are_not_the_models_are_told(samples, units):
    label = torch.ones(len(samples), units, dtype=torch.long)
    labelled = replace(samples, label=label, classes=tuple("1234"[:units]))
    message = f"labels have {units} action units each, but the model has 3 classes"
    with pytest.raises(ValueError, match=message):
        fit(create_model("tsfmicro_late", 3, "tiny", seed=0), labelled, np.arange(20), QUICK)
