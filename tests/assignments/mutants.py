"""Answers of many kinds to every question, and whether the checks tell right from wrong.

An entry of `bank/psN.py` is (question, kind, what it does, answer, words of the message that a wrong one deserves).
Those of `answers/psN.txt` (see `assignments.written`) that the checks once misjudged are in the bank, too.
`PYTHONPATH=tests:notebooks:notebooks/assignments:. python -m assignments.mutants` writes the table of
docs/assignments.md, and with `ps1` or `ps1/align` prints what each answer is told.
"""

import contextlib
import functools
import importlib
import io
import re
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from assignments.solutions import beside, cells, solutions
from assignments.written import answer, written

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
    listed = importlib.import_module(f"assignments.bank.{name}").ENTRIES
    return [Entry(name, *row) for row in listed] + second(name, ("survived", "refused", "kept", "added"))


def second(name, fates):
    """Entries of the second round with one of these fates."""
    return [
        Entry(
            name,
            q,
            RIGHT if kind == RIGHT else "shortcut",
            what,
            answer(name, q, body, QUESTIONS[name][q], reference(name)),
        )
        for q, kind, fate, what, body in written(name)
        if fate in fates
    ]


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
    """Rows: how many answers to each question are tried, and how the second round went before anything was mended."""
    rows = []
    for name, questions in QUESTIONS.items():
        for question in questions:
            tried = Counter(e.kind for e in bank(name) if e.question == question)
            judged = [(kind, fate) for q, kind, fate, *_ in written(name) if q == question and fate != "added"]
            first = Counter((kind, fate in ("", "kept")) for kind, fate in judged)
            new = [f"{first[k, True]} of {first[k, True] + first[k, False]}" for k in ("wrong", RIGHT)]
            rows.append([f"{name} {question}", *(str(tried[k]) for k in (*WRONG, RIGHT)), *new])
    return [["question", "trivial", "shortcuts", "typical", "right", "new wrong, killed", "new right, accepted"], *rows]


def wrong(entry, message):
    """Whether the checks said what they should not."""
    return bool(message) != (entry.kind in WRONG) or not re.search(entry.message, message, re.DOTALL)


PAGE = Path(__file__).parents[2] / "docs" / "assignments.md"
TABLE = re.compile(r"(?<=<!-- table -->\n).*?(?=<!-- end -->)", re.DOTALL)


def page():
    """The table as the documentation has it, with sums."""
    head, *rows = table()
    parts = [[re.findall(r"\d+", cell) for cell in column] for column in list(zip(*rows, strict=True))[1:]]
    sums = [" of ".join(str(sum(int(c[i]) for c in column)) for i in range(len(column[0]))) for column in parts]
    lines = [head, ["---"] * len(head), *rows, ["**all**", *sums]]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    if not sys.argv[1:]:
        PAGE.write_text(TABLE.sub(lambda _: page(), PAGE.read_text()))
    for assignment, _, question in (name.partition("/") for name in sys.argv[1:]):
        tried = [*bank(assignment), *second(assignment, ("", "passes"))]
        for entry in (e for e in tried if question in ("", e.question)):
            begun = time.process_time()
            try:
                said = outcome(assignment, entry.question, entry.answer)
            except Exception as error:
                said = f"BROKEN {type(error).__name__}: {error}"
            print(
                "!!!" if wrong(entry, said) or said.startswith("BROKEN") else "   ",
                f"{entry.question:11}{entry.kind:9}{time.process_time() - begun:6.2f} {entry.what[:45]:46} {said}",
            )
