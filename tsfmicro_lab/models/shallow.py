"""Two small networks on optical flow that the field compares itself with: STSTNet and Off-ApexNet.

Liong, Gan, See, Khor, Huang, "Shallow Triple Stream Three-dimensional CNN (STSTNet) for Micro-expression Recognition",
FG 2019, arXiv 1902.03634; Gan, Liong, Yau, Huang, Tan, "OFF-ApexNet on Micro-expression Recognition System", Signal
Processing: Image Communication 74 (2019), arXiv 1805.08699. Both read TV-L1 flow from onset to apex at 28 px. They have
one size. STSTNet is that of the paper's Table I with ReLU, or, `form="public"`, that of its public code in PyTorch
(christy1206/STSTNet, no licence), whose logits it meets: batch norm after each ReLU, and dropout of 0.5 after each
stream; convolutions padded by 2, and (strain, v, u) as bytes, each stretched to 0..255. Off-ApexNet follows what others
wrote anew, without dropout; its paper's body was not read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tsfmicro_lab.models.base import ORIGINS, Image, Logits, ModelConfig, Recognizer, sizes


@dataclass(frozen=True)
class ShallowConfig(ModelConfig):
    """Settings of both networks; `flow` is the method of the optical flow, `hidden` the width of Off-ApexNet's end."""

    num_classes: int = 3
    image_size: int = 28
    flow: Literal["tvl1", "farneback", "dis"] = "tvl1"
    hidden: int = 1024


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


def planes(flow: Float[Tensor, "batch 2 height width"], stretched: bool = False) -> Image:
    """Flow and its strain as a picture (u, v, strain).

    Or, as public codes have it on file, (strain, v, u), each `stretched` to 0..255 from its own least to its own
    greatest, picture by picture: that throws away how strong a movement is.

    Example:
        >>> weak = torch.randn(1, 2, 28, 28)
        >>> torch.allclose(planes(weak, True), planes(9 * weak, True), atol=1e-3)
        True
    """
    three = torch.cat((flow, strain(flow)), 1)
    if not stretched:
        return three
    least, most = three.amin((2, 3), keepdim=True), three.amax((2, 3), keepdim=True)
    return (255 * (three - least) / (most - least).clamp_min(1e-9)).flip(1)


class Shallow(Recognizer):
    """What they and HTNet share: flow in hundredths of the image's side."""

    config: ShallowConfig
    input_names: tuple[str, ...] = ("flow",)

    def __init__(self, c: ShallowConfig) -> None:
        super().__init__(c)
        self.prepared = (f"flow_{c.flow}",)
        self.input_shapes["flow"] = (2, c.image_size, c.image_size)

    def inputs(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Displacement in hundredths of the side."""
        flow = {"flow": batch[self.prepared[-1]].float() * (100 / self.config.image_size)}
        return flow | {name: batch[name].float() for name in self.auxiliary_names}


@dataclass(frozen=True)
class STSTNetConfig(ShallowConfig):
    """Settings of STSTNet: `form` is that of its `paper` or of the `public` code in PyTorch."""

    form: Literal["paper", "public"] = "paper"


class STSTNet(Shallow):
    """Three streams of 3, 5 and 8 filters on (u, v, strain), pooled and joined; one linear layer."""

    name, year, checked, origin = "ststnet", 2019, True, ORIGINS["ststnet"]
    presets = sizes("ststnet", STSTNetConfig)
    config: STSTNetConfig

    def __init__(self, c: STSTNetConfig) -> None:
        super().__init__(c)
        self.public = c.form == "public"

        def stream(n: int) -> nn.Sequential:
            conv, pool = nn.Conv2d(3, n, 3, padding=1 + self.public), nn.MaxPool2d(3, 3, padding=1)
            more = (nn.BatchNorm2d(n), pool, nn.Dropout()) if self.public else (pool,)
            return nn.Sequential(conv, nn.ReLU(), *more)

        self.streams, self.pool = nn.ModuleList(map(stream, (3, 5, 8))), nn.AvgPool2d(2)
        self.head = nn.Linear(16 * ((c.image_size + 2 + 2 * self.public) // 3 // 2) ** 2, c.num_classes)

    def answer(self, picture: Image) -> Logits:
        """Returns the logits of flow and strain."""
        return self.head(self.pool(torch.cat([stream(picture) for stream in self.streams], 1)).flatten(1))

    def forward(self, flow: Float[Tensor, "batch 2 height width"]) -> Logits:
        """Returns the logits."""
        return self.answer(planes(flow, self.public))


class OffApexNet(Shallow):
    """Horizontal and vertical flow in two streams of 5×5 convolutions (6, then 16 filters); two layers of 1024."""

    name, year, origin = "off_apexnet", 2019, ORIGINS["off_apexnet"]
    presets = sizes("off_apexnet", ShallowConfig)

    def __init__(self, c: ShallowConfig) -> None:
        super().__init__(c)

        def block(i: int, o: int) -> list[nn.Module]:
            return [nn.Conv2d(i, o, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]

        self.streams = nn.ModuleList(nn.Sequential(*block(1, 6), *block(6, 16)) for _ in range(2))
        wide, n, classes = 2 * 16 * (c.image_size // 4) ** 2, c.hidden, c.num_classes
        self.head = nn.Sequential(nn.Linear(wide, n), nn.ReLU(), nn.Linear(n, n), nn.ReLU(), nn.Linear(n, classes))

    def forward(self, flow: Float[Tensor, "batch 2 height width"]) -> Logits:
        """Returns the logits."""
        maps = [stream(flow[:, i : i + 1]).flatten(1) for i, stream in enumerate(self.streams)]
        return self.head(torch.cat(maps, 1))


MODELS = (STSTNet, OffApexNet)
