"""The other lessons are in a file of their own: a worker takes whole files."""

import pytest
from gate import LESSONS, check_lesson

from studies.pages import one_chrome


@pytest.fixture(scope="module")
def chrome():
    with one_chrome():
        yield


@pytest.mark.parametrize("path", LESSONS[9:], ids=lambda p: p.stem)
def test_lesson_runs_as_a_student_gets_it_and_finishes_it(path, tmp_path, monkeypatch, chrome):
    monkeypatch.setenv("PLOTLY_RENDERER", "plotly_mimetype")
    check_lesson(path, tmp_path)
