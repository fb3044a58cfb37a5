"""What `import tsfmicro_lab.training` costs beside `import torch`, in CPU seconds: at most 1.5 times as much."""

import resource
import subprocess
import sys
from statistics import median

import pytest

MODULES = ("torch", "tsfmicro_lab.training")
#: Of the library's import to torch's own.
MOST = 1.5


def cpu_seconds(module: str) -> float:
    """User and system time of a fresh process that imports a module and ends."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def measure(turns: int = 3) -> dict[str, float]:
    """Median of several turns, in which the modules alternate; the first of each only warms the disk's cache."""
    found: dict[str, list[float]] = {module: [] for module in MODULES}
    for turn in range(turns + 1):
        for module in MODULES:
            seconds = cpu_seconds(module)
            if turn:
                found[module].append(seconds)
    return {module: median(seconds) for module, seconds in found.items()}


@pytest.mark.benchmark
def test_the_library_costs_little_more_than_torch(capsys):
    found = measure()
    ratio = found["tsfmicro_lab.training"] / found["torch"]
    with capsys.disabled():
        print(f"\n{' and '.join(f'{name} {s:.2f} CPU s' for name, s in found.items())}: {ratio:.2f} times as much")
    assert ratio <= MOST


if __name__ == "__main__":
    seconds = measure()
    print(seconds, f"{seconds['tsfmicro_lab.training'] / seconds['torch']:.2f} times as much")
