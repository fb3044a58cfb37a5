"""What a notebook must pass besides raising no error."""

import json
import re
from copy import deepcopy
from pathlib import Path

import nbformat
import papermill
from conftest import ROOT

from studies.pages import draw_charts, to_html, without_picture

LESSONS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))

#: What CI runs with, where the defaults take longer.
PARAMETERS: dict[str, dict[str, object]] = {
    "00_tour": {"clips": 6},
    "01_preprocessing": {"clips": 6},
    "02_retention_and_attention": {"clips": 6, "longest": 256},
    "03_fusion_early": {"subjects": 4, "epochs": 3},
    "04_fusion_temporal_to_spatial": {"subjects": 4, "epochs": 3},
    "05_fusion_spatial_to_temporal": {"subjects": 3, "epochs": 4},
    "06_fusion_late": {"subjects": 3},
    "07_variants_compared": {"live_subjects": 3, "live_trainings": 3},
    "08_gpu_training": {"largest_batch": 2, "subjects": 2, "cluster_workers": 1},
    "09_where_how": {"heads": 10, "clips_per_head": 36, "epochs": 16},
    "11_slstt": {"subjects": 3, "clips_per_subject": 8, "epochs": 16},
    "12_frl_dgt": {"subjects": 3, "epochs": 4},
    "13_leakage": {"live_epochs": 10},
    "14_your_own_video": {"expressions": 3, "rest": 0.6, "rate": 50},
}


def check_source(path: Path) -> None:
    """The committed notebook is stripped and has one cell of parameters."""
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    kept = [cell["id"] for cell in code if cell.outputs or cell.execution_count]
    assert not kept, f"{path.name} is committed with outputs: make format strips them"
    assert "widgets" not in notebook.metadata, f"{path.name} is committed with widget state"
    assert "papermill" not in json.dumps(notebook.metadata)
    parameters = [cell for cell in code if "parameters" in cell.metadata.get("tags", [])]
    assert len(parameters) == 1, f"{path.name} has {len(parameters)} cells tagged parameters"


def check_parameters(path: Path, parameters: dict[str, object]) -> None:
    """Every given parameter is one of the notebook's: papermill only warns of a misspelt one."""
    known = papermill.inspect_notebook(str(path))
    unknown = set(parameters) - set(known)
    assert not unknown, f"{path.name} has no parameters {sorted(unknown)}, only {sorted(known)}"


def check_executed(notebook: nbformat.NotebookNode) -> None:
    """Every cell ran to its end, and no widget swallowed an error."""
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.source.strip():
            status = cell.metadata.get("papermill", {}).get("status")
            assert status == "completed", f"cell {cell['id']} is {status}"
            errors = [o for o in cell.outputs if o.output_type == "error"]
            assert not errors, f"cell {cell['id']} printed an error"
    state = notebook.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {}).get("state", {})
    for model in state.values():
        if model.get("model_name") == "OutputModel":
            hidden = [o for o in model["state"].get("outputs", []) if o.get("output_type") == "error"]
            assert not hidden, f"a widget hides an error: {hidden[0].get('ename')}: {hidden[0].get('evalue')}"


def execute(path: Path, out: Path, parameters: dict[str, object]) -> nbformat.NotebookNode:
    """Runs a notebook behind the gate and returns it with its outputs."""
    check_parameters(path, parameters)
    settings = {"kernel_name": "python3", "progress_bar": False, "cwd": str(ROOT / "notebooks")}
    executed = papermill.execute_notebook(
        str(path), None, parameters, **settings
    )  # a path would be written cell by cell
    nbformat.write(executed, out)
    check_executed(executed)
    return executed


#: What every notebook of the course has, in this order.
TEMPLATE = ("## The idea", "## Try it", "## What we know, and how sure", "## Summary", "## Words, sources, next")


def tagged(cell: nbformat.NotebookNode, tag: str) -> bool:
    return tag in cell.metadata.get("tags", [])


def fenced(cell: nbformat.NotebookNode) -> str:
    """The one piece of Python in a folded text."""
    pieces = re.findall(r"```python\n(.*?)```", cell.source, re.DOTALL)
    assert len(pieces) == 1, f"cell {cell['id']} has {len(pieces)} pieces of Python, not one"
    return pieces[0].strip()


def exercises(notebook: nbformat.NotebookNode) -> list[dict[str, list[nbformat.NotebookNode]]]:
    """The exercises of a notebook: their cells by tag."""
    found: list[dict[str, list[nbformat.NotebookNode]]] = []
    for cell in notebook.cells:
        for tag in ("exercise", "check", "hint", "wrong", "solution"):
            if tagged(cell, tag):
                if tag == "exercise":
                    found.append({name: [] for name in ("exercise", "check", "hint", "wrong", "solution")})
                found[-1][tag].append(cell)
    return found


def check_template(notebook: nbformat.NotebookNode) -> None:
    """A lesson asks a question, says what it is for, and has whole exercises."""
    first = notebook.cells[0].source
    assert re.match(r"# \d\d · .+\?", first), "the title is no question"
    for promise in ("**You will be able to**", "**Time**", "**Before**"):
        assert promise in first, f"the first cell lacks {promise}"
    headings = re.findall(r"^## .+", "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown"), re.M)
    assert [h for h in headings if h in TEMPLATE] == [*TEMPLATE], f"sections are {headings}"
    found = exercises(notebook)
    assert 2 <= len(found) <= 4, f"{len(found)} exercises"
    for own in found:
        name = own["exercise"][0]["id"]
        assert [len(own[tag]) for tag in ("exercise", "check")] == [1, 1], f"{name} is not whole"
        assert own["solution"], f"{name} has no solution"  # more than one where right answers have several styles
        assert own["hint"], f"{name} has no hint"
        assert own["wrong"], f"{name} has no wrong answer"
        folded = [cell for tag in ("hint", "wrong", "solution") for cell in own[tag]]
        assert all(cell.source.startswith("<details>") for cell in folded), f"{name} shows what should be folded"
        says = [cell.metadata.get("says") for cell in own["wrong"]]
        assert all(says), f"{name}: a wrong answer does not say what it is told"
        assert len({*says}) == len(says), f"{name}: two wrong answers are told the same"


def worked(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook as a student finishes it, who tries each wrong answer before the right one."""
    notebook = deepcopy(notebook)
    for own in exercises(notebook):
        own["check"][0].metadata["expected"] = ["not answered", ""]
        at = notebook.cells.index(own["check"][0]) + 1
        answers = [("not yet", cell) for cell in own["wrong"]] + [("right", cell) for cell in own["solution"]]
        for found, cell in reversed(answers):
            again = deepcopy(own["check"][0])
            again.metadata["expected"] = [found, cell.metadata.get("says", "")]
            again["id"] = f"{cell['id']}-check"
            answer = nbformat.v4.new_code_cell(fenced(cell), id=f"{cell['id']}-run")
            notebook.cells[at:at] = [answer, again]
    return notebook


def check_answers(executed: nbformat.NotebookNode) -> None:
    """Every check said what was expected of it."""
    for cell in executed.cells:
        if "expected" in cell.metadata:
            told = [o.metadata["tsfmicro"] for o in cell.outputs if "tsfmicro" in o.get("metadata", {})]
            assert len(told) == 1, f"{cell['id']} says {len(told)} things"
            found, says = cell.metadata["expected"]
            assert told[0]["found"] == found, f"{cell['id']}: {told[0]}, expected: {found}"
            assert says in told[0]["text"], f"{cell['id']}: {told[0]}, expected: {says}"


def check_page(executed: nbformat.NotebookNode, path: Path) -> None:
    """Every chart and explorer shows a still picture, and nothing was written to the standard error."""
    assert not without_picture(executed), f"only a kernel shows {without_picture(executed)}"
    noise = [o.text for c in executed.cells if c.cell_type == "code" for o in c.outputs if o.get("name") == "stderr"]
    assert not noise, f"written to the standard error: {noise[0][:500]}"
    stored = json.dumps([cell.outputs for cell in executed.cells if cell.cell_type == "code"])
    assert not re.search(r"\b\d{1,2}%\|", stored), "a progress bar is left before its end: progress=False"
    assert to_html(executed, path) > 1, "a page without pictures"


def check_lesson(path: Path, folder: Path) -> None:
    """A lesson runs as a student gets it and as a student finishes it, and can be read without a kernel."""
    check_source(path)
    notebook = nbformat.read(path, as_version=4)
    check_template(notebook)
    nbformat.write(worked(notebook), folder / path.name)
    executed = execute(folder / path.name, folder / "executed.ipynb", PARAMETERS.get(path.stem, {}))
    check_answers(executed)
    draw_charts(executed)
    check_page(executed, folder / "page.html")
    assert (folder / "executed.ipynb").stat().st_size < 6 * 2**20
