"""Small parts that several convolutional networks of the lab are made of."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

Map = Float[Tensor, "batch dim grid_h grid_w"]


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
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
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
