"""Branches for a GPU, run where there is none: with a CPU that says it is one. What a real GPU does is not tried."""

import nbformat
import pytest
import torch
from conftest import ROOT

from studies.speed import machine, memory


class Pretended(str):
    """A name that torch reads as `cpu`, and a lesson as `cuda`."""

    __hash__ = str.__hash__

    def __eq__(self, other):
        return str(other) == "cuda"

    def __ne__(self, other):
        return str(other) != "cuda"

    def startswith(self, beginning, *_):
        return "cuda".startswith(beginning)


@pytest.fixture
def called(monkeypatch):
    """What was asked of CUDA, in order."""
    asked = []

    def pretend(name, value=None):
        monkeypatch.setattr(torch.cuda, name, lambda *_, **__: asked.append(name) or value)

    pretend("synchronize")
    pretend("reset_peak_memory_stats")
    pretend("memory_allocated", 2**20)
    pretend("max_memory_allocated", 3 * 2**20)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: asked.append("pin_memory") or self)
    return asked


#: Sizes that would take a CPU seconds.
SMALLER = {"2048": "64", "2**26": "2**10"}


def test_every_branch_for_a_gpu_runs_and_waits(called, capsys):
    cells = nbformat.read(ROOT / "notebooks" / "08_gpu_training.ipynb", as_version=4).cells
    code = {cell["id"]: cell.source for cell in cells if cell.cell_type == "code"}
    branches = [name for name, source in code.items() if "device ==" in source or "device !=" in source]
    assert branches == ["gpu-02", "gpu-timer-real", "gpu-host"], "a new branch is to be pretended here"
    lesson: dict[str, object] = {}
    for name in ("gpu-01", *branches):
        source = code[name]
        for size, less in SMALLER.items():
            source = source.replace(size, less)
        exec(source, lesson)
        if name == "gpu-01":
            lesson["device"] = Pretended("cpu")
    said = capsys.readouterr().out
    assert "pinned:" in said
    assert "pageable:" in said
    assert "On a CPU" not in said
    assert "nothing to pin" not in said
    assert called == ["synchronize"] * 2 + ["pin_memory"] + ["synchronize"] * 4, "each clock waits for the device"


def test_memory_is_that_of_the_device(called):
    with memory(Pretended("cpu")) as used:
        pass
    assert used["mb"] == 2
    assert called == ["reset_peak_memory_stats", "memory_allocated", "max_memory_allocated"]


def test_a_roof_of_a_device_that_is_no_cpu_is_measured_on_larger_matrices():
    roof = machine("meta")  # shapes without numbers
    assert roof.gflops > machine("cpu").gflops
