"""What every script of a study promises on its command line."""

import subprocess
import sys

import pytest
from conftest import ROOT
from typer.testing import CliRunner

from studies import compare, coverage, displacement, flow, key_frames, landmarker, leakage, recipe, trust

STUDIES = [compare, coverage, displacement, flow, key_frames, landmarker, leakage, recipe, trust]


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.__name__)
def test_a_result_that_could_not_be_written_is_not_measured(study, tmp_path):
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(
        study.app, ["--save", str(tmp_path / "file" / "x.json"), "--out", str(tmp_path / "out")]
    )
    assert result.exit_code == 1
    assert "file" in result.output
    assert not (tmp_path / "out").exists()


def test_a_study_runs_as_a_script_and_from_beside_the_notebooks(tmp_path):
    script = [sys.executable, str(ROOT / "notebooks" / "studies" / "trust.py"), "--out", "x", "--distractors", "some"]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "distractors must be 'none', or 'none' and 'all', got ['some']\n")
    code = (
        "from studies.compare import Comparison; print(len(Comparison.load('results/comparison.json').table('clean')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "notebooks", capture_output=True, text=True)
    assert int(done.stdout) > 0, done.stderr
