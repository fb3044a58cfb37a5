"""Pictures of the explorers in README are those that one command draws, of today's model and results."""

import cv2
from conftest import ROOT
from typer.testing import CliRunner

from studies.readme_pictures import app


def test_one_command_draws_every_explorer_that_readme_shows(landmarker, tmp_path):
    assert CliRunner().invoke(app, ["--out", str(tmp_path)]).exit_code == 0
    drawn = sorted(path.name for path in tmp_path.iterdir())
    assert drawn == sorted(path.name for path in (ROOT / ".github").glob("explorer_*.png"))
    for name in drawn:
        assert f".github/{name}" in (ROOT / "README.md").read_text("utf-8")
        new, stored = (cv2.imread(str(folder / name), cv2.IMREAD_GRAYSCALE) for folder in (tmp_path, ROOT / ".github"))
        assert new.shape == stored.shape, name
        small = [cv2.resize(picture, None, fx=0.1, fy=0.1, interpolation=cv2.INTER_AREA) for picture in (new, stored)]
        assert cv2.absdiff(*small).mean() < 3, f"{name} is of another model or result: run studies/readme_pictures.py"
