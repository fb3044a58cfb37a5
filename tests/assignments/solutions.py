"""Functions of the source notebooks, without running the notebooks, and the checks that lie beside them."""

import contextlib
import functools
import importlib.util
import io
import sys
from pathlib import Path

import nbformat

ASSIGNMENTS = Path(__file__).parents[2] / "notebooks" / "assignments"

#: Cells that draw data or train: not needed to define functions.
SKIPPED = {
    "seed",
    "still",
    "flow",
    "own",
    "crossing",
    "data",
    "gain",
    "noise",
    "program",
    "leak",
    "train",
    "find",
    "effect",
}


@functools.cache
def checks(name):
    """The checks of an assignment; all of them are called `checks`, so each gets a name of its own here."""
    spec = importlib.util.spec_from_file_location(f"checks_{name}", ASSIGNMENTS / "source" / name / "checks.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def beside(name):
    """What is imported as `checks` is that of an assignment, as for the notebook beside it."""
    sys.modules["checks"] = checks(name)
    try:
        yield
    finally:
        del sys.modules["checks"]


def hidden_checks(name):
    with beside(name):
        return importlib.import_module(f"hidden_checks.{name}")


def solutions(name, without=()):
    """Names that the solution cells of an assignment define; those in `without` are left undefined."""
    scope = {"seed": 3}
    for cell in nbformat.read(ASSIGNMENTS / "source" / name / f"{name}.ipynb", 4).cells:
        meta = cell.metadata.get("nbgrader", {})
        wanted = meta.get("solution") or meta.get("grade_id") == f"{name}-setup"
        if cell.cell_type == "code" and wanted and meta["grade_id"].split("-", 1)[1] not in {*SKIPPED, *without}:
            with contextlib.redirect_stdout(io.StringIO()), beside(name):
                exec(cell.source, scope)
    return scope
