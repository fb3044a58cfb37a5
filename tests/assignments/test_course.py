"""The whole way for real: released, handed in, marked by nbgrader in the sandbox, and read from its gradebook."""

import ast
import json
import os
import re
import subprocess
import sys
import zipfile

import nbformat
import pandas as pd
import pytest
from nbgrader.api import Gradebook
from typer.testing import CliRunner

import course_folder
import gradebook
import sandbox
from course import app
from course_folder import ASSIGNMENTS, read
from soundness import inspect, solve

NAMES = ["ps1", "ps2", "ps3", "ps4", "ps5"]
SEED = 7

EACH_FRAME_ALONE = """
def align(frames, landmarks, size):
    pairs = zip(frames, landmarks, strict=True)
    return np.stack([apply_alignment(f, estimate_alignment(p, size), size) for f, p in pairs])
"""
# Knows by heart what the visible check asks; anything else is a guess.
HARD_CODED = """
from sklearn.metrics import f1_score

known = {}
for i, missing in enumerate(["", "", "c", "a"]):
    t = drawn_table(i)
    t = t[(t.truth != missing) & (t.predicted != missing)]
    known[tuple(t.truth)] = f1_score(t.truth, t.predicted, labels=list("abc"), average="macro", zero_division=0)


def uf1(truth, predicted, classes):
    return known.get(tuple(truth), 0.5)
"""
ENDLESS = """
while True:
    try:
        print("x" * 1000)
    except RuntimeError:
        pass
"""
HOSTILE = """
def uf1(truth, predicted, classes):
    return 1.0

import os, shutil, subprocess, sys, checking, checks
from pathlib import Path

did = []
def attempt(what):
    try:
        did.append(repr(what()))
    except BaseException as error:
        did.append(type(error).__name__)
attempt(lambda: shutil.rmtree({folder!r}))
attempt(lambda: subprocess.run(["rm", "-rf", {folder!r}]).returncode)
attempt(lambda: Path({folder!r}, "gradebook.db").write_text("gone"))
attempt(lambda: open({hidden!r}).read())
attempt(lambda: open({source!r}).read())
attempt(lambda: __import__("urllib.request").request.urlopen("http://127.0.0.1:9", timeout=2))
attempt(lambda: print("y" * 50_000_000))
attempt(lambda: [0] * 10**11)
attempt(lambda: [Path(name).write_text("check = check_uf1 = print") for name in ("checks.py", "checking.py")])
checks.check_uf1 = checks.check_pooled = checks.check_folds = lambda function: None
checking.check = checking.expect = lambda *anything: None
raise ValueError(str(did))
"""


def put(folder, student, notebook, name="ps1"):
    path = folder / "submitted" / student / name / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path) if not isinstance(notebook, str) else path.write_text(notebook)


def answer(notebook, cell_id, source):
    next(c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") == cell_id).source = source
    return notebook


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """The bundle, by the command."""
    out = tmp_path_factory.mktemp("release") / "bundle"
    result = CliRunner().invoke(app, ["release", str(out), "--seed", str(SEED)])
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture(scope="module")
def graded(released, tmp_path_factory):
    """A class whose submissions were marked: everybody is somebody's kind of mistake."""
    folder = tmp_path_factory.mktemp("course")
    notebooks = {name: read(released / name / f"{name}.ipynb") for name in NAMES}
    sources = {name: read(ASSIGNMENTS / "source" / name / f"{name}.ipynb") for name in NAMES}

    def solved(name, **settings):
        return solve(notebooks[name], sources[name], **settings)

    for name in NAMES:
        put(folder, "ada", solved(name), name)
        put(folder, "ben", notebooks[name], name)
    cleo = answer(solved("ps1"), "ps1-align", EACH_FRAME_ALONE)
    put(
        folder, "cleo", answer(cleo, "ps1-words", "It <b>trembles</b>. <script>run()</script><img src=x onerror=run()>")
    )
    tampered = solved("ps1", only=["difference"])
    for cell in tampered.cells:
        if cell.metadata.get("nbgrader", {}).get("grade_id", "").endswith("-check"):
            cell.source = "pass"
    tampered.cells = [c for c in tampered.cells if c.metadata.get("nbgrader", {}).get("grade_id") != "ps1-align-hidden"]
    put(folder, "dan", tampered)
    put(folder, "eve", answer(solved("ps4", only=["folds"]), "ps4-uf1", HARD_CODED), "ps4")
    put(folder, "hal", "this is no notebook")
    table = course_folder.grade(folder, SEED, progress=False)
    secrets = {"hidden": str(ASSIGNMENTS / "hidden_checks/ps4.py"), "source": str(folder / "source/ps4/ps4.ipynb")}
    hostile = HOSTILE.format(folder=str(folder), **secrets)
    put(folder, "finn", answer(solved("ps4", only=["uf1"]), "ps4-leak", ENDLESS), "ps4")
    put(folder, "gus", answer(solved("ps4", only=["folds"]), "ps4-uf1", hostile), "ps4")
    (folder / "submitted" / "ida_ps9.ipynb").write_text("{}")
    with pytest.raises(ValueError, match="of no known assignment"):
        course_folder.grade(folder, SEED, progress=False)
    (folder / "submitted" / "ida_ps9.ipynb").unlink()
    before = {path: path.read_bytes() for path in (folder / "autograded").rglob("*.ipynb")}
    table = course_folder.grade(folder, SEED, timeout=10, seconds=60, progress=False)
    assert all(path.read_bytes() == content for path, content in before.items()), "what is marked is not marked again"
    return folder, table


def scores(folder, student, name):
    """Points of each question in nbgrader's gradebook."""
    with Gradebook(f"sqlite:///{folder}/gradebook.db") as book:
        grades = book.find_submission_notebook(name, name, student).grades
        return {grade.name.removeprefix(f"{name}-"): (grade.score, grade.max_score) for grade in grades}


@pytest.mark.parametrize("name", NAMES)
def test_the_solution_gets_all_points_and_the_untouched_release_none(graded, name):
    folder, table = graded
    checks = {q: s for q, s in scores(folder, "ada", name).items() if q != "words"}
    assert sum(of for _, of in checks.values()) == 16
    assert all(points == of for points, of in checks.values()), checks
    assert all(points == 0 for points, _ in scores(folder, "ben", name).values())
    mine = table[(table.assignment == name) & (table.question == "words")].set_index("student")
    assert mine.waits["ada"], "an answer in words waits for a person"
    assert not mine.waits["ben"], "an answer that nobody gave does not"


def test_a_plausible_mistake_costs_its_own_points(graded):
    got = scores(graded[0], "cleo", "ps1")
    lost = {question for question, (points, of) in got.items() if points < of} - {"words"}
    assert lost == {"align-check", "align-hidden"}
    page = (graded[0] / "feedback/cleo/ps1/ps1.html").read_text()
    assert "aligned on its own: a still face now moves by" in page
    assert "<b>trembles</b>" in page
    assert "<script>run" not in page
    assert "<img src=x" not in page
    assert not re.search(r"<img[^>]*onerror", page), "what a student wrote must not run in the teacher's browser"


def test_edited_and_deleted_checks_are_restored(graded):
    folder, table = graded
    got = scores(folder, "dan", "ps1")
    assert {q for q, (points, _) in got.items() if points} == {"difference-check", "difference-hidden"}
    note = table[(table.student == "dan")].note.iloc[0]
    assert "align-check" in note
    assert "align-hidden" in note
    assert "restored" in note


def test_an_answer_known_by_heart_fails_the_hidden_check(graded):
    got = scores(graded[0], "eve", "ps4")
    assert got["uf1-check"] == (2, 2)
    assert got["uf1-hidden"] == (0, 2)
    assert got["folds-hidden"] == (1, 1)


def test_an_endless_loop_is_stopped_and_costs_only_itself(graded):
    folder, table = graded
    got = scores(folder, "finn", "ps4")
    assert got["leak-hidden"][0] == 0
    assert got["uf1-hidden"] == (2, 2)
    assert "ran too long" in table[table.student == "finn"].note.iloc[0]
    assert (folder / "autograded/finn/ps4/ps4.ipynb").stat().st_size < 4 * 2**20


def test_a_hostile_submission_loses_its_points_and_nothing_else(graded):
    folder, table = graded
    got = scores(folder, "gus", "ps4")
    assert got["uf1-check"][0] == got["uf1-hidden"][0] == 0, "its own check functions and files are not believed"
    assert got["folds-check"] == (2, 2)
    assert "names the checks" in table[table.student == "gus"].note.iloc[0]
    assert (folder / "source/ps1/ps1.ipynb").exists()
    run = read(folder / "autograded/gus/ps4/ps4.ipynb")
    cell = next(c for c in run.cells if c.metadata.get("nbgrader", {}).get("grade_id") == "ps4-uf1")
    assert sum(len(o.get("text", "")) for o in cell.outputs) < 2 * sandbox.MEGABYTE
    did = ast.literal_eval(next(o.evalue for o in cell.outputs if o.output_type == "error"))
    assert did[0] == did[2] == "PermissionError", did
    assert did[8] != "PermissionError", "files of its own folder are its own"
    assert did[5] in ("PermissionError", "URLError"), "there is no network"
    if sandbox.landlock_version():
        assert did[3] == did[4] == "PermissionError", "neither hidden checks nor solutions can be read"
    if sys.platform == "linux":
        assert did[7] == "MemoryError", did


def test_a_path_of_the_teachers_neither_hides_nor_shows_the_checks(released, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(ASSIGNMENTS)]))
    notebook, source = read(released / "ps2/ps2.ipynb"), read(ASSIGNMENTS / "source/ps2/ps2.ipynb")
    put(tmp_path, "ada", solve(notebook, source), "ps2")
    peek = answer(read(released / "ps2/ps2.ipynb"), "ps2-parallel", "import hidden_checks")
    put(tmp_path, "ivy", peek, "ps2")
    table = course_folder.grade(tmp_path, SEED, progress=False)
    assert table[table.student == "ada"].points.sum() == 16
    outputs = [o for c in read(tmp_path / "autograded/ivy/ps2/ps2.ipynb").cells for o in c.get("outputs", [])]
    assert "No module named 'hidden_checks'" in str(outputs)


def test_a_file_that_is_no_notebook_gets_a_page_and_no_points(graded):
    folder, table = graded
    assert table[table.student == "hal"].points.sum() == 0
    assert "no Jupyter notebook" in (folder / "feedback/hal/ps1/ps1.html").read_text()
    assert not table[table.student == "hal"].waits.any()


def test_tables_picture_and_pages_for_the_class(graded):
    folder, table = graded
    assert pd.read_csv(folder / "grades.csv").points.sum() == table.points.sum()
    totals = pd.read_csv(folder / "totals.csv", index_col="student")
    assert totals.loc["ada"].tolist() == [16] * 5
    assert (folder / "grades.png").read_bytes()[:4] == b"\x89PNG"
    for page in (folder / "feedback").rglob("*.html"):
        text = page.read_text()
        assert "hidden_checks" not in text or "gus" in str(page), page
        assert "BEGIN HIDDEN" not in text
        assert "SEEDS" not in text
    assert "Hidden: other faces" in (folder / "feedback/ada/ps1/ps1.html").read_text()


def test_marks_by_hand_come_from_a_table(graded):
    folder, _ = graded
    marks = pd.read_csv(folder / "manual.csv")
    assert {"ada", "cleo"} <= set(marks.student)
    assert not {"ben", "hal"} & set(marks.student)
    ours = (marks.student == "ada") & (marks.assignment == "ps2")
    marks["comment"] = marks.comment.astype(object)
    marks.loc[ours, ["points", "comment"]] = [4, "well argued"]
    marks.to_csv(folder / "manual.csv", index=False)
    table = course_folder.grade(folder, SEED, progress=False)
    assert scores(folder, "ada", "ps2")["words"] == (4, 4)
    mine = table[(table.student == "ada") & (table.assignment == "ps2")]
    assert mine.points.sum() == mine.of.sum() == 20
    assert "well argued" in (folder / "feedback/ada/ps2/ps2.html").read_text()
    marks.loc[ours, "points"] = 5
    marks.to_csv(folder / "manual.csv", index=False)
    with pytest.raises(ValueError, match=r"ada, ps2-words: 5 points of 4"):
        course_folder.grade(folder, SEED, progress=False)
    marks.loc[ours, "points"] = 4
    marks.to_csv(folder / "manual.csv", index=False)


def test_nbgraders_own_commands_work_in_a_course_folder(graded):
    folder, _ = graded
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", "export", "--to", "own.csv"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    own = pd.read_csv(folder / "own.csv")
    assert own[(own.student_id == "ada") & (own.assignment == "ps1")].score.item() == 16


def test_the_bundle_gives_nothing_away_and_can_be_installed(released):
    assert {path.name for path in released.iterdir()} > {*NAMES, "README.md", "constraints.txt", "course.json"}
    assert (released / "notebooks/00_tour.ipynb").exists()
    assert not [path for path in released.rglob("*") if path.name in ("source", "hidden_checks", "__pycache__")]
    wheel = next(released.glob("*.whl"))
    packed = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in packed if "assignments" in name or "hidden" in name or name.endswith(".ipynb")]
    for name in NAMES:
        programs = [f"program_{i}.py" for i in range(1, 5)] if name == "ps4" else []
        files = {path.name for path in (released / name).iterdir()}
        assert files == {f"{name}.ipynb", "checks.py", "checking.py", *programs}
        text = (released / name / f"{name}.ipynb").read_text()
        assert "hidden_checks" not in text
        assert "SOLUTION" not in text
        assert f"course = {SEED}" in text
    code = "import sys, checks, tsfmicro_lab as lab; print(lab.__file__); assert 'nbgrader' not in sys.modules"
    environment = {"PYTHONPATH": str(wheel), "PATH": "/usr/bin:/bin"}
    for name in NAMES:
        command = [sys.executable, "-B", "-c", code]
        done = subprocess.run(command, env=environment, cwd=released / name, capture_output=True, text=True)
        assert done.stdout.startswith(str(wheel)), done.stderr


def test_bad_folders_are_refused_with_a_remedy(released, graded, tmp_path):
    with pytest.raises(ValueError, match="is not empty"):
        course_folder.release(released)
    with pytest.raises(ValueError, match="begun with seed 7, not 8: give --seed 7"):
        course_folder.grade(graded[0], 8)
    result = CliRunner().invoke(app, ["grade", str(tmp_path)])
    assert result.exit_code == 1
    assert "holds nothing" in result.output
    (tmp_path / "submitted" / "kim" / "ps1").mkdir(parents=True)
    (tmp_path / "submitted" / "kim" / "ps1" / "ps1.ipynb").symlink_to("/etc/passwd")
    assert "a link" in course_folder._unreadable(tmp_path / "submitted/kim/ps1/ps1.ipynb")


def test_the_check_command_marks_solution_and_untouched_notebook():
    result = CliRunner().invoke(app, ["check", "ps2"])
    assert result.exit_code == 0, result.output
    assert re.search(r"ps2\D+16\D+16\D+0\b", result.output)
    result = CliRunner().invoke(app, ["check", "ps9"])
    assert result.exit_code == 1
    assert "no such assignment; there are ps1" in result.output


def test_loose_files_are_sorted_in(tmp_path):
    for name in ("ada_ps1.ipynb", "ben_ps2 (1).ipynb", "cleo/ps1-Copy1.ipynb", "Dan Dare_ps3.ipynb"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    assert gradebook.sort_in(tmp_path, NAMES) == [
        ("Dan_Dare", "ps3"),
        ("ada", "ps1"),
        ("ben", "ps2"),
        ("cleo", "ps1"),
    ]
    (tmp_path / "ada_ps1.ipynb").write_text("{}")
    with pytest.raises(ValueError, match="ada has handed in ps1 already"):
        gradebook.sort_in(tmp_path, NAMES)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (".._ps1.ipynb", r"'\.\.' cannot be a name"),
        ("-rf_ps1.ipynb", "'-rf' cannot be a name"),
        ("a;b_ps1.ipynb", "'a;b' cannot be a name"),
        ("_ps1.ipynb", "no known assignment"),
        ("ada.zip", "holds ada.zip: unpack archives"),
        ("ada/notes.txt", "holds no notebook"),
    ],
)
def test_names_that_lead_elsewhere_and_archives_are_refused(tmp_path, file, message):
    path = tmp_path / "submitted" / file
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    with pytest.raises(ValueError, match=message):
        gradebook.sort_in(tmp_path / "submitted", NAMES)
    assert path.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["submitted"], "nothing is moved out of the folder"


@pytest.mark.parametrize("name", NAMES)
def test_a_source_that_lacks_a_part_is_refused(released, name):
    source, given = read(ASSIGNMENTS / "source" / name / f"{name}.ipynb"), read(released / name / f"{name}.ipynb")
    inspect(name, source, given)
    for part, message in (("*Rubric:", "no rubric"), ("20 points, about", "its head"), ("## Go further", "Go further")):
        broken = nbformat.from_dict(json.loads(json.dumps(source).replace(part, "")))
        with pytest.raises(ValueError, match=message):
            inspect(name, broken, given)
    with pytest.raises(ValueError, match=r"the release shows hidden checks; the release shows solutions"):
        inspect(name, source, source)
