from itertools import product

import numpy as np
import pandas as pd
import pytest

from tsfmicro_lab.training import compare_models, detectable_gain, paired_test, scores, subject_interval

CLASSES = ["a", "b", "c"]


def draw(seed, subjects=12, clips=15, right=0.6, seeds=1):
    """Predictions that are right with a given chance, otherwise any class."""
    rng = np.random.default_rng(seed)
    rows = []
    for run in range(seeds):
        for subject in range(subjects):
            for truth in rng.choice(CLASSES, clips):
                predicted = truth if rng.random() < right else rng.choice(CLASSES)
                rows.append((run, f"s{subject}", truth, predicted))
    return pd.DataFrame(rows, columns=["seed", "subject", "truth", "predicted"])


def test_the_middle_is_the_pooled_uf1_and_its_mean_over_seeds():
    table = draw(0, seeds=3)
    expected = [scores(list(g.truth), list(g.predicted), CLASSES)["uf1"] for _, g in table.groupby("seed")]
    uf1, low, high = subject_interval(table, CLASSES)
    assert uf1 == pytest.approx(np.mean(expected))
    assert low < uf1 < high


def test_the_interval_is_that_of_a_plain_bootstrap():
    table = draw(1)
    people = dict(list(table.groupby("subject")))
    rng = np.random.default_rng(5)
    drawn = []
    for _ in range(800):
        rows = pd.concat([people[s] for s in rng.choice(list(people), len(people))])
        drawn.append(scores(list(rows.truth), list(rows.predicted), CLASSES)["uf1"])
    _, low, high = subject_interval(table, CLASSES)
    assert (low, high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.02)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    """Guessing three equal classes has a UF1 near 1/3; 80 % intervals of 60 experiments should hold it in about 48."""
    inside = 0
    for seed in range(60):
        _, low, high = subject_interval(draw(100 + seed, right=0), CLASSES, level=0.8, resamples=400)
        inside += low <= 1 / 3 <= high
    assert 38 <= inside <= 57


def test_a_paired_gain_is_sharper_than_two_intervals():
    """One model is the other with a few mistakes mended: the same subjects are hard for both."""
    worse = draw(2, subjects=10)
    better = worse.copy()
    wrong = better.index[better.truth != better.predicted][::5]
    better.loc[wrong, "predicted"] = better.loc[wrong, "truth"]
    gain, low, high = subject_interval(better, CLASSES, against=worse)
    one, one_low, one_high = subject_interval(worse, CLASSES)
    assert 0 < low < gain < high
    assert gain == pytest.approx(subject_interval(better, CLASSES)[0] - one)
    assert high - low < (one_high - one_low) / 2
    assert subject_interval(worse, CLASSES, against=worse) == (0, 0, 0)


def test_a_class_that_a_draw_lacks_is_left_out_of_it():
    rows = [(0, "s1", "a", "a"), (0, "s2", "b", "b")]
    table = pd.DataFrame(rows, columns=["seed", "subject", "truth", "predicted"])
    assert subject_interval(table, CLASSES) == (1.0, 1.0, 1.0)


def test_what_cannot_be_compared_is_refused():
    table = draw(3, subjects=4)
    with pytest.raises(ValueError, match="hold different seeds or subjects"):
        subject_interval(table, CLASSES, against=table[table.subject != "s0"])
    with pytest.raises(ValueError, match="hold different seeds or subjects"):
        subject_interval(table, CLASSES, against=table.replace({"subject": {"s0": "s9"}}))
    with pytest.raises(ValueError, match="needs at least 2 of them"):
        subject_interval(table[table.subject == "s0"], CLASSES)


def test_the_paired_test_is_that_of_all_swaps_by_hand():
    """Four subjects, so 16 ways to swap: each is scored by hand."""
    first, second = draw(4, subjects=4, right=0.7), draw(4, subjects=4, right=0.7)
    second["predicted"] = np.random.default_rng(9).permutation(second.predicted)

    def uf1(table):
        return scores(list(table.truth), list(table.predicted), CLASSES)["uf1"]

    def swapped(flags, one, two):
        return pd.concat([(two if f else one).query("subject == @s") for f, s in zip(flags, people, strict=True)])

    people = sorted(first.subject.unique())
    gains = [uf1(swapped(f, first, second)) - uf1(swapped(f, second, first)) for f in product((0, 1), repeat=4)]
    seen = uf1(first) - uf1(second)
    above = np.mean(np.array(gains) >= seen - 1e-12)
    assert paired_test(first, second, CLASSES) == pytest.approx(min(2 * min(above, 1 - above + 1 / 16), 1), abs=1 / 8)
    assert paired_test(first, first, CLASSES) == 1


def test_equal_models_are_told_apart_as_rarely_as_promised():
    p = [paired_test(draw(s, 8), draw(s, 8).pipe(again, s), CLASSES, resamples=300) for s in range(24)]
    assert np.mean(np.array(p) < 0.2) < 0.45
    assert np.mean(p) > 0.3


def again(table, seed):
    """Another model of the same quality on the same clips."""
    rng = np.random.default_rng([seed, 1])
    right = rng.random(len(table)) < 0.6
    return table.assign(predicted=np.where(right, table.truth, rng.choice(CLASSES, len(table))))


def test_the_same_people_in_every_seed_are_drawn_and_swapped_together():
    """Three copies of one experiment tell no more than one: the interval and p must not shrink."""
    one, other = draw(5), draw(5).pipe(again, 5)
    thrice = [pd.concat([t.assign(seed=s) for s in range(3)], ignore_index=True) for t in (one, other)]
    assert subject_interval(thrice[0], CLASSES, same_people=True) == pytest.approx(subject_interval(one, CLASSES))
    _, low, high = subject_interval(one, CLASSES)
    _, narrow, wide = subject_interval(thrice[0], CLASSES)
    assert wide - narrow < 0.8 * (high - low)
    together = paired_test(*thrice, CLASSES, same_people=True)
    assert together == pytest.approx(paired_test(one, other, CLASSES), abs=0.05)
    with pytest.raises(ValueError, match="did not test the same people"):
        subject_interval(thrice[0][thrice[0].subject.ne("s1") | thrice[0].seed.eq(0)], CLASSES, same_people=True)


def test_several_tests_are_corrected_as_holm_says():
    base = draw(6).assign(model="base")
    others = [base.pipe(again, s).assign(model=f"m{s}") for s in range(3)]
    table = compare_models(pd.concat([base, *others]), "base", CLASSES, resamples=200).sort_values("p")
    wanted = np.minimum(np.maximum.accumulate(table.p.to_numpy() * [3, 2, 1]), 1)
    assert table.p_holm.to_numpy() == pytest.approx(wanted)
    assert ((table.low <= table.gain) & (table.gain <= table.high)).all()
    with pytest.raises(ValueError, match="no model 'x': choose from base, m0"):
        compare_models(pd.concat([base, *others]), "x", CLASSES)


def test_four_times_the_subjects_show_half_the_gain():
    one, other = draw(7), draw(7).pipe(again, 7)
    least = [detectable_gain(one, other, CLASSES, n) for n in (12, 48)]
    assert least[0] == pytest.approx(2 * least[1])
    _, low, high = subject_interval(one, CLASSES, against=other)
    assert least[0] == pytest.approx((high - low) / 2 / 1.96 * 2.80, rel=0.1)
