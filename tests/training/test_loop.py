from dataclasses import replace

import numpy as np
import pytest
import torch

from tsfmicro_lab.data import Distractors, SyntheticMicroExpressions, prepare
from tsfmicro_lab.data.tensors import KEY_FRAMES, STRONGEST
from tsfmicro_lab.models import create_model
from tsfmicro_lab.training import RECIPES, Recipe, fit, predict
from tsfmicro_lab.training.loop import _batches, training_batch

QUICK = Recipe(epochs=2)


def model(seed=0, name="tsfmicro_late"):
    return create_model(name, 5, "tiny", seed=seed, dims=(8, 16))


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
