"""A late fusion of two small convolutional networks, which trains within seconds."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from tsfmicro_lab.models.base import ModelConfig, Recognizer


class SmallFusion(Recognizer):
    """Two streams of three convolutions each; what they find, on average over the picture, is put side by side.

    Example:
        >>> model = SmallFusion.from_preset()
        >>> tuple(model(torch.zeros(2, 3, 56, 56), torch.zeros(2, 3, 56, 56)).shape)
        (2, 5)
    """

    name = "small_fusion"
    origin = "written for notebook 10"
    presets: ClassVar[Mapping[str, ModelConfig]] = {"base": ModelConfig(5, 56)}

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)

        def stream() -> nn.Sequential:
            layers: list[nn.Module] = []
            for i, o in ((3, 16), (16, 32), (32, 32)):
                layers += [nn.Conv2d(i, o, 3, 2, 1), nn.BatchNorm2d(o), nn.ReLU()]
            return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())

        self.where, self.how = stream(), stream()
        self.classifier = nn.Linear(64, config.num_classes)

    def forward(self, onset: Tensor, difference: Tensor) -> Tensor:
        """Returns the logits."""
        return self.classifier(torch.cat([self.where(onset), self.how(difference)], 1))
