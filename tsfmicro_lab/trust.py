"""One table, methods × scores: which explanations find what truly moved, and which of them look at the model."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from torch import Tensor

from tsfmicro_lab.clips import Clip
from tsfmicro_lab.compare import DISTRACTORS, USUAL
from tsfmicro_lab.data import Samples, SyntheticMicroExpressions, prepare
from tsfmicro_lab.explain import sanity, truth
from tsfmicro_lab.explain.attribution import WhereHow, share_inside, where_how
from tsfmicro_lab.explain.counterfactual import beside_attribution, unit_effects
from tsfmicro_lab.explain.methods import METHODS, Mask
from tsfmicro_lab.explain.regions import clip_regions
from tsfmicro_lab.models import TSFmicro, from_pretrained
from tsfmicro_lab.preprocess import align_clip
from tsfmicro_lab.progress import track
from tsfmicro_lab.results import load_tables, provenance, save_tables
from tsfmicro_lab.training import Run, cross_validate, fit, fold_processes, predict, to_inputs
from tsfmicro_lab.training.protocols import leave_one_subject_out
from tsfmicro_lab.training.statistics import group_interval

RUN = Run("tsfmicro_late")
#: The class that the planted mark gives away.
GIVEN_AWAY = "disgust"
TABLES = ("scores", "units", "causes", "sanity", "shortcut")
KEYS = ["distractors", "method", "stream", "score"]


@dataclass(frozen=True)
class Trust:
    """What the measurement found; every table is long, one row per fact.

    Attributes:
        made: The command that made it, commit, date, device, size.
        scores: `distractors`, `method`, `stream`, `score`, `mean`, `low`, `high`, `clips`: 95 % bootstrap intervals
            over subjects. Beside the methods stand controls that never saw the model: `random`, `edges`, `input`.
        units: `distractors`, `method`, `unit`, `clips`; `mass`, `area`, `pointing` of the how-map in the unit's region.
        causes: `distractors`, `method`, `mean`, `low`, `high`, `pairs`: rank correlation of what a map gives to a
            unit's region with what happens to the logit when the unit does not move.
        sanity: `method`, `check`, `similarity`, `low`, `high`: of the maps before and after.
        shortcut: `method`, `stream`, `marked`, `pointing`, `mass`, `area` of the mark, and `fooled`: the share of such
            clips that the model takes for the class that the mark gave away in training.
    """

    made: dict[str, Any]
    scores: pd.DataFrame
    units: pd.DataFrame
    causes: pd.DataFrame
    sanity: pd.DataFrame
    shortcut: pd.DataFrame

    def save(self, path: Path) -> None:
        """Writes everything as one JSON file."""
        save_tables(path, self.made, {name: getattr(self, name) for name in TABLES})

    @classmethod
    def load(cls, path: Path | str) -> "Trust":
        """Reads what `save` wrote.

        Raises:
            ValueError: The file holds no such measurement.
        """
        made, tables = load_tables(path, TABLES, "measurement of methods", "trust")
        return cls(made, **tables)

    def table(self, distractors: str = "none", stream: str = "how") -> pd.DataFrame:
        """Methods × scores, means only."""
        rows = self.scores.query("distractors == @distractors and stream in (@stream, 'both')")
        return rows.pivot_table(index="method", columns="score", values="mean", sort=False)


@dataclass(frozen=True)
class Case:
    """A held-out clip with the model that never saw its subject.

    Attributes:
        model: The model.
        clip: Aligned.
        inputs: Normalised onset and difference.
        regions: Of its action units.
        row: What tells it from others in the tables.
    """

    model: TSFmicro
    clip: Clip
    inputs: dict[str, Tensor]
    regions: Mapping[str, Mask]
    row: dict[str, Any]

    def explain(self, method: str, target: int | None = None, model: TSFmicro | None = None, **given: Any) -> WhereHow:
        """The maps of one method, or of a control that does not look at the model."""
        if method in CONTROLS:
            where, how = CONTROLS[method](self.inputs)
            return WhereHow(where, how, target or 0, method, float("nan"))
        sample = given.get("inputs", self.inputs)
        return where_how(model or self.model, sample, target, method, regions=self.regions)


def _random(inputs: Mapping[str, Tensor]) -> tuple[np.ndarray, np.ndarray]:
    noise = np.random.default_rng(0).normal(size=(2, *inputs["onset"].shape[-2:])).astype(np.float32)
    return noise[0], noise[1]


def _edges(inputs: Mapping[str, Tensor]) -> tuple[np.ndarray, np.ndarray]:
    face = inputs["onset"][0].mean(0).numpy()
    edges = np.hypot(cv2.Sobel(face, cv2.CV_32F, 1, 0), cv2.Sobel(face, cv2.CV_32F, 0, 1))
    return edges, edges


def _input(inputs: Mapping[str, Tensor]) -> tuple[np.ndarray, np.ndarray]:
    return inputs["onset"][0].abs().sum(0).numpy(), inputs["difference"][0].abs().sum(0).numpy()


#: Maps that never saw a model: a method that scores no higher has shown nothing.
CONTROLS: dict[str, Callable[[Mapping[str, Tensor]], tuple[np.ndarray, np.ndarray]]] = {
    "random": _random,
    "edges": _edges,
    "input": _input,
}


def measure(
    folder: Path,
    *,
    subjects: int = 8,
    clips_per_subject: int = 12,
    seeds: int = 3,
    explained: int = 5,
    epochs: int | None = None,
    workers: int | None = None,
) -> Trust:
    """Scores every method on held-out clips, with and without distractors, and runs the sanity checks; resumable.

    Args:
        folder: Where models are kept; those that `compare` left in the same folder are used again.
        subjects: Synthetic subjects of each seed.
        clips_per_subject: Clips of each, on which the models are trained.
        seeds: Number of seeds; each has its own faces, clips and weights.
        explained: Clips of each held-out subject that are explained, the first ones.
        epochs: Epochs; those of the recipe by default.
        workers: Processes that train; one per core by default.

    Returns:
        The measurement.
    """
    run = replace(RUN, recipe=replace(RUN.recipe, epochs=epochs or RUN.recipe.epochs))
    made = provenance(run, seeds=seeds, subjects=subjects, clips_per_subject=clips_per_subject, explained=explained)
    found: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
    for (name, distractors), seed in product(reversed(DISTRACTORS.items()), range(seeds)):
        data = SyntheticMicroExpressions(
            subjects, clips_per_subject, seed=seed, layout_variation=USUAL, distractors=distractors
        )
        samples = prepare(data, run.create(2).config.image_size)
        place = folder / f"{name}-layout{USUAL:g}" / f"{run.label}-{seed}"
        with fold_processes(workers) as pool:
            cross_validate(samples, replace(run, seed=seed), folder=place, executor=pool, keep_models=True)
        parts = {"scores": partial(_score_all, data, samples, place, explained, fully=name == "none")}
        if name == "none":
            parts["sanity"] = partial(_sanity, data, samples, place, replace(run, seed=seed))
            parts["shortcut"] = partial(_shortcut, data, samples, replace(run, seed=seed))
        for part, compute in parts.items():
            path = place / f"{part}-{explained}.parquet"
            if not path.exists():
                compute().assign(distractors=name, seed=seed).to_parquet(path)
            found[part].append(pd.read_parquet(path))
    clips, checks, marks = (pd.concat(found[part], ignore_index=True) for part in ("scores", "sanity", "shortcut"))
    return Trust(made, _means(clips), _per_unit(clips), _causes(clips), _similarities(checks), _marks(marks))


def cases(data: SyntheticMicroExpressions, samples: Samples, place: Path, explained: int) -> Iterator[Case]:
    """The first clips of every subject, each with the model of the fold that held the subject out."""
    for subject in np.unique(samples.subjects):
        model = from_pretrained(place / "models" / str(subject))
        for i in np.flatnonzero(samples.subjects == subject)[:explained].tolist():
            yield case(data, samples, i, model)


def case(data: SyntheticMicroExpressions, samples: Samples, i: int, model: TSFmicro) -> Case:
    """One clip and the model that is to explain it."""
    clip = align_clip(data[i], samples.onset.shape[-1])
    inputs = to_inputs(samples.onset[i : i + 1], samples.apex[i : i + 1])
    return Case(model, clip, inputs, clip_regions(clip), {"subject": clip.subject, "clip": clip.name, "index": i})


def _score_all(
    data: SyntheticMicroExpressions, samples: Samples, place: Path, explained: int, fully: bool
) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    everyone = list(cases(data, samples, place, explained))
    for number, one in enumerate(track(everyone, "scoring maps")):
        target = int(predict(one.model, samples, np.array([one.row["index"]])).argmax())
        effects = unit_effects(one.model, data.moving_face(one.row["index"]), target, units=one.clip.action_units)
        about = {**one.row, "right": target == int(samples.label[one.row["index"]])}
        for method in (*METHODS, *CONTROLS):
            with_sensitivity = fully and number % explained == 0 and method not in CONTROLS
            rows += _score(one, method, target, about, effects, with_sensitivity)
    return pd.DataFrame(rows)


def _score(
    one: Case, method: str, target: int, about: dict[str, Any], effects: pd.DataFrame, with_sensitivity: bool
) -> list[dict[str, Any]]:
    """One row for each stream, one for both, one for each unit that moved."""
    assert one.clip.truth is not None
    began = time.perf_counter()
    about = {**about, "method": method}
    try:
        maps = one.explain(method, target)
    except ValueError as error:
        if method != "DeepLift":
            raise
        return [{**about, "stream": "both", "refused": 1.0, "why": str(error)}]
    both = {"seconds": time.perf_counter() - began, "completeness": maps.completeness_error, "refused": 0.0}
    both["how_share"] = maps.how_share
    both["infidelity"] = truth.unfaithfulness(one.model, one.inputs, maps, count=16)
    if with_sensitivity:
        explain = lambda inputs: one.explain(method, target, inputs=inputs)  # noqa: E731
        both["sensitivity"] = truth.sensitivity(explain, one.inputs, count=2)
    rows = [{**about, "stream": "both", **both}]
    for stream, name in (("where", "onset"), ("how", "difference")):
        deletion, insertion = truth.perturbation_curves(one.model, one.inputs, maps, name, points=11)
        curves = {"deletion": float(deletion.mean()), "insertion": float(insertion.mean())}
        rows.append({**about, "stream": stream, **truth.truth_scores(getattr(maps, stream), one.clip.truth), **curves})
    for unit in beside_attribution(effects, maps, one.regions).itertuples():
        share, area = share_inside(maps.how, one.regions[str(unit.unit)])
        found = {"mass": share, "area": area, "pointing": truth.pointing(maps.how, one.regions[str(unit.unit)])}
        rows.append(
            {**about, "stream": "unit", "unit": unit.unit, "effect": unit.effect, "claimed": unit.claimed, **found}
        )
    return rows


def _sanity(data: SyntheticMicroExpressions, samples: Samples, place: Path, run: Run, clips: int = 3) -> pd.DataFrame:
    """Maps of the first subject's clips before and after something is done to the model that should change them."""
    fold = leave_one_subject_out(samples)[0]
    model = from_pretrained(place / "models" / fold.subject)
    others = dict(sanity.cascade(model))
    for name, labels in (("another seed", samples), ("random labels", sanity.shuffled_labels(samples))):
        others[name] = run.create(len(samples.classes), seed=run.seed + 1000)
        fit(others[name], labels, fold.train, run.recipe, seed=run.seed + 1000)
    others["shifted inputs"] = sanity.shifted(model)
    rows = []
    for i in fold.test[:clips].tolist():
        one = case(data, samples, i, model)
        target = int(predict(model, samples, np.array([i])).argmax())
        moved = {"onset": one.inputs["onset"] + 1.0, "difference": one.inputs["difference"] + 0.5}
        for method in METHODS:
            if method == "DeepLift":
                continue
            plain = one.explain(method, target)
            for check, other in others.items():
                given = {"inputs": moved} if check == "shifted inputs" else {}
                similar = sanity.similarity(plain, one.explain(method, target, other, **given))
                rows.append({**one.row, "method": method, "check": check, "similarity": similar})
    return pd.DataFrame(rows)


def _shortcut(data: SyntheticMicroExpressions, samples: Samples, run: Run, clips: int = 4) -> pd.DataFrame:
    """A model trained with the mark, asked about clips that do not show the class: with the mark and without."""
    fold, label = leave_one_subject_out(samples)[0], samples.classes.index(GIVEN_AWAY)
    model = run.create(len(samples.classes), seed=run.seed)
    fit(model, sanity.plant(samples, GIVEN_AWAY), fold.train, run.recipe, seed=run.seed)
    marked = replace(samples, onset=sanity.draw_mark(samples.onset), apex=sanity.draw_mark(samples.apex))
    innocent = fold.test[samples.label.numpy()[fold.test] != label]
    mark, rows = sanity.mark_region(samples.onset.shape[-1]), []
    for bears, pixels in ((True, marked), (False, samples)):
        p = predict(model, pixels, innocent)
        fooled = float((p.argmax(1) == label).mean())
        for i in innocent[:clips].tolist():
            one = case(data, pixels, i, model)
            for method in (*METHODS, *CONTROLS):
                if method == "DeepLift":
                    continue
                maps = one.explain(method, label)
                for stream in ("where", "how"):
                    heat = getattr(maps, stream)
                    share, area = share_inside(heat, mark)
                    found = {"mass": share, "area": area, "pointing": truth.pointing(heat, mark), "fooled": fooled}
                    rows.append({**one.row, "method": method, "stream": stream, "marked": bears, **found})
    return pd.DataFrame(rows)


def _intervals(
    rows: pd.DataFrame, by: list[str], values: list[str], statistic: Callable[[np.ndarray], float]
) -> pd.DataFrame:
    found = []
    for key, group in rows.dropna(subset=values).groupby(by, sort=False):
        people = [part[values].to_numpy() for _, part in group.groupby(["seed", "subject"])]
        mean, low, high = group_interval(people, statistic)
        found.append({**dict(zip(by, key, strict=True)), "mean": mean, "low": low, "high": high, "clips": len(group)})
    return pd.DataFrame(found)


def _means(clips: pd.DataFrame) -> pd.DataFrame:
    names = [*truth.BETTER, "area", "completeness", "refused", "how_share", "seconds"]
    rows = clips[clips.stream != "unit"]
    long = rows.melt(["distractors", "seed", "subject", "method", "stream"], names, "score", "value")
    return _intervals(long, KEYS, ["value"], np.mean)


def _per_unit(clips: pd.DataFrame) -> pd.DataFrame:
    rows = clips[clips.stream == "unit"].assign(unit=lambda t: t.unit.str.lstrip("LR"))
    groups = rows.groupby(["distractors", "method", "unit"], sort=False)
    means = groups[["mass", "area", "pointing"]].mean()
    return means.assign(clips=groups.size()).reset_index()


def _causes(clips: pd.DataFrame) -> pd.DataFrame:
    def correlation(pairs: np.ndarray) -> float:
        return float(spearmanr(*pairs.T).statistic)

    rows = clips[(clips.stream == "unit") & ~clips.method.isin(list(CONTROLS))]
    found = _intervals(rows, ["distractors", "method"], ["effect", "claimed"], correlation)
    return found.rename(columns={"clips": "pairs"})


def _similarities(checks: pd.DataFrame) -> pd.DataFrame:
    return _intervals(checks, ["method", "check"], ["similarity"], np.mean).rename(columns={"mean": "similarity"})


def _marks(marks: pd.DataFrame) -> pd.DataFrame:
    groups = marks.groupby(["method", "stream", "marked"], sort=False)
    return groups[["pointing", "mass", "area", "fooled"]].mean().reset_index()
