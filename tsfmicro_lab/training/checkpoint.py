"""The state of a training on disk, whole or not at all, so that it goes on where it was as if nothing had happened."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tsfmicro_lab.files import space_advice, write_whole

#: Parts of a state that have a `state_dict`.
PARTS = ("model", "optimizer", "schedule", "scaler")


@dataclass(frozen=True)
class State:
    """All that a training changes: the model, the steps of its optimizer, and where the random numbers are.

    Attributes:
        scaler: Keeps the small gradients of float16.
        shuffle: Source of the order of clips.
        device: Whose random numbers augment and drop.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    scaler: torch.amp.GradScaler
    shuffle: torch.Generator
    device: torch.device

    def step(self, loss: Tensor, clip_norm: float = 0.0) -> None:
        """Moves the parameters against the gradient of a loss, which is first shortened to a norm, if one is given."""
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        if clip_norm:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def collect(self) -> dict[str, Any]:
        """Everything as tensors and numbers."""
        parts = {name: getattr(self, name).state_dict() for name in PARTS}
        cuda = [torch.cuda.get_rng_state(self.device)] if self.device.type == "cuda" else []
        return {**parts, "shuffle": self.shuffle.get_state(), "random": [torch.get_rng_state(), *cuda]}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Undoes everything that was done since :meth:`collect`."""
        for name in PARTS:
            getattr(self, name).load_state_dict(saved[name])
        self.shuffle.set_state(saved["shuffle"])
        torch.set_rng_state(saved["random"][0])
        if len(saved["random"]) > 1 and self.device.type == "cuda":
            torch.cuda.set_rng_state(saved["random"][1], self.device)


@dataclass(frozen=True)
class Checkpoint:
    """A file that holds the state of one training after its last whole epoch.

    Continued on the same device, with the same number of threads, the result is bit for bit that of a training which
    was never interrupted. The file is read without executing anything in it.

    Attributes:
        path: The file; its folder is created.
        about: What is trained and how, in words; a file about something else is refused.
        beside: What the caller of `fit` keeps from epoch to epoch (tensors, numbers, dicts): saved and restored, too.
    """

    path: Path
    about: str = ""
    beside: dict[str, Any] = field(default_factory=dict)

    def save(self, state: State, losses: list[float]) -> None:
        """Writes the state after an epoch, replacing the file in one go; if that fails, the one before stays whole."""
        content = io.BytesIO()  # torch's own writer refuses some names, and turns a full disk into a RuntimeError
        torch.save({"about": self.about, "losses": losses, "beside": self.beside, **state.collect()}, content)
        with space_advice(f"the checkpoint {self.path} could not be saved", "the epoch before is kept"):
            write_whole(self.path, lambda target: target.write_bytes(content.getbuffer()))

    def load(self, state: State) -> list[float]:
        """Restores what the file holds, if there is one, and returns the losses of the epochs that are done.

        Raises:
            ValueError: The file is truncated, or of another training.
        """
        if not self.path.exists():
            return []
        try:
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
            about, losses, beside = saved["about"], list(saved["losses"]), dict(saved["beside"])
        except Exception as error:
            raise ValueError(f"{self.path} is no checkpoint ({error}): delete it to begin anew") from error
        if about != self.about:
            raise ValueError(f"{self.path} is of another training ({about}): delete it, or give another path")
        state.restore(saved)
        self.beside.update(beside)
        return losses
