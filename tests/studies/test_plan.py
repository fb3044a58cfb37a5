"""What is told before an evaluation runs: clips are counted as they are trained on, and the command tells it."""

import json
import re
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from studies.plan import Rate, app, disk_bytes, gpu_step, in_words, measure, stand_in
from tsfmicro_lab.models import base
from tsfmicro_lab.training import Recipe, Run, leave_one_subject_out, run_fold

RUN = Run("tsfmicro_temporal", recipe=Recipe(epochs=2))


@pytest.mark.parametrize("selection", ["last", "oracle"])
def test_as_many_clips_are_counted_as_the_model_sees(samples, monkeypatch, selection):
    """The same count, in clips: a rate of one second a clip for each of both kinds."""
    run, seen = replace(RUN, selection=selection), {True: 0, False: 0}
    fold = leave_one_subject_out(samples.annotations)[0]
    call = base.Recognizer.__call__

    def counted(model, *inputs, **named):
        seen[model.training] += len(next(iter(named.values())))
        return call(model, *inputs, **named)

    monkeypatch.setattr(base.Recognizer, "__call__", counted)
    run_fold(run, samples, fold)
    assert Rate(1, 0, 0).seconds(run, [fold]) == seen[True] == 60
    assert Rate(0, 1, 0).seconds(run, [fold]) == pytest.approx(seen[False], rel=0.1)


def test_twice_the_folds_or_epochs_take_twice_as_long_and_the_measure_leaves_no_trace(samples):
    folds = leave_one_subject_out(samples.annotations)
    rate, before = measure(RUN, samples), samples.onset.clone()
    assert 0 < rate.look < rate.step
    assert 2**27 < rate.memory < 2**35
    assert (samples.onset == before).all()
    one = Rate(1, 0, 0).seconds(RUN, folds).sum()
    assert Rate(1, 0, 0).seconds(replace(RUN, recipe=Recipe(epochs=4)), folds).sum() == 2 * one
    assert one == 2 * 3 * len(samples)


def test_a_store_takes_what_was_said(data, tmp_path):
    from tsfmicro_lab.data import prepare

    stored = prepare(data, 56, folder=tmp_path, progress=False)
    files = sum(path.stat().st_size for path in stored.folder.glob("*.npy"))
    assert disk_bytes(RUN, len(stored), 0) == pytest.approx(files, rel=0.01)


def test_a_stand_in_has_the_clips_and_subjects_that_are_asked_for():
    samples = stand_in(RUN, 40, 4)
    assert (len(samples), len(set(samples.subjects)), len(samples.table)) == (40, 4, 40)
    assert len(leave_one_subject_out(samples.annotations)) == 4


def test_times_are_said_as_people_say_them():
    assert [in_words(s) for s in (0, 59, 95, 3000, 8000, 1e5, 1e9)] == [
        "0 s",
        "59 s",
        "1.6 min",
        "50 min",
        "2.2 h",
        "28 h",
        "11,574 days",
    ]


def test_the_command_tells_it_before_anything_runs():
    asked = ["--data", "casme2", "--model", "tsfmicro_spatial", "--protocol", "loso", "--workers", "2"]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    assert re.search(r"tsfmicro_spatial, 2\d\d clips of 26 subjects, one seed", result.output)
    rows = [line.split() for line in result.output.splitlines() if line.startswith("tiny")]
    assert [row[1:3] for row in rows] == [["loso", "26"], ["kfold", "5"]]
    assert "not measured" in result.output or gpu_step("tiny")
    few = CliRunner().invoke(app, ["--data", "synthetic", "--clips", "9", "--subjects", "3", "--epochs", "1"])
    assert few.exit_code == 0, few.output
    assert "loso" in few.output
    assert "kfold" not in few.output
    wrong = CliRunner().invoke(app, ["--data", "casme9"])
    assert wrong.exit_code == 1
    assert "no data card 'casme9'" in wrong.output
    lacking = CliRunner().invoke(app, ["--data", "synthetic"])
    assert "give --clips and --subjects" in lacking.output


def test_a_gpu_is_told_of_where_one_was_measured(tmp_path):
    row = {"preset": "tiny", "batch": 8, "what": "training step", "ms": 16.0}
    for name, device in (("cpu", "2 CPU cores"), ("gpu", "NVIDIA X")):
        found = {"provenance": {"measured_on": device}, "models": [row, row | {"ms": 8.0}, row | {"preset": "base"}]}
        (tmp_path / f"speed_{name}.json").write_text(json.dumps(found))
        assert gpu_step("tiny", tmp_path) == (None if name == "cpu" else (0.001, "NVIDIA X"))
    assert gpu_step("small", tmp_path) is None
