"""Checks of ps4: UF1 by hand, scores over folds, subjects kept apart, and an evaluation without the planted leak."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from checking import call, check, compare, converted, expect, reseed

OWN = {
    "sklearn": "do it with counts, as on paper: true and false positives, false negatives",
    "tsfmicro_lab": "write it yourself; the lab's own function is what this exercise builds",
}


def drawn_table(seed: int, people: int = 5, classes: Sequence[str] = "abc") -> pd.DataFrame:
    """Predictions for a few people, some better than others.

    Args:
        seed: Of the draw.
        people: How many subjects; the classes each shows are uneven.
        classes: Names of the classes.

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
def check_uf1(
    uf1: Callable[..., float],
    seed: int = 0,
    classes: Sequence[str] = ("a", "b", "c"),
    missing: Sequence[str] = ("", "", "c", "a"),
) -> None:
    """UF1 is right, also where a class never occurs.

    Args:
        uf1: `uf1(truth, predicted, classes)`, three lists of names → a number.
        seed: Of the predictions that are tried.
        classes: Names of the classes.
        missing: Class that does not occur, in one table after the other.
    """
    for i, name in enumerate(missing):
        table = drawn_table(1000 * seed + i, classes=classes)
        table = table[(table.truth != name) & (table.predicted != name)]
        truth, predicted = list(table.truth), list(table.predicted)
        got = call(uf1, truth, predicted, list(classes), returns="number", forbids=OWN)
        right, said, there = _counts(truth, predicted, classes)
        f1 = 2 * right / np.maximum(said + there, 1)
        recall, precision = right / np.maximum(there, 1), right / np.maximum(said, 1)
        mistakes = {
            "that is the accuracy: a model that knows only the largest class would look good": right.sum() / len(truth),
            "that is UAR, the mean recall: false positives must count as well": recall.mean(),
            "that is the mean precision: false negatives must count as well": precision.mean(),
            "classes are weighted by their size: in UF1 each class counts alike, that is the U": (f1 * there).sum()
            / there.sum(),
            f"class '{name}' was left out of the mean: it is one of `classes` and counts 0": f1[there > 0].mean(),
            f"class '{name}' counts as 1, although nobody recognised it: what never occurs counts 0": np.where(
                said + there == 0, 1, f1
            ).mean(),
            "true positives count twice, above and below the line: 2 TP / (2 TP + FP + FN)": (
                right / np.maximum(said + there - right, 1)
            ).mean(),
            "above the line stands 2 TP, not TP": (f1 / 2).mean(),
            "that is the F1 of mean precision and mean recall; take F1 class by class, then the mean": 2
            * precision.mean()
            * recall.mean()
            / (precision.mean() + recall.mean()),
            "that is the sum over the classes; divide by their number": f1.sum(),
        }
        compare(got, f1.mean(), mistakes, "UF1")


def _counts(truth: Sequence[str], predicted: Sequence[str], classes: Sequence[str]) -> tuple[np.ndarray, ...]:
    """Of each class: how often it was said rightly, how often it was said, how often it was there."""
    both = list(zip(truth, predicted, strict=True))
    rows = [(both.count((c, c)), sum(p == c for _, p in both), sum(t == c for t, _ in both)) for c in classes]
    right, said, there = np.array(rows).T
    return right, said, there


def _uf1(rows: pd.DataFrame, classes: Sequence[str]) -> float:
    right, said, there = _counts(list(rows.truth), list(rows.predicted), classes)
    return float((2 * right / np.maximum(said + there, 1)).mean())


@check
def check_pooled(
    score: Callable[..., float], seed: int = 0, classes: Sequence[str] = ("a", "b", "c"), uneven: bool = False
) -> None:
    """All folds are pooled before they are scored.

    Args:
        score: `score(table, classes)`; table with columns subject, truth, predicted → UF1.
        seed: Of the predictions that are tried.
        classes: Names of the classes.
        uneven: Whether one subject has most clips and one a single clip, rows stand in any order, and the last class
            never occurs.
    """
    for i in range(4):
        table = drawn_table(1000 * seed + i, 6, classes[:-1] if uneven else classes)
        if uneven:
            many = drawn_table(1000 * seed + i + 500, 9, classes[:2]).assign(subject="s9")
            lone = drawn_table(1000 * seed + i + 900, 1, classes[:1])[:1].assign(subject="s10", predicted=classes[1])
            table = pd.concat([table, many, lone]).sample(frac=1, random_state=i).assign(clip="c")
        got = call(score, table, list(classes), returns="number", forbids={"tsfmicro_lab": OWN["tsfmicro_lab"]})
        true = _uf1(table, classes)
        groups = [rows for _, rows in table.groupby("subject")]
        folds, sizes = np.array([_uf1(rows, classes) for rows in groups]), np.array([len(rows) for rows in groups])
        mistakes = {
            "that is a mean over folds: a class that a subject does not show counts 0 there; pool first": folds.mean(),
            "that is a mean over folds, each over its own classes: folds of 3 clips weigh as much as folds of 30; "
            "pool first": np.mean([_uf1(rows, sorted({*rows.truth})) for rows in groups]),
            "that is the mean over folds of every class present or guessed; pool first": np.mean(
                [_uf1(rows, sorted({*rows.truth, *rows.predicted})) for rows in groups]
            ),
            "that is a mean over folds, weighted by their clips; pool first": (folds * sizes).sum() / sizes.sum(),
            "that is the median fold; pool first": np.median(folds),
            "that is the best fold's score": folds.max(),
            "that is the accuracy; score the pooled predictions by UF1": (table.truth == table.predicted).mean(),
            "classes that never occur were left out: all of `classes` count": _uf1(table, sorted({*table.truth})),
        }
        compare(got, true, mistakes, "the pooled UF1")


@check
def check_folds(
    folds: Callable[..., Sequence[tuple[np.ndarray, np.ndarray]]],
    seed: int = 0,
    people: Sequence[int] = (3, 6),
    clips: tuple[int, int] = (2, 7),
    name: str = "s{}",
    twins: bool = False,
) -> None:
    """Every subject is tested once, whole, and is nowhere in its own training set.

    Args:
        folds: `folds(subjects)`, one name per clip → pairs (train, test) of indices.
        seed: Of the orders that are tried.
        people: How many subjects there are.
        clips: Fewest clips of a subject, and one more than most.
        name: Of a subject, with {} for a number.
        twins: Whether two names differ by their case alone.
    """
    rng = np.random.default_rng(seed)
    for count in people:
        names = [name.format(i) for i in rng.permutation(20)[:count]]
        names[-1] = names[0].swapcase() if twins else names[-1]
        subjects = rng.permutation(np.repeat(names, rng.integers(*clips, count)))
        pairs = [_pair(pair, len(subjects)) for pair in call(folds, subjects, returns="items", forbids=OWN_FOLDS)]
        for train, test in pairs:
            both = sorted(str(s) for s in {*subjects[train]} & {*subjects[test]})
            expect(
                not {*train} & {*test},
                "a clip is in train and test at once: a model that learns by heart gets it right",
            )
            expect(
                not both,
                f"{both} is on both sides: clips of one person resemble each other, so leave out subjects, not "
                "clips (and do not count on the clips being sorted)",
            )
            expect(len({*subjects[test]}) == 1, f"one subject is left out at a time, got {len({*subjects[test]})}")
            expect(
                len({*train}) + len({*test}) == len(subjects), "clips are lost: what is not tested is trained on, once"
            )
        expect(len(pairs) == count, f"{count} subjects make {count} folds, got {len(pairs)}")
        tested = sorted(i for _, test in pairs for i in test)
        expect(tested == list(range(len(subjects))), "not every clip is tested exactly once")


OWN_FOLDS = {"tsfmicro_lab": OWN["tsfmicro_lab"]}


def _pair(pair: Sequence[np.ndarray], clips: int) -> tuple[np.ndarray, np.ndarray]:
    expect(isinstance(pair, tuple | list) and len(pair) == 2, "each fold is a pair (train, test)")
    train, test = (_indices(part, clips) for part in pair)
    return train, test


def _indices(part: Sequence[int], clips: int) -> np.ndarray:
    listed = sorted(part) if isinstance(part, set) else part
    expect(np.asarray(listed).dtype != bool, "indices are wanted, got a mask of booleans: np.flatnonzero(mask)")
    numbers = converted(listed, "array", "a side of a fold must be")
    expect(numbers.ndim == 1, "each side of a fold is one row of indices")
    expect(((numbers >= 0) & (numbers < clips) & (numbers == numbers // 1)).all(), f"indices lie in 0 … {clips - 1}")
    return numbers.astype(int)


LEAKS = ("statistics", "choice", "copies", "columns")


@check
def check_leak(name: str, planted: str) -> None:
    """The leak that was planted for you.

    Args:
        name: The answer.
        planted: The leak of the student's program.
    """
    expect(isinstance(name, str) and name.strip().lower() in LEAKS, f"leak is one of {LEAKS}, got {name!r}")
    expect(
        name.strip().lower() == planted,
        "your program has no such leak: ask of every line what it would do if the tested person's clips were not there",
    )


@check
def check_honest(
    evaluate: Callable[..., np.ndarray],
    seed: int = 0,
    people: int = 4,
    clips: int = 6,
    classes: int = 2,
    shuffled: bool = False,
) -> None:
    """What is predicted for a person hangs on nothing that is known of that person but the clip itself.

    Args:
        evaluate: `evaluate(features, labels, subjects)` → (clips, classes) probabilities.
        seed: Of the features that are tried.
        people: How many subjects there are.
        clips: Of each.
        classes: How many classes there are; the first is the largest.
        shuffled: Whether clips of all people stand in any order.
    """
    rng, n = np.random.default_rng(seed), people * clips
    subjects = np.repeat([f"s{i}" for i in range(people)], clips)
    labels = np.tile(np.maximum(np.arange(clips) - clips // 2 + 1, 0) % classes, people)
    if shuffled:
        order = rng.permutation(n)
        subjects, labels = subjects[order], labels[order]
    noise = rng.normal(size=(n, 30))  # wide enough to learn every clip by heart
    clear = noise[:, :12] + 4 * (labels[:, None] == np.arange(12) % classes) * (np.arange(12) < 6)
    p = _run(evaluate, clear, labels, subjects, forbids={"tsfmicro_lab": OWN["tsfmicro_lab"]})
    expect(p.shape == (n, classes), f"one row of probabilities per clip and class is expected, got {p.shape}")
    summed = (abs(p.sum(1) - 1) < 1e-3).all() and (p > -1e-6).all()
    expect(summed, "probabilities of a clip must lie between 0 and 1 and sum to 1")
    hit = [(p.argmax(1) == labels)[labels == c].mean() for c in range(classes)]
    expect(min(hit) > 0.6, "it no longer learns: the leak was to be removed, not the model")
    before = _run(evaluate, noise, labels, subjects)
    same = _alike(before, _run(evaluate, noise, labels, subjects))
    expect(same, "the same data give other probabilities each time: seed your random numbers, default_rng(0)")
    heard = dict.fromkeys(np.unique(subjects).tolist(), 0)
    for name in np.unique(subjects):
        own = subjects == name
        other = np.where(own, (labels + 1) % classes, labels)
        after = _run(evaluate, noise, other, subjects)
        own_come_back = min((before[own].argmax(1) == labels[own]).mean(), (after[own].argmax(1) == other[own]).mean())
        expect(
            own_come_back < 0.9,
            f"{name}'s own labels come back as its predictions: its clips, or copies of them, are in its training set",
        )
        expect(
            _alike(before[own], after[own]),
            f"predictions for {name} changed when only {name}'s labels did: something was chosen by the labels of the "
            "person who is tested (a number of steps, a model, a set of columns)",
        )
        for person in {*heard} - {name}:
            heard[person] += not _alike(before[subjects == person], after[subjects == person])
    alone = [person for person, others in heard.items() if others < 2]
    expect(not alone, f"predictions for {alone} hang on fewer than two other people: train on all of the others")
    for name in np.unique(subjects):
        own = subjects == name
        first = np.flatnonzero(own)[0]
        strange = noise.copy()
        strange[first] += 50
        rest = own & (np.arange(n) != first)
        expect(
            _alike(before[rest], _run(evaluate, strange, labels, subjects)[rest]),
            f"predictions for other clips of {name} changed when one of them did: something was fitted on the person "
            "who is tested (a mean, a scale, a direction), or chosen by how well it does on that person",
        )


def _run(
    evaluate: Callable[..., np.ndarray], *data: np.ndarray, forbids: Mapping[str, str] | None = None
) -> np.ndarray:
    reseed()
    p: np.ndarray = call(evaluate, *data, returns="array", forbids=forbids)
    return p


def _alike(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and bool((abs(a - b) < 1e-6).all())
