"""A plain pre-norm vision transformer encoder (Dosovitskiy et al., arXiv 2010.11929)."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class SelfAttention(nn.Module):
    """Multi-head self-attention, every token over all tokens.

    Shape:
        (B, N, dim) → the same.

    Example:
        >>> SelfAttention(8, heads=2)(torch.randn(1, 5, 8)).shape
        torch.Size([1, 5, 8])
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"dim ({dim}) must be a multiple of heads ({heads})")
        self.heads = heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: Float[Tensor, "batch n dim"]) -> Float[Tensor, "batch n dim"]:
        """Returns what each token gathered from all tokens."""
        q, k, v = self._split(x)
        gathered: Tensor = self.proj(rearrange(F.scaled_dot_product_attention(q, k, v), "b h n d -> b n (h d)"))
        return gathered

    def weights(self, x: Float[Tensor, "batch n dim"]) -> Float[Tensor, "batch heads n n"]:
        """How much each token (row) takes from each token (column). Rows sum to 1."""
        q, k, _ = self._split(x)
        weights: Tensor = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
        return weights

    def _split(self, x: Tensor) -> Tensor:
        split: Tensor = rearrange(self.qkv(x), "b n (three h d) -> three b h n d", three=3, h=self.heads)
        return split


class TransformerBlock(nn.Module):
    """Pre-norm block: attention, then a two-layer perceptron, each added to what it read.

    Shape:
        (B, N, dim) → the same.

    Example:
        >>> TransformerBlock(8, heads=2)(torch.randn(1, 5, 8)).shape
        torch.Size([1, 5, 8])
    """

    def __init__(self, dim: int, heads: int, mlp_ratio: int = 4) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.attention = SelfAttention(dim, heads)
        self.mlp = nn.Sequential(nn.Linear(dim, mlp_ratio * dim), nn.GELU(), nn.Linear(mlp_ratio * dim, dim))

    def forward(self, x: Float[Tensor, "batch n dim"]) -> Float[Tensor, "batch n dim"]:
        """Returns the refined tokens."""
        x = x + self.attention(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class PatchEmbedding(nn.Module):
    """Cuts an image into patches, each a token, and adds what the network learned about the token's place.

    Args:
        image_size: Side of the square input, pixels.
        patch_size: Side of a patch, pixels; 1 makes every pixel a token.
        dim: Channels of a token.

    Shape:
        (B, 3, image_size, image_size) → (B, N, dim), N = (image_size / patch_size)².

    Example:
        >>> PatchEmbedding(image_size=14, patch_size=1, dim=32)(torch.randn(2, 3, 14, 14)).shape
        torch.Size([2, 196, 32])
    """

    def __init__(self, image_size: int, patch_size: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch_size, stride=patch_size)
        self.position = nn.Parameter(torch.empty(1, (image_size // patch_size) ** 2, dim))
        nn.init.trunc_normal_(self.position, std=0.02)

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch n dim"]:
        """Returns the tokens in raster order."""
        patches: Tensor = self.proj(image)
        return rearrange(patches, "b d y x -> b (y x) d") + self.position


class ViT(nn.Module):
    """Patch tokens → transformer blocks → layer norm. No class token.

    Args:
        image_size: Side of the square input, pixels.
        patch_size: Side of a patch, pixels.
        dim: Channels of a token.
        depth: Number of blocks.
        heads: Attention heads.

    Shape:
        (B, 3, image_size, image_size) → (B, N, dim), N = (image_size / patch_size)².

    Example:
        >>> ViT(image_size=14, patch_size=1, dim=32, depth=1, heads=4)(torch.randn(2, 3, 14, 14)).shape
        torch.Size([2, 196, 32])
    """

    def __init__(self, image_size: int, patch_size: int, dim: int, depth: int, heads: int) -> None:
        super().__init__()
        self.embed = PatchEmbedding(image_size, patch_size, dim)
        self.blocks = nn.Sequential(*(TransformerBlock(dim, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch n dim"]:
        """Returns the encoded tokens in raster order."""
        tokens: Tensor = self.norm(self.blocks(self.embed(image)))
        return tokens
