"""What was found in a film against a table of what truly moved: `tsfmicro-lab analyze --truth`."""

from pathlib import Path

import pandas as pd

from tsfmicro_lab.analyze import Analysis
from tsfmicro_lab.data.tables import read_table
from tsfmicro_lab.training.metrics import spotting_scores

#: Columns of a table of true moments; the first and the third must be there.
TRUTH = ("onset", "apex", "offset", "emotion")


def read_truth(path: Path) -> pd.DataFrame:
    """Reads when a face truly moved: `onset`, `offset` and perhaps `apex` and `emotion` of each movement.

    Times are seconds; or, where every onset and offset is a whole number, frames, counted from 1 as the challenges do.

    Raises:
        ValueError: It is no small table of these columns, has no row, or an offset is not behind its onset.
    """
    table = read_table(path, None, TRUTH)
    if foreign := sorted({*table} - {*TRUTH} or {"onset", "offset"} - {*table}):
        what = "is unknown" if foreign[0] in table else "is missing"
        raise ValueError(f"{path}: column '{foreign[0]}' {what}: name them onset, offset, perhaps apex and emotion")
    if table.empty:
        raise ValueError(f"{path} names no moment: write a row for each movement below the header")
    spans = table[["onset", "offset"]].apply(pd.to_numeric, errors="coerce")
    if not (good := spans.offset > spans.onset).all():
        row = f"{path}, row {int(good.argmin()) + 1}"
        raise ValueError(f"{row}: onset and offset must be seconds or frame numbers, the offset the larger one")
    return table.assign(**spans)


def score_truth(found: Analysis, true: pd.DataFrame) -> dict[str, float]:
    """What was found against the truth of :func:`read_truth`: see `training.metrics.spotting_scores`.

    Where the truth has emotions, the likeliest class counts, also where the model says that it cannot tell.

    Raises:
        ValueError: A moment lies beyond the film, or an emotion is no class of the model.
    """
    spans, times = true[["onset", "offset"]], found.trace.times
    frames = bool((spans % 1 == 0).all(axis=None))
    first, last = (1, len(times)) if frames else (0, times[-1] * len(times) / max(len(times) - 1, 1) + 1e-3)
    if (beyond := (spans.onset < first) | (spans.offset > last)).any():
        row, film = spans[beyond].iloc[0], f"frames 1 to {last}" if frames else f"0 to {last:.2f} s"
        raise ValueError(f"the truth has a moment from {row.onset:g} to {row.offset:g}, the film {film}")
    true = true.assign(film="", **(spans.astype(int).apply(lambda column: times[column - 1]) if frames else {}))
    table = found.table[["onset", "offset"]].assign(film="")
    if found.classes:
        table["emotion"] = found.table.get("likeliest", "")
        if foreign := sorted({*true.get("emotion", ())} - {*found.classes}):
            known = f"is none of the model's classes {', '.join(found.classes)}: leave that column out, or --model none"
            raise ValueError(f"emotion '{foreign[0]}' of the truth {known}")
    return spotting_scores(true, table)
