"""Answers of many kinds to every question, and whether the checks tell right from wrong.

An entry of `bank/psN.py` is (question, kind, what it does, answer, words of the message that a wrong one deserves).
`PYTHONPATH=tests:notebooks:notebooks/assignments:. python -m assignments.mutants` prints the table, and with
`ps1` or `ps1/align` what each answer is told.
"""

import contextlib
import functools
import importlib
import io
import re
import sys
import time
from collections import Counter
from typing import Any, NamedTuple

from assignments.solutions import beside, cells, solutions

from checking import CheckFailed

#: The names that each question asks for; its graded cells are called QUESTION-check and QUESTION-hidden.
QUESTIONS = {
    "ps1": {
        "align": ["align"],
        "difference": ["difference"],
        "apex": ["spot_apex"],
        "error": ["end_point_error"],
        "flow": ["best_method", "best_error"],
    },
    "ps2": {
        "parallel": ["parallel"],
        "recurrent": ["recurrent"],
        "chunkwise": ["chunkwise"],
        "manhattan": ["manhattan_bias"],
        "cost": ["cost"],
        "crossing": ["smallest_n"],
    },
    "ps3": {"fusion": ["Fusion"], "model": ["build_mine"], "run": ["run"], "gain": ["table", "gain"]},
    "ps4": {"uf1": ["uf1"], "pooled": ["score"], "folds": ["folds"], "leak": ["leak"], "honest": ["evaluate"]},
    "ps5": {
        "ig": ["integrated_gradients"],
        "score": ["times_chance"],
        "find": ["stream", "y", "x"],
        "cover": ["cover"],
        "effect": ["before", "after"],
    },
}
WRONG, RIGHT = ("trivial", "shortcut", "typical"), "right"
#: What the grader fills in.
SEED = "seed = 0  # the grader writes the seed of whoever handed in here"


class Entry(NamedTuple):
    """An answer, and what is to become of it."""

    assignment: str
    question: str
    kind: str
    what: str
    answer: Any  #: the one thing that is asked for; or a dict of names, with what else of the notebook is different
    message: str = ""


@functools.cache
def bank(name):
    """All entries of an assignment."""
    return [Entry(name, *row) for row in importlib.import_module(f"assignments.bank.{name}").ENTRIES]


@functools.cache
def graded(name, question):
    """Compiled graded cells of a question, as a grader runs them."""
    found = [
        cells(name)[f"{question}-{part}"][1] for part in ("check", "hidden") if f"{question}-{part}" in cells(name)
    ]
    return [compile(source.replace(SEED, "seed = own_seed"), f"<{question}>", "exec") for source in found]


reference = functools.cache(solutions)


def outcome(name, question, answer):
    """What the checks say: the first failure, or nothing."""
    bound = answer if isinstance(answer, dict) else {QUESTIONS[name][question][0]: answer}
    scope = {"own_seed": 3, **reference(name), **bound}
    with beside(name):
        for cell in graded(name, question):
            said = io.StringIO()
            try:
                with contextlib.redirect_stdout(said):
                    exec(cell, scope)
            except CheckFailed as failure:
                return str(failure)
            assert said.getvalue().startswith("✓ "), f"{question}: no check said that it was passed"
    return ""


@functools.cache
def outcomes(name):
    """Message of every entry of an assignment, nothing where all checks were passed."""
    return [outcome(name, entry.question, entry.answer) for entry in bank(name)]


def table():
    """Rows of what became of the answers to each question."""
    rows = []
    for name, questions in QUESTIONS.items():
        for question in questions:
            pairs = [(e, o) for e, o in zip(bank(name), outcomes(name), strict=True) if e.question == question]
            tried, met = (
                Counter(e.kind for e, _ in pairs),
                Counter(e.kind for e, o in pairs if bool(o) == (e.kind in WRONG)),
            )
            rows.append([f"{name} {question}", *(f"{met[k]} / {tried[k]}" for k in (*WRONG, RIGHT))])
    return [["question", "trivial", "shortcuts", "typical", "right"], *rows]


def wrong(entry, message):
    """Whether the checks said what they should not."""
    return bool(message) != (entry.kind in WRONG) or not re.search(entry.message, message, re.DOTALL)


def show(row):
    """A line of the table, for a page of the documentation."""
    return "| " + " | ".join(row) + " |"


if __name__ == "__main__":
    if not sys.argv[1:]:
        first, *rows = table()
        print(show(first), show(["---"] * len(first)), *map(show, rows), sep="\n")
    for assignment, _, question in (name.partition("/") for name in sys.argv[1:]):
        for entry in (e for e in bank(assignment) if question in ("", e.question)):
            begun = time.process_time()
            try:
                said = outcome(assignment, entry.question, entry.answer)
            except Exception as error:
                said = f"BROKEN {type(error).__name__}: {error}"
            print(
                "!!!" if wrong(entry, said) or said.startswith("BROKEN") else "   ",
                f"{entry.question:11}{entry.kind:9}{time.process_time() - begun:6.2f} {entry.what[:45]:46} {said}",
            )
