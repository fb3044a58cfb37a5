"""The script that writes look-alikes; what it writes is read by the loaders in `test_recordings`."""

import subprocess
import sys

import pytest
from conftest import ROOT
from typer.testing import CliRunner

from lookalikes.__main__ import app


def test_the_folder_runs_as_a_script(tmp_path):
    root = tmp_path / "samm"
    script = [sys.executable, str(ROOT / "tests" / "lookalikes"), "samm", str(root)]
    size = ["--subjects", "2", "--clips", "2", "--size", "64"]
    done = subprocess.run([*script, *size], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "9 clips, 5 of them with faults" in done.stdout
    assert len(list((root / "001" / "001_1_2").glob("001_*.jpg"))) > 20


@pytest.mark.parametrize(
    ("layout", "folder", "message"),
    [
        ("nobody", "new", "no layout 'nobody': choose from casme, casme2"),
        ("casme2", "", "is not empty: give a new folder"),
    ],
)
def test_wrong_arguments_are_one_sentence_and_write_nothing(layout, folder, message, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    result = CliRunner().invoke(app, [layout, str(tmp_path / folder)])
    assert result.exit_code == 1
    assert message in result.output
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
