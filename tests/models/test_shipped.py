"""The models that ship: scores on new heads, calibration, what they do not tell, and that they are there."""

import copy
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn import functional as F

from tsfmicro_lab.clips import Clip
from tsfmicro_lab.data import Samples, SyntheticMicroExpressions, prepare
from tsfmicro_lab.models import SHIPPED, checkpoint_folder, from_pretrained
from tsfmicro_lab.models.base import UNSURE, cross_entropy
from tsfmicro_lab.training import decide, predict
from tsfmicro_lab.training.metrics import f1

#: UF1 on these heads that a shipped model must keep, and what it must have before a linear model on the same flow. It
#: has 0.975, 0.972 and 0.728 here (standard error over people 0.016, 0.014 and 0.048), and at least 0.901, 0.936 and
#: 0.697 on the heads of seeds 92 and 93: the bounds are just below that.
LEAST = {"emotions": (0.90, 0.10), "action_units": (0.93, 0.10), "where_how": (0.68, -1.0)}
TARGETS = {"emotions": "emotion", "action_units": "action_units", "where_how": "emotion"}


@pytest.fixture(scope="module")
def heads():
    """People whom no model has seen: those of training and choosing have seeds from 10,000."""
    return SyntheticMicroExpressions(8, 10, image_size=128, seed=91, balance="uniform")


@pytest.fixture(scope="module")
def of(heads):
    def prepared(name: str) -> tuple[torch.nn.Module, Samples]:
        model = from_pretrained(name)
        samples = prepare(heads, model.config.image_size, target=TARGETS[name], tensors=model.prepared, progress=False)
        return model, as_the_model_names(samples, model.config.classes)

    return {name: prepared(name) for name in SHIPPED}


def as_the_model_names(samples, classes):
    """The samples with a column for every unit that the model knows, those that nobody shows here included."""
    if samples.label.ndim == 1:
        assert samples.classes == classes
        return samples
    at = [samples.classes.index(name) if name in samples.classes else None for name in classes]
    none = torch.zeros(len(samples), dtype=samples.label.dtype)
    label = torch.stack([none if i is None else samples.label[:, i] for i in at], 1)
    return replace(samples, label=label, classes=classes)


def mean_f1(label, said, several):
    """Mean F1 over the classes or units that occur here."""
    if not several:
        label, said = (F.one_hot(torch.as_tensor(x), 5).numpy() for x in (label, said))
    label, said = np.asarray(label), np.asarray(said)
    there = label.sum(0) >= 3
    return float(f1((label * said).sum(0), label.sum(0), said.sum(0))[there].mean())


@pytest.mark.parametrize("name", SHIPPED)
def test_scores_hold_on_new_heads_well_above_the_floors(name, of, heads):
    model, samples = of[name]
    several, every = samples.label.ndim == 2, np.arange(len(samples))
    score = mean_f1(samples.label, decide(predict(model, samples, every), samples.label.ndim), several)
    flow = prepare(heads, 28, tensors=["flow_dis"], progress=False)["flow_dis"].float()
    pooled = F.adaptive_avg_pool2d(flow, 7).flatten(1).numpy()
    linear = LogisticRegression(C=0.3, max_iter=300)
    floor = make_pipeline(StandardScaler(), MultiOutputClassifier(linear) if several else linear)
    label = samples.label.numpy()
    label = label[:, label.sum(0) >= 3] if several else label
    said = cross_val_predict(floor, pooled, label, groups=samples.subjects, cv=LeaveOneGroupOut())
    least, above = LEAST[name]
    floor = mean_f1(label, said, several)
    print(f"{name}: {score:.3f}, a linear model on flow {floor:.3f}")
    commonest = np.zeros_like(samples.label) if several else np.full(len(label), np.bincount(label).argmax())
    assert score > max(least, floor + above, mean_f1(samples.label, commonest, several) + 0.2)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_damaged_model_falls_below_the_bound(name, of):
    """A fifth of the parameters is lost: without this the bound of the test above could be one that nothing misses."""
    model, samples = of[name]
    for seed in range(3):
        damaged, rng = copy.deepcopy(model), torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in damaged.parameters():
                parameter.mul_(torch.rand(parameter.shape, generator=rng) >= 0.2)
        said = decide(predict(damaged, samples, np.arange(len(samples))), samples.label.ndim)
        assert mean_f1(samples.label, said, samples.label.ndim == 2) < LEAST[name][0]


@pytest.mark.parametrize("name", SHIPPED)
def test_the_temperature_is_in_the_logits(name, of):
    """Taken out again, probabilities of new heads get worse; and it is no temperature of 1.

    Those of `where_how` get better on these plain heads, as its card says: it was chosen where everything is varied.
    """
    model, samples = of[name]
    logits, t = model.logits(samples), model.config.temperature
    assert abs(np.log(t)) > 0.02
    helps = bool(cross_entropy(logits, samples.label) < cross_entropy(logits * t, samples.label))
    assert helps == (name != "where_how")


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_told_is_right_more_often_than_what_would_be_without_the_rule(name, of):
    model, samples = of[name]
    logits = model.logits(samples)
    bolder = replace(model.config, certain=0.02)
    truth = [text.split("+") for text in samples.names(samples.label)]

    def told(config):
        model.config, kept = config, model.config
        said = [[] if text == UNSURE else text.split("+") for text in model.tell(logits)]
        model.config = kept
        return [one in there for own, there in zip(said, truth, strict=True) for one in own]

    assert len(told(model.config)) > 0.1 * len(samples)
    assert np.mean(told(model.config)) > np.mean(told(bolder))
    assert np.mean(told(model.config)) > 0.85


@pytest.mark.parametrize("name", SHIPPED)
def test_it_cannot_tell_where_nothing_moves_and_seldom_speaks_of_noise(name, heads):
    model, rng = from_pretrained(name), np.random.default_rng(0)
    said = {"still": [], "noise": []}
    for i in range(0, 80, 5):
        clip = heads[i]
        noise = [rng.integers(0, 256, (128, 128, 3)).astype(np.uint8) for _ in range(2)]
        for kind, frames in {"still": [clip.frame(clip.onset)] * 2, "noise": noise}.items():
            said[kind] += model.tell(model.logits(Clip("x", "y", frames, 0, 1, 1, landmarks=clip.landmarks)))
    assert said["still"] == [UNSURE] * 16
    assert said["noise"].count(UNSURE) >= 12


@pytest.mark.parametrize("name", SHIPPED)
def test_it_is_small_and_has_a_card(name):
    folder = checkpoint_folder(name)
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 2**20
    card = " ".join((folder / "README.md").read_text(encoding="utf-8").split())
    for fact in ("new heads: model", "majority", "linear_flow", "skin tone", "hiring", "not a feeling", "cannot tell"):
        assert fact in card, fact
    assert "No licensed recording, no real micro-expression" in card
    config = json.loads((folder / "config.json").read_text())
    assert f"{config['temperature']:.3f}" in card
    assert f"{config['certain']:.3f}" in card


def test_a_name_comes_before_a_folder(tmp_path, monkeypatch):
    model = from_pretrained("emotions")
    other = from_pretrained("where_how")
    other.save_pretrained(tmp_path / "emotions")
    monkeypatch.chdir(tmp_path)
    assert from_pretrained("emotions").config == model.config
    for folder in ("./emotions", tmp_path / "emotions"):
        assert from_pretrained(folder).config == other.config


def test_a_wrong_name_and_damaged_weights_are_told_in_one_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"emotion holds no model .*or one of emotions, action_units") as wrong:
        from_pretrained("emotion")
    shutil.copytree(checkpoint_folder("emotions"), tmp_path / "m")
    weights = tmp_path / "m" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"no weights can be read from .*give a whole \.safetensors file") as damaged:
        from_pretrained(tmp_path / "m")
    assert "\n" not in str(wrong.value) + str(damaged.value)


def test_units_are_told_together_and_classes_alone():
    units, classes = from_pretrained("action_units"), from_pretrained("emotions")
    high = torch.full((1, units.config.num_classes), 9.0)
    assert units.tell(high) == ["+".join(units.config.classes)]
    assert classes.tell(torch.tensor([[9.0, 0, 0, 0, 0]])) == [classes.config.classes[0]]
    assert units.tell(-high) == classes.tell(torch.zeros(1, 5)) == [UNSURE]
