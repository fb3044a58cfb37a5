"""Sanity checks of a method: randomised parameters, shifted inputs, and a shortcut planted on purpose.

After Adebayo et al., "Sanity Checks for Saliency Maps" (arXiv 1810.03292), and Kindermans et al., "The
(Un)reliability of saliency methods" (arXiv 1711.00867).
"""

import copy
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from captum.metrics import sensitivity_max
from jaxtyping import UInt8
from torch import Tensor

from studies.truth import rank_correlation
from tsfmicro_lab.data.samples import Samples
from tsfmicro_lab.explain.attribution import WhereHow
from tsfmicro_lab.explain.methods import Mask, Tensors
from tsfmicro_lab.models import Recognizer
from tsfmicro_lab.seeds import seeded

Explain = Callable[[dict[str, Tensor]], WhereHow]


def similarity(first: WhereHow, second: WhereHow) -> float:
    """Spearman's correlation of two explanations by absolute value, mean of the maps of all inputs."""
    return float(np.mean([rank_correlation(first[name], second[name]) for name in first]))


def cascade(model: Recognizer, seed: int = 0) -> Iterator[tuple[str, Recognizer]]:
    """Cascading randomisation: copies of a model with fresh parameters from the output downwards, one part more each.

    Each comes with the name of the part that was randomised last.

    Example:
        >>> from tsfmicro_lab.models import create_model
        >>> [part for part, _ in cascade(create_model("tsfmicro_late", 3, seed=0))]
        ['classifier', 'spatial', 'temporal stage 2', 'temporal stage 1', 'stem']
    """
    with seeded(seed):
        fresh = type(model)(model.config).state_dict()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    for part in dict.fromkeys(_part(name) for name in reversed(state)):
        state |= {name: value for name, value in fresh.items() if _part(name) == part}
        randomised = copy.deepcopy(model).eval()
        randomised.load_state_dict(state)
        yield part, randomised


def _part(name: str) -> str:
    first, *rest = name.split(".")
    if first != "temporal":
        return first
    return f"temporal stage {int(rest[1]) + (1 if rest[0] == 'stages' else 2)}"


def shifted(model: Recognizer, onset: float = 1.0, difference: float = 0.5) -> Recognizer:
    """Input-shift check: a copy that takes a constant off its inputs, and so answers to shifted inputs as before.

    Both are one function of the picture, told in other units: a method whose maps differ looks at the units.
    """
    other = copy.deepcopy(model)
    constants = {"onset": onset, "difference": difference}
    other.register_forward_pre_hook(
        lambda _, inputs: tuple(x - constants[name] for name, x in zip(model.input_names, inputs, strict=True))
    )
    return other


def mark_region(size: int) -> Mask:
    """Where a planted mark lies: a square near the upper left corner, of a tenth of the side."""
    start, side = size // 14, round(size / 10)
    region = np.zeros((size, size), bool)
    region[start : start + side, start : start + side] = True
    return region


def draw_mark(frames: UInt8[Tensor, "*batch 3 size size"]) -> UInt8[Tensor, "*batch 3 size size"]:
    """Aligned frames with a magenta mark on them, as a recording station may leave one: no wall has this colour."""
    marked = frames.clone()
    marked[..., torch.from_numpy(mark_region(frames.shape[-1]))] = torch.tensor([[255], [0], [255]], dtype=torch.uint8)
    return marked


def plant(samples: Samples, label: str) -> Samples:
    """Plants a shortcut: every clip of one class, and no other, bears the mark in onset and apex.

    Nothing moves where the mark is, so the difference frame does not show it: only *where* can give it away.

    Raises:
        ValueError: There is no such class.
    """
    if label not in samples.classes:
        raise ValueError(f"'{label}' is none of the classes: choose from {', '.join(samples.classes)}")
    bears = (samples.label == samples.classes.index(label))[:, None, None, None]
    onset, apex = (torch.where(bears, draw_mark(frames), frames) for frames in (samples.onset, samples.apex))
    return samples.with_tensors(onset=onset, apex=apex)


def sensitivity(
    explain: Explain, inputs: Mapping[str, Tensor], *, radius: float = 0.02, count: int = 4, seed: int = 0
) -> float:
    """Max-sensitivity: how far the maps move, relative to their norm, when the inputs move a little.

    Yeh et al. (arXiv 1901.09392), computed by captum; the largest of a few draws. The inputs have a batch axis; their
    pixels change by 0.02 at most, about one grey level of the onset frame. `explain` leads from inputs to maps, such as
    a `where_how` with its model, class and method.
    """

    def maps(x: Tensors) -> Tensors:
        explained = [explain({n: t[[i]] for n, t in zip(inputs, x, strict=True)}) for i in range(len(x[0]))]
        return tuple(torch.from_numpy(np.stack([e[name] for e in explained])) for name in explained[0])

    with seeded(seed):
        return float(sensitivity_max(maps, tuple(inputs.values()), perturb_radius=radius, n_perturb_samples=count))
