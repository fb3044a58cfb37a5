"""Compiled networks, half precision, several devices, and the numbers that none of them may change."""

import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from tsfmicro_lab.models import create_model
from tsfmicro_lab.seeds import seeded
from tsfmicro_lab.training import Checkpoint, Recipe, Run, fit

ONE_PROGRAM = """
import torch
from tsfmicro_lab.models import create_model
from tsfmicro_lab.training.device import loss_of
programs = []
def backend(graph, inputs):
    programs.append(graph)
    return graph.forward
compile = torch.compile
torch.compile = lambda network, mode: compile(network, backend=backend, fullgraph=True)
for seed in (0, 1):
    model = create_model("tsfmicro_late", 5, seed=seed, dims=(8, 24), drop_path=0.0)
    for batch in (4, 5, 7):
        x = {name: torch.randn(batch, 3, 56, 56) for name in model.input_names}
        label = torch.arange(batch) % 5
        assert torch.allclose(loss_of(model, "default")(label, **x), loss_of(model)(label, **x), atol=1e-5)
print(len(programs))
"""


def test_one_program_serves_every_batch_and_every_fold():
    """Nothing breaks the graph; other batches and other parameters are not compiled anew. Without checks of types."""
    done = subprocess.run([sys.executable, "-c", ONE_PROGRAM], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "1", done.stderr[-2000:]


@torch.no_grad()
def test_half_precision_stays_near_float32():
    model = create_model("tsfmicro_late", 5, "tiny", seed=0).eval()
    x = [torch.randn(4, 3, 56, 56) for _ in range(2)]
    exact = model(*x)
    with torch.autocast("cpu", torch.bfloat16):
        half = model(*x)
    assert 0 < (half - exact).abs().max() < 0.02 * exact.abs().max()


def test_training_in_half_precision_learns(samples):
    model = create_model("tsfmicro_temporal", 5, seed=0)
    losses = fit(model, samples, np.arange(24), Recipe(epochs=3), precision="bf16-mixed")
    assert losses[-1] < losses[0]
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_threads_draw_one_after_another():
    """The random state belongs to the process, so two trainings in threads of one worker must not mix their draws."""
    drawn = {}

    def draw(seed):
        with seeded(seed):
            drawn[seed] = torch.stack([torch.rand(100) for _ in range(200)])

    threads = [threading.Thread(target=draw, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(4):
        with seeded(seed):
            assert torch.equal(drawn[seed], torch.stack([torch.rand(100) for _ in range(200)]))


TWO = """
import os, sys, torch, numpy as np, pandas as pd
from tsfmicro_lab.data import Samples
from tsfmicro_lab.models import create_model
from tsfmicro_lab.training import Recipe, fit
torch.set_num_threads(1)
torch.distributed.init_process_group("gloo")
torch.manual_seed(0)
onset, apex = torch.randint(0, 256, (2, 24, 3, 56, 56), dtype=torch.uint8)
table = pd.DataFrame({"subject": ["s"] * 24})
samples = Samples({"onset": onset, "apex": apex}, torch.arange(24) % 5, tuple("abcde"), table)
model = create_model("tsfmicro_temporal", 5, seed=0, dims=(8, 24))
losses = fit(model, samples, np.arange(24), Recipe(epochs=2))
torch.save({"losses": losses, **model.state_dict()}, f"{sys.argv[1]}/{os.environ['RANK']}.pt")
torch.distributed.destroy_process_group()
"""


def test_two_processes_train_one_model(tmp_path):
    script = tmp_path / "two.py"
    script.write_text(TWO)
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run([*start, str(script), str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert first.pop("losses") == pytest.approx(second.pop("losses"))
    weights = [name for name in first if "running" not in name and "num_batches" not in name]
    assert all(torch.equal(first[name], second[name]) for name in weights), "both must step alike"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"compiled": "fast"}, "unknown compiled 'fast': choose from default, reduce-overhead"),
        ({"precision": "8-bit"}, "unknown precision '8-bit': choose from 32-true, bf16-mixed, 16-mixed"),
        ({"accelerator": "abacus"}, "no accelerator 'abacus' on this machine: choose from .*cpu, auto"),
    ],
)
def test_an_unknown_setting_is_answered_with_the_known_ones(samples, setting, message):
    model = create_model("tsfmicro_spatial", 5, seed=0)
    with pytest.raises(ValueError, match=message):
        fit(model, samples, np.arange(8), Recipe(epochs=1), **setting)
    if "accelerator" not in setting:
        with pytest.raises(ValueError, match=message):
            Run(**setting)


def test_float16_scales_the_loss_and_its_state_goes_on(samples, tmp_path):
    """As on a GPU: small gradients survive, and a step that overflows is left out."""
    model = create_model("tsfmicro_spatial", 5, seed=0)
    before = {name: x.clone() for name, x in model.named_parameters()}
    fit(model, samples, np.arange(16), Recipe(epochs=3), precision="16-mixed", checkpoint=Checkpoint(tmp_path / "c"))
    assert all(x.isfinite().all() for x in model.parameters())
    assert any((x != before[name]).any() for name, x in model.named_parameters())
    assert torch.load(tmp_path / "c", weights_only=True)["scaler"]["scale"] > 1
