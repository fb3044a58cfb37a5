"""Finished runs: found on disk, put into one table, scored anew from their predictions, and told on a page each."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from tsfmicro_lab.clips import Clip
from tsfmicro_lab.data.megc_log import CLASSES, read_log
from tsfmicro_lab.data.samples import Samples
from tsfmicro_lab.data.tensors import PREPARED
from tsfmicro_lab.explain.attribution import WhereHow, where_how
from tsfmicro_lab.models import from_pretrained
from tsfmicro_lab.training.cross_validation import model_folder
from tsfmicro_lab.training.metrics import calibration, has_units, score_table
from tsfmicro_lab.training.predictions import MAX_BYTES, read_table
from tsfmicro_lab.training.protocols import KEY, LEAKY, samples_digest
from tsfmicro_lab.training.statistics import subject_interval

#: Columns of every table of predictions.
NEEDED = {"model", "seed", "subject", "clip", "truth", "predicted"}


@dataclass(frozen=True)
class Result:
    """Predictions of one model and seed.

    Attributes:
        name: Of the run, as tables show it.
        folder: Where it lies.
        about: What `cross_validate` wrote beside it: `run`, `classes`, `data`; empty for somebody else's log.
        predictions: One row per clip.
        classes: All classes, or action units.
    """

    name: str
    folder: Path
    about: dict[str, Any]
    predictions: pd.DataFrame
    classes: tuple[str, ...]

    @property
    def leaky(self) -> bool:
        """Whether it chose by the clips it was tested on."""
        return bool(self.about.get("run", {}).get("selection") == "oracle" or "leaky" in self.predictions.model.iloc[0])

    @property
    def units(self) -> bool:
        """Whether action units are detected, several in a clip."""
        return has_units(self.predictions, self.classes)

    @property
    def missed(self) -> pd.DataFrame:
        """The clips that were not recognised, the surest mistakes first."""
        wrong = self.predictions[self.predictions.truth != self.predictions.predicted]
        p = [f"p_{c}" for c in self.classes if f"p_{c}" in wrong]
        order = wrong[p].max(axis=1).sort_values(ascending=False).index if p else wrong.index
        return wrong.loc[order].reset_index(drop=True)


def read_result(path: Path | str) -> list[Result]:
    """Reads predictions to score them: a folder of a run, a CSV table of several, or a log of MEGC2019.

    Args:
        path: A folder with `run.json`, a `.csv` file of `cross_validate` tables, or a log.

    Returns:
        One result per model and seed.

    Raises:
        ValueError: It holds none of them; the message says what is missing.
    """
    path = Path(path)
    if path.is_dir():
        return [_read_run(path)]
    if not path.is_file():
        raise ValueError(f"there is no {path}: give a folder of a run, a table of predictions, or a log of MEGC2019")
    if path.suffix == ".csv":
        table = _read_table(path)
        names = tuple(sorted(column.removeprefix("p_") for column in map(str, table) if column.startswith("p_")))
        classes = names or tuple(sorted({*table.truth, *table.predicted}))
        groups = table.groupby(["model", "seed"], sort=False)
        return [Result(f"{m}, seed {s}", path, {}, rows.reset_index(drop=True), classes) for (m, s), rows in groups]
    log = read_log(path)
    if log.empty:
        raise ValueError(f"{path} has no line of a clip, its truth and its prediction")
    log["subject"] = log["data"] + "_" + log["subject"]
    return [Result(path.stem, path, {}, log.assign(model=path.stem, seed=0, onset=0), CLASSES)]


def find_results(folder: Path | str) -> list[Result]:
    """Every run below a folder.

    Args:
        folder: Where to look; runs that have not finished a fold are left out.

    Raises:
        ValueError: There is none.
    """
    places = sorted(
        path.parent for path in Path(folder).rglob("run.json") if any((path.parent / "folds").glob("*.csv"))
    )
    if not places:
        raise ValueError(f"no run below {folder}: `tsfmicro-lab evaluate --out {folder}` makes some")
    return [_read_run(place) for place in places]


def run_table(results: Iterable[Result], intervals: bool = True) -> pd.DataFrame:
    """One row per run: what it is and what it is worth, computed from its predictions.

    Args:
        results: The runs.
        intervals: Whether to compute 95 % bootstrap intervals over subjects.

    Returns:
        Columns `run`, `model`, `seed`, `selection`, `subjects`, `clips`, `uf1`, `low`, `high`, `uar`, `accuracy`,
        `ece`. A run that chose by its test clips says leaky.
    """
    rows = []
    for r in results:
        table, run = r.predictions, r.about.get("run", {})
        row: dict[str, Any] = {"run": r.name, "model": table.model.iloc[0], "seed": int(table.seed.iloc[0])}
        row["selection"] = LEAKY if r.leaky else run.get("selection", "unknown")
        row |= {"subjects": len(set(table.subject)), "clips": len(table)}
        row |= {name: score_table(table, r.classes)[name].iloc[0] for name in ("uf1", "uar", "accuracy")}
        if intervals and not r.units and row["subjects"] > 1:
            row["low"], row["high"] = subject_interval(table, r.classes, resamples=2000)[1:]
        if not r.units and table.columns.str.startswith("p_").any():
            row["ece"] = calibration(table)[1]
        rows.append(row)
    order = ["run", "model", "selection", "seed", "subjects", "clips", "uf1", "low", "high", "uar", "accuracy", "ece"]
    return pd.DataFrame(rows).reindex(columns=order)


def _read_run(folder: Path) -> Result:
    path = folder / "run.json"
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError("run.json is larger than any run's")
        about = json.loads(path.read_text())
        classes = tuple(map(str, about["classes"]))
        tables = [_read_table(fold) for fold in sorted((folder / "folds").glob("*.csv"))]
        table = pd.concat(tables, ignore_index=True)
        return Result(f"{folder.parent.name}/{folder.name}", folder, about, table, classes)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder} holds no finished run of `cross_validate` ({error})") from error


def _read_table(path: Path) -> pd.DataFrame:
    table = read_table(path)
    if missing := NEEDED - {*table}:
        raise ValueError(f"{path} is no table of predictions: it lacks {', '.join(sorted(missing))}")
    return table


def explain_clip(result: Result, samples: Samples, row: pd.Series) -> tuple[Clip, WhereHow | None]:
    """A clip of a run with the map of the model that never saw its subject.

    Args:
        result: The run.
        samples: The clips it was evaluated on.
        row: Of its predictions.

    Returns:
        (Onset and apex as a clip; the map, or None where no model was kept or it has one stream only.)

    Raises:
        ValueError: The samples are not those of the run.
    """
    if result.about.get("samples") != samples_digest(samples):
        raise ValueError(f"{result.name} was evaluated on other samples than these")
    i = int(np.flatnonzero((samples.table[KEY] == row[KEY]).all(axis=1))[0])
    frames = [x[i].permute(1, 2, 0).numpy() for x in (samples.onset, samples.apex)]
    clip = Clip(str(row["clip"]), row.subject, frames, 0, 1, 1, emotion=row.truth)
    folder = model_folder(result.folder, row.fold)
    model = from_pretrained(folder) if folder.is_dir() else None
    if model is None or not {"onset", "difference"} <= set(model.input_names):
        return clip, None
    return clip, where_how(model, model.inputs_of(samples, [i]))


def load_frames(result: Result) -> Samples | None:
    """What `training.evaluate` kept beside a run, or None."""
    path = result.folder / "frames.npz"
    if not path.is_file() or path.stat().st_size > 16 * MAX_BYTES:
        return None
    with np.load(path, allow_pickle=False) as kept:
        tensors = {name: torch.from_numpy(kept[name]) for name in PREPARED if name in kept}
    table = result.predictions.drop_duplicates(KEY).reset_index(drop=True)
    if not tensors or any(len(x) != len(table) for x in tensors.values()):
        return None
    return Samples(tensors, torch.zeros(len(table), dtype=torch.int64), result.classes, table[KEY])
