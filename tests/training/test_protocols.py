import json
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tsfmicro_lab.training import Recipe, Run, cross_validate, fold_processes, leave_one_subject_out, run_fold
from tsfmicro_lab.training.protocols import _inner_split

QUICK = Run("tsfmicro_temporal", recipe=Recipe(epochs=2))


def test_no_subject_stands_on_both_sides(samples):
    folds = leave_one_subject_out(samples)
    assert [f.subject for f in folds] == ["sub01", "sub02", "sub03", "sub04"]
    for fold in folds:
        assert set(samples.subjects[fold.test]) == {fold.subject}
        assert fold.subject not in set(samples.subjects[fold.train])
        assert len(fold.train) + len(fold.test) == len(samples)


def test_a_class_unseen_in_training_is_named(samples):
    label = samples.label.clone()
    label[label == 4] = 0
    label[3] = 4
    with pytest.raises(ValueError, match="fold sub01: its class surprise occurs with no other subject"):
        leave_one_subject_out(replace(samples, label=label))


def test_one_subject_cannot_be_left_out(samples):
    one = replace(samples, table=samples.table.assign(subject="s"))
    with pytest.raises(ValueError, match="needs at least 2 subjects"):
        leave_one_subject_out(one)


def test_every_clip_is_predicted_once_with_its_probabilities(samples):
    table = cross_validate(samples, QUICK, progress=False)
    assert list(table["clip"]) == list(samples.table["clip"])
    assert list(table.subject) == list(samples.table.subject)
    assert list(table.truth) == [samples.classes[i] for i in samples.label]
    p = table[[f"p_{c}" for c in samples.classes]].to_numpy()
    assert p.sum(1) == pytest.approx(np.ones(len(table)), abs=1e-5)
    assert [samples.classes[i] for i in p.argmax(1)] == list(table.predicted)
    assert set(table.epoch) == {2}


@pytest.mark.parametrize("selection", ["last", "inner"])
def test_nothing_depends_on_the_test_subjects_labels(samples, selection):
    run = replace(QUICK, model="tsfmicro_late", selection=selection)
    fold = leave_one_subject_out(samples)[1]
    honest = run_fold(run, samples, fold)
    label = samples.label.clone()
    label[fold.test] = label[fold.test].flip(0)
    lied = run_fold(run, replace(samples, label=label), fold)
    columns = [c for c in honest if c.startswith("p_")] + ["predicted", "epoch"]
    pd.testing.assert_frame_equal(honest[columns], lied[columns])


def test_inner_selection_holds_out_whole_training_subjects(samples):
    fold = leave_one_subject_out(samples)[0]
    keep, held = _inner_split(samples, fold.train, 0)
    assert sorted([*keep, *held]) == sorted(fold.train)
    assert not set(samples.subjects[keep]) & set(samples.subjects[held])
    rows = run_fold(replace(QUICK, selection="inner", recipe=Recipe(epochs=3)), samples, fold)
    assert 1 <= rows.epoch.iloc[0] <= 3


def test_processes_give_the_same_table(samples, tmp_path):
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the processes: another number of threads sums in another order
    try:
        alone = cross_validate(samples, QUICK, progress=False)
    finally:
        torch.set_num_threads(threads)
    with fold_processes(2) as pool:
        together = cross_validate(samples, QUICK, folder=tmp_path, executor=pool, progress=False)
    pd.testing.assert_frame_equal(alone, together, check_dtype=False)


SCRIPT = """
import sys, torch
torch.set_num_threads(1)
from tsfmicro_lab.data import SyntheticMicroExpressions, prepare
from tsfmicro_lab.training import Recipe, Run, cross_validate
samples = prepare(SyntheticMicroExpressions(4, 10, image_size=96, seed=3), 56, progress=False)
table = cross_validate(samples, Run("tsfmicro_temporal", recipe=Recipe(epochs=6)), folder=sys.argv[1], progress=False)
table.to_parquet(sys.argv[2])
"""


def test_a_killed_run_goes_on_and_ends_with_the_same_table(tmp_path):
    def start(folder):
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path / folder), str(tmp_path / f"{folder}.parquet")]
        )

    assert start("whole").wait(300) == 0
    killed = start("killed")
    deadline = time.monotonic() + 200
    while not list((tmp_path / "killed").glob("sub*.parquet")):
        assert killed.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    kept = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "killed").glob("sub*.parquet")}
    assert 1 <= len(kept) < 4
    assert start("killed").wait(300) == 0
    assert {name: (tmp_path / "killed" / name).stat().st_mtime_ns for name in kept} == kept
    whole, resumed = (pd.read_parquet(tmp_path / f"{n}.parquet") for n in ("whole", "killed"))
    pd.testing.assert_frame_equal(whole, resumed)


def test_a_folder_of_another_run_is_refused(samples, tmp_path):
    cross_validate(samples, QUICK, folder=tmp_path, progress=False)
    assert json.loads((tmp_path / "run.json").read_text())["run"]["model"] == "tsfmicro_temporal"
    with pytest.raises(ValueError, match="holds the folds of another run or other samples: give another folder"):
        cross_validate(samples, replace(QUICK, seed=1), folder=tmp_path, progress=False)
    other = replace(samples, apex=samples.apex.flip(0))
    with pytest.raises(ValueError, match="another run or other samples"):
        cross_validate(other, QUICK, folder=tmp_path, progress=False)


def test_a_full_disk_leaves_earlier_folds_whole(samples, tmp_path):
    """The system refuses to write more bytes, as it does on a full disk; what was saved before stays readable."""
    first = cross_validate(samples, QUICK, folder=tmp_path, progress=False)
    (tmp_path / "sub03.parquet").unlink()
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match=r"fold sub03 could not be saved to .*: free some space and start again"):
            cross_validate(samples, QUICK, folder=tmp_path, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before
    pd.testing.assert_frame_equal(cross_validate(samples, QUICK, folder=tmp_path, progress=False), first)


def test_models_are_kept_when_asked_for(samples, tmp_path):
    from tsfmicro_lab.models import from_pretrained
    from tsfmicro_lab.training import predict

    table = cross_validate(samples, QUICK, folder=tmp_path, keep_models=True, progress=False)
    model = from_pretrained(tmp_path / "models" / "sub02")
    fold = leave_one_subject_out(samples)[1]
    columns = [f"p_{c}" for c in samples.classes]
    assert np.allclose(predict(model, samples, fold.test), table.loc[table.subject == "sub02", columns], atol=1e-6)
