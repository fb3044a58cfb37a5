"""Attribution: which pixels of its inputs a prediction rests on, for every model; where-how, of TSFmicro's two."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tsfmicro_lab.data.samples import Samples
from tsfmicro_lab.explain import methods
from tsfmicro_lab.explain.methods import METHODS, InFrames, InOrder, Mask, Settings, Tensors
from tsfmicro_lab.models.base import STREAMS, Recognizer, check_word
from tsfmicro_lab.seeds import seeded

#: A map: (H, W), or of a row of frames (frames, H, W).
Heat = Float[np.ndarray, "... _ _"]
TINY = float(np.finfo(np.float32).tiny)
#: DeepLift's maps are refused if they miss more than this share of the change of the logit.
DEEP_LIFT_TOLERANCE = 0.1


@dataclass(frozen=True, eq=False)
class WhereHow(dict[str, Heat]):
    """Attribution of one logit to the inputs of a model: a map for each, indexed by the input's name.

    Raw values, summed over colours: positive speaks for the target, negative against it.

    Attributes:
        maps: For each input that is a picture, its map; or, in the space of frames, for `onset frame` and `apex frame`.
        target: Index of the explained class.
        method: How it was computed.
        completeness_error: |sum of all maps - (logit - logit at the baseline)|, relative to that change of the logit;
            NaN for methods that do not share the logit out.
    """

    maps: Mapping[str, Heat] = field(repr=False)
    target: int
    method: str
    completeness_error: float = float("nan")

    def __post_init__(self) -> None:
        self.update(self.maps)

    def __missing__(self, name: str) -> Heat:
        raise KeyError(f"there is no map of '{name}': the explained model reads {', '.join(self)}")

    def share(self, name: str) -> float:
        """Share of one input in all attribution, by absolute value."""
        return float(np.abs(self.as_shares()[name]).sum())

    def as_shares(self) -> "WhereHow":
        """All maps divided by the sum of their absolute values, so that methods of different units can be compared."""
        mass = max(sum(float(np.abs(heat).sum()) for heat in self.values()), TINY)
        return replace(self, maps={name: heat / mass for name, heat in self.items()})


def where_how(
    model: Recognizer,
    inputs: Mapping[str, Tensor],
    target: int | None = None,
    method: str = "integrated gradients",
    *,
    space: str = "streams",
    steps: int = 32,
    batch_size: int = 32,
    seed: int = 0,
    baseline: Mapping[str, Tensor] | None = None,
    regions: Mapping[str, Mask] | None = None,
) -> WhereHow:
    r"""Explains one prediction over all inputs that are pictures at once, by default with integrated gradients.

    .. math:: a_i = (x_i - x'_i) \int_0^1 \frac{\partial f}{\partial x_i}\bigl(x' + \alpha (x - x')\bigr)\,d\alpha

    (Sundararajan, Taly, Yan, ICML 2017, arXiv 1703.01365; computed by captum.) The baseline x' is the model's: for
    TSFmicro an onset frame of ImageNet's mean colour and a difference frame of zero, that is: no face known, nothing
    moved. The other methods are told in :mod:`~tsfmicro_lab.explain.methods`. Other inputs, such as landmarks, are held
    as they are.

    Args:
        model: Any model.
        inputs: Its inputs by name, of one sample, with or without a batch axis (see `Recognizer.inputs_of`).
        target: Class to explain; the predicted one by default.
        method: One of :data:`~tsfmicro_lab.explain.methods.METHODS`; for inputs of several frames, and for models that
            read more than pictures, one that works by gradients.
        space: `streams` asks what each *input* does: the map of `onset` is about the face at rest, that of `difference`
            about the change. `frames` asks what each *recorded frame* does, for models of these two inputs. A pixel of
            the onset frame then acts through both, since the difference is apex minus onset: its slope is f₁ − f₂, that
            of the apex frame f₂. By integrated gradients both maps of a space have the same sum, pixel by pixel.
        steps: Points of the integral, noisy copies, or, times 4, coalitions of regions. The completeness error tells
            whether they were enough.
        batch_size: Inputs computed at once, which bounds the memory. Where noise is drawn, it is drawn batch by batch.
        seed: Of the methods that draw.
        baseline: Another x', the inputs by name with a batch axis of K. Methods that start from a baseline average over
            all K (gradient SHAP draws from them); slopes and looks inside the network have none.
        regions: For feature ablation and KernelSHAP: masks by name (see `regions.clip_regions`).

    Raises:
        ValueError: The method is unknown, lacks its regions or does not fit the model; the model lacks an input or
            ignores one; its weights were made in inference mode; the target is none of its classes; or a map is not
            finite.

    Example:
        >>> from tsfmicro_lab.models import create_model
        >>> model = create_model("tsfmicro_late", 3, seed=0)
        >>> maps = where_how(model, {name: torch.ones(3, 56, 56) for name in model.input_names}, target=1)
        >>> list(maps), maps["onset"].shape
        (['onset', 'difference'], (56, 56))
    """
    _check(model, method, space, regions)
    # Outside inference mode a clone makes tensors that gradients can flow to, wherever the sample came from.
    with torch.inference_mode(False), torch.enable_grad(), seeded(seed):
        asked = (InFrames if space == "frames" else InOrder)(model, sample := one_sample(model, inputs))
        x = tuple(one.requires_grad_() for one in asked.free(sample))
        origin = asked.free(model.baseline(sample) if baseline is None else baseline)
        target = _target(asked, x, target)
        maps = METHODS[method](asked, x, target, Settings(origin, steps, batch_size, regions or {}))
        heat = {n: m.detach().sum(-3)[0].float().cpu().numpy() for n, m in zip(asked.names, maps, strict=True)}
        if not all(np.isfinite(m).all() for m in heat.values()):
            raise ValueError("the attribution is not finite: check the sample and the model's weights for NaN")
        total = sum(float(m.sum()) for m in heat.values())
        error = _completeness(asked, x, origin, target, total) if METHODS[method] in methods.COMPLETE else float("nan")
    if method == "DeepLift" and error > DEEP_LIFT_TOLERANCE:
        missed = f"its maps miss {error:.0%} of the change of the logit"
        why = "since captum has no rule for GELU, SiLU, layer norm and fused attention; choose integrated gradients"
        raise ValueError(f"DeepLift does not fit {type(model).__name__}: {missed}, {why}")
    return WhereHow(heat, target, method, error)


def explain_all(
    model: Recognizer, samples: Samples, index: Sequence[int], *, executor: Executor | None = None, **settings: Any
) -> Iterator[WhereHow]:
    """Explains many samples with :func:`where_how`, and with no more points of the integral than each needs.

    It begins with 16 and doubles them, up to 256, where the maps miss more than 1 % of the change of the logit.

    Args:
        model: Any model.
        samples: Prepared clips, of which `index` says those to explain.
        index: Rows.
        executor: Explains side by side, such as `training.fold_processes()`; in this process by default.
        settings: Further arguments of `where_how`, but `steps`.

    Returns:
        The maps, in the order of the index.

    Example:
        >>> maps = explain_all(model, samples, range(len(samples)), executor=pool)  # doctest: +SKIP
    """
    inputs = [model.inputs_of(samples, np.array([i])) for i in index]
    return (executor.map if executor else map)(partial(_explain_well, model, settings), inputs)


def _explain_well(model: Recognizer, settings: Mapping[str, Any], inputs: Mapping[str, Tensor]) -> WhereHow:
    steps = 16
    while (maps := where_how(model, inputs, steps=steps, **settings)).completeness_error > 0.01 and steps < 256:
        steps *= 2
    return maps


def one_sample(model: Recognizer, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of a model's inputs, with a batch axis, on its device; a ValueError unless they are one whole sample."""
    if missing := [name for name in model.input_names if name not in inputs]:
        lacking = f"there is no {' and no '.join(missing)}: make the inputs with model.inputs"
        raise ValueError(f"{type(model).__name__} reads {', '.join(model.input_names)}, but {lacking}")
    device = next(model.parameters()).device
    sample = {}
    for name, shape in model.input_shapes.items():
        x = inputs[name].detach()
        sample[name] = (x if x.ndim > len(shape) else x[None]).clone().to(device)
        if len(sample[name]) != 1:
            raise ValueError(f"'{name}' holds {len(sample[name])} samples: explain one at a time")
    return sample


def _check(model: Recognizer, method: str, space: str, regions: Mapping[str, Mask] | None) -> None:
    check_word("method", method, METHODS)
    check_word("space", space, ("streams", "frames"))
    if space == "frames" and (METHODS[method] in methods.INSIDE or set(model.input_names) != set(STREAMS)):
        raise ValueError(f"{method} of {type(model).__name__} cannot be asked for frames: choose space='streams'")
    able = [name for name, how in METHODS.items() if how in methods.ANY_SHAPE]
    if method not in able and any(len(shape) != 3 for shape in model.input_shapes.values()):
        raise ValueError(f"{method} does not fit the inputs of {type(model).__name__}: choose {', '.join(able)}")
    if METHODS[method] in methods.REGIONAL and not regions:
        raise ValueError(f"{method} asks region by region: give regions=, such as explain.regions.clip_regions(clip)")
    if any(p.is_inference() for p in model.parameters()):
        unable = "the model's weights were made in inference mode, so no gradient passes through them"
        raise ValueError(f"{unable}: create or load the model outside torch.inference_mode()")
    model.eval()


def _target(model: InOrder, inputs: Tensors, target: int | None) -> int:
    """The class to explain, after a look at whether each input has a say in it."""
    logits = model(*inputs)[0]
    chosen = int(logits.argmax()) if target is None else target
    if not 0 <= chosen < len(logits):
        raise ValueError(f"target {chosen} is none of the model's {len(logits)} classes (0 to {len(logits) - 1})")
    slopes = torch.autograd.grad(logits[chosen], inputs, allow_unused=True)
    if unused := [name for name, slope in zip(model.names, slopes, strict=True) if slope is None]:
        frame = f"the {' and '.join(unused).removesuffix(' frame')} frame"
        why = "and ignores it, so nothing can be attributed to it: check the variant's forward"
        raise ValueError(f"{type(model.model).__name__} takes {frame} {why}")
    return chosen


@torch.no_grad()
def _completeness(model: InOrder, inputs: Tensors, baseline: Tensors, target: int, total: float) -> float:
    change = float(model(*inputs)[0, target] - model(*baseline)[:, target].mean())
    return abs(total - change) / max(abs(change), 1e-6)


def mass_inside(heat: Heat, region: Bool[np.ndarray, "_ _"]) -> tuple[float, float]:
    """Share of a map's absolute values inside a region, such as `clip.truth.moved`, and the region's share of the area.

    The second is what chance would put there. A map of zeros has a share of 0.

    Example:
        >>> mass_inside(np.array([[3.0, -1.0], [0.0, 0.0]]), np.array([[True, False], [False, False]]))
        (0.75, 0.25)
    """
    if heat.shape[-2:] != region.shape:
        raise ValueError(f"map {heat.shape} and region {region.shape} differ: align the clip to the model's size")
    mass = np.abs(heat)
    return float(mass[..., region].sum() / max(float(mass.sum()), TINY)), float(region.mean())
