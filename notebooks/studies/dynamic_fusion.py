"""Two dynamic images of a clip, and a network that learns how to weigh them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from studies.dynamic_images import PICTURES
from studies.neighbour_blocks import AdaptiveFusion, no_reproduction
from tsfmicro_lab.models.base import Image, Logits, ModelConfig, Recognizer
from tsfmicro_lab.models.vit import conv_bn


@dataclass(frozen=True)
class DynamicFusionConfig(ModelConfig):
    """Sizes, which are our choice: `dim` is the width of the first of three convolutions, each of which doubles it."""

    dim: int = 32


class DynamicFusion(Recognizer):
    """A picture of the clip in the order of time and one in the order of motion, each read, and weighed adaptively."""

    name, year = "dynamic_fusion", 2025
    origin = no_reproduction("an adaptive fusion of two dynamic images", "Man et al., 2025 (arXiv 2510.09730)")
    presets: ClassVar = {"base": DynamicFusionConfig(), "tiny": DynamicFusionConfig(image_size=56, dim=12)}
    config: DynamicFusionConfig
    prepared = input_names = PICTURES

    def __init__(self, c: DynamicFusionConfig) -> None:
        super().__init__(c)

        def branch() -> nn.Sequential:
            steps = ((3, c.dim), (c.dim, 2 * c.dim), (2 * c.dim, 4 * c.dim))
            layers = [nn.Sequential(conv_bn(i, o, 3, 2), nn.ReLU()) for i, o in steps]
            return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten())

        self.time, self.motion, self.fuse = branch(), branch(), AdaptiveFusion(64 * c.dim)
        self.head = nn.Linear(64 * c.dim, c.num_classes)

    def inputs(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Both pictures in units of ten grey levels: zero stays zero, and weak stays weak."""
        return {name: batch[name].float() / 10 for name in self.input_names}

    def weights(self, dynamic_time: Image, dynamic_motion: Image) -> Float[Tensor, "batch 2"]:
        """How much the picture in the order of time counts, and the other."""
        return self.fuse.weights(self.time(dynamic_time), self.motion(dynamic_motion))

    def forward(self, dynamic_time: Image, dynamic_motion: Image) -> Logits:
        """Returns the logits."""
        return self.head(self.fuse(self.time(dynamic_time), self.motion(dynamic_motion)))
