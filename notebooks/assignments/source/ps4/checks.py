"""Checks of ps4: UF1 by hand, scores over folds, subjects kept apart, and an evaluation without the planted leak."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score, precision_score, recall_score

from checking import check, compare, expect


def drawn_table(seed: int, people: int = 5, classes: str = "abc") -> pd.DataFrame:
    """Predictions for a few people, some better than others.

    Args:
        seed: Of the draw.
        people: How many subjects; the classes each shows are uneven.
        classes: Names of the classes, one letter each.

    Example:
        >>> list(drawn_table(0))
        ['subject', 'truth', 'predicted']
    """
    rng, rows = np.random.default_rng(seed), []
    for s in range(people):
        share = rng.dirichlet(np.ones(len(classes)) * 0.7)
        for truth in rng.choice(list(classes), size=rng.integers(3, 9), p=share):
            rows.append((f"s{s}", str(truth), str(truth if rng.random() < 0.5 else rng.choice(list(classes)))))
    return pd.DataFrame(rows, columns=["subject", "truth", "predicted"])


@check
def check_uf1(uf1: Callable[..., float], seed: int = 0) -> None:
    """UF1 is right, also where a class never occurs.

    Args:
        uf1: `uf1(truth, predicted, classes)`, three lists of names → a number.
        seed: Of the predictions that are tried.
    """
    for i, missing in enumerate(["", "", "c", "a"]):
        table = drawn_table(1000 * seed + i)
        table = table[(table.truth != missing) & (table.predicted != missing)]
        truth, predicted = list(table.truth), list(table.predicted)
        f1, recall = (
            f(truth, predicted, labels=list("abc"), average=None, zero_division=0) for f in (f1_score, recall_score)
        )
        support = np.array([truth.count(c) for c in "abc"])
        mistakes = {
            "that is the accuracy: a model that knows only the largest class would look good": np.mean(
                [t == p for t, p in zip(truth, predicted, strict=True)]
            ),
            "that is UAR, the mean recall: false positives must count as well": recall.mean(),
            "that is the mean precision: false negatives must count as well": precision_score(
                truth, predicted, labels=list("abc"), average="macro", zero_division=0
            ),
            "classes are weighted by their size: in UF1 each class counts alike, that is the U": (f1 * support).sum()
            / support.sum(),
            f"class '{missing}' was left out of the mean: it is one of `classes` and counts 0": f1[support > 0].mean(),
        }
        compare(uf1(truth, predicted, list("abc")), f1.mean(), mistakes, "UF1")


@check
def check_pooled(score: Callable[..., float], seed: int = 0) -> None:
    """All folds are pooled before they are scored.

    Args:
        score: `score(table, classes)`; table with columns subject, truth, predicted → UF1.
        seed: Of the predictions that are tried.
    """
    for i in range(4):
        table = drawn_table(1000 * seed + i, people=6)

        def of(rows: pd.DataFrame, labels: Sequence[str]) -> float:
            return float(f1_score(rows.truth, rows.predicted, labels=list(labels), average="macro", zero_division=0))

        groups = [rows for _, rows in table.groupby("subject")]
        mistakes = {
            "that is a mean over folds: a class that a subject does not show counts 0 there; pool first": np.mean(
                [of(rows, "abc") for rows in groups]
            ),
            "that is a mean over folds, each over its own classes: folds of 3 clips weigh as much as folds of 30; "
            "pool first": np.mean([of(rows, sorted({*rows.truth})) for rows in groups]),
            "that is the mean over folds of every class present or guessed; pool first": np.mean(
                [of(rows, sorted({*rows.truth, *rows.predicted})) for rows in groups]
            ),
            "that is the best fold's score": max(of(rows, "abc") for rows in groups),
        }
        compare(score(table, list("abc")), of(table, "abc"), mistakes, "the pooled UF1")


@check
def check_folds(folds: Callable[..., Sequence[tuple[np.ndarray, np.ndarray]]], seed: int = 0) -> None:
    """Every subject is tested once, whole, and is nowhere in its own training set.

    Args:
        folds: `folds(subjects)`, one name per clip → pairs (train, test) of indices.
        seed: Of the orders that are tried.
    """
    rng = np.random.default_rng(seed)
    for people in (3, 6):
        subjects = rng.permutation(np.repeat([f"s{i}" for i in range(people)], rng.integers(2, 7, people)))
        pairs = [(np.asarray(a, int), np.asarray(b, int)) for a, b in folds(subjects.copy())]
        for train, test in pairs:
            both = set(subjects[train]) & set(subjects[test])
            expect(
                not set(train) & set(test),
                "a clip is in train and test at once: a model that learns by heart gets it right",
            )
            expect(
                not both,
                f"{sorted(both)} is on both sides: clips of one person resemble each other, so leave out subjects, not "
                "clips (and do not count on the clips being sorted)",
            )
            expect(len(set(subjects[test])) == 1, f"one subject is left out at a time, got {len(set(subjects[test]))}")
            expect(len(train) + len(test) == len(subjects), "clips are lost: what is not tested is trained on")
        expect(len(pairs) == people, f"{people} subjects make {people} folds, got {len(pairs)}")
        tested = sorted(i for _, test in pairs for i in test)
        expect(tested == list(range(len(subjects))), "not every clip is tested exactly once")


@check
def check_honest(evaluate: Callable[..., np.ndarray], seed: int = 0) -> None:
    """What is predicted for a person hangs on nothing that is known of that person but the clip itself.

    Args:
        evaluate: `evaluate(features, labels, subjects)` → (clips, classes) probabilities.
        seed: Of the features that are tried.
    """
    rng = np.random.default_rng(seed)
    people, clips, width = 5, 8, 100  # wide enough to learn every clip by heart
    subjects = np.repeat([f"s{i}" for i in range(people)], clips)
    labels = np.tile(np.arange(clips) % 2, people)
    noise = rng.normal(size=(people * clips, width))
    clear = noise[:, :12] + 3 * labels[:, None] * (np.arange(12) < 3)
    p = _run(evaluate, clear, labels, subjects)
    expect(p.shape == (len(labels), 2), f"one row of probabilities per clip and class is expected, got {p.shape}")
    expect(np.allclose(p.sum(1), 1, atol=1e-3), "probabilities of a clip must sum to 1")
    expect((p.argmax(1) == labels).mean() > 0.8, "it no longer learns: the leak was to be removed, not the model")
    before = _run(evaluate, noise, labels, subjects)
    for name in np.unique(subjects)[:3]:
        own = subjects == name
        other = np.where(own, 1 - labels, labels)
        after = _run(evaluate, noise, other, subjects)
        own_come_back = min((before[own].argmax(1) == labels[own]).mean(), (after[own].argmax(1) == other[own]).mean())
        expect(
            own_come_back < 0.9,
            f"{name}'s own labels come back as its predictions: its clips, or copies of them, are in its training set",
        )
        expect(
            np.allclose(before[own], after[own], atol=1e-6),
            f"predictions for {name} changed when only {name}'s labels did: something was chosen by the labels of the "
            "person who is tested (a number of steps, a model, a set of columns)",
        )
        first = np.flatnonzero(own)[0]
        strange = noise.copy()
        strange[first] += 50
        rest = own & (np.arange(len(labels)) != first)
        moved = not np.allclose(before[rest], _run(evaluate, strange, labels, subjects)[rest], atol=1e-6)
        expect(
            not moved,
            f"predictions for other clips of {name} changed when one of them did: a statistic (mean, scale, direction) "
            "was fitted on the person who is tested",
        )


def _run(evaluate: Callable[..., np.ndarray], *data: np.ndarray) -> np.ndarray:
    return np.asarray(evaluate(*(d.copy() for d in data)), float)
