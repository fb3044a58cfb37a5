"""SLSTT: a vision transformer per frame of optical flow, and an LSTM or a mean over the frames.

Zhang, Hong, Arandjelovic, Zhao, "Short and Long Range Relation Based Spatio-Temporal Transformer for Micro-Expression
Recognition", IEEE TAFFC 13(4) 2022, arXiv 2112.05851. Written from the paper and checked against logits of its public
code (MIT). `base` is the paper's size, `small` and `tiny` are ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from tsfmicro_lab.models.base import ORIGINS, Logits, ModelConfig, Recognizer, mean_std, sizes
from tsfmicro_lab.models.vit import PatchEmbedding, ViT

Frames = Float[Tensor, "batch frames 3 height width"]


@dataclass(frozen=True)
class SLSTTConfig(ModelConfig):
    """The sizes of an SLSTT network.

    Attributes:
        frames: Flow images per clip.
        patch_size, dim, depth, heads, dropout: Of the transformer (see :class:`~tsfmicro_lab.models.vit.ViT`).
        hidden, lstm_layers: Of the LSTM; the layer behind it has half its width.
        flow: `long`, onset → t, as in the paper's program; or `short`, t - 1 → t, of which only its title speaks.
        scale: Whether brightness spans the magnitudes of the whole `clip`, so that rise and fall can be seen, or, as
            in the public code, of each `frame` by itself.
        imagenet: Whether colours are normalised as ImageNet's are, which weights trained there expect. The small
            presets begin from nothing and keep black, where nothing moves, at zero: ours, since the large constant
            that normalisation puts into every patch keeps an untrained transformer from seeing the motion.
        freeze_encoder: Whether the transformer keeps its first weights, as it does in the public code, whose blocks
            run without gradient. Sensible with weights that were trained elsewhere.
        checkpointing: Whether training saves memory for time.
    """

    image_size: int = 384
    frames: int = 11
    patch_size: int = 16
    dim: int = 768
    depth: int = 12
    heads: int = 12
    hidden: int = 512
    lstm_layers: int = 3
    dropout: float = 0.1
    flow: Literal["long", "short"] = "long"
    scale: Literal["clip", "frame"] = "clip"
    imagenet: bool = True
    freeze_encoder: bool = False
    checkpointing: bool = False


def colour_code(flow: Float[Tensor, "*batch frames 2 height width"], scale: str = "clip") -> Tensor:
    """Flow (dx, dy) as colours: the hue is the direction, the brightness the length between the least and the greatest.

    Args:
        flow: In any unit.
        scale: Least and greatest of the whole `clip`, or of each `frame`, which throws away how far anything moved.

    Returns:
        RGB (…, frames, 3, height, width) between 0 and 1; black where nothing moves anywhere.

    Example:
        >>> colour_code(torch.tensor([[3.0, 0.0], [0.0, 0.0]]).reshape(1, 2, 1, 2)).flatten().tolist()
        [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    """
    flow = flow.float()
    length = torch.hypot(flow[..., 0, :, :], flow[..., 1, :, :])
    axes = (-3, -2, -1) if scale == "clip" else (-2, -1)
    least, most = length.amin(axes, keepdim=True), length.amax(axes, keepdim=True)
    value = torch.where(most > least, (length - least) / (most - least).clamp_min(1e-12), torch.zeros_like(length))
    sixth = torch.atan2(flow[..., 1, :, :], flow[..., 0, :, :]) * 3 / torch.pi
    # Red, green and blue of a full hue: how far each stands from its own sixth of the circle.
    wheel = [(torch.minimum((sixth + n) % 6, 4 - (sixth + n) % 6)).clamp(0, 1) for n in (5, 3, 1)]
    return torch.stack([value * (1 - w) for w in wheel], -3)


class SLSTT(Recognizer):
    """Patches of each flow image → transformer → class token per frame; then an aggregator over frames.

    All frames of all clips go through the transformer as one batch: colour-coded flow (B, frames, 3, S, S) → logits.
    """

    origin, year = ORIGINS["slstt"], 2022
    presets = sizes("slstt", SLSTTConfig)
    config: SLSTTConfig
    input_names = ("flow",)

    def __init__(self, c: SLSTTConfig) -> None:
        super().__init__(c)
        self.prepared = (f"{c.flow}_flow",)
        self.input_shapes = {"flow": (c.frames, 3, c.image_size, c.image_size)}
        embed = PatchEmbedding(c.image_size, c.patch_size, c.dim, with_class=True)
        self.vit = ViT(embed, c.depth, c.heads, dropout=c.dropout, gelu="tanh")
        self.vit.checkpointing = c.checkpointing
        for part in (self.vit.embed, self.vit.blocks) if c.freeze_encoder else ():
            part.requires_grad_(False)

    def inputs(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Colour-coded flow, normalised where weights of ImageNet expect it."""
        flow = colour_code(batch[self.prepared[0]], self.config.scale)
        mean, std = mean_std(flow.device)
        return {"flow": (flow - mean) / std if self.config.imagenet else flow}

    def baseline(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Reference input for attribution: black pictures, zero motion."""
        return self.inputs({self.prepared[0]: torch.zeros_like(inputs["flow"][..., :2, :, :])})

    def encode(self, flow: Frames) -> Float[Tensor, "batch frames dim"]:
        """Returns the class token of every frame."""
        tokens = self.vit(rearrange(flow, "b t c y x -> (b t) c y x"))
        return rearrange(tokens[:, 0], "(b t) d -> b t d", b=len(flow))


class SLSTTMean(SLSTT):
    """SLSTT with a linear head per frame and the mean of its logits."""

    name, checked = "slstt_mean", True

    def __init__(self, c: SLSTTConfig) -> None:
        super().__init__(c)
        self.head = nn.Linear(c.dim, c.num_classes)

    def frame_logits(self, flow: Frames) -> Float[Tensor, "batch frames classes"]:
        """What each frame says by itself; the mean over frames is the answer."""
        return self.head(self.encode(flow))

    def forward(self, flow: Frames) -> Logits:
        """Returns the logits."""
        return self.frame_logits(flow).mean(1)


class SLSTTLSTM(SLSTT):
    """SLSTT with an LSTM over the frames, whose last step is classified."""

    name = "slstt_lstm"

    def __init__(self, c: SLSTTConfig) -> None:
        super().__init__(c)
        self.lstm = nn.LSTM(c.dim, c.hidden, c.lstm_layers, batch_first=True)
        self.fc1, self.fc2 = nn.Linear(c.hidden, c.hidden // 2), nn.Linear(c.hidden // 2, c.num_classes)

    def forward(self, flow: Frames) -> Logits:
        """Returns the logits."""
        steps, _ = self.lstm(self.encode(flow))
        return self.fc2(torch.relu(self.fc1(steps[:, -1])))


MODELS = (SLSTTLSTM, SLSTTMean)
