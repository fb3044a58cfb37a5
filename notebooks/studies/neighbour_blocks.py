"""What the three ideas of `studies.neighbours` share."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tsfmicro_lab.models.vit import Map, conv_bn


class Inception(nn.Module):
    """Four ways to look at a place, side by side: 1×1, 3×3, 5×5, and the largest of its neighbours.

    (B, i, H, W) → (B, 4 · each, H, W). Szegedy et al., CVPR 2015, arXiv 1409.4842; with batch norm.
    """

    def __init__(self, i: int, each: int) -> None:
        super().__init__()
        ways = (
            (conv_bn(i, each, 1),),
            (conv_bn(i, each, 1), nn.ReLU(), conv_bn(each, each, 3)),
            (conv_bn(i, each, 1), nn.ReLU(), conv_bn(each, each, 5)),
            (nn.MaxPool2d(3, 1, 1), conv_bn(i, each, 1)),
        )
        self.ways = nn.ModuleList(nn.Sequential(*way, nn.ReLU()) for way in ways)

    def forward(self, x: Map) -> Float[Tensor, "batch more grid_h grid_w"]:
        """Returns what the four ways see."""
        return torch.cat([way(x) for way in self.ways], 1)


class AdaptiveFusion(nn.Module):
    """Two vectors of a clip as one: their weighted mean, whose weights the network reads off both."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gate = nn.Linear(2 * dim, 2)

    def weights(self, one: Float[Tensor, "batch dim"], two: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch 2"]:
        """How much each of the two counts; they sum to 1."""
        return self.gate(torch.cat((one, two), 1)).softmax(1)

    def forward(self, one: Float[Tensor, "batch dim"], two: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
        """Returns the mean."""
        return torch.einsum("b k, k b d -> b d", self.weights(one, two), torch.stack((one, two)))


def no_reproduction(what: str, whose: str) -> str:
    """The origin that the card of such a model tells."""
    return f"{what}, an idea of {whose}, whose abstract alone was read: no reproduction, and no score is claimed"
