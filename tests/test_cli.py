import inspect
import json
import re
import subprocess
import sys
from importlib import import_module

import pandas as pd
import pytest
from typer.testing import CliRunner

from tsfmicro_lab.cli import STUDIES, app
from tsfmicro_lab.files import alone

run = CliRunner()


def plain(result):
    return re.sub(r"\s+", " ", re.sub(r"\x1b\[[0-9;]*m", "", result.output))


def test_doctor_says_what_is_there_and_how_to_get_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("TSFMICRO_FACE_LANDMARKER", str(tmp_path / "gone.task"))
    result = run.invoke(app, ["doctor"])
    assert result.exit_code == 1
    text = plain(result)
    for name in ("Python", "PyTorch", "GPU", "OpenCV", "JupyterLab", "landmarker model"):
        assert name in text
    assert "2.13.0" in text
    assert "gone.task, which is no file: correct or unset it" in text


@pytest.mark.parametrize("columns", ["40", "200"])
def test_doctor_fits_a_narrow_terminal_and_tells_a_script(monkeypatch, tmp_path, columns):
    monkeypatch.setenv("TSFMICRO_FACE_LANDMARKER", str(tmp_path / "gone.task"))
    monkeypatch.setenv("COLUMNS", columns)
    lines = run.invoke(app, ["doctor"]).output.splitlines()
    words = [len(word) for line in lines for word in line.split()]
    assert all(len(line) <= max(int(columns), 2 + max(words)) for line in lines)
    assert sum(len(line) > int(columns) for line in lines) <= 1, "a long path cannot be broken"
    result = run.invoke(app, ["doctor", "--json"])
    told = json.loads(result.output)
    assert result.exit_code == 1
    assert told["states"]["landmarker model"] == "missing"
    assert told["missing"].keys() == {"landmarker model"}


def test_what_is_there_is_replaced_with_force_alone(tmp_path):
    out = tmp_path / "out"
    args = ["evaluate", "--subjects", "2", "--clips", "10", "--epochs", "1", "--seeds", "1", "--out", str(out)]
    assert run.invoke(app, [*args, "--model", "tsfmicro_spatial", "--workers", "1"]).exit_code == 0
    table, page = tmp_path / "table.csv", tmp_path / "page"
    table.write_text("mine")
    page.mkdir()
    (page / "index.html").write_text("mine")
    (moments := tmp_path / "other" / "moments.csv").parent.mkdir()
    (report := out / "tsfmicro_spatial-0" / "report.html").write_text("mine")
    moments.write_text("mine")
    (picture := tmp_path / "third" / "maps.png").parent.mkdir()
    picture.write_text("mine")
    for asked, path in (
        (["results", str(out), "--csv", str(table)], table),
        (["results", str(out), "--latex", str(table)], table),
        (["data", "check", str(tmp_path), "--save", str(table)], table),
        (["results", str(out), "--html"], report),
        (["analyze", str(table), "--out", str(page)], page / "index.html"),
        (["analyze", str(table), "--out", str(moments.parent)], moments),
        (["analyze", str(table), "--out", str(picture.parent)], picture),
    ):
        result = run.invoke(app, asked)
        assert result.exit_code == 1
        assert f"{path} is there already: give another place, or --force to replace it" in plain(result)
        assert path.read_text() == "mine"
    assert run.invoke(app, ["results", str(out), "--csv", str(table), "--force"]).exit_code == 0
    assert "tsfmicro_spatial" in table.read_text()
    assert run.invoke(app, ["results", str(out), "--html", "--force"]).exit_code == 0
    assert "tsfmicro_spatial" in report.read_text()


@pytest.mark.parametrize("name", ["predictions.csv", "scores.csv"])
def test_an_evaluation_replaces_no_table_but_its_own(tmp_path, name):
    (tmp_path / name).write_text("mine")
    result = run.invoke(app, ["evaluate", "--subjects", "2", "--clips", "10", "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert f"{tmp_path / name} is not of an evaluation: give another folder" in plain(result)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_second_evaluation_is_refused_before_anything_is_drawn(tmp_path):
    with alone(tmp_path):
        result = run.invoke(app, ["evaluate", "--subjects", "2", "--clips", "10", "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert f"another run is writing to {tmp_path}" in plain(result)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_is_a_command_with_its_own_options_and_errors(name, tmp_path):
    main = import_module(f"studies.{name}").main
    assert inspect.getdoc(main) == STUDIES[name], "help says one thing, read from either place"
    told = plain(run.invoke(app, [name, "--help"]))
    assert f"Usage: root {name} [OPTIONS]" in told
    assert "--epochs" in told
    wrong = run.invoke(app, [name, "--epochs", "0"])
    assert wrong.exit_code == 2
    assert "greater than or equal to 1" in plain(wrong)
    assert "No such option: --epoch-count" in plain(run.invoke(app, [name, "--epoch-count", "2"]))
    asked = {"plan": ["--data", "casme9"], "reproduce": ["MMNet", "Mars", str(tmp_path)]}[name]
    told = run.invoke(app, [name, *asked])
    assert told.exit_code == 1
    assert {"plan": "no data card 'casme9'", "reproduce": "no recipe of 'MMNet' on 'Mars'"}[name] in plain(told)


def test_a_study_that_is_stopped_says_so(monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("studies.reproduce.known", stopped)
    result = run.invoke(app, ["reproduce"])
    assert result.exit_code == 130
    assert "the same command goes on from there" in plain(result)


@pytest.mark.parametrize("command", [["doctor"], ["data", "list"], ["data", "show", "casme2"], ["--help"]])
def test_what_only_tells_does_not_import_torch(command):
    code = f"import sys; from tsfmicro_lab.cli import app; app({command}, standalone_mode=False)"
    run = [sys.executable, "-c", f"{code}; assert 'torch' not in sys.modules, 'torch was imported'"]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_evaluate_prints_mean_and_spread_and_goes_on_where_it_was(tmp_path):
    args = ["evaluate", "--subjects", "3", "--clips", "10", "--epochs", "1", "--seeds", "2", "--out", str(tmp_path)]
    args += ["--model", "tsfmicro_spatial", "--target", "emotion_megc", "--workers", "2"]
    args += ["--distractors", "drift=0, noise=0"]
    result = run.invoke(app, args)
    assert result.exit_code == 0, result.output
    assert re.search(r"tsfmicro_spatial 2 0\.\d{3} ± 0\.\d{3}", plain(result))
    assert "majority" in plain(result)
    assert plain(result).count("tsfmicro_spatial: 6 trainings take about") == 1
    table = pd.read_csv(tmp_path / "scores.csv")
    assert list(table.model) == ["tsfmicro_spatial", "majority", "random"] * 2
    fold = tmp_path / "tsfmicro_spatial-1" / "folds" / "sub02.csv"
    before = fold.stat().st_mtime_ns
    again = run.invoke(app, args)
    assert again.exit_code == 0
    assert "take about" not in plain(again), "nothing is left to train"
    assert fold.stat().st_mtime_ns == before


@pytest.mark.parametrize("error", [FloatingPointError("the loss is nan"), MemoryError(), RuntimeError("a worker died")])
def test_an_expected_error_is_one_sentence(error, monkeypatch):
    def fail(**_):
        raise error

    monkeypatch.setattr("tsfmicro_lab.demo.run_demo", lambda *_, **__: fail())
    result = run.invoke(app, ["demo"])
    assert result.exit_code == 1
    assert plain(result).strip() == (str(error) or plain(result).strip()) != ""


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["evaluate", "--model", "resnet"], "unknown model 'resnet': choose from tsfmicro_late"),
        (["evaluate", "--preset", "huge"], "unknown preset 'huge': choose from base, small, tiny"),
        (["evaluate", "--target", "mood"], "no column 'mood' in the annotations"),
        (["evaluate", "--selection", "best"], "unknown selection 'best': choose from last, validation, oracle"),
        (["evaluate", "--protocol", "mine"], "unknown protocol 'mine': choose from loso, nested, kfold"),
        (["evaluate", "--subjects", "1"], "greater than or equal to 2"),
        (
            ["evaluate", "--distractors", "smoke=1"],
            "is not such as drift=0,noise=2, each name once, with names of drift, flicker",
        ),
        (["evaluate", "--distractors", "drift"], "'drift' is not such as drift=0,noise=2"),
        (["evaluate", "--where", "here"], "where is one of free, needed, not 'here'"),
        (["evaluate", "--distractors", "noise=-1"], "'noise=-1' is not such as drift=0,noise=2"),
        (["demo", "--epochs", "0"], "greater than or equal to 1"),
        (["demo", "--train", "", "--epochs", "2"], "--epochs changes nothing where nothing is trained: leave it out"),
        (["demo", "--train", "", "--subjects", "2", "--clips", "1"], "not every emotion was drawn: give more"),
        (["evaluate", "--store", "x", "--subjects", "3"], "--subjects changes nothing beside --store: leave it out"),
        (["evaluate", "--store", "x", "--target", "action_units"], "--target changes nothing beside --store"),
        (["evaluate", "--leaky", "--selection", "validation"], "--selection changes nothing beside --leaky"),
        (["data", "prepare", "synthetic", "--strict"], "--strict changes nothing for synthetic clips"),
        (["data", "prepare", "synthetic", "--model", "mmnet", "--size", "64"], "--size changes nothing beside --model"),
        (["analyze", "x", "--model", "none", "--classes", "a"], "--classes changes nothing without a model"),
    ],
)
def test_wrong_options_are_one_sentence(args, message, tmp_path):
    result = run.invoke(app, [*args, "--out", str(tmp_path / "out")])
    assert result.exit_code != 0
    assert message in plain(result)
    assert "Traceback" not in result.output


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    result = run.invoke(app, ["demo", "--subjects", "2", "--clips", "10", "--out", str(tmp_path / "file" / "demo")])
    assert result.exit_code == 1
    assert "a file lies where a folder is needed: give another place" in plain(result)
    assert "Traceback" not in result.output
