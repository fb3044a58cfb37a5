"""What training needs of a device: random numbers of its own, compiled networks, and advice when memory runs out."""

import math
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

#: Modes of `torch.compile` that pay here; empty means that nothing is compiled.
COMPILED = ("", "default", "reduce-overhead", "max-autotune")


def compile_model(model: nn.Module, mode: str) -> nn.Module:
    """The model as one fused program, or the model itself.

    The first step takes a minute or more, on a GPU and on a CPU (where a C++ compiler is needed); the kernels are kept
    on disk, and further models of the same shape in the same process use the same program.

    Args:
        model: The model; its weights are shared.
        mode: Of `torch.compile`. `reduce-overhead` records CUDA graphs, which pays where kernels are small.

    Raises:
        ValueError: The mode is unknown.

    Example:
        >>> compile_model(torch.nn.Linear(1, 1), "")
        Linear(in_features=1, out_features=1, bias=True)
    """
    if mode not in COMPILED:
        raise ValueError(f"unknown compiled '{mode}': choose from {', '.join(COMPILED[1:])}")
    return torch.compile(model, mode=mode) if mode else model  # type: ignore[return-value]


def any_batch(inputs: Iterable[Tensor]) -> list[Tensor]:
    """The same tensors, with a note for `torch.compile` that batches of other sizes will follow: one program for all.

    Example:
        >>> any_batch([torch.zeros(2)])
        [tensor([0., 0.])]
    """
    inputs = list(inputs)
    for x in inputs:
        torch._dynamo.maybe_mark_dynamic(x, 0)
    return inputs


@contextmanager
def memory_advice(step: Callable[[Tensor], Tensor], clips: int, batch_size: int) -> Iterator[None]:
    """Turns the device's complaint about memory into advice.

    Args:
        step: A training step over some rows. It is tried with fewer of them until it fits, so the model is spoilt.
        clips: Number of clips in an epoch.
        batch_size: Clips per step that were wanted.

    Raises:
        MemoryError: There was too little memory; the message says what batch size would do.
    """
    try:
        yield
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        message = str(error).splitlines()[0]
        traceback.clear_frames(error.__traceback__)  # they hold the tensors of the step that failed
    else:
        return
    most = _largest(step, largest_batch(clips, batch_size))
    fits = next((size for size in range(batch_size, 1, -1) if largest_batch(clips, size) <= most), 0)
    advice = f"a batch of {fits} would fit: Recipe(batch_size={fits})" if fits else "not even two clips would fit"
    raise MemoryError(
        f"a batch of {batch_size} clips does not fit the memory of the device ({message}); {advice}. A smaller "
        "preset, precision 'bf16-mixed', or fewer processes on the device need less"
    )


def largest_batch(clips: int, batch_size: int) -> int:
    """Clips in the largest of the even batches into which an epoch is split, which can be more than was asked for.

    Example:
        >>> largest_batch(clips=17, batch_size=8)
        9
    """
    return math.ceil(clips / max(round(clips / batch_size), 1))


def out_of_memory(error: RuntimeError) -> bool:
    """Whether a device, or the machine itself, had no memory left.

    Example:
        >>> out_of_memory(torch.OutOfMemoryError("CUDA out of memory")), out_of_memory(RuntimeError("shapes differ"))
        (True, False)
    """
    signs = ("not enough memory", "can't allocate memory", "could not create a primitive")  # oneDNN says the last
    return isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in signs)


def _largest(step: Callable[[Tensor], Tensor], too_many: int) -> int:
    """How many rows a step takes, found by halving the interval."""
    least = 0
    while too_many - least > 1:
        middle = (least + too_many) // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        try:
            step(torch.zeros(middle, dtype=torch.long))
            least = middle
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            too_many = middle
    return least
