"""A plain pre-norm vision transformer encoder (Dosovitskiy et al., arXiv 2010.11929).

The spatial branch of MMNet and TSFmicro ("where", a transformer over a thumbnail of the onset frame), SLSTT's encoder,
and the transformers of FRL-DGT and HTNet are made of it. Below it, small parts that several convolutional networks of
the lab are made of, and the crops of facial regions that FRL-DGT and HTNet read.
"""

from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from tsfmicro_lab.preprocess.landmarks import FACE, POINT_NAMES

Tokens = Float[Tensor, "batch n dim"]
Map = Float[Tensor, "batch dim grid_h grid_w"]
PointsBatch = Float[Tensor, "batch points 2"]
Square = Float[Tensor, "batch channels side side"]
Crops = Float[Tensor, "batch regions channels size size"]

#: Facial regions after FACS, each a square around the mean of some points (see preprocess/face.toml).
AU_REGIONS: dict[str, list[str]] = FACE["regions"]
_ALL = tuple(AU_REGIONS)


class SelfAttention(nn.Module):
    """Multi-head self-attention, every token over all tokens: (B, N, dim) → the same.

    A head has dim // heads channels; queries, keys and values may have a `bias`.
    """

    def __init__(self, dim: int, heads: int, bias: bool = True) -> None:
        super().__init__()
        self.heads, inside = heads, dim // heads * heads
        self.qkv, self.proj = nn.Linear(dim, 3 * inside, bias), nn.Linear(inside, dim)

    def forward(self, x: Tokens) -> Tokens:
        """Returns what each token gathered from all tokens."""
        q, k, v = self._split(x)
        return self.proj(rearrange(F.scaled_dot_product_attention(q, k, v), "b h n d -> b n (h d)"))

    def weights(self, x: Tokens) -> Float[Tensor, "batch heads n n"]:
        """Attention weights: how much each token (row) takes from each token (column). Rows sum to 1."""
        q, k, _ = self._split(x)
        return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)

    def _split(self, x: Tensor) -> Tensor:
        return rearrange(self.qkv(x), "b n (three h d) -> three b h n d", three=3, h=self.heads)


class TransformerBlock(nn.Module):
    """Pre-norm block: attention, then a two-layer perceptron, each added to what it read: (B, N, dim) → the same.

    Args:
        dim: Channels of a token.
        heads: Attention heads.
        dropout: Share of what is added that training leaves out.
        gelu: Form of GELU: `none` is exact, `tanh` the approximation of the first vision transformers.
        widen: How many times wider the perceptron is inside.
        eps, bias: Of the layer norms, and of the attention.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        dropout: float = 0.0,
        gelu: str = "none",
        widen: int = 4,
        eps: float = 1e-6,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps), nn.LayerNorm(dim, eps)
        self.attention = SelfAttention(dim, heads, bias)
        self.mlp = nn.Sequential(nn.Linear(dim, widen * dim), nn.GELU(gelu), nn.Linear(widen * dim, dim))
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tokens) -> Tokens:
        """Returns the refined tokens."""
        x = x + self.drop(self.attention(self.norm1(x)))
        return x + self.drop(self.mlp(self.norm2(x)))


class PatchEmbedding(nn.Module):
    """Cuts an image into patches, each a token, and adds a learned embedding of the token's position.

    Patches of one pixel make every pixel a token. A learned class token, which belongs to no patch, may stand in front.

    Shape:
        (B, channels, image_size, image_size) → (B, N, dim), N = (image_size / patch_size)² (+ 1).
    """

    def __init__(self, image_size: int, patch_size: int, dim: int, channels: int = 3, with_class: bool = False) -> None:
        super().__init__()
        if image_size % patch_size:
            raise ValueError(f"image_size ({image_size}) must be a multiple of patch_size ({patch_size})")
        self.proj = nn.Conv2d(channels, dim, patch_size, stride=patch_size)
        self.position = nn.Parameter(torch.empty(1, (image_size // patch_size) ** 2 + with_class, dim))
        nn.init.trunc_normal_(self.position, std=0.02)
        self.class_token = nn.Parameter(torch.zeros(1, 1, dim)) if with_class else None

    def forward(self, image: Float[Tensor, "batch channels height width"]) -> Tokens:
        """Returns the tokens in raster order."""
        patches = rearrange(self.proj(image), "b d y x -> b (y x) d")
        if self.class_token is not None:
            patches = torch.cat((self.class_token.expand(len(patches), -1, -1), patches), 1)
        return patches + self.position


class ViT(nn.Module):
    """Patch tokens → `depth` blocks (:class:`TransformerBlock`, its settings) → layer norm: (B, 3, H, W) → (B, N, dim).

    Attributes:
        checkpointing: Whether training computes each block a second time instead of keeping what is inside it, which
            saves memory for time.
    """

    def __init__(self, embed: PatchEmbedding, depth: int, heads: int, **settings: Any) -> None:
        super().__init__()
        self.embed, dim, self.checkpointing = embed, embed.position.shape[-1], False
        self.blocks = nn.Sequential(*(TransformerBlock(dim, heads, **settings) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Tokens:
        """Returns the encoded tokens, the class token first, then the patches in raster order."""
        tokens = self.embed(image)
        for block in self.blocks:
            twice = self.checkpointing and self.training
            tokens = checkpoint(block, tokens, use_reentrant=False) if twice else block(tokens)
        return self.norm(tokens)


def to_tokens(grid_map: Float[Tensor, "batch dim height width"]) -> Tokens:
    """A map as a row of tokens, in raster order."""
    return rearrange(grid_map, "b d y x -> b (y x) d")


def to_map(tokens: Tokens) -> Float[Tensor, "batch dim side side"]:
    """Tokens of a square grid as a map."""
    return rearrange(tokens, "b (y x) d -> b d y x", y=int(tokens.shape[1] ** 0.5))


class Thumbnail(nn.Module):
    """Shrinks an image to a few pixels: (B, 3, H, W) → (B, 3, side, side).

    Without antialias only the pixels in the middle of each field count, as in MMNet, whose library knew no other way.
    """

    def __init__(self, side: int, antialias: bool = True) -> None:
        super().__init__()
        self.side, self.antialias = side, antialias

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 side side"]:
        """Returns the thumbnail."""
        # In float32: a CPU has no kernel of half precision for it.
        return F.interpolate(image.float(), [self.side] * 2, mode="bilinear", antialias=self.antialias)


class ThumbnailViT(nn.Module):
    """Reads the layout of the face from a tiny onset frame, every pixel of which is a token (arXiv 2505.16372).

    A thumbnail of 14×14 pixels cannot show a micro-movement. It shows where eyes, nose and mouth lie. A map of as many
    tokens comes out: (B, 3, H, W) → (B, dim, grid, grid).
    """

    def __init__(self, grid: int, dim: int, depth: int, heads: int, widen: int = 4, antialias: bool = True) -> None:
        super().__init__()
        self.thumbnail = Thumbnail(grid, antialias)
        self.vit = ViT(PatchEmbedding(grid, 1, dim), depth, heads, widen=widen)

    def forward(self, onset: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim grid grid"]:
        """Returns a map of what lies where."""
        return to_map(self.vit(self.thumbnail(onset)))


def conv_bn(i: int, o: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution without bias that keeps the size, but for its stride, and batch norm; weights as in ResNets."""
    conv = nn.Conv2d(i, o, kernel, stride, kernel // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm2d(o))


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each place of a map: (B, dim, H, W) → the same."""

    def forward(self, x: Map) -> Map:
        """Returns the normalised map."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def draw_linear(module: nn.Module, std: float) -> None:
    """Draws the weights of a module's linear layers from a normal distribution; biases are zero."""
    if not std > 0:
        raise ValueError(f"init_std must be above 0, got {std}")
    for layer in (part for part in module.modules() if isinstance(part, nn.Linear)):
        nn.init.trunc_normal_(layer.weight, std=std)
        nn.init.zeros_(layer.bias)


class SpatialAttention(nn.Sequential):
    """How much each place counts, 0 to 1, by the mean and maximum of its channels: (B, dim, H, W) → (B, 1, H, W).

    Woo, Park, Lee, Kweon, "CBAM: Convolutional Block Attention Module", ECCV 2018; there with a kernel of 7.
    """

    def __init__(self, kernel: int = 1) -> None:
        super().__init__(*conv_bn(2, 1, kernel), nn.Sigmoid())

    def forward(self, x: Map) -> Float[Tensor, "batch 1 grid_h grid_w"]:
        """Returns the map of weights."""
        return super().forward(torch.cat((x.mean(1, keepdim=True), x.amax(1, keepdim=True)), 1))


def region_centres(landmarks: PointsBatch, names: Sequence[str] = _ALL) -> Float[Tensor, "batch regions 2"]:
    """Centre of each of :data:`AU_REGIONS`, or of those named, pixels."""
    index = ([POINT_NAMES.index(point) for point in AU_REGIONS[name]] for name in names)
    return torch.stack([landmarks[:, points].mean(1) for points in index], 1)


def crop_regions(image: Square, landmarks: PointsBatch, share: float, size: int, names: Sequence[str] = _ALL) -> Crops:
    """Samples a square around the centre of each AU region, or of those named, with gradient to the image.

    The square's side is a `share` of the image's; `size` pixels are sampled along it. A square that reaches over the
    edge of the image is moved inside, so that no region is made of nothing.

    Raises:
        ValueError: A landmark is not finite, or a region lies wholly outside the image.
    """
    side, half = image.shape[-1], share * image.shape[-1] / 2
    centres = region_centres(landmarks, names)
    outside = ((centres < -half) | (centres > side - 1 + half) | ~centres.isfinite()).any(-1)
    if not image.is_meta and outside.any():
        sample, region = (int(i) for i in outside.nonzero()[0])
        place = f"region '{names[region]}' around {centres[sample, region].tolist()}"
        remedy = "check the clip's landmarks, they must belong to the aligned frame"
        raise ValueError(f"sample {sample}: {place} lies outside the {side}×{side} px image: {remedy}")
    centres = centres.clamp(half, side - 1 - half)
    line = torch.linspace(-half, half, size, device=image.device)
    at = centres[:, :, None, None] + torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)
    grid = rearrange(2 * at / (side - 1) - 1, "b r y x two -> b (r y) x two")
    crops = F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=True)
    return rearrange(crops, "b c (r y) x -> b r c y x", r=len(names))
