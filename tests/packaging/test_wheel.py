"""The wheel, as a user gets it: what is in it, and that it works where paths and locale are awkward."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT

from tsfmicro_lab.data.cards import list_cards
from tsfmicro_lab.models import SHIPPED

#: The rest takes minutes: a job of its own in CI (`TSFMICRO_WHEEL=1 pytest tests/packaging`).
slow = pytest.mark.skipif(
    not os.environ.get("TSFMICRO_WHEEL"), reason="TSFMICRO_WHEEL=1 runs demo, lesson and doctests"
)


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Wheel and source archive, made of a copy of what git holds or would hold."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("out")
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True)
    for name in listed.stdout.decode().splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    make = "from setuptools.build_meta import build_sdist, build_wheel; import sys; print(build_{}(sys.argv[1]))"
    for kind in ("wheel", "sdist"):
        subprocess.run([sys.executable, "-c", make.format(kind), out], cwd=source, check=True, capture_output=True)
    return next(out.glob("*.whl")), next(out.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def user(archives, tmp_path_factory):
    """Runs a command of a fresh environment in a folder of its own; what the wheel needs is borrowed from here."""
    home = tmp_path_factory.mktemp("Übung mit Leerzeichen")
    venv.create(home / "env", with_pip=False)
    lib = Path(sysconfig.get_path("purelib", vars={"base": home / "env", "platbase": home / "env"}))
    (lib / "borrowed.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    with zipfile.ZipFile(archives[0]) as wheel:  # a wheel is unpacked; this one has no scripts but its entry point
        wheel.extractall(lib)
    python = home / "env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONUTF8", "PYTHONIOENCODING")}

    def run(*arguments, code=0):
        command = [python, *arguments]
        env = clean | {"LANG": "C", "LC_ALL": "C", "PLOTLY_RENDERER": "plotly_mimetype"}
        done = subprocess.run(command, cwd=home, env=env, capture_output=True, timeout=540)
        said = (done.stdout + done.stderr).decode("utf-8", "replace")
        assert done.returncode == code, said[-3000:]
        return said

    run.home, run.lib = home, lib
    return run


LAB = ("-c", "from tsfmicro_lab.cli import app; app()")


def test_the_wheel_holds_what_a_user_needs_and_no_more(archives):
    wheel, sdist = archives
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    within = {name.removeprefix("tsfmicro_lab/") for name in names if name.startswith("tsfmicro_lab/")}
    assert {f"data_cards/{name}.md" for name in list_cards()} | {"data_cards/schema.yaml", "py.typed"} <= within
    files = ("model.safetensors", "config.json", "README.md")
    assert {f"checkpoints/{name}/{file}" for name in SHIPPED for file in files} <= within
    for folder, pattern in (
        ("notebooks", "*.ipynb"),
        ("notebooks/results", "*"),
        ("notebooks/studies", "*.*"),
        ("docs", "*.md"),
    ):
        assert {f"{folder}/{path.name}" for path in (ROOT / folder).glob(pattern) if path.is_file()} <= within, folder
    assert not [name for name in within if "/assignments/" in name], "students get the wheel, not the hidden checks"
    assert not {n for n in names if "/tests/" in n or "__pycache__" in n or n.startswith(("tests", "docs/site"))}
    assert wheel.stat().st_size < 6 * 2**20
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "constraints.txt",
        "Makefile",
        "mkdocs.yml",
        "docs/site/build.py",
        "tests/conftest.py",
        "CHANGELOG.md",
    } <= inside
    assert "setup.py" in inside


def test_it_works_in_an_awkward_place(user):
    where = user("-c", "import tsfmicro_lab; print(ascii(tsfmicro_lab.__file__), tsfmicro_lab.__version__)")
    assert "mit Leerzeichen" in where, "the installed library is tried, not the checkout"
    assert "casme2" in user(*LAB, "data", "list")
    cards = "from tsfmicro_lab.data import cards; print([cards.read_card(n).name for n in cards.list_cards()])"
    assert user("-c", cards).strip() == str(list_cards())
    user(*LAB, "notebooks", "Kurs ü")
    course = user.home / "Kurs ü"
    assert {p.name for p in course.iterdir()} == {"notebooks", "docs", "data_cards"}
    assert (course / "notebooks" / "studies" / "lesson.py").is_file()
    assert not (course / "notebooks" / "assignments").exists(), "hidden checks are for teachers"
    mine = course / "notebooks" / "00_tour.ipynb"
    mine.write_text("mine", encoding="utf-8")
    assert "is there already: name a new folder" in user(*LAB, "notebooks", "Kurs ü", code=1)
    assert mine.read_text(encoding="utf-8") == "mine"


def test_studies_are_commands_and_run_in_a_copy(user):
    assert "Tell what an evaluation will cost" in user(*LAB, "--help")
    assert "muse1998/MMNet@7b62fa9" in user(*LAB, "reproduce")
    told = user(*LAB, "plan", "--data", "casme2", "--model", "tsfmicro_spatial", "--workers", "1")
    assert "255 clips of 26 subjects" in told
    user(*LAB, "notebooks", "Studien ü")
    where = f"import os; os.chdir({str(user.home / 'Studien ü' / 'notebooks')!r}); "
    reads = "from studies.official import from_official as read; read({'encoder': 0})"
    assert "no checkpoint of a public code known here" in user("-c", where + reads, code=1)


@slow
def test_doctor_and_a_small_demo(user):
    said = user("-c", "import sys\nfrom tsfmicro_lab.cli import app\ntry: app(['doctor'])\nexcept SystemExit: pass")
    assert "OpenCV" in said
    user(*LAB, "demo", "--out", "Ausgabe ä", "--subjects", "2", "--clips", "4", "--epochs", "1", "--workers", "1")
    assert (user.home / "Ausgabe ä" / "index.html").stat().st_size > 10_000


@slow
def test_a_lesson_runs(user):
    user(*LAB, "notebooks", "Kurs für eine Lektion")
    folder = user.home / "Kurs für eine Lektion" / "notebooks"
    made = ["-m", "papermill", "--no-progress-bar", "--cwd", folder, folder / "00_tour.ipynb", folder / "out.ipynb"]
    user(*made, "-p", "clips", "6")
    assert "image/png" in (folder / "out.ipynb").read_text("utf-8")


@slow
def test_the_examples_of_all_docstrings_run(user):
    options = "doctest_optionflags=NORMALIZE_WHITESPACE ELLIPSIS"
    skip = [f"--ignore={user.lib / 'tsfmicro_lab' / name}" for name in ("notebooks", "docs")]
    said = user(
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--doctest-modules",
        "-o",
        options,
        *skip,
        "--pyargs",
        "tsfmicro_lab",
    )
    assert " passed" in said
