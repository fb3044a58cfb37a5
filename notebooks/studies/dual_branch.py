"""A residual branch and an inception branch, attention in each, fused adaptively."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from studies.neighbour_blocks import AdaptiveFusion, Inception, no_reproduction
from tsfmicro_lab.models.base import Image, Logits, ModelConfig, Recognizer
from tsfmicro_lab.models.mmnet import AttendedBlock
from tsfmicro_lab.models.vit import Map, SpatialAttention, conv_bn


@dataclass(frozen=True)
class DualBranchConfig(ModelConfig):
    """Sizes, which are our choice: `dim` is the width of the stem; each of the two steps of a branch doubles it."""

    dim: int = 32


class Attended(nn.Module):
    """A map weighted place by place."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = SpatialAttention(7)

    def forward(self, x: Map) -> Map:
        """Returns the weighted map."""
        return x * self.attention(x)


class DualBranch(Recognizer):
    """The difference frame read by a residual branch and an inception branch with attention, and fused adaptively."""

    name, year = "dual_branch", 2026
    origin = no_reproduction("a residual and an inception branch", "Zhang et al., 2026 (arXiv 2602.23950)")
    presets: ClassVar = {"base": DualBranchConfig(), "tiny": DualBranchConfig(image_size=56, dim=12)}
    config: DualBranchConfig
    input_names = ("difference",)

    def __init__(self, c: DualBranchConfig) -> None:
        super().__init__(c)
        d = c.dim
        self.stem = nn.Sequential(conv_bn(3, d, 3, 2), nn.ReLU())
        self.residual = nn.ModuleList((AttendedBlock(d, 2 * d, 2), AttendedBlock(2 * d, 4 * d, 2)))
        steps = ((d, d // 2), (2 * d, d))
        self.inception = nn.Sequential(
            *(nn.Sequential(Inception(i, each), Attended(), nn.MaxPool2d(2)) for i, each in steps)
        )
        self.fuse, self.head = AdaptiveFusion(64 * d), nn.Linear(64 * d, c.num_classes)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten())

    def branches(self, difference: Image) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch dim"]]:
        """What each branch found in 4 × 4 fields of the face."""
        x = y = self.stem(difference)
        for block in self.residual:
            x, _ = block(x, None)
        return self.pool(x), self.pool(self.inception(y))

    def weights(self, difference: Image) -> Float[Tensor, "batch 2"]:
        """How much the residual branch counts, and the inception branch."""
        return self.fuse.weights(*self.branches(difference))

    def forward(self, difference: Image) -> Logits:
        """Returns the logits."""
        return self.head(self.fuse(*self.branches(difference)))
