import numpy as np
import pytest
import torch

from tsfmicro_lab.explain.streams import stream_activations, stream_weights
from tsfmicro_lab.models import create_model

FUSIONS = ["late", "early", "t2s", "s2t"]


def make(name, classes=5):
    return create_model(f"tsfmicro_{name}", classes, seed=1).eval()


def test_weights_come_back_even_after_an_error():
    model = make("late")
    weights = stream_weights(model, difference=0.5, onset=0)
    weights.__enter__()
    assert (model.fuse.how_weight, model.fuse.where_weight) == (0.5, 0)
    weights.__exit__(RuntimeError, RuntimeError(), None)
    assert (model.fuse.how_weight, model.fuse.where_weight) == (1, 1)


@pytest.mark.parametrize("name", FUSIONS)
def test_inside_are_the_streams_that_are_added(name):
    model = make(name)
    inputs = {n: torch.randn(1, 3, 56, 56) for n in model.input_names}
    inside = stream_activations(model, inputs)
    with torch.no_grad():
        assert np.allclose(inside.logits, model(*inputs.values())[0], atol=1e-6)
    bias = model.classifier.head.bias.detach().numpy()
    assert np.allclose(inside.evidence.mean((1, 2)) + bias, inside.logits, atol=1e-5)
    with stream_weights(model, difference=2, onset=0):
        louder = stream_activations(model, inputs)
    assert np.allclose(louder.streams["difference"], 2 * inside.streams["difference"])
    assert not louder.streams["onset"].any()
    other = stream_activations(model, {**inputs, "onset": torch.randn(1, 3, 56, 56)})
    assert np.array_equal(other.streams["difference"], inside.streams["difference"])
    assert not np.allclose(other.streams["onset"], inside.streams["onset"])


def test_a_model_of_one_stream_has_nothing_to_weigh(samples):
    with pytest.raises(ValueError, match="tsfmicro_temporal reads difference and adds no two streams"):
        stream_activations(make("temporal"), {"difference": torch.zeros(1, 3, 56, 56)})
