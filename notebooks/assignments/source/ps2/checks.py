"""Checks of ps2: retention in three forms that give the same numbers, the Manhattan mask, and what each form costs."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from checking import Work, call, check, compare, converted, expect

OWN = {"tsfmicro_lab": "write it yourself; the lab's own function is what this exercise builds"}


def _by_the_sum(q: Tensor, k: Tensor, v: Tensor, gamma: float, shift: int = 0, both: bool = False) -> Tensor:
    """The definition of retention, term by term; `shift` and `both` make mistakes of it."""
    out = torch.zeros(len(q), v.shape[1], dtype=q.dtype)
    for n in range(len(q)):
        m = torch.arange(len(q) if both else n + 1)
        weight = gamma ** ((n - m).abs() + shift).to(q.dtype)
        out[n] = (weight * (k[m] @ q[n])) @ v[m]
    return out


def _draw(
    generator: torch.Generator, gamma: float | None = None, shift: float = 0.0, longer: int = 0
) -> tuple[Tensor, Tensor, Tensor, float]:
    n, d, e = (int(torch.randint(low, high, (), generator=generator)) for low, high in ((5, 12), (2, 6), (3, 7)))
    q, k, v = (torch.randn(n + longer, width, generator=generator, dtype=torch.float64) + shift for width in (d, d, e))
    drawn = float(0.5 + 0.4 * torch.rand((), generator=generator))
    return q, k, v, drawn if gamma is None else gamma


def _work(function: Callable[..., Any], n: int, *more: int, width: int = 2) -> Work:
    """What a form computes for n positions."""
    q, k, v = torch.randn(3, n, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    work = Work()
    call(function, q, k, v, 0.9, *more, returns="array", work=work)
    return work


@check
def check_parallel(
    parallel: Callable[..., Tensor],
    seed: int = 0,
    gammas: Sequence[float | None] = (None,) * 4,
    shift: float = 0.0,
    longer: int = 0,
) -> None:
    """The parallel form is the sum over all earlier positions, with decay.

    Args:
        parallel: `parallel(q, k, v, gamma)`; q, k (n, d), v (n, e) → (n, e).
        seed: Of the sequences that are tried.
        gammas: What the decay is, in sequences one after the other; drawn between 0.5 and 0.9 where it is None.
        shift: What is added to all numbers.
        longer: How many positions they have besides those drawn, 5 to 11.
    """
    generator = torch.Generator().manual_seed(seed)
    for given in gammas:
        q, k, v, gamma = _draw(generator, given, shift, longer)
        logits = (q @ k.T).masked_fill(torch.ones(len(q), len(q)).triu(1).bool(), -torch.inf)
        mistakes = {
            "position n looks into the future: m > n must count nothing (torch.tril)": _by_the_sum(
                q, k, v, gamma, both=True
            ),
            "position n looks into the future and not into the past: sum over m <= n": _by_the_sum(
                q.flip(0), k.flip(0), v.flip(0), gamma
            ).flip(0),
            "queries and keys have changed places: row n of the product belongs to q_n": _by_the_sum(k, q, v, gamma),
            "no decay: multiply each product by gamma^(n - m)": _by_the_sum(q, k, v, 1.0),
            "the decay starts one step too early: a position's own value has weight gamma^0": _by_the_sum(
                q, k, v, gamma, 1
            ),
            "there is no softmax in retention, and that is why it can be kept as a running state": logits.softmax(-1)
            @ v,
            "no scaling by the square root of d is part of the definition above": _by_the_sum(q, k, v, gamma)
            / q.shape[1] ** 0.5,
        }
        got = call(parallel, q, k, v, gamma, returns="array", forbids=OWN)
        compare(got, _by_the_sum(q, k, v, gamma), mistakes, f"the output at gamma = {gamma:g}")
    products = _work(parallel, 40).products
    loop = "the numbers are right, but computed one position after another: write it with matrices, without a loop"
    expect(products < 40, f"{loop} ({products} products for 40 positions)")


@check
def check_recurrent(
    recurrent: Callable[..., Tensor],
    seed: int = 0,
    gammas: Sequence[float | None] = (None,) * 4,
    shift: float = 0.0,
    longer: int = 0,
) -> None:
    """The recurrent form gives the same numbers from a running state.

    Args:
        recurrent: `recurrent(q, k, v, gamma)`; q, k (n, d), v (n, e) → (n, e).
        seed: Of the sequences that are tried.
        gammas: What the decay is, in sequences one after the other; drawn between 0.5 and 0.9 where it is None.
        shift: What is added to all numbers.
        longer: How many positions they have besides those drawn, 5 to 11.
    """
    generator = torch.Generator().manual_seed(seed)
    for given in gammas:
        q, k, v, gamma = _draw(generator, given, shift, longer)
        past = _by_the_sum(q, k, v, gamma) - (q * k).sum(1, keepdim=True) * v
        mistakes = {
            "the state never forgets: multiply it by gamma before you add": _by_the_sum(q, k, v, 1.0),
            "the new product decays at once: decay the old state, then add k_n v_n": _by_the_sum(q, k, v, gamma, 1),
            "the output is read before the state knows position n: update first, then read": past / gamma,
            "the output is read from the decayed state, before position n was added": past,
            "only the last position is left: the state was overwritten, not added to": (q * k).sum(1, keepdim=True) * v,
        }
        got = call(recurrent, q, k, v, gamma, returns="array", forbids=OWN)
        compare(got, _by_the_sum(q, k, v, gamma), mistakes, f"the output at gamma = {gamma:g}")
    work, wide = _work(recurrent, 120), _work(recurrent, 120, width=16)
    expect(
        wide.largest <= 120 * 40,
        "the numbers are right, but of 120 positions of width 16 something as large as all pairs, 120 × 120, or all "
        "states is kept; keep nothing of the past but one state, d × e",
    )
    expect(
        work.bytes < 120 * 120 * 8,
        "the numbers are right, but this is the parallel form: of 120 positions something as large as 120 × 120 is "
        "computed; keep nothing of the past but the state, d × e",
    )
    expect(
        work.products >= 240 or not work.products,
        f"the numbers are right, but several positions are computed at once ({work.products} products for 120 "
        "positions): one after another is the point here",
    )
    expect(
        work.total <= 120 * 80,
        f"the numbers are right, but every position reads the whole past again: {work.total} numbers were computed for "
        "120 positions of width 2; keep nothing of the past but the state, d × e",
    )


@check
def check_chunkwise(
    chunkwise: Callable[..., Tensor],
    seed: int = 0,
    gammas: Sequence[float | None] = (None,) * 4,
    shift: float = 0.0,
    longer: int = 0,
) -> None:
    """The chunkwise form gives the same numbers, whatever the chunk, also if the last one is shorter.

    Args:
        chunkwise: `chunkwise(q, k, v, gamma, chunk)`; q, k (n, d), v (n, e) → (n, e).
        seed: Of the sequences that are tried.
        gammas: What the decay is, in sequences one after the other; drawn between 0.5 and 0.9 where it is None.
        shift: What is added to all numbers.
        longer: How many positions they have besides those drawn, 5 to 11.
    """
    generator = torch.Generator().manual_seed(seed)
    for chunk, given in zip((2, 3, 4, 100), gammas, strict=False):
        q, k, v, gamma = _draw(generator, given, shift, longer)
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
        got = call(chunkwise, q, k, v, gamma, chunk, returns="array", forbids=OWN)
        compare(got, true, mistakes, f"the output of {len(q)} positions in chunks of {chunk} at gamma = {gamma:g}")
    work, fine, long = _work(chunkwise, 400, 50), _work(chunkwise, 400, 10), _work(chunkwise, 800, 50)
    expect(
        work.largest <= 2 * 8 * 50 * 50 and work.bytes < 400 * 400 * 4,
        f"the numbers are right, but with 8 chunks of 50 something of {max(work.largest, work.bytes // 8)} numbers is "
        "computed: that is more than all blocks of 50 × 50 together, and the parallel form",
    )
    expect(
        work.products < 400,
        f"the numbers are right, but computed one position after another ({work.products} products for 8 chunks of 50 "
        "positions): inside a chunk go parallel",
    )
    expect(
        fine.products >= 2 * work.products,
        f"the numbers are right, but 40 chunks of 10 take {fine.products} products and 8 chunks of 50 take "
        f"{work.products}: use the length that is given",
    )
    expect(
        long.total <= 2.6 * work.total,
        "the numbers are right, but twice as many positions take more than twice the work: chunks read the earlier "
        "positions again; what these left is in the state",
    )


def _forgets_too_little(q: Tensor, k: Tensor, v: Tensor, gamma: float, chunk: int) -> Tensor:
    state, parts = torch.zeros(q.shape[1], v.shape[1], dtype=q.dtype), []
    for qc, kc, vc in zip(q.split(chunk), k.split(chunk), v.split(chunk), strict=True):
        age = gamma ** torch.arange(len(qc) + 1, dtype=q.dtype)
        parts.append(_by_the_sum(qc, kc, vc, gamma) + age[1:, None] * (qc @ state))
        state = gamma * state + (kc * age[:-1].flip(0)[:, None]).T @ vc
    return torch.cat(parts)


@check
def check_manhattan(
    bias: Callable[..., Tensor], seed: int = 0, more: Sequence[tuple[int, int]] = ((2, 5),), gamma: float | None = None
) -> None:
    """The mask falls with the Manhattan distance on a grid, also on one that is no square.

    Args:
        bias: `bias(gamma, height, width)` → (height · width, height · width), added to logits.
        seed: Of the grids that are tried.
        more: Grids (height, width) that are tried besides those drawn.
        gamma: The decay; drawn between 0.5 and 0.9 by default.
    """
    generator, given = torch.Generator().manual_seed(seed), gamma
    for height, width in [*torch.randint(2, 6, (3, 2), generator=generator).tolist(), *more]:
        gamma = given or float(0.5 + 0.4 * torch.rand((), generator=generator))
        dy = torch.tensor(
            [[abs(a // width - b // width) for b in range(height * width)] for a in range(height * width)]
        )
        dx = torch.tensor([[abs(a % width - b % width) for b in range(height * width)] for a in range(height * width)])
        log, place = torch.tensor(gamma).log(), torch.arange(height * width)
        mistakes = {
            "the factor itself was returned; what is added to a logit is its logarithm": gamma ** (dy + dx),
            "the sign is turned: far places must get less": -log * (dy + dx),
            "that is the distance alone: multiply it by log gamma": dy + dx,
            "only the rows count in that: add |dx|": log * dy,
            "only the columns count in that: add |dy|": log * dx,
            "what lies ahead is cut off: an image has no before and after": (log * (dy + dx)).masked_fill(
                place[:, None] < place, -torch.inf
            ),
            "that is the Euclidean distance; Manhattan walks along streets, |dy| + |dx|": log * (dy**2 + dx**2) ** 0.5,
            "that is the larger of |dy| and |dx|; Manhattan takes their sum": log * torch.maximum(dy, dx),
            "that is the distance in raster order: the right edge is no neighbour of the next row's left edge": log
            * (place[:, None] - place).abs(),
            "rows and columns are swapped: place i of the raster is row i // width, column i % width": _swapped(
                log, height, width
            ),
        }
        got = call(bias, gamma, height, width, returns="array", forbids=OWN)
        compare(got, log * (dy + dx), mistakes, f"the mask of a {height}×{width} grid")


def _swapped(log: Tensor, height: int, width: int) -> Tensor:
    places = torch.cartesian_prod(torch.arange(width), torch.arange(height))
    return log * (places[:, None] - places).abs().sum(-1)


@check
def check_cost(
    cost: Callable[..., dict[str, float]], sizes: Sequence[tuple[int, int, int]] = ((30, 7, 6), (24, 3, 4), (64, 8, 8))
) -> None:
    """The multiplications of each form are counted as a profiler counts them.

    Args:
        cost: `cost(n, d, chunk)` → multiplications of `parallel`, `recurrent`, `chunkwise`; n a multiple of the chunk.
        sizes: The n, d and chunk that are tried.
    """
    for n, d, chunk in sizes:
        true = {"parallel": 2 * n * n * d, "recurrent": 2 * n * d * d, "chunkwise": 2 * n * chunk * d + 2 * n * d * d}
        got = call(cost, n, d, chunk, returns=dict)
        missing = set(true) - set(got)
        expect(not missing, f"return a dict of all three forms: {', '.join(sorted(missing))} is missing")
        for form, count in true.items():
            mistakes = {
                f"{form}: half is missing: there are two products, one with the keys, one with the values": count / 2,
                f"{form}: a product of (a × b) and (b × c) takes a·b·c multiplications; additions are not counted": 2
                * count,
                "chunkwise: what chunks hand to each other is missing, K'V and Q S": 2 * n * chunk * d,
                "chunkwise: what happens inside the chunks is missing, Q K' and its product with V": 2 * n * d * d,
                "chunkwise: the last chunk's K'V counts as well": count - chunk * d * d,
                f"{form}: that is one step or one chunk; add up all of them": count
                * (chunk if form[0] == "c" else 1)
                / n,
            }
            number = converted(got[form], "number", f"{form} must be")
            own = {message: wrong for message, wrong in mistakes.items() if message.startswith(form)}
            compare(number, count, own, f"{form}, n = {n}, d = {d}, chunk = {chunk}", tolerance=1e-9)


@check
def check_crossing(n: int, d: int) -> None:
    """The length from which the recurrent form is cheaper, at your own width.

    Args:
        n: The answer.
        d: Width of the student's queries and keys.
    """
    mistakes = {"at that length both cost the same: from the next one on it is cheaper": d}
    compare(n, d + 1, mistakes, "smallest_n", tolerance=1e-9, hint="Compare 2 n² d with 2 n d². Is d your own width?")
