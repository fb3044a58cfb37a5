"""Writes the log that the challenge of MEGC2019 wanted; `tsfmicro_lab.data.read_log` reads it."""

from pathlib import Path

import pandas as pd

from tsfmicro_lab.data.composite import CLASSES
from tsfmicro_lab.data.samples import Samples
from tsfmicro_lab.data.schema import KEY, Dataset


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
