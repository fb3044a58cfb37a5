import numpy as np
import pytest
import torch

from studies import graphed
from studies.graphed import fit_graphed
from tsfmicro_lab.data import SyntheticMicroExpressions, prepare
from tsfmicro_lab.models import create_model
from tsfmicro_lab.training import Recipe, fit


def learnt(learn, accelerator, name="ststnet", epochs=3, seed=0):
    model = create_model(name, 5, seed=0, **({"flow": "dis"} if name == "ststnet" else {}))
    samples = prepare(
        SyntheticMicroExpressions(2, 5, image_size=64), model.config.image_size, tensors=model.prepared, progress=False
    )
    losses = learn(
        model, samples, np.arange(9), Recipe(epochs=epochs, batch_size=4), seed=seed, accelerator=accelerator
    )
    return losses, model.logits(samples)


@pytest.mark.parametrize("name", ["ststnet", "tsfmicro_temporal"])
def test_without_a_gpu_its_steps_are_those_of_the_training_loop(name):
    (losses, logits), (known, others) = (learnt(learn, "cpu", name) for learn in (fit_graphed, fit))
    assert losses == pytest.approx(known, rel=1e-5)
    assert torch.allclose(logits, others, atol=1e-3)
    assert learnt(fit_graphed, "cpu", name, seed=1)[0] != pytest.approx(known, rel=1e-5)


@pytest.mark.parametrize(("name", "left"), [("slstt_lstm", True), ("frl_dgt", True), ("slstt_mean", False)])
def test_what_a_graph_spoils_is_left_to_the_training_loop(name, left, monkeypatch):
    monkeypatch.setattr(graphed, "fit", lambda *_, **__: [-1.0])
    model = create_model(name, 5, seed=0)
    samples = prepare(SyntheticMicroExpressions(1, 3, image_size=64), 56, tensors=model.prepared, progress=False)
    losses = fit_graphed(model, samples, np.arange(3), Recipe(epochs=1), accelerator="cpu")
    assert (losses == [-1.0]) == left


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU with CUDA")
def test_a_graph_learns_like_the_training_loop():
    (losses, _), (known, _) = (learnt(learn, "cuda", epochs=30) for learn in (fit_graphed, fit))
    assert losses[-1] == pytest.approx(known[-1], abs=0.3)
    assert losses[-1] < losses[0]
