"""The checks tell right answers from wrong ones, with a true sentence, and a point is given for nothing else."""

import ast
import doctest
import linecache
import os
import random
import sys
import types

import numpy as np
import pytest
import torch

from assignments import mutants
from assignments.mutants import QUESTIONS, RIGHT, WRONG, bank, outcome, outcomes, reference, wrong
from assignments.solutions import ASSIGNMENTS, beside, cells, checks

import checking
from checking import CheckBroken, CheckFailed, Work, call, check, compare, converted, expect, variant

ASSIGNED = list(QUESTIONS)


@pytest.mark.parametrize(("name", "question"), [(n, q) for n in ASSIGNED for q in QUESTIONS[n]])
def test_right_answers_pass_and_wrong_ones_are_told_why(name, question):
    tried = [(e, o) for e, o in zip(bank(name), outcomes(name), strict=True) if e.question == question]
    asked = QUESTIONS[name][question]
    if {*asked} <= {*reference(name)}:
        assert not outcome(name, question, {n: reference(name)[n] for n in asked})
    missed = [f"{e.kind}, {e.what}: {said or 'passed'}" for e, said in tried if wrong(e, said)]
    assert not missed, f"{len(missed)} of {len(tried)} answers are misjudged:\n" + "\n".join(missed)
    assert len(tried) >= 20
    assert {e.kind for e, _ in tried} == {*WRONG, RIGHT}
    assert len({e.what for e, _ in tried}) == len(tried)


def test_the_table_of_the_documentation_is_current():
    assert mutants.TABLE.search(mutants.PAGE.read_text())[0] == mutants.page()


@pytest.mark.skipif(not os.environ.get("TSFMICRO_SEEDS"), reason="the whole second round is tried every night")
@pytest.mark.parametrize("name", ASSIGNED)
def test_the_second_round_is_judged_as_told(name):
    tried = [(e, fate) for fate in ("", "passes") for e in mutants.second(name, (fate,))]
    refused = [(e.what, e.kind != RIGHT and not fate, outcome(name, e.question, e.answer)) for e, fate in tried]
    assert not [f"{what}: {said or 'passed'}" for what, wanted, said in refused if bool(said) != wanted]


def messages(source):
    """Texts that a module may tell, by the line they stand in: what is longer than a name and no docstring."""
    tree = ast.parse(source)
    scopes = (ast.Module, ast.ClassDef, ast.FunctionDef)
    described = {
        id(n.body[0].value) for n in ast.walk(tree) if isinstance(n, scopes) and isinstance(n.body[0], ast.Expr)
    }
    texts = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return {n.value: n.lineno for n in texts if len(n.value) > 25 and " " in n.value and id(n) not in described}


@pytest.mark.parametrize("name", ASSIGNED)
def test_every_message_is_seen(name):
    said = "\n".join(outcomes(name))
    hidden = [source for cell, (_, source) in cells(name).items() if cell.endswith("-hidden")]
    for source in [(ASSIGNMENTS / "source" / name / "checks.py").read_text(), *hidden]:
        unseen = {line: text for text, line in messages(source).items() if text not in said}
        assert not unseen, f"no answer of the bank gets these messages (line: text): {unseen}"


@pytest.mark.parametrize("name", ASSIGNED)
def test_examples_of_the_checks_are_right(name):
    with beside(name):
        assert not doctest.testmod(checks(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE).failed


@pytest.mark.parametrize("name", ASSIGNED)
def test_hidden_cells_take_nothing_but_the_answer_from_the_student(name):
    for cell, (meta, source) in cells(name).items():
        if not meta["grade"]:
            continue
        tree = ast.parse(source)
        own = {"globals"} | {
            a.asname or a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names
        }
        own |= {t.id for n in ast.walk(tree) if isinstance(n, ast.Assign) for t in n.targets}
        read = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} - own
        assert read <= {*QUESTIONS[name][cell.rsplit("-", 1)[0]]} | GIVEN.get(name, set()), cell
        assert sum(isinstance(n, ast.Expr) and isinstance(n.value, ast.Call) for n in tree.body) == 1, (
            "one check a cell"
        )


#: What a check needs besides the answer: other answers that it is about.
GIVEN = {"ps3": {"Fusion", "run", "build_late", "build_mine"}}

TAMPERING = {
    "np.allclose": "import numpy as np\nnp.allclose = lambda *a, **k: True",
    "np.abs": "import numpy as np\nnp.abs = np.absolute = lambda *a, **k: np.zeros(1)",
    "torch.allclose": "import torch\ntorch.allclose = torch.equal = lambda *a, **k: True",
    "expect": "import checking\nchecking.expect = lambda *a: None",
    "compare": "import checks\nchecks.compare = lambda *a, **k: None",
    "a method": "import torch\ntorch.Tensor.abs = lambda self: self * 0",
    "a builtin": "import builtins\nbuiltins.abs = lambda x: 0 * x",
}


@pytest.mark.parametrize("what", TAMPERING)
def test_replaced_functions_give_no_point(what):
    parts = [np, torch, torch.Tensor, checking, checks("ps1"), sys.modules["builtins"]]
    kept = [dict(vars(part)) for part in parts]
    scope = {"__name__": "__main__"}
    try:
        with beside("ps1"):
            exec(TAMPERING[what], scope)
        exec("def difference(onset, apex):\n    return onset * 0.0", scope)
        assert outcome("ps1", "difference", scope["difference"])
    finally:
        for part, before in zip(parts, kept, strict=True):
            for name, value in list(vars(part).items()):
                if name not in before:
                    delattr(part, name)
                elif before[name] is not value:
                    setattr(part, name, before[name])
    assert not outcome("ps1", "difference", lambda a, b: b.astype(int) - a)


def test_a_check_that_is_replaced_gives_no_receipt(monkeypatch):
    seen = []
    display = types.SimpleNamespace(publish_display_data=lambda data, metadata: seen.append(metadata))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr(checking, "receipt", "7f3a")
    checks("ps1").check_difference(lambda a, b: b.astype(int) - a)
    assert seen == [{"receipt": "7f3a"}]
    with pytest.raises(CheckFailed):
        checks("ps1").check_difference(lambda a, b: b)
    assert len(seen) == 1, "no receipt for a wrong answer"


def test_a_receipt_is_given_only_where_something_was_asked():
    @check
    def empty():
        """Asks nothing."""

    with pytest.raises(CheckBroken, match="asked nothing"):
        empty()


def student(source, **names):
    """A function as a notebook's cell defines it, of which lines can be shown."""
    linecache.cache["/tmp/ipykernel_1/2.py"] = (len(source), None, source.splitlines(True), "/tmp/ipykernel_1/2.py")
    scope = {**names}
    exec(compile(source, "/tmp/ipykernel_1/2.py", "exec"), scope)
    return scope["f"]


STOPS = [
    ("def f(a):\n    raise NotImplementedError()", "there is nothing here yet"),
    (
        "def f(a):\n    b = a\n    return 1 / 0",
        r"stopped with ZeroDivisionError: division by zero, in line 3 .*`return 1 / 0`",
    ),
    ("def f(a):\n    return g(a)", "NameError: name 'g' is not defined, in line 2"),
    ("def f(a, b):\n    return a", "f cannot be called as the text above says: .* 'b'"),
    ("def f(a):\n    import sys\n    sys.exit(0)", "stopped with SystemExit: 0, in line 3"),
    ("import torch\ndef f(a):\n    return torch.ones(2) @ torch.ones(3)", "RuntimeError: .*, in line 3"),
    ("def f(a):\n    return f(a)", "RecursionError"),
    ("f = 3", "a function or class is wanted here, got int"),
    ("def f(a):\n    pass", "f must return a number, got None: is a `return` missing"),
    ("def f(a):\n    return 'x'", "f must return a number, got str"),
    ("def f(a):\n    return {1: 2}", "f must return a number, got dict"),
    ("def f(a):\n    return 1, 2", "f must return one number, got 2"),
    ("def f(a):\n    return len", "f must return a number, got builtin"),
]


@pytest.mark.parametrize(("source", "message"), STOPS)
def test_an_error_inside_is_the_students_and_shown_with_its_line(source, message):
    @check
    def asks(function):
        """Asks."""
        expect(call(function, 1.0, returns="number") > 0, "never seen")

    with pytest.raises(CheckFailed, match=message) as failure:
        asks(student(source))
    assert failure.value._render_traceback_() == [f"✗ {failure.value}"]


def test_an_error_outside_is_ours():
    @check
    def broken(function):
        """Has a mistake."""
        call(function, 1.0, returns="number")
        raise KeyError("ours")

    with pytest.raises(CheckBroken, match="costs you nothing"):
        broken(student("def f(a):\n    return a"))
    with pytest.raises(ZeroDivisionError):
        call(
            student("def f(a):\n    return a()"), eval(compile("lambda: 1 / 0", "checks.py", "eval")), returns="number"
        )
    with pytest.raises(KeyboardInterrupt):
        call(student("def f(a):\n    raise KeyboardInterrupt"), 1, returns="number")


def test_a_call_gives_copies_and_knows_what_is_called():
    array, table = np.ones(3), [torch.ones(2)]
    assert (
        call(
            student("def f(a, t):\n    a += 1; t[0] += 1; return a.sum() + t[0].sum()"), array, table, returns="number"
        )
        == 10
    )
    assert array.sum() == 3
    assert table[0].sum() == 2
    with pytest.raises(CheckFailed, match=r"f calls random\.\w+: roll no dice"):
        call(
            student("import random\ndef f():\n    return random.randint(1, 6)"),
            returns="number",
            forbids={"random.": "roll no dice"},
        )
    assert call(student("def f(n):\n    return (i for i in range(n))"), 3, returns="items") == [0, 1, 2]


def test_work_sees_the_form_and_not_the_views():
    with Work() as work:
        a = torch.ones(10, 4)
        a[:, None].expand(10, 10, 4)
    assert (work.largest, work.products) == (40, 0)
    with Work() as work:
        (a @ a.T).sum()
    assert (work.largest, work.products) == (100, 2)
    with Work() as work:
        np.ones((500, 500)).sum()
    assert 500 * 500 * 8 <= work.bytes < 500 * 500 * 9


@pytest.mark.parametrize(
    ("got", "right", "same"),
    [
        (np.nan, 1.0, False),
        (-np.inf, -np.inf, True),
        ([0, -np.inf], [1, -np.inf], False),
        (1.00001, 1.0, True),
        (1e-9, 0.0, False),
    ],
)
def test_numbers_are_compared_by_their_size(got, right, same):
    if same:
        compare(got, right, {}, "it")
    else:
        with pytest.raises(CheckFailed, match=r"it (is wrong|holds NaN)"):
            compare(got, right, {}, "it")


def test_a_check_is_quiet_and_leaves_random_states_alone(capsys):
    @check
    def noisy(function):
        """Is quiet."""
        expect(call(function, returns="number") < 1, "")

    states = torch.get_rng_state(), random.getstate(), str(np.random.get_state())  # noqa: NPY002
    noisy(student("import sys, torch\ndef f():\n    print('much', file=sys.stderr)\n    return torch.rand(9)[0]"))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (random.getstate(), str(np.random.get_state())) == states[1:]  # noqa: NPY002
    assert capsys.readouterr() == ("✓ Is quiet.\n", "")


def test_data_hang_on_name_and_course():
    names = [f"student {i}" for i in range(200)]
    assert len({variant(n) for n in names}) > 195
    assert {variant(n) % 8 for n in names} == set(range(8)), "every leak and every lamp occurs"
    assert variant("Ada") == variant(" ada ") != variant("ada", 2)


def test_a_value_is_told_from_what_it_should_be():
    assert converted(torch.tensor([2.0]), "whole", "x must be") == 2
    for value, kind, message in (
        (2.5, "whole", "a whole number, got 2.5"),
        (np.nan, "whole", "whole"),
        ([[1], [2, 3]], "array", "list"),
    ):
        with pytest.raises(CheckFailed, match=message):
            converted(value, kind, "x must be")
