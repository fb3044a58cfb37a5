import numpy as np
import pytest
import torch
from captum.attr import LayerAttribution, LayerGradCam

from tsfmicro_lab.explain.streams import attention_rollout, token_grad_cam
from tsfmicro_lab.models import create_model
from tsfmicro_lab.models.retention import ManhattanRetention
from tsfmicro_lab.models.vit import SelfAttention


def pair(batch=1):
    return {name: torch.randn(batch, 3, 56, 56) for name in ("onset", "difference")}


def make(name, **settings):
    return create_model(f"tsfmicro_{name}", 3, seed=0, **settings).eval()


def test_grad_cam_of_a_map_is_captums():
    model, x = make("late"), pair(2)
    captum = LayerGradCam(model, model.temporal).attribute(tuple(x.values()), 1)
    _, ours = token_grad_cam(model, x, 1)
    assert torch.allclose(ours, LayerAttribution.interpolate(captum, (56, 56), "bilinear"), atol=1e-5)


@pytest.mark.parametrize("name", ["late", "early", "t2s", "s2t"])
def test_both_streams_have_a_map_that_follows_their_input(name):
    model, x = make(name), pair()
    where, how = token_grad_cam(model, x, 0)
    assert where.shape == how.shape == (1, 1, 56, 56)
    assert not torch.allclose(where, how)
    other = token_grad_cam(model, x | {"difference": pair()["difference"]}, 0)
    assert not torch.allclose(other[1], how)


def test_tokens_are_laid_out_on_their_grid():
    """T→S adds tokens, (batch, 196, channels): averaged over positions, not over channels."""
    model, x = make("t2s"), pair()
    held = []
    hook = model.fuse.register_forward_pre_hook(lambda _, streams: held.extend(streams))
    logit = model(**x)[0, 2]
    hook.remove()
    cams = []
    for tokens, slope in zip(held, torch.autograd.grad(logit, held), strict=True):
        cam = (slope.mean(1, keepdim=True) * tokens).sum(-1).reshape(1, 1, 14, 14)
        cams.append(torch.nn.functional.interpolate(cam, (56, 56), mode="bilinear"))
    for ours, expected in zip(token_grad_cam(model, x, 2), reversed(cams), strict=True):
        assert torch.allclose(ours, expected, atol=1e-6)


def test_a_model_of_one_stream_is_refused():
    x = {"difference": pair()["difference"]}
    for method in (lambda m: token_grad_cam(m, x, 0), lambda m: attention_rollout(m, x)):
        with pytest.raises(ValueError, match="reads difference and adds no two streams: choose a fusion variant"):
            method(make("temporal"))


def test_rollout_is_the_product_of_the_layers_weights():
    """Against the plain way, which multiplies whole matrices out."""
    model, x = make("late"), pair()
    seen = {}
    for layer in model.modules():
        if isinstance(layer, ManhattanRetention | SelfAttention):
            layer.register_forward_pre_hook(lambda m, x: seen.update({m: x[0]}))
    where, how = attention_rollout(model, x)

    def mixed(layer):
        w = layer.weights(seen[layer])[0].mean(0).detach()
        return 0.5 * torch.eye(len(w)) + 0.5 * w

    first, second = (s[0].retention for s in model.temporal.stages)
    pool = torch.zeros(196, 784)
    for place in range(784):
        pool[(place // 28 // 2) * 14 + place % 28 // 2, place] = 0.25
    expected = (mixed(second) @ pool @ mixed(first)).mean(0).reshape(1, 1, 28, 28)
    expected = torch.nn.functional.interpolate(expected, (56, 56), mode="bilinear")
    assert torch.allclose(how, expected / expected.sum(), atol=1e-8)
    attention = mixed(model.spatial.vit.blocks[0].attention).mean(0).reshape(1, 1, 14, 14)
    attention = torch.nn.functional.interpolate(attention, (56, 56), mode="bilinear")
    assert torch.allclose(where, attention / attention.sum(), atol=1e-8)


@pytest.mark.parametrize("name", ["late", "t2s", "s2t"])
def test_rollout_of_a_batch_is_that_of_its_clips(name):
    model, x = make(name), pair(2)
    together = attention_rollout(model, x)
    alone = attention_rollout(model, {name: t[1:] for name, t in x.items()})
    for a, b in zip(together, alone, strict=True):
        assert torch.allclose(a[1:], b, atol=1e-8)
        assert np.isclose(float(a.sum()), 2, atol=1e-4)


def test_before_and_after_the_transformer_differ():
    x = pair()
    before, after = (attention_rollout(make("t2s", inject=i), x) for i in ("before", "after"))
    assert not torch.allclose(before[1], after[1])


def test_early_fusion_has_no_rollout_of_each_stream():
    with pytest.raises(ValueError, match="cannot tell its streams apart"):
        attention_rollout(make("early"), pair())
