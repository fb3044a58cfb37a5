"""Spotted moments, scored as the field's grand challenges (MEGC) do.

A table of moments has a row each: `film`, `onset`, `offset` (numbers of frames, or seconds), and may have `kind` (`me`
for a micro-expression, `mae` for a longer one) and `emotion`.
"""

import numpy as np
import pandas as pd

from tsfmicro_lab.analyze import Analysis
from tsfmicro_lab.preprocess.spotting import LONG
from tsfmicro_lab.training.metrics import confusion, uf1_of_counts


def match_moments(true: pd.DataFrame, found: pd.DataFrame, least: float = 0.5) -> pd.DataFrame:
    """Hits: pairs of a true and a found moment of one film whose intersection over union (IoU) is `least` or more.

    Each true moment is in one pair at most, each found one, too; of several pairs the best counts. True moments do not
    overlap.

    Returns:
        One row per hit: the columns of both, those of the found one with `_found` behind, `true` and `found` (their
        rows), `iou`.

    Example:
        >>> true, found = ([{"film": "a", "onset": 10, "offset": end}] for end in (20, 26))
        >>> float(match_moments(pd.DataFrame(true), pd.DataFrame(found)).iou.iloc[0])
        0.625
    """
    rows = true.assign(true=range(len(true)))
    pairs = rows.merge(found.assign(found=range(len(found))), on="film", suffixes=("", "_found"))
    begin, end = pairs[["onset", "onset_found"]].max(axis=1), pairs[["offset", "offset_found"]].min(axis=1)
    both = (end - begin).clip(lower=0)
    either = pairs.offset - pairs.onset + pairs.offset_found - pairs.onset_found - both
    hits = pairs.assign(iou=both / either).query("iou >= @least").sort_values("iou", ascending=False, kind="stable")
    return hits.drop_duplicates("true").drop_duplicates("found")


def spotting_scores(true: pd.DataFrame, found: pd.DataFrame, least: float = 0.5) -> dict[str, float]:
    r"""Interval-wise F1 of spotting; where both tables have an `emotion`, spot-then-recognise, too.

    .. math::
        F_1 = \frac{2\,TP}{2\,TP + FP + FN}, \qquad \mathrm{STRS} = F_1 \cdot \mathrm{UF1}_\text{hits}

    Counts are pooled over all films before anything is divided, so films without a moment count by their false alarms.
    The UF1 is that of the hits alone, over the classes that they have (MEGC2023 and later).

    Returns:
        `hits`, `misses`, `alarms`, `precision`, `recall`, `f1`, and `recognition` (UF1 of the hits), `strs`.

    Example:
        >>> true = pd.DataFrame({"film": "a", "onset": [0, 20], "offset": [10, 30]})
        >>> found = pd.DataFrame({"film": "a", "onset": [1, 14, 40], "offset": [10, 22, 50]})
        >>> spotting_scores(true, found)["f1"]
        0.4
    """
    pairs = match_moments(true, found, least)
    hits, said = len(pairs), len(found)
    scores: dict[str, float] = {"hits": hits, "misses": len(true) - hits, "alarms": said - hits}
    scores |= {"precision": hits / max(said, 1), "recall": hits / max(len(true), 1)}
    scores["f1"] = 2 * hits / max(len(true) + said, 1)
    if "emotion" in true and "emotion" in found:
        named = pairs.rename(columns={"emotion": "truth", "emotion_found": "predicted"})
        classes = sorted({*named.truth, *named.predicted})
        scores["recognition"] = float(uf1_of_counts(confusion(named, classes), 0.0)) if hits else 0.0
        scores["strs"] = scores["f1"] * scores["recognition"]
    return scores


def moments_of(found: Analysis) -> pd.DataFrame:
    """What was spotted in a video, as such a table: `film` is the file's name, frames are counted from 1."""
    frames = {key: np.searchsorted(found.trace.times, found.table[key]) + 1 for key in ("onset", "offset")}
    kind = np.where(found.table.duration > 1e3 * LONG, "mae", "me")
    named = {"emotion": found.table.likeliest} if "likeliest" in found.table else {}
    return pd.DataFrame({"film": found.video.path.stem, **frames, "kind": kind, **named})
