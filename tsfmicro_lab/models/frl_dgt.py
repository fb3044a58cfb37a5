"""FRL-DGT, reimplemented from its description: a learned displacement, and transformers at three levels of the face.

Zhai et al., "Feature Representation Learning with Adaptive Displacement Generation and Transformer Fusion for
Micro-Expression Recognition", CVPR 2023, arXiv 2304.04420: its abstract and what others say of it were read, no code
was found. Layer sizes, loss weights, regions and token widths are **our choice**: its numbers are not the paper's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from tsfmicro_lab.models import base
from tsfmicro_lab.models.au_regions import AU_REGIONS, PointsBatch, crop_regions
from tsfmicro_lab.models.base import Batches, Criterion, Image, Logits, ModelConfig, Recognizer, sizes
from tsfmicro_lab.models.dgm import DGM, Displacement, self_supervised
from tsfmicro_lab.models.vit import PatchEmbedding, Tokens, TransformerBlock
from tsfmicro_lab.preprocess import POINT_NAMES

LEVELS = ("local", "global", "full face")


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

    displacement: str = "dgm"
    fusion: str = "before"
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
    CHOICES: ClassVar = {"displacement": ("dgm", "farneback", "dis", "tvl1"), "fusion": ("before", "after")}

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
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.fusion = fusion

    def forward(self, x: Tokens) -> Float[Tensor, "batch dim"]:
        """Returns one vector for all tokens."""
        x = self.mix(x.mT).mT if self.fusion == "before" else x
        x = self.blocks(x)
        x = self.mix(x.mT).mT if self.fusion == "after" else x
        return self.norm(x).mean(1)


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

    name, year = "frl_dgt", 2023
    origin = "rebuilt from the abstract of arXiv 2304.04420 and what others say; no code found; sizes are our choice"
    presets = sizes("frl_dgt", FRLDGTConfig)
    config: FRLDGTConfig
    auxiliary_names = ("landmarks",)

    def __init__(self, c: FRLDGTConfig) -> None:
        super().__init__(c)
        self.prepared = ("onset", "apex", "landmarks")
        self.input_shapes["landmarks"] = (len(POINT_NAMES), 2)
        if c.displacement == "dgm":
            self.dgm = DGM(c.dgm_width)
            self.prepared += ("pairs",) if c.pretrain_epochs else ()
        else:
            self.prepared += (f"flow_{c.displacement}",)
            self.input_shapes["flow"] = (2, c.image_size, c.image_size)
        self.input_names = tuple(self.input_shapes)
        regions = len(AU_REGIONS)
        given = (9, regions, (c.image_size // c.patch) ** 2)
        self.embed = nn.Conv2d(8, c.dim, c.crop // 3, stride=c.crop // 3)
        self.places = nn.Parameter(0.02 * torch.randn(1, regions, 1, c.dim))  # embeds which region a token is of
        self.patches = PatchEmbedding(c.image_size, c.patch, c.dim, channels=8)
        self.levels = nn.ModuleList(
            TransformerFusion(c.dim, c.heads, depth, n, mixed, c.fusion)
            for depth, n, mixed in zip(c.depths, given, c.mixed, strict=True)
        )
        self.head = nn.Linear(len(c.levels) * c.dim, c.num_classes)

    def inputs(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Onset and difference as TSFmicro's, landmarks as they are, and flow where the model reads it."""
        inputs = base.to_inputs(batch["onset"], batch["apex"]) | {"landmarks": batch["landmarks"].float()}
        return inputs | ({"flow": batch[self.prepared[-1]].float()} if "flow" in self.input_names else {})

    def displacement(self, onset: Image, difference: Image) -> Displacement:
        """What the displacement network says of normalised frames, pixels."""
        return self.dgm(*_frames(onset, difference))

    def features(
        self, onset: Image, difference: Image, landmarks: PointsBatch, flow: Displacement | None = None
    ) -> Float[Tensor, "batch levels dim"]:
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

    def forward(
        self, onset: Image, difference: Image, landmarks: PointsBatch, flow: Displacement | None = None
    ) -> Logits:
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
