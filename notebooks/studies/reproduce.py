"""A paper's recipe on your own copy: honest, as its public code selects (leaky), and what was published, side by side.

`tsfmicro-lab reproduce MMNet "CASME II, 5 classes" ROOT`; without a root it lists what it knows. A composite takes a
root for each part; a store of `tsfmicro-lab data prepare` stands for its roots. Recipes are those of recipes.yaml, each
with the place where it was read; one of which a field was not read is refused.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from studies.papers import PaperRecipe, can_be_true, paper_recipes, published
from studies.script import Epochs, Out, Preset, Seeds, Workers, one_sentence
from studies.two_stages import TwoStages
from tsfmicro_lab.cli.data import open_clips
from tsfmicro_lab.cli.output import print_table
from tsfmicro_lab.data import Samples, open_store, prepare
from tsfmicro_lab.data.samples import MANIFEST
from tsfmicro_lab.data.tensors import KEY_FRAMES, STRONGEST
from tsfmicro_lab.files import write_text
from tsfmicro_lab.models import create_model
from tsfmicro_lab.training import Run, evaluate, subject_interval
from tsfmicro_lab.training.protocols import LEAKY

#: Our models by the first word of a method.
MODELS = {"TSFmicro": "tsfmicro_late", "MMNet": "mmnet", "SLSTT": "slstt_lstm", "STSTNet": "ststnet", "HTNet": "htnet"}
MODELS |= {"Off-ApexNet": "off_apexnet"}


def known() -> pd.DataFrame:
    """What can be reproduced: method, task, epoch that is reported, and where the recipe was read."""
    rows = [[p.method, p.task, p.reports, p.source] for p in paper_recipes() if _model(p.method) in MODELS.values()]
    return pd.DataFrame(rows, columns=["method", "task", "reports", "source"])


def find(method: str, task: str) -> PaperRecipe:
    """A recipe that :func:`known` lists; a ValueError if it is not known."""
    for paper in paper_recipes():
        if (paper.method, paper.task) == (method, task):
            return paper
    listed = "; ".join(f"{m}: {t}" for m, t in known()[["method", "task"]].itertuples(index=False))
    raise ValueError(f"no recipe of '{method}' on '{task}': choose from {listed}")


def prepare_for(
    paper: PaperRecipe, roots: list[Path], folder: Path, preset: str = "base", workers: int | None = None
) -> Samples:
    """Prepares your copy as the paper's model reads it: the classes of its task, and the reach of its key frames.

    Raises:
        ValueError: How the paper's data are prepared was not read, something of its recipe was not, or the copy is
            another set.
    """
    strongest = paper.recipe().strongest_pair
    if paper.prepare is None:
        raise ValueError(
            f"{paper.method}, {paper.task}: which classes of which set it reads was not read: give a store"
        )
    how, network = paper.prepare, create_model(_model(paper.method), preset=preset)
    data = open_clips(how["name"], roots, how.get("labels"), {"workers": workers})
    tensors = (*network.prepared, *KEY_FRAMES, *(STRONGEST if strongest else ()))
    options: dict[str, Any] = {"tensors": tensors, "folder": folder / "stores", "workers": workers}
    return prepare(data, network.config.image_size, target=how["target"], **options)


def reproduce(
    method: str,
    task: str,
    samples: Samples,
    folder: Path,
    *,
    preset: str = "base",
    epochs: int | None = None,
    seeds: int = 1,
    **options: Any,
) -> pd.DataFrame:
    """Trains by a paper's recipe twice, leaving one subject out: with its last epoch, and with the best on the tested.

    Args:
        method: Of a recipe, as :func:`known` lists it.
        task: Its task.
        samples: The clips, prepared for the model (`tsfmicro-lab data prepare … --model NAME/base`).
        folder: Where the runs go; unfinished ones go on.
        preset: Size of the model; `base` is the paper's.
        epochs: Those of the recipe by default.
        seeds: Number of seeds.
        **options: Of :func:`~tsfmicro_lab.training.evaluate`.

    Returns:
        A row for `honest` and for `leaky`, and one for each published score of that method with as many classes: `row`,
        `uf1` with the ends `low` and `high` of its interval over subjects, `uar`, `accuracy`, `clips`, `selection`,
        `can_be_true` (of three classes: whether any confusion matrix of these clips has both scores) and `source`.

    Raises:
        ValueError: The recipe is not known, or something of it was not read.
    """
    paper = find(method, task)
    recipe = replace(paper.recipe(), epochs=epochs or paper.recipe().epochs)
    kind: Any = partial(TwoStages, first=replace(recipe, **paper.first)) if paper.first else Run
    runs = {
        name: kind(_model(method), preset, recipe, how) for name, how in {"honest": "last", "leaky": "oracle"}.items()
    }
    table, scores = evaluate([*runs.values()], samples, folder, seeds=seeds, **options)
    rows = []
    for name, run in runs.items():
        own = scores[scores.model == run.label]
        low, high = subject_interval(table[table.model == run.label], samples.classes, same_people=True)[1:]
        row = {"row": name, **own[["uf1", "uar", "accuracy"]].mean().to_dict(), "low": low, "high": high}
        rows.append(
            row | {"clips": len(samples), "selection": LEAKY if run.leaky else run.selection, "source": paper.source}
        )
    counts = np.bincount(samples.label).tolist()
    printed = published()
    printed = printed[printed.method.str.startswith(method.partition(",")[0]) & (printed.classes == str(len(counts)))]
    for old in printed.to_dict("records"):
        row = {"row": f"published, {old['data']} {old['protocol']}", **{n: old[n] for n in ("uf1", "uar", "accuracy")}}
        if len(counts) == 3 and sum(counts) < 200 and pd.notna(old["uf1"]) and pd.notna(old["uar"]):
            row["can_be_true"] = can_be_true(old["uf1"], old["uar"], counts)
        rows.append(row | {"selection": old["selection"], "source": old["quoted_by"] or old["source"]})
    order = ["row", "uf1", "low", "high", "uar", "accuracy", "clips", "can_be_true", "selection", "source"]
    return pd.DataFrame(rows).reindex(columns=order)


def cost(samples: Samples, epochs: int, seeds: int) -> str:
    """What a run costs, before it begins."""
    folds = len(set(samples.subjects))
    steps = 2 * seeds * epochs * sum(len(samples) - n for n in pd.Series(samples.subjects).value_counts())
    return f"{2 * seeds * folds} trainings of {epochs} epochs: {steps:,} clips are passed through the network and back"


def _model(method: str) -> str:
    return MODELS.get(method.partition(",")[0], "")


app = typer.Typer(add_completion=False)


@app.command()
def main(
    method: Annotated[str, typer.Argument(help="Such as MMNet; none: what there is is listed.")] = "",
    task: Annotated[str, typer.Argument(help="Such as 'CASME II, 5 classes'.")] = "",
    roots: Annotated[list[Path] | None, typer.Argument(help="Folder of your copy, or a store of it.")] = None,
    preset: Preset = "base",
    epochs: Epochs = None,
    seeds: Seeds = 1,
    workers: Workers = None,
    out: Out = Path("build/reproduce"),
) -> None:
    """Train by a paper's recipe on your own copy: honest, leaky and published, side by side."""
    with one_sentence():
        if not roots:
            print_table(known())
            return
        paper = find(method, task)
        store = (roots[0] / MANIFEST).is_file()
        samples = open_store(roots[0]) if store else prepare_for(paper, roots, out, preset, workers)
        print(cost(samples, (1 + bool(paper.first)) * (epochs or paper.recipe().epochs), seeds))
        table = reproduce(method, task, samples, out, preset=preset, epochs=epochs, seeds=seeds, workers=workers)
        print_table(table.drop(columns="source"), f"{method}, {task}")
        write_text(out / "reproduced.csv", table.to_csv(index=False))


if __name__ == "__main__":
    app()
