"""Two small networks on optical flow that the field compares itself with: STSTNet and Off-ApexNet.

Liong, Gan, See, Khor, Huang, "Shallow Triple Stream Three-dimensional CNN (STSTNet) for Micro-expression Recognition",
FG 2019, arXiv 1902.03634; Gan, Liong, Yau, Huang, Tan, "OFF-ApexNet on Micro-expression Recognition System", Signal
Processing: Image Communication 74 (2019), arXiv 1805.08699. Both read TV-L1 flow from onset to apex at 28 px. They have
one size. STSTNet is that of the paper's Table I with ReLU. Its public code (christy1206/STSTNet) has more: batch norm
after each ReLU, and dropout of 0.5 after each stream; in PyTorch convolutions padded by 2, and (strain, v, u) as bytes,
each stretched to 0..255. Off-ApexNet follows what others wrote anew, without dropout; its paper's body was not read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tsfmicro_lab.models.base import Logits, ModelConfig, Recognizer


@dataclass(frozen=True)
class ShallowConfig(ModelConfig):
    """Settings of both networks; `flow` is the method of the optical flow, `hidden` the width of Off-ApexNet's end."""

    num_classes: int = 3
    image_size: int = 28
    flow: str = "tvl1"
    hidden: int = 1024
    CHOICES: ClassVar = {"flow": ("tvl1", "farneback", "dis")}


def strain(flow: Float[Tensor, "batch 2 height width"]) -> Float[Tensor, "batch 1 height width"]:
    r"""Optical strain, how much the skin is stretched: :math:`\sqrt{u_x^2 + v_y^2 + \frac12 (u_y + v_x)^2}`.

    Example:
        >>> x = torch.arange(4.0).expand(1, 1, 4, 4)
        >>> float(strain(torch.cat((x, torch.zeros_like(x)), 1)).round(decimals=3).mean())
        1.0
    """
    uy, ux = torch.gradient(flow[:, :1], dim=(2, 3))
    vy, vx = torch.gradient(flow[:, 1:], dim=(2, 3))
    # The small number keeps the slope finite where nothing moves; subtracting its root keeps zero zero.
    return (ux**2 + vy**2 + (uy + vx) ** 2 / 2 + 1e-12).sqrt() - 1e-6


class _Shallow(Recognizer):
    """What both share: flow in hundredths of the image's side."""

    presets = dict.fromkeys(("base", "small", "tiny"), ShallowConfig())
    config: ShallowConfig
    input_names = ("flow",)

    def __init__(self, c: ShallowConfig) -> None:
        super().__init__(c)
        self.prepared = (f"flow_{c.flow}",)
        self.input_shapes = {"flow": (2, c.image_size, c.image_size)}

    def inputs(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Displacement in hundredths of the side."""
        return {"flow": batch[self.prepared[0]].float() * (100 / self.config.image_size)}


class STSTNet(_Shallow):
    """Three streams of 3, 5 and 8 filters on (u, v, strain), pooled and joined; one linear layer."""

    name = "ststnet"
    origin = "written from its paper; unlike its public code it has no batch norm, no dropout, and other input scales"

    def __init__(self, c: ShallowConfig) -> None:
        super().__init__(c)
        self.streams = nn.ModuleList(
            nn.Sequential(nn.Conv2d(3, n, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 3, padding=1)) for n in (3, 5, 8)
        )
        self.pool = nn.AvgPool2d(2)
        self.head = nn.Linear(16 * ((c.image_size + 2) // 3 // 2) ** 2, c.num_classes)

    def forward(self, flow: Float[Tensor, "batch 2 height width"]) -> Logits:
        """Returns the logits."""
        three = torch.cat((flow, strain(flow)), 1)
        maps = torch.cat([stream(three) for stream in self.streams], 1)
        return self.head(self.pool(maps).flatten(1))


class OffApexNet(_Shallow):
    """Horizontal and vertical flow in two streams of 5×5 convolutions (6, then 16 filters); two layers of 1024."""

    name = "off_apexnet"
    origin = "written from what others say of its paper, without dropout; not checked against any code"

    def __init__(self, c: ShallowConfig) -> None:
        super().__init__(c)

        def block(i: int, o: int) -> list[nn.Module]:
            return [nn.Conv2d(i, o, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]

        self.streams = nn.ModuleList(nn.Sequential(*block(1, 6), *block(6, 16)) for _ in range(2))
        wide, n = 2 * 16 * (c.image_size // 4) ** 2, c.hidden
        layers = (nn.Linear(wide, n), nn.ReLU(), nn.Linear(n, n), nn.ReLU(), nn.Linear(n, c.num_classes))
        self.head = nn.Sequential(*layers)

    def forward(self, flow: Float[Tensor, "batch 2 height width"]) -> Logits:
        """Returns the logits."""
        maps = [stream(flow[:, i : i + 1]).flatten(1) for i, stream in enumerate(self.streams)]
        return self.head(torch.cat(maps, 1))


MODELS = (STSTNet, OffApexNet)
