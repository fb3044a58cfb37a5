import base64
import hashlib
import json
import re
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from studies.results_explorer import ResultsExplorer
from tsfmicro_lab.cli import app
from tsfmicro_lab.models import create_model
from tsfmicro_lab.results import Result, compare, explain_clip, find_results, load_frames, read_results, run_table
from tsfmicro_lab.training import Recipe, Run, calibration, cross_validate, score_table, subject_interval
from tsfmicro_lab.training.metrics import has_units
from tsfmicro_lab.training.predictions import write_predictions
from tsfmicro_lab.training.protocols import samples_digest

run = CliRunner()


def plain(text):
    return re.sub(r"\s+", " ", re.sub(r"\x1b\[[0-9;]*m", "", text))


def charts(browser):
    """Charts as the browser gets them."""
    return [out["data"]["application/vnd.plotly.v1+json"] for place in browser.charts for out in place.outputs]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two seeds of an honest run and one that chose on the test clips, made by the command."""
    out = tmp_path_factory.mktemp("runs")
    for extra in (["--seeds", "2"], ["--seeds", "1", "--selection", "oracle"]):
        args = ["evaluate", "--subjects", "3", "--clips", "10", "--epochs", "1", "--out", str(out), *extra]
        result = run.invoke(app, [*args, "--model", "tsfmicro_late", "--workers", "1"])
        assert result.exit_code == 0, result.output
        assert ("leaky" in result.output) == ("oracle" in extra)
    return out


def test_runs_are_found_scored_and_exported(folder, tmp_path):
    csv, latex = tmp_path / "runs.csv", tmp_path / "runs.tex"
    result = run.invoke(app, ["results", str(folder), "--csv", str(csv), "--latex", str(latex)])
    assert result.exit_code == 0, result.output
    assert "leaky" in result.output
    table = pd.read_csv(csv)
    assert list(table.selection) == ["last", "last", "leaky: chosen on the test clips"]
    kept = find_results(folder)[1]
    wanted = score_table(kept.predictions, kept.classes).iloc[0]
    assert table.uf1[1] == pytest.approx(wanted.uf1)
    assert (table.low[1], table.high[1]) == pytest.approx(subject_interval(kept.predictions, kept.classes)[1:])
    assert latex.read_text().count(r"\\") == 4
    assert latex.read_text().count("leaky") == 3, "in the folder's name, the model's and the selection"
    result = run.invoke(app, ["results", str(folder), "--selection", "leaky"])
    assert "1 of 3 runs" in result.output


def test_each_run_gets_a_page_with_its_missed_clips(folder):
    result = run.invoke(app, ["results", str(folder), "--html"])
    assert result.exit_code == 0, result.output
    pages = {path.parent.name: path.read_text() for path in folder.glob("*/report.html")}
    assert len(pages) == 3
    for name, page in pages.items():
        assert ("Leaky" in page) == ("leaky" in name)
        assert "data:image/png;base64," in page, "the missed clips are drawn"
        assert "Expected calibration error" in page
        assert 'src="http' not in page, "it opens offline"


def test_a_missed_clip_is_explained_by_the_model_that_never_saw_its_subject(folder, samples):
    result = find_results(folder)[0]
    frames = load_frames(result)
    row = result.missed.iloc[0]
    clip, heat = explain_clip(result, frames, row)
    assert (clip.subject, clip.emotion) == (row.subject, row.truth)
    assert result.classes[heat.target] == row.predicted
    with pytest.raises(ValueError, match="was evaluated on other samples"):
        explain_clip(result, samples, row)
    others = [replace(result, about=result.about | {"samples": c * 64}) for c in "0f"]
    assert [load_frames(other) for other in others] == [None, None], "frames of other clips are none of its"


def test_a_row_shows_its_own_frames_and_a_model_of_one_stream_has_no_map(samples, tmp_path):
    rows = samples.table[["subject", "clip", "onset"]].assign(truth="a", predicted="b", model="m", fold="one")
    result = Result("r", tmp_path, {"samples": samples_digest(samples)}, rows, ("a", "b"))
    for i in (0, 13):
        clip, heat = explain_clip(result, samples, rows.iloc[i])
        assert torch.equal(torch.tensor(clip.frame(0)), samples.onset[i].permute(1, 2, 0))
        assert torch.equal(torch.tensor(clip.frame(1)), samples.apex[i].permute(1, 2, 0))
        assert heat is None
        create_model("tsfmicro_spatial", 2).save_pretrained(tmp_path / "models" / "one")


def told(name="r", subjects="sstt", truth="abab", predicted="abba", sure=(0.9, 0.6, 0.7, 0.8), **about):
    """A result of two classes, typed in: the probability that each clip was given for what was predicted."""
    rows = {"subject": [*subjects], "truth": [*truth], "predicted": [*predicted], "model": name, "seed": 0, "onset": 0}
    table = pd.DataFrame(rows).assign(clip=range(len(truth)))
    for c in "ab":
        table[f"p_{c}"] = [p if said == c else 1 - p for p, said in zip(sure, predicted, strict=True)]
    return Result(name, Path(name), about, table, ("a", "b"))


def test_the_surest_mistakes_come_first():
    assert told().missed["clip"].tolist() == [3, 2]
    assert told(predicted="baba", sure=(0.6, 0.9, 0.7, 0.9)).missed["clip"].tolist() == [1, 3, 2, 0]
    assert told(predicted="abab").missed.empty


def test_who_chose_on_the_test_clips_is_leaky():
    assert [told(run={"selection": word}).leaky for word in ("oracle", "last")] == [True, False]
    assert (told("m, leaky").leaky, told("m").leaky) == (True, False)


def test_a_row_of_the_table_has_what_can_be_computed_and_no_more():
    table = run_table([told(), told("one", subjects="ssss")])
    assert table.ece[0] == pytest.approx(calibration(told().predictions)[1])
    assert table.low.isna().tolist() == [False, True], "one subject has no interval over subjects"
    bare = told()
    without = Result("log", bare.folder, {}, bare.predictions.drop(columns=["p_a", "p_b"]), bare.classes)
    assert np.isnan(run_table([without]).ece[0])
    assert table.selection.tolist() == ["unknown"] * 2
    assert (table.subjects.tolist(), table.clips.tolist()) == ([2, 1], [4, 4])


def test_only_runs_on_the_same_people_and_classes_are_compared():
    one, better, other = told("one"), told("better", predicted="abab"), told("other", predicted="abaa")
    gains, least = compare([one, better, other, told("others", subjects="xxyy")])
    assert gains.model.tolist() == ["better", "other"]
    alone = [compare([one, r])[1] for r in (better, other)]
    assert least == max(alone) > min(alone), "what shows every gain"
    for nothing in (
        [one],
        [one, told("others", subjects="xxyy")],
        [told("one", subjects="ssss"), told("two", subjects="ssss")],
        [one, told("else", predicted="abac")],
    ):
        assert compare(nothing) is None


def test_predictions_are_scored_whoever_made_them(folder, tmp_path):
    log = tmp_path / "theirs.txt"
    log.write_text("casme2 sub01\nEP02_01f 1 1\nEP03_02 0 0\nsmic s1\ns1_ne_01 0 1\ns1_sur_01 2 2\n")
    result = run.invoke(app, ["score", str(log), "--details"])
    assert result.exit_code == 0, result.output
    # By hand: negative 2/3, positive 2/3, surprise 1.
    assert f"{(2 / 3 + 2 / 3 + 1) / 3:.3f}" in plain(result.output)
    assert "casme2" in result.output
    places = [str(path.parent) for path in sorted(folder.glob("*/run.json"))]
    result = run.invoke(app, ["score", places[0], places[2]])
    assert result.exit_code == 0, result.output
    assert "Holm" in result.output
    assert "four times in five" in plain(result.output)
    assert len(read_results(folder / "predictions.csv")) == 1


def test_runs_of_one_name_are_told_apart_by_their_place(folder, tmp_path):
    here = sorted(folder.glob("*/run.json"))[0].parent
    there = tmp_path / folder.name / here.name
    shutil.copytree(here, there)
    names = [r.name for r in read_results(here, there, here)]
    assert names == [f"{folder.name}/{here.name} ({place})" for place in (here, there)], "what comes twice counts once"
    result = run.invoke(app, ["score", str(here), str(there)])
    assert result.exit_code == 0, result.output
    assert plain(result.output).count(str(there)) == 2, "in the table of scores and in the comparison"


def test_an_unfinished_run_says_so_and_what_is_there_is_verified(folder, tmp_path):
    """Two of three folds are no pooled score; a file that somebody was writing is no fold."""
    there = tmp_path / "runs" / "cut"
    shutil.copytree(sorted(folder.glob("*/run.json"))[0].parent, there)
    result = run.invoke(app, ["verify", str(there)])
    assert result.exit_code == 0, result.output
    assert "3 of 3 folds are whole, 3 with their model" in result.output
    (there / "folds" / "sub03.csv").rename(there / "folds" / ".sub03-77.csv")
    result = run.invoke(app, ["score", str(there)])
    assert result.exit_code == 0, result.output
    assert "cut lacks 1 folds (sub03): its scores are not final" in plain(result.output)
    [found] = find_results(there)
    assert {*found.predictions.subject} == {"sub01", "sub02"}
    assert run_table([found]).missing[0] == 1
    assert run.invoke(app, ["verify", str(there)]).exit_code == 1
    shutil.rmtree(there / "folds")
    result = run.invoke(app, ["score", str(there)])
    assert result.exit_code == 1
    assert "no fold is finished" in plain(result.output)


@pytest.fixture
def copied(folder, tmp_path):
    """A copy of one run, to harm."""
    there = tmp_path / "runs" / "one"
    shutil.copytree(sorted(folder.glob("*/run.json"))[0].parent, there)
    return there


def noted_anew(there, path, content):
    """Writes a file of a run and its hash into the log, as somebody would who knows how the log is made."""
    old, log = hashlib.sha256(path.read_bytes()).hexdigest(), there / "folds.jsonl"
    path.write_bytes(content)
    log.write_text(log.read_text().replace(old, hashlib.sha256(content).hexdigest()))


def another_folds(there):
    shutil.copy(there / "folds" / "sub01.csv", there / "folds" / "sub02.csv")


def rows_twice(there):
    head, *rows = (path := there / "folds" / "sub02.csv").read_bytes().splitlines(keepends=True)
    noted_anew(there, path, b"".join([head, *rows, *rows]))


def about(there, change):
    told = json.loads((there / "run.json").read_text())
    change(told)
    (there / "run.json").write_text(json.dumps(told, indent=2))


def as_before(there):
    """The log as it was written before it held the hashes of `run.json` and of the models' configurations."""
    notes = [json.loads(line) for line in (there / "folds.jsonl").read_text().splitlines()]
    for note in notes:
        del note["run"], note["sha256"][2:]
    (there / "folds.jsonl").write_text("".join(json.dumps(note) + "\n" for note in notes))


def fewer_clips(there):
    about(there, lambda told: told["folds"].update(sub02=7))


def one_fold_less(there):
    about(there, lambda told: told["folds"].pop("sub02"))


def other_classes(there):
    path = there / "models" / "sub02" / "config.json"
    path.write_text(path.read_text().replace("disgust", "joy"))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        ([another_folds], "sub02 10 altered whole"),
        ([rows_twice], "sub02 10 altered whole"),
        ([other_classes], "sub02 10 whole altered"),
        ([lambda there: shutil.rmtree(there / "models" / "sub02")], "sub02 10 whole missing"),
        ([one_fold_less], "run.json and folds.jsonl disagree about sub01: put back the altered one"),
        ([fewer_clips], "run.json and folds.jsonl disagree about sub01"),
        ([lambda there: about(there, lambda told: told["run"].update(selection="validation"))], "disagree about sub01"),
        ([as_before, one_fold_less], "run.json and folds.jsonl disagree about sub02"),
        ([as_before, fewer_clips], "sub02 7 altered whole"),
        ([as_before], "3 of 3 folds are whole, 3 with their model"),
    ],
)
def test_a_file_that_is_not_what_its_fold_wrote_is_told(copied, harm, message):
    for change in harm:
        change(copied)
    result = run.invoke(app, ["verify", str(copied)])
    assert message in plain(result.output)
    assert result.exit_code == (0 if harm == [as_before] else 1)
    result = run.invoke(app, ["score", str(copied)])
    assert result.exit_code == (0 if "missing" in message or harm == [as_before] else 1)
    assert (
        result.exit_code == 0 or "sub02 truncated or altered" in plain(result.output) or message in plain(result.output)
    )


def test_models_that_were_not_kept_are_not_missing(samples, tmp_path):
    quick = Run("tsfmicro_spatial", recipe=Recipe(epochs=1))
    cross_validate(samples, quick, folder=tmp_path, progress=False)
    result = run.invoke(app, ["verify", str(tmp_path)])
    assert result.exit_code == 0
    assert "4 of 4 folds are whole, 0 with their model" in result.output


@pytest.mark.parametrize(
    "content",
    [b"[]", b"null", b"3", b'"x"', b"\xff", b'{"folds": [[1, 2]], "classes": []}', b'{"folds": {}, "run": 3}'],
)
def test_a_run_json_that_is_none_is_one_sentence(copied, content):
    (copied / "run.json").write_bytes(content)
    for command, place in (("verify", copied), ("score", copied), ("results", copied.parent)):
        result = run.invoke(app, [command, str(place)])
        assert isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code == 1
        assert f"{copied / 'run.json'} is not that of a run" in plain(result.output)


def test_a_folder_where_a_file_belongs_is_one_sentence(copied):
    (table := copied / "folds" / "sub02.csv").unlink()
    table.mkdir()
    for command in ("verify", "score"):
        result = run.invoke(app, [command, str(copied)])
        assert result.exit_code == 1
        assert f"{table} is a folder, where a file belongs: move it away" in plain(result.output)


def test_a_log_that_is_no_text_leaves_the_fold_of_its_line_out_and_no_other(copied):
    log = copied / "folds.jsonl"
    log.write_bytes(b"\xff" + log.read_bytes().replace(b'"fold": "sub02"', b'"fo\xffd": "sub02"'))
    result = run.invoke(app, ["verify", str(copied)])
    assert result.exit_code == 1
    assert "sub02 10 altered not kept" in plain(result.output)
    assert "2 of 3 folds are whole" in result.output


def test_a_broken_and_an_empty_run_are_told_and_the_others_shown(copied):
    for name in ("broken", "empty"):
        shutil.copytree(copied, copied.with_name(name))
    (copied.with_name("broken") / "run.json").write_text("[]")
    (copied.with_name("empty") / "folds.jsonl").write_text("")
    shutil.rmtree(copied.with_name("empty") / "folds")
    result = run.invoke(app, ["results", str(copied.parent)])
    assert result.exit_code == 0, result.output
    assert "1 of 1 runs" in result.output
    assert f"left out: {copied.with_name('broken') / 'run.json'} is not that of a run" in plain(result.output)
    assert f"left out: {copied.with_name('empty')}: no fold is finished" in plain(result.output)
    told = []
    assert [r.name for r in find_results(copied.parent, told.append)] == ["runs/one"]
    assert len(told) == 2


def test_labels_of_no_class_are_no_action_units():
    table = pd.DataFrame({"truth": ["happy", "sad"], "predicted": ["happy", "Sad"]})
    assert not has_units(table.assign(predicted="happy"), ("happy", "sad"))
    assert has_units(pd.DataFrame({"truth": ["4+12", ""], "predicted": ["4", "12"]}), ("4", "12"))
    with pytest.raises(ValueError, match="Sad: labels that are none of the classes happy, sad"):
        has_units(table, ("happy", "sad"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone", None, "there is no"),
        ("empty.txt", b"", "has no line of a clip"),
        ("words.txt", b"casme2 sub01\nhello world again now", "line 2"),
        ("bad.csv", b'a,b\n1,2,"3\n', "is no CSV table"),
    ],
)
def test_what_cannot_be_scored_is_one_sentence(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    result = run.invoke(app, ["score", str(path)])
    assert result.exit_code == 1
    assert message in plain(result.output)
    assert "Traceback" not in result.output


def test_folders_without_runs_or_with_broken_ones_are_one_sentence(tmp_path):
    result = run.invoke(app, ["results", str(tmp_path)])
    assert result.exit_code == 1
    assert "no run below" in plain(result.output)
    fold = tmp_path / "r" / "folds" / "one.csv"
    write_predictions(pd.DataFrame({"x": [1]}), fold)
    (tmp_path / "r" / "run.json").write_text("{}")
    result = run.invoke(app, ["results", str(tmp_path)])
    assert result.exit_code == 1
    assert "no run below" in plain(result.output)
    (tmp_path / "r" / "folds.jsonl").touch()
    result = run.invoke(app, ["results", str(tmp_path)])
    assert result.exit_code == 1
    assert "run.json is not that of a run ('folds')" in plain(result.output)
    assert "no run below" in plain(result.output)
    with pytest.raises(ValueError, match=r"lacks clip, model, predicted, seed, subject, truth"):
        read_results(fold)


def test_the_browser_filters_draws_and_explains(folder, tmp_path):
    browser = ResultsExplorer(folder)
    assert len(browser.table) == 3
    folds, confusion = charts(browser)
    assert [bar["name"] for bar in folds["data"]] == ["UF1", "accuracy"]
    counted = confusion["data"][0]["text"]
    counts = np.frombuffer(base64.b64decode(counted["bdata"]), counted["dtype"])
    assert counts.sum() == len(browser.results[browser.run].predictions)
    onset, change, *maps = browser.pictures.shown
    assert [pane.title for pane in maps] == ["where: onset", "how: difference"], "frames were kept beside the run"
    assert len({pane.full for pane in maps}) == 1
    browser.missed = 1
    assert not np.array_equal(browser.pictures.shown[0].face, onset.face)
    assert browser.snapshot().data[1:4] == b"PNG"
    kept = browser.state
    browser.selection = "leaky: chosen on the test clips"
    assert len(browser.table) == 1
    assert "leaky" in browser.rows.value
    assert "leaky" in browser.controls["run"][0].options[0][0]
    browser.model = "tsfmicro_late"
    assert browser.table.empty
    assert not browser.controls["run"][0].options
    assert not charts(browser)
    assert not browser.pictures.shown
    browser.state = kept
    assert browser.state == kept
    assert np.array_equal(browser.pictures.shown[1].values, change.values) is (kept["missed"] == 0)


def test_action_units_are_browsed_too(data, tmp_path):
    from tsfmicro_lab.data import prepare

    samples = prepare(data, 56, target="action_units", progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        cross_validate(samples, Run("tsfmicro_late", recipe=Recipe(epochs=1)), folder=tmp_path, progress=False)
    as_before(tmp_path)
    about(tmp_path, lambda told: told.pop("units"))
    [result] = find_results(tmp_path)
    assert result.units, "by its labels, where run.json does not say it"
    assert 0 <= run_table([result]).uf1[0] <= 1
    browser = ResultsExplorer([result], samples)
    assert [chart["layout"]["xaxis"]["title"]["text"] for chart in charts(browser)] == ["name"]
    assert "so there is no map" in browser.story.value
    assert browser.snapshot().data[1:4] == b"PNG"
