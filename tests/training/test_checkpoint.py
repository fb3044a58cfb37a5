"""What is lost when a training is killed: at most the epoch that was under way."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch

from tsfmicro_lab.data import prepare
from tsfmicro_lab.models import create_model
from tsfmicro_lab.training import Checkpoint, Recipe, Run, cross_validate, fit, leave_one_subject_out

RECIPE = Recipe(epochs=3)


@pytest.fixture(scope="module")
def samples(data):
    return prepare(data, 28, progress=False)


class Killed(Exception):
    pass


SCRIPT = """
import sys, torch, numpy as np, pandas as pd
from pathlib import Path
from tsfmicro_lab.data import Samples
from tsfmicro_lab.data import prepare
from tsfmicro_lab.models import create_model
from tsfmicro_lab.training import Checkpoint, Recipe, fit
torch.set_num_threads(1)
torch.manual_seed(0)
onset, apex = torch.randint(0, 256, (2, 36, 3, 28, 28), dtype=torch.uint8)
table = pd.DataFrame({"subject": ["s"] * 36})
samples = Samples({"onset": onset, "apex": apex}, torch.arange(36) % 5, tuple("abcde"), table)
model = create_model("tsfmicro_late", 5, seed=0, image_size=28)
losses = fit(model, samples, np.arange(36), Recipe(epochs=6), checkpoint=Checkpoint(Path(sys.argv[1])))
torch.save({"losses": losses, **model.state_dict()}, sys.argv[2])
"""


def test_a_killed_training_ends_bit_for_bit_as_one_that_was_not(tmp_path):
    def start(name):
        arguments = [str(tmp_path / f"{name}.ckpt"), str(tmp_path / f"{name}.pt")]
        return subprocess.Popen([sys.executable, "-c", SCRIPT, *arguments])

    whole, killed = start("whole"), start("killed")
    deadline = time.monotonic() + 200
    while not (tmp_path / "killed.ckpt").exists():
        assert killed.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    done = len(torch.load(tmp_path / "killed.ckpt", weights_only=True)["losses"])
    assert 1 <= done < 6
    assert not (tmp_path / "killed.pt").exists()
    assert start("killed").wait(200) == 0
    assert whole.wait(200) == 0
    first, second = (torch.load(tmp_path / f"{n}.pt", weights_only=True) for n in ("whole", "killed"))
    assert first.pop("losses") == second.pop("losses")
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
def test_half_precision_goes_on_bit_for_bit_too(samples, tmp_path, precision):
    def go(path, stop=0):
        model = create_model("tsfmicro_late", 5, seed=0, image_size=28, dims=(8, 24))

        def look(epoch, _):
            if epoch == stop:
                raise Killed

        losses = fit(
            model, samples, np.arange(16), RECIPE, precision=precision, after_epoch=look, checkpoint=Checkpoint(path)
        )
        return losses, model.state_dict()

    with pytest.raises(Killed):
        go(tmp_path / "a", stop=2)  # before the second epoch is saved
    (losses, resumed), (expected, whole) = go(tmp_path / "a"), go(tmp_path / "b")
    assert losses == expected
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_fold_goes_on_in_the_middle_with_what_its_selection_knew(samples, tmp_path, monkeypatch):
    from tsfmicro_lab.training import protocols

    recipes = (Recipe(epochs=2, lr=1e-3), Recipe(epochs=3))
    run = Run("tsfmicro_temporal", settings={"image_size": 28}, selection="validation", candidates=recipes)
    fold = leave_one_subject_out(samples.annotations)[:1]
    whole = cross_validate(samples, run, fold, folder=tmp_path / "whole", progress=False)

    looks = []

    def judge(*arguments):
        looks.append(1)
        if len(looks) == 5:  # within the second candidate
            raise Killed
        return real(*arguments)

    real = protocols._uf1
    monkeypatch.setattr(protocols, "_uf1", judge)
    options = {"folder": tmp_path / "killed", "checkpoints": True, "progress": False}
    with pytest.raises(Killed):
        cross_validate(samples, run, fold, **options)
    assert {p.name for p in (tmp_path / "killed" / "checkpoints" / "sub01").iterdir()} == {"0.pt", "1.pt"}
    monkeypatch.setattr(protocols, "_uf1", real)
    resumed = cross_validate(samples, run, fold, **options)
    pd.testing.assert_frame_equal(whole, resumed)
    assert not list((tmp_path / "killed" / "checkpoints").iterdir()), "a finished fold needs no checkpoint"


def test_the_folder_of_a_run_explains_itself(samples, tmp_path):
    run = Run("tsfmicro_spatial", settings={"image_size": 28}, recipe=Recipe(epochs=2), seed=4)
    cross_validate(samples, run, folder=tmp_path, progress=False)
    made = json.loads((tmp_path / "environment.json").read_text())
    assert {"command", "commit", "date", "device", "versions"} <= made.keys()
    assert f"torch {torch.__version__.split('+')[0]}" in made["versions"]
    assert json.loads((tmp_path / "run.json").read_text())["run"]["seed"] == 4
    folds = [json.loads(line) for line in (tmp_path / "folds.jsonl").read_text().splitlines()]
    assert [fold["fold"] for fold in folds] == ["sub01", "sub02", "sub03", "sub04"]
    (tmp_path / "environment.json").unlink()  # as after a kill between the two files
    cross_validate(samples, run, folder=tmp_path, progress=False)
    assert json.loads((tmp_path / "environment.json").read_text()).keys() == made.keys()
    assert all(f["epochs"] == 2 and f["seconds_per_epoch"] > 0 and "CPU" in f["device"] for f in folds)


def test_foreign_and_broken_checkpoints_are_refused(samples, tmp_path):
    def go(about="a", epochs=1):
        model = create_model("tsfmicro_spatial", 5, seed=0, image_size=28)
        return fit(
            model, samples, np.arange(8), Recipe(epochs=epochs), checkpoint=Checkpoint(tmp_path / "x.ckpt", about)
        )

    first = go()
    assert len(go(epochs=2)) == 2
    assert go(epochs=2)[:1] == first
    with pytest.raises(ValueError, match=r"is of another training \(a\): delete it"):
        go("b")
    whole = (tmp_path / "x.ckpt").read_bytes()
    (tmp_path / "x.ckpt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="is no checkpoint"):
        go()


def test_too_little_memory_is_answered_with_a_batch_that_may_fit(samples):
    """A layer that fails above eight clips, as a device does whose memory ends there."""
    model = create_model("tsfmicro_spatial", 5, seed=0, image_size=28)

    def full(_, inputs):
        if len(inputs[0]) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    model.spatial.register_forward_pre_hook(full)
    with pytest.raises(MemoryError, match=r"batch of 16 clips does not fit .* half may fit: Recipe\(batch_size=8\)"):
        fit(model, samples, np.arange(32), Recipe(epochs=1, batch_size=16))
    assert len(fit(model, samples, np.arange(32), Recipe(epochs=1, batch_size=8))) == 1


def test_other_complaints_pass_as_they_are(samples):
    model = create_model("tsfmicro_spatial", 5, seed=0, image_size=28)
    model.spatial.register_forward_pre_hook(lambda *_: torch.ones(2) @ torch.ones(3))
    with pytest.raises(RuntimeError, match="inconsistent tensor size"):
        fit(model, samples, np.arange(8), Recipe(epochs=1))


LIMITED = """
import resource, sys, torch, numpy as np
import pandas as pd
from tsfmicro_lab.data import Samples
from tsfmicro_lab.models import create_model
from tsfmicro_lab.training import Recipe, fit
torch.set_num_threads(1)
onset, apex = torch.zeros(2, 16, 3, 112, 112, dtype=torch.uint8)
table = pd.DataFrame({"subject": ["s"] * 16})
samples = Samples({"onset": onset, "apex": apex}, torch.arange(16) % 5, tuple("abcde"), table)
model = create_model("tsfmicro_late", 5, "small")
fit(model, samples, np.arange(2), Recipe(epochs=1))
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 700 * 2**20,) * 2)
try:
    fit(model, samples, np.arange(16), Recipe(epochs=1, batch_size=16))
except MemoryError as error:
    print(error)
"""


def test_a_machine_whose_memory_really_ends_gets_the_same_advice():
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, timeout=300)
    assert "a batch of 16 clips does not fit the memory of the device" in done.stdout, done.stderr[-2000:]
    assert "half may fit: Recipe(batch_size=8)" in done.stdout
