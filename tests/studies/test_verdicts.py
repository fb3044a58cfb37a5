"""Sentences from a stored comparison say no more than its seeds allow."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from scipy.stats import ttest_1samp

from studies import said
from studies.compare import Comparison
from studies.floors import FLOORS
from studies.new_subjects import ELSEWHERE, FAST, HALF, HEADS
from studies.recipe import Recipes
from studies.tables import STORED, pairs
from studies.verdicts import above_floor, linear_floor, may_claim, published_scores, stream_verdict, verdict

LESSONS = ("03_fusion_early", "04_fusion_temporal_to_spatial", "12_frl_dgt")
ROWS = [
    ("tsfmicro_temporal", 5, 0.8, np.nan, np.nan, np.nan, np.nan),
    ("tsfmicro_early", 5, 0.9, 0.1, 0.05, 0.15, 0.01),
    ("tsfmicro_late", 5, 0.79, -0.01, -0.05, 0.03, 0.7),
    ("tsfmicro_spatial", 5, 0.62, 0.08, 0.03, 0.13, 0.02),
    ("tsfmicro_s2t", 1, 0.85, 0.05, np.nan, np.nan, np.nan),
    ("weak", 5, 0.55, -0.25, -0.3, -0.2, 0.01),
    ("linear_flow", 5, 0.5, -0.3, -0.4, -0.2, 0.0),
    ("linear_difference", 5, 0.6, -0.2, -0.3, -0.1, 0.0),
]


def comparison(streams=()):
    columns = ["model", "seeds", "uf1", "gain", "gain_low", "gain_high", "p_holm"]
    rows = [
        {"setting": "clean", "model": model, "seed": seed, "intervention": what, "lost": lost}
        for model, what, losses in streams
        for seed, lost in enumerate(losses)
    ]
    intervals = pd.DataFrame(ROWS, columns=columns).assign(setting="clean", low=lambda rows: rows.uf1 - 0.05)
    none = pd.DataFrame()
    table = pd.DataFrame(rows, columns=["setting", "model", "seed", "intervention", "lost"])
    return Comparison(provenance={}, scores=none, intervals=intervals, curves=none, streams=table, cost=none)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("early", "gain +0.10 (+0.05 to +0.15), 5 seeds, p (Holm) 0.010: it wins."),
        ("spatial", "it wins, but spatial is not above a linear model's 0.60, so nothing is said"),
        ("late", "the two cannot be told apart"),
        ("s2t", "from 1 seed: an observation, not tested"),
        ("t2s", "has not been measured yet"),
    ],
)
def test_a_gain_is_told_only_if_its_test_leaves_out_zero(model, words):
    assert words in verdict(comparison(), "clean", f"tsfmicro_{model}")


def test_a_loser_may_lie_below_the_floor_and_a_winner_may_not():
    assert verdict(comparison(), "clean", "weak").endswith("it loses, and weak is not above a linear model's 0.60.")
    assert verdict(comparison(), "clean", "linear_flow").endswith("it loses."), "what is a floor lies below none"
    found = comparison()
    found.intervals["low"] = found.intervals.low.where(found.intervals.model != "tsfmicro_temporal", 0.55)
    words = "it loses, but temporal is not above a linear model's 0.60, so nothing is said."
    assert verdict(found, "clean", "weak").endswith(words)
    assert may_claim(0.2, float("nan"), 0.9, 0.8, 0.6) == "nothing"


@pytest.mark.parametrize(
    ("off", "grey", "noise", "other", "words"),
    [
        ((0.5, 0.6), (0.0, 0.0), (0.2, 0.2), (0.0, 0.0), "needs that stream to be on, and no face"),
        ((0.5, 0.6), (0.5, 0.0), (0.0, 0.0), (0.0, 0.0), "needs that stream to be on, and no face"),
        ((0.5, 0.6), (0.5, 0.4), (0.5, 0.4), (0.0, 0.0), "needs a face, of whomever"),
        ((0.5, 0.6), (0.5, 0.4), (0.5, 0.0), (0.0, 0.0), "the seeds disagree"),
        ((0.5, 0.6), (0.5, 0.4), (0.5, 0.4), (0.4, 0.3), "uses the onset frame of this very clip"),
        ((0.0, 0.0), (0.3, 0.2), (0.3, 0.2), (0.0, 0.0), "can do without the stream, though grey misleads it"),
        ((0.5, 0.0), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0), "the seeds disagree"),
    ],
)
def test_a_stream_is_told_by_its_controls(off, grey, noise, other, words):
    pairs = {"where off": off, "onset grey": grey, "onset noise": noise, "onset of another": other}
    found = comparison([(model, *pair) for model in ("tsfmicro_early", "weak") for pair in pairs.items()])
    assert words in stream_verdict(found, "clean", "tsfmicro_early")
    assert linear_floor(found, "clean") == 0.6
    assert "it is not above a linear model, so nothing is said" in stream_verdict(found, "clean", "weak")


@pytest.fixture(scope="module")
def stored():
    return Comparison.load(ROOT / "notebooks" / "results" / "comparison.json")


def test_the_front_page_and_lessons_say_of_fusion_what_the_file_allows(stored):
    """One rule: the winner above the linear floor, the p corrected."""
    assert {*said.fusions(stored, "clean").claim} == {"nothing"}
    rows = said.fusions(stored, "needed, flow")
    assert list(rows.index[rows.claim != "better"]) == ["tsfmicro_late"]
    assert not above_floor(stored, "needed, flow", "tsfmicro_late")
    steps = pairs().query("setting == 'needed, flow' and against != 'linear_difference'")["p (Holm)"].astype(float)
    assert steps.between(0.05, 0.1).all(), "a trend"
    front = " ".join((ROOT / "README.md").read_text().split())
    assert "four of its five forms gained; late fusion could not be told from a linear model" in front
    assert "that early fusion is the best is a trend" in front
    lessons = {path.name[:2]: path.read_text() for path in (ROOT / "notebooks").glob("0*.ipynb")}
    assert 'as every\\n",\n    "fusion but late fusion does there' in lessons["03"]
    lost = stored.streams.query("setting == 'clean' and model == 'tsfmicro_s2t'").pivot_table(
        "lost", "seed", "intervention"
    )
    assert (lost["onset noise"] < 0.1).all(), "noise misleads none (lesson 05)"
    assert (lost["onset grey"] >= 0.1).sum() == 2, "grey misleads two (lesson 05, results)"
    assert "and no face" in stream_verdict(stored, "clean", "tsfmicro_s2t")


def test_paragraphs_follow_the_numbers(stored):
    assert "4 of 5 fusions gain" in said.needed_flow(stored)
    rows = stored.intervals
    late = rows.model == "tsfmicro_late"
    with pytest.raises(ValueError, match="stand otherwise now"):
        said.needed_flow(replace(stored, intervals=rows.assign(p_holm=rows.p_holm.mask(late, 0.2))))
    with pytest.raises(ValueError, match="a fusion gains or loses now"):
        said.clean(replace(stored, intervals=rows.assign(p_holm=rows.p_holm.mask(late, 0.01))))
    with pytest.raises(ValueError, match="above the linear model now"):
        said.distractors(replace(stored, intervals=rows.assign(uf1=rows.uf1.mask(late, 0.95))))
    scores = stored.scores
    late = (scores.model == "tsfmicro_late") & (scores.setting == "clean") & (scores.faces == HEADS)
    for uf1, words in ((0.9, "late fusion reaches it (0.900 ± 0.000)"), (0.8, "misses it (0.800 ±")):
        assert words in said.goal(replace(stored, scores=scores.assign(uf1=scores.uf1.mask(late, uf1))))
    spread = scores.uf1.mask(late, 0.9 + 0.05 * (-1) ** scores.seed)
    assert "late fusion misses it (0.900 ± 0.05" in said.goal(replace(stored, scores=scores.assign(uf1=spread)))
    curves = stored.curves.query("setting == 'distractors' and clips == 768 and model == 'tsfmicro_late'")
    mean = curves.groupby("epoch").uf1.mean()
    assert f"from epoch 54 to 72 they gain {mean[72] - mean[54]:.2f} and" in said.distractors(stored)


def test_what_is_said_of_pairs_is_what_the_file_has(stored):
    """The numbers in the prose below the table of pairs."""
    uf1 = stored.scores.query("faces == 'new heads'").pivot_table("uf1", "seed", ["setting", "model"])
    text = " ".join((ROOT / "docs" / "results.md").read_text().split())
    retention = {s: uf1[s, "mmnet temporal=retention"] - uf1[s, "mmnet"] for s in ("needed", "clean", ELSEWHERE)}
    gains = f"gains {retention['needed'].mean():.2f} on the close-ups, and nothing that could be told on few clean"
    short = (uf1["clean", "slstt_mean"] - uf1["clean", "slstt_mean flow=short"]).mean()
    less = uf1["clean", "slstt_mean"] - uf1["clean", "slstt_lstm"]
    assert (less > 0).sum() == 9
    fell = f"Retention gains {retention[ELSEWHERE].mean():.2f} over attention in MMNet's body on few clean clips"
    for sentence in (gains, f"is worth {short:.2f} against", f"nine of ten seeds, by up to {less.max():.2f}", fell):
        assert sentence in text, sentence
    told = pairs().set_index(["setting", "model"]).told
    assert told["clean", "mmnet temporal=retention"] == "the two cannot be told apart"
    again = uf1[HALF, "mmnet temporal=retention"] - uf1[HALF, "mmnet"]
    assert ttest_1samp(again, 0).pvalue > 0.05, "trained again it cannot be told, even alone"
    lessons = {name: (ROOT / "notebooks" / f"{name}.ipynb").read_text() for name in LESSONS}
    assert len(pairs()) == 13
    assert "thirteen pairs" in lessons["04_fusion_temporal_to_spatial"]
    more = uf1["clean", "frl_dgt displacement=dis"] - uf1["clean", "frl_dgt"]
    assert (more > 0).sum() == 9
    assert f"in nine seeds of ten, {more.mean():.2f} on average" in lessons["12_frl_dgt"]
    assert above_floor(stored, "clean", "frl_dgt displacement=dis")
    lost = stored.streams.query("setting == 'clean' and model == 'tsfmicro_early'").groupby("intervention").lost
    many = lost.apply(lambda own: (own > 0.1).sum())
    assert (many["onset grey"], many["onset noise"]) == (7, 3), "lesson 03 and the page's last part say so"
    assert "noise 0.16, and more than 0.1 in three" in lessons["03_fusion_early"]
    assert [round(lost.mean()[f"onset {what}"], 2) for what in ("grey", "noise")] == [0.28, 0.16]
    off = stored.streams.query("setting == 'clean' and model == 'tsfmicro_early' and intervention == 'where off'").lost
    assert "turning the stream off costs three networks of ten more than 0.1" in text
    assert (off > 0.1).sum() == 3
    assert told["clean", "slstt_mean flow=short"] == (
        "it loses, and slstt_mean flow=short is not above a linear model's 0.81"
    )
    cost = stored.cost.set_index("model").loc[["mmnet", "mmnet temporal=retention"], ["parameters", "mflops", "ms"]]
    more = cost.iloc[1] / cost.iloc[0]
    assert "a quarter more parameters, 2.7 times as many operations and four times as long a step" in text
    assert more.to_numpy() == pytest.approx([1.25, 2.7, 4], rel=0.05)


def test_another_rate_is_told_in_pairs_of_seeds(stored):
    scores = stored.scores
    rows = said.recipe_gains(stored, HALF, FAST)
    uf1 = scores.query("faces == @HEADS").pivot_table("uf1", "seed", ["model", "setting"])["tsfmicro_late"]
    assert rows.gain["tsfmicro_late"] == pytest.approx((uf1[FAST] - uf1[HALF]).mean())
    assert rows.higher["tsfmicro_late"] == (uf1[FAST] > uf1[HALF]).sum()
    assert {*rows.index} == {*said.NAMES}
    assert rows.seeds.min() == 10
    other = Recipes.load(STORED / "recipe.json").gains().set_index(["model", "recipe"]).gain
    gains = f"the temporal branch gained {other[said.TEMPORAL, 'twice the rate']:.2f} at twice the rate; on the ten of "
    gains += f"the table it gains {rows.gain[said.TEMPORAL]:.3f}, the mean over all networks changes by "
    gains += f"{rows.gain.mean():.3f}, and SLSTT's LSTM loses {-rows.gain['slstt_lstm']:.2f}."
    assert gains in " ".join((ROOT / "docs" / "results.md").read_text().split())
    assert rows.p_holm[["ststnet flow=dis", "slstt_lstm"]].min() > 0.05, "the page's last part says so"
    again = (scores.model == "htnet flow=dis") & (scores.setting == FAST) & (scores.faces == HEADS)

    def told(at, chosen=again):
        return said.fast(replace(stored, scores=scores.assign(uf1=scores.uf1.mask(chosen, at))))

    for at, words in ((0.9, r"lower: ([^.]* )?HTNet[ .,]"), (1.05, r"higher: ([^;]* )?HTNet[ ;,]")):
        assert re.search(words, told(at)), at
    with pytest.raises(ValueError, match="the rate changes other things now"):
        told(1.0, scores.setting == FAST)


def test_the_clean_tables_are_of_one_kind_of_machine_one_family_and_ten_seeds(stored):
    """No gain in them holds another device; and the goal of the trainer is reached, which the page says."""
    for setting in ("clean", HALF, FAST):
        [run] = [run for run in stored.provenance["put into"] if setting in run["of"]]
        assert {"lbp_top", *said.NAMES} <= {*run["models"]}
        assert run["device"].startswith("2 CPU cores")
        assert {*stored.intervals.seeds[stored.intervals.setting == setting]} == {10}
    uf1 = stored.scores.query("setting == 'clean' and faces == @HEADS").groupby("model").uf1
    for model in ("tsfmicro_temporal", "tsfmicro_late"):
        assert uf1.mean()[model] >= said.GOAL
        assert uf1.std()[model] <= said.SPREAD


def test_twice_the_epochs_are_told_with_what_still_holds(stored):
    scores, page = stored.scores, " ".join((ROOT / "docs" / "results.md").read_text().split())
    rows = said.recipe_gains(stored, HALF, "clean")
    assert {*rows.index} == {*said.NAMES}
    assert rows.seeds.min() == 10
    before, then = (said.beside_temporal(stored, setting)["it wins"] for setting in (HALF, "clean"))
    text = said.patient(stored)
    assert f"with 48 epochs {len(before)} networks are above it, and with 96 only {len(then)}, " in text
    assert {*before} - {*then} == {"htnet flow=dis depths=(1, 3)"}
    assert "Below it with 96 epochs alone: FRL-DGT on DIS flow. " in text
    assert {*then} == {"htnet flow=dis", "off_apexnet flow=dis"}, "as lesson 15 and the page's last part say"
    assert f"the mean gains {rows.gain.mean():.3f}." in page
    intervals = stored.intervals

    def changed(model, **columns):
        here = (intervals.setting == "clean") & (intervals.model == model)
        own = {name: intervals[name].mask(here, value) for name, value in columns.items()}
        return replace(stored, intervals=intervals.assign(**own))

    one, other = then
    assert f"only 1, {said.NAMES[other]};" in said.patient(changed(one, p_holm=0.2))
    with pytest.raises(ValueError, match="the epochs change other things now"):
        said.patient(changed("dual_branch", p_holm=0.001, gain=0.1))
    with pytest.raises(ValueError, match="a fusion gains or loses now"):
        said.clean(changed("tsfmicro_late", p_holm=0.001, gain=0.1))
    assert "but for that of" not in said.clean(stored)
    assert "but for that of S→T. Of the others" in said.clean(changed("tsfmicro_s2t", low=0.7))
    worse = (scores.setting == "clean") & (scores.model == "mmnet") & (scores.faces == HEADS)
    with pytest.raises(ValueError, match="the epochs change other things now"):
        said.patient(replace(stored, scores=scores.assign(uf1=scores.uf1.mask(worse, 0.1))))


def test_trainings_done_again_elsewhere_are_told_with_what_came_again(stored):
    scores, text = stored.scores, said.again(stored)
    uf1 = scores.query("faces == @HEADS").pivot_table("uf1", ["model", "seed"], "setting").loc[[*said.NAMES]]
    apart = (uf1[HALF] - uf1[ELSEWHERE]).abs()
    whole = [
        "dynamic_fusion",
        "slstt_mean",
        "slstt_mean flow=short",
        "slstt_lstm",
        "frl_dgt",
        "frl_dgt displacement=dis",
    ]
    assert f"differs by {apart.mean():.3f} on average ({apart.loc[whole].mean():.3f} of those that" in text
    assert f"both times) and by up to {apart.max():.2f} (" in text
    assert len(apart.dropna()) == 10 * len(said.NAMES)
    floors = scores[scores.model.isin(FLOORS) & (scores.faces == HEADS)].pivot_table(
        "uf1", ["model", "seed"], "setting"
    )
    assert (floors[HALF] - floors[ELSEWHERE]).abs().max() < 0.02, "the clips are the same but for rounding"
    first, second, longer = (said.beside_temporal(stored, s)["it wins"] for s in (ELSEWHERE, HALF, "clean"))
    assert (len(first), len(second), len(longer)) == (8, 3, 2), "the page's last part says so"
    p = stored.intervals.query("setting == @ELSEWHERE").set_index("model").p.dropna().sort_values()
    family = (p * np.arange(len(p), 0, -1)).cummax()
    assert family[[*first]].max() < 0.05, "corrected in one family, too"
    lesson = (ROOT / "notebooks" / "15_neighbours.ipynb").read_text()
    assert "in an older table it could of six more, and [trained again]" in lesson
    assert len({*first} - {*longer}) == 6
    rows = stored.intervals
    for setting, model in ((HALF, "dual_branch"), (ELSEWHERE, "tsfmicro_late")):
        here = (rows.setting == setting) & (rows.model == model)
        found = rows.assign(p_holm=rows.p_holm.mask(here, 0.001), gain=rows.gain.mask(here, 0.1))
        with pytest.raises(ValueError, match="the second time tells other things now"):
            said.again(replace(stored, intervals=found))


def test_what_is_said_of_close_ups_is_what_the_file_has(stored):
    """The numbers in the prose below their first table."""
    text = " ".join((ROOT / "docs" / "results.md").read_text().split())
    rows = stored.intervals.query("setting == 'needed'").set_index("model")
    reading = rows.uf1[rows.index.str.contains("flow")]
    ends = f"near chance ({reading.min():.2f} to {reading.max():.2f}; chance has {rows.uf1['chance']:.2f},"
    assert f"What reads DIS flow alone is {ends}" in text
    assert rows.uf1["oracle: true displacement"] == pytest.approx(1, abs=1e-3)
    fusions = said.fusions(stored, "needed")
    assert f"has {rows.uf1[said.TEMPORAL]:.1f}, as much as any fusion" in text
    assert {*fusions.claim} == {"nothing"}
    assert f"({stored.provenance['settings']['needed, flow']['epochs']} epochs)" in text


def test_what_nobody_read_is_called_so():
    assert {*published_scores().accuracy} == {"not read"}
    assert published_scores("SLSTT-LSTM").uf1.str.match(r"0\.\d{3}|not read").all()
