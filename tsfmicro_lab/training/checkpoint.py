"""The state of a training on disk, whole or not at all, so that it goes on where it was as if nothing had happened."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tsfmicro_lab.files import write_whole


@dataclass(frozen=True)
class State:
    """All that a training changes.

    Attributes:
        parts: What has a `state_dict`: model, optimizer, schedule of the learning rate, scaler of the loss.
        shuffle: Source of the order of clips.
        device: Whose random numbers augment and drop.
    """

    parts: Mapping[str, Any]
    shuffle: torch.Generator
    device: torch.device

    def collect(self) -> dict[str, Any]:
        """Everything as tensors and numbers."""
        random = [torch.get_rng_state()]
        if self.device.type == "cuda":
            random.append(torch.cuda.get_rng_state(self.device))
        parts = {name: part.state_dict() for name, part in self.parts.items()}
        return {**parts, "shuffle": self.shuffle.get_state(), "random": random}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Undoes everything that was done since :meth:`collect`."""
        for name, part in self.parts.items():
            part.load_state_dict(saved[name])
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
        """Writes the state after an epoch, replacing the file in one go.

        Raises:
            OSError: The file cannot be written; the one before stays whole.
        """
        saved = {"about": self.about, "losses": losses, "beside": self.beside, **state.collect()}

        def write(target: Path) -> None:
            with target.open("wb") as file:  # given a name, torch refuses some
                torch.save(saved, file)

        try:
            write_whole(self.path, write)
        except (OSError, RuntimeError) as error:  # torch's own writer turns a full disk into a RuntimeError
            raise OSError(
                f"the checkpoint {self.path} could not be saved ({error}): free some space and start again, the epoch "
                "before is kept"
            ) from error

    def load(self, state: State) -> list[float]:
        """Restores what the file holds, if there is one.

        Returns:
            The losses of the epochs that are done.

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
