"""Compiled networks, half precision, several devices, and the numbers that none of them may change."""

import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from tsfmicro_lab.models import create_model
from tsfmicro_lab.seeds import seeded
from tsfmicro_lab.training import Recipe, Run, fit

ONE_PROGRAM = """
import torch
from tsfmicro_lab.models import create_model
from tsfmicro_lab.training.device import any_batch
programs = []
def backend(graph, inputs):
    programs.append(graph)
    return graph.forward
for seed in (0, 1):
    model = create_model("tsfmicro_late", 5, seed=seed, dims=(8, 16), drop_path=0.0)
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    for batch in (4, 5, 7):
        x = any_batch(torch.randn(batch, 3, 56, 56) for _ in range(2))
        assert torch.allclose(compiled(*x), model(*x), atol=1e-5)
print(len(programs))
"""


def test_one_program_serves_every_batch_and_every_fold():
    """Nothing breaks the graph; other batches and other weights are not compiled anew. Without checks of types."""
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
    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    model = create_model("tsfmicro_temporal", 5, seed=0)
    losses = fit(model, samples, np.arange(40), Recipe(epochs=6), fabric=fabric)
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
import sys, torch, numpy as np, pandas as pd
from lightning_fabric import Fabric
from tsfmicro_lab.data import Samples
from tsfmicro_lab.models import create_model
from tsfmicro_lab.training import Recipe, fit
torch.set_num_threads(1)
fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
fabric.launch()
torch.manual_seed(0)
onset, apex = torch.randint(0, 256, (2, 24, 3, 56, 56), dtype=torch.uint8)
table = pd.DataFrame({"subject": ["s"] * 24})
samples = Samples({"onset": onset, "apex": apex}, torch.arange(24) % 5, tuple("abcde"), table)
model = create_model("tsfmicro_temporal", 5, seed=0, dims=(8, 16))
losses = fit(model, samples, np.arange(24), Recipe(epochs=2), fabric=fabric)
torch.save({"losses": losses, **model.state_dict()}, f"{sys.argv[1]}/{fabric.global_rank}.pt")
"""


def test_two_devices_train_one_model(tmp_path):
    script = tmp_path / "two.py"
    script.write_text(TWO)
    done = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert first.pop("losses") == pytest.approx(second.pop("losses"))
    weights = [name for name in first if "running" not in name and "num_batches" not in name]
    assert all(torch.equal(first[name], second[name]) for name in weights), "both must step alike"


def test_an_unknown_way_to_compile_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="unknown compiled 'fast': choose from default, reduce-overhead"):
        Run(compiled="fast")
