"""All fusion variants on the same folds, and the experiment behind the word "where". The result is one small file."""

import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
import typer

if not __package__:  # run as a script, it finds its neighbours
    sys.path.insert(0, str(Path(__file__).parents[1]))

from studies.anatomy import cost
from studies.script import Accelerator, Clips, Epochs, Out, Preset, Save, Seeds, Subjects, Workers, one_sentence
from studies.stored import Stored, provenance_of, writable
from tsfmicro_lab.cli.output import print_table
from tsfmicro_lab.data import Distractors, Samples, SyntheticMicroExpressions, prepare
from tsfmicro_lab.explain.streams import intervene, intervention_scores
from tsfmicro_lab.models import PRESETS, from_pretrained
from tsfmicro_lab.training import RECIPES, Run, cross_validate, fit, fold_processes, score_table, subject_interval
from tsfmicro_lab.training.cross_validation import model_folder
from tsfmicro_lab.training.metrics import majority
from tsfmicro_lab.training.predictions import write_predictions

CONDITION = ["distractors", "layout", "model"]
TEMPORAL, LATE = "tsfmicro_temporal", "tsfmicro_late"
VARIANTS = (
    Run(LATE),
    Run("tsfmicro_early"),
    Run("tsfmicro_t2s", settings={"inject": "before"}),
    Run("tsfmicro_t2s", settings={"inject": "after"}),
    Run("tsfmicro_s2t"),
    Run(TEMPORAL),
    Run("tsfmicro_spatial"),
)
DISTRACTORS = {"all": Distractors(), "none": Distractors.none()}
#: How much the layout of faces varies between subjects: not at all, about as between adults, twice that.
LAYOUTS = (0.0, 1.0, 2.0)
#: The layout at which all variants are compared.
USUAL = 1.0


@dataclass(frozen=True)
class Comparison(Stored):
    """What a comparison found; every table is long, one row per fact.

    Attributes:
        scores: `distractors`, `layout`, `model`, `seed`, `uf1`, `uar`, `accuracy`, `clips`.
        intervals: `distractors`, `layout`, `model`, `uf1`, `low`, `high`, and the gain over the temporal branch alone:
            `gain`, `gain_low`, `gain_high`; 95 % bootstrap intervals over subjects.
        cost: `model`, `parameters`, `mflops` (one sample forward), `ms` (one training step per clip).
        streams: `distractors`, `layout`, `model`, `seed`, `intervention`, `uf1`, `lost`, `p_truth`.
    """

    script: ClassVar = "compare"
    scores: pd.DataFrame
    intervals: pd.DataFrame
    cost: pd.DataFrame
    streams: pd.DataFrame

    def table(self) -> pd.DataFrame:
        """UF1 and gain over the temporal branch alone, each with its 95 % interval over subjects, as text."""
        rows = self.intervals
        spread = self.scores.groupby(CONDITION)["uf1"].std()
        return rows[CONDITION].assign(
            uf1=[f"{r.uf1:.3f} ({r.low:.2f} to {r.high:.2f})" for r in rows.itertuples()],
            over_seeds=[f"± {spread[key]:.3f}" for key in rows[CONDITION].itertuples(index=False, name=None)],
            gain=[f"{r.gain:+.3f} ({r.gain_low:+.2f} to {r.gain_high:+.2f})" for r in rows.itertuples()],
        )


def compare(
    folder: Path,
    *,
    subjects: int = 8,
    clips_per_subject: int = 12,
    seeds: int = 3,
    preset: str = "tiny",
    epochs: int | None = None,
    accelerator: str = "cpu",
    workers: int | None = None,
) -> Comparison:
    """Evaluates every variant by leave-one-subject-out, last epoch, several seeds; resumable.

    All variants meet clips with and without distractors; late fusion and the temporal branch also faces whose layout
    varies less and more. Each seed draws its own faces, clips and weights.

    Args:
        folder: Where folds and their models are kept.
        subjects: Synthetic subjects of each seed.
        clips_per_subject: Clips of each.
        seeds: Number of seeds.
        preset: Size of all models.
        epochs: Epochs; those of the preset's recipe by default.
        accelerator: `cpu`, `cuda`, …
        workers: Processes; one per core by default.

    Returns:
        The comparison.
    """
    if preset not in PRESETS:
        raise ValueError(f"unknown preset '{preset}': choose from {', '.join(PRESETS)}")
    recipe = replace(RECIPES[preset], epochs=epochs or RECIPES[preset].epochs)
    runs = [replace(run, preset=preset, recipe=recipe, accelerator=accelerator) for run in VARIANTS]
    size = runs[0].create(2).config.image_size
    few = prepare(SyntheticMicroExpressions(2, 8), size, progress=False)
    costs = measure_cost(runs, lambda run: few)
    provenance = provenance_of(runs[0], seeds=seeds, subjects=subjects, clips_per_subject=clips_per_subject)
    predictions, scores, streams = [], [], []
    with fold_processes(1 if accelerator == "cuda" else workers) as pool:
        for (name, distractors), layout in product(DISTRACTORS.items(), LAYOUTS):
            for seed in range(seeds):
                data = SyntheticMicroExpressions(
                    subjects, clips_per_subject, seed=seed, layout_variation=layout, distractors=distractors
                )
                samples = prepare(data, size)
                condition: dict[str, Any] = {"distractors": name, "layout": layout}
                tables = []
                for run in runs if layout == USUAL else [r for r in runs if r.model in (LATE, TEMPORAL)]:
                    place = folder / f"{name}-layout{layout:g}" / f"{run.label.replace(' ', '-')}-{seed}"
                    rows, tampered = evaluate_streams(replace(run, seed=seed), samples, place, pool)
                    tables.append(rows)
                    streams.append(tampered.assign(**condition, seed=seed))
                predictions.append(pd.concat(tables, ignore_index=True).assign(**condition))
                scores.append(score_table(predictions[-1], samples.classes).assign(**condition, seed=seed))
    table = pd.concat(predictions, ignore_index=True)
    write_predictions(table, folder / "predictions.csv")
    return Comparison(
        provenance=provenance,
        scores=pd.concat(scores, ignore_index=True),
        intervals=_intervals(table, samples.classes),
        cost=costs,
        streams=pd.concat(streams, ignore_index=True),
    )


def evaluate_streams(
    run: Run, samples: Samples, folder: Path, executor: Executor | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Leave-one-subject-out, and what each fold's model says of its held-out clips when its streams are tampered with.

    Args:
        run: What to evaluate.
        samples: Prepared clips.
        folder: Where folds and models are kept.
        executor: Runs the folds (see `cross_validate`).

    Returns:
        (Predictions, scores under each intervention; the latter is empty for a model of one stream).
    """
    predictions = cross_validate(samples, run, folder=folder, executor=executor, keep_models=True)
    if run.model in (TEMPORAL, "tsfmicro_spatial"):
        return predictions, pd.DataFrame()
    tables = [
        intervene(from_pretrained(model_folder(folder, subject)), samples, np.flatnonzero(samples.subjects == subject))
        for subject in np.unique(samples.subjects)
    ]
    return predictions, intervention_scores(pd.concat(tables), samples.classes).assign(model=run.label)


def measure_cost(runs: Sequence[Run], samples_for: Callable[[Run], Samples]) -> pd.DataFrame:
    """Size and speed. The models take turns on one thread, and the fastest of five turns counts: noise only adds.

    Args:
        runs: What to measure.
        samples_for: The clips as a run's model reads them.

    Returns:
        Rows `model`, `parameters`, `mflops` (one clip forward), `ms` (one training step per clip).
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    best = dict.fromkeys((run.label for run in runs), np.inf)
    samples = [samples_for(run) for run in runs]
    for run, own in [*zip(runs, samples, strict=True)] * 6:  # the first turn warms up
        model = run.create(len(own.classes), seed=0)
        model.pretrain = lambda *_: None  # type: ignore[method-assign]  # a step of the training proper
        began = time.perf_counter()
        fit(model, own, np.arange(len(own)), replace(run.recipe, epochs=1))
        best[run.label] = min(best[run.label], (time.perf_counter() - began) / len(own) * 1e3)
    torch.set_num_threads(threads)
    rows = []
    for run, own in zip(runs, samples, strict=True):
        parameters, flops = cost(run.create(len(own.classes)))
        rows.append({"model": run.label, "parameters": parameters, "mflops": flops / 1e6, "ms": best[run.label]})
    return pd.DataFrame(rows)


def with_majority(table: pd.DataFrame) -> pd.DataFrame:
    """Predictions of several models, and beside them a `majority` that says the commonest class of each seed."""
    return pd.concat([table, majority(table[table.model == table.model.iloc[0]])])


def _intervals(table: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    rows = []
    for (distractors, layout), group in table.groupby(["distractors", "layout"], sort=False):
        temporal = group[group.model == TEMPORAL]
        for model, own in with_majority(group).groupby("model", sort=False):
            uf1, low, high = subject_interval(own, classes)
            gain, gain_low, gain_high = subject_interval(own, classes, against=temporal)
            row = {"distractors": distractors, "layout": layout, "model": model, "uf1": uf1, "low": low, "high": high}
            rows.append({**row, "gain": gain, "gain_low": gain_low, "gain_high": gain_high})
    return pd.DataFrame(rows)


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    out: Out = Path("build/compare"),
    save: Save = None,
    preset: Preset = "tiny",
    subjects: Subjects = 8,
    clips: Clips = 12,
    seeds: Seeds = 3,
    epochs: Epochs = None,
    accelerator: Accelerator = "cpu",
    workers: Workers = None,
) -> None:
    """Compare all fusion variants on the same folds, on faces that differ less and more. Over an hour on two cores."""
    with one_sentence():
        path = writable(save or out / "comparison.json")
        found = compare(
            out,
            subjects=subjects,
            clips_per_subject=clips,
            seeds=seeds,
            preset=preset,
            epochs=epochs,
            accelerator=accelerator,
            workers=workers,
        )
        found.save(path)
    print_table(found.table())
    print(f"everything: {path}")


if __name__ == "__main__":
    app()
