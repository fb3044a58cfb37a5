from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tsfmicro_lab.training import compare_models, detectable_gain, score_table, scores, subject_interval
from tsfmicro_lab.training.statistics import ends, p_value, two_levels

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


def again(table, seed, right=0.6):
    """Another model on the same clips."""
    rng = np.random.default_rng([seed, 1])
    return table.assign(
        predicted=np.where(rng.random(len(table)) < right, table.truth, rng.choice(CLASSES, len(table)))
    )


def uf1(table):
    return scores(list(table.truth), list(table.predicted), CLASSES)["uf1"]


def test_the_middle_is_the_pooled_uf1_and_its_mean_over_seeds():
    table = draw(0, seeds=3)
    value, low, high = subject_interval(table, CLASSES)
    assert value == pytest.approx(np.mean([uf1(g) for _, g in table.groupby("seed")]))
    assert low < value < high


def test_the_interval_of_one_seed_is_the_jackknife_by_hand():
    """Pseudo-values from leaving each subject out, their t interval; a gain's is symmetrical, a score's Wilson's."""
    one, other = draw(1, seeds=1), draw(1).pipe(again, 1)
    people = sorted(set(one.subject))
    n = len(people)

    def pseudo(table):
        return np.array([n * uf1(table) - (n - 1) * uf1(table[table.subject != s]) for s in people])

    half = stats.t.ppf(0.975, n - 1) * stats.sem(pseudo(one) - pseudo(other))
    gain = uf1(one) - uf1(other)
    assert subject_interval(one, CLASSES, against=other) == pytest.approx((gain, gain - half, gain + half))
    value, low, high = subject_interval(one, CLASSES)
    half = stats.t.ppf(0.975, n - 1) * stats.sem(pseudo(one))
    for end in (low, high):
        assert abs(value - end) == pytest.approx(half * np.sqrt(end * (1 - end) / value / (1 - value)))


def test_seeds_with_their_own_subjects_are_a_t_test_over_seeds():
    """Where seeds differ more than their subjects explain, the gain's p and interval are those of seeds alone."""
    tables = [draw(s, 20, right=r).assign(seed=s) for s, r in enumerate((0.3, 0.6, 0.9, 0.5))]
    one = pd.concat(tables)
    other = pd.concat([t.pipe(again, 7) for t in tables])
    gains = [uf1(a) - uf1(b) for (_, a), (_, b) in zip(one.groupby("seed"), other.groupby("seed"), strict=True)]
    expected = stats.ttest_1samp(gains, 0)
    assert subject_interval(one, CLASSES, against=other)[1:] == pytest.approx(tuple(expected.confidence_interval()))
    both = pd.concat([one.assign(model="one"), other.assign(model="other")])
    assert compare_models(both, "other", CLASSES).p.item() == pytest.approx(expected.pvalue)


def test_seeds_that_agree_by_luck_do_not_hide_their_subjects():
    """Two seeds with the very same score: no spread between them, but of their subjects there is."""
    one = draw(2, 8)
    twice = pd.concat([one, one.assign(seed=1)])
    _, low, high = subject_interval(one, CLASSES)
    _, low_two, high_two = subject_interval(twice, CLASSES)
    assert (high_two - low_two) > 0.6 * (high - low)


def test_crossed_seeds_and_subjects_are_a_two_way_analysis_of_variance():
    """The third variance against the mean squares of a two-way layout without repetition, and what it estimates."""
    rng = np.random.default_rng(3)
    seeds, people = 6, 9
    pseudo = rng.normal(0, 0.3, (seeds, 1)) + rng.normal(0, 0.5, people) + rng.normal(0, 0.4, (seeds, people))
    (inner, df), (outer, outer_df), (total, _) = two_levels(pseudo.mean(1), list(pseudo), same_people=True)
    by_seed, by_person = people * pseudo.mean(1).var(ddof=1), seeds * pseudo.mean(0).var(ddof=1)
    error = (people - 1) * (seeds - 1)
    rest = ((pseudo - pseudo.mean()) ** 2).sum() - (seeds - 1) * by_seed - (people - 1) * by_person
    cells = seeds * people
    assert (inner, outer) == pytest.approx((by_person / cells, by_seed / cells))
    assert total == pytest.approx((by_person + by_seed - rest / error) / cells)
    assert (df, outer_df) == (people - 1, seeds - 1)


def test_several_scores_at_once_are_as_one_by_one_and_no_variance_has_too_few_degrees_of_freedom():
    pseudo = np.random.default_rng(0).normal(0, 0.4, (4, 5, 9))  # seeds, scores, people: nothing but noise
    together = two_levels(pseudo.mean(-1), list(pseudo), same_people=True)
    for i in range(5):
        alone = two_levels(pseudo[:, i].mean(-1), list(pseudo[:, i]), same_people=True)
        assert [x[0][i] for x in together] == pytest.approx([x[0] for x in alone])
        assert together[2][1][i] == pytest.approx(alone[2][1])
    assert together[2][1].min() == 3, "of the seeds, which are fewer"


def test_the_same_people_in_every_seed_are_counted_once():
    """Three copies of one experiment tell no more than one: the interval must not shrink."""
    one, other = draw(5), draw(5).pipe(again, 5)
    thrice = [pd.concat([t.assign(seed=s) for s in range(3)], ignore_index=True) for t in (one, other)]
    once = subject_interval(one, CLASSES, against=other)
    assert subject_interval(thrice[0], CLASSES, against=thrice[1], same_people=True) == pytest.approx(once)
    with pytest.raises(ValueError, match="did not test the same people"):
        subject_interval(thrice[0][thrice[0].subject.ne("s1") | thrice[0].seed.eq(0)], CLASSES, same_people=True)


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


def test_nobody_is_surer_than_one_clip():
    """A perfect model may have been lucky, and two that agree on these clips may differ on the next."""
    perfect = draw(0, 8, right=1)
    clips = len(perfect)
    value, low, high = subject_interval(perfect, CLASSES)
    assert value == high == 1
    assert 1 / clips < 1 - low < 10 / clips
    gain, low, high = subject_interval(perfect, CLASSES, against=perfect)
    assert gain == 0
    assert 1 / clips < high == -low < 5 / clips
    models = [("always", "a"), ("also", "a"), ("right", perfect.truth)]
    table = compare_models(pd.concat([perfect.assign(model=m, predicted=p) for m, p in models]), "always", CLASSES)
    assert table.p[0] == 1
    assert 0 < table.p[1] < 1e-6, "every subject agrees, and still it is not certain"


def test_a_class_that_never_occurs_counts_alike_in_the_score_and_its_interval():
    """Once 0.605 was printed with 0.67 to 0.82: the score counted the class as 0, the interval left it out."""
    table = draw(6).assign(model="m", clip=range(180), onset=0)
    classes = [*CLASSES, "never"]
    value, low, high = subject_interval(table, classes)
    assert value == pytest.approx(score_table(table, classes).uf1[0]) == pytest.approx(0.75 * uf1(table))
    assert low < value < high


def test_a_score_lies_in_its_interval_and_both_lie_between_0_and_1():
    for seed, right, subjects, seeds in product(range(4), (0, 0.5, 0.97, 1), (2, 5), (1, 2)):
        table = draw(seed, subjects, 3, right, seeds)
        for same in (False, True):
            value, low, high = subject_interval(table, CLASSES, same_people=same)
            assert 0 <= low <= value <= high <= 1
            gain, low, high = subject_interval(table, CLASSES, against=again(table, seed), same_people=same)
            assert -1 <= low <= gain <= high <= 1


def test_what_cannot_be_compared_is_refused():
    table = draw(3, subjects=4)
    with pytest.raises(ValueError, match="hold different seeds or subjects"):
        subject_interval(table, CLASSES, against=table[table.subject != "s0"])
    with pytest.raises(ValueError, match="hold different seeds or subjects"):
        subject_interval(table, CLASSES, against=table.replace({"subject": {"s0": "s9"}}))
    with pytest.raises(ValueError, match="needs at least 2 of them"):
        subject_interval(table[table.subject == "s0"], CLASSES)


def test_interval_and_p_cannot_contradict_each_other():
    rng = np.random.default_rng(0)
    pseudo = list(rng.normal(0.03, 0.2, (3, 500, 8)))  # (seeds, experiments, subjects)
    for same in (False, True):
        scores_ = np.mean(pseudo, -1)
        value, errors = scores_.mean(0), two_levels(scores_, pseudo, same)
        for alpha in (0.3, 0.05):
            low, high = ends(value, errors, 1 - alpha)
            clear = (low > 0) | (high < 0)
            assert 0 < clear.mean() < 1
            assert (clear == (p_value(value, errors) < alpha)).all()


def test_several_tests_are_corrected_as_holm_says_and_their_intervals_with_them():
    base = draw(6, seeds=6).assign(model="base")
    right = (0.6, 0.68, 0.7, 0.9, 0.55)
    others = [base.pipe(again, s, r).assign(model=f"m{s}") for s, r in enumerate(right)]
    table = compare_models(pd.concat([base, *others]), "base", CLASSES)
    ordered = table.sort_values("p")
    wanted = np.minimum(np.maximum.accumulate(ordered.p.to_numpy() * [5, 4, 3, 2, 1]), 1)
    assert ordered.p_holm.to_numpy() == pytest.approx(wanted)
    clear = (table.low > 0) | (table.high < 0)
    assert (clear == (table.p_holm < 0.05)).all()
    assert (table.p < 0.05).sum() > clear.sum() > 0, "this example would not tell"
    for row, other in zip(table.itertuples(), others, strict=True):
        gain, low, high = subject_interval(other, CLASSES, against=base)
        assert row.gain == pytest.approx(gain)
        assert row.low <= low + 1e-12
        assert high <= row.high + 1e-12
    with pytest.raises(ValueError, match="no model 'x': choose from base, m0"):
        compare_models(pd.concat([base, *others]), "x", CLASSES)


def test_four_times_the_subjects_show_half_the_gain():
    one, other = draw(7, 40), draw(7, 40).pipe(again, 7)
    least = [detectable_gain(one, other, CLASSES, n) for n in (40, 160)]
    assert least[0] == pytest.approx(2 * least[1], rel=0.02)
    _, low, high = subject_interval(one, CLASSES, against=other)
    assert least[0] == pytest.approx((high - low) / 2 * (1 + stats.t.ppf(0.8, 39) / stats.t.ppf(0.975, 39)))
