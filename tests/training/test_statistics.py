import numpy as np
import pandas as pd
import pytest

from tsfmicro_lab.training import scores, subject_interval

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
