"""SLSTT's training in two stages: the transformer with a linear head per frame, then the LSTM on what it has learnt."""

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tsfmicro_lab.models.base import Batches, cross_entropy
from tsfmicro_lab.models.slstt import SLSTTLSTM, SLSTTMean
from tsfmicro_lab.seeds import seeded
from tsfmicro_lab.training import RECIPES, Recipe, Run
from tsfmicro_lab.training.loop import OPTIMIZERS


class Staged(SLSTTLSTM):
    """SLSTT with an LSTM, whose transformer is trained first, as :class:`~tsfmicro_lab.models.slstt.SLSTTMean`.

    That happens within the fold, on its training clips alone, with their labels. The first head is then thrown away; a
    saved model is a plain `slstt_lstm`.

    Attributes:
        first: Recipe of the first stage; frames are augmented as in the second, the loss is plain cross-entropy.
    """

    first: Recipe

    def pretrain(self, rows: Tensor, batch_of: Batches, lr: float) -> None:
        """Trains the transformer with the mean over frames; what is to be frozen is free as long as that takes."""
        recipe, frozen = self.first, [p for p in self.vit.parameters() if not p.requires_grad]
        whole = SLSTTMean(self.config).to(next(self.parameters()).device)
        whole.vit = self.vit.requires_grad_(True)
        settings = {"lr": recipe.lr, "weight_decay": recipe.weight_decay}
        settings |= {"momentum": recipe.momentum} if recipe.optimizer == "sgd" else {}
        optimizer: torch.optim.Optimizer = OPTIMIZERS[recipe.optimizer](whole.parameters(), **settings)
        whole.train()
        for epoch in range(1, recipe.epochs + 1):
            optimizer.param_groups[0]["lr"] = recipe.lr * recipe.rate(epoch)
            for some in rows[torch.randperm(len(rows))].tensor_split(max(round(len(rows) / recipe.batch_size), 1)):
                batch = batch_of(some, self.prepared)
                optimizer.zero_grad()
                cross_entropy(whole(**whole.inputs(batch)), batch["label"]).backward()
                optimizer.step()
        optimizer.zero_grad()
        for parameter in frozen:
            parameter.requires_grad_(False)


@dataclass(frozen=True)
class TwoStages(Run):
    """A run of `slstt_lstm` whose transformer is trained by `first`, and then kept; see :class:`Staged`.

    Example:
        >>> run = TwoStages("slstt_lstm", recipe=Recipe(epochs=2), first=Recipe(epochs=1))
        >>> run.create(3).first.epochs, run.label
        (1, 'slstt_lstm freeze_encoder=True')
    """

    settings: dict[str, Any] = field(default_factory=lambda: {"freeze_encoder": True})
    first: Recipe = RECIPES["tiny"]

    def create(self, num_classes: int, seed: int | None = None) -> Staged:
        """The untrained model, drawn like a `slstt_lstm` of that seed."""
        with nullcontext() if seed is None else seeded(seed):
            model = Staged.from_preset(self.preset, num_classes=num_classes, **self.settings)
        assert isinstance(model, Staged)
        model.first = self.first
        return model
