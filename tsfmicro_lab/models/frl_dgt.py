"""FRL-DGT, reimplemented from its description: a learned displacement, and transformers at three levels of the face.

Zhai et al., "Feature Representation Learning with Adaptive Displacement Generation and Transformer Fusion for
Micro-Expression Recognition", CVPR 2023, arXiv 2304.04420. No code is public, and layer sizes, loss weights, the list
of regions and token widths are not told: these are **our choice**, so its numbers here are not the paper's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from tsfmicro_lab.models.au_regions import AU_REGIONS, Points, crop_regions
from tsfmicro_lab.models.base import MEAN, STD, Batches, Recognizer, cross_entropy, to_inputs
from tsfmicro_lab.models.dgm import DGM, Displacement, self_supervised
from tsfmicro_lab.models.vit import PatchEmbedding, TransformerBlock
from tsfmicro_lab.preprocess import POINT_NAMES

LEVELS = ("local", "global", "full face")
Image = Float[Tensor, "batch 3 height width"]
Logits = Float[Tensor, "batch classes"]


@dataclass(frozen=True)
class FRLDGTConfig:
    """The sizes of FRL-DGT; all of them are our choice.

    Attributes:
        num_classes: Emotions to tell apart.
        image_size: Side of the aligned face, pixels.
        displacement: `dgm`, or flow instead of it: `farneback`, `dis` or `tvl1`.
        fusion: Whether tokens are mixed `before` they attend, as in the paper, or `after`.
        levels: Which of :data:`LEVELS` are used.
        dgm_width: Channels of the displacement network.
        dim: Channels of a token.
        heads: Attention heads.
        depths: Transformer blocks of each level.
        region: Side of an AU region, as a share of the image's.
        crop: Side to which a region is sampled, pixels; three by three tokens.
        patch: Side of a patch of the full face, pixels.
        mixed: Tokens into which each level mixes its own: local, global, full face.
        weights: Of reconstruction, normalization and smoothing beside the cross-entropy.
        pretrain_epochs: Passes over random frame pairs of the training clips, without labels, before the training.
        classes: Names of the emotions, where they are known.
    """

    num_classes: int = 5
    image_size: int = 224
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
    classes: Sequence[str] = ()

    def __post_init__(self) -> None:
        choices = {"displacement": ("dgm", "farneback", "dis", "tvl1"), "fusion": ("before", "after")}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {known}, got '{getattr(self, name)}'")
        if not self.levels or set(self.levels) - set(LEVELS):
            raise ValueError(f"levels must be some of {LEVELS}, got {tuple(self.levels)}")


# In `tiny` nothing moves by more than a pixel, and a share of 0.1 for smoothing smooths all motion away; its weights
# were found on subjects of seed 100, which no evaluation uses.
PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "base": {},
        "small": {"image_size": 112, "dgm_width": 12, "dim": 64, "crop": 24, "patch": 8},
        "tiny": {
            "image_size": 56,
            "dgm_width": 8,
            "dim": 32,
            "crop": 12,
            "patch": 8,
            "mixed": (4, 6, 16),
            "pretrain_epochs": 8,
            "weights": (10.0, 0.1, 0.01),
        },
    }
)


class TransformerFusion(nn.Module):
    """Tokens mixed by one linear layer over their number, and attention before or after it; then their mean.

    Args:
        dim: Channels of a token.
        heads: Attention heads.
        depth: Transformer blocks.
        given: Tokens in.
        mixed: Tokens after mixing.
        fusion: Mixes `before` attention, whose cost falls with the square of the tokens, or `after` it.

    Shape:
        (B, given, dim) → (B, dim).

    Example:
        >>> TransformerFusion(8, 2, 1, given=9, mixed=4)(torch.randn(2, 9, 8)).shape
        torch.Size([2, 8])
    """

    def __init__(self, dim: int, heads: int, depth: int, given: int, mixed: int, fusion: str = "before") -> None:
        super().__init__()
        self.mix = nn.Linear(given, mixed)
        self.blocks = nn.Sequential(*(TransformerBlock(dim, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.fusion = fusion

    def forward(self, x: Float[Tensor, "batch n dim"]) -> Float[Tensor, "batch dim"]:
        """Returns one vector for all tokens."""
        x = self.blocks(self._mixed(x)) if self.fusion == "before" else self._mixed(self.blocks(x))
        vector: Tensor = self.norm(x).mean(1)
        return vector

    def _mixed(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.mix(x.mT).mT
        return mixed


class FRLDGT(Recognizer):
    """FRL-DGT, a reimplementation from the description: displacement, AU regions, three levels, one linear head.

    Onset, apex and displacement, eight channels, are cropped to AU regions. *Local* reads each region by itself,
    *global* reads one vector per region, *full face* reads patches of everything. The head is linear in the three, so
    each level's share of a logit can be told exactly (:meth:`level_evidence`).

    It reads the difference frame rather than the apex, as TSFmicro does, from which it makes the apex again: the same
    explanations fit both.

    Shape:
        onset (B, 3, S, S), difference (B, 3, S, S), landmarks (B, 30, 2), pixels → (B, num_classes).

    Example:
        >>> model = FRLDGT.from_preset("tiny", num_classes=3)
        >>> model(torch.randn(2, 3, 56, 56), torch.randn(2, 3, 56, 56), torch.full((2, 30, 2), 28.0)).shape
        torch.Size([2, 3])
    """

    name = "frl_dgt"
    origin = (
        "a reimplementation from the description of arXiv 2304.04420, no code of which is public; sizes are our choice"
    )
    Config = FRLDGTConfig
    presets = PRESETS
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
        self.places = nn.Parameter(0.02 * torch.randn(1, regions, 1, c.dim))
        self.patches = PatchEmbedding(c.image_size, c.patch, c.dim, channels=8)
        self.levels = nn.ModuleList(
            TransformerFusion(c.dim, c.heads, depth, n, mixed, c.fusion)
            for depth, n, mixed in zip(c.depths, given, c.mixed, strict=True)
        )
        self.head = nn.Linear(len(c.levels) * c.dim, c.num_classes)

    def inputs(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Onset and difference as TSFmicro's, landmarks as they are, and flow where the model reads it."""
        made = to_inputs(batch["onset"], batch["apex"]) | {"landmarks": batch["landmarks"].float()}
        if "flow" in self.input_names:
            made["flow"] = batch[f"flow_{self.config.displacement}"].float()
        return made

    def displacement(self, onset: Image, difference: Image) -> Float[Tensor, "batch 2 height width"]:
        """What the displacement network says of normalised frames, pixels."""
        return self.dgm(*self._frames(onset, difference))

    def features(
        self, onset: Image, difference: Image, landmarks: Points, flow: Displacement | None = None
    ) -> Float[Tensor, "batch levels dim"]:
        """Returns one vector per level that is used; of the displacement network's motion, or of a given one."""
        c = self.config
        motion = self.displacement(onset, difference) if flow is None else flow
        # Displacement in units of its largest size, so that all eight channels are of about one size.
        everything = torch.cat((motion / (0.04 * c.image_size), onset, onset + difference), 1)
        crops = crop_regions(everything, landmarks, c.region, c.crop)
        tokens = rearrange(self.embed(rearrange(crops, "b r c y x -> (b r) c y x")), "n d y x -> n (y x) d")
        tokens = rearrange(tokens, "(b r) n d -> b r n d", b=len(onset)) + self.places
        local = tokens.mean(2)
        if "local" in c.levels:
            vectors = self.levels[0](rearrange(tokens, "b r n d -> (b r) n d"))
            local = rearrange(vectors, "(b r) d -> b r d", b=len(onset))
        found = {"local": local.mean(1)}
        if "global" in c.levels:
            found["global"] = self.levels[1](local)
        if "full face" in c.levels:
            found["full face"] = self.levels[2](self.patches(everything))
        return torch.stack([found[level] for level in c.levels], 1)

    def forward(self, onset: Image, difference: Image, landmarks: Points, flow: Displacement | None = None) -> Logits:
        """Returns the logits."""
        return self.head(self.features(onset, difference, landmarks, flow).flatten(1))

    def level_evidence(
        self, onset: Image, difference: Image, landmarks: Points, flow: Displacement | None = None
    ) -> dict[str, Float[Tensor, "batch classes"]]:
        """What each level adds to each logit: together they are the logits, less the head's bias."""
        weight = rearrange(self.head.weight, "c (l d) -> l c d", l=len(self.config.levels))
        features = self.features(onset, difference, landmarks, flow)
        evidence = torch.einsum("b l d, l c d -> l b c", features, weight)
        return dict(zip(self.config.levels, evidence, strict=True))

    def loss(self, label: Tensor, **inputs: Tensor) -> Tensor:
        """Cross-entropy, whose gradient also reaches the displacement network, and that network's own three losses."""
        if self.config.displacement != "dgm":
            return super().loss(label, **inputs)
        onset, difference = inputs["onset"], inputs["difference"]
        motion = self.displacement(onset, difference)
        logits = self.forward(onset, difference, inputs["landmarks"], motion)
        with torch.autocast(onset.device.type, enabled=False):  # variances of half precision would drown
            alone = self_supervised(motion.float(), *self._frames(onset, difference), self._weights)
        return cross_entropy(logits, label) + alone

    def pretrain(self, rows: Tensor, batch_of: Batches, lr: float) -> None:
        """Trains the displacement network alone on random frame pairs of the training clips."""
        if "pairs" not in self.prepared:
            return
        optimizer = torch.optim.AdamW(self.dgm.parameters(), lr)
        self.dgm.train()
        for _ in range(self.config.pretrain_epochs):
            for some in rows[torch.randperm(len(rows))].split(2):
                first, second = batch_of(some, ("pairs",))["pairs"].flatten(0, 1).div(255).unbind(1)
                loss = self_supervised(self.dgm(first, second), first, second, self._weights)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()

    @property
    def _weights(self) -> tuple[float, float, float]:
        rec, norm, smooth = self.config.weights
        return rec, norm, smooth

    @staticmethod
    def _frames(onset: Image, difference: Image) -> tuple[Image, Image]:
        """Onset and apex from 0 to 1."""
        mean, std = (torch.tensor(v, device=onset.device).view(1, 3, 1, 1) for v in (MEAN, STD))
        return onset * std + mean, (onset + difference) * std + mean
