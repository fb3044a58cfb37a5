"""Retention of sequences against a triple loop written from its definition."""

import pytest
import torch

from studies.causal_retention import chunkwise, decay_mask, parallel, recurrent

FORMS = {
    "parallel": parallel,
    "recurrent": recurrent,
    **{f"chunks of {n}": lambda *a, n=n: chunkwise(*a, chunk=n) for n in (1, 3, 8, 100)},
}


def draw(length=17, d=5, e=4, batch=()):
    q, k = torch.randn(2, *batch, length, d, dtype=torch.float64)
    return q, k, torch.randn(*batch, length, e, dtype=torch.float64)


def triple_loop(q, k, v, gamma):
    out = torch.zeros_like(v)
    for n in range(len(q)):
        for m in range(n + 1):
            weight = gamma ** (n - m)
            for j in range(q.shape[1]):
                out[n] += weight * q[n, j] * k[m, j] * v[m]
    return out


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("gamma", [1.0, 0.97, 0.5, 0.0])
@pytest.mark.parametrize("length", [1, 8, 17])
def test_every_form_equals_the_triple_loop(form, gamma, length):
    q, k, v = draw(length)
    assert float((form(q, k, v, gamma) - triple_loop(q, k, v, gamma)).abs().max()) < 1e-10


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_batches_and_heads_are_done_side_by_side(form):
    q, k, v = draw(9, batch=(2, 3))
    out = form(q, k, v, 0.8)
    assert out.shape == v.shape
    assert torch.allclose(out[1, 2], triple_loop(q[1, 2], k[1, 2], v[1, 2], 0.8))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_nothing_comes_from_the_future(form):
    q, k, v = draw()
    before = form(q, k, v, 0.9)
    k[10], v[10] = 7, -7
    changed = (form(q, k, v, 0.9) - before).abs().sum(-1) > 1e-9
    assert changed.tolist() == [False] * 10 + [True] * 7


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_the_limits_of_the_decay(form):
    q, k, v = draw()
    alone = (q * k).sum(-1, keepdim=True) * v
    assert torch.allclose(form(q, k, v, 0.0), alone)
    remembered = torch.cumsum(k[:, :, None] * v[:, None, :], 0)
    assert torch.allclose(form(q, k, v, 1.0), torch.einsum("nd, nde -> ne", q, remembered))


def test_a_long_sequence_stays_finite():
    q, k, v = draw(3000, 2, 2)
    assert torch.allclose(chunkwise(q, k, v, 0.5), parallel(q, k, v, 0.5))
    assert decay_mask(3000, 0.01).isfinite().all()


@pytest.mark.parametrize("form", [parallel, recurrent, chunkwise])
@pytest.mark.parametrize("gamma", [-0.1, 1.1, float("nan")])
def test_a_decay_that_is_none_is_refused(form, gamma):
    with pytest.raises(ValueError, match="must lie between 0 and 1, got"):
        form(*draw(), gamma)


def test_an_empty_chunk_is_refused():
    with pytest.raises(ValueError, match="a chunk holds at least one position, got 0"):
        chunkwise(*draw(), 0.9, chunk=0)
