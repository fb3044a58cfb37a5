"""One table, methods × scores: which explanations find what truly moved, and which of them look at the model."""

import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import typer
from scipy.stats import spearmanr

if not __package__:  # run as a script, it finds its neighbours
    sys.path.insert(0, str(Path(__file__).parents[1]))

from studies.compare import DISTRACTORS, USUAL
from studies.intervals import group_interval
from studies.script import Clips, Epochs, Save, Seeds, Subjects, Workers, one_sentence
from studies.stored import Stored, provenance_of, writable
from studies.trials import CONTROLS, randomise, score_clips, shortcut
from tsfmicro_lab.cli.output import print_table
from tsfmicro_lab.data import SyntheticMicroExpressions, prepare
from tsfmicro_lab.explain.charts import intervals_chart
from tsfmicro_lab.training import Run, cross_validate, fold_processes
from tsfmicro_lab.training.predictions import read_predictions, write_predictions

#: Which end of each score is good: 1 the high one, -1 the low one.
BETTER = dict.fromkeys(("pointing", "mass", "precision", "rank", "insertion"), 1)
BETTER |= dict.fromkeys(("deletion", "infidelity", "sensitivity"), -1)
#: Scores whose median is told: a few clips whose logit hardly changed would make up the mean.
SKEWED = ("completeness", "seconds")
RUN = Run("tsfmicro_late")
#: Clips of each subject that are explained where there are distractors: the time is better spent on the others.
FEWER = 1
KEYS = ["distractors", "method", "stream", "score"]


@dataclass(frozen=True)
class Trust(Stored):
    """What the measurement found; every table is long, one row per fact.

    Attributes:
        scores: `distractors`, `method`, `stream`, `score`, `mean`, `low`, `high`, `clips`: 95 % intervals
            over subjects. Beside the methods stand controls that never saw the model: `random`, `edges`, `input`.
        units: `distractors`, `method`, `unit`, `clips`; `mass`, `area`, `pointing` of the how-map in the unit's region.
        causes: `distractors`, `method`, `mean`, `low`, `high`, `pairs`: rank correlation of what a map gives to a
            unit's region with what happens to the logit when the unit does not move.
        sanity: `method`, `check`, `similarity`, `low`, `high`: of the maps before and after.
        shortcut: `distractors`, `method`, `stream`, `marked`, `pointing`, `mass`, `area` of the mark, and
            `fooled`: the share of such clips that the model takes for the class that the mark gave away in training.
    """

    script: ClassVar = "trust"
    scores: pd.DataFrame
    units: pd.DataFrame
    causes: pd.DataFrame
    sanity: pd.DataFrame
    shortcut: pd.DataFrame

    def table(self, distractors: str = "none", stream: str = "how") -> pd.DataFrame:
        """Methods × scores, means only."""
        rows = self.scores.query("distractors == @distractors and stream in (@stream, 'both')")
        return rows.pivot_table(index="method", columns="score", values="mean", sort=False)


def methods_chart(
    scores: pd.DataFrame, score: str, stream: str = "how", *, controls: Collection[str] = tuple(CONTROLS)
) -> go.Figure:
    """One score of every method with its 95 % interval, the best on top, controls in another colour.

    Args:
        scores: Columns `method`, `stream`, `score`, `mean`, `low`, `high`, of clips of one kind.
        score: Which one.
        stream: `how` or `where`; scores of both maps together are found, too.
        controls: Methods that never saw the model.

    Raises:
        ValueError: There is no such score.
    """
    rows = scores[(scores.score == score) & scores.stream.isin([stream, "both"])]
    if rows.empty:
        raise ValueError(f"no score '{score}' of '{stream}': choose from {sorted(set(scores.score))}")
    high = BETTER.get(score, 1) > 0
    rows = rows.sort_values("mean", ascending=not high)
    rows = rows.assign(kind=np.where(rows.method.isin(list(controls)), "control", "method"))
    title = f"{score} ({'higher' if high else 'lower'} is better)"
    return intervals_chart(rows, "mean", "method", "low", "high", "kind", title=title)


def measure(
    folder: Path,
    *,
    subjects: int = 8,
    clips_per_subject: int = 12,
    seeds: int = 3,
    explained: int = 5,
    epochs: int | None = None,
    conditions: Sequence[str] = ("none", "all"),
    workers: int | None = None,
) -> Trust:
    """Scores every method on held-out clips, with and without distractors, and runs the sanity checks; resumable.

    Everything is measured on clips without distractors, where the models recognise most clips. With distractors, where
    they recognise few, maps are only scored against the true motion.

    Args:
        folder: Where models are kept; those that `compare` left in the same folder are used again.
        subjects: Synthetic subjects of each seed.
        clips_per_subject: Clips of each, on which the models are trained.
        seeds: Number of seeds; each has its own faces, clips and weights.
        explained: Clips of each held-out subject that are explained, the first ones.
        epochs: Epochs; those of the recipe by default.
        conditions: Distractors in the clips: `none`, and `all` for a smaller part.
        workers: Processes that train; one per core by default.

    Returns:
        The measurement.
    """
    if "none" not in conditions or set(conditions) - set(DISTRACTORS):
        raise ValueError(f"distractors must be 'none', or 'none' and 'all', got {list(conditions)}")
    run = replace(RUN, recipe=replace(RUN.recipe, epochs=epochs or RUN.recipe.epochs))
    provenance = provenance_of(
        run, seeds=seeds, subjects=subjects, clips_per_subject=clips_per_subject, explained=explained
    )
    found: dict[str, list[pd.DataFrame]] = {name: [] for name in Trust.tables()}
    for name, seed in product(conditions, range(seeds)):
        data = SyntheticMicroExpressions(
            subjects, clips_per_subject, seed=seed, layout_variation=USUAL, distractors=DISTRACTORS[name]
        )
        samples = prepare(data, run.create(2).config.image_size)
        place = folder / f"{name}-layout{USUAL:g}" / f"{run.label}-{seed}"
        with fold_processes(workers) as pool:
            cross_validate(samples, replace(run, seed=seed), folder=place, executor=pool, keep_models=True)
        fully = name == "none"
        parts = {
            "scores": partial(score_clips, data, samples, place, explained if fully else FEWER, fully=fully),
            "shortcut": partial(shortcut, data, samples, replace(run, seed=seed), clips=min(4, explained)),
        }
        if fully:
            parts["sanity"] = partial(randomise, data, samples, place, replace(run, seed=seed), clips=min(3, explained))
        for part, compute in parts.items():
            path = place / f"{part}-{explained}.csv"
            if not path.exists():
                write_predictions(compute().assign(distractors=name, seed=seed), path)
            found[part].append(read_predictions(path, "unit"))
    clips, checks, marks = (pd.concat(found[part], ignore_index=True) for part in ("scores", "sanity", "shortcut"))
    return Trust(provenance, _means(clips), _per_unit(clips), _causes(clips), _similarities(checks), _marks(marks))


def _intervals(
    rows: pd.DataFrame, by: list[str], values: list[str], statistic: Callable[[np.ndarray], Any] = np.mean
) -> pd.DataFrame:
    found = []
    for key, group in rows.dropna(subset=values).groupby(by, sort=False):
        people = [[rows[values].to_numpy() for _, rows in own.groupby("subject")] for _, own in group.groupby("seed")]
        mean, low, high = group_interval(people, statistic)
        found.append({**dict(zip(by, key, strict=True)), "mean": mean, "low": low, "high": high, "clips": len(group)})
    return pd.DataFrame(found)


def _means(clips: pd.DataFrame) -> pd.DataFrame:
    names = [*BETTER, "area", "completeness", "refused", "how_share", "seconds"]
    rows = clips[clips.stream != "unit"]
    long = rows.melt(["distractors", "seed", "subject", "method", "stream"], names, "score", "value")
    skewed = long.score.isin(SKEWED)
    found = [_intervals(long[~skewed], KEYS, ["value"]), _intervals(long[skewed], KEYS, ["value"], np.median)]
    return _widely(pd.concat(found, ignore_index=True), ["distractors", "stream", "score"])


def _widely(found: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Without methods that could explain but a few of the clips: their mean is about other clips than the rest's."""
    return found[2 * found.clips > found.groupby(by).clips.transform("max")].reset_index(drop=True)


def _per_unit(clips: pd.DataFrame) -> pd.DataFrame:
    rows = clips[clips.stream == "unit"].assign(unit=lambda t: t.unit.str.lstrip("LR"))
    groups = rows.groupby(["distractors", "method", "unit"], sort=False)
    means = groups[["mass", "area", "pointing"]].mean()
    return _widely(means.assign(clips=groups.size()).reset_index(), ["distractors", "unit"])


def _causes(clips: pd.DataFrame) -> pd.DataFrame:
    def correlation(pairs: np.ndarray) -> float:
        even = not np.ptp(pairs, axis=0).all()
        return float("nan") if even else float(spearmanr(*pairs.T).statistic)

    rows = clips[(clips.stream == "unit") & ~clips.method.isin(list(CONTROLS))]
    found = _intervals(rows, ["distractors", "method"], ["effect", "claimed"], correlation)
    return _widely(found, ["distractors"]).rename(columns={"clips": "pairs"})


def _similarities(checks: pd.DataFrame) -> pd.DataFrame:
    return _intervals(checks, ["method", "check"], ["similarity"]).rename(columns={"mean": "similarity"})


def _marks(marks: pd.DataFrame) -> pd.DataFrame:
    groups = marks.groupby(["distractors", "method", "stream", "marked"], sort=False)
    return groups[["pointing", "mass", "area", "fooled"]].mean().reset_index()


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    out: Annotated[
        Path, typer.Option(help="Where models and finished parts are kept; models of compare.py there are used.")
    ] = Path("build/compare"),
    save: Save = None,
    subjects: Subjects = 8,
    clips: Clips = 12,
    seeds: Seeds = 3,
    explained: Annotated[int, typer.Option(min=1, help="Clips of each held-out subject that are explained.")] = 5,
    epochs: Epochs = None,
    distractors: Annotated[list[str], typer.Option(help="In the clips: none, and then also all.")] = ["none", "all"],  # noqa: B006
    workers: Workers = None,
) -> None:
    """Score every attribution method against the true motion, and check that it looks at the model. Half an hour."""
    with one_sentence():
        path = writable(save or out / "trust.json")
        result = measure(
            out,
            subjects=subjects,
            clips_per_subject=clips,
            seeds=seeds,
            explained=explained,
            epochs=epochs,
            conditions=distractors,
            workers=workers,
        )
        result.save(path)
    print_table(result.table().reset_index(), "how-maps of clips without distractors")
    print(f"everything: {path}")


if __name__ == "__main__":
    app()
