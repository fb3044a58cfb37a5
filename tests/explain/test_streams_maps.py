import numpy as np
import pytest
import torch
from captum.attr import LayerAttribution, LayerGradCam

from tsfmicro_lab.explain.streams import attention_relevance, attention_rollout, token_grad_cam
from tsfmicro_lab.models import create_model
from tsfmicro_lab.models.retention import ManhattanRetention
from tsfmicro_lab.models.vit import SelfAttention


def pair(batch=1):
    return {name: torch.randn(batch, 3, 56, 56) for name in ("onset", "difference")}


def make(name, **settings):
    return create_model(f"tsfmicro_{name}", 3, seed=2, **settings).eval()


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
    for method in (
        lambda m: token_grad_cam(m, x, 0),
        lambda m: attention_rollout(m, x),
        lambda m: attention_relevance(m, x, 0),
    ):
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


@pytest.mark.parametrize("name", ["late", "early", "t2s", "s2t"])
def test_relevance_is_of_one_class_and_rollout_of_none(name):
    model, x = make(name), pair(2)
    maps = [attention_relevance(model, x, target) for target in range(3)]
    for where, how in maps:
        assert where.shape == how.shape == (2, 1, 56, 56)
        assert min(where.min(), how.min()) >= 0
        total = (where + how).sum((1, 2, 3))
        assert torch.allclose(total, total.round(), atol=1e-5), "1, or 0 where no token speaks for the class"
        assert not total.any() or not torch.allclose(where, how, rtol=0.1)
    assert sum(float((where + how).sum()) for where, how in maps) > 1
    for part in range(2):
        assert not torch.allclose(maps[0][part], maps[1][part], rtol=0.1)
    alone = attention_relevance(model, {n: t[1:] for n, t in x.items()}, 2)
    assert all(torch.allclose(a[1:], b, atol=1e-7) for a, b in zip(maps[2], alone, strict=True))


def explicit(layer, x, kept):
    """Retention or attention by plain products, which keeps its weights and their gradients."""
    if isinstance(layer, SelfAttention):
        _, _, v = layer._split(x)
        kept[layer] = weights = [layer.weights(x)]
        weights[0].retain_grad()
        return layer.proj((weights[0] @ v).transpose(1, 2).flatten(2))
    b, y, _, dim = x.shape
    v = layer.v(x)
    heads = v.reshape(b, y, y, layer.heads, -1).permute(0, 3, 1, 2, 4)  # b h y x d
    if layer.decomposed:
        kept[layer] = list(layer.line_weights(x))
        rows, columns = kept[layer]
        for weights in kept[layer]:
            weights.retain_grad()
        out = columns @ (rows @ heads).transpose(2, 3)  # b h x y d
        out = out.permute(0, 3, 2, 1, 4).reshape(b, y, y, dim)
    else:
        kept[layer] = [layer.weights(x)]
        kept[layer][0].retain_grad()
        out = (kept[layer][0] @ heads.flatten(2, 3)).transpose(1, 2).reshape(b, y, y, dim)
    return layer.out(out + layer.local(v))


def test_relevance_is_the_products_of_weights_and_their_gradients(monkeypatch):
    """Against the plain way: gradients of the weights by autograd, whole matrices, no tricks."""
    model, x, kept, ends = make("late"), pair(), {}, []
    where, how = attention_relevance(model, x, 1)
    for kind in (ManhattanRetention, SelfAttention):
        monkeypatch.setattr(kind, "forward", lambda layer, x: explicit(layer, x, kept))
    model.fuse.register_forward_pre_hook(lambda _, streams: ends.extend(streams))
    model.classifier.register_forward_pre_hook(lambda _, streams: ends.extend(streams))
    logit = model(**x)[0, 1]
    for end in ends:
        end.retain_grad()
    logit.backward()
    said_how, said_where, last = ((end * end.grad).sum(1).clamp(min=0)[0].detach() for end in ends)
    last = last / last.sum()

    def passed(weights, axes):
        """(A ⊙ ∂f/∂A)⁺ of one clip, with the sums of A; A itself where that is zero."""
        good, plain = (weights * weights.grad).clamp(min=0)[0].detach(), weights[0].detach()
        share = good / good.sum(axes, keepdim=True) * plain.sum(axes, keepdim=True)
        return torch.where(good.sum(axes, keepdim=True) > 0, share, plain)

    attention = passed(kept[model.spatial.vit.blocks[0].attention][0], (0, 2)).mean(0)
    assert said_how.any()
    assert said_where.any()
    begin = (last * said_where / (said_how + said_where).clamp(min=1e-30)).flatten()
    expected_where = (begin + begin @ attention) / 2
    first, second = (kept[s[0].retention] for s in model.temporal.stages)
    retention = passed(second[0], (0, 2)).mean(0)
    begin = (last * said_how / (said_how + said_where).clamp(min=1e-30)).flatten()
    flow = ((begin + begin @ retention) / 2).reshape(14, 14)
    flow = flow.repeat_interleave(2, 0).repeat_interleave(2, 1) / 4
    rows, columns = passed(first[0], (3,)), passed(first[1], (0, 3))  # h y x u, h x y v
    given = torch.zeros(28, 28)
    for h in range(rows.shape[0]):
        through_columns = torch.stack([flow[:, c] @ columns[h, c] for c in range(28)], 1)
        given += torch.stack([through_columns[r] @ rows[h, r] for r in range(28)]) / len(rows)
    expected_how = (flow + given) / 2
    maps = [
        torch.nn.functional.interpolate(e.reshape(1, 1, side, side), (56, 56), mode="bilinear")
        for e, side in ((expected_where, 14), (expected_how, 28))
    ]
    total = sum(maps).sum()
    assert torch.allclose(where, maps[0] / total, atol=1e-7)
    assert torch.allclose(how, maps[1] / total, atol=1e-7)


def test_a_token_that_speaks_for_no_class_gives_a_map_of_zeros_or_passes_on_as_it_did():
    from tsfmicro_lab.explain.streams import _favouring

    weights = torch.tensor([[[[0.25, 0.75], [0.5, 0.5]]]])
    slope = torch.tensor([[[[4.0, -1.0], [-1.0, -1.0]]]])
    assert torch.equal(_favouring(weights, slope, (1, 3)), torch.tensor([[[[1.0, 0.0], [0.5, 0.5]]]]))
