"""What surrounds the assignments: levels and hints from one source, quizzes."""

import html
import re
import tomllib
from collections import Counter

import nbformat
import pytest
from levels import Level
from nbgrader.preprocessors import ClearSolutions

from assignments.mutants import QUESTIONS
from assignments.solutions import ASSIGNMENTS
from studies import quiz

from repair import Repair, key

HELPS = tomllib.loads((ASSIGNMENTS / "hints.toml").read_text())
LEVELS = ("guided", "normal", "open")


def source(name):
    return nbformat.read(ASSIGNMENTS / "source" / name / f"{name}.ipynb", 4)


def made(name, level):
    notebook, _ = ClearSolutions().preprocess(source(name), {})
    return Level(level=level).preprocess(notebook, {})[0]


def hints(notebook):
    return [c for c in notebook.cells if c.source.startswith("<details><summary>Hint")]


@pytest.mark.parametrize("name", QUESTIONS)
def test_levels_differ_in_help_and_in_nothing_that_is_marked(name):
    guided, normal, free = (made(name, level) for level in LEVELS)
    assert [c.id for c in guided.cells] == [c.id for c in normal.cells]
    assert [c.id for c in free.cells] == [c.id for c in source(name).cells]
    for level in (guided, normal, free):
        nbformat.validate(level)
        assert not re.search("<!-- (way|end) -->", "".join(c.source for c in level.cells))
    graded = [
        [(key(c), c.source) for c in level.cells if c.metadata.get("nbgrader", {}).get("grade")]
        for level in (guided, normal, free)
    ]
    assert graded[0] == graded[1] == graded[2]
    for question in QUESTIONS[name]:
        own = f"{name}-{question}"
        texts = [next(c.source for c in level.cells if key(c) == own) for level in (guided, normal, free)]
        assert texts[1] == texts[2]
        steps = [line.strip() for line in texts[0].splitlines() if re.match(r" *# \d\. ", line)]
        assert len(steps) == len(HELPS[own]["steps"])
        assert [line for line in texts[0].splitlines() if line.strip() not in steps] == texts[1].splitlines()
        compile(texts[0], own, "exec")
        opened = [c.source for c in hints(normal) if c.id.startswith(f"{own}-hint-")]
        assert opened, f"{own} has no hint"
        assert len(opened) == len(HELPS[own]["hints"])
        last = [key(c) if "nbgrader" in c.metadata else c.id for c in normal.cells].index(f"{own}-hint-{len(opened)}")
        assert key(normal.cells[last + 1]).endswith(f"{question}-hidden"), "behind what a student runs"
    assert not hints(free)


def test_every_help_belongs_to_a_question():
    assert set(HELPS) == {f"{name}-{question}" for name, questions in QUESTIONS.items() for question in questions}


def test_the_level_open_says_less_of_the_way():
    assert sum(made(n, "open").cells != made(n, "normal").cells for n in QUESTIONS) == 5
    texts = {n: {c.id: c.source for c in made(n, "open").cells if c.cell_type == "markdown"} for n in QUESTIONS}
    shorter = [n for n in QUESTIONS if any(texts[n].get(c.id, c.source) != c.source for c in made(n, "guided").cells)]
    assert shorter == ["ps1", "ps2", "ps3", "ps5"]


@pytest.mark.parametrize("handed", LEVELS)
@pytest.mark.parametrize("released", LEVELS)
def test_a_notebook_of_any_level_is_marked_against_any_other(tmp_path, monkeypatch, handed, released):
    for step, notebook in (("release", made("ps2", released)), ("source", source("ps2"))):
        path = tmp_path / step / "ps2" / "ps2.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(notebook, path)
    monkeypatch.chdir(tmp_path)
    answers = {key(c): c.source for c in source("ps2").cells if c.metadata.get("nbgrader", {}).get("solution")}
    notebook = made("ps2", handed)
    answers.pop("ps2-words")
    for cell in notebook.cells:
        cell.source = answers.get(key(cell), cell.source)
    repaired, _ = Repair().preprocess(notebook, {"nbgrader": {"assignment": "ps2", "notebook": "ps2"}})
    got = {key(c): c.source for c in repaired.cells}
    assert {name: got[name] for name in answers} == answers
    assert "Hint" not in got["ps2-words"], "a hint is no answer in words"
    assert repaired.metadata.told == []


def test_each_notebook_has_a_quiz_and_each_question_one_right_answer():
    found = quiz.questions()
    lessons = sorted(path.name[:2] for path in (ASSIGNMENTS.parent).glob("[0-9][0-9]_*.ipynb"))
    counted = Counter(question.lesson for question in found)
    assert sorted(counted) == lessons
    assert set(counted.values()) == {4}, "five minutes"
    assert len({question.ask for question in found}) == len(found)
    for question in found:
        assert [right for *_, right in question.choices].count(True) == 1, question.ask
        assert len(question.choices) == 3
        assert len({said for said, *_ in question.choices}) == 3
        assert all(len(reason) >= 15 for _, reason, _ in question.choices), f"{question.ask}: a choice has no reason"
    first = Counter(next(i for i, c in enumerate(question.choices) if c[2]) for question in found)
    assert max(first.values()) < len(found) / 2, "nobody passes by always taking the same place"
    longest = sum(max(question.choices, key=lambda c: len(c[0]))[2] for question in found)
    assert longest < 0.75 * len(found), "nobody passes by always taking the longest"


def test_every_reason_is_shown():
    for question in quiz.questions():
        page = re.sub("</?em>", "", quiz.page(question.lesson))
        for said, reason, right in question.choices:
            said, reason = (html.escape(text.replace("*", "")) for text in (said, reason))
            mark = "✓" if right else "✗"
            assert f"<summary>{said}</summary><p>{mark} {reason}</p>" in page
    assert quiz.page("03").count("✓") == 4
    assert quiz.page("03").count("✗") == 8
