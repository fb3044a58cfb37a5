"""A device with a queue and a clock of its own: what a timer sees of a GPU, on a machine that has none.

Time passes only when something is launched or waited for, so every number is the same on every machine.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tsfmicro_lab.explain.figures import Picture

BLUE, ORANGE = "#0072B2", "#E69F00"


@dataclass
class PretendGPU:
    """A processor that launches operations, and a device that computes them in order while the processor goes on.

    Attributes:
        launching: Seconds that the processor needs to launch one operation.
        warm_up: Seconds that the first operation takes longer: libraries are loaded, kernels chosen.
        now: The processor's clock, seconds.
        free: When the device has done all that was launched.
        spans: Name, launch, begin and end of each operation.

    Example:
        >>> gpu = PretendGPU(warm_up=0)
        >>> gpu.launch("product", 0.5)
        >>> gpu.clock() < 0.1
        True
        >>> gpu.wait()
        >>> gpu.clock() >= 0.5
        True
    """

    launching: float = 10e-6
    warm_up: float = 0.3
    now: float = 0.0
    free: float = 0.0
    spans: list[tuple[str, float, float, float]] = field(default_factory=list)

    def launch(self, name: str, seconds: float) -> None:
        """Puts an operation that takes so many seconds into the queue; returns at once."""
        began = self.now
        self.now += self.launching
        starts = max(self.now, self.free)
        self.free = starts + seconds + (0 if self.spans else self.warm_up)
        self.spans.append((name, began, starts, self.free))

    def wait(self) -> None:
        """Waits until the queue is empty, as `torch.cuda.synchronize` does."""
        self.now = max(self.now, self.free)

    def clock(self) -> float:
        """Seconds on the processor's clock, as `time.perf_counter` tells them."""
        return self.now

    def run(self, seconds: float, operations: int = 20) -> Callable[[], None]:
        """A function that launches so many operations, which take the device so many seconds together."""

        def step() -> None:
            for _ in range(operations):
                self.launch("operation", seconds / operations)

        return step


def timeline(gpus: Sequence[PretendGPU], titles: Sequence[str]) -> Picture:
    """What processor and device do, one row each: launches in orange, operations in blue.

    Example:
        >>> gpu = PretendGPU(warm_up=0)
        >>> gpu.run(1e-3, 4)()
        >>> len(timeline([gpu], ["four operations"]).axes)
        1
    """
    figure = Picture(figsize=(9, 1.5 * len(gpus)), layout="constrained")
    for axis, gpu, title in zip(figure.subplots(len(gpus), squeeze=False)[:, 0], gpus, titles, strict=True):
        launches = [(1e6 * began, 1e6 * gpu.launching * 0.85) for _, began, _, _ in gpu.spans]
        operations = [(1e6 * starts, 1e6 * (ends - starts) * 0.97) for _, _, starts, ends in gpu.spans]
        axis.broken_barh(launches, (0.6, 0.7), color=ORANGE)
        axis.broken_barh(operations, (-0.4, 0.7), color=BLUE)
        axis.set_yticks([0, 1], ["device computes", "processor launches"])
        axis.set_title(title, fontsize=10, loc="left")
    axis.set_xlabel("microseconds")
    return figure
