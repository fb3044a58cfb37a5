"""One proposal for each expression: where it would show, what is there, and whether it is that expression."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from studies.neighbour_blocks import Inception, no_reproduction
from tsfmicro_lab.models.base import Criterion, Logits, cross_entropy
from tsfmicro_lab.models.shallow import Shallow, ShallowConfig

Flow = Float[Tensor, "batch 2 height width"]
Proposals = Float[Tensor, "batch classes dim"]


@dataclass(frozen=True)
class ExpressionProposalConfig(ShallowConfig):
    """Sizes, which are our choice; both Inception blocks are as wide as in an earlier net of the same first author.

    Attributes:
        each: Channels of each of the four ways of the first and the second Inception block.
        share: Weight of the proposals' loss beside that of the answer.
    """

    each: tuple[int, int] = (6, 16)
    share: float = 1.0


class ExpressionProposal(Shallow):
    """Shared features of flow, for each expression an attended proposal with a loss of its own, and their fusion."""

    name, year = "expression_proposal", 2022
    origin = no_reproduction("an attended proposal for each expression", "FeatRef (Zhou et al., arXiv 2101.04838)")
    presets: ClassVar = dict.fromkeys(("base", "tiny"), ExpressionProposalConfig())
    config: ExpressionProposalConfig

    def __init__(self, c: ExpressionProposalConfig) -> None:
        super().__init__(c)
        one, two = c.each
        self.shared = nn.Sequential(Inception(2, one), nn.MaxPool2d(2), Inception(4 * one, two))
        self.attention = nn.Conv2d(4 * two, c.num_classes, 1)
        self.own = nn.Linear(4 * two, c.num_classes)
        self.head = nn.Linear(c.num_classes * 4 * two, c.num_classes)

    def attended(self, flow: Flow) -> tuple[Float[Tensor, "batch classes grid_h grid_w"], Proposals]:
        """Where each expression is looked for, weights that sum to 1, and what is found there."""
        x = self.shared(flow)
        where = self.attention(x).flatten(2).softmax(2).view(len(x), -1, *x.shape[2:])
        return where, torch.einsum("b c y x, b d y x -> b c d", where, x)

    def questions(self, proposals: Proposals) -> Logits:
        """What each proposal says to its own question: is it this expression?"""
        return torch.einsum("b c d, c d -> b c", proposals, self.own.weight) + self.own.bias

    def forward(self, flow: Flow) -> Logits:
        """Returns the logits."""
        return self.head(self.attended(flow)[1].flatten(1))

    def loss(self, label: Tensor, criterion: Criterion = cross_entropy, **inputs: Tensor) -> Tensor:
        """The criterion of the answer, and, weighted, the cross-entropy of each proposal's own question."""
        _, proposals = self.attended(inputs["flow"])
        asked = F.one_hot(label, self.config.num_classes) if label.ndim == 1 else label
        own = cross_entropy(self.questions(proposals), asked)
        return criterion(self.head(proposals.flatten(1)), label) + self.config.share * own
