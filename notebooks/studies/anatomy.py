"""What a network consists of, read off one forward pass: parts, what feeds them, shapes, parameters, operations."""

import copy
import warnings
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tsfmicro_lab.models.base import STREAMS, Recognizer


@dataclass(frozen=True)
class Part:
    """One step of a forward pass.

    Attributes:
        name: The module's name in the model, or the input's.
        kind: Its class; `input` for an input.
        sources: Names of the parts that it reads.
        stream: Whether it depends on the difference (`how`), the onset frame (`where`) or `both`.
        shape: Of its output for one sample.
        parameters: Number of them in it.
        flops: Floating-point operations for one sample, multiplications and additions counted apart.
    """

    name: str
    kind: str
    sources: tuple[str, ...]
    stream: str
    shape: tuple[int, ...]
    parameters: int
    flops: int


def anatomy(model: Recognizer) -> list[Part]:
    """Runs one sample through a model and writes down what happens, in order: the inputs, then the parts.

    A part is an outermost module that the model's own `forward` calls. Two parts are joined where the output of one, or
    a view of it, is an argument of the other, so nothing here can differ from the code that runs.

    Args:
        model: Reads onset or difference; it is left as it was.

    Raises:
        ValueError: A part reads a tensor that is neither an input nor another part's output: `forward` computes with it
            in between, outside any module.

    Example:
        >>> from tsfmicro_lab.models import create_model
        >>> [(part.name, part.sources) for part in anatomy(create_model("tsfmicro_temporal"))]
        [('difference', ()), ('stem', ('difference',)), ('temporal', ('stem',)), ('classifier', ('temporal',))]
    """
    shadow, flops = copy.deepcopy(model).cpu().eval(), flops_of_modules(model)
    tensors = {n: torch.zeros(1, *shape) for n, shape in model.input_shapes.items()}
    parts = {n: Part(n, "input", (), STREAMS[n], model.input_shapes[n], 0, 0) for n in tensors}
    inputs = dict(tensors)  # the outputs join them and are kept until the end, so that no storage is used twice
    inside: list[str] = []

    def leave(module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> None:
        name = inside.pop()
        if not inside:
            sources = tuple(_source(x, tensors, name) for x in arguments if isinstance(x, Tensor))
            read = {parts[source].stream for source in sources}
            stream = read.pop() if len(read) == 1 else "both"
            parameters = sum(p.numel() for p in module.parameters())
            shape = tuple(output.shape[1:])
            parts[name] = Part(name, type(module).__name__, sources, stream, shape, parameters, flops.get(name, 0))
            tensors[name] = output

    for name, module in list(shadow.named_modules())[1:]:
        module.register_forward_pre_hook(lambda *_, name=name: inside.append(name))
        module.register_forward_hook(leave)
    with torch.no_grad():
        shadow(**inputs)
    return list(parts.values())


def _source(x: Tensor, tensors: dict[str, Tensor], reader: str) -> str:
    for name, tensor in tensors.items():
        if tensor.untyped_storage().data_ptr() == x.untyped_storage().data_ptr():
            return name
    raise ValueError(
        f"'{reader}' reads a tensor that no part made: put what forward computes before it into a module, as fuse does"
    )


def anatomy_table(model: Recognizer) -> pd.DataFrame:
    """The parts of a model as a table with a row of totals."""
    table = pd.DataFrame([asdict(part) for part in anatomy(model)])
    table["reads"] = [", ".join(sources) for sources in table.sources]
    table["shape"] = ["×".join(map(str, shape)) for shape in table["shape"]]
    table["MFLOPs"] = (table.flops / 1e6).round(1)
    total = {"name": "total", "parameters": table.parameters.sum(), "MFLOPs": round(table.flops.sum() / 1e6, 1)}
    columns = ["name", "kind", "reads", "shape", "parameters", "MFLOPs"]
    return pd.concat([table, pd.DataFrame([total])], ignore_index=True)[columns].fillna("")


def cost(model: Recognizer) -> tuple[int, int]:
    """Parameters of any model, and floating-point operations of one clip.

    Example:
        >>> from tsfmicro_lab.models import create_model
        >>> cost(create_model("tsfmicro_late", preset="base"))
        (12789413, 13439952896)
    """
    return sum(p.numel() for p in model.parameters()), flops_of_modules(model)[""]


def flops_of_modules(model: Recognizer) -> dict[str, int]:
    """Floating-point operations of one clip in each module, by the module's name; the whole model's name is empty.

    Multiplications and additions count apart. Modules without a product, such as norms, are missing.

    Example:
        >>> from tsfmicro_lab.models import create_model
        >>> flops = flops_of_modules(create_model("tsfmicro_late"))
        >>> flops["stem"] + flops["temporal"] + flops["spatial"] + flops["classifier"] == flops[""]
        True
    """
    shadow = copy.deepcopy(model).to("meta").eval()  # shapes without numbers: nothing is computed
    inputs = {name: torch.zeros(1, *shape, device="meta") for name, shape in model.input_shapes.items()}
    counter = FlopCounterMode(display=False)
    # Fused attention and fused recurrence are unknown to the counter; the same in plain steps is not.
    with warnings.catch_warnings(), torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        warnings.simplefilter("ignore", UserWarning)  # torch tells of devices that are not there
        with torch.backends.mkldnn.flags(enabled=False), counter:
            shadow(**inputs)
    counts = {name: sum(operations.values()) for name, operations in counter.get_flop_counts().items()}
    root = type(shadow).__name__
    return {name.removeprefix(root).removeprefix("."): n for name, n in counts.items() if name.startswith(root)}
