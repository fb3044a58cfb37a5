r"""Retention of sequences, as RetNet defines it, in three forms that give the same numbers. For teaching.

Sun et al., "Retentive Network: A Successor to Transformer for Large Language Models", arXiv 2307.08621 (2023). Position
n gathers the values of all positions up to itself, each weighted by the product of query and key and by a factor that
shrinks with the distance:

.. math:: o_n = \sum_{m \le n} \gamma^{\,n-m}\,(q_n \cdot k_m)\,v_m

There is no softmax, which is why the sum can be kept as a running state. TSFmicro reads images, where no token comes
"before" another; its retention (:mod:`tsfmicro_lab.models.retention`) kept the decay and little else of this.
"""

import torch
from jaxtyping import Float
from torch import Tensor

Keys = Float[Tensor, "*batch n d"]
Values = Float[Tensor, "*batch n e"]


def decay_mask(length: int, gamma: float, *, dtype: torch.dtype | None = None) -> Float[Tensor, "n n"]:
    r"""The matrix D of the parallel form: :math:`D_{nm} = \gamma^{n-m}` for m ≤ n, else 0.

    At a decay of 1 nothing is forgotten; at 0 a position knows only itself.

    Example:
        >>> decay_mask(3, 0.5)
        tensor([[1.0000, 0.0000, 0.0000],
                [0.5000, 1.0000, 0.0000],
                [0.2500, 0.5000, 1.0000]])
    """
    _check_decay(gamma)
    position = torch.arange(length)
    distance = (position[:, None] - position).clamp(min=0)
    return (torch.tensor(gamma, dtype=dtype) ** distance).tril()


def parallel(q: Keys, k: Keys, v: Values, gamma: float) -> Values:
    r"""All positions at once: :math:`(Q K^\top \odot D)\,V`. Time and memory grow with n²; made for training.

    Raises:
        ValueError: The decay is not between 0 and 1.

    Example:
        >>> one = torch.ones(3, 1)
        >>> parallel(one, one, one, 0.5).flatten().tolist()
        [1.0, 1.5, 1.75]
    """
    return (q @ k.mT * decay_mask(q.shape[-2], gamma, dtype=q.dtype).to(q.device)) @ v


def recurrent(q: Keys, k: Keys, v: Values, gamma: float) -> Values:
    r"""One position after another: :math:`S_n = \gamma S_{n-1} + k_n^\top v_n`, :math:`o_n = q_n S_n`.

    The state S is a d × e matrix, whatever the length: each step costs the same. Made for generating text.
    """
    _check_decay(gamma)
    state = torch.zeros(*k.shape[:-2], k.shape[-1], v.shape[-1], dtype=v.dtype, device=v.device)
    outputs = []
    for n in range(q.shape[-2]):
        state = gamma * state + k[..., n, :, None] * v[..., n, None, :]
        outputs.append((q[..., n, None, :] @ state)[..., 0, :])
    return torch.stack(outputs, -2)


def chunkwise(q: Keys, k: Keys, v: Values, gamma: float, chunk: int = 64) -> Values:
    r"""Parallel inside a chunk, recurrent from chunk to chunk: time grows with n, and matrices stay large enough.

    Position i of a chunk of B (i from 0) reads the state that earlier chunks left, which is i + 1 steps old:

    .. math::
        O = (Q K^\top \odot D)\,V + \mathrm{diag}(\gamma^{i+1})\,Q\,S, \qquad
        S \leftarrow \gamma^{B} S + K^\top \mathrm{diag}(\gamma^{B-1-i})\,V

    The last chunk may be shorter.
    """
    if chunk < 1:
        raise ValueError(f"a chunk holds at least one position, got {chunk}")
    state = torch.zeros(*k.shape[:-2], k.shape[-1], v.shape[-1], dtype=v.dtype, device=v.device)
    outputs = []
    for qc, kc, vc in zip(*(t.split(chunk, dim=-2) for t in (q, k, v)), strict=True):
        size = qc.shape[-2]
        ages = torch.tensor(gamma, dtype=q.dtype, device=q.device) ** torch.arange(size + 1, device=q.device)
        outputs.append(parallel(qc, kc, vc, gamma) + ages[1:, None] * (qc @ state))
        state = ages[size] * state + (kc * ages[:size].flip(0)[:, None]).mT @ vc
    return torch.cat(outputs, -2)


def _check_decay(gamma: float) -> None:
    if not 0 <= gamma <= 1:
        raise ValueError(f"the decay must lie between 0 and 1, got {gamma}: beyond 1 the past would grow")
