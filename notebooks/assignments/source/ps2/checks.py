"""Checks of ps2: retention in three forms that give the same numbers, the Manhattan mask, and what each form costs."""

from collections.abc import Callable

import torch
from torch import Tensor

from checking import check, compare


def _by_the_sum(q: Tensor, k: Tensor, v: Tensor, gamma: float, shift: int = 0, both: bool = False) -> Tensor:
    """The definition of retention, one term after another; `shift` and `both` make mistakes of it."""
    out = torch.zeros(len(q), v.shape[1], dtype=q.dtype)
    for n in range(len(q)):
        for m in range(len(q) if both else n + 1):
            out[n] += gamma ** max(abs(n - m) + shift, 0) * (q[n] @ k[m]) * v[m]
    return out


def _draw(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, float]:
    n, d, e = (int(torch.randint(low, high, (), generator=generator)) for low, high in ((5, 12), (2, 6), (3, 7)))
    q, k, v = (torch.randn(n, width, generator=generator, dtype=torch.float64) for width in (d, d, e))
    return q, k, v, float(0.5 + 0.4 * torch.rand((), generator=generator))


@check
def check_parallel(parallel: Callable[..., Tensor], seed: int = 0) -> None:
    """The parallel form is the sum over all earlier positions, with decay.

    Args:
        parallel: `parallel(q, k, v, gamma)`; q, k (n, d), v (n, e) → (n, e).
        seed: Of the sequences that are tried.
    """
    generator = torch.Generator().manual_seed(seed)
    for _ in range(4):
        q, k, v, gamma = _draw(generator)
        logits = (q @ k.T).masked_fill(torch.ones(len(q), len(q)).triu(1).bool(), -torch.inf)
        mistakes = {
            "position n looks into the future: m > n must count nothing (torch.tril)": _by_the_sum(
                q, k, v, gamma, both=True
            ),
            "no decay: multiply each product by gamma^(n - m)": _by_the_sum(q, k, v, 1.0),
            "the decay starts one step too early: a position's own value has weight gamma^0": _by_the_sum(
                q, k, v, gamma, 1
            ),
            "there is no softmax in retention, and that is why it can be kept as a running state": logits.softmax(-1)
            @ v,
            "no scaling by the square root of d is part of the definition above": _by_the_sum(q, k, v, gamma)
            / q.shape[1] ** 0.5,
        }
        compare(parallel(q.clone(), k.clone(), v.clone(), gamma), _by_the_sum(q, k, v, gamma), mistakes, "the output")


@check
def check_recurrent(recurrent: Callable[..., Tensor], seed: int = 0) -> None:
    """The recurrent form gives the same numbers from a running state.

    Args:
        recurrent: `recurrent(q, k, v, gamma)`; q, k (n, d), v (n, e) → (n, e).
        seed: Of the sequences that are tried.
    """
    generator = torch.Generator().manual_seed(seed)
    for _ in range(4):
        q, k, v, gamma = _draw(generator)
        past = _by_the_sum(q, k, v, gamma) - (q * k).sum(1, keepdim=True) * v
        mistakes = {
            "the state never forgets: multiply it by gamma before you add": _by_the_sum(q, k, v, 1.0),
            "the new product decays at once: decay the old state, then add k_n v_n": _by_the_sum(q, k, v, gamma, 1),
            "the output is read before the state knows position n: update first, then read": past / gamma,
            "the output is read from the decayed state, before position n was added": past,
            "only the last position is left: the state was overwritten, not added to": (q * k).sum(1, keepdim=True) * v,
        }
        compare(recurrent(q.clone(), k.clone(), v.clone(), gamma), _by_the_sum(q, k, v, gamma), mistakes, "the output")


@check
def check_chunkwise(chunkwise: Callable[..., Tensor], seed: int = 0) -> None:
    """The chunkwise form gives the same numbers, whatever the chunk, also if the last one is shorter.

    Args:
        chunkwise: `chunkwise(q, k, v, gamma, chunk)`; q, k (n, d), v (n, e) → (n, e).
        seed: Of the sequences that are tried.
    """
    generator = torch.Generator().manual_seed(seed)
    for chunk in (2, 3, 4, 100):
        q, k, v, gamma = _draw(generator)
        true, alone = _by_the_sum(q, k, v, gamma), torch.zeros(len(q), v.shape[1], dtype=q.dtype)
        for start in range(0, len(q), chunk):
            part = slice(start, start + chunk)
            alone[part] = _by_the_sum(q[part], k[part], v[part], gamma)
        mistakes = {
            "chunks know nothing of each other: add what the state of earlier chunks gives": alone,
            "the state's part is one step too young: position i of a chunk reads it with gamma^(i + 1)": alone
            + (true - alone) / gamma,
            "the state's part decays one step too much: position i of a chunk reads it with gamma^(i + 1)": alone
            + (true - alone) * gamma,
            "from chunk to chunk the state forgets gamma, not gamma^B": _forgets_too_little(q, k, v, gamma, chunk),
            "no decay: multiply each product by gamma^(n - m)": _by_the_sum(q, k, v, 1.0),
        }
        got = chunkwise(q.clone(), k.clone(), v.clone(), gamma, chunk)
        compare(got, true, mistakes, f"the output of {len(q)} positions in chunks of {chunk}")


def _forgets_too_little(q: Tensor, k: Tensor, v: Tensor, gamma: float, chunk: int) -> Tensor:
    state, parts = torch.zeros(q.shape[1], v.shape[1], dtype=q.dtype), []
    for qc, kc, vc in zip(q.split(chunk), k.split(chunk), v.split(chunk), strict=True):
        age = gamma ** torch.arange(len(qc) + 1, dtype=q.dtype)
        parts.append(_by_the_sum(qc, kc, vc, gamma) + age[1:, None] * (qc @ state))
        state = gamma * state + (kc * age[:-1].flip(0)[:, None]).T @ vc
    return torch.cat(parts)


@check
def check_manhattan(bias: Callable[..., Tensor], seed: int = 0) -> None:
    """The mask falls with the Manhattan distance on a grid, also on one that is no square.

    Args:
        bias: `bias(gamma, height, width)` → (height · width, height · width), added to logits.
        seed: Of the grids that are tried.
    """
    generator = torch.Generator().manual_seed(seed)
    for height, width in [*torch.randint(2, 6, (3, 2), generator=generator).tolist(), [2, 5]]:
        gamma = float(0.5 + 0.4 * torch.rand((), generator=generator))
        dy = torch.tensor(
            [[abs(a // width - b // width) for b in range(height * width)] for a in range(height * width)]
        )
        dx = torch.tensor([[abs(a % width - b % width) for b in range(height * width)] for a in range(height * width)])
        log, place = torch.tensor(gamma).log(), torch.arange(height * width)
        mistakes = {
            "the factor itself was returned; what is added to a logit is its logarithm": gamma ** (dy + dx),
            "the sign is turned: far places must get less": -log * (dy + dx),
            "that is the Euclidean distance; Manhattan walks along streets, |dy| + |dx|": log * (dy**2 + dx**2) ** 0.5,
            "that is the larger of |dy| and |dx|; Manhattan takes their sum": log * torch.maximum(dy, dx),
            "that is the distance in raster order: the right edge is no neighbour of the next row's left edge": log
            * (place[:, None] - place).abs(),
            "rows and columns are swapped: place i of the raster is row i // width, column i % width": _swapped(
                log, height, width
            ),
        }
        compare(bias(gamma, height, width), log * (dy + dx), mistakes, f"the mask of a {height}×{width} grid")


def _swapped(log: Tensor, height: int, width: int) -> Tensor:
    places = torch.cartesian_prod(torch.arange(width), torch.arange(height))
    return log * (places[:, None] - places).abs().sum(-1)


@check
def check_cost(cost: Callable[..., dict[str, float]], seed: int = 0) -> None:
    """The multiplications of each form are counted as a profiler counts them.

    Args:
        cost: `cost(n, d, chunk)` → multiplications of `parallel`, `recurrent`, `chunkwise`; n a multiple of the chunk.
        seed: Of the sizes that are tried.
    """
    generator = torch.Generator().manual_seed(seed)
    for _ in range(3):
        chunks, chunk, d = (int(i) for i in torch.randint(2, 9, (3,), generator=generator))
        n = chunks * chunk
        true = {"parallel": 2 * n * n * d, "recurrent": 2 * n * d * d, "chunkwise": 2 * n * chunk * d + 2 * n * d * d}
        got = cost(n, d, chunk)
        for form, count in true.items():
            mistakes = {
                f"{form}: half is missing: there are two products, one with the keys, one with the values": count / 2,
                f"{form}: a product of (a × b) and (b × c) takes a·b·c multiplications; additions are not counted": 2
                * count,
                "chunkwise: what chunks hand to each other is missing, K'V and Q S": 2 * n * chunk * d,
                "recurrent: that is one step; there are n": 2 * d * d,
            }
            compare(got[form], count, mistakes, f"{form}, n = {n}, d = {d}, chunk = {chunk}", tolerance=1e-9)
