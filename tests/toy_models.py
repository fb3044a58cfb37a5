"""Models of two streams so simple that their attributions are known."""

import torch
from torch import nn

from tsfmicro_lab.models import TSFmicro


class Linear(TSFmicro):
    """Weight times input, summed; the second class is the negative of the first."""

    name = "linear"

    def __init__(self, c):
        super().__init__(c)
        self.a, self.b = (nn.Parameter(torch.randn(3, c.image_size, c.image_size)) for _ in range(2))

    def forward(self, onset, difference):
        first = (onset * self.a).sum((1, 2, 3)) + (difference * self.b).sum((1, 2, 3))
        return torch.stack((first, -first), 1)


class Symmetric(TSFmicro):
    """A curved function of the sum of both streams, made of parts that DeepLift knows."""

    name = "symmetric"

    def __init__(self, c):
        super().__init__(c)
        self.conv, self.curve, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Softplus(), nn.Linear(4, 2)

    def forward(self, onset, difference):
        return self.head(self.curve(self.conv(onset + difference)).mean((2, 3)))


class Deaf(Linear):
    """Takes the onset frame and ignores it."""

    def forward(self, onset, difference):
        first = (difference * self.b).sum((1, 2, 3))
        return torch.stack((first, -first), 1)


def with_stale_statistics(fit):
    """A training that leaves batch norm with statistics of something else."""

    def spoiled(model, *args, **kwargs):
        losses = fit(model, *args, **kwargs)
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_var.fill_(1e-3)
        return losses

    return spoiled
