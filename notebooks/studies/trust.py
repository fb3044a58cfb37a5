"""Which explanations find what truly moved, say what the model does, and do not accuse it of what it never did."""

import sys
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations, product
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import typer
from scipy.stats import kendalltau, rankdata, spearmanr
from tqdm.auto import tqdm

if not __package__:  # run as a script, it finds its neighbours
    sys.path.insert(0, str(Path(__file__).parents[1]))

from studies.intervals import group_interval
from studies.plots import intervals_chart
from studies.script import Clips, Save, Seeds, Subjects, Workers, one_sentence
from studies.stored import Stored, provenance_of, writable
from studies.trials import (
    CHEAT,
    CONTROLS,
    DISTRACTORS,
    HONEST,
    IMPUTATIONS,
    NEW,
    NONSENSE,
    TWIN,
    Setting,
    accuse_clips,
    check_clips,
    recognise,
    score_clips,
)
from studies.trust_story import write_section
from tsfmicro_lab.cli.output import print_table
from tsfmicro_lab.data import SyntheticMicroExpressions, prepare
from tsfmicro_lab.data.synthetic import CLASS_COUNTS
from tsfmicro_lab.explain import where_how
from tsfmicro_lab.processes import process_pool, usable_cores
from tsfmicro_lab.training import Run, fit
from tsfmicro_lab.training.predictions import read_predictions, write_predictions

#: Which end of each score is good: 1 the high one, -1 the low one.
BETTER = dict.fromkeys(("pointing", "mass", "precision", "rank", "insertion"), 1)
BETTER |= dict.fromkeys(("deletion", "infidelity", "sensitivity"), -1)
#: Scores that need something in the place of missing pixels.
IMPUTED = ("deletion", "insertion", "infidelity")
#: Scores whose median is told: a few clips whose logit hardly changed would make up the mean.
SKEWED = ("completeness", "seconds")
#: How much more a map of one sanity check resembles the original than that of another.
CLOSER = "another seed, less random labels"
RUN = Run("tsfmicro_late")
EPOCHS = 24
#: New subjects of each seed on whose first clip the sanity checks are done.
CHECKED = 3
#: What a clip takes in each kind of measurement, in maps of integrated gradients.
COSTS = {"scores": 55.0, "sanity": 100.0, "shortcut": 35.0, "models": 5.0}
KEYS = ["distractors", "method", "stream", "score"]


@dataclass(frozen=True)
class Trust(Stored):
    """What the measurement found; every table is long, one row per fact.

    Attributes:
        scores: `distractors`, `method`, `stream`, `score`, `mean`, `low`, `high`, `clips`: 95 % intervals over seeds
            and subjects. Deletion, insertion and infidelity are means over the imputations. Beside the methods stand
            controls that never saw the model: `random`, `edges`, `input`.
        imputation: The same of these three scores, with a column `imputation`; integrated gradients start at `zero`.
        stability: `distractors`, `stream`, `score`, `first`, `second`: two imputations; `tau`, `low`, `high`: Kendall's
            correlation of the order in which they put the methods, without controls.
        units: `distractors`, `method`, `unit`, `clips`; `mass`, `area`, `pointing` of the how-map in the unit's region.
        causes: `distractors`, `method`, `mean`, `low`, `high`, `pairs`: rank correlation of what a map gives to a
            unit's region with what happens to the logit when the unit does not move.
        sanity: `method`, `check`, `similarity`, `low`, `high`: of the maps before and after; and the difference of two
            of these, `another seed, less random labels`, clip by clip.
        shortcut: `distractors`, `method`, `stream`, `trained` (with the mark, or as it is), `marked`, `pointing`,
            `mass`, `area` of the mark.
        telling: `distractors`, `method`, `stream`, `score`, `auc`, `low`, `high`: of a map of a model trained with the
            mark and one of a model of the same seed trained without, both of marked clips, how often the former scores
            higher (0.5: by chance).
        models: `distractors`, `trained`, `seed`, `accuracy` on new subjects, and `fooled`: the share of their clips of
            other classes that it takes for the one that the mark gave away, with the mark on them; `plain`: without.
    """

    script: ClassVar = "trust"
    scores: pd.DataFrame
    imputation: pd.DataFrame
    stability: pd.DataFrame
    units: pd.DataFrame
    causes: pd.DataFrame
    sanity: pd.DataFrame
    shortcut: pd.DataFrame
    telling: pd.DataFrame
    models: pd.DataFrame

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
    subjects: int = 16,
    clips_per_subject: int = 12,
    seeds: int = 10,
    new: int = 5,
    explained: int = 2,
    epochs: int = EPOCHS,
    conditions: Sequence[str] = tuple(DISTRACTORS),
    trained: Path | None = None,
    workers: int | None = None,
) -> Trust:
    """Trains on some synthetic subjects and explains clips of others, scored in every way; resumable.

    Args:
        folder: Where models and finished parts are kept.
        subjects: Synthetic subjects that each seed trains on.
        clips_per_subject: Clips of each.
        seeds: Number of seeds; each has its own faces, clips and parameters.
        new: Other subjects of each seed, who are explained.
        explained: Clips of each of these.
        epochs: Epochs; half of those of the recipe by default, for time.
        conditions: Distractors in the clips: `none`, or `none` and `all`.
        trained: A folder with models of late fusion, `none-0` and so on by distractors and seed, that are explained
            instead of being trained. The people whom they were trained on must be others.
        workers: Processes; one per core by default.

    Returns:
        The measurement.
    """
    if "none" not in conditions or set(conditions) - set(DISTRACTORS):
        raise ValueError(f"distractors must be 'none', or 'none' and 'all', got {list(conditions)}")
    run = replace(RUN, recipe=replace(RUN.recipe, epochs=epochs))
    size = {"subjects": subjects, "clips_per_subject": clips_per_subject, "seeds": seeds}
    provenance = provenance_of(run, **size, new_subjects=new, explained=explained)
    provenance["protocol"] = f"trained on some subjects, explained on clips of others, preset {run.preset}, last epoch"
    settings = [
        Setting(name, seed, run, subjects, clips_per_subject, new, explained, folder, trained)
        for name, seed in product(conditions, range(seeds))
    ]
    workers = workers or usable_cores()
    jobs = {path: job for setting in settings for path, job in _parts(setting).items()}
    lacking = {path: job for path, job in jobs.items() if not path.exists()}
    models = [(s, kind) for s in settings for kind in _kinds(s) if s.lacks(kind)]
    if lacking:
        minutes = _estimate(settings[0], list(lacking), len(models)) / workers / 60
        print(f"{len(models)} models to train, {len(lacking)} parts to do: about {minutes:.0f} minutes", flush=True)
    prepared = {setting.place: setting.samples(workers) for setting, _ in models}
    _run([partial(s.train, kind, prepared[s.place]) for s, kind in models], workers, "training models")
    _run([partial(_keep, job, path) for path, job in lacking.items()], workers, "explaining clips")
    found: dict[str, list[pd.DataFrame]] = {part: [] for part in ("scores", "sanity", "shortcut", "models")}
    for path in jobs:
        name, seed = path.parent.name.rsplit("-", 1)
        rows = read_predictions(path, "unit", "method", "stream", "check", "trained")
        found[path.stem.split("-")[0]].append(rows.assign(distractors=name, seed=int(seed)))
    clips, checks, marks, answers = (pd.concat(parts, ignore_index=True) for parts in found.values())
    return Trust(
        provenance,
        scores=_means(_mean_imputation(clips), [*BETTER, "area", "completeness", "refused", "how_share", "seconds"]),
        imputation=_imputations(clips),
        stability=_stability(clips),
        units=_per_unit(clips),
        causes=_causes(clips),
        sanity=_similarities(checks),
        shortcut=_marks(marks),
        telling=_telling(marks),
        models=_models(answers, marks),
    )


def _kinds(setting: Setting) -> list[str]:
    """Models of a seed: those that differ by seed or labels are trained where there are no distractors."""
    return [HONEST, CHEAT, *([TWIN, NONSENSE] if setting.distractors == "none" else [])]


def _parts(setting: Setting) -> dict[Path, Callable[[], pd.DataFrame]]:
    """What is measured, one file for each kind of measurement and new subject."""
    parts: dict[str, Callable[..., pd.DataFrame]] = {"scores": score_clips, "shortcut": accuse_clips}
    parts["models"] = partial(recognise, kinds=_kinds(setting))
    people = list(setting.faces.annotations.subject.unique())
    jobs = {(n, who): partial(job, setting, who) for n, job in parts.items() for who in people}
    if setting.distractors == "none":
        jobs |= {("sanity", who): partial(check_clips, setting, who) for who in people[:CHECKED]}
    return {setting.place / f"{n}-{who}.csv": job for (n, who), job in jobs.items()}


def _run(jobs: Sequence[Callable[[], None]], workers: int, title: str) -> None:
    """Does all jobs, in any order; one worker is this process."""
    if workers == 1:
        for job in tqdm(jobs, title):
            job()
        return
    with process_pool(workers) as pool:
        for done in tqdm(as_completed([pool.submit(job) for job in jobs]), title, len(jobs)):
            done.result()


def _keep(job: Callable[[], pd.DataFrame], path: Path) -> None:
    write_predictions(job(), path)


def _estimate(setting: Setting, parts: Sequence[Path], models: int) -> float:
    """Seconds of one core, from one map of integrated gradients and one epoch on a few clips; see :data:`COSTS`."""
    data = SyntheticMicroExpressions(2, 4, seed=setting.seed + NEW)
    model = setting.run.create(len(CLASS_COUNTS), seed=0)
    samples = prepare(data, model.config.image_size, progress=False)
    where_how(model, model.inputs_of(samples, [0]), 0)  # the first one loads what it needs
    began = time.perf_counter()
    where_how(model, model.inputs_of(samples, [0]), 0)
    explaining, began = time.perf_counter() - began, time.perf_counter()
    fit(model, samples, np.arange(len(samples)), replace(setting.run.recipe, epochs=2))
    step = (time.perf_counter() - began) / (2 * len(samples))
    training = models * setting.subjects * setting.clips * setting.run.recipe.epochs * step
    each = {"scores": setting.explained, "sanity": 1, "shortcut": 1, "models": setting.explained}
    return training + sum(explaining * COSTS[kind] * each[kind] for kind in (p.stem.split("-")[0] for p in parts))


def _intervals(
    rows: pd.DataFrame,
    by: list[str],
    values: list[str],
    statistic: Callable[[np.ndarray], Any] = np.mean,
    count: str = "clips",
) -> pd.DataFrame:
    """A statistic of some columns for each group, with its interval over seeds and subjects."""
    found = []
    for key, group in rows.dropna(subset=values).groupby(by, sort=False):
        people = [[own[values].to_numpy() for _, own in one.groupby("subject")] for _, one in group.groupby("seed")]
        mean, low, high = group_interval(people, statistic)
        found.append({**dict(zip(by, key, strict=True)), "mean": mean, "low": low, "high": high, count: len(group)})
    return pd.DataFrame(found, columns=[*by, "mean", "low", "high", count])


def _mean_imputation(clips: pd.DataFrame) -> pd.DataFrame:
    means = {score: clips[[f"{score}: {name}" for name in IMPUTATIONS]].mean(axis=1) for score in IMPUTED}
    return clips.assign(**means)


def _means(clips: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    rows = clips[clips.stream != "unit"]
    long = rows.melt(["distractors", "seed", "subject", "method", "stream"], names, "score", "value")
    skewed = long.score.isin(SKEWED)
    found = [_intervals(long[~skewed], KEYS, ["value"]), _intervals(long[skewed], KEYS, ["value"], np.median)]
    return _widely(pd.concat(found, ignore_index=True), ["distractors", "stream", "score"])


def _imputations(clips: pd.DataFrame) -> pd.DataFrame:
    found = _means(clips, [f"{score}: {name}" for score, name in product(IMPUTED, IMPUTATIONS)])
    both = found.score.str.split(": ", expand=True)
    return found.assign(score=both[0], imputation=both[1])


def _stability(clips: pd.DataFrame) -> pd.DataFrame:
    """How far two imputations agree on the order of methods."""

    def tau(values: np.ndarray) -> float:
        return float(kendalltau(*values.mean(0).reshape(2, -1)).statistic)

    rows = clips[(clips.stream != "unit") & ~clips.method.isin([*CONTROLS, "DeepLift"])]
    found = []
    for (name, stream), group in rows.groupby(["distractors", "stream"], sort=False):
        for score, (one, two) in product(IMPUTED, combinations(IMPUTATIONS, 2)):
            columns = [f"{score}: {one}", f"{score}: {two}"]
            wide = group.pivot_table(columns, ["seed", "subject", "clip"], "method").dropna(axis=1, how="all").dropna()
            if wide.empty:
                continue
            wide = wide[columns]  # the methods of one imputation, and then in the same order those of the other
            people = [[own.to_numpy() for _, own in g.groupby("subject")] for _, g in wide.groupby("seed")]
            value, low, high = group_interval(people, tau)
            about: dict[str, Any] = {"distractors": name, "stream": stream, "score": score, "first": one, "second": two}
            ends = {"low": max(low, -1.0), "high": min(high, 1.0)}
            found.append({**about, "tau": value, **ends, "methods": wide.shape[1] // 2})
    return pd.DataFrame(found)


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
    about = ["seed", "subject", "clip", "method"]
    wide = checks.pivot_table(values="similarity", index=about, columns="check", sort=False)
    closer = (wide[TWIN] - wide[NONSENSE]).rename("similarity").reset_index().assign(check=CLOSER)
    rows = pd.concat([checks, closer], ignore_index=True)
    return _intervals(rows, ["method", "check"], ["similarity"]).rename(columns={"mean": "similarity"})


def _marks(marks: pd.DataFrame) -> pd.DataFrame:
    groups = marks[marks.method != ""].groupby(["distractors", "method", "stream", "trained", "marked"], sort=False)
    return groups[["pointing", "mass", "area"]].mean().reset_index()


def _telling(marks: pd.DataFrame) -> pd.DataFrame:
    """Of each pair of maps, one of either model: how often that of the model trained with the mark scores higher.

    Pairs are of one seed; the interval is over seeds and people.
    """

    def auc(rows: np.ndarray) -> float:
        value, cheat = rows.T
        own = cheat == 1
        ranks, high, low = rankdata(value)[own].sum(), own.sum(), (~own).sum()
        return float((ranks - high * (high + 1) / 2) / (high * low))

    rows = marks[(marks.method != "") & marks.marked]
    rows = rows.assign(cheat=rows.trained == CHEAT)
    keys = ["distractors", "method", "stream"]
    long = rows.melt([*keys, "seed", "subject", "cheat"], ["pointing", "mass"], "score", "value")
    found = _intervals(long.astype({"value": float}), [*keys, "score"], ["value", "cheat"], auc)
    return found.rename(columns={"mean": "auc"}).drop(columns="clips")


def _models(answers: pd.DataFrame, marks: pd.DataFrame) -> pd.DataFrame:
    keys = ["distractors", "trained", "seed"]
    right = answers.assign(accuracy=answers.truth == answers.predicted).groupby(keys, sort=False).accuracy.mean()
    clips = marks.drop_duplicates([*keys, "subject", "clip", "marked"])
    fooled = clips.pivot_table(values="fooled", index=keys, columns="marked", sort=False)
    return right.to_frame().join(fooled.rename(columns={True: "fooled", False: "plain"})).reset_index()


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    out: Annotated[Path, typer.Option(help="Where models and finished parts are kept.")] = Path("build/trust"),
    save: Save = None,
    subjects: Subjects = 16,
    clips: Clips = 12,
    seeds: Seeds = 10,
    new: Annotated[int, typer.Option(min=2, help="New subjects of each seed, who are explained.")] = 5,
    explained: Annotated[int, typer.Option(min=1, help="Clips of each new subject.")] = 2,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of each model.")] = EPOCHS,
    distractors: Annotated[list[str], typer.Option(help="In the clips: none, or none and all.")] = ["none", "all"],  # noqa: B006
    trained: Annotated[Path | None, typer.Option(help="A folder of models to explain: none-0, none-1, all-0 …")] = None,
    docs: Annotated[Path | None, typer.Option(help="A page whose section on this study is written anew.")] = None,
    workers: Workers = None,
) -> None:
    """Score every attribution method in every way, on clips of new subjects. Hours on two cores; says how many."""
    with one_sentence():
        path = writable(save or out / "trust.json")
        result = measure(
            out,
            subjects=subjects,
            clips_per_subject=clips,
            seeds=seeds,
            new=new,
            explained=explained,
            epochs=epochs,
            conditions=distractors,
            trained=trained,
            workers=workers,
        )
        result.save(path)
        if docs:
            write_section(docs, Trust.load(path))
    print_table(result.table().reset_index(), "how-maps of clips without distractors")
    print(f"everything: {path}")


if __name__ == "__main__":
    app()
