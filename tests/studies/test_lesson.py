import ipywidgets as widgets
import nbformat
import numpy as np
import pytest
from gate import check_answers, worked

from studies import lesson
from studies.claims import ledger, markdown, sentences, worded
from studies.lesson import check, claim, need
from studies.pages import LIVE, still, to_html, without_picture
from studies.sliders import Sliders
from tsfmicro_lab.explain.figures import Picture


def told_to(found):
    def display(shown, metadata):
        found.append(metadata["tsfmicro"] | {"text/plain": repr(shown), "text/html": shown.data})

    return display


@pytest.fixture
def told(monkeypatch):
    found = []
    monkeypatch.setattr(lesson, "display", told_to(found))
    return found


def test_a_check_tells_apart_unanswered_wrong_broken_and_right(told):
    for answer in (None, ..., 7, "six", 6):

        @check
        def exercise_1(answer=answer):
            need(answer)
            assert answer + 0 == 6, "count the <intervals>"
            return "six of them"

    assert [one["found"] for one in told] == ["not answered"] * 2 + ["not yet"] * 2 + ["right"]
    assert "count the <intervals>" in told[2]["text"]
    assert "TypeError" in told[3]["text"]
    assert told[4]["text/plain"] == "exercise 1: right: six of them"
    assert "<intervals>" not in told[2]["text/html"], "a message is text, and no page"


def test_a_claim_holds_by_its_margin_or_stops(told):
    claim("{effect:.0f} px against {control:.0f} px", 3.0, 1.0, margin=2)
    assert told[0]["found"] == "claim"
    assert (told[0]["effect"], told[0]["control"], told[0]["margin"]) == (3, 1, 2)
    assert "3 px against 1 px" in told[0]["text/plain"]
    for effect in (2.9, float("nan")):
        with pytest.raises(AssertionError, match="does not hold here"):
            claim("{effect} against {control}", effect, 1.0, margin=2)


STARTER, CHECK = (
    "answer = None",
    "@check\ndef exercise_1():\n    need(answer)\n    assert answer == 6, 'off by one'\n    return 'six'",
)


def cell(tag, source, **metadata):
    new = nbformat.v4.new_code_cell if tag in ("exercise", "check") else nbformat.v4.new_markdown_cell
    return new(source, metadata={"tags": [tag], **metadata}, id=tag)


def lesson_of(wrong="answer = 7", solution="answer = 6", says="off by one"):
    cells = [cell("exercise", STARTER), cell("check", CHECK), cell("hint", "<details>")]
    cells.append(cell("wrong", f"<details>\n\n```python\n{wrong}\n```", says=says))
    return nbformat.v4.new_notebook(cells=[*cells, cell("solution", f"<details>\n\n```python\n{solution}\n```")])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, ""),
        ({"wrong": "answer = 6"}, "wrong-check"),
        ({"solution": "answer = 5"}, "solution-check"),
        ({"says": "never said"}, "wrong-check"),
    ],
)
def test_a_finished_notebook_tries_the_wrong_answers_and_the_right_one(told, change, message):
    notebook = worked(lesson_of(**change))
    assert sum("expected" in one.metadata for one in notebook.cells) == 3, "starter, wrong and right answer"
    space = {"check": check, "need": need}
    for one in notebook.cells:
        if one.cell_type == "code":
            before = len(told)
            exec(one.source, space)
            data = [{"output_type": "display_data", "data": {}, "metadata": {"tsfmicro": t}} for t in told[before:]]
            one.outputs = [nbformat.from_dict(output) for output in data]
    if message:
        with pytest.raises(AssertionError, match=message):
            check_answers(notebook)
    else:
        check_answers(notebook)


def outputs(*bundles):
    made = [nbformat.v4.new_output("display_data", data=data) for data in bundles]
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=made, id="charts")])


def test_a_page_shows_a_picture_for_what_lives_in_a_kernel(tmp_path):
    png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    chart, bar = {LIVE[1]: {"data": []}}, {LIVE[0]: {"model_id": "gone"}, "text/plain": "  0%|          | 0/5"}
    assert without_picture(outputs(chart)) == ["charts"]
    whole = outputs(chart | {"image/png": png}, bar, {"text/plain": "said"})
    assert without_picture(whole) == []
    assert to_html(whole, tmp_path / "page.html") == 1
    page = (tmp_path / "page.html").read_text()
    assert "said" in page
    assert "0%|" not in page, "a bar that nobody moves is no news"
    assert len(whole.cells[0].outputs) == 3, "the notebook is as it was"
    assert len(still(whole).cells[0].outputs) == 2


def test_an_explorer_without_a_still_is_found_and_a_bar_is_not():
    notebook = outputs({LIVE[0]: {"model_id": "box"}}, {LIVE[0]: {"model_id": "row"}})
    box = {"model_name": "VBoxModel", "state": {"children": []}}
    row = {"model_name": "HBoxModel", "state": {"children": ["IPY_MODEL_bar"]}}
    state = {"box": box, "row": row, "bar": {"model_name": "FloatProgressModel", "state": {}}}
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": state}}
    assert without_picture(notebook) == ["charts"]


def test_sliders_draw_anew_and_tell_what_is_refused():
    def draw(level):
        if level == 3:
            raise ValueError("no level 3")
        return np.full((4, 4, 3), level, np.uint8) if level else Picture(figsize=(1, 1))

    sliders = Sliders(draw, level=widgets.IntSlider(0, max=9))
    first = sliders.picture
    assert first == sliders._repr_mimebundle_()["image/png"]
    sliders.controls["level"].value = 5
    assert first != (second := sliders.picture)
    sliders.controls["level"].value = 3
    assert "no level 3" in sliders.message.value
    assert sliders.picture == second
    sliders.controls["level"].value = 5
    assert not sliders.message.value


def test_the_ledger_tells_ranges_over_seeds(tmp_path):
    source = 'claim("{effect:.1f} px move, "\n      "{control:.1f} px do not", 3, 1, margin=1)'
    for seed, effect in enumerate((3.0, 5.0)):
        told = {"found": "claim", "claim": "{effect:.1f} px move, {control:.1f} px do not", "effect": effect}
        notebook = outputs({"text/plain": ""})
        notebook.cells[0].source = source
        notebook.cells[0].outputs[0].metadata["tsfmicro"] = told | {"control": 1.0, "margin": 1.0}
        notebook.cells[0].outputs.append(nbformat.from_dict(notebook.cells[0].outputs[0]))
        notebook.cells[0].outputs[1].metadata["tsfmicro"] = told | {"claim": "given up", "control": 1.0, "margin": 1.0}
        nbformat.write(notebook, tmp_path / f"03_early-{seed}.ipynb")
    (tmp_path / "now").mkdir()
    nbformat.write(notebook, tmp_path / "now" / "03_early.ipynb")
    page = markdown(ledger(tmp_path, tmp_path / "now"))
    assert "given up" not in page
    row = page.splitlines()[-1]
    assert "| *effect* px move, *control* px do not | 3 to 5 | 1 to 1 | 2 | 1 | 2 |" in row
    assert worded(sentences(notebook)[0]) in row
    with pytest.raises(ValueError, match="no executed notebook"):
        ledger(tmp_path / "nothing")
