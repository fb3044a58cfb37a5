"""Retention against plain loops written from the equations."""

import math

import pytest
import torch
from torch import nn

from tsfmicro_lab.models.retention import (
    DropPath,
    FeedForward,
    ManhattanRetention,
    RetentionBlock,
    head_decay,
    manhattan_bias,
    rotary_table,
    rotate,
)


def test_a_compiled_rotation_is_the_same(monkeypatch):
    (sin, cos), x = rotary_table(20, 8), torch.randn(2, 3, 20, 8)
    eager = rotate(x, sin, cos)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert torch.allclose(rotate(x, sin, cos), eager, atol=1e-6)


def test_decay_follows_its_equation():
    for heads, initial, spread in ((2, 2, 4), (4, 2, 6), (1, 3, 5)):
        expected = [1 - 2 ** -(initial + spread * h / heads) for h in range(heads)]
        assert head_decay(heads, initial, spread).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(("height", "width"), [(1, 5), (3, 4), (4, 4)])
def test_bias_is_log_decay_times_manhattan_distance(height, width):
    gamma = head_decay(2)
    bias = manhattan_bias(gamma, height, width)
    for h in range(2):
        for i in range(height * width):
            for j in range(height * width):
                steps = abs(i // width - j // width) + abs(i % width - j % width)
                assert float(bias[h, i, j]) == pytest.approx(math.log(gamma[h]) * steps, rel=1e-5, abs=1e-7)


def test_rotation_keeps_lengths_and_depends_on_the_distance_alone():
    sin, cos = rotary_table(20, 8)
    q, k = torch.randn(2, 1, 1, 1, 8).expand(2, 1, 1, 20, 8)
    q, k = rotate(q, sin, cos), rotate(k, sin, cos)
    assert torch.allclose(q.norm(dim=-1), q.norm(dim=-1)[..., :1].expand(1, 1, 20), atol=1e-5)
    products = (q @ k.mT)[0, 0]
    for step in range(-5, 6):
        diagonal = products.diagonal(step)
        assert torch.allclose(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-4)


def naive(layer, x, decomposed):
    """One token at a time: scores, distance, softmax, weighted sum."""
    b, side, _, dim = x.shape
    head_dim = dim // layer.heads
    q, k, v = (f(x).view(b, side * side, layer.heads, head_dim) for f in (layer.q, layer.k, layer.v))
    local = layer.local(v.reshape(b, side, side, dim))

    def turned(t, n, h):
        out = torch.empty(b, head_dim)
        for pair in range(head_dim // 2):
            angle = n * 10000 ** (-pair / (head_dim // 2 - 1))
            even, odd = t[:, n, h, 2 * pair], t[:, n, h, 2 * pair + 1]
            out[:, 2 * pair] = even * math.cos(angle) - odd * math.sin(angle)
            out[:, 2 * pair + 1] = odd * math.cos(angle) + even * math.sin(angle)
        return out

    def attend(v, pairs):
        result = torch.zeros_like(v)
        for h in range(layer.heads):
            log_gamma = math.log(1 - 2 ** -(2 + 4 * h / layer.heads))
            for i in range(side * side):
                others = [j for j in range(side * side) if pairs(i, j)]
                logits = torch.stack(
                    [
                        (turned(q, i, h) * turned(k * head_dim**-0.5, j, h)).sum(-1)
                        + log_gamma * (abs(i // side - j // side) + abs(i % side - j % side))
                        for j in others
                    ],
                    -1,
                )
                weights = logits.softmax(-1)
                result[:, i, h] = sum(weights[:, n, None] * v[:, j, h] for n, j in enumerate(others))
        return result

    if decomposed:
        v = attend(v, lambda i, j: i // side == j // side)
        v = attend(v, lambda i, j: i % side == j % side)
    else:
        v = attend(v, lambda i, j: True)
    return layer.out(v.reshape(b, side, side, dim) + local)


@torch.no_grad()
@pytest.mark.parametrize("decomposed", [False, True])
@pytest.mark.parametrize(("side", "heads"), [(3, 2), (4, 1)])
def test_retention_equals_plain_loops(decomposed, side, heads):
    layer = ManhattanRetention(8, heads, side, decomposed=decomposed)
    x = torch.randn(2, side, side, 8)
    assert torch.allclose(layer(x), naive(layer, x, decomposed), atol=1e-5)


@torch.no_grad()
def test_decomposed_and_full_are_different_operators():
    full, decomposed = (ManhattanRetention(8, 2, 5, decomposed=d) for d in (False, True))
    decomposed.load_state_dict(full.state_dict())
    x = torch.randn(1, 5, 5, 8)
    assert (full(x) - decomposed(x)).abs().max() > 1e-3


@pytest.mark.parametrize("decomposed", [False, True])
def test_every_token_reaches_every_token(decomposed):
    layer = ManhattanRetention(8, 2, 6, decomposed=decomposed)
    x = torch.randn(1, 6, 6, 8, requires_grad=True)
    layer(x)[0, 0, 0].sum().backward()
    assert (x.grad.abs().sum(-1) > 0).all()


def test_stochastic_depth_keeps_the_mean_and_rests_in_evaluation():
    drop, x = DropPath(0.3), torch.ones(20000, 2)
    out = drop(x)
    assert out.unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert float(out.mean()) == pytest.approx(1, abs=0.03)
    assert drop.eval()(x) is x


def test_feed_forward_sees_its_neighbours_only():
    layer = FeedForward(4)
    x = torch.randn(1, 7, 7, 4, requires_grad=True)
    layer(x)[0, 3, 3].sum().backward()
    reached = x.grad.abs().sum(-1)[0] > 0
    assert reached[2:5, 2:5].all()
    assert reached.sum() == 9


def test_odd_heads_are_refused():
    with pytest.raises(ValueError, match="head_dim must be even, got 3"):
        RetentionBlock(6, 2, 4, decomposed=False, spread=4)


def test_the_weights_of_both_forms_multiply_out_to_what_the_layer_gives():
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
    layer = ManhattanRetention(16, 2, 4)
    x = torch.randn(1, 4, 4, 16)
    layer.set_decay(torch.ones(2))
    with torch.no_grad():
        q, k = (rotate(f(x).reshape(1, 16, 2, 8).transpose(1, 2), layer.sin, layer.cos) for f in (layer.q, layer.k))
        assert torch.allclose(layer.weights(x), (q @ k.mT / 8**0.5).softmax(-1), atol=1e-5)
    for wrong in (torch.ones(3), torch.tensor([0.0, 0.5]), torch.tensor([0.5, 1.1])):
        with pytest.raises(ValueError, match=r"the decay of 2 heads must lie in \(0, 1\]"):
            layer.set_decay(wrong)
