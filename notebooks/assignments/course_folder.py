"""The teacher's way: a bundle for students, and marks for what they hand in.

nbgrader underneath, without a server. A course folder is one of nbgrader's, so its own commands keep working there.
"""

import json
import logging
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import nbformat
import pandas as pd
from nbformat import NotebookNode
from nbgrader.apps import NbGraderAPI
from tqdm.auto import tqdm
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

import gradebook

#: The assignments, and the checkout that they lie in.
ASSIGNMENTS = Path(__file__).resolve().parent
CHECKOUT = ASSIGNMENTS.parents[1]
CONFIG = """# Written by notebooks/assignments/course.py; nbgrader's own commands read it, too.
import os
import sys

sys.path.append({assignments!r})  # where the module `grading` is

here = os.path.dirname(sys.executable)  # nbgrader looks for a program of its database there, activated or not
if here not in os.environ.get("PATH", "").split(os.pathsep):
    os.environ["PATH"] = os.pathsep.join([here, os.environ.get("PATH", "")])
c = get_config()  # noqa: F821
c.ClearSolutions.text_stub = "*Your answer: double-click here, write, press Shift and Enter.*"
c.Execute.timeout = {timeout}  # seconds for a cell
c.SandboxedExecute.seconds = {seconds}  # and for a notebook
c.SandboxedExecute.assignments = {assignments!r}
c.Autograde.autograde_preprocessors = [
    "grading.SandboxedExecute",
    "nbgrader.preprocessors.IgnorePattern",
    "nbconvert.preprocessors.ClearMetadataPreprocessor",
    "nbgrader.preprocessors.LimitOutput",
    "nbgrader.preprocessors.SaveAutoGrades",
    "nbgrader.preprocessors.AssignLatePenalties",
    "nbgrader.preprocessors.CheckCellMetadata",
]
c.OverwriteCells.add_missing_cells = True
c.GenerateFeedback.preprocessors = [
    "nbgrader.preprocessors.GetGrades",
    "nbgrader.preprocessors.ClearHiddenTests",  # no hidden code on feedback pages
    "nbconvert.preprocessors.sanitize.SanitizeHTML",  # what students wrote is shown, never run
    "nbconvert.preprocessors.CSSHTMLHeaderPreprocessor",
]
c.SanitizeHTML.enabled = True
c.ClearMetadataPreprocessor.preserve_cell_metadata_mask = {{("nbgrader",)}}
"""
#: Largest file that is taken for a submission.
MAX_BYTES = 20 * 2**20


def release(out: Path | str, seed: int = 1) -> list[str]:
    """Writes what students get: assignments without solutions and hidden checks, the course's notebooks, the lab.

    Args:
        out: A new or empty folder.
        seed: Of the course: every student's data follow from it and from the student's name.

    Returns:
        Names of the assignments.

    Raises:
        ValueError: The folder is not empty.
        OSError: The lab's package cannot be built.
    """
    out = Path(out)
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty: give a new folder, so that nothing but the bundle is in it")
    with tempfile.TemporaryDirectory() as folder:
        names = open_course(Path(folder) / "course", seed)
        shutil.copytree(Path(folder) / "course" / "release", out, dirs_exist_ok=True)
        _build_lab(Path(folder) / "lab", out)
    kept_back = shutil.ignore_patterns("assignments", ".ipynb_checkpoints")
    shutil.copytree(CHECKOUT / "notebooks", out / "notebooks", ignore=kept_back)
    shutil.copy(CHECKOUT / "constraints.txt", out)
    shutil.copy(ASSIGNMENTS / "STUDENT.md", out / "README.md")
    (out / "course.json").write_text(json.dumps({"seed": seed, "assignments": names}))
    return names


def grade(
    folder: Path | str,
    seed: int = 1,
    *,
    force: bool = False,
    timeout: int = 60,
    seconds: int = 300,
    progress: bool = True,
) -> pd.DataFrame:
    """Marks everything in `submitted/`, adds the marks given by hand, writes tables, a picture and feedback pages.

    Args:
        folder: The course folder. Submissions lie in `submitted/NAME/psN/psN.ipynb`; `submitted/NAME_psN.ipynb` and
            `submitted/NAME/psN.ipynb` are sorted in.
        seed: Of the course, as released.
        force: Whether to mark again what has been marked since it was handed in.
        timeout: Seconds for a cell.
        seconds: Seconds for a notebook.
        progress: Whether to show a progress bar.

    Returns:
        One row per student and question, as in `grades.csv`.

    Raises:
        ValueError: Nothing was handed in, the folder was begun with another seed, or a mark in `manual.csv` is wrong.
    """
    folder = Path(folder).resolve()
    if not any((folder / "submitted").glob("*")):
        raise ValueError(
            f"{folder / 'submitted'} holds nothing: put submissions there, as NAME_ps1.ipynb or NAME/ps1.ipynb"
        )
    names = open_course(folder, seed, timeout, seconds)
    api = _nbgrader(folder)
    handed_in = gradebook.sort_in(folder / "submitted", names)
    for student, name in tqdm(handed_in, "marking", disable=not progress):
        _mark(api, folder, student, name, force)
    table = gradebook.collect(api, handed_in)
    gradebook.write(folder, table)
    for student, name in tqdm(handed_in, "feedback", disable=not progress):
        if (folder / "autograded" / student / name).exists():
            api.generate_feedback(name, student, force=True)
    return table


def read(path: Path) -> NotebookNode:
    """Reads a notebook as version 4."""
    notebook: NotebookNode = nbformat.read(path, as_version=4)
    return notebook


def open_course(folder: Path, seed: int, timeout: int = 60, seconds: int = 300) -> list[str]:
    """Makes an nbgrader course of a folder, once.

    Args:
        folder: New, or a course folder already.
        seed: Of the course.
        timeout: Seconds for a cell.
        seconds: Seconds for a notebook.

    Returns:
        Names of the assignments.

    Raises:
        ValueError: The folder was begun with another seed, or a source cannot be released.
    """
    names = sorted(path.name for path in (ASSIGNMENTS / "source").iterdir() if path.is_dir())
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"timeout": timeout, "seconds": seconds, "assignments": str(ASSIGNMENTS)}
    (folder / "nbgrader_config.py").write_text(CONFIG.format(**settings))
    about = folder / "course.json"
    if about.exists():
        begun = json.loads(about.read_text())["seed"]
        if begun != seed:
            raise ValueError(
                f"{folder} was begun with seed {begun}, not {seed}: give --seed {begun}, or another folder"
            )
        return names
    api = _nbgrader(folder)
    for name in names:
        own = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        shutil.copytree(ASSIGNMENTS / "source" / name, folder / "source" / name, ignore=own, dirs_exist_ok=True)
        shutil.copy(ASSIGNMENTS / "checking.py", folder / "source" / name)  # beside checks.py, which imports it
        path = folder / "source" / name / f"{name}.ipynb"
        text = path.read_text()
        if text.count('"course = 1"') != 1:
            raise ValueError(f"{name}: its set-up cell must end with the line `course = 1`")
        path.write_text(text.replace('"course = 1"', f'"course = {seed}"'))
        result = api.generate_assignment(name)
        if not result["success"]:
            raise ValueError(f"{name} cannot be released: {result.get('error') or result.get('log')}")
    about.write_text(json.dumps({"seed": seed}))
    return names


def _nbgrader(folder: Path) -> NbGraderAPI:
    logging.getLogger("traitlets").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="nbgrader")  # what its database layer says of itself
    config = PyFileConfigLoader("nbgrader_config.py", path=str(folder)).load_config()
    config.merge(Config(CourseDirectory={"root": str(folder)}, NbGraderAPI={"log_level": "CRITICAL"}))
    return NbGraderAPI(config=config)


def _mark(api: NbGraderAPI, folder: Path, student: str, name: str, force: bool) -> None:
    """Runs one submission; one that cannot be run counts nothing, and its feedback page says why."""
    submitted, marked = (folder / kind / student / name / f"{name}.ipynb" for kind in ("submitted", "autograded"))
    if not force and marked.exists() and marked.stat().st_mtime > submitted.stat().st_mtime:
        return
    problem = _unreadable(submitted)
    if not problem:
        result = api.autograde(name, student)
        if not result["success"]:
            lines = str(result.get("error") or "").strip().splitlines() or ["it cannot be run"]
            problem = lines[-1]
    if problem:
        shutil.rmtree(marked.parent, ignore_errors=True)
        gradebook.nothing(api, folder, student, name, problem)


def _unreadable(path: Path) -> str:
    """Why a file is no submission, or nothing."""
    if any(p.is_symlink() for p in [path, *path.parent.rglob("*")]):
        return "the submission holds a link instead of a file: hand in the notebook itself"
    if sum(p.stat().st_size for p in path.parent.rglob("*")) > MAX_BYTES:
        return f"the submission is larger than {MAX_BYTES >> 20} MiB: clear the outputs and hand in the notebook alone"
    try:
        nbformat.validate(read(path))
    except Exception as error:
        # Whatever is wrong with a file that somebody sent is what the page has to say.
        return f"the file is no Jupyter notebook ({type(error).__name__}): hand in the .ipynb file itself"
    return ""


def _build_lab(work: Path, out: Path) -> None:
    """Builds the lab's package, which needs no repository to be installed from."""
    for part in ("tsfmicro_lab", "data_cards"):
        shutil.copytree(CHECKOUT / part, work / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / part, work)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(out)]
    done = subprocess.run([*command, str(work)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"the lab's package cannot be built: {(done.stderr.strip() or done.stdout).splitlines()[-1]}")
