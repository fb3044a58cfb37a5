"""Manhattan retention: attention on an image grid that decays with distance.

Despite its name this is no recurrence: it is bidirectional softmax attention whose logits carry a penalty that grows
with the Manhattan distance between two tokens. TSFmicro (arXiv 2505.16372) reads the difference frame with it.

References:
    Fan et al., "RMT: Retentive Networks Meet Vision Transformers", CVPR 2024, arXiv 2309.11523.
    Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", arXiv 2104.09864.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

Grid = Float[Tensor, "batch height width dim"]
Heads = Float[Tensor, "batch heads n d"]


def head_decay(heads: int, initial: float = 2.0, spread: float = 4.0) -> Float[Tensor, " heads"]:
    r"""Decay per head: the factor by which a token counts less with each step of distance.

    .. math:: \gamma_h = 1 - 2^{-(a + b\,h/H)}

    H is the number of heads, the first of which forgets fastest; a is `initial`, b is `spread`.

    Example:
        >>> head_decay(2)
        tensor([0.7500, 0.9375])
    """
    return 1 - 2 ** -(initial + spread * torch.arange(heads) / heads)


def manhattan_bias(gamma: Float[Tensor, " heads"], height: int, width: int) -> Float[Tensor, "heads n n"]:
    r"""What is added to the attention logits: :math:`\log\gamma_h\,(|\Delta y| + |\Delta x|)`.

    It is that between every two tokens of a grid, in raster order, n = height · width; the diagonal is 0.

    Example:
        >>> manhattan_bias(torch.tensor([0.5]), 1, 3).exp()[0]
        tensor([[1.0000, 0.5000, 0.2500],
                [0.5000, 1.0000, 0.5000],
                [0.2500, 0.5000, 1.0000]])
    """
    position = torch.cartesian_prod(torch.arange(height), torch.arange(width))
    distance = (position[:, None] - position).abs().sum(-1)
    return gamma.log()[:, None, None] * distance


def rotary_table(length: int, head_dim: int) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
    """Sine and cosine by which queries and keys are rotated at each position in raster order.

    Each pair of the (even number of) channels rotates at one speed, from 1 to 1/10000 radian per position.

    Raises:
        ValueError: The number of channels is odd.
    """
    if head_dim % 2:
        raise ValueError(f"head_dim must be even, got {head_dim}: choose dims that 2 · heads divides")
    speed = 10000 ** -torch.linspace(0, 1, head_dim // 2)
    angle = torch.outer(torch.arange(length), speed.repeat_interleave(2))
    return angle.sin(), angle.cos()


def rotate(x: Heads, sin: Float[Tensor, "n d"], cos: Float[Tensor, "n d"]) -> Heads:
    """Rotates each pair of channels (x0, x1) by its position's angle."""
    if torch.compiler.is_compiling():  # which fuses this, and can't fuse complex numbers
        quarter_turn = torch.stack((-x[..., 1::2], x[..., ::2]), dim=-1).flatten(-2)
        return x * cos + quarter_turn * sin
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))  # one pass instead of five
    return torch.view_as_real(pairs * torch.complex(cos, sin)[..., ::2]).flatten(-2)


def attend(q: Heads, k: Heads, v: Heads, bias: Float[Tensor, "heads n n"], scale: float) -> Heads:
    r"""Attention with a bias, :math:`\mathrm{softmax}(s\,Q K^\top + b)\,V`; the bias b and the scale s in float32.

    The fused kernels never hold the matrix of attention. On a CPU, for rows that fit the cache, their backward pass
    takes up to three times as long as the plain product, which is taken there.
    """
    if q.device.type == "cpu" and torch.is_grad_enabled() and q.shape[-2] < 256:
        return ((q * scale) @ k.mT + bias).softmax(-1) @ v
    q, k = q.to(v.dtype), k.to(v.dtype)
    # four axes: the fused kernels take no mask of three
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(v.dtype)[None], scale=scale)


class DropPath(nn.Module):
    """Stochastic depth (arXiv 1603.09382): training leaves a residual branch out for a share `rate` of the samples."""

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Float[Tensor, "batch *rest"]) -> Float[Tensor, "batch *rest"]:
        """Returns x, with whole samples set to zero in training."""
        if not self.training or self.rate == 0:
            return x
        keep = torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device) >= self.rate
        return x * (keep / (1 - self.rate))


class DepthwiseConv(nn.Conv2d):
    """Depthwise convolution on channels-last maps: every channel sees its own neighbourhood only.

    The map itself is added to the result if it is `residual`.
    """

    def __init__(self, dim: int, kernel: int, *, residual: bool = False) -> None:
        super().__init__(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.residual = residual

    def forward(self, x: Grid) -> Grid:
        """Returns the filtered map."""
        # On a CPU a one at the kernel's centre adds the map and saves passes over it; rounded it would drown weights.
        exact = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
        weight = self.weight
        if self.residual and exact:
            weight = weight + F.pad(weight.new_ones(1, 1), [self.kernel_size[0] // 2] * 4)
        out = self._conv_forward(x.permute(0, 3, 1, 2), weight, self.bias).permute(0, 2, 3, 1)
        return x + out if self.residual and not exact else out


class ManhattanRetention(nn.Module):
    r"""Softmax attention over a grid with a Manhattan-distance bias, plus a 5×5 depthwise convolution of the values.

    .. math:: \mathrm{softmax}(Q K^\top + \log\gamma\,(|\Delta y| + |\Delta x|))\,V + \mathrm{DWConv}_{5\times5}(V)

    The decomposed form attends along rows and then along columns of the result, with the same queries and keys. It
    costs n·(H + W) instead of n² and is *another operator*, not a faster way to the same numbers.

    Args:
        dim: Channels, a multiple of 2 · heads.
        heads: Attention heads.
        grid: Side of the square grid, in tokens.
        decomposed: Rows then columns instead of all pairs.
        spread: b of :func:`head_decay`.

    Shape:
        (B, grid, grid, dim) → the same.
    """

    sin: Tensor
    cos: Tensor
    bias: Tensor

    def __init__(self, dim: int, heads: int, grid: int, *, decomposed: bool = False, spread: float = 4.0) -> None:
        super().__init__()
        self.heads, self.grid, self.decomposed, self.scale = heads, grid, decomposed, (dim // heads) ** -0.5
        self.q, self.k, self.v, self.out = (nn.Linear(dim, dim) for _ in range(4))
        self.local = DepthwiseConv(dim, 5)
        sin, cos = rotary_table(grid * grid, dim // heads)
        for name, table in (("sin", sin), ("cos", cos), ("bias", torch.empty(0))):
            self.register_buffer(name, table, persistent=False)
        self.set_decay(head_decay(heads, spread=spread))

    def set_decay(self, gamma: Float[Tensor, " heads"]) -> None:
        """Replaces the decay of each head, no parameter: a trained layer can be asked what another one would do.

        Args:
            gamma: Above 0, at most 1. At 1 distance no longer counts and plain attention remains.

        Raises:
            ValueError: There is not one such value for each head.
        """
        if len(gamma) != self.heads or not (gamma.is_meta or bool(((gamma > 0) & (gamma <= 1)).all())):
            raise ValueError(f"the decay of {self.heads} heads must lie in (0, 1], got {gamma.tolist()}")
        self.gamma = gamma
        self.bias = manhattan_bias(gamma, 1 if self.decomposed else self.grid, self.grid).to(self.sin.device)

    def forward(self, x: Grid) -> Grid:
        """Returns what each token gathered from all others."""
        q, k = self._queries_keys(x)
        v = self.v(x)
        local = self.local(v)
        if self.decomposed:
            q, k = (rearrange(t, "b h (y x) d -> b y x (h d)", y=self.grid) for t in (q, k))
            v = self._along_rows(q, k, v)
            q, k, v = (t.transpose(1, 2).contiguous() for t in (q, k, v))  # channels stay together, which copies fast
            v = self._along_rows(q, k, v).transpose(1, 2)
        else:
            v = attend(q, k, rearrange(v, "b y x (h d) -> b h (y x) d", h=self.heads), self.bias, self.scale)
            v = rearrange(v, "b h (y x) d -> b y x (h d)", y=self.grid)
        return self.out(v + local)

    def _queries_keys(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys (B, heads, n, d), rotated by their position."""
        q, k = (rearrange(f(x), "b y x (h d) -> b h (y x) d", h=self.heads) for f in (self.q, self.k))
        return rotate(q, self.sin, self.cos), rotate(k, self.sin, self.cos)

    def _along_rows(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attention within each row of maps (B, rows, columns, dim)."""
        q, k, v = (rearrange(t, "b y x (h d) -> (b y) h x d", h=self.heads) for t in (q, k, v))
        return rearrange(attend(q, k, v, self.bias, self.scale), "(b y) h x d -> b y x (h d)", y=self.grid)

    def weights(self, x: Grid) -> Float[Tensor, "batch heads n n"]:
        """Attention weights: how much each token (row) takes from each (column), in raster order. Rows sum to 1.

        The decomposed form never holds this matrix; here it is multiplied out from its rows and columns.
        """
        if not self.decomposed:
            q, k = self._queries_keys(x)
            return (q * self.scale @ k.mT + self.bias).softmax(-1)
        along_row, along_column = self.line_weights(x)
        return torch.einsum("bhxyv, bhvxu -> bhyxvu", along_column, along_row).flatten(4).flatten(2, 3)

    def line_weights(self, x: Grid) -> tuple[Float[Tensor, "batch heads y x x"], Float[Tensor, "batch heads x y y"]]:
        """What the decomposed form holds: attention weights along each row, and then along each column."""
        q, k = (rearrange(t, "b h (y x) d -> b h y x d", y=self.grid) for t in self._queries_keys(x))
        q = q * self.scale
        along_row = (torch.einsum("bhyxd, bhyud -> bhyxu", q, k) + self.bias[:, None]).softmax(-1)
        along_column = (torch.einsum("bhyxd, bhvxd -> bhxyv", q, k) + self.bias[:, None]).softmax(-1)
        return along_row, along_column


class FeedForward(nn.Module):
    """Linear (to `ratio` times the channels) → GELU → plus its own 3×3 depthwise convolution → Linear."""

    def __init__(self, dim: int, ratio: int = 3) -> None:
        super().__init__()
        self.widen, self.narrow = nn.Linear(dim, ratio * dim), nn.Linear(ratio * dim, dim)
        self.local = DepthwiseConv(ratio * dim, 3, residual=True)

    def forward(self, x: Grid) -> Grid:
        """Returns the transformed map."""
        return self.narrow(self.local(F.gelu(self.widen(x))))


class RetentionBlock(nn.Module):
    """One block of RMT: position by convolution, then retention, then feed-forward, each added to what it read."""

    def __init__(self, dim: int, heads: int, grid: int, decomposed: bool, spread: float, drop_path: float = 0) -> None:
        super().__init__()
        self.position = DepthwiseConv(dim, 3, residual=True)
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.retention = ManhattanRetention(dim, heads, grid, decomposed=decomposed, spread=spread)
        self.ffn = FeedForward(dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Grid) -> Grid:
        """Returns the refined map."""
        x = self.position(x)
        x = x + self.drop_path(self.retention(self.norm1(x)))
        return x + self.drop_path(self.ffn(self.norm2(x)))
