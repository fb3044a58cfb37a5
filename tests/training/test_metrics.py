import numpy as np
import pandas as pd
import pytest

from tsfmicro_lab.training import confusion, score_table, scores, summary

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
    assert list(table.model) == ["m", "m", "majority"]
    assert table.accuracy.tolist() == pytest.approx([2 / 3, 1 / 3, 2 / 3])
    row = summary(table).set_index("model").loc["m"]
    assert row.seeds == 2
    assert row.accuracy_mean == pytest.approx(0.5)
    assert row.accuracy_std == pytest.approx(np.std([2 / 3, 1 / 3], ddof=1))
    assert confusion(predictions[predictions.seed == 1], ["a", "b"]).tolist() == [[0, 2], [0, 1]]
