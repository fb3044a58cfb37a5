"""Finished runs: found on disk, put into one table, scored anew from their predictions, and told on a page each."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from tsfmicro_lab.clips import Clip
from tsfmicro_lab.data.composite import CLASSES, read_log
from tsfmicro_lab.data.samples import Samples, open_store
from tsfmicro_lab.data.schema import KEY
from tsfmicro_lab.explain.attribution import WhereHow, where_how
from tsfmicro_lab.models import STREAMS, from_pretrained
from tsfmicro_lab.training.cross_validation import finished, fold_files, fold_state
from tsfmicro_lab.training.metrics import calibration, has_units, score_table
from tsfmicro_lab.training.predictions import MAX_BYTES, read_predictions
from tsfmicro_lab.training.protocols import LEAKY, samples_digest
from tsfmicro_lab.training.statistics import compare_models, detectable_gain, subject_interval

#: Columns of every table of predictions.
NEEDED = {"model", "seed", "subject", "clip", "truth", "predicted"}


@dataclass(frozen=True)
class Result:
    """Predictions of one model and seed, a row per clip.

    `about` is what `cross_validate` wrote beside them (`run`, `classes`, `data`), empty for somebody else's log; of a
    run that is not finished, `missing` names the folds to come.
    """

    name: str
    folder: Path
    about: dict[str, Any]
    predictions: pd.DataFrame
    classes: tuple[str, ...]
    missing: tuple[str, ...] = ()

    @property
    def leaky(self) -> bool:
        """Whether it chose by the clips it was tested on."""
        return self.about.get("run", {}).get("selection") == "oracle" or "leaky" in self.predictions.model.iloc[0]

    @property
    def units(self) -> bool:
        """Whether action units are detected, several in a clip."""
        return self.about.get("units", has_units(self.predictions, self.classes))

    @property
    def missed(self) -> pd.DataFrame:
        """The clips that were not recognised, the surest mistakes first."""
        wrong = self.predictions[self.predictions.truth != self.predictions.predicted]
        surest = wrong.filter(regex="^p_").max(axis=1).sort_values(ascending=False, kind="stable")
        return wrong.loc[surest.index].reset_index(drop=True)


def read_results(*paths: Path | str) -> list[Result]:
    """Reads predictions to score them: folders of runs, CSV tables of several, or logs of MEGC2019.

    Returns:
        One result per model and seed. Where two have one name, their places are added to it.

    Raises:
        ValueError: A path holds none of them; the message says what is missing.
    """
    return _told_apart(r for path in paths for r in _read(Path(path)))


def _told_apart(results: Iterable[Result]) -> list[Result]:
    found = {(r.name, r.folder.resolve()): r for r in results}
    count = Counter(name for name, _ in found)
    return [r if count[r.name] == 1 else replace(r, name=f"{r.name} ({r.folder})") for r in found.values()]


def _read(path: Path) -> list[Result]:
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


def find_results(folder: Path | str, tell: Callable[[str], object] = print) -> list[Result]:
    """Every run below a folder that has finished a fold; of the others, `tell` is given why each is left out.

    Raises:
        ValueError: There is none.
    """
    found = []
    for log in sorted(Path(folder).rglob("folds.jsonl")):
        try:
            found.append(_read_run(log.parent))
        except (OSError, ValueError) as error:
            tell(f"left out: {error}")
    if not found:
        raise ValueError(f"no run below {folder} that can be read: `tsfmicro-lab evaluate --out {folder}` makes some")
    return _told_apart(found)


def run_table(results: Iterable[Result]) -> pd.DataFrame:
    """One row per run: what it is and what it is worth, computed from its predictions.

    Returns:
        Columns `run`, `model`, `selection`, `seed`, `subjects`, `clips`, `missing` (folds to come), `uf1` with the ends
        `low` and `high` of its 95 % interval over subjects, `uar`, `accuracy`, `ece`. A run that chose by its test
        clips says leaky.
    """
    rows = []
    for r in results:
        table, selection = r.predictions, r.about.get("run", {}).get("selection", "unknown")
        row = score_table(table, r.classes).iloc[0].to_dict() | {"run": r.name, "subjects": table.subject.nunique()}
        row |= {"selection": LEAKY if r.leaky else selection, "missing": len(r.missing)}
        if not r.units and row["subjects"] > 1:
            row["low"], row["high"] = subject_interval(table, r.classes)[1:]
        if not r.units and table.columns.str.startswith("p_").any():
            row["ece"] = calibration(table)[1]
        rows.append(row)
    order = "run model selection seed subjects clips missing uf1 low high uar accuracy ece"
    return pd.DataFrame(rows).reindex(columns=order.split())


def compare(results: Sequence[Result]) -> tuple[pd.DataFrame, float] | None:
    """Models on the same subjects as the first, paired; others cannot be compared so.

    Returns:
        Their gains in UF1 over the first (see :func:`~tsfmicro_lab.training.compare_models`), and the true gain that
        so many subjects would show four times in five. None where nothing can be compared.
    """
    first, people = results[0], set(results[0].predictions.subject)
    alike = [r for r in results if set(r.predictions.subject) == people]
    one, *others = [r.predictions.assign(model=r.name, seed=0) for r in alike]
    table = pd.concat([one, *others])
    if not others or len(people) < 2 or not {*table.predicted, *table.truth} <= {*first.classes}:
        return None
    least = max(detectable_gain(rows, one, first.classes, len(people)) for rows in others)
    return compare_models(table, first.name, first.classes), least


def verify(folder: Path) -> pd.DataFrame:
    """Which folds of a run are there, and are what was written.

    Returns:
        A row for each expected fold: `fold`, `clips`, and whether its `table` and its `model` are whole, missing or
        altered, or the model was not kept. A table with another number of clips is altered, too.

    Raises:
        ValueError: The folder is none of `cross_validate`, or its `run.json` is not that of its folds.
    """
    folds, done, rows = _read_about(folder)["folds"], finished(folder), []
    if strange := [fold for fold, hashes in done.items() if fold not in folds or not hashes]:
        raise ValueError(f"{folder}: run.json and folds.jsonl disagree about {strange[0]}: put back the altered one")
    for fold, clips in folds.items():
        table, model = fold_state(folder, fold, done)
        count = len(read_predictions(fold_files(folder, fold)[0])) if table == "whole" else clips
        rows.append([fold, clips, table if count == clips else "altered", model])
    return pd.DataFrame(rows, columns=["fold", "clips", "table", "model"])


def _read_about(folder: Path) -> dict[str, Any]:
    path = folder / "run.json"
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError("it is larger than any run's")
        about = json.loads(path.read_text(encoding="utf-8"))
        run = dict(about.get("run", {}))
        if not isinstance(run.get("selection", ""), str):
            raise ValueError("its selection is no word")
        return about | {"run": run, "folds": {**about["folds"]}, "classes": tuple(map(str, about["classes"]))}
    except (OSError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not that of a run ({error}): put it back, or give another folder") from error


def _read_run(folder: Path) -> Result:
    about, state = _read_about(folder), verify(folder)
    if broken := ", ".join(state.fold[(state.table == "altered") | (state.model == "altered")]):
        raise ValueError(f"{folder}: {broken} truncated or altered: start the run again, it trains them anew")
    done = state.fold[state.table == "whole"]
    if done.empty:
        raise ValueError(f"{folder}: no fold is finished: start the run again, it goes on")
    table = pd.concat([_read_table(fold_files(folder, fold)[0]) for fold in done], ignore_index=True)
    if has_units(table, about["classes"]) and not about.get("units", True):
        raise ValueError(f"{folder}: one class for each clip was expected, and some have none or several")
    name, missing = f"{folder.parent.name}/{folder.name}", tuple(state.fold[state.table == "missing"])
    return Result(name, folder, about, table, about["classes"], missing)


def _read_table(path: Path) -> pd.DataFrame:
    table = read_predictions(path)
    if missing := NEEDED - {*table}:
        raise ValueError(f"{path} is no table of predictions: it lacks {', '.join(sorted(missing))}")
    numbers = table.filter(regex="^(seed$|p_)")
    if table.empty or numbers.shape != numbers.select_dtypes("number").shape or table.seed.isna().any():
        raise ValueError(f"{path} has no rows, or no number where a seed or a probability belongs")
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
    i = int((samples.table[KEY] == row[KEY]).all(axis=1).to_numpy().nonzero()[0][0])
    frames = [x[i].permute(1, 2, 0).numpy() for x in (samples.onset, samples.apex)]
    clip = Clip(str(row["clip"]), row.subject, frames, 0, 1, 1, emotion=row.truth)
    folder = fold_files(result.folder, row.fold)[1].parent
    model = from_pretrained(folder) if folder.is_dir() else None
    if model is None or not STREAMS.keys() <= {*model.input_names}:
        return clip, None
    return clip, where_how(model, model.inputs_of(samples, [i]))


def load_frames(result: Result) -> Samples | None:
    """The clips that `training.evaluate` kept beside a run, or None."""
    stores = (open_store(path.parent) for path in sorted(result.folder.glob("frames/*/manifest.json")))
    return next((samples for samples in stores if samples_digest(samples) == result.about.get("samples")), None)
