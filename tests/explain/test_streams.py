import numpy as np
import pytest
import torch

from tsfmicro_lab.explain.streams import (
    INTERVENTIONS,
    intervene,
    intervention_scores,
    stream_activations,
    stream_weights,
)
from tsfmicro_lab.models import create_model
from tsfmicro_lab.training import Recipe, fit, predict, to_inputs

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
    for call in (
        lambda m: stream_activations(m, {"difference": torch.zeros(1, 3, 56, 56)}),
        lambda m: intervene(m, samples, np.arange(2)),
    ):
        with pytest.raises(ValueError, match="tsfmicro_temporal reads difference and adds no two streams"):
            call(make("temporal"))


def test_interventions_do_what_they_are_called(samples):
    model, index = make("late"), np.flatnonzero(samples.subjects == "sub02")
    table = intervene(model, samples, index, donors=3, seed=4)
    names = np.array(samples.classes)

    def said(name):
        return list(table.predicted[table.intervention == name])

    assert said("intact") == list(names[predict(model, samples, index).argmax(1)])
    inputs = to_inputs(samples.onset[index], samples.apex[index])
    with torch.no_grad():
        model.fuse.how_weight = 0
        assert said("how off") == list(names[model(*inputs.values()).argmax(1)])
        model.fuse.how_weight, model.fuse.where_weight = 1, 0
        assert said("where off") == list(names[model(*inputs.values()).argmax(1)])
    assert len(said("onset of another")) == len(said("difference of another")) == 3 * len(index)
    assert list(table.intervention.unique()) == list(INTERVENTIONS)
    assert set(table.subject) == {"sub02"}


def test_swaps_come_from_other_subjects(samples, monkeypatch):
    """A model that only reads skin: its answer to a swapped onset is never that of the subject's own."""
    model, index = make("late"), np.flatnonzero(samples.subjects == "sub01")
    seen = []
    model.register_forward_pre_hook(lambda _, x: seen.append(x))
    intervene(model, samples, index, donors=5)
    own = to_inputs(samples.onset[index], samples.apex[index])
    swapped_onset = seen[1:6]
    swapped_difference = seen[7:12]
    assert len(seen) == 13
    for onset, difference in swapped_onset:
        assert torch.equal(difference, own["difference"])
        assert all(not torch.equal(a, b) for a in onset for b in own["onset"])
    for onset, difference in swapped_difference:
        assert torch.equal(onset, own["onset"])
        assert all(not torch.equal(a, b) for a in difference for b in own["difference"])


def test_a_stream_that_tells_the_class_is_missed_and_one_that_does_not_is_not(samples):
    """A planted cue: the apex of each clip gets a corner of its class's brightness, the onset frame tells nothing."""
    apex = samples.onset.clone()
    for i, label in enumerate(samples.label.tolist()):
        apex[i, :, :20, :20] = (samples.onset[i, :, :20, :20].float() * (0.5 + 0.25 * label)).clamp(0, 255).byte()

    planted, everybody = samples.with_tensors(apex=apex), np.arange(len(samples))
    model = create_model("tsfmicro_late", len(samples.classes), seed=0, drop_path=0.0)
    fit(model, planted, everybody, Recipe(epochs=14, degrees=0, shift=0.0))
    lost = intervention_scores(intervene(model, planted, everybody), samples.classes).set_index("intervention").lost
    assert lost["intact"] == 0
    assert lost["how off"] > 0.3
    assert lost["difference of another"] > 0.3
    assert lost["onset of another"] < lost["difference of another"] / 2


def test_one_subject_alone_has_no_donor(samples):
    from dataclasses import replace

    alone = replace(samples, table=samples.table.assign(subject="sub01"))
    with pytest.raises(ValueError, match="all samples are of one subject"):
        intervene(make("late"), alone, np.arange(3))
