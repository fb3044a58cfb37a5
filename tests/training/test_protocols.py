import json
import resource
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from toy_models import with_stale_statistics

from tsfmicro_lab.data import prepare
from tsfmicro_lab.files import alone
from tsfmicro_lab.models import from_pretrained
from tsfmicro_lab.results import read_results
from tsfmicro_lab.training import (
    Recipe,
    Run,
    cross_validate,
    fold_processes,
    leave_one_subject_out,
    protocols,
    run_fold,
    score_table,
    subject_interval,
)
from tsfmicro_lab.training.cross_validation import fold_files
from tsfmicro_lab.training.metrics import has_units
from tsfmicro_lab.training.splits import nested_leave_one_subject_out, subject_k_fold

SMALL = {"image_size": 28}
QUICK = Run("tsfmicro_temporal", settings=SMALL, recipe=Recipe(epochs=2))


@pytest.fixture(scope="module")
def samples(data):
    return prepare(data, 28, progress=False)


def test_every_clip_is_predicted_once_with_its_probabilities(samples):
    table = cross_validate(samples, QUICK, progress=False)
    assert list(table["clip"]) == list(samples.table["clip"])
    assert list(table.subject) == list(samples.table.subject)
    assert list(table.truth) == [samples.classes[i] for i in samples.label]
    p = table[[f"p_{c}" for c in samples.classes]].to_numpy()
    assert p.sum(1) == pytest.approx(np.ones(len(table)), abs=1e-5)
    assert [samples.classes[i] for i in p.argmax(1)] == list(table.predicted)
    assert set(table.epoch) == {2}


@pytest.mark.parametrize("selection", ["last", "validation"])
def test_nothing_depends_on_the_test_subjects_labels(samples, selection):
    run = replace(QUICK, model="tsfmicro_late", selection=selection)
    fold = leave_one_subject_out(samples.annotations)[1]
    honest = run_fold(run, samples, fold)
    label = samples.label.clone()
    label[fold.test] = label[fold.test].flip(0)
    lied = run_fold(run, replace(samples, label=label), fold)
    columns = [c for c in honest if c.startswith("p_")] + ["predicted", "epoch"]
    pd.testing.assert_frame_equal(honest[columns], lied[columns])


def test_validation_subjects_choose_epoch_and_recipe_and_nobody_else_does(samples):
    fold = nested_leave_one_subject_out(samples.annotations)[0]
    good, bad = Recipe(epochs=3), Recipe(epochs=1, lr=0.0)
    run = replace(QUICK, selection="validation", candidates=(bad, good))
    rows = run_fold(run, samples, fold)
    assert 1 <= rows.epoch.iloc[0] <= 3
    assert rows.candidate.iloc[0] in (0, 1)
    label = samples.label.clone()
    label[fold.validation] = int(label[fold.test[0]])
    assert len(run_fold(run, replace(samples, label=label), fold)) == len(fold.test)
    with pytest.raises(ValueError, match="'last' chooses nothing"):
        replace(QUICK, candidates=(good, bad))
    with pytest.raises(ValueError, match="unknown selection 'best': choose from last, validation, oracle"):
        replace(QUICK, selection="best")


def test_the_oracle_looks_at_the_test_labels_and_says_leaky(samples, tmp_path):
    run = replace(QUICK, selection="oracle", recipe=Recipe(epochs=4))
    fold = leave_one_subject_out(samples.annotations)[1]
    epochs = set()
    for shift in range(4):
        label = samples.label.clone()
        label[fold.test] = (label[fold.test] + shift) % 5
        epochs.add(run_fold(run, replace(samples, label=label), fold).epoch.iloc[0])
    assert len(epochs) > 1, "the epoch should hang on the labels of the tested subject"
    assert "leaky" in run.label
    short = replace(run, recipe=Recipe(epochs=1))
    table = cross_validate(samples, short, folder=tmp_path, keep_models=True, progress=False)
    assert table.model.str.contains("leaky").all()
    assert table.selection.str.contains("leaky").all()
    assert "Leaky" in (tmp_path / "models" / "sub01" / "README.md").read_text()


def test_a_card_tells_who_chose_the_epoch(samples, tmp_path):
    run = Run("tsfmicro_spatial", settings=SMALL, recipe=Recipe(epochs=1), selection="validation")
    cross_validate(samples, run, folder=tmp_path, keep_models=True, progress=False)
    card = (tmp_path / "models" / "sub02" / "README.md").read_text()
    assert "trained on 20 clips of 2 subjects, 10 of others chose the epoch" in card


def test_a_card_tells_what_the_program_knows(samples, tmp_path):
    table = cross_validate(samples, QUICK, folder=tmp_path, keep_models=True, progress=False)
    card = (tmp_path / "models" / "sub02" / "README.md").read_text()
    uf1, low, high = subject_interval(table, samples.classes)
    for fact in (
        f"{uf1:.3f} ({low:.2f} to {high:.2f})",
        "trained on 30 clips of 3 subjects, tested on 10 clips of sub02",
        "40 clips of 4 subjects",
        "last: nothing was chosen on the tested subjects",
        "epochs=2",
        "cpu",
        "| majority |",
        "Where it must not be used",
        "Limits",
    ):
        assert fact in card, fact
    assert "leaky" not in card.lower()


def test_other_protocols_predict_what_their_folds_test(samples, tmp_path):
    folds = subject_k_fold(samples.annotations, folds=2, repeats=2)
    table = cross_validate(samples, replace(QUICK, recipe=Recipe(epochs=1)), folds, folder=tmp_path, progress=False)
    assert len(table) == 2 * len(samples)
    assert set(table.fold) == {"1-1", "1-2", "2-1", "2-2"}
    with pytest.raises(ValueError, match="another run or other samples"):
        cross_validate(samples, replace(QUICK, recipe=Recipe(epochs=1)), folder=tmp_path, progress=False)
    mixed = [replace(folds[0], test=folds[0].train[:3])]
    with pytest.raises(ValueError, match="stands on both sides"):
        cross_validate(samples, QUICK, mixed, progress=False)


def test_action_units_are_detected_side_by_side(data):
    samples = prepare(data, 28, target="action_units", progress=False)
    assert samples.label.shape == (40, len(samples.classes))
    units = [set(text.replace("L", "").replace("R", "").split("+")) for text in data.annotations.action_units]
    assert [set(text.split("+")) for text in samples.annotations.emotion] == units
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = cross_validate(samples, replace(QUICK, recipe=Recipe(epochs=12)), progress=False)
    p = table[[f"p_{unit}" for unit in samples.classes]].to_numpy()
    said = ["+".join(u for u, yes in zip(samples.classes, row >= 0.5, strict=True) if yes) for row in p]
    assert list(table.predicted) == said
    assert p.sum(1).max() > 1.2, "units do not share one probability out"
    assert has_units(table, samples.classes)


@pytest.mark.parametrize("workers", [1, 2])
def test_processes_give_the_same_bits_however_many_they_are(samples, tmp_path, workers):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the processes: another number of threads sums in another order
    try:
        alone = cross_validate(samples, QUICK, progress=False)
    finally:
        torch.set_num_threads(threads)
    with fold_processes(workers) as pool:
        together = cross_validate(samples, QUICK, folder=tmp_path, executor=pool, progress=False)
    pd.testing.assert_frame_equal(alone, together, check_dtype=False, check_exact=True)


def test_a_fold_that_was_cut_off_is_trained_again_and_scored_by_nobody(samples, tmp_path):
    run = Run("tsfmicro_spatial", settings=SMALL, recipe=Recipe(epochs=1))
    whole = cross_validate(samples, run, folder=tmp_path, progress=False)
    fold = tmp_path / "folds" / "sub02.csv"
    content = fold.read_bytes()
    for end in (0, content.index(b"\n") + 1, content.rindex(b"\n", 0, -1) + 1, len(content) - 1):
        fold.write_bytes(content[:end])
        with pytest.raises(ValueError, match="sub02 truncated or altered"):
            read_results(tmp_path)
    pd.testing.assert_frame_equal(cross_validate(samples, run, folder=tmp_path, progress=False), whole)
    assert fold.read_bytes() == content


@pytest.mark.parametrize("labels", [[0, 1], [False, True], [0.5, 1.5]], ids=["whole numbers", "truth", "numbers"])
def test_labels_that_are_no_text_are_scored_as_text(data, labels):
    class Numbered:
        name, classes, report = data.name, data.classes, data.report
        annotations = data.annotations.assign(target=[labels[i % 2] for i in range(len(data))])
        __len__, __getitem__ = (lambda self: len(data)), (lambda self, i: data[i])

    samples = prepare(Numbered(), 28, target="target", progress=False)
    assert samples.classes == tuple(map(str, labels))
    table = cross_validate(samples, Run("tsfmicro_spatial", settings=SMALL, recipe=Recipe(epochs=1)), progress=False)
    assert not has_units(table, samples.classes)
    assert score_table(table, samples.classes).uf1[0] > 0


def test_a_folder_of_another_run_is_refused(samples, tmp_path):
    cross_validate(samples, QUICK, folder=tmp_path, progress=False)
    assert json.loads((tmp_path / "run.json").read_text())["run"]["model"] == "tsfmicro_temporal"
    with pytest.raises(ValueError, match="holds the folds of another run or other samples: give another folder"):
        cross_validate(samples, replace(QUICK, seed=1), folder=tmp_path, progress=False)
    other = samples.with_tensors(apex=samples.apex.flip(0))
    with pytest.raises(ValueError, match="another run or other samples"):
        cross_validate(other, QUICK, folder=tmp_path, progress=False)


def test_a_full_disk_leaves_earlier_folds_whole(samples, tmp_path):
    """The system refuses to write more bytes, as it does on a full disk; what was saved before stays readable."""
    first = cross_validate(samples, QUICK, folder=tmp_path, progress=False)
    (tmp_path / "folds" / "sub03.csv").unlink()
    before = {p.name: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match=r"fold sub03 could not be saved to .*: free some space and start again"):
            cross_validate(samples, QUICK, folder=tmp_path, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {p.name: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    pd.testing.assert_frame_equal(cross_validate(samples, QUICK, folder=tmp_path, progress=False), first)


def test_models_are_kept_when_asked_for(samples, tmp_path):
    from tsfmicro_lab.models import from_pretrained
    from tsfmicro_lab.training import predict

    table = cross_validate(samples, QUICK, folder=tmp_path, keep_models=True, progress=False)
    model = from_pretrained(tmp_path / "models" / "sub02")
    fold = leave_one_subject_out(samples.annotations)[1]
    columns = [f"p_{c}" for c in samples.classes]
    assert np.allclose(predict(model, samples, fold.test), table.loc[table.subject == "sub02", columns], atol=1e-6)


def test_a_model_that_was_altered_is_trained_again(samples, tmp_path):
    options = {"folder": tmp_path, "keep_models": True, "progress": False}
    run = Run("tsfmicro_spatial", settings=SMALL, recipe=Recipe(epochs=1))
    cross_validate(samples, run, **options)
    weights = tmp_path / "models" / "sub02" / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-4] + b"\x00\x00\xc0\x7f")  # a number becomes NaN
    with pytest.raises(ValueError, match="not finite"):
        from_pretrained(weights.parent)
    with pytest.raises(ValueError, match="sub02 truncated or altered"):
        read_results(tmp_path)
    cross_validate(samples, run, **options)
    assert weights.read_bytes() == content


def test_what_somebody_put_into_the_folder_of_a_run_stays(samples, tmp_path):
    options = {"folder": tmp_path, "keep_models": True, "checkpoints": True, "progress": False}
    run = Run("tsfmicro_spatial", settings=SMALL, recipe=Recipe(epochs=1))
    cross_validate(samples, run, **options)
    notes = [tmp_path / "models" / "sub02" / "notes.txt", tmp_path / "checkpoints" / "sub02" / "best.pt"]
    half = tmp_path / "checkpoints" / "sub03" / ".0-77.pt"  # what a training leaves that is killed as it writes
    for path in (*notes, half):
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text("mine")
    for name in ("sub02", "sub03"):
        (tmp_path / "folds" / f"{name}.csv").unlink()
    cross_validate(samples, run, **options)
    assert [note.read_text() for note in notes] == ["mine", "mine"]
    assert not half.parent.exists()


@pytest.mark.parametrize("name", ["environment.json", "folds.jsonl", "folds/sub01.csv", "models/sub01/notes.txt"])
def test_a_folder_of_somebody_elses_files_is_refused_before_the_work(samples, tmp_path, monkeypatch, name):
    monkeypatch.setattr(protocols, "fit", lambda *_, **__: pytest.fail("something was trained"))
    (path := tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    with pytest.raises(ValueError, match=rf"{name.partition('/')[0]} is not of a run: give another folder"):
        cross_validate(samples, QUICK, folder=tmp_path, progress=False)
    assert [p for p in tmp_path.rglob("*") if p.is_file() and p.name != ".lock"] == [path]
    assert path.read_text() == "mine"


def test_a_file_in_the_place_of_the_folds_is_told_before_the_work(samples, tmp_path, monkeypatch):
    run = Run("tsfmicro_spatial", settings=SMALL, recipe=Recipe(epochs=1))
    cross_validate(samples, run, folder=tmp_path, progress=False)
    shutil.rmtree(tmp_path / "folds")
    (tmp_path / "folds").touch()
    monkeypatch.setattr(protocols, "fit", lambda *_, **__: pytest.fail("something was trained"))
    with pytest.raises(FileExistsError, match="folds"):
        cross_validate(samples, run, folder=tmp_path, progress=False)


def test_a_run_of_an_older_log_goes_on_and_a_line_that_was_cut_off_costs_its_fold(samples, tmp_path):
    run = Run("tsfmicro_spatial", settings=SMALL, recipe=Recipe(epochs=1))
    options, log = {"folder": tmp_path, "keep_models": True, "progress": False}, tmp_path / "folds.jsonl"
    whole = cross_validate(samples, run, **options)
    notes = [json.loads(line) for line in log.read_text().splitlines()]
    assert all(len(note["sha256"]) == 3 for note in notes), "table, parameters, configuration"
    for note in notes:  # as it was written before
        del note["run"], note["sha256"][2]
    before = "".join(json.dumps(note) + "\n" for note in notes)
    log.write_text(before)
    pd.testing.assert_frame_equal(cross_validate(samples, run, **options), whole)
    assert log.read_text() == before, "nothing was trained"
    log.write_bytes(before[:-40].encode() + b"\xff")  # no line end, no text
    pd.testing.assert_frame_equal(cross_validate(samples, run, **options), whole)
    trained = json.loads(log.read_text(errors="replace").splitlines()[-1].partition("\ufffd")[2])
    assert trained["fold"] == "sub04"
    assert log.read_text(errors="replace").count("\n") == 4
    assert len(read_results(tmp_path)[0].predictions) == len(whole)


def test_two_runs_on_one_folder_are_refused(samples, tmp_path):
    with alone(tmp_path), pytest.raises(OSError, match="another run is writing to"):
        cross_validate(samples, QUICK, folder=tmp_path, progress=False)


def test_names_that_are_paths_stay_in_the_folder_of_the_run(samples, tmp_path):
    names = {"sub01": "../esc", "sub02": "a/b", "sub03": "006"}
    other = replace(samples, table=samples.table.assign(subject=samples.table["subject"].replace(names)))
    run, folder = replace(QUICK, recipe=Recipe(epochs=1)), tmp_path / "run"
    options = {"folder": folder, "keep_models": True, "checkpoints": True, "progress": False}
    table = cross_validate(other, run, **options)
    assert set(table.subject) == {"../esc", "a/b", "006", "sub04"}
    assert list(tmp_path.iterdir()) == [folder]
    assert len(list((folder / "folds").iterdir())) == len(list((folder / "models").iterdir())) == 4
    assert all(fold_files(folder, subject)[1].is_file() for subject in set(table.subject))
    pd.testing.assert_frame_equal(cross_validate(other, run, **options), table)


def test_two_folds_of_one_name_are_refused(samples):
    folds = leave_one_subject_out(samples.annotations)
    with pytest.raises(ValueError, match="two folds have one name: sub01, sub01"):
        cross_validate(samples, QUICK, [folds[0], replace(folds[1], name="sub01")])


@pytest.mark.parametrize("nothing", [{"runs": []}, {"folds": []}])
def test_nothing_to_evaluate_is_said(samples, nothing):
    with pytest.raises(ValueError, match="nothing to evaluate: give at least one run and one fold"):
        cross_validate(samples, progress=False, **nothing)


def test_two_threads_of_one_process_are_refused(samples, monkeypatch):
    """They would draw from the same random numbers, and each run would give other predictions."""
    folds, fitted, refused = leave_one_subject_out(samples.annotations), protocols.fit, []

    def fit_while_another_asks(*args, **kwargs):
        with ThreadPoolExecutor(1) as other, pytest.raises(RuntimeError, match="use processes, as fold_processes"):
            other.submit(run_fold, QUICK, samples, folds[1]).result()
        refused.append(folds[1].name)
        return fitted(*args, **kwargs)

    monkeypatch.setattr(protocols, "fit", fit_while_another_asks)
    with ThreadPoolExecutor(1) as threads:
        cross_validate(samples, QUICK, folds[:1], executor=threads, progress=False)
    assert refused == [folds[1].name]


def test_a_fold_keeps_its_training_score_as_it_predicts(samples):
    rows = run_fold(QUICK, samples, leave_one_subject_out(samples.annotations)[0])
    assert 0 < rows.attrs["train_loss"] < 5
    assert abs(rows.attrs["train_loss_predicting"] - rows.attrs["train_loss"]) < 1
    assert 0 <= rows.attrs["train_uf1"] <= 1


def test_a_model_that_predicts_otherwise_than_it_learned_is_told(samples, monkeypatch):
    """Batch norm with statistics of something else: what is tested is another function than what was trained."""
    monkeypatch.setattr(protocols, "fit", with_stale_statistics(protocols.fit))
    fold = leave_one_subject_out(samples.annotations)[0]
    with pytest.warns(UserWarning, match=r"a loss of \d.* when it predicts, but \d.* while it learned"):
        run_fold(QUICK, samples, fold)
