import os
import re
from itertools import product

import nbformat
import pytest
from conftest import ROOT
from gate import LESSONS, PARAMETERS, check_executed, check_page, check_parameters, check_source, execute
from papermill.exceptions import PapermillExecutionError

from studies.claims import LEDGER, sentences, worded
from studies.course_map import README, lessons, listed, page

#: With how many seeds every lesson is run besides; the nightly check says so.
SEEDS = int(os.environ.get("TSFMICRO_SEEDS", "0"))


@pytest.mark.parametrize(("path", "seed"), list(product(LESSONS, range(SEEDS))), ids=str)
def test_claims_hold_for_other_seeds(path, seed):
    """Minutes for each seed: TSFMICRO_SEEDS says how many. The ledger of claims is written from what is kept."""
    out = ROOT / "build" / "claims" / f"{path.stem}-{seed}.ipynb"
    out.parent.mkdir(parents=True, exist_ok=True)
    execute(path, out, PARAMETERS.get(path.stem, {}) | {"seed": seed})


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_the_ledger_holds_every_claim(path):
    rows = [row for row in LEDGER.read_text().splitlines() if f"notebooks/{path.name}" in row]
    claimed = sentences(nbformat.read(path, as_version=4))
    assert claimed, "a lesson claims something that was attacked"
    for sentence in claimed:
        assert any(worded(sentence) in row for row in rows), f"not in the ledger: {sentence}"
    assert len(rows) == len(claimed), "the ledger holds claims that the notebook gave up"


def test_the_first_page_is_written_from_the_lessons():
    stored = nbformat.read(ROOT / "notebooks" / "README.ipynb", as_version=4)
    assert stored == page(lessons()), "python notebooks/studies/course_map.py writes it anew"
    assert README.read_text() == listed(README.read_text(), lessons()), "so it does the list of the README"
    assert len(lessons()) == len(LESSONS)
    assert all(lesson.able and lesson.time for lesson in lessons())
    assert all(before < lesson.name for lesson in lessons() for before in lesson.before), "needs what comes later"


@pytest.mark.parametrize("path", [*LESSONS, ROOT / "notebooks" / "README.ipynb"], ids=lambda p: p.stem)
def test_links_lead_somewhere(path):
    prose = "\n".join(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "markdown")
    words = re.findall(r"^### (.+)", (ROOT / "docs" / "glossary.md").read_text(), re.M)
    anchors = {word.lower().replace(" ", "-") for word in words}
    for target in re.findall(r"\]\((?!https?:|attachment:)([^)\s]+)\)", prose):
        file, _, anchor = target.partition("#")
        assert not file or (path.parent / file).exists(), target
        if file.endswith("glossary.md") and anchor:
            assert anchor in anchors, target


def write(tmp_path, *sources):
    cells = [nbformat.v4.new_code_cell("a = 1", metadata={"tags": ["parameters"]})]
    notebook = nbformat.v4.new_notebook(cells=cells + [nbformat.v4.new_code_cell(s) for s in sources])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, tmp_path / "x.ipynb")
    return tmp_path / "x.ipynb"


HIDDEN = """
import ipywidgets
from IPython.display import display
slider = ipywidgets.IntSlider()
out = ipywidgets.interactive_output(lambda x: 1 / x, {"x": slider})
display(slider, out)
"""


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("assert a == 2", PapermillExecutionError, "AssertionError"),
        ("import sys; sys.exit(0)", AssertionError, "is (pending|failed)"),
        (HIDDEN, AssertionError, "a widget hides an error: ZeroDivisionError"),
    ],
    ids=["error", "exit", "hidden in a widget"],
)
def test_the_gate_stops_what_papermill_lets_through(tmp_path, source, error, message):
    with pytest.raises(error, match=message):
        execute(write(tmp_path, source, "b = 2"), tmp_path / "out.ipynb", {})


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import sys; print('W0000 a library says hello', file=sys.stderr)", "standard error: W0000 a library"),
        ("from tqdm.notebook import tqdm\nfor _ in tqdm(range(3)): pass", "a progress bar is left before its end"),
    ],
    ids=["standard error", "progress bar"],
)
def test_the_gate_stops_what_a_still_page_should_not_show(tmp_path, source, message):
    executed = execute(write(tmp_path, source), tmp_path / "out.ipynb", {})
    with pytest.raises(AssertionError, match=message):
        check_page(executed, tmp_path / "page.html")


def test_the_gate_stops_outputs_and_unknown_parameters(tmp_path):
    path = write(tmp_path, "print(a)")
    check_source(path)
    check_parameters(path, {"a": 2})
    with pytest.raises(AssertionError, match=r"has no parameters \['aa'\]"):
        check_parameters(path, {"aa": 2})
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].execution_count = 1
    nbformat.write(notebook, path)
    with pytest.raises(AssertionError, match="committed with outputs"):
        check_source(path)
    with pytest.raises(AssertionError, match="is None"):
        check_executed(notebook)
