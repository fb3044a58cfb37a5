"""Writes tables and paragraphs of docs/results.md anew from what is stored: `python notebooks/studies/tables.py`."""

import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pandas as pd

if not __package__:  # run as a script, it finds its neighbours
    sys.path.insert(0, str(Path(__file__).parents[1]))

from studies import said
from studies.compare import Comparison
from studies.coverage import Coverage
from studies.displacement import Displacements
from studies.intervals import over_seeds, p_told
from studies.key_frames import KeyFrames
from studies.leakage_scores import Leakage, leak_table
from studies.needed import Gap
from studies.new_subjects import FAST, HALF
from studies.recipe import Recipes
from studies.ship import Ship
from studies.spotting import Spotting
from studies.verdicts import finding, linear_floor
from tsfmicro_lab.training.statistics import corrected

ROOT = Path(__file__).parents[2]
STORED = ROOT / "notebooks" / "results"


def markdown(table: pd.DataFrame | str) -> str:
    """A table with its cells as they stand; a text as a paragraph."""
    if isinstance(table, str):
        return f"\n{table}\n"
    rows = [map(str, table.columns), ["---"] * len(table.columns), *table.astype(str).to_numpy()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


@cache
def stored() -> Comparison:
    """The stored comparison."""
    return Comparison.load(STORED / "comparison.json")


def comparison(setting: str) -> pd.DataFrame:
    """Models on the new heads of a setting, with what is empty left out."""
    table = stored().table(setting)
    return table.loc[:, [(table[column] != "").any() for column in table]]


#: Who is compared with whom, and where: the blocks of MMNet's body, the places where two streams meet, two forms.
PAIRS = (
    ("clean", "mmnet temporal=retention", "mmnet"),
    ("distractors", "mmnet temporal=retention", "mmnet"),
    ("needed", "mmnet temporal=retention", "mmnet"),
    ("needed, flow", "tsfmicro_early", "tsfmicro_t2s inject=before"),
    ("needed, flow", "tsfmicro_t2s inject=before", "tsfmicro_t2s inject=after"),
    ("needed, flow", "tsfmicro_t2s inject=after", "tsfmicro_late"),
    ("needed, flow", "tsfmicro_late", "linear_difference"),
    ("distractors", "off_apexnet flow=dis", "linear_flow"),
    ("distractors", "ststnet flow=dis form=public", "ststnet flow=dis"),
    ("clean", "htnet flow=dis", "htnet flow=dis depths=(1, 3)"),
    ("clean", "slstt_lstm", "slstt_mean"),
    ("clean", "slstt_mean flow=short", "slstt_mean"),
    ("clean", "frl_dgt displacement=dis", "frl_dgt"),
)


def pairs() -> pd.DataFrame:
    """Gain of one model over another on new heads, over seeds alone: no predictions are stored, only scores."""
    uf1 = stored().scores.query("faces == 'new heads'").pivot_table("uf1", "seed", ["setting", "model"])
    gains = [(uf1[where, model] - uf1[where, other]).dropna() for where, model, other in PAIRS]
    table = corrected([over_seeds(gain) for gain in gains])
    shown = [f"{row.gain:+.3f} ({row.low:+.3f} to {row.high:+.3f})" for row in table.itertuples()]
    rows = pd.DataFrame(PAIRS, columns=["setting", "model", "against"])
    lows = {setting: own.set_index("model").low for setting, own in stored().intervals.groupby("setting")}
    told = [
        finding(gain, p, model, against, lows[setting], linear_floor(stored(), setting))
        for (setting, model, against), gain, p in zip(PAIRS, table.gain, table.p_holm, strict=True)
    ]
    p = [*map(p_told, table.p_holm)]
    return rows.assign(gain=shown, seeds=[*map(len, gains)], **{"p (Holm)": p, "told": told})


def another_recipe(before: str, after: str) -> pd.DataFrame:
    """UF1 of each network on few clean clips with either recipe, as text."""
    rows = said.recipe_gains(stored(), before, after)
    ends = zip(rows.gain, rows.low, rows.high, strict=True)
    return pd.DataFrame(
        {
            "model": rows.index,
            said.recipe_of(stored(), before): [f"{m:.3f} ± {s:.2f}" for m, s in zip(rows.uf1, rows.sd, strict=True)],
            said.recipe_of(stored(), after): [
                f"{m:.3f} ± {s:.2f}" for m, s in zip(rows.then, rows.then_sd, strict=True)
            ],
            "gain": [f"{gain:+.3f} ({low:+.2f} to {high:+.2f})" for gain, low, high in ends],
            "higher": [f"{h:.0f} of {n:.0f}" for h, n in zip(rows.higher, rows.seeds, strict=True)],
            "p (Holm)": [*map(p_told, rows.p_holm)],
        }
    )


def curves() -> pd.DataFrame:
    """UF1 with all distractors by the number of clips to learn from; mean over seeds."""
    rows = stored().curves.query("setting == 'distractors'")
    last = rows[rows.epoch == rows.groupby(["model", "clips"]).epoch.transform("max")]
    means = last.pivot_table("uf1", "model", "clips", sort=False).sort_values(by=last.clips.max())
    return means.sort_index(axis=1).map(lambda uf1: f"{uf1:.2f}").replace("nan", "").reset_index()


def streams(setting: str) -> pd.DataFrame:
    """UF1 on new heads when a stream is taken away or replaced; mean over seeds."""
    rows = stored().streams.query("setting == @setting")
    means = rows.pivot_table("uf1", "model", "intervention", sort=False)
    return means.map(lambda uf1: f"{uf1:.2f}").reset_index()


def shipped() -> pd.DataFrame:
    """UF1 of the models that ship, with intervals over people where there are several, beside floors."""
    rows = Ship.load(STORED / "ship.json").scores
    ends = [f" ({low:.2f} to {high:.2f})" if low == low else "" for low, high in rows[["low", "high"]].to_numpy(float)]
    cells = rows.assign(cell=[f"{uf1:.2f}{end}" for uf1, end in zip(rows.uf1, ends, strict=True)])
    table = cells.pivot_table("cell", ["target", "faces"], "what", aggfunc="first")
    return table[[*rows.what.unique()]].reset_index()


@cache
def displacements() -> Displacements:
    """The stored displacements."""
    return Displacements.load(STORED / "displacement.json")


def displaced(what: str) -> pd.DataFrame:
    """Mean end-point errors by method and disturbance, with intervals."""
    return (
        displacements()
        .table(what)
        .rename({"dis": "DIS flow", "farneback": "Farnebäck", "tvl1": "TV-L1"})
        .reset_index(names="method")
    )


#: What stands between `<!-- name -->` and `<!-- /name -->`.
BLOCKS: dict[str, Callable[[], pd.DataFrame | str]] = {
    "clean": lambda: comparison("clean"),
    "distractors": lambda: comparison("distractors"),
    "needed": lambda: comparison("needed"),
    "needed-flow": lambda: comparison("needed, flow"),
    "clean-said": lambda: said.clean(stored()),
    "recipes": lambda: Recipes.load(STORED / "recipe.json").table(),
    "recipes-said": lambda: said.recipes(Recipes.load(STORED / "recipe.json")),
    "rates": lambda: another_recipe(HALF, FAST),
    "rates-said": lambda: said.fast(stored()),
    "epochs": lambda: another_recipe(HALF, "clean"),
    "epochs-said": lambda: said.patient(stored()),
    "again-said": lambda: said.again(stored()),
    "distractors-said": lambda: said.distractors(stored()),
    "needed-flow-said": lambda: said.needed_flow(stored()),
    "streams-said": lambda: said.streams(stored(), "clean"),
    "streams-needed-flow-said": lambda: said.streams(stored(), "needed, flow"),
    "pairs": pairs,
    "curves": curves,
    "streams": lambda: streams("clean"),
    "streams-needed-flow": lambda: streams("needed, flow"),
    "shipped": shipped,
    "coverage": lambda: Coverage.load(STORED / "coverage.json").table(),
    "leaks": lambda: leak_table(Leakage.load(STORED / "leakage.json")),
    "displacement": lambda: displaced("expression"),
    "displacement-said": lambda: said.displacement(displacements(), "expression"),
    "displacement-all": lambda: displaced("all"),
    "displacement-all-said": lambda: said.displacement(displacements(), "all"),
    "gap": lambda: Gap.load(STORED / "needed.json").table().reset_index(names="model"),
    "gap-said": lambda: said.gap(Gap.load(STORED / "needed.json")),
    "spotting": lambda: Spotting.load(STORED / "spotting.json").table(),
    "spotting-said": lambda: said.spotter(Spotting.load(STORED / "spotting.json")),
    "apexes": lambda: Spotting.load(STORED / "spotting.json").apex_table(),
    "apexes-said": lambda: said.apexes(Spotting.load(STORED / "spotting.json")),
    "key-frames": lambda: KeyFrames.load(STORED / "key_frames.json").table().reset_index(),
}


def written(text: str) -> str:
    """A text with its tables as the stored results have them."""
    for name, table in BLOCKS.items():
        block = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text, count = block.subn(lambda found, t=table: f"{found[1]}{markdown(t())}\n{found[2]}", text)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"docs/results.md has {count} places for the table '{name}', expected one")
    return text


if __name__ == "__main__":
    page = ROOT / "docs" / "results.md"
    page.write_text(written(page.read_text(encoding="utf-8")), encoding="utf-8")
