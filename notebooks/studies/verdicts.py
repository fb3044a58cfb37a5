"""What a stored comparison allows to be said, in words that change with the numbers and the seeds."""

from typing import Any

import numpy as np
import pandas as pd

from studies.compare import TEMPORAL, Comparison
from studies.papers import SCORES, UNREAD, published

#: What the motion's stream reads in the settings in which the onset frame is needed.
READS = {"needed": "the difference of frames", "needed, flow": "optical flow"}
#: A loss of UF1 that counts as one.
LOSS = 0.1


def published_scores(method: str = "TSFmicro") -> pd.DataFrame:
    """What a paper reports of a method, with its source; `not read` where nobody here has read it.

    Example:
        >>> sorted(published_scores("TSFmicro").uf1.unique())
        ['not read']
    """
    table = published()
    table = table[table.method == method]
    scores = {name: [UNREAD if np.isnan(x) else f"{x:.3f}" for x in table[name]] for name in SCORES}
    return (
        table[["data", "classes", "protocol", *SCORES, "selection", "source"]].assign(**scores).reset_index(drop=True)
    )


def verdict(comparison: Comparison, setting: str, model: str, against: str = TEMPORAL) -> str:
    """One sentence on a model in a setting, beside the temporal branch alone; no more than its seeds allow."""
    rows = comparison.intervals.query("setting == @setting").set_index("model")
    if model not in rows.index or against not in rows.index:
        return f"{setting}: {_short(model)} has not been measured yet."
    row: Any = rows.loc[model]
    scores = f"{_short(model)} {row.uf1:.2f}, {_short(against)} {rows.uf1[against]:.2f}"
    seeds = f"{int(row.seeds)} seed{'s' * (int(row.seeds) > 1)}"
    if np.isnan(row.gain):
        return f"{setting}: {scores}; {seeds}, not those of {_short(against)}, so no gain is computed."
    if np.isnan(row.p_holm):
        return f"{setting}: {scores}; gain {row.gain:+.2f}, from {seeds}: an observation, not tested."
    found = finding(row.gain, row.p_holm, model, against, rows.low, linear_floor(comparison, setting))
    ends = f"{row.gain_low:+.2f} to {row.gain_high:+.2f}"
    return f"{setting}: {scores}; gain {row.gain:+.2f} ({ends}), {seeds}, p (Holm) {row.p_holm:.3f}: {found}."


def may_claim(gain: float, p_holm: float, low: float, against_low: float, floor: float) -> str:
    """The one rule of all comparisons: `better`, `worse` or `nothing`.

    The corrected test must leave out zero, and the interval of the *winner* must lie above the better linear model:
    what learned less than that says nothing of architectures. A loser may lie below; then a sentence tells it.

    Args:
        gain: In UF1, over the model that it is compared with.
        p_holm: Of the gain; NaN if it was not tested.
        low: Lower end of the model's interval.
        against_low: That of the other.
        floor: UF1 of the better linear model.

    Example:
        >>> may_claim(0.1, 0.01, 0.7, 0.4, floor=0.6), may_claim(-0.1, 0.01, 0.4, 0.5, floor=0.6)
        ('better', 'nothing')
    """
    winner = low if gain > 0 else against_low
    if not p_holm < 0.05 or winner < floor:
        return "nothing"
    return "better" if gain > 0 else "worse"


def finding(gain: float, p_holm: float, model: str, against: str, low: pd.Series, floor: float) -> str:
    """What a gain amounts to by :func:`may_claim`, in words; `low` has the lower ends of both intervals."""
    told, winner, loser = ("wins", model, against) if gain > 0 else ("loses", against, model)
    if not p_holm < 0.05:
        return "the two cannot be told apart"
    if may_claim(gain, p_holm, low[model], low[against], floor) == "nothing":
        return f"it {told}, but {_short(winner)} is not above a linear model's {floor:.2f}, so nothing is said"
    floors = low[loser] < floor and not loser.startswith("linear")
    below = f", and {_short(loser)} is not above a linear model's {floor:.2f}" if floors else ""
    return f"it {told}{below}"


def stream_verdict(comparison: Comparison, setting: str, model: str) -> str:
    """What a trained model lost without its onset stream, and with other pictures in it; told if every seed agrees.

    A stream whose removal costs nothing is not needed. If grey or noise does as well as the own face, no face was
    needed; if somebody else's face does, a face; and only if that costs something, too, the face of this clip.
    """
    rows = comparison.streams.query("setting == @setting and model == @model")
    if rows.empty:
        return f"{setting}: {_short(model)} has not been measured yet."
    lost = rows.pivot_table("lost", "seed", "intervention")
    seeds = f"{len(lost)} seeds" if len(lost) > 1 else "1 seed, an observation"
    costs = ", ".join(f"{lost[name].mean():.2f} ({name})" for name in SHOWN)
    return f"{setting}: {_short(model)} loses {costs}; {seeds}: {_reading(comparison, setting, model, lost)}."


def _reading(comparison: Comparison, setting: str, model: str, lost: pd.DataFrame) -> str:
    """What losses of UF1 (a row for each seed, a column for each intervention) mean."""
    if not above_floor(comparison, setting, model):
        return "it is not above a linear model, so nothing is said"
    always = {name: bool((lost[name] > LOSS).all()) for name in SHOWN}
    never = {name: bool((lost[name] < LOSS).all()) for name in SHOWN}
    if always["onset of another"]:
        return "it uses the onset frame of this very clip"
    if always["where off"] and (never["onset grey"] or never["onset noise"]):
        return "it needs that stream to be on, and no face"
    if all(always[name] for name in SHOWN[:3]) and never["onset of another"]:
        return "it needs a face, of whomever"
    if never["where off"]:
        return "it can do without the stream" + (", though grey misleads it" if always["onset grey"] else "")
    return "the seeds disagree, so nothing is said"


def linear_floor(comparison: Comparison, setting: str) -> float:
    """UF1 of the better linear model of a setting."""
    rows = comparison.intervals.query("setting == @setting").set_index("model")
    return float(rows.uf1.reindex(["linear_difference", "linear_flow"]).max())


def above_floor(comparison: Comparison, setting: str, model: str) -> bool:
    """Whether a model's interval lies above the better linear model."""
    rows = comparison.intervals.query("setting == @setting").set_index("model")
    return bool(rows.low[model] >= linear_floor(comparison, setting))


#: Interventions that a verdict on streams reads.
SHOWN = ("where off", "onset grey", "onset noise", "onset of another")


def _short(model: str) -> str:
    return model.removeprefix("tsfmicro_")
