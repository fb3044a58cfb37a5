import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import classification_report, f1_score

from tsfmicro_lab.training import calibration, class_table, confusion, fold_table, score_table, scores, summary
from tsfmicro_lab.training.metrics import uf1_of_counts

CLASSES = ("a", "b", "c")


def by_hand(truth, predicted, classes):
    """Counts, as the challenge defines them."""
    f1, recall = [], []
    for c in classes:
        tp = sum(t == p == c for t, p in zip(truth, predicted, strict=True))
        fp = sum(p == c != t for t, p in zip(truth, predicted, strict=True))
        fn = sum(t == c != p for t, p in zip(truth, predicted, strict=True))
        f1.append(2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0)
        recall.append(tp / (tp + fn) if tp + fn else 0)
    return {
        "uf1": np.mean(f1),
        "uar": np.mean(recall),
        "accuracy": np.mean([t == p for t, p in zip(truth, predicted, strict=True)]),
    }


@pytest.mark.parametrize("seed", range(5))
def test_scores_follow_the_challenges_definition(seed):
    rng = np.random.default_rng(seed)
    truth, predicted = (list(rng.choice(CLASSES, 40, p=(0.6, 0.3, 0.1))) for _ in range(2))
    assert scores(truth, predicted, CLASSES) == pytest.approx(by_hand(truth, predicted, CLASSES))


def test_a_class_that_nobody_predicts_counts_as_zero():
    assert scores(["a", "a", "b"], ["a", "a", "a"], ["a", "b"])["uf1"] == pytest.approx(0.8 / 2)


def test_pooling_is_not_averaging():
    folds = [(["a", "a"], ["a", "a"]), (["b", "a"], ["b", "b"])]
    pooled = scores([*folds[0][0], *folds[1][0]], [*folds[0][1], *folds[1][1]], ["a", "b"])["uf1"]
    averaged = np.mean([scores(t, p, ["a", "b"])["uf1"] for t, p in folds])
    assert pooled != pytest.approx(averaged)


@pytest.mark.parametrize(
    ("truth", "predicted", "message"),
    [([], [], "cannot be compared"), (["a"], ["a", "b"], "cannot be compared"), (["a"], ["x"], r"\['x'\] are none of")],
)
def test_senseless_tables_are_refused(truth, predicted, message):
    with pytest.raises(ValueError, match=message):
        scores(truth, predicted, CLASSES)


def test_the_table_has_a_majority_row_and_the_summary_a_spread():
    rows = [
        {"subject": s, "clip": f"{i}", "onset": 0, "truth": t, "predicted": p, "model": "m", "seed": seed}
        for seed, p in ((0, "a"), (1, "b"))
        for s, i, t in (("1", 0, "a"), ("1", 1, "a"), ("2", 0, "b"))
    ]
    predictions = pd.DataFrame(rows)
    table = score_table(predictions, ["a", "b"])
    assert list(table.model) == ["m", "m", "majority", "random"]
    assert list(table.seed) == [0, 1, -1, -1], "a baseline has the seed of no run"
    assert table.accuracy.tolist() == pytest.approx([2 / 3, 1 / 3, 2 / 3, 5 / 9], abs=0.08)
    row = summary(table).set_index("model").loc["m"]
    assert row.seeds == 2
    assert row.accuracy_mean == pytest.approx(0.5)
    assert row.accuracy_std == pytest.approx(np.std([2 / 3, 1 / 3], ddof=1))
    assert confusion(predictions[predictions.seed == 1], ["a", "b"]).tolist() == [[0, 2], [0, 1]]


PAIRS = st.lists(st.tuples(st.sampled_from(CLASSES), st.sampled_from(CLASSES)), min_size=1, max_size=30)


@settings(max_examples=30, deadline=None)
@given(PAIRS)
def test_uf1_of_counts_and_the_class_table_are_scikit_learns(pairs):
    table = pd.DataFrame(pairs, columns=["truth", "predicted"])
    counts = confusion(table, CLASSES)
    assert uf1_of_counts(counts) == pytest.approx(f1_score(table.truth, table.predicted, average="macro"))
    wanted = classification_report(table.truth, table.predicted, labels=CLASSES, output_dict=True, zero_division=0)
    for row in class_table(table, CLASSES).itertuples():
        theirs = wanted[row.name]
        ours = (row.precision, row.recall, row.f1, row.clips)
        assert ours == pytest.approx((theirs["precision"], theirs["recall"], theirs["f1-score"], theirs["support"]))


def test_a_fold_without_a_class_leaves_it_out_and_the_pool_does_not():
    """By hand: s has two of a, one missed as b (F1 a 2/3, b 0); t has one b, found."""
    rows = [("s", "a", "a"), ("s", "a", "b"), ("t", "b", "b")]
    table = pd.DataFrame(rows, columns=["subject", "truth", "predicted"])
    assert fold_table(table, CLASSES).uf1.tolist() == pytest.approx([(2 / 3 + 0) / 2, 1])
    assert uf1_of_counts(confusion(table, CLASSES)) == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert scores(list(table.truth), list(table.predicted), CLASSES)["uf1"] == pytest.approx((2 / 3 + 2 / 3) / 3)


def test_a_model_that_means_what_it_says_is_calibrated():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.5, 1, 20_000)
    truth = np.where(rng.random(20_000) < p, "a", "b")
    table = pd.DataFrame({"truth": truth, "predicted": "a", "p_a": p, "p_b": 1 - p})
    bins, error = calibration(table)
    assert error < 0.02
    assert bins["clips"].sum() == 20_000
    sure = table.assign(p_a=1.0, p_b=0.0)
    assert calibration(sure)[1] == pytest.approx(1 - (truth == "a").mean())
    with pytest.raises(ValueError, match="there are none"):
        calibration(table[["truth", "predicted"]])


def test_certainty_shares_the_last_bin():
    """By hand: 0.92 and 1 are in one bin of ten, mean 0.96, and one of the two is right."""
    table = pd.DataFrame({"truth": ["a", "b"], "predicted": "a", "p_a": [0.92, 1.0], "p_b": [0.08, 0.0]})
    bins, error = calibration(table)
    assert bins.clips.tolist() == [2]
    assert error == pytest.approx(0.96 - 0.5)


def test_guessing_scores_as_expected():
    """Two classes, 3 to 1: a random guess is right with 9/16 + 1/16; the majority's UF1 is half of its F1, 6/7."""
    table = pd.DataFrame({"subject": "s", "clip": range(400), "onset": 0, "truth": ["a", "a", "a", "b"] * 100})
    rows = score_table(table.assign(model="m", seed=0, predicted=table.truth), ["a", "b"]).set_index("model")
    assert rows.accuracy["random"] == pytest.approx(10 / 16, abs=0.01)
    assert rows.uf1["random"] == pytest.approx(0.5, abs=0.01)
    assert rows.uf1["majority"] == pytest.approx(3 / 7)
    assert rows.uf1["m"] == 1


def test_a_guess_at_as_many_clips_of_each_class_has_its_accuracy_for_uar():
    """Recall, not precision, in each draw: where all classes have one clip, their mean recall is the share right."""
    table = pd.DataFrame({"model": "m", "seed": 0, "subject": "s", "clip": CLASSES, "onset": 0, "truth": CLASSES})
    guess = score_table(table.assign(predicted=table.truth), CLASSES).set_index("model").loc["random"]
    assert guess.uar == pytest.approx(guess.accuracy)
