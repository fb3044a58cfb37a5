"""Manhattan retention: attention on an image grid that forgets with distance.

Despite its name this is no recurrence: it is bidirectional softmax attention whose logits carry a penalty that grows
with the Manhattan distance between two places (RMT: Fan et al., "RMT: Retentive Networks Meet Vision Transformers",
CVPR 2024, arXiv 2309.11523). TSFmicro (arXiv 2505.16372) reads the difference frame with it.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def head_decay(heads: int, initial: float = 2.0, spread: float = 4.0) -> Float[Tensor, " heads"]:
    r"""Decay per head: the factor by which a place counts less with each step of distance.

    .. math:: \gamma_h = 1 - 2^{-(a + b\,h/H)}

    Args:
        heads: Number of heads H. The first forgets fastest.
        initial: a, the exponent of the first head.
        spread: b, by how much the exponent grows over the heads.

    Returns:
        gamma of each head, between 0 and 1.

    Example:
        >>> head_decay(2)
        tensor([0.7500, 0.9375])
    """
    return 1 - 2 ** -(initial + spread * torch.arange(heads) / heads)


def manhattan_bias(gamma: Float[Tensor, " heads"], height: int, width: int) -> Float[Tensor, "heads n n"]:
    r"""What is added to the attention logits: :math:`\log\gamma_h\,(|\Delta y| + |\Delta x|)`.

    Args:
        gamma: Decay per head.
        height: Rows of the grid; 1 gives the one-dimensional bias of a row.
        width: Columns of the grid.

    Returns:
        The bias between every two places in raster order, n = height · width. The diagonal is 0.

    Example:
        >>> manhattan_bias(torch.tensor([0.5]), 1, 3).exp()[0]
        tensor([[1.0000, 0.5000, 0.2500],
                [0.5000, 1.0000, 0.5000],
                [0.2500, 0.5000, 1.0000]])
    """
    places = torch.cartesian_prod(torch.arange(height), torch.arange(width))
    distance = (places[:, None] - places[None]).abs().sum(-1)
    return gamma.log()[:, None, None] * distance


def rotary_table(
    length: int, head_dim: int
) -> tuple[Float[Tensor, "length head_dim"], Float[Tensor, "length head_dim"]]:
    """Sine and cosine by which queries and keys are turned at each position (Su et al., arXiv 2104.09864).

    Args:
        length: Number of positions, in raster order.
        head_dim: Channels of a head, even. Each pair of channels turns at one speed, from 1 to 1/10000 per position.

    Returns:
        (sin, cos).

    Example:
        >>> sin, cos = rotary_table(5, 8)
        >>> torch.allclose(sin**2 + cos**2, torch.ones(5, 8))
        True
    """
    if head_dim % 2:
        raise ValueError(f"head_dim must be even, got {head_dim}: choose dims that 2 · heads divides")
    speed = 10000 ** -torch.linspace(0, 1, head_dim // 2)
    angle = torch.outer(torch.arange(length), speed.repeat_interleave(2))
    return angle.sin(), angle.cos()


def rotate(
    x: Float[Tensor, "batch heads n d"], sin: Float[Tensor, "n d"], cos: Float[Tensor, "n d"]
) -> Float[Tensor, "batch heads n d"]:
    """Turns each pair of channels (x0, x1) by its position's angle.

    Example:
        >>> x = torch.ones(1, 1, 1, 2)
        >>> rotate(x, torch.ones(1, 2), torch.zeros(1, 2))
        tensor([[[[-1.,  1.]]]])
    """
    quarter_turn = torch.stack((-x[..., 1::2], x[..., ::2]), dim=-1).flatten(-2)
    return x * cos + quarter_turn * sin


class DropPath(nn.Module):
    """Stochastic depth: in training a residual branch is left out for a random part of the samples (arXiv 1603.09382).

    Args:
        rate: Probability of leaving the branch out; the rest is scaled by 1 / (1 - rate).

    Example:
        >>> DropPath(0.5).eval()(torch.ones(2))
        tensor([1., 1.])
    """

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Float[Tensor, "batch *rest"]) -> Float[Tensor, "batch *rest"]:
        """Returns x, with whole samples set to zero in training."""
        if not self.training or self.rate == 0:
            return x
        keep = torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device) >= self.rate
        return x * keep / (1 - self.rate)


class DepthwiseConv(nn.Conv2d):
    """Depthwise convolution on channels-last maps: every channel sees its own neighbourhood only."""

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__(dim, dim, kernel, padding=kernel // 2, groups=dim)

    def forward(self, x: Float[Tensor, "batch height width dim"]) -> Float[Tensor, "batch height width dim"]:
        """Returns the filtered map, same shape."""
        return super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class ManhattanRetention(nn.Module):
    r"""Softmax attention over a grid with a Manhattan-distance bias, plus a 5×5 depthwise convolution of the values.

    .. math:: \mathrm{softmax}(Q K^\top + \log\gamma\,(|\Delta y| + |\Delta x|))\,V + \mathrm{DWConv}_{5\times5}(V)

    The decomposed form attends along rows and then along columns of the result, with the same queries and keys. It
    costs n·(H + W) instead of n² and is *another operator*, not a faster way to the same numbers.

    Args:
        dim: Channels.
        heads: Attention heads; `dim` must be a multiple of 2 · heads.
        grid: Side of the square grid, in tokens.
        decomposed: Rows then columns instead of all pairs.
        spread: b of :func:`head_decay`.

    Shape:
        (B, grid, grid, dim) → the same.

    Example:
        >>> ManhattanRetention(16, heads=2, grid=4)(torch.randn(3, 4, 4, 16)).shape
        torch.Size([3, 4, 4, 16])
    """

    def __init__(self, dim: int, heads: int, grid: int, *, decomposed: bool = False, spread: float = 4.0) -> None:
        super().__init__()
        self.heads, self.grid, self.decomposed = heads, grid, decomposed
        self.q, self.k, self.v, self.out = (nn.Linear(dim, dim) for _ in range(4))
        self.local = DepthwiseConv(dim, 5)
        sin, cos = rotary_table(grid * grid, dim // heads)
        self.register_buffer("sin", sin, persistent=False)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("bias", torch.empty(0), persistent=False)
        self.sin: Tensor
        self.cos: Tensor
        self.bias: Tensor
        self.set_decay(head_decay(heads, spread=spread))

    def set_decay(self, gamma: Float[Tensor, " heads"]) -> None:
        """Replaces the decay of each head; it is no weight, so a trained layer can be asked what another one would do.

        Args:
            gamma: Above 0, at most 1. At 1 distance no longer counts and plain attention remains.

        Raises:
            ValueError: There is not one such value for each head.
        """
        if len(gamma) != self.heads or not bool(((gamma > 0) & (gamma <= 1)).all()):
            raise ValueError(f"the decay of {self.heads} heads must lie in (0, 1], got {gamma.tolist()}")
        self.gamma = gamma
        self.bias = manhattan_bias(gamma, 1 if self.decomposed else self.grid, self.grid).to(self.sin.device)

    def weights(self, x: Float[Tensor, "batch height width dim"]) -> Float[Tensor, "batch heads n n"]:
        """How much each place (row) takes from each place (column), both in raster order. Rows sum to 1.

        The decomposed form never holds this matrix; here it is multiplied out from its rows and columns.
        """
        if not self.decomposed:
            q, k = self._turned(x)
            return (q @ k.mT + self.bias).softmax(-1)
        along_row, along_column = self.line_weights(x)
        return torch.einsum("bhxyv, bhvxu -> bhyxvu", along_column, along_row).flatten(4).flatten(2, 3)

    def line_weights(
        self, x: Float[Tensor, "batch height width dim"]
    ) -> tuple[Float[Tensor, "batch heads y x x"], Float[Tensor, "batch heads x y y"]]:
        """What the decomposed form holds: weights along each row, and then along each column."""
        q, k = (rearrange(t, "b h (y x) d -> b h y x d", y=self.grid) for t in self._turned(x))
        along_row = (torch.einsum("bhyxd, bhyud -> bhyxu", q, k) + self.bias[:, None]).softmax(-1)
        along_column = (torch.einsum("bhyxd, bhvxd -> bhxyv", q, k) + self.bias[:, None]).softmax(-1)
        return along_row, along_column

    def _turned(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys (B, heads, n, d), turned by their position."""
        q, k = (rearrange(f(x), "b y x (h d) -> b h (y x) d", h=self.heads) for f in (self.q, self.k))
        return rotate(q, self.sin, self.cos), rotate(k * k.shape[-1] ** -0.5, self.sin, self.cos)

    def forward(self, x: Float[Tensor, "batch height width dim"]) -> Float[Tensor, "batch height width dim"]:
        """Returns what each place gathered from all others."""
        side = self.grid
        q, k = self._turned(x)
        v = self.v(x)
        local = self.local(v)
        v = rearrange(v, "b y x (h d) -> b h (y x) d", h=self.heads)
        bias = self.bias.to(q.dtype)[None]  # four axes: the fused kernels take no mask of three
        if self.decomposed:
            for line, back in (("(b y) h x d", "b h (y x) d"), ("(b x) h y d", "b h (y x) d")):
                ql, kl, vl = (rearrange(t, f"b h (y x) d -> {line}", y=side) for t in (q, k, v))
                v = F.scaled_dot_product_attention(ql, kl, vl, attn_mask=bias, scale=1.0)
                v = rearrange(v, f"{line} -> {back}", b=len(x))
        else:
            v = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0)
        gathered: Tensor = self.out(rearrange(v, "b h (y x) d -> b y x (h d)", y=side) + local)
        return gathered


class FeedForward(nn.Module):
    """Linear → GELU → plus its own 3×3 depthwise convolution → Linear, at every place of the grid.

    Args:
        dim: Channels in and out.
        ratio: Hidden channels per input channel.

    Example:
        >>> FeedForward(8)(torch.randn(1, 4, 4, 8)).shape
        torch.Size([1, 4, 4, 8])
    """

    def __init__(self, dim: int, ratio: int = 3) -> None:
        super().__init__()
        self.widen, self.narrow = nn.Linear(dim, ratio * dim), nn.Linear(ratio * dim, dim)
        self.local = DepthwiseConv(ratio * dim, 3)

    def forward(self, x: Float[Tensor, "batch height width dim"]) -> Float[Tensor, "batch height width dim"]:
        """Returns the transformed map, same shape."""
        hidden = F.gelu(self.widen(x))
        narrow: Tensor = self.narrow(hidden + self.local(hidden))
        return narrow


class RetentionBlock(nn.Module):
    """One block of RMT: position by convolution, then retention, then feed-forward, each added to what it read.

    Args:
        dim: Channels.
        heads: Retention heads.
        grid: Side of the square grid, in tokens.
        decomposed: See :class:`ManhattanRetention`.
        spread: b of :func:`head_decay`.
        drop_path: Stochastic depth rate of both residual branches.

    Shape:
        (B, grid, grid, dim) → the same.

    Example:
        >>> block = RetentionBlock(16, heads=2, grid=4, decomposed=True, spread=4.0)
        >>> block(torch.randn(3, 4, 4, 16)).shape
        torch.Size([3, 4, 4, 16])
    """

    def __init__(
        self, dim: int, heads: int, grid: int, *, decomposed: bool, spread: float, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.position = DepthwiseConv(dim, 3)
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.retention = ManhattanRetention(dim, heads, grid, decomposed=decomposed, spread=spread)
        self.ffn = FeedForward(dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Float[Tensor, "batch height width dim"]) -> Float[Tensor, "batch height width dim"]:
        """Returns the refined map, same shape."""
        x = x + self.position(x)
        x = x + self.drop_path(self.retention(self.norm1(x)))
        refined: Tensor = x + self.drop_path(self.ffn(self.norm2(x)))
        return refined
