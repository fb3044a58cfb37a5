"""Intervals are tried on experiments whose truth is known: 95 % must mean it, and what the lab had before must fail."""

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from scipy import stats

from studies.coverage import BETTER, WHAT, Coverage, Setting, draw, percentile_interval, rates, settings, true_uf1
from studies.tables import markdown
from tsfmicro_lab.training.metrics import uf1_of_counts
from tsfmicro_lab.training.statistics import ends, p_value, uf1_errors

#: Experiments of each kind, by seeds: what is measured of a true 95 % has a standard error of 0.5 % (0.7 % of 1000).
EXPERIMENTS = {1: 2000, 3: 1000, 10: 1000}
#: What seeds differ in, in logits; the study's tables differ as much.
SEED_SD = 0.4
KINDS = [
    Setting(subjects, seeds, seed_sd, same_people=same)
    for subjects in (8, 26)
    for seeds in (3, 10)
    for seed_sd in (0.0, SEED_SD)
    for same in (False, True)
]
#: One seed says nothing of what seeds differ in, so there it is asked without.
KINDS += [Setting(8), Setting(26)]


def honest(found):
    """Which rows keep the promise: at least 93 % hold the truth, and at most 6 % find a gain where there is none."""
    return np.where(found.what == WHAT[2], found.coverage >= 0.94, found.coverage >= 0.93)


@pytest.fixture(scope="module")
def measured():
    return pd.concat([rates(kind, EXPERIMENTS[kind.seeds]) for kind in KINDS], ignore_index=True)


def test_95_percent_intervals_hold_the_truth(measured):
    assert len(measured) == 3 * len(KINDS)
    assert honest(measured).all(), measured[~honest(measured)]
    assert not measured.outside.any(), "a score lies in its own interval"


def test_they_are_no_wider_than_they_must_be(measured):
    """Ten seeds with subjects of their own, the seeds' effect known: z ± 1.96 s. Nobody may pay more than a third."""
    ten = measured[(measured.seeds == 10) & ~measured.same_people.astype(bool)]
    least = 2 * stats.norm.ppf(0.975) * ten.spread / 10**0.5
    assert (ten.width < 1.33 * least).all()
    assert (ten.width > least).all()


def test_the_former_interval_fails_the_same_simulation():
    """Whole subjects drawn again, percentiles: too short with 8 subjects, and blind to what seeds differ in."""
    kinds = {
        "8 subjects": Setting(8),
        "seeds": Setting(26, 3, SEED_SD),
        "the same": Setting(8, 3, SEED_SD, same_people=True),
    }
    for name, kind in kinds.items():
        found = rates(kind, 500, former=500)
        before = found.construction == "former"
        assert not honest(found[before]).any(), name
        assert honest(found[~before]).all(), name
    assert found.loc[before & (found.what == WHAT[2]), "coverage"].item() < 0.88, (
        "false gains more than twice too often"
    )


def test_seeds_that_are_not_drawn_are_not_covered():
    """With one seed the interval is about its subjects: what its docstring warns of does happen."""
    found = rates(Setting(26, 1, SEED_SD), 1000)
    assert (found.coverage < 0.85).all()


@pytest.mark.parametrize("kind", [Setting(8), Setting(26), Setting(8, 10, SEED_SD)])
def test_a_gain_that_is_called_detectable_is_found_four_times_in_five(kind):
    """`detectable_gain` for as many subjects as there were, added to gains of nothing."""
    value, errors = uf1_errors(draw(kind, 1000, np.random.default_rng(2))[:2])
    least = np.mean(ends(0.0, errors, 0.95)[1] + ends(0.0, errors, 0.6)[1])
    found = np.mean(p_value(value + least, errors) < 0.05)
    assert found == pytest.approx(0.8, abs=0.06)
    assert np.mean(p_value(value + least / 2, errors) < 0.05) < 0.5


@pytest.mark.parametrize("seed_sd", [0, SEED_SD])
def test_the_truth_is_that_of_the_drawn_experiments(seed_sd):
    """Without any interval: mean UF1 of large experiments, which is below the truth by what few clips cost."""
    models = draw(Setting(300, 20, seed_sd), 20, np.random.default_rng(5))
    for counts, level in zip(models, (1.2, 1.2, 1.2 + BETTER), strict=True):
        drawn = [uf1_of_counts(seed.sum(1)) for seed in counts]
        assert np.mean(drawn) == pytest.approx(true_uf1(level, seed_sd), abs=4 * np.std(drawn) / 20 + 0.001)


@pytest.mark.parametrize("same_people", [False, True])
def test_the_former_interval_is_scipys_percentile_bootstrap(same_people):
    models = draw(Setting(12, 3, 0.4, same_people=same_people), 1, np.random.default_rng(1))[:2]
    numbers = [np.arange(12)] * (1 if same_people else 3)
    options = {"method": "percentile", "vectorized": False, "n_resamples": 1500}

    def gain(*people):
        drawn = people * 3 if same_people else people
        first, second = (
            np.mean([uf1_of_counts(seed[0][who].sum(0)) for seed, who in zip(model, drawn, strict=True)])
            for model in models
        )
        return first - second

    found = stats.bootstrap(numbers, gain, rng=np.random.default_rng(0), **options).confidence_interval
    ours = percentile_interval(models, same_people, 3000)[:, 0]
    assert ours == pytest.approx((found.low, found.high), abs=0.015)


STORED = ROOT / "notebooks" / "results" / "coverage.json"


def test_the_documented_coverage_is_the_stored_one():
    stored = Coverage.load(STORED)
    assert len(stored.rates) == 6 * len(settings())
    _, page = (ROOT / "docs" / "results.md").read_text().split("## How honest are the intervals?\n")
    page = page.split("\n## ")[0]
    assert markdown(stored.table()) in page

    prose = " ".join(page.split())
    now = stored.rates.query("construction == 'seeds and subjects' and (seeds > 1 or seed_sd == 0)")
    few, many = now[now.subjects.isin([8, 26])], now[~now.subjects.isin([8, 26])]
    nothing = now[now.what == WHAT[2]]
    one = stored.rates.query("what == 'score' and seeds == 1 and seed_sd == @SEED_SD and level == 1.2")
    for sentence in (
        f"with 8 and 26 subjects the lowest of all {len(few)} measured coverages is {few.coverage.min():.1%}",
        f"with 4 and 68 subjects {many.coverage.min():.1%}",
        f"find it in at most {100 - 100 * nothing.coverage.min():.1f}%",
        f"standard deviation of {one[one.subjects == 8].spread.max():.2f} with 8 subjects",
        f"{one[one.subjects == 26].spread.max():.2f} with 26",
    ):
        assert sentence.replace("%", " %") in prose, sentence
    held = stored.table()[["score", "gain"]].apply(lambda column: column.str.extract(r"\(([\d.]+) %")[0].astype(float))
    spread = stored.rates.query("what == 'score' and seed_sd == @SEED_SD and subjects == 68")
    former = spread[spread.construction == "former"].coverage.min()
    formerly = (
        f"in {held.min().min():.0f} to {held.max().max():.0f} % of the simulated experiments of the table above, "
    )
    formerly += f"and in {100 * former:.0f} % with 68 subjects"
    assert formerly in " ".join((ROOT / "docs" / "results.md").read_text().split())
    single = stored.rates.query("what == 'score' and seed_sd == @SEED_SD and seeds == 1 and not same_people")
    single = 100 * single[single.construction == "seeds and subjects"].groupby("subjects").coverage.min()
    told = f"over seeds in but {single[8]:.0f} % with 8 subjects, {single[26]:.0f} % with 26 (second and eighth row) "
    assert f"{told}and {single[68]:.0f} % with 68" in prose
    assert few.coverage.min() >= 0.93
    assert nothing.coverage.min() >= 0.94
    assert not now.outside.any()
