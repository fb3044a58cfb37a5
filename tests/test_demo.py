"""The whole demo, small: every part of the page is there and holds what it says."""

import base64
import re
from dataclasses import replace

import pandas as pd
import pytest

from tsfmicro_lab.demo import run_demo
from tsfmicro_lab.preprocess import landmarks
from tsfmicro_lab.training import RECIPES
from tsfmicro_lab.training.predictions import read_predictions

QUICK = replace(RECIPES["tiny"], epochs=1)


def page_of(folder, train="tsfmicro_late", subjects=3):
    how = {"recipe": QUICK, "workers": 2, "train": train}
    return run_demo(folder, subjects=subjects, clips_per_subject=10, **how).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    return folder, page_of(folder)


def test_the_page_opens_offline(demo):
    _, page = demo
    body = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"(src|href)=[\"']?(http|//)", body)
    assert "Plotly.newPlot" in page
    assert len(page) < 12 * 2**20


def test_every_picture_and_chart_is_inside(demo):
    folder, page = demo
    pictures = re.findall(r'<img src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) == (2 if "Left out:" in page else 4)
    assert base64.b64decode(pictures[0]) == (folder / "clips.png").read_bytes()
    for chart in ("scores", "confusion", "shares"):
        assert f'id="{chart}"' in page


def test_the_photograph_goes_the_same_way(demo, landmarker):
    _, page = demo
    assert "Left out:" not in page
    assert re.search(
        r"synthetic heads alone, says <b>(disgust|happiness|others|repression|surprise|cannot tell)</b>", page
    )


def test_the_numbers_are_those_of_the_run(demo):
    folder, page = demo
    predictions = read_predictions(folder / "predictions.csv")
    assert len(predictions) == 60
    for model in ("emotions, as shipped", "tsfmicro_late"):
        own = predictions[predictions.model == model]
        accuracy = (own.truth == own.predicted).mean()
        assert re.search(rf"<td>{model}</td>\s*<td>[\d.]+</td>\s*<td>[\d.]+</td>\s*<td>{accuracy:.3f}</td>", page)
    assert predictions.groupby("model").subject.nunique().tolist() == [3, 3]
    shares = pd.read_csv(folder / "shares.csv")
    assert len(shares) == 30
    assert f"{100 * shares.how.mean():.0f} % of the <em>how</em> map" in page
    assert shares.completeness_error.median() < 0.1


def test_it_says_why_the_photograph_is_missing(demo, monkeypatch, tmp_path):
    monkeypatch.delenv(landmarks.MODEL_VARIABLE, raising=False)
    monkeypatch.setattr(landmarks, "cached_model", lambda: tmp_path / "none" / "model.task")
    monkeypatch.setattr(landmarks, "MODEL_URL", "http://127.0.0.1:9/none.task")
    (tmp_path / "index.html").write_text("<title>TSFmicro Lab: demo</title>")
    page = page_of(tmp_path, train="", subjects=2)
    assert "Left out: the face landmarker model could not be downloaded" in page
    assert "is trained here" not in page, "nothing was trained"
    assert "is trained here" in demo[1]
    assert len(read_predictions(tmp_path / "predictions.csv")) == 20


@pytest.mark.parametrize("name", ["index.html", "predictions.csv", "shares.csv", "clips.png", "where_how.png"])
def test_it_replaces_nobodys_files_but_its_own(tmp_path, name):
    (tmp_path / name).write_text("<title>my home page</title>")
    with pytest.raises(ValueError, match=f"{name} is not of a demo: give another folder"):
        page_of(tmp_path)
    assert (tmp_path / name).read_text() == "<title>my home page</title>"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_one_that_was_stopped_goes_on_in_its_folder(tmp_path, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("tsfmicro_lab.demo._score", stopped)
    monkeypatch.setattr("tsfmicro_lab.demo._show_clips", lambda report, _: report.path.with_name("clips.png").touch())
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            page_of(tmp_path, subjects=2)
    assert {path.name for path in tmp_path.iterdir()} == {"index.html", "clips.png"}
