"""An executed notebook as a page that needs no kernel: each figure and explorer as a still picture."""

from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import kaleido
import nbformat
from nbconvert import HTMLExporter
from traitlets.config import Config

#: What lives only where a kernel or a script does; each must have a picture beside it.
LIVE = ("application/vnd.jupyter.widget-view+json", "application/vnd.plotly.v1+json")
PICTURES = ("image/png", "image/svg+xml", "image/jpeg")
#: Best first; what a page shows of an output.
PRIORITY = [*PICTURES, "text/html", "text/markdown", "text/latex", "text/plain"]


@contextmanager
def one_chrome() -> Iterator[None]:
    """Charts are drawn by one Chrome as long as this lasts; otherwise each starts its own, which takes seconds."""
    pages = kaleido.PageGenerator(mathjax=False)  # which would come from the network
    kaleido.start_sync_server(page_generator=pages, silence_warnings=True)
    try:
        yield
    finally:
        kaleido.stop_sync_server(silence_warnings=True)


def draw_charts(notebook: nbformat.NotebookNode) -> None:
    """Puts a PNG beside each plotly chart that was stored without a picture."""
    for output in (o for cell in notebook.cells if cell.cell_type == "code" for o in cell.outputs):
        if LIVE[1] in output.get("data", {}) and not _pictures(output):
            chart = output["data"][LIVE[1]]
            size = {side: chart["layout"].get(side, usual) for side, usual in (("width", 700), ("height", 500))}
            png = kaleido.calc_fig_sync({k: chart[k] for k in ("data", "layout")}, opts={"format": "png", **size})
            output["data"]["image/png"] = b64encode(png).decode()


def still(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The same notebook without widgets and scripts; a progress bar, which shows no picture, is left out."""
    notebook = deepcopy(notebook)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [kept for output in cell.outputs if (kept := _still(output)) is not None]
    return notebook


def without_picture(notebook: nbformat.NotebookNode) -> list[str]:
    """Names of cells whose chart or explorer shows nothing without a kernel."""
    state = notebook.metadata.get("widgets", {}).get(LIVE[0].replace("view", "state"), {}).get("state", {})
    return [
        cell["id"]
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if _is_live(output) and not _pictures(output) and not _is_progress(output, state)
    ]


def to_html(notebook: nbformat.NotebookNode, path: Path) -> int:
    """Writes a page and returns how many pictures it holds."""
    settings = Config({"NbConvertBase": {"display_data_priority": PRIORITY}})
    page, _ = HTMLExporter(config=settings, embed_images=True).from_notebook_node(still(notebook))
    path.write_text(page, encoding="utf-8")
    return int(page.count("<img "))


def _still(output: Any) -> Any:
    if not _is_live(output):
        return output
    data = {kind: content for kind, content in output["data"].items() if kind not in LIVE}
    return output | {"data": data} if _pictures(output) else None


def _is_live(output: Any) -> bool:
    return any(kind in output.get("data", {}) for kind in LIVE)


def _pictures(output: Any) -> bool:
    return any(kind in output["data"] for kind in PICTURES)


def _is_progress(output: Any, state: dict[str, Any]) -> bool:
    """Whether the output is a bar of tqdm: a row of text, bar and text; its widgets may have been closed."""
    view = output["data"].get(LIVE[0])
    own = state.get(view["model_id"]) if view else None
    if view and own is None:
        return True
    children = (
        [state.get(child.removeprefix("IPY_MODEL_"), {}) for child in own["state"].get("children", [])] if own else []
    )
    return any(child.get("model_name") == "FloatProgressModel" for child in children)
