"""What `import tsfmicro_lab.training` takes beside `import torch`; tests/test_imports.py has what it must not load."""

import subprocess
import sys

import pytest


@pytest.mark.benchmark(group="import in a fresh process")
@pytest.mark.parametrize("module", ["torch", "tsfmicro_lab.training"])
def test_import(benchmark, module):
    command = [sys.executable, "-c", f"import {module}"]
    done = benchmark.pedantic(subprocess.run, (command,), rounds=5, warmup_rounds=1)
    assert done.returncode == 0
