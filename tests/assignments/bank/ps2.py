"""ps2: retention in three forms, the Manhattan mask, what each costs."""

import functools

import numpy as np
import torch

from assignments.solutions import solutions
from tsfmicro_lab.models.retention import manhattan_bias

p = functools.partial
REFERENCE = solutions("ps2")


def power(q, gamma, shift=0, tril=True):
    n = torch.arange(len(q))
    mask = gamma ** ((n[:, None] - n).abs() + shift).to(q.dtype)
    return mask.tril() if tril else mask


def softmaxed(q, k, v, g):
    return (q @ k.T).masked_fill(torch.ones(len(q), len(q)).triu(1).bool(), -torch.inf).softmax(-1) @ v


def stepwise(q, k, v, gamma, order="decay add read"):
    state, outputs = torch.zeros(q.shape[1], v.shape[1], dtype=q.dtype), []
    for n in range(len(q)):
        for step in order.split():
            if step == "decay":
                state = gamma * state
            elif step == "add":
                state = state + torch.outer(k[n], v[n])
            elif step == "overwrite":
                state = torch.outer(k[n], v[n])
            else:
                outputs.append(q[n] @ state)
    return torch.stack(outputs)


def row_by_row(q, k, v, gamma):
    """Right numbers; every position reads the whole past again."""
    rows = []
    for n in range(len(q)):
        ages = gamma ** torch.arange(n, -1, -1, dtype=q.dtype)
        rows.append((k[: n + 1] @ q[n] * ages) @ v[: n + 1])
    return torch.stack(rows)


def row_by_sums(q, k, v, gamma):
    return torch.stack([sum(gamma ** (n - m) * (q[n] @ k[m]) * v[m] for m in range(n + 1)) for n in range(len(q))])


def with_numpy(q, k, v, gamma):
    n = np.arange(len(q))
    q, k, v = (t.numpy() for t in (q, k, v))
    with np.errstate(divide="ignore"):
        return np.tril((q @ k.T) * float(gamma) ** np.maximum(n[:, None] - n, 0)) @ v


def broadcast(q, k, v, gamma):
    return ((q[:, None] * k).sum(-1) * power(q, gamma))[..., None].mul(v).sum(1)


def by_einsum(q, k, v, gamma):
    return torch.einsum("nd,md,nm,me->ne", q, k, power(q, gamma), v)


def mask_in_loops(q, k, v, gamma):
    mask = torch.zeros(len(q), len(q), dtype=q.dtype)
    for n in range(len(q)):
        for m in range(n + 1):
            mask[n, m] = gamma ** (n - m)
    return (q @ k.T * mask) @ v


def in_place_parallel(q, k, v, gamma):
    scores = q @ k.mT
    scores *= power(q, gamma)
    return scores.mm(v)


def doubled_decay(q, k, v, gamma):
    return (q @ k.T * power(q, gamma) ** 2) @ v


def powers_by_cumprod(q, k, v, gamma):
    n = len(q)
    ages = torch.cat([torch.ones(1, dtype=q.dtype), torch.full((n - 1,), gamma, dtype=q.dtype)]).cumprod(0)
    place = torch.arange(n)
    return (q @ k.T * ages[(place[:, None] - place).clamp(min=0)]).tril() @ v


PARALLEL = [
    ("trivial", "nothing", lambda q, k, v, g: None, "got None"),
    ("trivial", "the values", lambda q, k, v, g: v, "is wrong"),
    ("trivial", "zero", lambda q, k, v, g: torch.zeros_like(v), "is wrong"),
    ("trivial", "noise", lambda q, k, v, g: torch.randn(v.shape), "is wrong"),
    ("trivial", "weights alone", lambda q, k, v, g: q @ k.T * power(q, g), "must have shape|is wrong"),
    ("trivial", "a pair", lambda q, k, v, g: (by_einsum(q, k, v, g), v), "is wrong|must have shape|different shapes"),
    ("trivial", "text", lambda q, k, v, g: "o_n", "must return an array, got str"),
    ("shortcut", "a loop over positions", row_by_row, "one position after another"),
    ("shortcut", "the recurrent form", stepwise, "one position after another"),
    ("shortcut", "sums of products", row_by_sums, "one position after another"),
    ("shortcut", "mean of the past", lambda q, k, v, g: v.cumsum(0) / torch.arange(1, len(v) + 1)[:, None], "is wrong"),
    ("shortcut", "gamma 0.7, always", lambda q, k, v, g: by_einsum(q, k, v, 0.7), "is wrong"),
    (
        "typical",
        "the future as well",
        lambda q, k, v, g: (q @ k.T * power(q, g, tril=False)) @ v,
        "looks into the future: m",
    ),
    (
        "typical",
        "the future alone",
        lambda q, k, v, g: (q @ k.T * power(q, g, tril=False).triu()) @ v,
        "not into the past",
    ),
    ("typical", "no decay", lambda q, k, v, g: (q @ k.T).tril() @ v, "no decay"),
    ("typical", "decay too early", lambda q, k, v, g: (q @ k.T * power(q, g, 1)) @ v, "one step too early"),
    ("typical", "scaled", lambda q, k, v, g: by_einsum(q, k, v, g) / q.shape[1] ** 0.5, "no scaling"),
    ("typical", "softmax", softmaxed, "no softmax in retention"),
    ("typical", "queries for keys", lambda q, k, v, g: by_einsum(k, q, v, g), "changed places: row n"),
    ("typical", "decay squared", doubled_decay, "is wrong"),
    ("typical", "itself left out", lambda q, k, v, g: (q @ k.T * power(q, g)).tril(-1) @ v, "is wrong"),
    (
        "typical",
        "normalised rows",
        lambda q, k, v, g: by_einsum(q, k, v, g) / power(q, g).sum(1, keepdim=True),
        "is wrong",
    ),
    ("typical", "transposed mask", lambda q, k, v, g: (q @ k.T * power(q, g).T) @ v, "not into the past"),
    ("typical", "decay on the values alone", lambda q, k, v, g: (q @ k.T).tril() @ (v * g), "is wrong"),
    ("typical", "a stop", lambda q, k, v, g: q @ k @ v, "stopped with RuntimeError"),
    ("right", "einsum", by_einsum),
    ("right", "numpy", with_numpy),
    ("right", "broadcast", broadcast),
    ("right", "a mask in loops", mask_in_loops),
    ("right", "in place", in_place_parallel),
    ("right", "cumulative powers", powers_by_cumprod),
    ("right", "32 bit", lambda q, k, v, g: by_einsum(q.float(), k.float(), v.float(), g)),
    ("right", "matmul, bmm", lambda q, k, v, g: ((q[None] @ k[None].mT) * power(q, g)).bmm(v[None])[0]),
    ("right", "a list", lambda q, k, v, g: by_einsum(q, k, v, g).tolist()),
]


def grown(q, k, v, gamma):
    """Outputs put side by side one after another."""
    state, out = torch.zeros(q.shape[1], v.shape[1], dtype=q.dtype), torch.empty(0, v.shape[1], dtype=q.dtype)
    for a, b, c in zip(q, k, v, strict=True):
        state = gamma * state + b[:, None] * c
        out = torch.cat([out, (a @ state)[None]])
    return out


def state_in_place(q, k, v, gamma):
    state, out = torch.zeros(k.shape[1], v.shape[1], dtype=k.dtype), torch.zeros_like(v)
    for n in range(len(q)):
        state.mul_(gamma).addr_(k[n], v[n])
        out[n] = state.T @ q[n]
    return out


def numpy_steps(q, k, v, gamma):
    state, out = np.zeros((q.shape[1], v.shape[1])), []
    for a, b, c in zip(q.numpy(), k.numpy(), v.numpy(), strict=True):
        state = gamma * state + np.outer(b, c)
        out.append(a @ state)
    return np.array(out)


def all_states(q, k, v, gamma):
    states = [k[:1].T @ v[:1]]
    for n in range(1, len(q)):
        states.append(gamma * states[-1] + k[n : n + 1].T @ v[n : n + 1])
    return torch.einsum("nd,nde->ne", q, torch.stack(states))


def recursive(q, k, v, gamma):
    state = torch.zeros(q.shape[1], v.shape[1], dtype=q.dtype)

    def step(n):
        nonlocal state
        state = state * gamma + torch.einsum("d,e->de", k[n], v[n])
        return torch.einsum("d,de->e", q[n], state)

    return torch.stack([step(n) for n in range(len(q))])


def lists(q, k, v, gamma):
    d, e, out = range(q.shape[1]), range(v.shape[1]), []
    state = [[0.0 for _ in e] for _ in d]
    for a, b, c in zip(q.tolist(), k.tolist(), v.tolist(), strict=True):
        state = [[gamma * state[i][j] + b[i] * c[j] for j in e] for i in d]
        out.append([sum(a[i] * state[i][j] for i in d) for j in e])
    return torch.tensor(out)


def divided(q, k, v, gamma):
    """By a cumulative sum of grown products: no state decays."""
    n = torch.arange(len(q), dtype=q.dtype)
    return gamma ** n[:, None] * torch.einsum(
        "nd,nde->ne", q, (gamma ** -n[:, None, None] * k[:, :, None] * v[:, None]).cumsum(0)
    )


def zero_state(q, k, v, gamma):
    return torch.stack([q[n] @ (0 * q[n].T + torch.outer(k[n], v[n])) for n in range(len(q))])


def mat_state(q, k, v, gamma):
    state, out = 0, []
    for n in range(len(q)):
        state = gamma * state + k[n].unsqueeze(1) @ v[n].unsqueeze(0)
        out.append((q[n].unsqueeze(0) @ state).squeeze(0))
    return torch.stack(out)


RECURRENT = [
    ("trivial", "nothing", lambda q, k, v, g: None, "got None"),
    ("trivial", "the values", lambda q, k, v, g: v, "is wrong"),
    ("trivial", "zero", lambda q, k, v, g: torch.zeros_like(v), "is wrong"),
    ("trivial", "the last output", lambda q, k, v, g: stepwise(q, k, v, g)[-1], "must have shape"),
    (
        "trivial",
        "a list of states",
        lambda q, k, v, g: [torch.outer(a, b) for a, b in zip(k, v, strict=True)],
        "must have shape",
    ),
    ("trivial", "one row twice", lambda q, k, v, g: stepwise(q, k, v, g)[[0] * len(q)], "is wrong"),
    ("shortcut", "the parallel form", REFERENCE["parallel"], "something as large as all pairs"),
    ("shortcut", "the parallel form of numpy", with_numpy, "this is the parallel form"),
    ("shortcut", "the parallel form of einsum", by_einsum, "something as large as all pairs"),
    ("shortcut", "the parallel form, broadcast", broadcast, "something as large as all pairs"),
    ("shortcut", "the whole past again", row_by_row, "reads the whole past again"),
    ("shortcut", "sums of products", row_by_sums, "reads the whole past again"),
    (
        "shortcut",
        "chunks of everything",
        lambda q, k, v, g: REFERENCE["chunkwise"](q, k, v, g, len(q)),
        "something as large as all pairs",
    ),
    ("shortcut", "powers divided", divided, "gamma = 0|all states is kept"),
    ("typical", "never forgets", p(stepwise, order="add read"), "never forgets"),
    ("typical", "the new decays at once", p(stepwise, order="add decay read"), "the new product decays at once"),
    ("typical", "read first", p(stepwise, order="read decay add"), "read before the state knows position n"),
    ("typical", "read in between", p(stepwise, order="decay read add"), "read from the decayed state"),
    ("typical", "overwritten", p(stepwise, order="overwrite read"), "overwritten, not added"),
    ("typical", "the state is zero", zero_state, "overwritten, not added|stopped"),
    ("typical", "decays twice", p(stepwise, order="decay decay add read"), "is wrong"),
    (
        "typical",
        "outer turned round",
        lambda q, k, v, g: stepwise(q, v[:, : k.shape[1]], k, g),
        "stopped|is wrong|shape",
    ),
    ("typical", "the other way", lambda q, k, v, g: stepwise(q.flip(0), k.flip(0), v.flip(0), g).flip(0), "is wrong"),
    ("typical", "scaled", lambda q, k, v, g: stepwise(q, k, v, g) / q.shape[1] ** 0.5, "is wrong"),
    ("typical", "one step is lost", lambda q, k, v, g: stepwise(q, k, v, g)[1:], "must have shape"),
    ("right", "outputs put side by side", grown),
    ("right", "state in place", state_in_place),
    ("right", "numpy", numpy_steps),
    ("typical", "all states kept", all_states, "or all states is kept"),
    ("right", "a function per step", recursive),
    ("right", "plain lists", lists),
    ("right", "matrix products", mat_state),
    ("right", "32 bit", lambda q, k, v, g: stepwise(q.float(), k.float(), v.float(), g)),
    ("right", "a loop over rows", stepwise),
]


def in_chunks(q, k, v, gamma, chunk, age=1, forget=None, hand_over=True, decay_k=True):
    state, outputs = torch.zeros(q.shape[1], v.shape[1], dtype=q.dtype), []
    for qc, kc, vc in zip(q.split(chunk), k.split(chunk), v.split(chunk), strict=True):
        ages = gamma ** torch.arange(len(qc), dtype=q.dtype)
        inside = (qc @ kc.T * power(qc, gamma)) @ vc
        outputs.append(inside + hand_over * gamma**age * ages[:, None] * (qc @ state))
        older = kc * ages.flip(0)[:, None] if decay_k else kc
        state = gamma ** (len(qc) if forget is None else forget) * state + older.T @ vc
    return torch.cat(outputs)


def padded(q, k, v, gamma, chunk):
    """All chunks at once, the last one filled up with zeros; the states in a loop."""
    n, size = len(q), min(chunk, len(q))
    filled = [torch.cat([t, t.new_zeros(-n % size, t.shape[1])]).unflatten(0, (-1, size)) for t in (q, k, v)]
    qs, ks, vs = filled
    ages = gamma ** torch.arange(size + 1, dtype=q.dtype)
    inside = (qs @ ks.mT * power(qs[0], gamma)) @ vs
    handed = (ks * ages[:size].flip(0)[:, None]).mT @ vs
    states = [torch.zeros_like(handed[0])]
    for part in handed[:-1]:
        states.append(ages[size] * states[-1] + part)
    return (inside + ages[1:, None] * (qs @ torch.stack(states))).flatten(0, 1)[:n]


def chunk_out(q, k, v, gamma, chunk):
    out, state = np.zeros(v.shape), 0.0
    for start in range(0, len(q), chunk):
        qc, kc, vc = (t[start : start + chunk].numpy() for t in (q, k, v))
        i = np.arange(len(qc))
        ages = float(gamma) ** i
        mask = np.tril(float(gamma) ** np.maximum(i[:, None] - i, 0))
        out[start : start + chunk] = (qc @ kc.T * mask) @ vc
        if start:
            out[start : start + chunk] += gamma * ages[:, None] * (qc @ state)
        state = gamma ** len(qc) * state + (kc * ages[::-1, None]).T @ vc
    return out


def einsum_chunks(q, k, v, gamma, chunk):
    state, outputs = torch.zeros(q.shape[1], v.shape[1], dtype=q.dtype), []
    for qc, kc, vc in zip(q.split(chunk), k.split(chunk), v.split(chunk), strict=True):
        i = torch.arange(len(qc), dtype=q.dtype)
        inside = torch.einsum("nd,md,nm,me->ne", qc, kc, power(qc, gamma), vc)
        outputs.append(inside + torch.einsum("n,nd,de->ne", gamma ** (i + 1), qc, state))
        state = gamma ** len(qc) * state + torch.einsum("md,m,me->de", kc, gamma ** (len(qc) - 1 - i), vc)
    return torch.cat(outputs)


def recurrent_in_chunks(q, k, v, gamma, chunk):
    state, outputs = torch.zeros(q.shape[1], v.shape[1], dtype=q.dtype), []
    for part in zip(q.split(chunk), k.split(chunk), v.split(chunk), strict=True):
        for a, b, c in zip(*part, strict=True):
            state = gamma * state + torch.outer(b, c)
            outputs.append(a @ state)
    return torch.stack(outputs)


def whole_chunks_only(q, k, v, gamma, chunk):
    n = len(q) // chunk * chunk or len(q)
    return in_chunks(q[:n], k[:n], v[:n], gamma, chunk)


def ignoring(q, k, v, gamma, chunk):
    return in_chunks(q, k, v, gamma, 400)


CHUNKWISE = [
    ("trivial", "nothing", lambda q, k, v, g, c: None, "got None"),
    ("trivial", "the values", lambda q, k, v, g, c: v, "is wrong"),
    ("trivial", "zero", lambda q, k, v, g, c: torch.zeros_like(v), "is wrong"),
    ("trivial", "a list of chunks", lambda q, k, v, g, c: list(v.split(c)), "is wrong|different shapes|shape"),
    ("trivial", "the first chunk", lambda q, k, v, g, c: in_chunks(q[:c], k[:c], v[:c], g, c), "must have shape"),
    ("shortcut", "the parallel form", lambda q, k, v, g, c: by_einsum(q, k, v, g), "and the parallel form"),
    ("shortcut", "the parallel form of numpy", lambda q, k, v, g, c: with_numpy(q, k, v, g), "and the parallel form"),
    ("shortcut", "the recurrent form", lambda q, k, v, g, c: stepwise(q, k, v, g), "inside a chunk go parallel"),
    ("shortcut", "recurrent in every chunk", recurrent_in_chunks, "inside a chunk go parallel"),
    ("shortcut", "row by row", lambda q, k, v, g, c: row_by_row(q, k, v, g), "inside a chunk go parallel"),
    ("shortcut", "one chunk, always", ignoring, "and the parallel form"),
    ("shortcut", "chunks of 1", lambda q, k, v, g, c: in_chunks(q, k, v, g, 1), "inside a chunk go parallel"),
    ("typical", "nothing handed over", p(in_chunks, hand_over=False), "know nothing of each other"),
    ("typical", "too young", p(in_chunks, age=0), "one step too young"),
    ("typical", "too old", p(in_chunks, age=2), "one step too much"),
    ("typical", "forgets gamma", p(in_chunks, forget=1), r"forgets gamma, not gamma\^B"),
    ("typical", "no decay", lambda q, k, v, g, c: (q @ k.T).tril() @ v, "no decay"),
    ("typical", "forgets nothing", p(in_chunks, forget=0), "is wrong"),
    ("typical", "keys of one age", p(in_chunks, decay_k=False), "is wrong"),
    ("typical", "the last chunk is lost", whole_chunks_only, "must have shape"),
    ("typical", "forgets a step too much", lambda q, k, v, g, c: in_chunks(q, k, v, g, c, forget=c + 1), "is wrong"),
    (
        "typical",
        "B of a full chunk, in a short one",
        lambda q, k, v, g, c: in_chunks(q, k, v, g, c, age=c),
        "one step too much",
    ),
    ("typical", "scaled", lambda q, k, v, g, c: in_chunks(q, k, v, g, c) / q.shape[1] ** 0.5, "is wrong"),
    (
        "typical",
        "backwards",
        lambda q, k, v, g, c: in_chunks(q.flip(0), k.flip(0), v.flip(0), g, c).flip(0),
        "is wrong",
    ),
    ("typical", "a stop", lambda q, k, v, g, c: q.view(-1, c, 7) @ k, "stopped with RuntimeError"),
    ("right", "split", in_chunks),
    ("right", "all chunks at once", padded),
    ("right", "numpy", chunk_out),
    ("right", "einsum", einsum_chunks),
    ("right", "32 bit", lambda q, k, v, g, c: in_chunks(q.float(), k.float(), v.float(), g, c)),
    ("right", "the lesson's own", REFERENCE["chunkwise"]),
    ("right", "a list", lambda q, k, v, g, c: in_chunks(q, k, v, g, c).tolist()),
]


def grid(distance, sign=1.0, log=True):
    def bias(gamma, height, width):
        y, x = (i.flatten() for i in torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))
        d = distance((y[:, None] - y).abs(), (x[:, None] - x).abs(), height, width)
        return sign * np.log(gamma) * d if log else gamma**d

    return bias


def raster(dy, dx, height, width):
    place = torch.arange(height * width)
    return (place[:, None] - place).abs()


def columns_first(dy, dx, height, width):
    places = torch.cartesian_prod(torch.arange(width), torch.arange(height))
    return (places[:, None] - places).abs().sum(-1)


def two_loops(gamma, height, width):
    bias = np.zeros((height * width, height * width))
    for a in range(height * width):
        for b in range(height * width):
            bias[a, b] = np.log(gamma) * (abs(a // width - b // width) + abs(a % width - b % width))
    return bias


def kron(gamma, height, width):
    y, x = (abs(np.subtract.outer(np.arange(n), np.arange(n))) for n in (height, width))
    return np.log(gamma) * (np.kron(y, np.ones((width, width))) + np.kron(np.ones((height, height)), x))


def four_axes(gamma, height, width):
    y, x = torch.arange(height), torch.arange(width)
    d = (y[:, None, None, None] - y[None, None, :, None]).abs() + (x[None, :, None, None] - x).abs()
    return (torch.tensor(gamma, dtype=torch.float64).log() * d).reshape(height * width, -1)


def l1(gamma, height, width):
    places = np.stack(np.unravel_index(np.arange(height * width), (height, width)), 1)
    return torch.cdist(torch.tensor(places).double(), torch.tensor(places).double(), p=1) * float(np.log(gamma))


def mistaken(distance):
    return grid(lambda dy, dx, h, w: distance(dy, dx))


MANHATTAN = [
    ("trivial", "nothing", lambda g, h, w: None, "got None"),
    ("trivial", "zero", lambda g, h, w: torch.zeros(h * w, h * w), "is wrong"),
    ("trivial", "one number", lambda g, h, w: np.log(g), "must have shape"),
    ("trivial", "of one place", lambda g, h, w: l1(g, h, w)[0], "must have shape"),
    ("trivial", "as a grid", lambda g, h, w: l1(g, h, w).reshape(h, w, h, w), "must have shape"),
    (
        "shortcut",
        "the lab's own",
        lambda g, h, w: manhattan_bias(torch.tensor([g]), h, w)[0],
        "calls tsfmicro_lab.*write it yourself",
    ),
    ("shortcut", "gamma 0.7", lambda g, h, w: l1(0.7, h, w), "is wrong"),
    ("shortcut", "a square grid, always", lambda g, h, w: l1(g, h, h), "must have shape"),
    ("shortcut", "the first rows alone", lambda g, h, w: l1(g, h, w) * (torch.arange(h * w) < 6), "is wrong"),
    ("shortcut", "largest distance capped", lambda g, h, w: l1(g, h, w).clamp(min=5 * np.log(g)), "is wrong"),
    ("typical", "the factor", grid(lambda dy, dx, h, w: dy + dx, log=False), "its logarithm"),
    ("typical", "turned", grid(lambda dy, dx, h, w: dy + dx, sign=-1), "the sign is turned"),
    ("typical", "Euclid", mistaken(lambda dy, dx: (dy**2 + dx**2) ** 0.5), "Euclidean"),
    ("typical", "squares", mistaken(lambda dy, dx: dy**2 + dx**2), "is wrong"),
    ("typical", "the larger", mistaken(torch.maximum), "the larger of"),
    ("typical", "the smaller", mistaken(torch.minimum), "is wrong"),
    ("typical", "the product", mistaken(lambda dy, dx: dy * dx), "is wrong"),
    ("typical", "raster order", grid(raster), "raster order"),
    ("typical", "columns first", grid(columns_first), "rows and columns are swapped"),
    ("typical", "rows alone", mistaken(lambda dy, dx: dy), "only the rows count"),
    ("typical", "columns alone", mistaken(lambda dy, dx: dx), "only the columns count"),
    ("typical", "the distance alone", lambda g, h, w: l1(np.e, h, w), "the distance alone"),
    (
        "typical",
        "only the past",
        lambda g, h, w: l1(g, h, w).masked_fill(torch.ones(h * w, h * w).triu(1) > 0, -np.inf),
        "cut off",
    ),
    ("typical", "log to base 2", lambda g, h, w: l1(g, h, w) / np.log(2), "is wrong"),
    ("typical", "log to base 10", lambda g, h, w: l1(g, h, w) / np.log(10), "is wrong"),
    ("typical", "heads", lambda g, h, w: l1(g, h, w)[None], "must have shape"),
    ("typical", "half", lambda g, h, w: l1(g, h, w).tril(), "is wrong"),
    ("typical", "signed", grid(lambda dy, dx, h, w: (dy + dx).triu() - (dy + dx).tril()), "is wrong"),
    ("right", "two loops", two_loops),
    ("right", "Kronecker", kron),
    ("right", "four axes", four_axes),
    ("right", "cdist", l1),
    ("right", "meshgrid", grid(lambda dy, dx, h, w: dy + dx)),
    ("right", "32 bit", lambda g, h, w: l1(g, h, w).float()),
    ("right", "lists", lambda g, h, w: two_loops(g, h, w).tolist()),
    ("right", "logarithm of powers", lambda g, h, w: (g ** (l1(np.e, h, w))).log()),
]


def costs(**changes):
    def cost(n, d, chunk):
        true = {"parallel": 2 * n * n * d, "recurrent": 2 * n * d * d, "chunkwise": 2 * n * chunk * d + 2 * n * d * d}
        return true | {form: change(n, d, chunk) for form, change in changes.items()}

    return cost


def counted(n, d, chunk):
    steps, blocks = range(n), range(n // chunk)
    return {
        "recurrent": sum(d * d + d * d for _ in steps),
        "parallel": n * d * n + n * n * d,
        "chunkwise": sum(chunk * d * chunk * 2 + chunk * d * d * 2 for _ in blocks),
    }


def no_chunk(n, d, c):
    return 2 * n * n * d


COST = [
    ("trivial", "nothing", lambda n, d, c: None, "must return dict, got None"),
    ("trivial", "a tuple", lambda n, d, c: tuple(costs()(n, d, c).values()), "must return dict, got tuple"),
    ("trivial", "an empty dict", lambda n, d, c: {}, "chunkwise, parallel, recurrent is missing"),
    ("trivial", "all zero", lambda n, d, c: dict.fromkeys(costs()(n, d, c), 0), "is wrong"),
    ("trivial", "all alike", lambda n, d, c: dict.fromkeys(costs()(n, d, c), 2 * n * n * d), "is wrong"),
    ("trivial", "text", costs(parallel=lambda n, d, c: "2 n² d"), "parallel must be a number, got str"),
    ("shortcut", "chunkwise is parallel", costs(chunkwise=no_chunk), "chunkwise.*is wrong"),
    (
        "shortcut",
        "chunkwise is recurrent",
        costs(chunkwise=lambda n, d, c: 2 * n * d * d),
        "inside the chunks is missing",
    ),
    ("shortcut", "numbers of one example", lambda n, d, c: costs()(6, 4, 3), "is wrong"),
    ("shortcut", "orders alone", costs(parallel=lambda n, d, c: n * n, recurrent=lambda n, d, c: n), "is wrong"),
    ("typical", "one product of two", costs(parallel=lambda n, d, c: n * n * d), "parallel: half is missing"),
    ("typical", "additions, too", costs(parallel=lambda n, d, c: 4 * n * n * d), "additions are not counted"),
    ("typical", "half of the recurrent", costs(recurrent=lambda n, d, c: n * d * d), "recurrent: half is missing"),
    ("typical", "nothing handed over", costs(chunkwise=lambda n, d, c: 2 * n * c * d), "hand to each other is missing"),
    ("typical", "one step", costs(recurrent=lambda n, d, c: 2 * d * d), "that is one step or one chunk"),
    (
        "typical",
        "one chunk",
        costs(chunkwise=lambda n, d, c: 2 * c * c * d + 2 * c * d * d),
        "that is one step or one chunk",
    ),
    ("typical", "the triangle alone", costs(parallel=lambda n, d, c: n * (n + 1) * d), "is wrong"),
    ("typical", "n and d swapped", costs(parallel=lambda n, d, c: 2 * n * d * d), "is wrong"),
    ("typical", "the decay as well", costs(recurrent=lambda n, d, c: 3 * n * d * d), "is wrong"),
    (
        "typical",
        "the last state saved",
        costs(chunkwise=lambda n, d, c: 2 * n * c * d + 2 * n * d * d - c * d * d),
        "last chunk's K'V",
    ),
    ("typical", "chunks as a count", costs(chunkwise=lambda n, d, c: 2 * n * n / c * d + 2 * n * d * d), "is wrong"),
    (
        "typical",
        "a key misspelt",
        lambda n, d, c: {"Parallel": 1, "recurrent": 1, "chunkwise": 1},
        "parallel is missing",
    ),
    ("right", "formulas", costs()),
    ("right", "counted up", counted),
    ("right", "floats", lambda n, d, c: {k: float(x) for k, x in counted(n, d, c).items()}),
    ("right", "numpy", lambda n, d, c: {k: np.int64(x) for k, x in counted(n, d, c).items()}),
    ("right", "one form more", lambda n, d, c: counted(n, d, c) | {"softmax": 0}),
    ("right", "factored", costs(chunkwise=lambda n, d, c: 2 * n * d * (c + d))),
]


def length(kind, what, n, message="", seed=3):
    return (kind, what, {"smallest_n": n, "own_seed": seed}, *([message] if message else []))


CROSSING = [
    length("trivial", "nothing", None, "smallest_n must be a number or an array, got None"),
    length("trivial", "one", 1, "Compare 2 n² d"),
    length("trivial", "zero", 0, "Compare 2 n² d"),
    length("trivial", "a hundred", 100, "Compare 2 n² d"),
    length("trivial", "text", "d + 1", "got str"),
    length("trivial", "infinity", float("inf"), "holds NaN or infinity"),
    length("shortcut", "64, the chunk", 64, "Compare"),
    length("shortcut", "a neighbour's", 20, "Compare", seed=4),
    length("shortcut", "8, the smallest width", 8, "Compare"),
    length("typical", "equal costs", 11, "both cost the same"),
    length("typical", "equal costs, another student", 12, "both cost the same", seed=4),
    length("typical", "twice", 22, "Compare"),
    length("typical", "squared", 121, "Compare"),
    length("typical", "half", 6, "Compare"),
    length("typical", "one too many", 13, "Compare"),
    length("typical", "not whole", 11.5, "Compare"),
    length("typical", "negative", -12, "Compare"),
    length("typical", "all lengths", [12, 13], "must have shape"),
    length("right", "a number", 12),
    length("right", "a float", 12.0),
    length("right", "numpy", np.int64(12)),
    length("right", "a tensor", torch.tensor(12)),
    length("right", "another student", 13, seed=4),
    length("right", "a large width", 65, seed=56),
]
ENTRIES = [
    (question, *row)
    for question, rows in (
        ("parallel", PARALLEL),
        ("recurrent", RECURRENT),
        ("chunkwise", CHUNKWISE),
        ("manhattan", MANHATTAN),
        ("cost", COST),
        ("crossing", CROSSING),
    )
    for row in rows
]
