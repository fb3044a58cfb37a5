"""FRL-DGT, reimplemented from its description: a learned displacement, and transformers at three levels of the face.

Zhai et al., "Feature Representation Learning with Adaptive Displacement Generation and Transformer Fusion for
Micro-Expression Recognition", CVPR 2023, arXiv 2304.04420: its abstract and what others say of it were read, no code
was found. Layer sizes, loss weights, regions and token widths are **our choice**: its numbers are not the paper's.

The displacement generation module (DGM) looks at two frames and says how far each pixel moved. That it is
convolutional, reads onset and apex, and is trained by losses called reconstruction, normalization and smoothing is the
paper's; the network's shape, the losses' formulas and their weights are our choice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float, Float32
from torch import Tensor, nn
from torch.nn import functional as F

from tsfmicro_lab.models import base
from tsfmicro_lab.models.base import Batches, Criterion, Image, Logits, ModelConfig, Recognizer, sizes
from tsfmicro_lab.models.vit import AU_REGIONS, PatchEmbedding, PointsBatch, Tokens, TransformerBlock, crop_regions

LEVELS = ("local", "global", "full face")
Displacement = Float[Tensor, "batch 2 height width"]
Flow = Displacement | None
Levels = Float[Tensor, "batch levels dim"]


@dataclass(frozen=True)
class FRLDGTConfig(ModelConfig):
    """The sizes of FRL-DGT; all of them are our choice.

    Attributes:
        displacement: `dgm`, or flow instead of it: `farneback`, `dis` or `tvl1`.
        fusion: Whether tokens are mixed `before` they attend, as in the paper, or `after`.
        levels: Which of :data:`LEVELS` are used.
        dgm_width: Channels of the displacement network.
        dim, heads, depths: Channels of a token, attention heads, and transformer blocks of each level.
        region, crop: Side of an AU region, as a share of the image's; and pixels to which it is sampled.
        patch: Side of a patch of the full face, pixels.
        mixed: Tokens into which each level mixes its own: local, global, full face.
        weights: Of reconstruction, normalization and smoothing beside the cross-entropy.
        pretrain_epochs: Passes over random frame pairs of the training clips, without labels, before the training.
    """

    displacement: Literal["dgm", "farneback", "dis", "tvl1"] = "dgm"
    fusion: Literal["before", "after"] = "before"
    levels: Sequence[str] = LEVELS
    dgm_width: int = 16
    dim: int = 128
    heads: int = 4
    depths: Sequence[int] = (1, 1, 1)
    region: float = 0.22
    crop: int = 48
    patch: int = 16
    mixed: Sequence[int] = (4, 6, 49)
    weights: Sequence[float] = (1.0, 0.1, 0.1)
    pretrain_epochs: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.levels or set(self.levels) - set(LEVELS):
            raise ValueError(f"levels must be some of {LEVELS}, got {tuple(self.levels)}")


class TransformerFusion(nn.Module):
    """Tokens mixed by one linear layer over their number, and transformer blocks; their mean: (B, N, dim) → (B, dim).

    Mixing `before` attention is cheaper, since its cost falls with the square of the tokens, than `after` it.
    """

    def __init__(self, dim: int, heads: int, depth: int, given: int, mixed: int, fusion: str = "before") -> None:
        super().__init__()
        self.mix = nn.Linear(given, mixed)
        self.blocks = nn.Sequential(*(TransformerBlock(dim, heads) for _ in range(depth)))
        self.norm, self.fusion = nn.LayerNorm(dim, eps=1e-6), fusion

    def forward(self, x: Tokens) -> Float[Tensor, "batch dim"]:
        """Returns one vector for all tokens."""
        x = self.blocks(self.mix(x.mT).mT if self.fusion == "before" else x)
        return self.norm(self.mix(x.mT).mT if self.fusion == "after" else x).mean(1)


class FRLDGT(Recognizer):
    """FRL-DGT, a reimplementation from the description: displacement, AU regions, three levels, one linear head.

    Onset, apex and displacement, eight channels, are cropped to AU regions. *Local* reads each region by itself,
    *global* reads one vector per region, *full face* reads patches of everything. The head is linear in the three, so
    each level's share of a logit can be told exactly (:meth:`level_evidence`).

    It reads the difference frame rather than the apex, as TSFmicro does, from which it makes the apex again: the same
    explanations fit both. A given `flow` takes the place of the learned displacement.

    Shape:
        onset (B, 3, S, S), difference (B, 3, S, S), landmarks (B, 30, 2), pixels → (B, num_classes).
    """

    name, year, origin = "frl_dgt", 2023, base.ORIGINS["frl_dgt"]
    presets = sizes("frl_dgt", FRLDGTConfig)
    config: FRLDGTConfig
    auxiliary_names = ("landmarks",)

    def __init__(self, c: FRLDGTConfig) -> None:
        super().__init__(c)
        self.prepared = ("onset", "apex", "landmarks")
        if c.displacement == "dgm":
            self.dgm = DGM(c.dgm_width)
            self.prepared += ("pairs",) if c.pretrain_epochs else ()
        else:
            self.prepared += (f"flow_{c.displacement}",)
            self.input_shapes["flow"] = (2, c.image_size, c.image_size)
        self.input_names = tuple(self.input_shapes)
        regions = len(AU_REGIONS)
        sizes = zip(c.depths, (9, regions, (c.image_size // c.patch) ** 2), c.mixed, strict=True)
        self.embed = nn.Conv2d(8, c.dim, c.crop // 3, stride=c.crop // 3)
        self.places = nn.Parameter(0.02 * torch.randn(1, regions, 1, c.dim))  # embeds which region a token is of
        self.patches = PatchEmbedding(c.image_size, c.patch, c.dim, channels=8)
        self.levels = nn.ModuleList(TransformerFusion(c.dim, c.heads, *size, c.fusion) for size in sizes)
        self.head = nn.Linear(len(c.levels) * c.dim, c.num_classes)

    def inputs(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Onset and difference as TSFmicro's, landmarks as they are, and flow where the model reads it."""
        inputs = base.to_inputs(batch["onset"], batch["apex"]) | {"landmarks": batch["landmarks"].float()}
        return inputs | ({"flow": batch[self.prepared[-1]].float()} if "flow" in self.input_names else {})

    def displacement(self, onset: Image, difference: Image) -> Displacement:
        """What the displacement network says of normalised frames, pixels."""
        return self.dgm(*_frames(onset, difference))

    def features(self, onset: Image, difference: Image, landmarks: PointsBatch, flow: Flow = None) -> Levels:
        """Returns one vector per level that is used."""
        c = self.config
        motion = self.displacement(onset, difference) if flow is None else flow
        # Displacement in units of its largest size, so that all eight channels are of about one size.
        everything = torch.cat((motion / (0.04 * c.image_size), onset, onset + difference), 1)
        # Local: 3×3 tokens of each region.
        crops = crop_regions(everything, landmarks, c.region, c.crop)  # (B, regions, 8, crop, crop)
        tokens = rearrange(self.embed(crops.flatten(0, 1)), "(b r) d y x -> b r (y x) d", b=len(onset)) + self.places
        regions = tokens.mean(2)
        if "local" in c.levels:
            regions = self.levels[0](tokens.flatten(0, 1)).unflatten(0, tokens.shape[:2])
        found = {"local": regions.mean(1)}
        # Global: one token per region. Full face: patches of everything.
        if "global" in c.levels:
            found["global"] = self.levels[1](regions)
        if "full face" in c.levels:
            found["full face"] = self.levels[2](self.patches(everything))
        return torch.stack([found[level] for level in c.levels], 1)

    def forward(self, onset: Image, difference: Image, landmarks: PointsBatch, flow: Flow = None) -> Logits:
        """Returns the logits."""
        return self.head(self.features(onset, difference, landmarks, flow).flatten(1))

    def level_evidence(self, *inputs: Tensor, **named: Tensor) -> dict[str, Logits]:
        """What each level adds to each logit: together they are the logits, less the head's bias."""
        levels = self.config.levels
        weight = self.head.weight.unflatten(1, (len(levels), -1))
        evidence = torch.einsum("b l d, c l d -> l b c", self.features(*inputs, **named), weight)
        return dict(zip(levels, evidence, strict=True))

    def loss(self, label: Tensor, criterion: Criterion = base.cross_entropy, **inputs: Tensor) -> Tensor:
        """The criterion, whose gradient also reaches the displacement network, and that network's own three losses."""
        if self.config.displacement != "dgm":
            return super().loss(label, criterion, **inputs)
        onset, difference, landmarks = (inputs[name] for name in self.input_names)
        motion = self.displacement(onset, difference)
        logits = self.forward(onset, difference, landmarks, motion)
        with torch.autocast(onset.device.type, enabled=False):  # in half precision variances would drown
            own = self_supervised(motion.float(), *_frames(onset, difference), self.config.weights)
        return criterion(logits, label) + own

    def pretrain(self, rows: Tensor, batch_of: Batches, lr: float) -> None:
        """Trains the displacement network alone on random frame pairs of the training clips."""
        if "pairs" not in self.prepared:
            return
        optimizer = torch.optim.AdamW(self.dgm.parameters(), lr)
        self.dgm.train()
        for _ in range(self.config.pretrain_epochs):
            for some in rows[torch.randperm(len(rows))].split(2):
                first, second = batch_of(some, ("pairs",))["pairs"].flatten(0, 1).div(255).unbind(1)
                loss = self_supervised(self.dgm(first, second), first, second, self.config.weights)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()


def _frames(onset: Image, difference: Image) -> tuple[Image, Image]:
    """Onset and apex from 0 to 1."""
    mean, std = base.mean_std(onset.device)
    return onset * std + mean, (onset + difference) * std + mean


def sample(
    image: Float32[Tensor, "batch channels height width"], offset: Float32[Tensor, "batch 2 h w"], mode: str = "bicubic"
) -> Float32[Tensor, "batch channels h w"]:
    """Reads an image at every pixel plus an offset (dx, dy), interpolated as `mode` of `F.grid_sample` says.

    The side of the image may be k times the offset's, k = 1, 2, …: it is read at k times the places.

    Example:
        >>> image = torch.arange(4.0).view(1, 1, 1, 4)
        >>> half_a_pixel = torch.tensor([0.5, 0.0]).view(1, 2, 1, 1).expand(1, 2, 1, 4)
        >>> sample(image, half_a_pixel, "bilinear")[0, 0, 0].tolist()
        [0.5, 1.5, 2.5, 3.0]
    """
    h, w = offset.shape[-2:]
    x = torch.arange(w, device=offset.device) + offset[:, 0]
    y = torch.arange(h, device=offset.device)[:, None] + offset[:, 1]
    grid = torch.stack(((2 * x + 1) / w - 1, (2 * y + 1) / h - 1), dim=-1)
    return F.grid_sample(image, grid, mode=mode, padding_mode="border", align_corners=False)


def reconstruction(displacement: Displacement, onset: Image, apex: Image) -> Tensor:
    """L1 + SSIM between the onset frame and the apex frame read back along the displacement; images from 0 to 1.

    The description warps the onset frame to the apex; we read the same equation from its other end, so that the
    displacement belongs to the pixels of the onset frame, as true motion and optical flow do in this lab.
    """
    back = sample(apex, displacement, "bilinear")
    return (back - onset).abs().mean() + ((1 - ssim(back, onset)) / 2).clamp(0, 1).mean()


def ssim(a: Image, b: Image, window: int = 5, sigma: float = 1.5) -> Image:
    """Structural similarity in a Gaussian window around each pixel (Wang et al., IEEE TIP 13(4), 2004).

    The images have values from 0 to 1; the window's side (odd) and the Gaussian's standard deviation are in pixels.
    """
    bell = torch.exp(-((torch.arange(window, device=a.device) - window // 2) ** 2) / (2 * sigma**2))
    kernel = (torch.outer(bell, bell) / bell.sum() ** 2).expand(3, 1, window, window)

    def mean(x: Image) -> Image:
        return F.conv2d(F.pad(x, [window // 2] * 4, mode="reflect"), kernel, groups=3)

    mean_a, mean_b, c1, c2 = mean(a), mean(b), 0.01**2, 0.03**2
    var_a, var_b, cov = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2, mean(a * b) - mean_a * mean_b
    return (2 * mean_a * mean_b + c1) * (2 * cov + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))


def normalization(displacement: Displacement) -> Tensor:
    """Squared mean displacement over the image, in pixels: what moves the whole face is the head, no expression."""
    return displacement.mean((2, 3)).square().sum(1).mean()


def smoothing(displacement: Displacement, onset: Image) -> Tensor:
    """Total variation of the displacement, forgiven where the onset frame itself has an edge."""
    edges = {axis: onset.diff(dim=axis).abs().mean(1, keepdim=True) for axis in (2, 3)}
    parts = [(displacement.diff(dim=axis).abs() * torch.exp(-10 * edge)).mean() for axis, edge in edges.items()]
    return torch.stack(parts).sum()


class DGM(nn.Module):
    """A small U-Net on onset and apex at half the resolution, whose output is bounded by a scaled tanh.

    Motion of the skin is smooth, so half the resolution is enough for the result, and a quarter of the work; what it
    reads, two images from 0 to 1, keeps every pixel, two by two folded into channels.

    Args:
        width: Channels of the first level; each of the three levels doubles them.
        reach: Largest displacement, as a share of the side. Ours: micro-movements stay below.
    """

    def __init__(self, width: int = 16, reach: float = 0.04) -> None:
        super().__init__()
        self.reach, w = reach, width
        self.down = nn.ModuleList((_double(24, w), _double(w, 2 * w), _double(2 * w, 4 * w)))
        self.up = nn.ModuleList((_double(6 * w, 2 * w), _double(3 * w, w)))
        self.out = nn.Conv2d(w, 2, 3, padding=1)
        nn.init.normal_(self.out.weight, std=1e-3)  # begins near no motion

    def forward(self, onset: Image, apex: Image) -> Displacement:
        """Returns the displacement of each pixel of the onset frame."""
        x, kept = torch.cat((onset, 20 * (apex - onset)), 1), list[Tensor]()
        for block in self.down:
            x = block(F.avg_pool2d(x, 2) if kept else F.pixel_unshuffle(x, 2))
            kept.append(x)
        for block, skip in zip(self.up, (kept[1], kept[0]), strict=True):
            x = block(torch.cat((F.interpolate(x, skip.shape[-2:], mode="bilinear"), skip), 1))
        return F.interpolate(self.reach * onset.shape[-1] * torch.tanh(self.out(x)), onset.shape[-2:], mode="bilinear")


def self_supervised(displacement: Displacement, onset: Image, apex: Image, weights: Sequence[float]) -> Tensor:
    """The three losses, reconstruction, normalization and smoothing, weighted; none of them knows a label."""
    parts = (reconstruction(displacement, onset, apex), normalization(displacement), smoothing(displacement, onset))
    return torch.stack([w * part for w, part in zip(weights, parts, strict=True)]).sum()


def _double(i: int, o: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (i, o):
        layers += [nn.Conv2d(channels, o, 3, padding=1), nn.GroupNorm(4, o), nn.GELU()]
    return nn.Sequential(*layers)
