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
def cells(name):
    """Code cells of an assignment by their grade_id without its name: metadata of nbgrader and source."""
    notebook = nbformat.read(ASSIGNMENTS / "source" / name / f"{name}.ipynb", 4)
    code = [(c.metadata.get("nbgrader"), c.source) for c in notebook.cells if c.cell_type == "code"]
    return {meta["grade_id"].split("-", 1)[1]: (meta, source) for meta, source in code if meta}


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


def solutions(name, without=()):
    """Names that the solution cells of an assignment define; those in `without` are left undefined."""
    scope = {"seed": 3}
    for cell, (meta, source) in cells(name).items():
        if (meta["solution"] or cell == "setup") and cell not in {*SKIPPED, *without}:
            with contextlib.redirect_stdout(io.StringIO()), beside(name):
                exec(source, scope)
    return scope
