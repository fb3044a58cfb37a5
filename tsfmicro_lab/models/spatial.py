"""The spatial branch: a transformer over a thumbnail of the onset frame ("where")."""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from tsfmicro_lab.models.vit import ViT


def to_tokens(grid_map: Float[Tensor, "batch dim height width"]) -> Float[Tensor, "batch n dim"]:
    """A map as a row of tokens, in raster order."""
    return rearrange(grid_map, "b d y x -> b (y x) d")


def to_map(tokens: Float[Tensor, "batch n dim"]) -> Float[Tensor, "batch dim side side"]:
    """Tokens of a square grid as a map."""
    return rearrange(tokens, "b (y x) d -> b d y x", y=int(tokens.shape[1] ** 0.5))


class Thumbnail(nn.Module):
    """Shrinks an image to a few pixels, without aliasing.

    Args:
        side: Side of the thumbnail, pixels.

    Shape:
        (B, 3, H, W) → (B, 3, side, side).

    Example:
        >>> import torch
        >>> Thumbnail(14)(torch.randn(2, 3, 56, 56)).shape
        torch.Size([2, 3, 14, 14])
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 side side"]:
        """Returns the thumbnail."""
        size = (self.side, self.side)  # in float32: a CPU has no kernel of half precision for it
        return F.interpolate(image.float(), size, mode="bilinear", antialias=True, align_corners=False)


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
        self.thumbnail = Thumbnail(grid)
        self.vit = ViT(image_size=grid, patch_size=1, dim=dim, depth=depth, heads=heads)

    def forward(self, onset: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim grid grid"]:
        """Returns a map of what lies where."""
        return to_map(self.vit(self.thumbnail(onset)))
