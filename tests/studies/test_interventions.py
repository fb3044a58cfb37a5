from dataclasses import replace

import numpy as np
import pytest
import torch

from studies.interventions import INTERVENTIONS, intervene, intervention_scores
from tsfmicro_lab.models import create_model
from tsfmicro_lab.training import Recipe, fit, predict, to_inputs


def make(name, classes=5):
    return create_model(f"tsfmicro_{name}", classes, seed=1).eval()


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


def test_what_stands_in_comes_from_other_subjects(samples):
    """Swaps and means hold nothing of the subject, grey is 0, noise is as strong as the own picture."""
    model, index = make("late"), np.flatnonzero(samples.subjects == "sub01")
    seen = []
    model.register_forward_pre_hook(lambda _, given: seen.append(dict(zip(model.input_names, given, strict=True))))
    table = intervene(model, samples, index, donors=3)
    calls = [name for name, rows in table.groupby("intervention", sort=False) for _ in range(len(rows) // len(index))]
    assert len(calls) == len(seen)
    own = to_inputs(samples.onset[index], samples.apex[index])
    for name, given in zip(calls, seen, strict=True):
        stream, what = INTERVENTIONS[name]
        for other in own.keys() - {stream}:
            assert torch.equal(given[other], own[other])
        if what == "another":
            assert all(not torch.equal(a, b) for a in given[stream] for b in own[stream])
        elif what == "grey":
            assert not given[stream].any()
        elif what == "noise":
            assert torch.allclose(given[stream].std((2, 3)), own[stream].std((2, 3)), rtol=0.1)
            assert (given[stream] - own[stream]).abs().mean() > 0.1
        elif what == "mean":
            others = to_inputs(*(samples[n][samples.subjects != "sub01"] for n in ("onset", "apex")))[stream]
            assert torch.allclose(given[stream], others.mean(0).expand_as(given[stream]), atol=1e-5)


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
    alone = replace(samples, table=samples.table.assign(subject="sub01"))
    with pytest.raises(ValueError, match="all samples are of one subject"):
        intervene(make("late"), alone, np.arange(3))


def test_a_model_of_one_stream_has_nothing_to_take_away(samples):
    with pytest.raises(ValueError, match="tsfmicro_temporal reads difference and adds no two streams"):
        intervene(make("temporal"), samples, np.arange(2))
