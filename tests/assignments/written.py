"""Answers as a student types them, written by somebody who had not read the checks.

`answers/psN.txt` holds them: `[question] right|wrong: what it does`, then the lines that replace the stub, or that bind
the values asked for. `wrong, survived` passed the checks when they were first tried, `right, refused` failed them;
`wrong, passes` still does, see TEACHER.md; `kept` ones are in the bank for their message,
`added` ones were written later.
"""

import functools
import re
import textwrap
from pathlib import Path

from assignments.solutions import ASSIGNMENTS, beside, cells, checks

#: What the notebook has at hand where an answer is a value and no function; quick networks stand for trained ones.
BEFORE = {
    "flow": "exec(CELLS['own'][1])",
    "crossing": "d = 8 + seed % 57",
    "leak": """
import importlib
from pathlib import Path
import sys
sys.path.insert(0, FOLDER)
number = seed % 4 + 1
program = importlib.import_module(f"program_{number}")
exec(CELLS["noise"][1])""",
    "honest": """
import importlib, sys
sys.path.insert(0, FOLDER)
program = importlib.import_module(f"program_{seed % 4 + 1}")""",
    "find": """
from assignments.bank.ps5 import PLACES
PLACE = PLACES[seed % 4]
samples = checks("ps5").lamp_samples(seed)
test = np.flatnonzero(samples.subjects == samples.subjects[-1])""",
    "effect": """
from assignments.bank.ps5 import PLACES, Lamp
y, x = PLACES[seed % 4]
samples = checks("ps5").lamp_samples(seed)
test = np.flatnonzero(samples.subjects == samples.subjects[-1])
train = np.flatnonzero(samples.subjects != samples.subjects[-1])
model = Lamp(seed)
def accuracy(samples):
    return float(balanced_accuracy_score(samples.label[test].numpy(), predict(model, samples, test).argmax(1)))""",
    "gain": """
import numpy as np
from assignments.bank.ps3 import BUILDS, compared, own_table
samples = checks("ps3")._own_samples(seed)
recipe = Recipe(epochs=3, lr=4e-3, decay=0.97, schedule="exponential")
run, build_late, build_mine = compared, BUILDS["late"], BUILDS["mine"]
table0 = own_table(seed)
RUN = lambda seeds: compared(samples, BUILDS, recipe, seeds)
def GAIN(t):
    mine, late = (t[t.model == m] for m in ("mine", "late"))
    return subject_interval(mine, sorted({*t.truth}), against=late, same_people=True)""",
}
#: Helpers that many of the answers to a question begin with.
INSIDE = {
    "run": """
import numpy as np
from dataclasses import replace
def FRAME(guess):
    out = []
    for name in models:
        for s in seeds:
            for f in leave_one_subject_out(samples.annotations):
                rows = samples.table.loc[f.test, ["subject", "clip", "onset"]].reset_index(drop=True)
                rows["truth"] = samples.names(samples.label[f.test])
                rows["predicted"] = [samples.classes[int(i)] for i in guess(name, s, f)]
                out.append(rows.assign(model=name, seed=s))
    return pd.concat(out, ignore_index=True)
def TRAINED(rows=lambda f: f.train, recipe=recipe, recipe_of=None, seed_of=lambda s: s, fit_seed=None, fresh=True,
            best=False, seeds=seeds, names=None, folds=None, named=True, pick=lambda p: p.argmax(1)):
    out, kept = [], {}
    for name in names or models:
        for s in seeds:
            for f in folds or leave_one_subject_out(samples.annotations):
                if fresh or (name, s) not in kept:
                    kept[name, s] = models[name](len(samples.classes), seed_of(s))
                m, r = kept[name, s], (recipe_of or (lambda n: recipe))(name)
                fit(m, samples, rows(f), r, seed=(fit_seed or seed_of)(s))
                p = predict(m, samples, f.test)
                if best:
                    other = models[name](len(samples.classes), seed_of(s))
                    fit(other, samples, f.train, r, seed=s + 100)
                    o, t = predict(other, samples, f.test), samples.label[f.test].numpy()
                    p = max(p, o, key=lambda q: (q.argmax(1) == t).mean())
                t = samples.table.loc[f.test, ["subject", "clip", "onset"]].reset_index(drop=True)
                t["truth"] = samples.names(samples.label[f.test])
                t["predicted"] = [samples.classes[int(i)] if named else int(i) for i in pick(p)]
                out.append(t.assign(model=name, seed=s))
    return pd.concat(out, ignore_index=True)
"""
}
#: What else of the notebook an answer may change.
MORE = {"effect": ["model", "y", "x"], "gain": ["run", "build_late", "build_mine"]}
#: Seed of a student: such that no lucky guess is right.
SEEDS = {"find": 1, "effect": 2}


@functools.cache
def written(name):
    """Rows of an assignment's file: question, right or wrong, what became of it first, what it does, lines."""
    text = (Path(__file__).parent / "answers" / f"{name}.txt").read_text()
    rows = re.findall(r"^\[(\w+)\] (right|wrong)(?:, (\w+))?: (.*)\n((?:(?!\[\w+\] ).*\n)*)", text, re.MULTILINE)
    assert len(rows) == text.count("\n[") + 1, f"{name}: a line in brackets is no head of an answer"
    return rows


def answer(name, question, body, asked, notebook):
    """What an answer binds, in a notebook where all other questions are answered well."""
    seed, folder = SEEDS.get(question, 3), str(ASSIGNMENTS / "source" / name)
    scope = {**notebook, "seed": seed, "CELLS": cells(name), "checks": checks, "FOLDER": folder}
    exec(BEFORE.get(question, ""), scope)
    if question in ("flow", "crossing", "leak", "find", "effect", "gain"):
        with beside(name):
            exec(compile(body, f"<{question}>", "exec"), scope)
        return {k: scope.get(k) for k in [*asked, *MORE.get(question, [])]} | {"own_seed": seed}
    parts = iter(re.split(r"^def forward.*\n", INSIDE.get(question, "") + body, flags=re.MULTILINE))
    stub = re.compile(r"( *)### BEGIN SOLUTION.*?### END SOLUTION", re.DOTALL)
    source = stub.sub(lambda m: textwrap.indent(next(parts), m[1]), cells(name)[question][1])
    exec(compile(source, f"<{question}>", "exec"), scope)
    return {k: scope[k] for k in asked}
