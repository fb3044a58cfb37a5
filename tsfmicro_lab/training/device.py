"""What training needs of devices: which one, random numbers of its own, half precision, several of them, and memory."""

import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn

from tsfmicro_lab.models.base import Criterion, Recognizer, check_word, cross_entropy

#: Modes of `torch.compile` that pay here; empty means that nothing is compiled.
COMPILED = ("", "default", "reduce-overhead", "max-autotune")
#: What networks compute in. Weights and steps are float32 always.
PRECISIONS = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def find_device(accelerator: str) -> torch.device:
    """The device of an accelerator: `cpu`, `cuda`, `mps`, or `auto` for the best there is.

    Where several processes train (`torchrun`), each takes the GPU of its own number.

    Raises:
        ValueError: This machine has no such accelerator.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    known = [name for name, yes in there.items() if yes]
    if accelerator not in (*known, "auto"):
        raise ValueError(f"no accelerator '{accelerator}' on this machine: choose from {', '.join(known)}, auto")
    name = known[0] if accelerator == "auto" else accelerator
    return torch.device(name, int(os.environ.get("LOCAL_RANK", "0"))) if name == "cuda" else torch.device(name)


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Lets a network compute in half precision where that is safe; `32-true` changes nothing.

    Example:
        >>> with autocast("bf16-mixed", torch.device("cpu")):
        ...     torch.nn.Linear(1, 1)(torch.ones(1, 1)).dtype
        torch.bfloat16
    """
    check_word("precision", precision, PRECISIONS)
    return torch.autocast(device.type, PRECISIONS[precision], enabled=precision != "32-true")


class _Loss(nn.Module):
    """The loss as a module's output, as `DistributedDataParallel` wants it."""

    def __init__(self, model: Recognizer, criterion: Criterion) -> None:
        super().__init__()
        self.model, self.criterion = model, criterion

    def forward(self, label: Tensor, **inputs: Tensor) -> Tensor:
        return self.model.loss(label, self.criterion, **inputs)


def loss_of(model: Recognizer, compiled: str = "", criterion: Criterion = cross_entropy) -> Callable[..., Tensor]:
    """The model's loss as a function of labels and inputs.

    Where several processes train, each on its part of a batch, they average their gradients.

    Args:
        model: The model, on its device.
        compiled: Mode of `torch.compile`, which makes one program of network and loss for batches of any size; empty
            for none. The first step takes a minute or more, on a GPU and on a CPU (where a C++ compiler is needed);
            further models of the same shape in the same process use the same program. `reduce-overhead` records CUDA
            graphs, which pays where kernels are small.
        criterion: See :meth:`~tsfmicro_lab.models.Recognizer.loss`.
    """
    check_word("compiled", compiled, COMPILED)
    loss: nn.Module = _Loss(model, criterion)
    if distributed.is_initialized():
        loss = nn.parallel.DistributedDataParallel(loss)
    if not compiled:
        return loss
    program: Any = torch.compile(loss, mode=compiled)

    def any_size(label: Tensor, **inputs: Tensor) -> Tensor:
        for x in (label, *inputs.values()):
            torch._dynamo.maybe_mark_dynamic(x, 0)
        return program(label, **inputs)

    return any_size


def rank_and_world() -> tuple[int, int]:
    """Number of this process among those that train together, and how many they are."""
    return (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)


@contextmanager
def memory_advice(batch_size: int) -> Iterator[None]:
    """Turns the complaint of a device or machine about memory into a MemoryError that says what needs less."""
    try:
        yield
    except RuntimeError as error:
        signs = ("not enough memory", "can't allocate memory", "could not create a primitive")  # oneDNN says the last
        if not isinstance(error, torch.OutOfMemoryError) and not any(sign in str(error) for sign in signs):
            raise
        traceback.clear_frames(error.__traceback__)  # they hold the tensors of the step that failed
        half = f"half may fit: Recipe(batch_size={batch_size // 2}). " if batch_size > 3 else ""
        what = f"a batch of {batch_size} clips does not fit the memory of the device ({str(error).splitlines()[0]})"
        less = "A smaller preset, precision 'bf16-mixed', or fewer processes on the device need less"
        raise MemoryError(f"{what}; {half}{less}") from None
