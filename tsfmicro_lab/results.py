"""Finished runs: found on disk, put into one table, scored anew from their predictions, and told on a page each."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from tsfmicro_lab.clips import Clip
from tsfmicro_lab.data import Samples, read_log
from tsfmicro_lab.data.megc_log import CLASSES
from tsfmicro_lab.explain import WhereHow, where_how, where_how_figure
from tsfmicro_lab.explain.charts import confusion_chart, folds_chart, reliability_chart
from tsfmicro_lab.models import from_pretrained
from tsfmicro_lab.page import Page
from tsfmicro_lab.training import calibration, class_table, inputs_of, score_table, subject_interval
from tsfmicro_lab.training.protocols import KEY, LEAKY, samples_digest
from tsfmicro_lab.training.statistics import card_scores

#: Largest run.json and largest table that are read.
MAX_BYTES = 64 * 2**20
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
        return self.about.get("run", {}).get("selection") == "oracle"

    @property
    def units(self) -> bool:
        """Whether action units are detected, several in a clip."""
        return not {*self.predictions.truth, *self.predictions.predicted} <= {*self.classes}

    @property
    def missed(self) -> pd.DataFrame:
        """The clips that were not recognised, the surest mistakes first."""
        wrong = self.predictions[self.predictions.truth != self.predictions.predicted]
        p = [f"p_{c}" for c in self.classes if f"p_{c}" in wrong]
        order = wrong[p].max(axis=1).sort_values(ascending=False).index if p else wrong.index
        return wrong.loc[order].reset_index(drop=True)


def read_result(path: Path | str) -> list[Result]:
    """Reads predictions to score them: a folder of a run, a parquet table of several, or a log of MEGC2019.

    Args:
        path: A folder with `run.json`, a `.parquet` file of `cross_validate` tables, or a log.

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
    if path.suffix == ".parquet":
        table = _read_table(path)
        names = tuple(sorted(column.removeprefix("p_") for column in table if column.startswith("p_")))
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
    places = sorted(path.parent for path in Path(folder).rglob("run.json") if any(path.parent.glob("*.parquet")))
    if not places:
        raise ValueError(f"no run below {folder}: `tsfmicro-lab evaluate --out {folder}` makes some")
    return [_read_run(place) for place in places]


def run_table(results: Iterable[Result], intervals: bool = True) -> pd.DataFrame:
    """One row per run: what it is and what it is worth, computed from its predictions.

    Args:
        results: The runs.
        intervals: Whether to compute 95 % bootstrap intervals over subjects.

    Returns:
        Columns `run`, `model`, `selection`, `seed`, `subjects`, `clips`, `uf1`, `low`, `high`, `uar`, `accuracy`, `ece`.
        A run that chose by its test clips says leaky.
    """
    rows = []
    for r in results:
        table, run = r.predictions, r.about.get("run", {})
        row: dict[str, Any] = {"run": r.name, "model": table.model.iloc[0], "seed": int(table.seed.iloc[0])}
        row["selection"] = LEAKY if r.leaky else run.get("selection", "not told")
        row |= {"subjects": len(set(table.subject)), "clips": len(table)}
        if r.units:
            units = class_table(table, r.classes)
            row |= {
                "uf1": units.f1.mean(),
                "uar": units.recall.mean(),
                "accuracy": (table.truth == table.predicted).mean(),
            }
        else:
            row |= score_table(table, r.classes).iloc[0][["uf1", "uar", "accuracy"]].to_dict()
            if intervals and row["subjects"] > 1:
                row["low"], row["high"] = subject_interval(table, r.classes, resamples=2000)[1:]
            if any(c.startswith("p_") for c in table):
                row["ece"] = calibration(table)[1]
        rows.append(row)
    order = ["run", "model", "selection", "seed", "subjects", "clips", "uf1", "low", "high", "uar", "accuracy", "ece"]
    return pd.DataFrame(rows).reindex(columns=order)


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
    digest = result.about.get("samples")
    if digest != samples_digest(samples):
        raise ValueError(f"{result.name} was evaluated on other samples than these")
    i = int(np.flatnonzero((samples.table[KEY] == row[KEY]).all(axis=1))[0])
    frames = [x[i].permute(1, 2, 0).numpy() for x in (samples.onset, samples.apex)]
    clip = Clip(str(row["clip"]), row.subject, frames, 0, 1, 1, emotion=row.truth)
    folder = result.folder / "models" / str(row.fold)
    if not folder.is_dir():
        return clip, None
    model = from_pretrained(folder)
    if len(model.input_names) < 2:
        return clip, None
    return clip, where_how(model, inputs_of(samples.pick(torch.tensor([i]))))


def missed_figure(result: Result, samples: Samples, most: int = 4) -> Figure | None:
    """The surest mistakes of a run with their maps, or None where there are none.

    Args:
        result: The run.
        samples: The clips it was evaluated on.
        most: How many to draw.
    """
    pairs = [explain_clip(result, samples, row) for _, row in result.missed.head(most).iterrows()]
    shown = [(clip, heat) for clip, heat in pairs if heat is not None]
    return where_how_figure(*map(list, zip(*shown, strict=True)), list(result.classes)) if shown else None


def write_report(result: Result, folder: Path | None = None, samples: Samples | None = None) -> Path:
    """One page about a run that opens offline.

    Args:
        result: The run.
        folder: Where the page goes; beside the run by default.
        samples: Its clips, to show those that were missed. Faces of licensed recordings would then be in the page.

    Returns:
        Path of `report.html`.
    """
    page = Page(folder or result.folder, template="run.html.jinja", name="report.html")
    table, run = result.predictions, result.about.get("run", {})
    facts = {
        name: run.get(name) for name in ("model", "preset", "settings", "selection", "seed", "recipe") if run.get(name)
    }
    facts["selection"] = LEAKY if result.leaky else facts.get("selection", "not told")
    facts |= {"data": result.about.get("data") or "not told", "clips": len(table), "subjects": len(set(table.subject))}
    page.content.update(title=result.name, leaky=result.leaky, facts=facts, scores=card_scores(table, result.classes))
    page.content["classes"] = class_table(table, result.classes).round(3).to_html(index=False, border=0)
    page.content["missed"] = result.missed.round(2).drop(columns=["model", "seed"]).to_html(index=False, border=0)
    if not result.units:
        page.chart("folds", folds_chart(table, result.classes))
        page.chart("confusion", confusion_chart(table, result.classes))
        bins, page.content["ece"] = calibration(table)
        page.chart("reliability", reliability_chart(bins))
    if samples is not None and (figure := missed_figure(result, samples)):
        page.picture("maps", figure)
    return page.write()


def save_frames(samples: Samples, folder: Path) -> None:
    """Keeps key frames beside runs, so that missed clips can be shown later. Not for licensed recordings."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "frames.npz", onset=samples.onset.numpy(), apex=samples.apex.numpy())


def load_frames(result: Result) -> Samples | None:
    """What :func:`save_frames` kept beside a run, or None."""
    path = result.folder / "frames.npz"
    if not path.is_file() or path.stat().st_size > 16 * MAX_BYTES:
        return None
    with np.load(path, allow_pickle=False) as kept:
        onset, apex = (torch.from_numpy(kept[name]) for name in ("onset", "apex"))
    table = result.predictions.drop_duplicates(KEY).reset_index(drop=True)
    if len(table) != len(onset):
        return None
    return Samples(onset, apex, torch.zeros(len(onset), dtype=torch.int64), result.classes, table[KEY])


def _read_run(folder: Path) -> Result:
    path = folder / "run.json"
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError("run.json is larger than any run's")
        about = json.loads(path.read_text())
        classes = tuple(map(str, about["classes"]))
        tables = [_read_table(fold) for fold in sorted(folder.glob("*.parquet"))]
        table = pd.concat(tables, ignore_index=True)
        return Result(f"{folder.parent.name}/{folder.name}", folder, about, table, classes)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder} holds no finished run of `cross_validate` ({error})") from error


def _read_table(path: Path) -> pd.DataFrame:
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} is larger than {MAX_BYTES >> 20} MiB")
    try:
        table = pd.read_parquet(path)
    except Exception as error:
        raise ValueError(f"{path} is no parquet table ({error})") from error
    if missing := NEEDED - {*table}:
        raise ValueError(f"{path} is no table of predictions: it lacks {', '.join(sorted(missing))}")
    return table
