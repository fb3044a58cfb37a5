"""Paragraphs of docs/results.md made of stored numbers, as `tables.py` writes them."""

import math
from collections.abc import Iterable
from dataclasses import replace

import pandas as pd
from scipy.stats import kendalltau

from studies.compare import CURVES, FUSIONS, TEMPORAL, Comparison
from studies.displacement import Displacements
from studies.intervals import over_seeds
from studies.needed import Gap
from studies.new_subjects import ELSEWHERE, FAST, HALF, HEADS, PHOTOGRAPHS
from studies.recipe import Recipes
from studies.spotting import ENDS, Spotting
from studies.trust_story import listed
from studies.verdicts import above_floor, finding, linear_floor, may_claim, stream_verdict
from tsfmicro_lab.training.statistics import corrected

NAMES = {
    "tsfmicro_early": "early fusion",
    "tsfmicro_t2s inject=before": "T→S before the transformer",
    "tsfmicro_t2s inject=after": "T→S after it",
    "tsfmicro_s2t": "S→T",
    "tsfmicro_late": "late fusion",
    TEMPORAL: "the temporal branch",
    "mmnet": "MMNet",
    "mmnet temporal=retention": "MMNet with retention",
    "dual_branch": "the dual branches",
    "dynamic_fusion": "the dynamic images",
    "ststnet flow=dis": "STSTNet",
    "ststnet flow=dis form=public": "STSTNet as its public code has it",
    "off_apexnet flow=dis": "Off-ApexNet",
    "htnet flow=dis": "HTNet",
    "htnet flow=dis depths=(1, 3)": "HTNet with a level fewer",
    "expression_proposal flow=dis": "the expression proposals",
    "slstt_mean": "SLSTT with the mean of its frames",
    "slstt_mean flow=short": "SLSTT on flow between neighbouring frames",
    "slstt_lstm": "SLSTT with its LSTM",
    "frl_dgt": "FRL-DGT",
    "frl_dgt displacement=dis": "FRL-DGT on DIS flow",
}
#: What this lab's trainer is to reach with the temporal branch and late fusion, from 96 clean clips.
GOAL, SPREAD = 0.88, 0.04
#: Networks that classify a difference of frames, and those that classify DIS flow; FRL-DGT makes a displacement first.
DIFFERENCE = [*NAMES][:10]
FLOW = [name for name in NAMES if "flow=dis" in name]


def fusions(comparison: Comparison, setting: str) -> pd.DataFrame:
    """The fusions of a setting, best first, with what may be claimed of each over the temporal branch: `claim`."""
    rows = comparison.intervals.query("setting == @setting").set_index("model")
    floor, base = linear_floor(comparison, setting), float(rows.low[TEMPORAL])
    own = rows.loc[[run.label for run in FUSIONS]].sort_values("uf1", ascending=False)
    numbers = own[["gain", "p_holm", "low"]].to_numpy(float)
    claims = [may_claim(gain, p, low, base, floor) for gain, p, low in numbers]
    return own.assign(claim=claims, above=[above_floor(comparison, setting, model) for model in own.index])


def named(models: Iterable[str]) -> str:
    """Models as a sentence lists them."""
    return listed(NAMES.get(model, model) for model in models)


def beside_temporal(comparison: Comparison, setting: str) -> dict[str, dict[str, float]]:
    """The networks that are no variant of TSFmicro beside its temporal branch, with their corrected p, least first.

    Returns:
        `it wins`, `it loses` and `the two cannot be told apart`, each with its models.

    Raises:
        ValueError: Nothing may be said of one.
    """
    rows = comparison.intervals.query("setting == @setting").set_index("model")
    floor = linear_floor(comparison, setting)
    others = [name for name in NAMES if name not in (TEMPORAL, *(run.label for run in FUSIONS)) and name in rows.index]
    told: dict[str, dict[str, float]] = {"it wins": {}, "it loses": {}, "the two cannot be told apart": {}}
    for model in sorted(others, key=lambda name: float(rows.p_holm[name])):
        p = float(rows.p_holm[model])
        claim = finding(float(rows.gain[model]), p, model, TEMPORAL, rows.low, floor).partition(", and ")[0]
        if claim not in told:
            raise ValueError("other claims may be made now: write another paragraph")
        told[claim][model] = p
    return told


def clean(comparison: Comparison) -> str:
    """What few clean clips say of fusion."""
    rows, floor = fusions(comparison, "clean"), linear_floor(comparison, "clean")
    wins, loses, same = beside_temporal(comparison, "clean").values()
    winners, losers = (listed(f"{NAMES[model]} ({p_holm(p)})" for model, p in told.items()) for told in (wins, loses))
    weak = [model for model in (*loses, *same) if not above_floor(comparison, "clean", model)]
    if {*rows.claim} != {"nothing"}:
        raise ValueError("a fusion gains or loses now: write another paragraph")
    most, least = math.ceil(100 * rows.gain_high.max()) / 100, math.ceil(-100 * rows.gain_low.min()) / 100
    other = "" if rows.above.all() else f", but for that of {named(rows.index[~rows.above])}"
    return (
        f"No fusion of TSFmicro gains over the difference alone, and none loses: every corrected p is "
        f"{rows.p_holm.min():.2f} or more, and with {rows.seeds.min()} seeds a gain above {most:.2f} or a loss above "
        f"{least:.2f} is excluded for each of them. Their intervals lie above the better linear model ({floor:.2f}), "
        f"where the comparison means something{other}. Of the others "
        f"{winners} are above the temporal branch. {losers} are below it. {named(same)} cannot be told from it. "
        f"{named(weak)} are not above a linear model on DIS flow, so they have learned too little from so few clips. "
        f"{photographs(comparison, 'clean')}\n\n{goal(comparison)}"
    )


def goal(comparison: Comparison) -> str:
    """Whether the trainer reaches with the temporal branch and late fusion what it is to reach."""
    return (
        f"The goal of this lab's trainer is a mean of {GOAL} from 96 clean clips, with a standard deviation over seeds "
        f"of at most {SPREAD}: {_reached(comparison, 'clean')}. With the {_epochs(comparison, HALF)} epochs of the "
        f"preset {_reached(comparison, HALF)}."
    )


def _epochs(comparison: Comparison, setting: str) -> int:
    return int(comparison.provenance["settings"][setting]["epochs"])


def _reached(comparison: Comparison, setting: str) -> str:
    rows = comparison.scores.query("setting == @setting and faces == @HEADS and model in @CURVES")
    uf1 = rows.groupby("model").uf1.agg(["mean", "std"])
    told = []
    for model, (mean, spread) in zip(uf1.index, uf1.to_numpy(float), strict=True):
        word = "reaches" if mean >= GOAL and spread <= SPREAD else "misses"
        told.append(f"{NAMES[model]} {word} it ({mean:.3f} ± {spread:.3f})")
    return listed(told)


def distractors(comparison: Comparison) -> str:
    """Why nothing is said of the networks on differences where there are distractors, and what would help them."""
    setting = "distractors"
    rows = comparison.intervals.query("setting == @setting").set_index("model")
    below = [model for model in DIFFERENCE if model in rows.index]
    if rows.uf1[below].max() >= linear_floor(comparison, setting):
        raise ValueError("a network on differences is above the linear model now: write another paragraph")
    curves = comparison.curves.query("setting == @setting and epoch > 0")
    few, many = sorted(curves.clips.unique())[-2:]
    last = curves[curves.epoch == curves.epoch.max()].pivot_table("uf1", ["model", "seed"], "clips").dropna()
    longer = curves[curves.clips == many].pivot_table("uf1", "model", "epoch")
    before, end = min(epoch for epoch in longer if epoch >= 0.75 * max(longer)), max(longer)
    clips, epochs = (
        (last[many] - last[few]).groupby("model").mean()[[*CURVES]],
        (longer[end] - longer[before])[[*CURVES]],
    )
    best = "off_apexnet flow=dis"
    heads = comparison.scores.query("setting == @setting and faces == @HEADS").pivot_table("uf1", "seed", "model")
    ahead = (heads[best] - heads.linear_flow).dropna()
    over = next(own["over"][setting] for own in comparison.provenance["put into"] if setting in own.get("over", ()))
    return (
        "Here a linear model on flow is above every network that reads a difference of frames, so nothing is said of "
        f"those: they have learned too little. From {few} to {many} clips {named(CURVES)} still gain "
        f"{listed(f'{gain:.2f}' for gain in clips)}; from epoch {before} to {end} they gain "
        f"{listed(f'{gain:.2f}' for gain in epochs)}, while the learning rate falls to nothing; a longer schedule was "
        "not tried. Off-ApexNet is above that linear model, "
        f"by {ahead.mean():.2f} in the {len(ahead)} seeds that both have, and in "
        f"{int((ahead > 0).sum())} of these {len(ahead)} (tested among the pairs below). Gains of networks on flow "
        "and of floors are over a temporal branch that was trained beside them "
        f"({over['uf1']:.2f} in {over['seeds']} seeds). "
        f"{photographs(comparison, setting)}"
    )


def photographs(comparison: Comparison, setting: str) -> str:
    """What of its UF1 a network on differences loses on photographs, and one on flow."""
    scores = comparison.scores.query("setting == @setting and model not in ('oracle: true displacement', 'majority')")
    uf1 = scores.pivot_table("uf1", "model", "faces")
    lost = 1 - uf1[PHOTOGRAPHS] / uf1[HEADS]
    reading, flow = (lost[lost.index.isin(models)] for models in (DIFFERENCE, FLOW))
    told = f"networks that read a difference lose {reading.min():.0%} to {reading.max():.0%} of their UF1, "
    told += f"{named(flow.index)} {f'at most {flow.max():.0%}' if flow.max() > 0 else 'nothing'}"
    if "frl_dgt" in lost:
        told += f", FRL-DGT {lost['frl_dgt']:.0%} and on DIS flow {lost['frl_dgt displacement=dis']:.0%}"
    return f"On photographs, two persons in one light each, {told}."


def needed_flow(comparison: Comparison) -> str:
    """Which fusions help where the onset frame is needed."""
    setting = "needed, flow"
    rows, floor = fusions(comparison, setting), linear_floor(comparison, setting)
    gain, other = rows.index[rows.claim == "better"], rows[rows.claim != "better"]
    if not ((other.p_holm < 0.05) & ~other.above).all() or rows.index[0] != "tsfmicro_early":
        raise ValueError("the fusions stand otherwise now: write another paragraph")
    return (
        f"Now the onset frame is needed, and **{len(gain)} of {len(rows)} fusions gain**: {named(gain)} "
        f"({rows.seeds.min()} seeds, each {p_holm(rows.p_holm[gain].max())}). {named(other.index).capitalize()}, the "
        f"paper's proposal, is above the temporal branch, but not above a linear model ({floor:.2f}), so nothing "
        "is said of it. That early fusion is the best of them is a trend: so are all steps from one place "
        "of meeting to the next (below)."
    )


def p_holm(p: float) -> str:
    """A corrected p as a sentence tells it."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def streams(comparison: Comparison, setting: str) -> str:
    """What each variant lost with other pictures in its onset stream, as :func:`stream_verdict` tells it."""
    rows = comparison.streams[comparison.streams.setting == setting]
    foreign = rows[rows.intervention.isin(["onset of another", "mean onset"])].lost
    ends = f"{foreign.min():+.2f} to {foreign.max():+.2f}"
    told = [f"- {stream_verdict(comparison, setting, model)}" for model in rows.model.unique()]
    first = f"Another person's onset frame, or the mean of all, costs {ends} UF1 over all variants and seeds."
    return "\n".join([first, "", *told])


def spotter(measured: Spotting) -> str:
    """Under which conditions the spotter beats both controls that speak: F1 of each head, corrected."""
    scores = []
    for seed, films in measured.films.groupby("seed"):
        true, found = (rows[rows.film.isin(films.film)] for rows in (measured.true, measured.found))
        scores.append(replace(measured, films=films, true=true, found=found).scores().assign(seed=seed))
    f1 = pd.concat(scores).query("condition != 'all'").pivot_table("f1", ["condition", "seed"], "spotter", sort=False)
    pairs = [(where, control) for where in f1.index.unique(0) for control in ("random", "every second")]
    table = corrected([over_seeds(f1.spotter[where] - f1[control][where]) for where, control in pairs])
    if table.gain.min() <= 0:
        raise ValueError("a control is ahead now: write another sentence")
    least = table.low.groupby([where for where, _ in pairs], sort=False).min()
    return (
        f"Over {measured.films.seed.nunique()} heads the spotter's F1 is above both controls that speak, with "
        f"{listed(least.index[least > 0])} (intervals of {len(table)} gains over heads, corrected by Holm); with "
        f"{listed(least.index[least <= 0])} it is higher on average, but so few heads do not tell."
    )


def apexes(measured: Spotting) -> str:
    """Of which clips it can be told that `spot_apex` errs less than the middle, over seeds."""
    errors = measured.apexes.pivot_table("error", ["ends", "seed"], "guess")
    gains = [errors.middle[left] - errors.spot_apex[left] for left in errors.index.unique(0)]
    table = corrected([*map(over_seeds, gains)]).assign(ends=errors.index.unique(0).map(ENDS))
    if table.low.min() > 0 or table.high.min() < 0:
        raise ValueError("the apex is told in every clip, or farther in some: write another sentence")
    rows = table[["ends", "gain", "low", "high"]].itertuples(index=False)
    gain = [f"{less:.1f} ({low:.1f} to {high:.1f}) in clips that end {ends}" for ends, less, low, high in rows]
    told = [text for text, low in zip(gain, table.low, strict=True) if low > 0]
    rest = [text for text, low in zip(gain, table.low, strict=True) if low <= 0]
    return (
        f"Frames by which `spot_apex` errs less than the middle, over {len(gains[0])} seeds, corrected by Holm: "
        f"{listed(told)}. Too uncertain to tell: {listed(rest)}."
    )


def displacement(measured: Displacements, what: str) -> str:
    """Where each stage of FRL-DGT's network is closer to the true motion, or farther, than what it is held to."""
    table, items = measured.compared(what), []
    for (stage, than), rows in table.groupby(["stage", "than"], sort=False):
        told = rows[rows.p_holm < 0.05].set_index("condition").gain.rename("*{}*".format)
        sides = {"closer": told.index[told > 0], "farther": told.index[told < 0]}
        found = [f"{side} under {listed(where)}" for side, where in sides.items() if len(where)]
        if len(told) < len(rows):
            found.append("of the others it cannot be told" if found else "under none can it be told")
        items.append(f"- {stage}, against {than}: {'; '.join(found)}.")
    seeds = measured.errors.seed.nunique()
    return "\n".join([f"Over {seeds} seeds ({len(table)} tests, corrected by Holm):\n", *items])


def gap(measured: Gap) -> str:
    """How much better than everything else an oracle that has the onset frame is."""
    gaps = measured.gaps()
    filmed, aligned = (f"{own.mean():.3f} ({own.min():.3f} to {own.max():.3f})" for own in (gaps.filmed, gaps.aligned))
    return (
        f"The oracle's UF1 minus that of the best of the others is {filmed} as filmed, {aligned} with ordinary "
        f"alignment; in brackets the least and the most of {len(gaps)} seeds."
    )


def recipe_of(comparison: Comparison, setting: str) -> str:
    """What tells recipes of one preset apart: `48 epochs, rate 0.002`."""
    return f"{_epochs(comparison, setting)} epochs, rate {comparison.provenance['settings'][setting]['lr']:g}"


def recipe_gains(comparison: Comparison, before: str, after: str) -> pd.DataFrame:
    """What another recipe adds to each network on few clean clips, in pairs of seeds, corrected for all; best first.

    Args:
        comparison: With both settings.
        before: A setting, such as `clean, half the epochs`.
        after: The setting with the other recipe.

    Returns:
        Of each model `uf1` and `then`, `sd` and `then_sd` over seeds, `seeds`, `higher`: in how many of them, and
        `gain`, `low`, `high`, `p`, `p_holm`.
    """
    own = comparison.scores.query("faces == @HEADS and setting in (@before, @after)")
    wide = own.pivot_table("uf1", "seed", ["model", "setting"])
    both = {model: wide[model].dropna() for model in NAMES if after in wide.get(model, ())}
    table = corrected([over_seeds(uf1[after] - uf1[before]) for uf1 in both.values()]).set_index(pd.Index([*both]))
    more = {
        name: {
            "uf1": uf1[before].mean(),
            "sd": uf1[before].std(),
            "then": uf1[after].mean(),
            "then_sd": uf1[after].std(),
        }
        | {"seeds": len(uf1), "higher": int((uf1[after] > uf1[before]).sum())}
        for name, uf1 in both.items()
    }
    return pd.DataFrame(more).T.join(table).sort_values("gain", ascending=False)


def _gained(rows: pd.DataFrame) -> str:
    """How many networks another recipe serves better, which of them surely, and whether their order stays."""
    sure, up = rows.p_holm < 0.05, rows.gain > 0
    tau, _ = kendalltau(rows.uf1, rows.then)
    better, worse = (named(rows.index[sure & way]) for way in (up, ~up))
    spreads = zip(rows.index, rows[["sd", "then_sd"]].to_numpy(float), strict=True)
    wild = [f"{NAMES[model]} ({sd:.2f}, {after:.2f})" for model, (sd, after) in spreads if after > 2 * sd]
    return (
        f"Of {len(rows)} networks {int(up.sum())} are higher with it on average and {int((~up).sum())} lower; the mean "
        f"over them changes by {rows.gain.mean():+.3f}. Corrected for all {len(rows)}, higher: {better}; lower: "
        f"{worse}. "
        + (f"More than twice as spread over seeds: {listed(wild)}. " if wild else "")
        + f"Most pairs of networks stay in their order (Kendall's tau {tau:.2f})"
    )


def fast(comparison: Comparison) -> str:
    """Whether another rate would serve the networks on few clean clips better, and change what is said of them."""
    rows = recipe_gains(comparison, HALF, FAST)
    sure, up = rows.p_holm < 0.05, rows.gain > 0
    if {*fusions(comparison, FAST).claim} != {"nothing"} or abs(rows.gain.mean()) >= 0.02:
        raise ValueError("the rate changes other things now: write another paragraph")
    better, worse = (named(rows.index[sure & way]) for way in (up, ~up))
    return (
        f"{_gained(rows)}, and at neither rate does a fusion gain over the temporal branch, which gains "
        f"{rows.gain[TEMPORAL]:+.3f} on these people. **So twice the rate is surely better for {better}, and surely "
        f"worse for {worse}.** The rate stays as it is, and a difference between two models of a table is one between "
        "models with this recipe. With as many epochs as the first table has, the other rate was not tried."
    )


def patient(comparison: Comparison) -> str:
    """Whether twice the epochs of the preset serve the networks better, and what may be claimed with them alone."""
    rows = recipe_gains(comparison, HALF, "clean")
    (before, fell, _), (then, loses, _) = (beside_temporal(comparison, name).values() for name in (HALF, "clean"))
    ours = rows.index.str.startswith("tsfmicro")
    mine, others = rows.gain[ours].mean(), rows.gain[~ours].mean()
    same = {*fusions(comparison, HALF).claim} == {"nothing"} and {*then} < {*before}
    wide = comparison.intervals.pivot_table("gain", "model", "setting").loc[[*before]]
    smaller = (wide["clean"] < wide[HALF]).all()
    if not (same and smaller and rows.gain[rows.p_holm < 0.05].min() > 0 and mine > others > 0):
        raise ValueError("the epochs change other things now: write another paragraph")
    gains = [f"{wide[name].mean():.2f}" for name in ("clean", HALF)]
    curve = comparison.curves.query("setting == 'clean' and epoch > 0").pivot_table("uf1", "model", "epoch")
    epochs = curve.columns.to_numpy(int)
    end, late = epochs.max(), epochs[epochs >= 0.75 * epochs.max()].min()
    rise = [f"{gain:+.3f}" for gain in (curve[end] - curve[late])[[*CURVES]]]
    few = _epochs(comparison, HALF)
    lost = [name for name in loses if name not in fell]
    return (
        f"{_gained(rows)}. Variants of TSFmicro gain {mine:.3f} on average, the others {others:.3f}. With neither does "
        f"a fusion gain over the temporal branch, and none loses. But with {few} epochs {len(before)} networks are "
        f"above it, and with {end} only {len(then)}, {named(then)}; "
        f"{named(name for name in before if name not in then)} cannot be told from it then. All {len(before)} gains "
        f"are smaller, {gains[0]} of UF1 on average in place of {gains[1]}. Below it with {end} epochs alone: "
        f"{named(lost)}. From epoch {late} to {end} {named(CURVES)} change by {listed(rise)}, while the "
        f"learning rate falls to nothing; more than {end} epochs were not tried, so what is left may fall as well. "
        f"**So with {few} epochs many networks have not learned all they can.** The preset keeps them, since a first "
        f"result takes half the time; for numbers that are to be compared use {end}, as in the first table."
    )


def again(comparison: Comparison) -> str:
    """How far trainings differ from the same ones on other devices, and which claims come again."""
    uf1 = comparison.scores.query("faces == @HEADS and model in @NAMES").pivot_table(
        "uf1", ["model", "seed"], "setting"
    )
    apart = (uf1[HALF] - uf1[ELSEWHERE]).abs()
    means = uf1.groupby("model").mean()
    moved = (means[HALF] - means[ELSEWHERE]).abs()
    before, now = (beside_temporal(comparison, setting)["it wins"] for setting in (ELSEWHERE, HALF))
    if {*fusions(comparison, HALF).claim, *fusions(comparison, ELSEWHERE).claim} != {"nothing"} or not {*now} < {
        *before
    }:
        raise ValueError("the second time tells other things now: write another paragraph")
    old, new = (uf1[setting].loc[TEMPORAL].std() for setting in (ELSEWHERE, HALF))
    [run] = [run for run in comparison.provenance["put into"] if ELSEWHERE in run["of"]]
    cores = apart[apart.index.isin(run["models"], level="model")]
    most, far = (str(one.groupby("model").max().idxmax()) for one in (apart, moved))
    lost = named(name for name in before if name not in now)
    return (
        f"The trainings with {_epochs(comparison, HALF)} epochs had been done before, in part on a GPU (`other "
        "devices` in the file): the same seeds and recipe, on clips that differ by the rounding of another processor. "
        f"They did not end alike: UF1 of one network in one seed differs by {apart.mean():.3f} on average "
        f"({cores.mean():.3f} of those that learned on CPU cores both times) and by up to {apart.max():.2f} "
        f"({NAMES[most]}), the mean over ten seeds by up to {moved.max():.3f} ({NAMES[far]}). Before, {len(before)} "
        "networks were above the temporal branch, corrected in two families or in one, and now "
        f"{len(now)}, {named(now)}; {lost} cannot be told from it the second time. The branch itself, to which all "
        f"are compared, has a standard deviation over seeds of {new:.3f} where it had {old:.3f}. **So a corrected p "
        "below 0.05 from ten seeds need not come again on another machine.** That no fusion gains or loses has come "
        "again."
    )


def recipes(measured: Recipes) -> str:
    """Which recipes around that of `tiny` are worse than it, and which better: gains over seeds, corrected."""
    every = measured.gains()
    rows = every.dropna(subset="gain")
    rows = rows.assign(name=rows.model.map(NAMES) + " with " + rows.recipe)
    sure, up = rows.p_holm < 0.05, rows.gain > 0
    always = up.groupby(rows.recipe, sort=False).all()
    least = every.groupby("recipe", sort=False).uf1.min()
    own = [f"{uf1:.3f}" for uf1 in every.uf1[every.gain.isna()]]
    ended = "So nothing better is known."
    if longer := {*rows.recipe[sure & up]} & {*always.index[always]}:
        more = " or with ".join(sorted(longer))
        ended = f"**So with the recipe these two have not learned all they can**; more was reached with {more}."
    return (
        f"Corrected for {len(rows)} gains, worse than the recipe: {listed(rows.name[sure & ~up])}. Better: "
        f"{listed(rows.name[sure & up])}. Of the others it cannot be told. Higher on average with both models are "
        f"{listed(always.index[always])}, by at most {rows.high[up].max():.2f} (95 %). On average both models reach "
        f"the goal of {GOAL} with {listed(least.index[least >= GOAL])}; with the recipe as it is they have "
        f"{listed(own)} here. {ended}"
    )
