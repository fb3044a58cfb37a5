"""Widgets as a reader uses them, without a browser: move a control, read the picture back."""

import re

import cv2
import numpy as np
import pytest
import torch

from studies.retention_explorer import RetentionExplorer
from tsfmicro_lab.models import create_model
from tsfmicro_lab.models.retention import ManhattanRetention
from tsfmicro_lab.training import to_inputs
from tsfmicro_lab.widgets import FusionExplorer


def decode(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def make(name, **settings):
    return create_model(f"tsfmicro_{name}", 5, seed=2, **settings).eval()


def drawn(pictures):
    """What the browser is told of each picture, without its heading."""
    return [{name: value for name, value in pane.items() if name != "title"} for pane in pictures.panes]


@pytest.mark.parametrize("name", ["late", "early", "t2s", "s2t"])
def test_fusion_sliders_move_logits_and_maps(samples, name):
    model = make(name)
    explorer = FusionExplorer(model, samples, 3)
    onset, difference, how, where, evidence = before = drawn(explorer.pictures[name])
    assert decode(onset["face"]).shape == (56, 56, 3)
    assert difference["shape"] == (56, 56)
    assert how["shape"] == where["shape"]
    assert evidence["shape"] in ((28, 28), (14, 14))
    logits = explorer.activations[name].logits
    explorer.where_weight = 0
    after = drawn(explorer.pictures[name])
    assert after[:3] == [onset, difference, how]
    assert after[3] != where
    assert after[4] != evidence
    with torch.no_grad():
        model.fuse.where_weight = 0
        expected = model(*to_inputs(samples.onset[[3]], samples.apex[[3]]).values())[0]
    assert np.allclose(explorer.activations[name].logits, expected, atol=1e-5)
    model.fuse.where_weight = 1
    explorer.penalty = 4
    assert not np.allclose(explorer.activations[name].logits, expected, atol=1e-6)
    explorer.reset()
    assert np.allclose(explorer.activations[name].logits, logits, atol=1e-6)
    assert drawn(explorer.pictures[name]) == before


def test_the_readers_model_is_not_touched(samples):
    model = make("late")
    decays = [m.gamma.clone() for m in model.modules() if isinstance(m, ManhattanRetention)]
    explorer = FusionExplorer(model, samples)
    explorer.penalty, explorer.how_weight = 0, 0.3
    layers = [m for m in model.modules() if isinstance(m, ManhattanRetention)]
    assert all(torch.equal(m.gamma, gamma) for m, gamma in zip(layers, decays, strict=True))
    assert model.fuse.how_weight == 1


def test_another_subjects_onset_frame_is_read_and_named(samples):
    explorer = FusionExplorer(make("late"), samples, 0)
    other = int(np.flatnonzero(samples.subjects == "sub03")[0])
    picture = drawn(explorer.pictures["late"])[0]
    explorer.onset_from = other
    assert drawn(explorer.pictures["late"])[0] != picture
    assert "onset frame of sub03" in explorer.story.value
    inputs = to_inputs(samples.onset[[0]], samples.apex[[0]])
    inputs["onset"] = to_inputs(samples.onset[[other]], samples.apex[[other]])["onset"]
    with torch.no_grad():
        assert np.allclose(explorer.activations["late"].logits, explorer.models["late"](*inputs.values())[0], atol=1e-5)


def test_bars_show_probabilities_and_the_chosen_class(samples):
    explorer = FusionExplorer({"a": make("late"), "b": make("t2s", inject="after")}, samples)
    for name in ("a", "b"):
        levels = explorer.bars[name].probabilities
        assert sum(levels) == pytest.approx(1, abs=1e-5)
        bold = re.findall(r"600'><td>(.*?)<td", explorer.bars[name].value)
        assert bold == [samples.classes[int(np.argmax(levels))]]
    evidence = drawn(explorer.pictures["a"])[4]
    others = [c for c in samples.classes if samples.classes.index(c) != int(explorer.activations["a"].logits.argmax())]
    explorer.target = others[0]
    assert drawn(explorer.pictures["a"])[4] != evidence
    still = decode(explorer.snapshot().data)
    assert min(still.shape[:2]) > 400, "two rows of five"
    assert "evidence: orange for" in explorer.story_text()


def test_the_where_map_of_the_late_variant_is_not_flat(samples):
    """Its tokens leave a layer norm with equal lengths; what differs is their direction."""
    where = FusionExplorer(make("late"), samples).activations["late"].streams["onset"]
    assert where.std() > 0.05 * where.mean()


def test_retention_explorer_shows_the_row_of_the_layer(samples):
    model = make("temporal")
    explorer = RetentionExplorer(model, samples, 2)
    layer = model.temporal.stages[0][0].retention
    seen = []
    layer.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    with torch.no_grad():
        model(to_inputs(samples.onset[[2]], samples.apex[[2]])["difference"])
        expected = layer.weights(seen[0])[0, 0, 14 * 28 + 14].reshape(28, 28)
    assert np.allclose(explorer.weights, expected, atol=1e-5)
    first = drawn(explorer.pictures)[0]
    explorer.row = 3
    assert drawn(explorer.pictures)[0] != first
    explorer.pictures.place = [0.1, 0.99]
    assert (explorer.column, explorer.row) == (2, 27)
    probabilities = explorer.bars.probabilities
    explorer.decay = 1
    assert explorer.bars.probabilities != probabilities
    with torch.no_grad():
        layer.set_decay(torch.tensor([1.0, float(layer.gamma[1])]))
        expected = model(to_inputs(samples.onset[[2]], samples.apex[[2]])["difference"])[0].softmax(0)
    assert explorer.bars.probabilities == pytest.approx(expected.tolist(), abs=1e-5)
    _, content, both = drawn(explorer.pictures)
    assert content == both, "without decay, content is all that is left"


def test_retention_explorer_follows_layer_and_head(samples):
    explorer = RetentionExplorer(make("late"), samples)
    explorer.row = 27
    explorer.layer = list(explorer.layers)[1]
    assert explorer.weights.shape == (14, 14)
    assert explorer.controls["row"][0].max == 13
    assert "all pairs" in explorer.story.value
    before = explorer.decay
    explorer.head = 1
    assert explorer.decay > before
    assert explorer.weights.sum() == pytest.approx(1, abs=1e-4)


def test_models_without_the_thing_to_explore_are_refused(samples):
    with pytest.raises(ValueError, match="tsfmicro_spatial has no retention"):
        RetentionExplorer(make("spatial"), samples)
    with pytest.raises(ValueError, match="reads onset and adds no two streams"):
        FusionExplorer(make("spatial"), samples)
    with pytest.raises(ValueError, match=r"'onset' must be .* \(batch, 3, 112, 112\)"):
        FusionExplorer(make("late", preset="small"), samples)
