"""The whole way by nbgrader: released, collected, repaired, marked in bubblewrap, shown, exported."""

import ast
import copy
import itertools
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pandas as pd
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from nbgrader.api import Gradebook
from nbgrader.apps import NbGraderAPI
from traitlets.config.loader import PyFileConfigLoader

from assignments.solutions import ASSIGNMENTS

import containment
import exporting
import mark
import marking
import oral
import report
import similarity
from harmless import ForStudents, Harmless
from repair import Repair, key

NAMES = ["ps1", "ps2", "ps3", "ps4", "ps5"]
#: Marked by nbgrader from end to end; all of them in the nightly check.
MARKED = NAMES if os.environ.get("TSFMICRO_SEEDS") else ["ps4"]
ROSTER = """id,first_name,last_name,email,lms_user_id
ada,Ada,Lovelace,ada@example.org,4711
ben,Ben,Nevis,ben@example.org,4712
cleo,Cleo,de Mérode,cleo@example.org,4713
gus,Gus,Gorman,gus@example.org,4714
kim,=Kim,Possible,kim@example.org,4715
zoe,Zoe,Absent,zoe@example.org,4716
"""


def contained():
    try:
        containment.refuse_without(manager := containment.ContainedKernelManager())
        manager.temporary.cleanup()
    except RuntimeError as error:
        return str(error)
    return ""


def kernels():
    return set(Path(tempfile.gettempdir()).glob("marking-*/sockets/*"))


WHY_NOT = contained()
needs_bwrap = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)


def nbgrader(folder, *command):
    line = [sys.executable, "-W", "ignore", "-m", "nbgrader", *command]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True)


def open_course(folder, names=NAMES):
    """A copy of the course with its assignments released, in this process: a command needs seconds to start."""
    slow = "c.Execute.timeout, c.Contained.seconds = 300, 900  # a machine that others use, too\n"
    made = shutil.ignore_patterns("release", "submitted", "autograded", "feedback", "downloaded", "*.db", "__pycache__")
    shutil.copytree(ASSIGNMENTS, folder, dirs_exist_ok=True, ignore=made)
    with (folder / "nbgrader_config.py").open("a") as config:
        config.write(slow + ('c.ContainedKernelManager.tool = "trust"\n' if WHY_NOT else ""))
    for path in (folder / "source").glob("*/*.ipynb"):
        path.write_text(path.read_text().replace('"course = 1"', '"course = 7"'))  # as a teacher does every term
    generate(folder, names)
    return folder


def generate(folder, names):
    """Releases assignments."""
    path, here = list(sys.path), Path.cwd()
    api = NbGraderAPI(config=PyFileConfigLoader("nbgrader_config.py", path=str(folder)).load_config())
    for name in names:
        result = api.generate_assignment(name)
        assert result["success"], result
    sys.path[:] = path
    assert Path.cwd() == here


def read(folder, name, step="release"):
    return nbformat.read(folder / step / name / f"{name}.ipynb", 4)


def meta(cell):
    return cell.metadata.get("nbgrader", {})


def solve(folder, name, student, only=None, edit=None):
    """Hands in the release with the solutions, or with some of them."""
    released = read(folder, name)
    answers = {key(c): c.source for c in read(folder, name, "source").cells if meta(c).get("solution")}
    for cell in released.cells:
        if meta(cell).get("solution") and (only is None or key(cell).split("-", 1)[1] in only):
            cell.source = answers[key(cell)]
        if cell.source.startswith("me = "):
            cell.source = f'me = "{student}"'
    put(folder, name, student, (edit or (lambda notebook: None))(released) or released)


def put(folder, name, student, notebook):
    path = folder / "submitted" / student / name / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


def cell_of(notebook, grade_id):
    return next(c for c in notebook.cells if key(c) == grade_id)


def scores(folder, student, name):
    with Gradebook(f"sqlite:///{folder}/gradebook.db") as book:
        grades = book.find_submission_notebook(name, name, student).grades
        return {grade.name.removeprefix(f"{name}-"): grade.score for grade in grades}


def total(folder, student, name):
    return sum(scores(folder, student, name).values())


HOSTILE = """
def uf1(truth, predicted, classes):
    return 1.0

import os, socket, subprocess, sys
from functools import partial
from pathlib import Path

did, course = {}, Path(COURSE)

def attempt(name, action):
    try:
        did[name] = str(action())
    except BaseException as error:
        did[name] = type(error).__name__

attempt("gradebook", lambda: (course / "gradebook.db").read_bytes())
attempt("source", lambda: (course / "source/ps4/ps4.ipynb").read_text())
attempt("others", lambda: (course / "submitted/ada/ps4/ps4.ipynb").read_text())
attempt("notebooks", lambda: [str(p) for p in Path("/").rglob("*.ipynb") if "site-packages" not in str(p)])
attempt("write system", lambda: Path("/usr/x").write_text("x"))
attempt("write root", lambda: Path("/x").write_text("x"))
attempt("write packages", lambda: Path(sys.prefix, "x").write_text("x"))
attempt("write checks", lambda: Path("/given/checks.py").write_text("x"))
attempt("write devices", lambda: Path("/dev/x").write_text("x"))
pattern = Path("/proc/sys/kernel/core_pattern")
attempt("write kernel", lambda: pattern.write_text(pattern.read_text()))
attempt("write own", lambda: Path("checks.py").write_text("check_uf1 = print"))
attempt("network", lambda: socket.create_connection(("192.0.2.1", 80), 2))
attempt("docker", lambda: socket.socket(socket.AF_UNIX).connect("/var/run/docker.sock"))
attempt("bus", lambda: socket.socket(socket.AF_UNIX).connect("/run/dbus/system_bus_socket"))
attempt("others run", lambda: len([p for p in os.listdir("/proc") if p.isdigit()]))
attempt("secrets", lambda: os.environ["SECRET_OF_THE_TEACHER"])
attempt("kill parent", lambda: [os.kill(os.getppid(), 9), os.kill(1, 9)])
attempt("too much memory", lambda: bytearray(10**11))
attempt("fill the disk", lambda: [Path(f"/tmp/{i}").write_bytes(bytes(60 << 20)) for i in range(20)])
attempt("stray", lambda: len([subprocess.Popen(["sleep", "4242"], start_new_session=True) for i in range(50)]))
raise ValueError(str(did))
"""
TAMPER = """
import numpy as np
get_ipython().input_transformers_cleanup.append(lambda lines: ["print('✓ all is right')"])
np.allclose = lambda *a, **k: True
"""


def breaks(notebook):
    """An honest student's accidents: a doubled cell, a changed id, lost metadata, an answer in a new cell."""
    cells = notebook.cells
    doubled = copy.deepcopy(cell_of(notebook, "ps4-uf1"))
    doubled.source, doubled.id = "def uf1(truth, predicted, classes):\n    return 0.5", "first-try"
    cells.insert(cells.index(cell_of(notebook, "ps4-uf1")), doubled)
    cell_of(notebook, "ps4-pooled").metadata.nbgrader.grade_id = "ps4-renamed"
    lost = cell_of(notebook, "ps4-folds")
    lost.metadata, lost.id = {}, "other"
    new = new_code_cell(
        "from sklearn.linear_model import LogisticRegression\n\n" + cell_of(notebook, "ps4-honest").source
    )
    cells.insert(cells.index(cell_of(notebook, "ps4-honest")) + 1, new)
    cell_of(notebook, "ps4-honest").source = "def evaluate(*data):\n    # later\n    raise NotImplementedError()"
    cells.remove(cell_of(notebook, "ps4-honest-check"))
    cell_of(notebook, "ps4-leak-hidden").source = "pass"
    cell_of(
        notebook, "ps4-words"
    ).source = "It <b>leaks</b>.<script>run()</script><img src=x onerror=run()> [a](javascript:run()) and so on"


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    folder = open_course(tmp_path_factory.mktemp("courses") / "autumn")
    shutil.copytree(folder, folder.parent / "untouched")
    return folder


@pytest.fixture(scope="module")
def marked(course):
    """A class, collected and marked by the commands of the teacher's guide."""
    (course / "roster.csv").write_text(ROSTER)
    for name in MARKED:
        solve(course, name, "ada")
    solve(course, "ps4", "ben", only=[])
    solve(course, "ps4", "cleo", edit=breaks)
    hostile = HOSTILE.replace("COURSE", repr(str(course)))
    solve(course, "ps4", "gus", ["folds"], lambda n: cell_of(n, "ps4-uf1").update(source=hostile) and None)
    solve(course, "ps4", "kim", [], lambda n: cell_of(n, "ps4-uf1").update(source=TAMPER) and None)
    (course / "submitted/lea/ps4").mkdir(parents=True)
    (course / "submitted/lea/ps4/ps4.ipynb").write_text("this is no notebook")
    os.environ["SECRET_OF_THE_TEACHER"] = "x"
    with Gradebook(f"sqlite:///{course}/gradebook.db") as book:
        for row in pd.read_csv(course / "roster.csv", dtype=str).to_dict("records"):
            book.update_or_create_student(row.pop("id"), **row)
    before = kernels()
    said = {name: mark.main(course, name, 2) for name in MARKED}
    del os.environ["SECRET_OF_THE_TEACHER"]
    return SimpleNamespace(course=course, said=said, kernels=before)


@pytest.mark.parametrize("name", MARKED)
def test_the_solution_gets_all_points(marked, name):
    checks = {q: s for q, s in scores(marked.course, "ada", name).items() if q != "words"}
    assert sum(checks.values()) == 16, checks


def test_the_untouched_release_gets_none_and_no_words_wait(marked):
    assert total(marked.course, "ben", "ps4") == 0
    with Gradebook(f"sqlite:///{marked.course}/gradebook.db") as book:
        waits = {s: book.find_submission("ps4", s).needs_manual_grade for s in ("ada", "ben")}
    assert waits == {"ada": True, "ben": False}


def test_an_honest_students_accidents_cost_nothing_and_are_told(marked):
    assert total(marked.course, "cleo", "ps4") == 16
    told = " ".join(nbformat.read(marked.course / "autograded/cleo/ps4/ps4.ipynb", 4).metadata.told)
    for cell in ("ps4-uf1", "ps4-pooled", "ps4-folds", "ps4-honest"):
        assert f"{cell}: repaired" in told
    assert nbformat.read(marked.course / "autograded/ada/ps4/ps4.ipynb", 4).metadata.told == []


@needs_bwrap
def test_hostile_code_loses_its_own_points_and_reaches_nothing(marked):
    got = scores(marked.course, "gus", "ps4")
    assert got["uf1-check"] == got["uf1-hidden"] == 0, "files of its own are not taken for the checks"
    assert got["folds-check"] == 2
    cell = cell_of(nbformat.read(marked.course / "autograded/gus/ps4/ps4.ipynb", 4), "ps4-uf1")
    did = ast.literal_eval(next(o.evalue for o in cell.outputs if o.output_type == "error"))
    assert {did.pop(name) for name in ("gradebook", "source", "others", "docker", "bus")} == {"FileNotFoundError"}
    assert did.pop("notebooks") == "[]", "not even its own: hidden tests are in it"
    assert {did.pop(name) for name in list(did) if name.startswith("write") and name != "write own"} == {"OSError"}
    assert int(did.pop("others run")) <= 3
    assert did.pop("stray") == "50"
    assert did.pop("kill parent") == "[None, None]", "it is not the parent that it sees"
    expected = {"network": "OSError", "secrets": "KeyError", "too much memory": "MemoryError"}
    assert did.items() >= {**expected, "fill the disk": "OSError"}.items(), did
    assert not [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "4242"]]
    assert kernels() <= marked.kernels


def test_cells_that_are_run_otherwise_get_no_points_and_are_told(marked):
    assert total(marked.course, "kim", "ps4") == 0
    told = nbformat.read(marked.course / "autograded/kim/ps4/ps4.ipynb", 4).metadata.told
    assert "the notebook changes how cells are run: a person must look at it" in told


def test_an_odd_file_is_named_and_stops_nobody(marked):
    assert marked.said["ps4"][0].startswith("lea: NOT MARKED, nothing was written: ")
    assert "NotJSONError: Notebook does not appear to be JSON: 'this is no notebook'" in marked.said["ps4"][0]
    assert marked.said["ps4"][-1] == "ps4: 5 marked, 1 not marked, 5 pages written"
    table = report.collect(marked.course, "ps4")[0]
    assert "lea" not in set(table.student)


def test_only_what_changed_is_marked_and_written_again(marked):
    course = marked.course
    (course / "submitted/lea/ps4/ps4.ipynb").unlink()
    assert mark.main(course, "ps4", 1)[-1] == "ps4: 0 marked, 0 not marked, 0 pages written"
    with Gradebook(f"sqlite:///{course}/gradebook.db") as book:
        grade = book.find_grade("ps4-words", "ps4", "ps4", "cleo")
        grade.manual_score, grade.needs_manual_grade = 3, False
        book.find_comment("ps4-words", "ps4", "ps4", "cleo").manual_comment = "well argued"
        book.db.commit()
    assert mark.main(course, "ps4", 1)[-1] == "ps4: 0 marked, 0 not marked, 1 pages written"
    assert "well argued" in (course / "feedback/cleo/ps4/ps4.html").read_text()
    assert total(course, "cleo", "ps4") == 19


def test_feedback_shows_messages_and_neither_hidden_tests_nor_active_content(marked):
    pages = {p.parts[-3]: p.read_text() for p in (marked.course / "feedback").glob("*/ps4/ps4.html")}
    assert set(pages) == {"ada", "ben", "cleo", "gus", "kim"}
    assert "there is nothing here yet" in pages["ben"]
    hidden = [
        re.findall("BEGIN HIDDEN TESTS\n(.*?)###", c.source, re.S) for c in read(marked.course, "ps4", "source").cells
    ]
    lines = {line.strip() for part in itertools.chain(*hidden) for line in part.splitlines() if len(line) > 20}
    lines = {line for line in lines if not line.startswith("from checks import")}  # the visible check has it, too
    assert lines
    for page in pages.values():
        text = re.sub("<[^>]*>", "", page)
        assert not [line for line in lines if line in text]
        assert "BEGIN HIDDEN" not in page
    page = pages["cleo"]
    assert "<script>run" not in page
    assert not re.search(r"<img[^>]*onerror", page)
    assert not re.search(r"href=.javascript", page)
    assert "leaks" in page
    assert "ps4-uf1: repaired, the last of 2 cells counts" in page
    assert "repaired, " not in pages["ada"]
    assert "✓ Every subject is tested once" in pages["ada"]
    assert "ps4-uf1-check, ps4-uf1-hidden, ps4-pooled-check" in pages["ben"], "at the top, by what the checks said"
    assert "Hint 1" not in page


def test_marks_for_learning_platforms_leave_what_waits_empty(marked, monkeypatch):
    course = marked.course
    monkeypatch.chdir(course)
    with Gradebook(f"sqlite:///{course}/gradebook.db") as book:
        exporting.Moodle(to="moodle.csv").export(book)
    table = pd.read_csv(course / "moodle.csv").set_index("ID number")
    assert pd.isna(table.loc["ada", "ps4"]), "its words wait for a mark"
    assert table.loc["ben", "ps4"] == 0
    assert pd.isna(table.loc["zoe", "ps4"]), "who handed in nothing has no mark, not zero"
    assert table.loc["kim", "First name"] == "'=Kim", "no spreadsheet takes a name for a formula"
    with Gradebook(f"sqlite:///{course}/gradebook.db") as book:
        exporting.Canvas(to="canvas.csv", assignment=["ps4"]).export(book)
    canvas = pd.read_csv("canvas.csv", dtype=str)
    assert canvas.iloc[0, [0, -1]].tolist() == ["    Points Possible", "20"]
    assert canvas.set_index("SIS User ID").loc["ben", ["Student", "ID", "ps4"]].tolist() == ["Nevis, Ben", "4712", "0"]


def test_the_class_report_counts_messages_and_says_what_to_look_at(marked):
    text = report.main(marked.course, "ps4").read_text()
    for expected in ("ps4-uf1-check", "there is nothing here yet", "discrimination", "changes how cells are run"):
        assert expected in text
    table, _ = report.collect(marked.course, "ps4")
    questions = report.questions(table)
    assert questions.difficulty.dropna().between(0, 1).all()
    assert questions.loc["ps4-folds-check", "difficulty"] == 0.6, "three of five have it"
    wrong = report.misconceptions(table)
    assert wrong.students.max() >= 1
    assert not wrong.message.str.contains(r"\d\.\d").any(), "the same mistake with another number is the same mistake"


@pytest.fixture
def repair(course, monkeypatch):
    """What Repair makes of a notebook of ps4, and what it tells."""
    monkeypatch.chdir(course)

    def run(notebook):
        resources = {"nbgrader": {"assignment": "ps4", "notebook": "ps4"}}
        repaired, _ = Repair().preprocess(copy.deepcopy(notebook), resources)
        return repaired, repaired.metadata.told

    return run


def answered(course):
    solve(course, "ps4", "repair")
    notebook = nbformat.read(course / "submitted/repair/ps4/ps4.ipynb", 4)
    shutil.rmtree(course / "submitted/repair")
    return notebook


def sources(notebook):
    return {key(c): c.source for c in notebook.cells if meta(c)}


def test_a_sound_notebook_stays_as_it_is(course, repair):
    notebook = answered(course)
    notebook.cells.insert(6, new_code_cell("def helper():\n    return 1"))
    repaired, told = repair(notebook)
    assert [c.source for c in repaired.cells] == [c.source for c in notebook.cells]
    assert told == []


@pytest.mark.parametrize("accident", ["all ids and metadata", "order", "one cell", "copies", "Jupyter ids", "a check"])
def test_accidents_are_repaired(course, repair, accident):
    notebook, whole = answered(course), sources(answered(course))
    if accident == "all ids and metadata":
        for cell in notebook.cells:
            cell.metadata, cell.id = {}, f"x{id(cell)}"
    elif accident == "order":
        notebook.cells = notebook.cells[::-1]
    elif accident == "one cell":
        answers = [c for c in notebook.cells if meta(c).get("solution") and c.cell_type == "code"]
        notebook.cells.append(new_code_cell("\n".join(c.source for c in answers)))
        notebook.cells = [c for c in notebook.cells if c not in answers]
    elif accident == "copies":
        notebook.cells += copy.deepcopy(notebook.cells)
    elif accident == "Jupyter ids":
        for cell in notebook.cells:
            cell.id = f"x{id(cell)}"
    else:
        notebook.cells.remove(cell_of(notebook, "ps4-uf1-hidden"))
    repaired, told = repair(notebook)
    assert [key(c) for c in repaired.cells if meta(c)] == list(whole)
    for name, text in sources(repaired).items():
        assert text == whole[name] or (accident == "one cell" and whole[name] in text), name
    assert bool(told) == (accident != "Jupyter ids")


def test_of_several_answers_the_last_that_is_no_stub_wins(course, repair):
    notebook = answered(course)
    cell = cell_of(notebook, "ps4-uf1")
    stub = cell_of(read(course, "ps4"), "ps4-uf1").source
    for text in ("def uf1(*a):\n    return 1", "def uf1(*a):\n    return 2", stub):
        other = copy.deepcopy(cell)
        other.source = text
        notebook.cells.append(other)
    repaired, told = repair(notebook)
    assert cell_of(repaired, "ps4-uf1").source == "def uf1(*a):\n    return 2"
    assert "ps4-uf1: repaired, the last of 3 cells counts" in told


@pytest.mark.parametrize(
    "text",
    [
        "<script>run()</script>",
        "<iframe src=x></iframe>",
        "<img src=x onerror=run()>",
        "<style>body{display:none}</style>",
        "<svg onload=run()>",
        "<scr<script>ipt>run()</script>",
        "[a](javascript:run())",
        "<a href='java\nscript:run()'>a</a>",
        "<!--><img src=x onerror=run()>-->",
        "<math><mi xlink:href='javascript:run()'>",
    ],
)
def test_active_content_is_gone_before_anybody_renders_it(text):
    from nbconvert.exporters import HTMLExporter

    outputs = [
        new_output(
            "display_data", {"text/html": text, "text/latex": text, "text/markdown": text, "image/svg+xml": text}
        ),
        new_output("display_data", {"image/png": f'">{text}', "application/javascript": text, "text/plain": text}),
        new_output("display_data", {"image/png": "aGk="}, metadata={"image/png": {"width": f'1">{text}'}}),
        new_output("stream", text=text),
        new_output("error", ename="E", evalue=text, traceback=[text]),
    ]
    cells = [new_markdown_cell(text), new_code_cell(f"# {text}", outputs=outputs)]
    notebook = new_notebook(cells=cells, metadata={"widgets": {"x": text}, "told": ["a word"]})
    clean, _ = Harmless()(notebook, {})
    page = HTMLExporter(template_name="basic").from_notebook_node(clean)[0]
    shown = re.sub(r"<(script|style)[^>]*(mathjax|require)[^>]*>.*?</\1>", "", page, flags=re.S | re.I)
    assert not re.search(r"<(script|iframe|style|svg|math|img (?!alt|src=.data:image/png))", shown, re.I), shown
    assert not re.search(r"<[^>]*(onerror|onload|javascript:)", shown)
    assert clean.metadata == {"told": ["a word"]}


def test_tables_pictures_and_plain_text_stay():
    table = "<table><tbody><tr><td>1 &lt; 2</td></tr></tbody></table>"
    outputs = [new_output("display_data", {"text/html": table, "image/png": "aGk=", "text/plain": "a < b"})]
    cells = [new_markdown_cell("1 < 2 and > quote, `a < b`"), new_code_cell("", outputs=outputs)]
    clean, _ = Harmless()(new_notebook(cells=copy.deepcopy(cells)), {})
    assert clean.cells[0].source == "1 < 2 and > quote, `a < b`"
    assert clean.cells[1].outputs[0].data == outputs[0].data


def test_a_feedback_page_has_no_output_but_those_of_checks():
    said = [new_output("stream", text="the hidden test is …")]
    graded = {"nbgrader": {"grade": True, "solution": False, "grade_id": "x", "points": 1}}
    text = "# 1 point\n### BEGIN HIDDEN TESTS\nsecret()\n### END HIDDEN TESTS"
    cells = [new_code_cell("1", outputs=said), new_code_cell(text, outputs=said, metadata=graded)]
    page, _ = ForStudents()(new_notebook(cells=cells), {})
    assert page.cells[0].outputs == []
    assert page.cells[1].outputs == said
    assert "secret" not in page.cells[1].source


ARCHIVE = {
    "Ada Lovelace_101_assignsubmission_file_/homework final (1).ipynb": "ada",
    "deméroecleo_LATE_4713_900_ps4.ipynb": "cleo",
    "gormangus_4714_901_ps4.ipynb": "gus, his first",
    "gormangus_4714_902_ps4-2.ipynb": "gus",
    "kim_ps4.ipynb": "kim",
    "ben/ps4-Copy1.ipynb": "ben",
    "Nobody Known_ps4.ipynb": "Nobody_Known",
    "ps4.ipynb": "lost",
    "ben/notes.txt": "no notebook",
}


def test_the_guides_commands_take_files_of_moodle_canvas_and_people(tmp_path):
    """The ten commands, as they are printed; those that install are left out. The files are no notebooks here."""
    folder = open_course(tmp_path / "course", names=[])
    (folder / "roster.csv").write_text(ROSTER)
    archive = folder / "downloaded/ps4/archive"
    archive.mkdir(parents=True)
    with zipfile.ZipFile(archive / "all.zip", "w") as packed:
        for name, text in ARCHIVE.items():
            packed.writestr(name, text)
    block = re.search("```\n(.*?)```", (ASSIGNMENTS / "TEACHER.md").read_text(), re.S)[1].replace("ps1", "ps4")
    lines = [shlex.split(line) for line in block.splitlines()]
    assert len(lines) == 10
    said = {}
    if not os.environ.get("TSFMICRO_SEEDS"):  # what nbgrader alone does is asked of it every night
        generate(folder, ["ps4"])
        with Gradebook(f"sqlite:///{folder}/gradebook.db") as book:
            for row in pd.read_csv(folder / "roster.csv", dtype=str).to_dict("records"):
                book.update_or_create_student(row.pop("id"), **row)
    for program, *words in lines[3 if os.environ.get("TSFMICRO_SEEDS") else 6 :]:
        if program == "nbgrader":
            done = nbgrader(folder, *words)
        else:
            done = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True)
        assert done.returncode == (words[0] == "mark.py"), (words, done.stderr)
        said[words[0]] = done.stdout + done.stderr
    found = {p.parts[-3]: p.read_text() for p in (folder / "submitted").rglob("*.ipynb")}
    assert found == {name: name for name in ("ada", "cleo", "gus", "kim", "ben", "Nobody_Known")}
    assert "ps4.ipynb: not collected, its name says no student: rename it" in said["zip_collect"]
    assert "Nobody Known is not on the roster, collected as Nobody_Known" in said["zip_collect"]
    assert "an earlier attempt than" in said["zip_collect"]
    assert said["mark.py"].count("NOT MARKED, nothing was written: NotJSONError") == 6
    assert "ada: " not in said["mark.py"].splitlines()[-1]
    assert pd.read_csv(folder / "moodle.csv").ps4.isna().all()
    assert "NOT MARKED" in (folder / "ps4.html").read_text()


def test_a_copy_with_other_names_is_more_alike_than_any_other_pair(tmp_path):
    lines = (
        "def f({a}, {b}, {c}):",
        "    {d} = []",
        "    for {e} in {c}:",
        "        {d}.append(sum(({a} == {e}) & ({b} == {e})))",
    )
    loop = "\n".join([*lines, "    return {d}"])
    codes = {
        "ada": loop.format(a="t", b="p", c="names", d="s", e="c"),
        "eve": "# mine\n" + loop.format(a="x", b="y", c="k", d="out", e="j"),
        "ben": "def f(t, p, names):\n    return [((t == c) & (p == c)).sum() for c in names]",
        "cleo": "def f(t, p, names):\n    m = confusion(t, p)\n    return 2 * m.diagonal() / (m.sum(0) + m.sum(1))",
        "syntax": "def f(t, p, names:",
    }
    info = {"nbgrader": {"grade_id": "ps4-uf1", "solution": True, "grade": False}}
    for student, code in codes.items():
        path = tmp_path / "autograded" / student / "ps4" / "ps4.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(new_notebook(cells=[new_code_cell(code, metadata=info)]), path)
    table = similarity.pairs(tmp_path, "ps4")
    assert table.loc[0, ["one", "other", "alike"]].tolist() == ["ada", "eve", 1.0]
    assert (table.alike[1:] < 0.5).all()


def test_oral_questions_are_about_a_students_own_lines(course):
    code = {
        key(c): c.source
        for c in read(course, "ps4", "source").cells
        if meta(c).get("solution") and c.cell_type == "code"
    }
    asked = oral.questions(code, "ps4/ada")
    assert len(set(asked)) == 5
    assert asked == oral.questions(code, "ps4/ada") != oral.questions(code, "ps4/ben")
    for question in asked:
        name, line, quoted = re.match(r"(\S+), line (\d+): .*?`(.*)`", question).groups()
        assert quoted in code[name].splitlines()[int(line) - 1]
    assert oral.questions({"x": "def f(:"}, "ada") == []


def lone(folder, code, **settings):
    """Marks one submission of ps4 in this process, its first answer replaced by some code."""
    solve(folder, "ps4", "lone", ["uf1", "pooled"], lambda n: cell_of(n, "ps4-folds").update(source=code) and None)
    config = PyFileConfigLoader("nbgrader_config.py", path=str(folder)).load_config()
    for name, value in settings.items():
        part, trait = name.split("__")
        config[part][trait] = value
    return NbGraderAPI(config=config).autograde("ps4", "lone")


@pytest.fixture
def small(course, tmp_path):
    """A course in which nobody has handed in."""
    return Path(shutil.copytree(course.parent / "untouched", tmp_path / "small"))


def not_marked(folder, result, why):
    assert not result["success"]
    assert why in result["log"] + result["error"]
    assert not (folder / "autograded/lone/ps4").exists()
    with Gradebook(f"sqlite:///{folder}/gradebook.db") as book:
        assert all(grade.auto_score is None for grade in book.find_submission("ps4", "lone").notebooks[0].grades)
        assert exporting.score(book, "ps4", "lone") == "", "no mark is not zero points"


@needs_bwrap
def test_what_ends_the_program_costs_only_what_comes_after_it(small):
    tries = "try:\n        print('x' * 10**6)\n        time.sleep(0.1)\n    except BaseException:\n        pass"
    result = lone(small, f"import time\nwhile True:\n    {tries}", Execute__timeout=14, Contained__seconds=19)
    assert result["success"], result
    assert scores(small, "lone", "ps4")["uf1-check"] == 2
    assert scores(small, "lone", "ps4")["folds-check"] == 0
    page = small / "autograded/lone/ps4/ps4.ipynb"
    assert page.stat().st_size < 4 * 2**20
    assert "the program was ended" in nbformat.read(page, 4).metadata.told[0]
    shared = "import mmap\nm = mmap.mmap(-1, 6 << 30)\nwhile m.tell() < 6 << 30:\n    m.write(bytes(1 << 20))"
    shutil.rmtree(small / "autograded")
    lone(small, shared)
    told = nbformat.read(page, 4).metadata.told
    assert told == ["the program was ended: more than 4096 MB of memory"]
    assert scores(small, "lone", "ps4")["uf1-check"] == 2


def test_errors_of_ours_mark_nothing_and_say_so(small, monkeypatch):
    broken = small / "source/ps4/checks.py"
    text = broken.read_text()
    broken.write_text(
        text + "\nclass CheckBroken(Exception): ...\ndef check_uf1(f): raise CheckBroken('a table is lost')\n"
    )
    not_marked(small, lone(small, "pass"), "a check is broken, so nothing is marked: a table is lost")
    broken.unlink()
    not_marked(small, lone(small, "pass"), "a check is broken, so nothing is marked: No module named 'checks'")
    broken.write_text(text)

    def full(*arguments, **settings):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(containment.shutil, "copytree", full)
    not_marked(small, lone(small, "pass"), "No space left on device")
    monkeypatch.undo()
    monkeypatch.setattr(containment, "SYSTEM", ["/nowhere"])
    if not WHY_NOT:
        not_marked(small, lone(small, "pass"), "student code is not run here: bwrap does not work")
    not_marked(
        small, lone(small, "pass", ContainedKernelManager__tool="podman"), "podman does not work on this machine"
    )


def test_an_interrupt_marks_nothing_and_says_so(small):
    solve(
        small, "ps4", "lone", [], lambda n: cell_of(n, "ps4-uf1").update(source="import time\ntime.sleep(99)") and None
    )
    before = kernels()
    line = [sys.executable, "-W", "ignore", "-m", "nbgrader", "autograde", "ps4", "--student=lone"]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # what runs in the background is born deaf to it
    running = subprocess.Popen(line, cwd=small, stderr=subprocess.PIPE, text=True, preexec_fn=heard)
    while not kernels() - before and running.poll() is None:
        time.sleep(0.1)
    time.sleep(1)
    running.send_signal(signal.SIGINT)
    said = running.communicate(timeout=60)[1]
    assert running.returncode
    not_marked(small, {"success": False, "log": said, "error": ""}, "Canceled")
    assert not kernels() - before


@pytest.mark.parametrize(
    ("outputs", "points"),
    [
        ([("display_data", {"metadata": {"receipt": "r"}})], True),
        ([("display_data", {"metadata": {"receipt": "other"}})], False),
        ([("execute_result", {"data": {"text/plain": "3"}})], False),
        ([], False),
        ([("error", {"ename": "CheckFailed", "evalue": "x"}), ("display_data", {"metadata": {"receipt": "r"}})], False),
        ([("stream", {"name": "stderr", "text": "a warning"}), ("display_data", {"metadata": {"receipt": "r"}})], True),
    ],
)
def test_a_point_is_given_because_a_check_said_so(outputs, points):
    counted = marking.verdict([new_output(kind, **settings) for kind, settings in outputs], "r")
    assert all(o.output_type != "error" for o in counted) == points
    assert len(counted) == 1


def test_the_seed_is_that_of_the_name_in_the_notebook(course):
    from checking import variant

    resources = {"nbgrader": {"student": "4711_file", "db_url": f"sqlite:///{course}/gradebook.db"}}
    notebook = new_notebook(cells=[new_code_cell("import x\n\ncourse = 3"), new_code_cell("me = 'Ada L.'  # name")])
    assert marking.seed_of(notebook, resources) == variant("Ada L.", 3)
    assert "'Ada L.' and was handed in by 4711_file" in notebook.metadata.told[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_source_has_all_its_parts_and_its_release_gives_nothing_away(course, name):
    source, released = read(course, name, "source"), read(course, name)
    text, given = ("\n".join(cell.source for cell in notebook.cells) for notebook in (source, released))
    points = sum(meta(cell).get("points", 0) for cell in source.cells)
    for part in (f"{points:g} points, about", "*Rubric:", "## Go further", "### BEGIN HIDDEN TESTS"):
        assert part in text
    assert any(meta(c).get("grade") and meta(c).get("solution") for c in source.cells), (
        "one question is read by a person"
    )
    for part in ("SOLUTION", "HIDDEN TESTS"):
        assert part not in given
    for cell in source.cells:
        for part in re.findall("### BEGIN (?:SOLUTION|HIDDEN TESTS)\n(.*?)### END", cell.source, re.S):
            assert not [
                line
                for line in part.splitlines()
                if len(line) > 30 and line.strip() in given and "from checks" not in line
            ]
    programs = {f"program_{i}.py" for i in range(1, 5)} if name == "ps4" else set()
    files = {path.name for path in (course / "release" / name).iterdir()}
    assert files == {f"{name}.ipynb", "checks.py", "checking.py", *programs}
