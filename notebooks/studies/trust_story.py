"""What the measurement of :mod:`studies.trust` says, in sentences made of its numbers: for notebook 10 and the site."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from scipy.special import stdtrit

from studies.trials import CHEAT, CONTROLS, HONEST, MARKED
from tsfmicro_lab.training.statistics import corrected

if TYPE_CHECKING:
    from studies.trust import Trust

DEFAULT = "integrated gradients"
#: How often a score must tell two models apart before we say that it does.
TELLS = 0.8
#: Kendall's tau from which an order is called stable, and below which it is not.
STABLE, UNSTABLE = 0.8, 0.5
#: Heading of the section that :func:`write_section` writes.
HEADING = "## Which map to trust"


def listed(names: Iterable[str]) -> str:
    """Names as a sentence lists them.

    Example:
        >>> listed("abc"), listed([])
        ('a, b and c', 'none')
    """
    *first, last = list(names) or ["none"]
    return f"{', '.join(first)} and {last}" if first else last


def accusation(trust: "Trust", distractors: str, method: str = DEFAULT) -> str:
    """Whether a where-map that points at the planted mark tells that the model uses it."""
    models = trust.models[trust.models.distractors == distractors]
    answers = models.groupby("trained")[["fooled", "plain"]].mean()
    effects = (models.fooled - models.plain).groupby(models.trained).agg(["mean", "min", "max"])
    rows = trust.shortcut.query("distractors == @distractors and method == @method and stream == 'where' and marked")
    rows = rows.set_index("trained")
    seeds, clips = trust.provenance["seeds"], explained(trust)
    changed = {
        kind: f"from {answers.plain[kind]:.0%} to {answers.fooled[kind]:.0%} ({effects['min'][kind]:+.0%} to "
        f"{effects['max'][kind]:+.0%} in the {seeds} seeds)"
        for kind in (CHEAT, HONEST)
    }
    points = {kind: f"in {rows.pointing[kind] * clips:.0f} of {clips} clips" for kind in (CHEAT, HONEST)}
    text = (
        f"Of clips that do not show {MARKED}, the mark changes the share that a model calls {MARKED} {changed[CHEAT]} "
        f"if the model was trained with it, and {changed[HONEST]} if it was not. The where-map of {method} has its "
        f"strongest pixel on the mark {points[CHEAT]} with the first model and {points[HONEST]} with the second; "
        f"{rows.mass[CHEAT]:.2f} and {rows.mass[HONEST]:.2f} of its mass lie there (by chance {rows.area[CHEAT]:.2f}). "
    )
    if effects["mean"][CHEAT] - effects["mean"][HONEST] < 0.2:
        return text + "So this model did not take the shortcut, and neither map should accuse it."
    return text + _verdicts(told(trust, distractors).query("method == @method"), clips, seeds)


def explained(trust: "Trust") -> int:
    """Marked clips that were explained for either model: one of each new person."""
    return int(trust.provenance["seeds"] * trust.provenance["new_subjects"])


def told(trust: "Trust", distractors: str) -> pd.DataFrame:
    """How often where-maps of each method tell the two models apart, by either score; intervals are corrected.

    Returns:
        Columns `method`, `score`, `auc`, `low`, `high`, `verdict`.
    """
    rows = trust.telling.query("distractors == @distractors and stream == 'where'")
    rows = rows[~rows.method.isin(list(CONTROLS))].reset_index(drop=True)
    by_chance = rows.assign(**{name: rows[name] - 0.5 for name in ("auc", "low", "high")})
    ends = corrected_ends(trust, by_chance, "auc")
    rows = rows.assign(low=(ends.low + 0.5).clip(lower=0), high=(ends.high + 0.5).clip(upper=1))
    return rows.assign(verdict=[_verdict(*numbers) for numbers in rows[["auc", "low", "high"]].to_numpy(float)])


def _verdict(auc: float, low: float, high: float) -> str:
    if low <= 0.5 <= high:
        return "cannot be seen to tell"
    if high < 0.5:
        return "tells the wrong way round"
    return "tells" if auc >= TELLS else "hardly tells"


def _verdicts(rows: pd.DataFrame, clips: int, seeds: int) -> str:
    said = []
    for score, verdict, auc, low, high in rows[["score", "verdict", "auc", "low", "high"]].to_numpy():
        ends = "in each seed" if low == high else f"{low:.0%} to {high:.0%}"
        shown = f"{auc:.0%} of pairs right, {ends}; 50% by chance"
        said.append(f"{score} {verdict} which of the two models drew a map ({shown})")
    few = f"Pairs are of the same seed, of {clips} maps of either kind in all; intervals are over {seeds} trainings"
    return f"{said[0].capitalize()}; {said[1]}. {few} and their people, corrected for every method and score."


def best_teller(trust: "Trust", distractors: str) -> str:
    """Which maps tell the two models apart, and that a counterfactual does."""
    rows = told(trust, distractors).query("score == 'mass'").sort_values("auc", ascending=False)
    able, blind = (list(rows.method[rows.verdict == word]) for word in ("tells", "cannot be seen to tell"))
    models = trust.models[trust.models.distractors == distractors]
    cheats = models[models.trained == CHEAT]
    but = f", and cannot be seen to with {listed(blind)}" if blind else ""
    return (
        "The mass in the mark tells the model that uses it from the one that does not with "
        f"{listed(able)}{but}. No map is needed: taking the mark away changes the share of {MARKED} of the first "
        f"model from {cheats.fooled.mean():.0%} to {cheats.plain.mean():.0%}."
    )


def shown(trust: "Trust") -> str:
    """The condition in which the model took the shortcut the most, so that there is something to be found."""
    cheats = trust.models[trust.models.trained == CHEAT]
    gain = (cheats.fooled - cheats.plain).groupby(cheats.distractors).mean()
    return str(gain.idxmax())


def stability(trust: "Trust", distractors: str) -> str:
    """Whether the order of methods hangs on what stands in for missing pixels."""
    rows = trust.stability[trust.stability.distractors == distractors]
    tau = rows.groupby("score", sort=False).tau.agg(["min", "mean"])
    words = ["stable" if t >= STABLE else "not stable" if t < UNSTABLE else "stable in part" for t in tau["min"]]
    said = [
        f"by {score} it is {word} (τ {row['min']:.2f} at least, {row['mean']:.2f} on average)"
        for word, (score, row) in zip(words, tau.iterrows(), strict=True)
    ]
    return f"The order of methods under three imputations: {listed(said)}."


def first_of(trust: "Trust", score: str, distractors: str, stream: str = "how") -> dict[str, str]:
    """The method that comes first by a score with each imputation."""
    rows = trust.imputation.query("distractors == @distractors and score == @score and stream in (@stream, 'both')")
    rows = rows[~rows.method.isin(list(CONTROLS))].sort_values("mean", ascending=score != "insertion")
    return {str(name): str(own.method.iloc[0]) for name, own in rows.groupby("imputation", sort=False)}


def home_ground(trust: "Trust", distractors: str = "none") -> str:
    """Where integrated gradients stand with their own baseline in the holes, and with something else."""
    said = []
    for score in ("deletion", "infidelity"):
        rows = trust.imputation.query("distractors == @distractors and score == @score and stream in ('how', 'both')")
        values = rows[~rows.method.isin(list(CONTROLS))].pivot_table("mean", "method", "imputation", sort=False)
        places = values.rank().loc[DEFAULT]
        said.append(f"by {score} {listed(f'{place:.0f}. with {name}' for name, place in places.items())}")
    return (
        f"Zero is the baseline of {DEFAULT}, its home ground: among {len(values)} methods it comes {'; '.join(said)} "
        "in the holes."
    )


def seeds_and_nonsense(trust: "Trust") -> str:
    """Of which methods the maps of two good models resemble each other more than a good one's and a nonsense one's."""
    from studies.trust import CLOSER

    rows = corrected_ends(trust, trust.sanity[trust.sanity.check == CLOSER], "similarity").set_index("method")
    closer, farther = rows.index[rows.low > 0], rows.index[rows.high < 0]
    same = rows.index.difference([*closer, *farther], sort=False)
    both = "two models that differ by their seed draw maps more alike than a model and one trained on random labels"
    if not len(closer) + len(farther):
        return (
            f"Whether {both} cannot be told of any of the {len(rows)} methods: corrected for their number, the "
            "interval of each difference holds zero."
        )
    text = (
        f"Corrected for {len(rows)} methods, {both} with {listed(closer)}; with {listed(same)} that cannot be told, "
        "since the interval of the difference holds zero"
    )
    return text + (f"; with {listed(farther)} it is the other way round." if len(farther) else ".")


def corrected_ends(trust: "Trust", rows: pd.DataFrame, mean: str = "mean") -> pd.DataFrame:
    """Stored 95 % intervals, made wider by Holm's correction for their number.

    Each is the wider one of two t intervals, over seeds or subjects. Which, was not stored; they are taken for those
    over seeds, which have fewer degrees of freedom, so that none is found significant that is not.
    """
    df = trust.provenance["seeds"] - 1.0
    errors = ((rows.high - rows[mean]) / stdtrit(df, 0.975)) ** 2
    table = corrected([(value, [(error, df)]) for value, error in zip(rows[mean], errors, strict=True)])
    return rows.assign(low=table.low.to_numpy(), high=table.high.to_numpy())


def beaten_by_input(trust: "Trust", score: str, distractors: str = "none") -> Sequence[str]:
    """Methods that the bare difference frame beats or equals against the truth."""
    values = trust.table(distractors)[score]
    return [m for m in values.index if m not in CONTROLS and values[m] <= values["input"] + 1e-9]


def recognised(trust: "Trust") -> str:
    """How well the explained models do on new people."""
    rows = trust.models[trust.models.trained == HONEST].groupby("distractors", sort=False).accuracy.mean()
    return listed(f"{value:.0%} of the clips with distractors '{name}'" for name, value in rows.items())


def against_truth(trust: "Trust") -> str:
    """What the bare difference frame does in the pointing game."""
    return (
        "Look at who is on top. The bare difference frame finds the moving pixels, of course: where nothing moves, "
        "nothing "
        f"differs. It points as well as, or better than, {listed(beaten_by_input(trust, 'pointing'))}. **A high score "
        "against the truth does not show that a map explains the model.** So ask the model: if the pixels that a map "
        "calls "
        "important are taken out, does the answer change?"
    )


def against_model(trust: "Trust") -> str:
    """Which methods say more about the model than its input does."""
    values = _methods_of(trust.table()["infidelity"])
    better = values.index[values < trust.table().infidelity["input"]]
    return (
        f"By infidelity {listed(better)} are better than the input, which knows where something moved, not what the "
        "model "
        "made of it."
    )


def causes_table(trust: "Trust") -> pd.DataFrame:
    """How well each method predicts effects without distractors, with intervals corrected for their number."""
    return corrected_ends(trust, trust.causes[trust.causes.distractors == "none"])


def causes(trust: "Trust") -> str:
    """Which methods predict what happens to the logit when a unit does not move."""
    rows = causes_table(trust).sort_values("mean", ascending=False).set_index("method")
    best = listed(f"{method} ({value:.2f})" for method, value in rows["mean"].head(3).items())
    return (
        f"Best: {best}. Last: {rows.index[-1]} ({rows['mean'].iloc[-1]:.2f}). Corrected for their "
        "number, the interval lies above zero for "
        f"{listed(rows.index[rows.low > 0])}. (KernelSHAP and feature ablation were told the regions, which come from "
        "the "
        "very table that moves the faces: an advantage that they would not have on recordings.)"
    )


def among_distractors(trust: "Trust") -> str:
    """Whether maps know more of what moved than the input shows."""
    table = trust.table("all")
    mass, own = table.mass, _methods_of(table.mass)
    return (
        f"Of the input's mass {mass['input']:.0%} lie where the face moved ({table.area.mean():.0%} of the picture), "
        "of "
        f"that of {DEFAULT} {mass[DEFAULT]:.0%}. More than the input: {listed(own.index[own > mass['input']])}. What "
        "these "
        "have beyond the input they can only know from the network, which was trained among drift."
    )


def sanity(trust: "Trust", similarities: pd.DataFrame) -> str:
    """The table of sanity checks, read column by column."""
    stays = similarities.index[similarities["classifier"] > 0.999]
    slopes = similarities.index[similarities["shifted inputs"] > 0.99]
    kept = listed(f"{m} ({v:.2f})" for m, v in similarities["stem"].drop(stays).nlargest(3).items())
    return (
        "Read it column by column.\n\n"
        f"- *classifier*: {listed(stays)} stays exactly as it was: it does not know the class.\n"
        f"- *stem*, where **all** weights are random: {kept} still resemble the trained model's map most. What is left "
        "there is the picture, not the model.\n"
        f"- *another seed* and *random labels*: {seeds_and_nonsense(trust)}\n"
        f"- *shifted inputs*: {listed(slopes)} do not move. The others do: for those with a baseline, zero no longer "
        "means "
        '"nothing known". The baseline is part of the question; say it whenever you show a map.'
    )


def shortcuts(trust: "Trust") -> str:
    """How far the shortcut was taken, and what methods by region see of it."""
    models = trust.models[trust.models.trained == CHEAT].groupby("distractors", sort=False)[["fooled", "plain"]].mean()
    took = listed(
        f"{row.fooled - row.plain:+.0%} of clips with distractors '{name}'" for name, row in models.iterrows()
    )
    rows = trust.telling.query("stream == 'where' and score == 'mass'")
    auc = rows[rows.distractors == shown(trust)].set_index("method").auc
    regional = listed(f"{auc[m]:.0%} of pairs ({m})" for m in ("feature ablation", "KernelSHAP") if m in auc)
    return (
        f"The mark turns {took} into {MARKED}: how far a shortcut is taken hangs on what else there is to learn. And "
        "methods "
        f"by region were not told that a corner is a region; by the mass in the mark they tell the two models apart in "
        f"{regional}, where 50% is chance. They answer only what they are asked."
    )


def advice(trust: "Trust") -> str:
    """Which method when, by these numbers."""
    table = trust.table()
    effect = trust.causes[trust.causes.distractors == "none"].set_index("method")["mean"]
    mass = _methods_of(table.mass)
    spread_out = mass.index[mass < 2 * table.area.mean()]
    regional = listed(f"{m} ({effect[m]:.2f})" for m in ("KernelSHAP", "feature ablation") if m in effect)
    best = listed(f"{method} ({value:.2f})" for method, value in effect.nlargest(3).items())
    quick = "input × gradient"
    return (
        f"- **What did each picture, region or pixel contribute?** {best} predict true effects best (which of them "
        f"is, was not tested); {DEFAULT} need no regions and add up to the logit. State the baseline.\n"
        f"- **What did each action unit do?** {regional}, if you know the regions; a counterfactual, if you can "
        "render.\n"
        f"- **A quick look while training?** {quick.capitalize()} takes "
        f"{table.seconds[quick] / table.seconds[DEFAULT]:.0%} "
        f"of the time of {DEFAULT}; it predicts effects with {effect[quick]:.2f}.\n"
        f"- **Not as evidence for places:** {listed(spread_out)} (less than twice the mass that chance puts where the "
        "face "
        "moved); rollout (knows no class); DeepLift (refused by this network).\n"
        "- **Not as evidence of what a model uses:** a map that points there. Take it away and ask the model again."
    )


def _methods_of(values: pd.Series) -> pd.Series:
    """Without controls, and without what has no value."""
    return values.drop([m for m in CONTROLS if m in values]).dropna()


def section(trust: "Trust") -> str:
    """The section of the results page."""
    about = trust.provenance
    clips = int(trust.scores[trust.scores.score == "mass"].groupby("distractors").clips.max().sum())
    table, causes = trust.table(), trust.causes[trust.causes.distractors == "none"].set_index("method")["mean"]
    refused = trust.scores.query("score == 'refused' and method == 'DeepLift'")["mean"].mean()
    lines = ["| method | pointing | mass | deletion | infidelity | effect | seconds |", "|---|---|---|---|---|---|---|"]
    order = sorted(table.index, key=lambda m: (m in CONTROLS, -causes.get(m, -2.0)))
    for method in (m for m in order if m != "DeepLift"):
        cells = [f"{table.loc[method, s]:.2f}" for s in ("pointing", "mass", "deletion", "infidelity")]
        cells += [f"{causes[method]:.2f}", f"{table.seconds[method]:.2f}"] if method in causes else ["", ""]
        lines.append(f"| {method}{' *(control)*' if method in CONTROLS else ''} | {' | '.join(cells)} |")
    at = shown(trust)
    methods = len(table.index.difference([*CONTROLS, "DeepLift"]))
    kinds = list(dict.fromkeys(trust.stability.distractors))
    beaten = [f"{len(beaten_by_input(trust, 'pointing', kind))} (distractors {kind})" for kind in kinds]
    paragraphs = [
        HEADING,
        f"**{accusation(trust, at)}** {best_teller(trust, at)} (Distractors in these clips: {at}.)",
        f"`{about['command']}` (commit {about['commit']}) trains late fusion on {about['subjects']} synthetic subjects "
        f"× {about['clips_per_subject']} clips, {about['seeds']} seeds, and explains {clips} clips of other people, of "
        f"which the models recognise {recognised(trust)}. It asks of every method whether its map of the difference "
        f"lies on what truly **moved** (pointing game; mass in the moved region, by chance {table.area.mean():.2f}), "
        "whether it says what the **model** does (deletion: mean probability while pixels are taken out; infidelity: "
        "share of the answers left unexplained; both lower is better, means over three kinds of pixels that stand in), "
        "and whether it predicts the **effect** on the logit when the renderer keeps an action "
        "unit still (rank correlation). Intervals are in the file and in "
        "[notebook 10](../notebooks/10_can_you_trust_the_map.ipynb). Without distractors:",
        "\n".join(lines),
        f"{home_ground(trust)} " + " ".join(f"Distractors {kind}: {stability(trust, kind)}" for kind in kinds),
        f"The bare difference frame points at what moved as well as, or better than, {listed(beaten)} of {methods} "
        "methods: where nothing disturbs, finding what moved shows nothing about the model. "
        f"{seeds_and_nonsense(trust)} DeepLift is refused on {refused:.0%} of the clips: captum has no rules for this "
        "network's layers, and its maps do not add up. Methods by region were told regions from the table that moves "
        "the faces, which recordings do not offer. All of this is on rendered heads and a small network.",
    ]
    return "\n\n".join(paragraphs) + "\n"


def write_section(page: Path, trust: "Trust") -> None:
    """Writes the section of a page anew and leaves the others.

    Raises:
        ValueError: The page has no such section.
    """
    text = page.read_text(encoding="utf-8")
    before, found, after = text.partition(f"{HEADING}\n")
    if not found:
        raise ValueError(f"{page} has no section '{HEADING}': add the heading where the section is to stand")
    _, following, rest = after.partition("\n## ")
    page.write_text(before + section(trust) + (f"\n## {rest}" if following else ""), encoding="utf-8")
