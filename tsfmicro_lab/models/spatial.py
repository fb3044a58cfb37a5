"""The spatial branch: a transformer over a thumbnail of the onset frame ("where")."""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from tsfmicro_lab.models.vit import ViT


class ThumbnailViT(nn.Module):
    """Reads the layout of the face from a tiny onset frame, every pixel of which is a token (arXiv 2505.16372).

    A thumbnail of 14×14 pixels cannot show a micro-movement. It shows where eyes, nose and mouth lie.

    Args:
        grid: Side of the thumbnail, in pixels and in tokens.
        dim: Channels of a token.
        depth: Transformer blocks.
        heads: Attention heads.

    Shape:
        (B, 3, H, W) → (B, dim, grid, grid).

    Example:
        >>> import torch
        >>> ThumbnailViT(grid=14, dim=32)(torch.randn(2, 3, 56, 56)).shape
        torch.Size([2, 32, 14, 14])
    """

    def __init__(self, grid: int, dim: int, depth: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.grid = grid
        self.vit = ViT(image_size=grid, patch_size=1, dim=dim, depth=depth, heads=heads)

    def forward(self, onset: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim grid grid"]:
        """Returns a map of what lies where."""
        size = (self.grid, self.grid)
        thumbnail = F.interpolate(onset, size, mode="bilinear", antialias=True, align_corners=False)
        tokens: Tensor = self.vit(thumbnail)
        return rearrange(tokens, "b (y x) d -> b d y x", y=self.grid)
