"""Logs of the grand challenges: recognition (MEGC2019; `tsfmicro_lab.data.read_log` reads it), and spotting.

A table of moments has a row each: `film`, `onset`, `offset` (numbers of frames, or seconds), and may have `kind` (`me`
for a micro-expression, `mae` for a longer one) and `emotion`.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from tsfmicro_lab.analyze import Analysis
from tsfmicro_lab.data.composite import CLASSES
from tsfmicro_lab.data.samples import Samples
from tsfmicro_lab.data.schema import KEY, Dataset
from tsfmicro_lab.preprocess.spotting import LONG

#: What the challenges call the columns of their logs: for spotting (MEGC2022) and spot-then-recognise (MEGC2024).
LOGS = {
    "spotting": {"film": "vid", "onset": "pred_onset", "offset": "pred_offset", "kind": "type"},
    "str": {"subject": "subject", "film": "video", "onset": "onset", "offset": "offset", "emotion": "emotion"},
}
MAX_BYTES = 8 * 2**20


def write_log(path: Path | str, predictions: pd.DataFrame, data: Dataset | Samples) -> None:
    """Writes the predictions of one model and seed as the challenge wanted them, under its own names of clips.

    Raises:
        ValueError: A clip is predicted twice or not at all, or is not in the composite.
    """
    names = data.annotations[[*KEY, "data", "log_subject", "log_clip"]]
    table = names.merge(predictions, on=KEY, how="outer", indicator=True)
    missing, foreign = ((table["_merge"] == side).sum() for side in ("left_only", "right_only"))
    twice = len(table) - len(names) - foreign
    if missing or foreign or twice:
        found = f"{missing} are missing, {foreign} are of no clip of the composite, {twice} come twice"
        raise ValueError(f"give one model's and seed's prediction for each of {len(names)} clips: {found}")
    if wrong := sorted({*table["truth"], *table["predicted"]} - set(CLASSES)):
        raise ValueError(f"class '{wrong[0]}' is none of {', '.join(CLASSES)}: prepare samples with target='emotion'")
    truth, predicted = (table[name].map(CLASSES.index).astype(str) for name in ("truth", "predicted"))
    groups = (table["log_clip"] + " " + truth + " " + predicted).groupby([table["data"], table["log_subject"]])
    lines = [line for (part, subject), rows in groups for line in (f"{part} {subject}", *rows)]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_moments(path: Path | str) -> pd.DataFrame:
    """Reads a table of moments: a challenge's log of either kind, or one with the lab's own columns.

    Raises:
        ValueError: It is none of these, or an offset is not after its onset; with what to do.
    """
    if Path(path).stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: larger than {MAX_BYTES >> 20} MiB, so no table of moments")
    table = pd.read_csv(path, dtype={"vid": str, "video": str, "film": str, "subject": str}, skipinitialspace=True)
    for names in LOGS.values():
        if {*names.values()} <= {*table}:
            table = table.rename(columns={theirs: ours for ours, theirs in names.items()})
    if lacking := {"film", "onset", "offset"} - {*table}:
        raise ValueError(f"{path} has no column {', '.join(sorted(lacking))}: name them film, onset, offset")
    spans = table[["onset", "offset"]].apply(pd.to_numeric, errors="coerce")
    if not (good := spans.offset > spans.onset).all():
        row = int(good.argmin()) + 1
        raise ValueError(f"{path}, row {row}: onset and offset must be numbers, the offset the larger one")
    return table.assign(**spans)


def write_moments(path: Path | str, moments: pd.DataFrame, log: str = "spotting") -> None:
    """Writes a challenge's log, `spotting` or `str`, of a table whose onset and offset are numbers of frames.

    Raises:
        ValueError: The table lacks a column that the log needs.
    """
    if lacking := {*LOGS[log]} - {*moments}:
        raise ValueError(f"the log '{log}' needs {', '.join(sorted(lacking))}, which the moments lack")
    table = moments[[*LOGS[log]]].astype({"onset": int, "offset": int})
    table.rename(columns=LOGS[log]).to_csv(path, index=False)


def moments_of(found: Analysis) -> pd.DataFrame:
    """What was spotted in a video, as a table of moments: `film` is the file's name, frames are counted from 1."""
    frames = {key: np.searchsorted(found.trace.times, found.table[key]) + 1 for key in ("onset", "offset")}
    kind = np.where(found.table.duration > 1e3 * LONG, "mae", "me")
    named = {"emotion": found.table.likeliest} if "likeliest" in found.table else {}
    return pd.DataFrame({"film": found.video.path.stem, **frames, "kind": kind, **named})
