import base64
import re
import shutil
import warnings

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from studies.results_explorer import ResultsExplorer
from tsfmicro_lab.cli import app
from tsfmicro_lab.results import explain_clip, find_results, load_frames, read_results, run_table
from tsfmicro_lab.training import Recipe, Run, cross_validate, score_table, subject_interval
from tsfmicro_lab.training.metrics import has_units
from tsfmicro_lab.training.predictions import write_predictions

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
        result = run.invoke(app, [*args, "--model", "tsfmicro_late", "--workers", "2"])
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
    assert "holds no run of" in plain(result.output)
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
    [result] = find_results(tmp_path)
    assert result.units
    assert 0 <= run_table([result]).uf1[0] <= 1
    browser = ResultsExplorer([result], samples)
    assert [chart["layout"]["xaxis"]["title"]["text"] for chart in charts(browser)] == ["name"]
    assert "so there is no map" in browser.story.value
    assert browser.snapshot().data[1:4] == b"PNG"
