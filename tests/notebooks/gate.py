"""What a notebook must pass besides raising no error."""

import json
from pathlib import Path

import nbformat
import papermill

#: What CI runs with, where the defaults take longer.
PARAMETERS: dict[str, dict[str, object]] = {
    "00_tour": {"clips_per_subject": 10, "epochs": 4},
    "01_preprocessing": {"clips": 8},
    "02_retention_and_attention": {"longest": 512, "epochs": 2},
    "03_fusion_early": {"subjects": 4, "epochs": 6},
    "04_fusion_temporal_to_spatial": {"subjects": 4, "epochs": 3},
    "05_fusion_spatial_to_temporal": {"subjects": 4, "epochs": 3},
    "06_fusion_late": {"subjects": 4, "epochs": 4},
    "07_variants_compared": {"live_subjects": 3, "live_epochs": 2},
    "08_gpu_training": {"largest_batch": 8, "subjects": 2, "cluster_workers": 1},
    "09_where_how": {"subjects": 4, "clips_per_subject": 10, "epochs": 16},
    "10_can_you_trust_the_map": {"subjects": 4, "clips_per_subject": 10, "epochs": 8},
    "11_slstt": {"subjects": 3, "epochs": 6},
    "12_frl_dgt": {"subjects": 3, "epochs": 4},
    "13_leakage": {"live_subjects": 4, "live_epochs": 8},
    "14_your_own_video": {"expressions": 3},
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
    check_source(path)
    check_parameters(path, parameters)
    papermill.execute_notebook(
        str(path), str(out), parameters, kernel_name="python3", progress_bar=False, cwd=str(path.parent)
    )
    executed = nbformat.read(out, as_version=4)
    check_executed(executed)
    return executed
