"""How fast a model runs, how far that is from what the machine can do, and what it costs in memory and energy."""

import ctypes
import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.benchmark import Timer, timer  # both wait for a GPU

from studies.anatomy import cost, flops_of_modules
from tsfmicro_lab.models import Recognizer

DTYPES = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16}
#: Modules that are one row of the roofline, with what is in them.
WHOLE = ("ManhattanRetention", "SelfAttention")


@dataclass(frozen=True)
class Machine:
    """What a device does at best, measured: the roof that no layer gets above.

    Attributes:
        gflops: Rate of a square matrix product, 10⁹ floating-point operations a second.
        gbytes: Rate at which memory is read and written, 10⁹ bytes a second.
    """

    gflops: float
    gbytes: float


def machine(device: str = "cpu", precision: str = "32-true") -> Machine:
    """Measures matrix products and copies, both large enough to leave every cache.

    Args:
        device: `cpu`, `cuda`, …
        precision: `32-true` or `bf16-mixed`; float32 products are not rounded to TF32.

    Example:
        >>> machine().gflops > 1
        True
    """
    side, dtype = (8192 if device != "cpu" else 1024), DTYPES[precision]
    a, b = torch.randn(2, side, side, device=device).to(dtype)
    x = torch.empty(2**30 if device != "cpu" else 2**25, dtype=torch.uint8, device=device)
    y = torch.empty_like(x)
    product, copy = seconds(lambda: a @ b), seconds(lambda: y.copy_(x))
    return Machine(2 * side**3 / product / 1e9, 2 * x.numel() / copy / 1e9)


def seconds(run: Callable[[], object], budget: float = 0.2) -> float:
    """Least time of a run, after some that warm up: whatever else the machine does only adds.

    Args:
        run: What is timed, on any device.
        budget: Runs are repeated for so many seconds, and at least once.

    Example:
        >>> import time
        >>> seconds(lambda: time.sleep(0.01), budget=0.05) >= 0.01
        True
    """
    measured = Timer("run()", globals={"run": run}, num_threads=torch.get_num_threads())
    return min(measured.blocked_autorange(min_run_time=budget).times)


def runner(
    model: nn.Module,
    inputs: Iterable[Tensor],
    *,
    train: bool = True,
    precision: str = "32-true",
    compiled: str = "",
    fused: bool = True,
) -> Callable[[], object]:
    """A forward pass or a whole training step with AdamW, ready to be timed.

    Args:
        model: On its device; a training step changes it.
        inputs: What it reads, on the same device.
        train: A training step; else a forward pass in evaluation mode.
        precision: `32-true`, or `bf16-mixed` for autocast.
        compiled: Mode of `torch.compile`.
        fused: Whether AdamW updates all weights at once.
    """
    inputs = list(inputs)
    network = torch.compile(model.train(train), mode=compiled) if compiled else model.train(train)
    half = precision == "bf16-mixed"
    label = torch.arange(len(inputs[0]), device=inputs[0].device) % 2
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, fused=fused or None)

    def forward() -> Tensor:
        with torch.autocast(inputs[0].device.type, torch.bfloat16) if half else nullcontext():
            logits: Tensor = network(*inputs)
        return logits

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(forward().float(), label).backward()
        optimizer.step()

    def look() -> Tensor:
        with torch.no_grad():
            return forward()

    return step if train else look


def flops(model: Recognizer, batch: int = 1, *, train: bool = False) -> int:
    """Floating-point operations of a forward pass or a training step; multiplication and addition count apart.

    Args:
        model: The model.
        batch: Clips.
        train: Whether the backward pass counts, too.

    Example:
        >>> from tsfmicro_lab.models import create_model
        >>> round(flops(create_model("tsfmicro_late", preset="base")) / 1e9, 2)
        13.44
    """
    return batch * cost(model)[1] * (3 if train else 1)  # each product has two gradients


def measure(
    model: Recognizer,
    batch: int,
    *,
    device: str = "cpu",
    train: bool = True,
    precision: str = "32-true",
    compiled: str = "",
    budget: float = 0.2,
    roof: Machine | None = None,
) -> dict[str, Any]:
    """Throughput, memory and share of the machine's matrix rate for one way to run a model.

    Args:
        model: The model; moved to the device, and a training step changes it.
        batch: Clips.
        device: `cpu`, `cuda`, …
        train: A training step; else a forward pass.
        precision: See :func:`runner`.
        compiled: See :func:`runner`.
        budget: See :func:`seconds`.
        roof: From :func:`machine`, measured anew if None.

    Returns:
        `batch`, `side`, `what`, `precision`, `compiled`, `ms`, `clips_per_s`, `gflops` (a second), `of_gemm`, `mb`
        (what the step needed beside weights and clips, see :func:`memory`).

    Example:
        >>> from tsfmicro_lab.models import create_model
        >>> row = measure(create_model("tsfmicro_spatial"), 2, budget=0.01, roof=Machine(100, 10))
        >>> row["clips_per_s"] > 0, row["what"]
        (True, 'training step')
    """
    roof = roof or machine(device, precision)
    operations, model = flops(model, batch, train=train), model.to(device)
    inputs = [torch.randn(batch, *shape, device=device) for shape in model.input_shapes.values()]
    with memory(device) as used:
        took = seconds(runner(model, inputs, train=train, precision=precision, compiled=compiled), budget)
    return {
        "batch": batch,
        "side": model.config.image_size,
        "what": "training step" if train else "forward pass",
        "precision": precision,
        "compiled": compiled or "no",
        "ms": 1e3 * took,
        "clips_per_s": batch / took,
        "gflops": operations / took / 1e9,
        "of_gemm": operations / took / 1e9 / roof.gflops,
        **used,
    }


@contextmanager
def memory(device: str = "cpu") -> Iterator[dict[str, float]]:
    """Most memory that was needed on top of what was in use before, as `mb` in MiB.

    Of a GPU as torch tells it, else of this process as Linux tells it; other systems do not tell, and `mb` is missing.

    Example:
        >>> with memory() as used:
        ...     _ = torch.ones(2**24)
        >>> used.get("mb", 64) > 60
        True
    """
    used: dict[str, float] = {}
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    elif status.exists():
        gc.collect()
        with suppress(OSError, AttributeError):  # another C library than glibc
            ctypes.CDLL("libc.so.6").malloc_trim(0)  # what was freed before is given back, and needed again
        reset.write_text("5", encoding="utf-8")  # the peak is now what is in use
        before = _kib(status, "VmRSS") * 2**10
    yield used
    if on_gpu:
        used["mb"] = (torch.cuda.max_memory_allocated() - before) / 2**20
    elif status.exists():
        used["mb"] = (_kib(status, "VmHWM") * 2**10 - before) / 2**20


def _kib(status: Path, name: str) -> int:
    [line] = [line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith(name)]
    return int(line.split()[1])


def roofline(model: Recognizer, batch: int, *, device: str = "cpu", precision: str = "32-true") -> pd.DataFrame:
    """Where the time of a forward pass goes, layer by layer, against what the machine could do.

    A layer that does few operations for each byte it moves can at best be as fast as the memory; only the others can
    reach the matrix rate. Waiting for each layer makes the sum longer than an undisturbed pass.

    Args:
        model: The model.
        batch: Clips.
        device: `cpu`, `cuda`, …
        precision: `32-true` or `bf16-mixed`.

    Returns:
        One row per layer: `layer`, `kind`, `bytes` (inputs, outputs and weights once each), `ms`, `flops`, `intensity`
        (operations per byte), `gflops` (a second), the slowest first.
    """
    operations, model = flops_of_modules(model), model.to(device).eval()
    size = torch.finfo(DTYPES[precision]).bits // 8
    inputs = [torch.randn(batch, *shape, device=device) for shape in model.input_shapes.values()]
    layers = {n: m for n, m in model.named_modules() if not list(m.children()) or type(m).__name__ in WHOLE}
    layers = {n: m for n, m in layers.items() if not any(n.startswith(f"{o}.") for o in layers if o != n)}
    rows: list[dict[str, Any]] = []
    began = 0.0

    def enter(*_: Any) -> None:
        nonlocal began
        began = timer()

    def leave(name: str, module: nn.Module, given: Any, made: Any) -> None:
        took = timer() - began
        moved = sum(t.numel() for t in (*given, made, *module.parameters()) if isinstance(t, Tensor)) * size
        rows.append({"turn": turn, "layer": name, "kind": type(module).__name__, "bytes": moved, "ms": 1e3 * took})

    hooks = [m.register_forward_pre_hook(enter) for m in layers.values()]
    hooks += [m.register_forward_hook(lambda *a, n=n: leave(n, *a)) for n, m in layers.items()]
    run = runner(model, inputs, train=False, precision=precision)
    try:
        for turn in range(4):  # noqa: B007  `leave` notes it; the first warms up, the least of each layer counts
            run()
    finally:
        for hook in hooks:
            hook.remove()
    turns = pd.DataFrame(rows).groupby(["turn", "layer", "kind"], sort=False)[["bytes", "ms"]].sum()
    table = turns.groupby(["layer", "kind"], sort=False).min().reset_index()
    table["flops"] = batch * table["layer"].map(operations).fillna(0)
    table["intensity"] = table.flops / table.bytes
    table["gflops"] = table.flops / table.ms / 1e6
    return table.sort_values("ms", ascending=False, ignore_index=True)


@contextmanager
def energy() -> Iterator[dict[str, float]]:
    """Energy that all NVIDIA GPUs of the machine take meanwhile, where their driver tells (NVML).

    Yields:
        A dict that afterwards holds `seconds` and, with such a GPU, `joules`; idle GPUs and other users count, too.

    Example:
        >>> with energy() as used:
        ...     _ = torch.ones(9)
        >>> used["seconds"] > 0
        True
    """
    used: dict[str, float] = {}
    before, began = _joules(), timer()
    yield used
    used["seconds"] = timer() - began
    if before is not None:
        used["joules"] = (_joules() or before) - before


def _joules() -> float | None:
    try:
        import pynvml

        pynvml.nvmlInit()
        gpus = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        return float(sum(pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu) for gpu in gpus) / 1e3)
    except Exception:
        return None  # no NVML, no GPU, or one that does not tell
