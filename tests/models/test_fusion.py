"""Each variant against its one line of the paper, and what tells the variants apart."""

import pytest
import torch
from torch import nn

from tsfmicro_lab.models import create_model
from tsfmicro_lab.models.anatomy import anatomy, anatomy_table
from tsfmicro_lab.models.tsfmicro import TSFmicroTemporal
from tsfmicro_lab.models.vit import to_map, to_tokens

FUSIONS = ["late", "early", "t2s", "s2t"]


def make(name, **settings):
    return create_model(f"tsfmicro_{name}", 3, seed=1, **settings).eval()


def pair(batch=2):
    return torch.randn(2, batch, 3, 56, 56)


@torch.no_grad()
def test_early_adds_what_two_stems_see():
    m, (onset, difference) = make("early"), pair()
    by_hand = m.classifier(m.temporal(m.stem(difference) + m.onset_stem(onset)))
    assert torch.allclose(m(onset, difference), by_hand, atol=1e-6)
    assert not torch.allclose(m(onset, difference), m(difference, onset), atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("inject", ["before", "after"])
def test_t2s_adds_the_motion_to_the_tokens(inject):
    m, (onset, difference) = make("t2s", inject=inject), pair()
    vit = m.spatial.vit
    where = vit.embed(m.spatial.thumbnail(onset))
    how = to_tokens(m.temporal(m.stem(difference)))
    both = vit.blocks(where + how) if inject == "before" else vit.blocks(where) + how
    assert torch.allclose(m(onset, difference), m.classifier(to_map(vit.norm(both))), atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize(("inject", "reached"), [("before", 196), ("after", 1)])
def test_only_attention_carries_motion_to_other_places(inject, reached):
    m, maps = make("t2s", inject=inject), []
    m.classifier.register_forward_pre_hook(lambda _, x: maps.append(x[0]))
    onset, difference = pair(1)
    m(onset, difference)
    touch = torch.zeros(1, 196, 1)
    touch[0, 40] = 1
    m.fuse.register_forward_pre_hook(lambda _, x: (x[0] * (1 + touch), x[1]))
    m(onset, difference)
    change = (maps[1] - maps[0])[0].norm(dim=0)
    assert int((change > 1e-6 * change.max()).sum()) == reached
    assert int(change.argmax()) == 40


@torch.no_grad()
@pytest.mark.parametrize("preset", ["tiny", "small"])
def test_s2t_enlarges_the_layout_to_the_stems_size(preset):
    m = make("s2t", preset=preset)
    onset, difference = torch.randn(2, 1, 3, m.config.image_size, m.config.image_size)
    laid_under = m.enlarge(m.spatial(onset))
    assert laid_under.shape == m.stem(difference).shape
    assert torch.allclose(m(onset, difference), m.classifier(m.temporal(m.stem(difference) + laid_under)), atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", FUSIONS)
def test_a_stream_switched_off_is_not_heard(name):
    m = make(name)
    onset, difference = pair()
    other_onset, other_difference = pair()
    m.fuse.where_weight = 0
    assert torch.equal(m(onset, difference), m(other_onset, difference))
    assert not torch.allclose(m(onset, difference), m(onset, other_difference))
    m.fuse.where_weight, m.fuse.how_weight = 1, 0
    assert torch.equal(m(onset, difference), m(onset, other_difference))
    assert not torch.allclose(m(onset, difference), m(other_onset, difference))


@torch.no_grad()
@pytest.mark.parametrize("name", [*FUSIONS, "temporal", "spatial"])
def test_the_mean_of_the_evidence_is_the_logit(name):
    m, seen = make(name), []
    m.classifier.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    logits = m(*pair()[: len(m.input_names)])
    evidence = m.classifier.evidence(seen[0])
    assert evidence.shape == (2, 3, 14, 14)
    assert torch.allclose(evidence.mean((-2, -1)) + m.classifier.head.bias, logits, atol=1e-5)


def test_an_unknown_injection_is_refused():
    with pytest.raises(ValueError, match="inject must be 'before' or 'after', got 'within'"):
        make("t2s", inject="within")


EDGES = {
    "late": [("spatial", "onset"), ("fuse", "temporal", "spatial"), ("classifier", "fuse")],
    "early": [
        ("onset_stem", "onset"),
        ("fuse", "stem", "onset_stem"),
        ("temporal", "fuse"),
        ("classifier", "temporal"),
    ],
    "t2s": [("fuse", "temporal", "spatial.vit.embed"), ("spatial.vit.blocks", "fuse")],
    "s2t": [("enlarge", "spatial"), ("fuse", "stem", "enlarge"), ("temporal", "fuse"), ("classifier", "temporal")],
}


@pytest.mark.parametrize("name", FUSIONS)
def test_the_anatomy_is_what_forward_does(name):
    model = make(name).train()
    parts = {part.name: part for part in anatomy(model)}
    assert model.training
    for reader, *sources in EDGES[name]:
        assert parts[reader].sources == tuple(sources)
    assert [parts[n].stream for n in ("onset", "difference", "fuse", "classifier")] == ["where", "how", "both", "both"]
    assert sum(part.parameters for part in parts.values()) == sum(p.numel() for p in model.parameters())
    assert parts["classifier"].shape == (3,)


def test_late_fusion_takes_the_operations_that_the_paper_size_should():
    """13.44 GFLOPs; fused attention must not be forgotten, as torch's counter does by default."""
    total = anatomy_table(create_model("tsfmicro_late", 5, "base")).iloc[-1]
    assert total["MFLOPs"] == pytest.approx(13440, rel=1e-3)
    assert total["parameters"] == 12_789_413


def test_operations_of_a_linear_layer_are_counted_by_hand():
    parts = {p.name: p for p in anatomy(make("spatial"))}
    dim, n, ratio = 48, 196, 4
    embed = 2 * 3 * dim * n
    attention = 2 * n * dim * 4 * dim + 2 * 2 * n * n * dim
    mlp = 2 * 2 * n * dim * ratio * dim
    assert parts["spatial"].flops == embed + attention + mlp
    assert parts["classifier"].flops == 2 * n * dim * 2 * dim + 2 * 2 * dim * 3


def test_what_is_computed_between_modules_cannot_be_drawn():
    class Doubled(TSFmicroTemporal):
        def forward(self, difference):
            return self.classifier(self.temporal(2 * self.stem(difference)))

    with pytest.raises(ValueError, match="'temporal' reads a tensor that no part made: put what forward computes"):
        anatomy(Doubled.from_preset("tiny"))


def test_the_weights_of_both_forms_multiply_out_to_what_the_layer_gives():
    from tsfmicro_lab.models.retention import ManhattanRetention

    for decomposed in (False, True):
        layer = ManhattanRetention(16, 2, 5, decomposed=decomposed)
        x = torch.randn(2, 5, 5, 16)
        layer.local = nn.Identity()  # adds v itself
        with torch.no_grad():
            weights = layer.weights(x)
            v = layer.v(x).reshape(2, 25, 2, 8).transpose(1, 2)
            gathered = (weights @ v).transpose(1, 2).reshape(2, 5, 5, 16) + layer.v(x)
            assert torch.allclose(layer(x), layer.out(gathered), atol=1e-5)
            assert torch.allclose(weights.sum(-1), torch.ones(2, 2, 25), atol=1e-5)
            assert (weights > 0).all()


def test_decay_one_is_plain_attention_and_wrong_decays_are_refused():
    from tsfmicro_lab.models.retention import ManhattanRetention, rotate

    layer = ManhattanRetention(16, 2, 4)
    x = torch.randn(1, 4, 4, 16)
    layer.set_decay(torch.ones(2))
    with torch.no_grad():
        q, k = (rotate(f(x).reshape(1, 16, 2, 8).transpose(1, 2), layer.sin, layer.cos) for f in (layer.q, layer.k))
        assert torch.allclose(layer.weights(x), (q @ k.mT / 8**0.5).softmax(-1), atol=1e-5)
    for wrong in (torch.ones(3), torch.tensor([0.0, 0.5]), torch.tensor([0.5, 1.1])):
        with pytest.raises(ValueError, match=r"the decay of 2 heads must lie in \(0, 1\]"):
            layer.set_decay(wrong)
