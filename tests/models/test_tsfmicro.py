"""Each variant against its one line of the paper, and what tells the variants apart."""

import pytest
import torch

from tsfmicro_lab.models import create_model
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
def test_only_attention_carries_motion_to_other_tokens(inject, reached):
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


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_injection_is_refused():
    with pytest.raises(ValueError, match="unknown inject 'within': choose from before, after"):
        make("t2s", inject="within")
