"""MMNet against numbers of its public code, and what its parts do."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from public_code import checkpoint, error
from torch.nn import functional as F

from studies.official import from_official
from tsfmicro_lab.data import Distractors, SyntheticMicroExpressions, prepare
from tsfmicro_lab.explain import where_how
from tsfmicro_lab.explain.streams import stream_activations, stream_weights
from tsfmicro_lab.models import create_model
from tsfmicro_lab.models.mmnet import MMNet
from tsfmicro_lab.training import Recipe, fit


@pytest.fixture(scope="module")
def reference(golden):
    return json.loads((golden / "mmnet.json").read_text())


@pytest.fixture(scope="module")
def state(reference):
    return checkpoint(reference["shapes"])


@torch.no_grad()
def test_the_public_codes_logits_are_met(reference, state):
    """Most of a logit is the position branch: so the motion is looked at alone, and thirty times as strong."""
    with pytest.warns(UserWarning, match=r"mmnet .* never uses them: timeembed, pos\.0\.weight, .*head\.1\.weight"):
        model = from_official(state)
    assert sum(p.numel() for p in model.parameters()) == reference["parameters"] - 532_106
    rs = np.random.RandomState(7)
    onset = rs.standard_normal((2, 3, 224, 224))
    apex = onset + 0.1 * rs.standard_normal((2, 3, 224, 224))
    onset, apex = (torch.from_numpy(x.astype(np.float32)) for x in (onset, apex))
    assert error(model(onset, apex - onset), reference["logits"]) < 1e-4
    assert error(model(onset, torch.zeros_like(onset)), reference["logits_apex_equals_onset"]) < 1e-4
    model.fuse.where_weight = 0
    stages = list(model.temporal.steps(model.stem(apex - onset)))
    for n, (out, weights) in enumerate(stages, start=1):
        for x, name in ((out, "features"), (weights, "attention map")):
            told = reference["intermediate"][f"main_branch.layer{n} ({name})"]
            assert list(x.shape) == told["shape"]
            assert float(x.mean()) == pytest.approx(told["mean"], rel=1e-5)
            assert float(x.std(correction=0)) == pytest.approx(told["std"], rel=1e-4)
    alone = model.classifier(stages[-1][0])
    assert error(alone, reference["logits_position_zero"]) < 1e-5
    assert error(model(onset, 30 * (apex - onset)), reference["logits_position_zero_x30"]) < 1e-5
    assert error(alone, reference["logits_position_zero_x30"]) > 0.1, "this test hears the motion"


def narrow(name, x):
    """The form for three classes widens its perceptrons by two instead of four."""
    return x[:1024] if ".fc1." in name else x[:, :1024] if name.endswith("fc2.weight") else x


def test_the_form_for_three_classes_is_recognised_and_mistakes_are_listed(state):
    three = {n.replace("head.1.", "head1.1."): narrow(n, x) for n, x in state.items()}
    three |= {n.replace("blocks.1", "blocks.2"): x for n, x in three.items() if "blocks.1" in n}
    with pytest.warns(UserWarning, match=r"head1\.1\.weight"):
        model = from_official(three)
    assert model.config == replace(MMNet.presets["three"], num_classes=5)
    assert sum(p.numel() for p in model.parameters()) == 9_974_531 - 532_106
    del three["main_branch.layer3.0.attn.0.weight"]
    three["vit_pos.blocks.3.norm1.bias"] = torch.zeros(512)
    with pytest.raises(ValueError, match="does not fit mmnet at base size:") as refusal:
        from_official(three)
    assert "\n  temporal.stages.layer3.attention.0.weight is missing, expected (1, 2, 1, 1)" in str(refusal.value)
    assert "\n  spatial.vit.blocks.3.norm1.bias is (512,), expected nothing" in str(refusal.value)


@torch.no_grad()
def test_attention_is_handed_on():
    """What a stage leaves out stays left out."""
    model = create_model("mmnet", 3, seed=0).eval()
    x = model.stem(torch.randn(1, 3, 56, 56))
    [(_, first), (_, second)] = model.temporal.steps(x)
    stage = model.temporal.stages["layer1"]
    stage.attention.register_forward_hook(lambda _, __, a: torch.where(torch.arange(28) < 14, 0.0, a))
    [(_, half), (out, left)] = model.temporal.steps(x)
    assert torch.equal(half[..., 14:], first[..., 14:])
    assert not left[..., :7].any()
    assert not out[..., :7].any()
    assert left[..., 8:].all()
    assert bool((second <= F.max_pool2d(first, 3, 2, 1)).all()), "no stage gives back what one before it took"


@pytest.mark.parametrize("temporal", ["attention", "retention"])
def test_what_looks_inside_tsfmicro_looks_inside_mmnet(temporal):
    """What each place says for a class, and how the streams are told apart."""
    model = create_model("mmnet", 3, seed=0, temporal=temporal).eval()
    inputs = dict(zip(model.input_names, torch.randn(2, 1, 3, 56, 56), strict=True))
    found = stream_activations(model, inputs)
    bias = model.classifier.head.bias.detach().numpy()
    assert np.allclose(found.evidence.mean((1, 2)) + bias, found.logits, atol=1e-5)
    for method in ("token Grad-CAM", "attention relevance", "rollout", "integrated gradients"):
        maps = where_how(model, inputs, method=method, steps=8)
        assert maps["onset"].any(), method
        assert maps["difference"].any(), method
    with stream_weights(model, difference=0):
        still = model(**inputs)
        assert torch.equal(model(inputs["onset"], -inputs["difference"]), still)


@torch.no_grad()
def test_its_thumbnail_sees_only_the_middle_of_each_field():
    model, onset = create_model("mmnet", 3, seed=0).eval(), torch.randn(1, 3, 56, 56)
    inside = torch.ones(56, dtype=torch.bool)
    inside[0::4] = inside[3::4] = False
    assert torch.allclose(model.spatial(onset), model.spatial(onset * inside), atol=1e-6)
    assert not torch.allclose(model.spatial(onset), model.spatial(onset * ~inside), atol=1e-2)


@pytest.mark.parametrize("temporal", ["attention", "retention"])
def test_it_learns_with_attention_or_retention_in_one_body(temporal):
    data = SyntheticMicroExpressions(3, 8, image_size=96, seed=3, distractors=Distractors.none(), amplitude=(3, 3))
    model = create_model("mmnet", seed=0, temporal=temporal)
    samples = prepare(data, 56, progress=False)
    losses = fit(model, samples, np.arange(len(samples)), Recipe(epochs=12), seed=0)
    shares = np.bincount(samples.label) / len(samples)
    assert losses[-1] < 0.6 * -(shares * np.log(shares)).sum(), "no better than knowing how common each class is"


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_motion_branch_is_refused():
    with pytest.raises(ValueError, match="unknown temporal 'convolution': choose from attention, retention"):
        create_model("mmnet", temporal="convolution")
