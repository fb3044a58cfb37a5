"""The ledger of the course's claims: what each was measured to be, with its control, over several seeds."""

import ast
import re
import sys
from pathlib import Path
from typing import Annotated

import nbformat
import pandas as pd
import typer

if not __package__:  # run as a script, it finds its neighbours
    sys.path.insert(0, str(Path(__file__).parents[1]))

from studies.script import one_sentence

NOTEBOOKS = Path(__file__).parents[1]
LEDGER = Path(__file__).parents[2] / "docs" / "claims.md"
HEAD = """# What the course claims

Each row is a sentence of a notebook that says that one thing is larger than another. The notebook measures both, the
*effect* and a *control* that could have been as large, and stops if the effect does not exceed the control by the
*margin*. Ranges are those over seeds; a notebook draws other faces, clips and first weights with each. Where both are
the same for every seed, the row was read from a stored result, or is arithmetic, and its seeds repeat nothing. Sizes
are those at which the notebooks are tested (`tests/notebooks/gate.py`). Executed notebooks of several seeds are made by
`TSFMICRO_SEEDS=5 pytest tests/notebooks`, and this page of them by `python notebooks/studies/claims.py build/claims`.

"""


def told(executed: nbformat.NotebookNode) -> list[dict[str, object]]:
    """The claims that held in an executed notebook, in their order, with what was measured."""
    cells = [cell for cell in executed.cells if cell.cell_type == "code"]
    about = [output.get("metadata", {}).get("tsfmicro", {}) for cell in cells for output in cell.outputs]
    return [one for one in about if one.get("found") == "claim"]


def sentences(notebook: nbformat.NotebookNode) -> list[str]:
    """The sentences that a notebook's cells claim, as they are written there."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    calls = [node for source in code for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    claimed = [call.args[0] for call in calls if isinstance(call.func, ast.Name) and call.func.id == "claim"]
    if any(not isinstance(sentence, ast.Constant) for sentence in claimed):
        raise ValueError("a claim's sentence must be written out: the ledger knows it by its text")
    return [str(sentence.value) for sentence in claimed if isinstance(sentence, ast.Constant)]


def worded(sentence: str) -> str:
    """A claim as the ledger shows it: names instead of numbers."""
    return re.sub(r"\{(\w+)[^}]*\}", r"*\1*", sentence).replace("|", "\\|")


def ledger(folder: Path, notebooks: Path = NOTEBOOKS) -> pd.DataFrame:
    """One row for each claim and seed of the executed notebooks `NAME-SEED.ipynb`, unless given up since."""
    rows = []
    for path in sorted(folder.glob("*-*.ipynb")):
        stem, _, seed = path.stem.rpartition("-")
        now = sentences(nbformat.read(notebooks / f"{stem}.ipynb", as_version=4))
        found = [one for one in told(nbformat.read(path, as_version=4)) if one["claim"] in now]
        rows += [{"notebook": stem, "seed": int(seed), **one} for one in found]
    if not rows:
        raise ValueError(f"{folder} holds no executed notebook that claims anything")
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame) -> str:
    """The ledger as a page."""
    lines = [
        "| notebook | claim | effect | control | least difference | margin | seeds |",
        "|---|---|---|---|---|---|---|",
    ]
    for (notebook, sentence), own in table.groupby(["notebook", "claim"], sort=False):
        least = (own.effect - own.control).min()
        spans = [f"{own[c].min():.3g} to {own[c].max():.3g}" for c in ("effect", "control")]
        link = f"[{str(notebook)[:2]}](../notebooks/{notebook}.ipynb)"
        cells = [link, worded(str(sentence)), *spans, f"{least:.3g}", f"{own.margin.iloc[0]:g}", str(len(own))]
        lines.append(f"| {' | '.join(cells)} |")
    return HEAD + "\n".join(lines) + "\n"


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    folder: Annotated[Path, typer.Argument(help="Holds executed notebooks, NAME-SEED.ipynb.")],
    save: Annotated[Path, typer.Option(help="Where the page goes.")] = LEDGER,
) -> None:
    """Write the ledger of claims from notebooks that were executed with several seeds."""
    with one_sentence():
        page = markdown(ledger(folder))
        save.write_text(page, encoding="utf-8")
    print(f"{page.count(chr(10)) - HEAD.count(chr(10)) - 2} claims: {save}")


if __name__ == "__main__":
    app()
