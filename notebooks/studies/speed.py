"""How fast a model runs, how far that is from what the machine can do, and what it costs in memory and energy."""

import ctypes
import gc
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tsfmicro_lab.models import Recognizer
from tsfmicro_lab.training.device import compile_model

DTYPES = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16}


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
    product, copy = seconds(lambda: a @ b, device, 5), seconds(lambda: y.copy_(x), device, 5)
    return Machine(2 * side**3 / product / 1e9, 2 * x.numel() / copy / 1e9)


def seconds(run: Callable[[], object], device: str = "cpu", repeats: int = 5) -> float:
    """Least time of several runs, after two that warm up: whatever else the machine does only adds.

    Args:
        run: What is timed.
        device: Waited for before and after.
        repeats: Runs that count.

    Example:
        >>> seconds(lambda: time.sleep(0.01), repeats=2) >= 0.01
        True
    """
    times = []
    for _ in range(repeats + 2):
        wait(device)
        began = time.perf_counter()
        run()
        wait(device)
        times.append(time.perf_counter() - began)
    return min(times[2:])


def wait(device: str) -> None:
    """Until the device has done what it was told."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


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
    network = compile_model(model.train(train), compiled)
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
    twin = type(model)(model.config).eval()
    inputs = [torch.zeros(1, *shape) for shape in model.input_shapes.values()]
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:  # the counter knows no fused attention
        twin(*inputs)
    # Each product has two gradients. The counter itself takes depthwise convolutions for dense ones on the way back.
    return batch * int(counter.get_total_flops()) * (3 if train else 1)


def measure(
    model: Recognizer,
    batch: int,
    *,
    device: str = "cpu",
    train: bool = True,
    precision: str = "32-true",
    compiled: str = "",
    repeats: int = 5,
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
        repeats: Timed runs.
        roof: From :func:`machine`, measured anew if None.

    Returns:
        `batch`, `side`, `what`, `precision`, `compiled`, `ms`, `clips_per_s`, `gflops` (a second), `of_gemm`, `mb`
        (what the step needed beside weights and clips, see :func:`memory`).

    Example:
        >>> from tsfmicro_lab.models import create_model
        >>> row = measure(create_model("tsfmicro_spatial"), 2, repeats=1, roof=Machine(100, 10))
        >>> row["clips_per_s"] > 0, row["what"]
        (True, 'training step')
    """
    roof = roof or machine(device, precision)
    model, side = model.to(device), model.config.image_size
    inputs = [torch.randn(batch, *shape, device=device) for shape in model.input_shapes.values()]
    with memory(device) as used:
        took = seconds(runner(model, inputs, train=train, precision=precision, compiled=compiled), device, repeats)
    rate = flops(model, batch, train=train) / took / 1e9
    return {
        "batch": batch,
        "side": side,
        "what": "training step" if train else "forward pass",
        "precision": precision,
        "compiled": compiled or "no",
        "ms": 1e3 * took,
        "clips_per_s": batch / took,
        "gflops": rate,
        "of_gemm": rate / roof.gflops,
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
        reset.write_text("5")  # the peak is now what is in use
        before = _kib(status, "VmRSS") * 2**10
    yield used
    if on_gpu:
        used["mb"] = (torch.cuda.max_memory_allocated() - before) / 2**20
    elif status.exists():
        used["mb"] = (_kib(status, "VmHWM") * 2**10 - before) / 2**20


def _kib(status: Path, name: str) -> int:
    [line] = [line for line in status.read_text().splitlines() if line.startswith(name)]
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
        One row per kind of layer and stage: `layer`, `kind`, `flops`, `bytes` (inputs, outputs and weights once each),
        `intensity` (operations per byte), `ms`, `gflops`, the slowest first.
    """
    model = model.to(device).eval()
    size = torch.finfo(DTYPES[precision]).bits // 8
    inputs = [torch.randn(batch, *shape, device=device) for shape in model.input_shapes.values()]
    leaves = {n: m for n, m in model.named_modules() if not list(m.children()) or type(m).__name__ in WHOLE}
    leaves = {n: m for n, m in leaves.items() if not any(n.startswith(f"{o}.") for o in leaves if o != n)}
    rows: dict[str, dict[str, Any]] = {}
    counter = FlopCounterMode(display=False)
    began = [0.0, 0.0]

    def enter(*_: Any) -> None:
        wait(device)
        began[:] = [time.perf_counter(), counter.get_total_flops()]

    def leave(name: str, module: nn.Module, given: Any, made: Any) -> None:
        wait(device)
        took = time.perf_counter() - began[0]
        moved = sum(t.numel() for t in (*given, made, *module.parameters()) if isinstance(t, Tensor)) * size
        row = {"layer": name, "kind": type(module).__name__, "flops": counter.get_total_flops() - began[1]}
        rows.setdefault(name, {**row, "bytes": moved, "ms": 1e3 * took})
        rows[name]["ms"] = min(rows[name]["ms"], 1e3 * took)

    hooks = [m.register_forward_pre_hook(enter) for m in leaves.values()]
    hooks += [m.register_forward_hook(lambda *a, n=n: leave(n, *a)) for n, m in leaves.items()]
    run = runner(model, inputs, train=False, precision=precision)
    try:
        with sdpa_kernel(SDPBackend.MATH), counter:  # counts; its times are those of no fused kernel
            run()
        for row in rows.values():
            row["ms"] = float("inf")
        for _ in range(3):
            run()
    finally:
        for hook in hooks:
            hook.remove()
    table = pd.DataFrame(rows.values()).query("ms > 0")
    table["intensity"] = table.flops / table.bytes
    table["gflops"] = table.flops / table.ms / 1e6
    return table.sort_values("ms", ascending=False, ignore_index=True)


#: Modules that are one row of the roofline, with what is in them.
WHOLE = ("ManhattanRetention", "SelfAttention")


@contextmanager
def energy() -> Iterator[dict[str, float]]:
    """Energy that all NVIDIA GPUs of the machine take meanwhile, where their driver tells (NVML).

    Yields:
        A dict that afterwards holds `seconds` and, with such a GPU, `joules`; idle GPUs and other users count, too.

    Example:
        >>> with energy() as used:
        ...     time.sleep(0.01)
        >>> used["seconds"] >= 0.01
        True
    """
    used: dict[str, float] = {}
    before, began = _joules(), time.perf_counter()
    yield used
    used["seconds"] = time.perf_counter() - began
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
