"""ps4: UF1 by hand, scores over folds, subjects kept apart, the leak, an evaluation without it."""

import functools
from collections import Counter
from fractions import Fraction

import numpy as np
import pandas as pd
import torch
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.model_selection import GroupKFold, KFold, LeaveOneGroupOut, LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from assignments.solutions import ASSIGNMENTS
from tsfmicro_lab.training.metrics import scores
from tsfmicro_lab.training.splits import leave_one_subject_out

p = functools.partial


def counts(truth, predicted, name):
    t, q = np.array(truth) == name, np.array(predicted) == name
    return (t & q).sum(), q.sum(), t.sum()


def f1_of(truth, predicted, name, absent=0.0):
    right, said, there = counts(truth, predicted, name)
    return 2 * right / (said + there) if said + there else absent


def mean_of(score, over=lambda t, p, c: c):
    return lambda t, p, c: float(np.mean([score(t, p, k) for k in over(t, p, c)]))


def recall(t, p, name):
    right, _, there = counts(t, p, name)
    return right / max(there, 1)


def precision(t, p, name):
    return recall(p, t, name)


def jaccard(t, p, name):
    right, said, there = counts(t, p, name)
    return right / max(said + there - right, 1)


def of_means(t, p, c):
    a, b = (np.mean([f(t, p, k) for k in c]) for f in (recall, precision))
    return 2 * a * b / (a + b)


def with_negatives(t, p, c):
    return np.mean([2 * counts(t, p, k)[0] / (2 * counts(t, p, k)[0] + len(t)) for k in c])


def by_counter(truth, predicted, classes):
    both, t, q = Counter(zip(truth, predicted, strict=True)), Counter(truth), Counter(predicted)
    return sum(2 * both[c, c] / (t[c] + q[c]) for c in classes if t[c] + q[c]) / len(classes)


def by_matrix(truth, predicted, classes):
    place = {c: i for i, c in enumerate(classes)}
    m = np.zeros((len(classes), len(classes)))
    np.add.at(m, ([place[t] for t in truth], [place[q] for q in predicted]), 1)
    tp, fp, fn = m.diagonal(), m.sum(0) - m.diagonal(), m.sum(1) - m.diagonal()
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(2 * tp / (2 * tp + fp + fn)).mean()


def by_loop(truth, predicted, classes):
    total = 0.0
    for c in classes:
        tp = fp = fn = 0
        for t, q in zip(truth, predicted, strict=True):
            tp += t == c == q
            fp += q == c != t
            fn += t == c != q
        total += 2 * tp / (2 * tp + fp + fn) if tp else 0
    return total / len(classes)


def by_pandas(truth, predicted, classes):
    m = pd.crosstab(pd.Categorical(truth, classes), pd.Categorical(predicted, classes), dropna=False).to_numpy()
    return (2 * m.diagonal() / np.maximum(m.sum(0) + m.sum(1), 1)).mean()


def by_precision(truth, predicted, classes):
    out = []
    for c in classes:
        a, b = recall(truth, predicted, c), precision(truth, predicted, c)
        out.append(2 * a * b / (a + b) if a + b else 0)
    return torch.tensor(out).mean()


def by_sets(truth, predicted, classes):
    out = []
    for c in classes:
        t, q = ({i for i, x in enumerate(xs) if x == c} for xs in (truth, predicted))
        out.append(Fraction(2 * len(t & q), len(t) + len(q)) if t or q else Fraction(0))
    return float(sum(out) / len(out))


F1 = mean_of(f1_of)
UF1 = [
    ("trivial", "nothing", lambda t, p, c: None, "got None"),
    ("trivial", "one", lambda t, p, c: 1.0, "is wrong"),
    ("trivial", "a half", lambda t, p, c: 0.5, "is wrong"),
    ("trivial", "chance", lambda t, p, c: 1 / len(c), "is wrong"),
    ("trivial", "at random", lambda t, p, c: np.random.default_rng(1).random(), "is wrong"),
    ("trivial", "all F1", lambda t, p, c: [f1_of(t, p, k) for k in c], "must return one number, got 3"),
    ("trivial", "a table", lambda t, p, c: {k: f1_of(t, p, k) for k in c}, "must return a number, got dict"),
    (
        "shortcut",
        "scikit-learn",
        lambda t, p, c: f1_score(t, p, labels=c, average="macro", zero_division=0),
        "with counts",
    ),
    ("shortcut", "the lab's", lambda t, p, c: scores(t, p, c)["uf1"], "calls tsfmicro_lab.*write it yourself"),
    ("shortcut", "scikit-learn's recalls", lambda t, p, c: balanced_accuracy_score(t, p), "with counts"),
    ("shortcut", "three classes, always", lambda t, p, c: sum(f1_of(t, p, k) for k in c) / 3, "is wrong"),
    ("shortcut", "classes a, b, c, always", lambda t, p, c: F1(t, p, "abc"), "is wrong"),
    ("shortcut", "first class alone", lambda t, p, c: f1_of(t, p, c[0]), "is wrong"),
    ("typical", "accuracy", lambda t, p, c: np.mean(np.array(t) == np.array(p)), "that is the accuracy"),
    ("typical", "micro", lambda t, p, c: sum(counts(t, p, k)[0] for k in c) / len(t), "that is the accuracy"),
    ("typical", "UAR", mean_of(recall), "that is UAR"),
    ("typical", "precision", mean_of(precision), "the mean precision"),
    (
        "typical",
        "weighted",
        lambda t, p, c: sum(t.count(k) / len(t) * f1_of(t, p, k) for k in c),
        "weighted by their size",
    ),
    (
        "typical",
        "absent left out",
        mean_of(f1_of, lambda t, p, c: [k for k in c if k in t]),
        "was left out of the mean",
    ),
    ("typical", "classes of the table", mean_of(f1_of, lambda t, p, c: sorted({*t, *p})), "was left out of the mean"),
    ("typical", "absent counts 1", mean_of(p(f1_of, absent=1.0)), "counts as 1, although"),
    ("typical", "absent is NaN", mean_of(p(f1_of, absent=np.nan)), "holds NaN"),
    ("typical", "divided by zero", lambda t, p, c: sum(2 * k / (p.count(k) + 0) for k in [0]) / 3, "ZeroDivisionError"),
    ("typical", "Jaccard", mean_of(jaccard), "true positives count twice"),
    ("typical", "TP above the line", lambda t, p, c: F1(t, p, c) / 2, "above the line stands 2 TP"),
    ("typical", "of the means", of_means, "F1 of mean precision and mean recall"),
    ("typical", "true negatives, too", with_negatives, "is wrong"),
    ("typical", "a sum", lambda t, p, c: len(c) * F1(t, p, c), "the sum over the classes"),
    ("typical", "the best class", lambda t, p, c: max(f1_of(t, p, k) for k in c), "is wrong"),
    ("typical", "per cent", lambda t, p, c: 100 * F1(t, p, c), "is wrong"),
    ("right", "masks", F1),
    ("right", "Counter", by_counter),
    ("right", "a matrix", by_matrix),
    ("right", "a loop", by_loop),
    ("right", "pandas", by_pandas),
    ("right", "by way of precision and recall", by_precision),
    ("right", "sets and fractions", by_sets),
]


def over_folds(labels, summary=np.mean):
    def score(table, classes):
        groups = [rows for _, rows in table.groupby("subject")]
        return float(summary([F1(r.truth, r.predicted, labels(r, classes)) for r in groups]))

    return score


def weighted(table, classes):
    return sum(len(r) * F1(r.truth, r.predicted, classes) for _, r in table.groupby("subject")) / len(table)


def of_rows(change, labels=lambda t, c: c):
    return lambda table, classes: F1(change(table).truth, change(table).predicted, labels(table, classes))


def matrices_added(table, classes):
    total = np.zeros((len(classes), len(classes)))
    for _, rows in table.groupby("subject"):
        grid = pd.crosstab(rows.truth, rows.predicted).reindex(index=classes, columns=classes, fill_value=0)
        total += grid.to_numpy()
    return (2 * total.diagonal() / np.maximum(total.sum(0) + total.sum(1), 1)).mean()


def lists_put_together(table, classes):
    truth, predicted = [], []
    for name in table.subject.unique():
        rows = table[table.subject == name]
        truth += rows.truth.tolist()
        predicted += rows.predicted.tolist()
    return by_counter(truth, predicted, classes)


def sklearn_macro(t, c):
    return f1_score(t.truth, t.predicted, labels=list(c), average="macro", zero_division=0)


POOLED = [
    ("trivial", "nothing", lambda t, c: None, "got None"),
    ("trivial", "a half", lambda t, c: 0.5, "is wrong"),
    ("trivial", "one", lambda t, c: 1.0, "is wrong"),
    ("trivial", "the table", lambda t, c: t, "must return a number"),
    ("trivial", "scores of all folds", lambda t, c: t.groupby("subject").size(), "must return one number"),
    ("shortcut", "the lab's", lambda t, c: scores(t.truth, t.predicted, c)["uf1"], "calls tsfmicro_lab"),
    ("shortcut", "one subject alone", of_rows(lambda t: t[t.subject == "s1"]), "is wrong"),
    ("shortcut", "six subjects", of_rows(lambda t: t[t.subject.isin([f"s{i}" for i in range(6)])]), "is wrong"),
    ("shortcut", "first 20 rows", of_rows(lambda t: t.head(20)), "is wrong"),
    ("typical", "mean over folds", over_folds(lambda r, c: c), "a class that a subject does not show counts 0"),
    ("typical", "each over its own classes", over_folds(lambda r, c: sorted({*r.truth})), "each over its own classes"),
    (
        "typical",
        "each over what is there or guessed",
        over_folds(lambda r, c: sorted({*r.truth, *r.predicted})),
        "every class present or guessed",
    ),
    ("typical", "folds weighted by clips", weighted, "weighted by their clips"),
    ("typical", "median fold", over_folds(lambda r, c: c, np.median), "median fold"),
    ("typical", "best fold", over_folds(lambda r, c: c, np.max), "best fold"),
    ("typical", "worst fold", over_folds(lambda r, c: c, np.min), "is wrong"),
    ("typical", "accuracy", lambda t, c: (t.truth == t.predicted).mean(), "that is the accuracy"),
    (
        "typical",
        "classes of the table",
        of_rows(lambda t: t, lambda t, c: sorted({*t.truth})),
        "all of `classes` count",
    ),
    ("typical", "every row once", of_rows(lambda t: t.drop_duplicates()), "is wrong"),
    (
        "typical",
        "mean accuracy of folds",
        lambda t, c: (t.truth == t.predicted).groupby(t.subject).mean().mean(),
        "is wrong",
    ),
    ("typical", "UAR", lambda t, c: mean_of(recall)(t.truth, t.predicted, c), "is wrong"),
    ("typical", "turned round names", lambda t, c: t["prediction"], "KeyError: 'prediction'"),
    ("right", "columns", lambda t, c: F1(t.truth, t.predicted, c)),
    ("right", "scikit-learn, which is allowed here", sklearn_macro),
    ("right", "matrices added", matrices_added),
    ("right", "lists put together", lists_put_together),
    ("right", "sorted first", of_rows(lambda t: t.sort_values("subject"))),
    ("right", "numpy", lambda t, c: np.float32(by_counter(t.truth.to_numpy(), t.predicted.to_numpy(), c))),
    ("right", "a loop", lambda t, c: by_loop(list(t.truth), list(t.predicted), c)),
    ("right", "torch", lambda t, c: by_precision(t.truth, t.predicted, c)),
]


def pairs(test_sets):
    def folds(subjects):
        n = np.arange(len(subjects))
        return [(np.setdiff1d(n, test), test) for test in test_sets(np.asarray(subjects))]

    return folds


def of_each(s):
    return [np.flatnonzero(s == n) for n in np.unique(s)]


def blocks(subjects):
    return np.array_split(np.arange(len(subjects)), len(set(subjects)))


def changed(change):
    return lambda subjects: [change(train, test) for train, test in pairs(of_each)(subjects)]


def lists(subjects):
    out = []
    for name in dict.fromkeys(subjects):
        train, test = [], []
        for i, other in enumerate(subjects):
            (test if other == name else train).append(i)
        out.append((train, test))
    return out


def generated(subjects):
    for name in sorted(set(subjects)):
        yield [i for i, s in enumerate(subjects) if s != name], [i for i, s in enumerate(subjects) if s == name]


def grouped(subjects):
    groups = pd.Series(range(len(subjects))).groupby(subjects).indices
    return [(np.setdiff1d(np.arange(len(subjects)), test), test) for test in groups.values()]


def split_by(splitter):
    return lambda s: list(splitter(s).split(s, groups=s))


FOLDS = [
    ("trivial", "nothing", lambda s: None, "got None"),
    ("trivial", "an empty list", lambda s: [], "make 0 folds|subjects make"),
    ("trivial", "the subjects", lambda s: s, "each fold is a pair"),
    ("trivial", "test sides alone", of_each, "each fold is a pair"),
    ("trivial", "text", lambda s: "leave one out", "each fold is a pair"),
    (
        "shortcut",
        "the lab's",
        lambda s: [
            (f.train, f.test)
            for f in leave_one_subject_out(
                pd.DataFrame({"subject": s, "emotion": "a", "clip": range(len(s)), "onset": 0})
            )
        ],
        "calls tsfmicro_lab",
    ),
    ("shortcut", "blocks, as if sorted", pairs(blocks), "is on both sides"),
    ("shortcut", "leave one clip out", pairs(lambda s: [[i] for i in range(len(s))]), "is on both sides"),
    ("shortcut", "KFold", split_by(lambda s: KFold(len(set(s)))), "is on both sides"),
    ("shortcut", "LeaveOneOut", split_by(lambda s: LeaveOneOut()), "is on both sides"),
    ("shortcut", "three folds, always", split_by(lambda s: GroupKFold(3)), "one subject is left out at a time"),
    ("shortcut", "six subjects at most", pairs(lambda s: of_each(s)[:6]), "make 12 folds"),
    (
        "shortcut",
        "names s0 to s19",
        pairs(lambda s: [t for i in range(20) if len(t := np.flatnonzero(s == f"s{i}"))]),
        "make 2 folds",
    ),
    ("typical", "trained on all", lambda s: [(np.arange(len(s)), t) for t in of_each(s)], "in train and test at once"),
    (
        "typical",
        "two at a time",
        pairs(lambda s: [np.concatenate(of_each(s)[i : i + 2]) for i in (0, 2)]),
        "one subject is left",
    ),
    ("typical", "one is forgotten", pairs(lambda s: of_each(s)[1:]), "make [36] folds"),
    ("typical", "turned round", changed(lambda a, b: (b, a)), "one subject is left out at a time"),
    ("typical", "masks", lambda s: [(s != n, s == n) for n in np.unique(s)], "a mask of booleans"),
    ("typical", "names for indices", lambda s: [(s[s != n], s[s == n]) for n in np.unique(s)], "must be an array"),
    ("typical", "half of the others", changed(lambda a, b: (a[::2], b)), "clips are lost"),
    (
        "typical",
        "others twice",
        changed(lambda a, b: (np.tile(a, 2)[: len(a)] // 2 * 2, b)),
        "in train and test at once|clips are lost",
    ),
    ("typical", "one fold twice", lambda s: [*pairs(of_each)(s), pairs(of_each)(s)[0]], "subjects make"),
    ("typical", "one twice, another never", lambda s: [*pairs(of_each)(s)[1:], pairs(of_each)(s)[1]], "exactly once"),
    ("typical", "counted from 1", changed(lambda a, b: (a + 1, b + 1)), "indices lie in 0"),
    ("typical", "columns", changed(lambda a, b: (a[:, None], b[:, None])), "one row of indices"),
    (
        "typical",
        "neighbours that change",
        lambda s: pairs(lambda s: np.split(np.arange(len(s)), np.flatnonzero(s[1:] != s[:-1]) + 1))(s),
        "is on both sides",
    ),
    ("typical", "a third side", changed(lambda a, b: (a, b, b)), "each fold is a pair"),
    ("right", "flatnonzero", pairs(of_each)),
    ("right", "lists", lists),
    ("right", "a generator", generated),
    ("right", "LeaveOneGroupOut", split_by(lambda s: LeaveOneGroupOut())),
    ("right", "GroupKFold", split_by(lambda s: GroupKFold(len(set(s))))),
    ("right", "pandas", grouped),
    ("right", "sets", changed(lambda a, b: ({*a.tolist()}, {*b.tolist()}))),
    ("right", "ranges of a tensor", changed(lambda a, b: [torch.tensor(a), torch.tensor(b)])),
    ("right", "shuffled", changed(lambda a, b: (np.random.default_rng(0).permutation(a), b))),
]
NAMES = ("statistics", "choice", "copies", "columns")


def leak(kind, what, answer, message="", seed=3):
    return (kind, what, {"leak": answer, "own_seed": seed}, *([message] if message else []))


LEAK = [
    leak("trivial", "nothing", None, "leak is one of"),
    leak("trivial", "empty", "", "leak is one of"),
    leak("trivial", "a number", 3, "leak is one of"),
    leak("trivial", "all of them", NAMES, "leak is one of"),
    leak("trivial", "a sentence", "the scaling is done before the split", "leak is one of"),
    leak("typical", "another word", "epoch", "leak is one of"),
    leak("typical", "part of the word", "column", "leak is one of"),
    *(
        leak("typical" if i % 2 else "shortcut", f"{name}, for program {seed % 4 + 1}", name, "no such leak", seed)
        for i, (seed, name) in enumerate((s, n) for s in range(4, 8) for n in NAMES)
        if name != NAMES[seed % 4]
    ),
    *(leak("right", f"program {seed % 4 + 1}", NAMES[seed % 4], seed=seed) for seed in range(8, 12)),
    leak("right", "capital letters", "Columns"),
    leak("right", "spaces", " columns "),
]


def program(number):
    scope = {}
    exec((ASSIGNMENTS / "source" / "ps4" / f"program_{number}.py").read_text(), scope)
    return scope["evaluate"]


def evaluation(
    prepare=lambda x, y, s, train, test: (x, y), model=lambda: LogisticRegression(max_iter=500), people=None
):
    """Leave one subject out; `prepare` gives the features and labels to learn from."""

    def evaluate(features, labels, subjects):
        out = np.zeros((len(labels), labels.max() + 1))
        for name in np.unique(subjects):
            train, test = np.flatnonzero(subjects != name), np.flatnonzero(subjects == name)
            x, y = prepare(features, labels, subjects, train, test)
            out[test] = model().fit(x[train], y[train]).predict_proba(x[test])
        return out

    return evaluate


def scaled_on(rows):
    def prepare(x, y, s, train, test):
        use = x[rows(s, train, test)]
        return (x - use.mean(0)) / (use.std(0) + 1e-6), y

    return prepare


def own_scale(x, y, s, train, test):
    """Everybody by their own mean and scale."""
    x = x.copy()
    for name in np.unique(s):
        x[s == name] = (x[s == name] - x[s == name].mean(0)) / (x[s == name].std(0) + 1e-6)
    return x, y


def reduced_on_all(x, y, s, train, test):
    return PCA(8, random_state=0).fit_transform(x), y


def chosen_columns(everybody):
    def prepare(x, y, s, train, test):
        use = np.arange(len(y)) if everybody else train
        apart = np.stack([x[use][y[use] == c].mean(0) for c in np.unique(y)]).std(0) / (x[use].std(0) + 1e-6)
        return x[:, np.argsort(apart)[-8:]], y

    return prepare


def repaired_for(people):
    """Honest for the first few, and as it was given for the rest."""

    def evaluate(features, labels, subjects):
        good, bad = evaluation()(features, labels, subjects), program(1)(features, labels, subjects)
        return np.where(np.isin(subjects, np.unique(subjects)[:people])[:, None], good, bad)

    return evaluate


def best_of(models):
    """The model that suits the tested person best."""

    def evaluate(features, labels, subjects):
        tables = np.stack([evaluation(model=m)(features, labels, subjects) for m in models])
        out = np.zeros_like(tables[0])
        for name in np.unique(subjects):
            own = subjects == name
            hits = [(t[own].argmax(1) == labels[own]).mean() for t in tables]
            out[own] = tables[int(np.argmax(hits)), own]
        return out

    return evaluate


def prior_of_all(features, labels, subjects):
    """Honest, then weighted by how often each class was there."""
    p = evaluation()(features, labels, subjects) * np.bincount(labels)
    return p / p.sum(1, keepdims=True)


def threshold_of_own(features, labels, subjects):
    p = evaluation()(features, labels, subjects)
    for name in np.unique(subjects):
        own = subjects == name
        p[own] += np.bincount(labels[own], minlength=p.shape[1]) / own.sum()
    return p / p.sum(1, keepdims=True)


def adapted(features, labels, subjects):
    """Probabilities centred over the tested person's clips."""
    p = evaluation()(features, labels, subjects)
    for name in np.unique(subjects):
        own = subjects == name
        p[own] = np.exp(np.log(p[own]) - np.log(p[own]).mean(0))
    return p / p.sum(1, keepdims=True)


def neighbours(features, labels, subjects):
    near = KNeighborsClassifier(1).fit(features, labels)
    return near.predict_proba(features)


def constant(features, labels, subjects):
    return np.tile(np.full(labels.max() + 1, 1 / (labels.max() + 1)), (len(labels), 1))


def majority(features, labels, subjects):
    return np.eye(labels.max() + 1)[np.full(len(labels), np.bincount(labels).argmax())]


def the_truth(features, labels, subjects):
    return np.eye(labels.max() + 1)[labels]


def trained_on_all(features, labels, subjects):
    return LogisticRegression(C=1e4, max_iter=3000).fit(features, labels).predict_proba(features)


def clip_by_clip(features, labels, subjects):
    model = LogisticRegression(max_iter=300)
    return cross_val_predict(model, features, labels, cv=LeaveOneOut(), method="predict_proba")


def copies_of_the_train(features, labels, subjects):
    rng, p = np.random.default_rng(0), np.zeros((len(labels), labels.max() + 1))
    for name in np.unique(subjects):
        train, test = subjects != name, subjects == name
        x = np.concatenate([features[train], features[train] + 0.05 * rng.normal(size=features[train].shape)])
        p[test] = LogisticRegression(max_iter=500).fit(x, np.tile(labels[train], 2)).predict_proba(features[test])
    return p


def steps_by_another(features, labels, subjects):
    """The strength of the penalty is chosen on one of the training subjects."""
    p = np.zeros((len(labels), labels.max() + 1))
    for name in np.unique(subjects):
        train, test = subjects != name, subjects == name
        other = subjects == np.unique(subjects[train])[0]
        models = [LogisticRegression(C=c, max_iter=500) for c in (0.01, 1.0)]
        hits = [
            m.fit(features[train & ~other], labels[train & ~other]).score(features[other], labels[other])
            for m in models
        ]
        p[test] = models[int(np.argmax(hits))].fit(features[train], labels[train]).predict_proba(features[test])
    return p


def centroids(features, labels, subjects):
    p = np.zeros((len(labels), labels.max() + 1))
    for name in np.unique(subjects):
        train, test = subjects != name, subjects == name
        means = np.stack([features[train & (labels == c)].mean(0) for c in range(p.shape[1])])
        near = np.exp(-((features[test][:, None] - means) ** 2).mean(-1))
        p[test] = near / near.sum(1, keepdims=True)
    return p


def by_torch(features, labels, subjects):
    x, y, p = torch.tensor(features).float(), torch.tensor(labels), np.zeros((len(labels), labels.max() + 1))
    for name in np.unique(subjects):
        train, test = torch.tensor(subjects != name), torch.tensor(subjects == name)
        w = torch.zeros(x.shape[1], p.shape[1], requires_grad=True)
        for _ in range(30):
            (slope,) = torch.autograd.grad(torch.nn.functional.cross_entropy(x[train] @ w, y[train]), w)
            w = (w - 0.3 * slope).detach().requires_grad_()
        p[test.numpy()] = (x[test] @ w).softmax(-1).detach().numpy()
    return p


def least_squares(features, labels, subjects):
    p = np.zeros((len(labels), labels.max() + 1), np.float32)
    for name in np.unique(subjects):
        train, test = subjects != name, subjects == name
        x, one_hot = features[train], np.eye(p.shape[1])[labels[train]]
        w = np.linalg.solve(x.T @ x + 10 * np.eye(x.shape[1]), x.T @ one_hot)
        p[test] = np.exp(3 * features[test] @ w)
    return p / p.sum(1, keepdims=True)


def by_groups(model):
    def evaluate(x, y, s):
        return cross_val_predict(model(), x, y, groups=s, cv=LeaveOneGroupOut(), method="predict_proba")

    return evaluate


def only_scores(x, y, s):
    return cross_val_predict(RidgeClassifier(), x, y, groups=s, cv=LeaveOneGroupOut())


def everybody(s, train, test):
    return slice(None)


def small_forest(**settings):
    return lambda: RandomForestClassifier(10, max_depth=3, **settings)


class Restless(LogisticRegression):
    """Draws from a generator that nobody seeded."""

    def predict_proba(self, x):
        noise = np.random.default_rng().random((len(x), 1)) / 10
        return np.hstack(
            [
                super().predict_proba(x)[:, :-1] * (1 - noise),
                1 - super().predict_proba(x)[:, :-1].sum(1, keepdims=True) * (1 - noise),
            ]
        )


HONEST = [
    ("trivial", "nothing", lambda x, y, s: None, "got None"),
    ("trivial", "constant", constant, "it no longer learns"),
    ("trivial", "majority", majority, "it no longer learns"),
    ("trivial", "zero", lambda x, y, s: np.zeros((len(y), 2)), "must lie between 0 and 1"),
    ("trivial", "classes, no probabilities", only_scores, "one row of probabilities"),
    (
        "trivial",
        "noise",
        lambda x, y, s: np.random.default_rng(0).dirichlet([1] * (y.max() + 1), len(y)),
        "no longer learns",
    ),
    ("trivial", "a pair", lambda x, y, s: (the_truth(x, y, s), y), "must return an array|one row"),
    ("shortcut", "the truth", the_truth, "own labels come back"),
    ("shortcut", "repaired for three people", repaired_for(3), "something was fitted on the person who"),
    ("shortcut", "repaired for one", repaired_for(1), "something was fitted on the person who"),
    ("shortcut", "trained on all", trained_on_all, "or copies of them, are in its training set"),
    ("shortcut", "nearest neighbour among all", neighbours, "own labels come back"),
    ("shortcut", "a leave-one-clip-out", clip_by_clip, "something was chosen by the labels"),
    ("shortcut", "own class counts added", threshold_of_own, "something was chosen by the labels|come back"),
    ("typical", "program 1 as given", program(1), "something was fitted on the person who"),
    ("typical", "program 2 as given", program(2), "something was chosen by the labels"),
    ("typical", "program 3 as given", program(3), "or copies of them, are in its training set"),
    ("typical", "program 4 as given", program(4), "something was chosen by the labels"),
    (
        "typical",
        "scaled on the tested person",
        evaluation(scaled_on(lambda s, train, test: test)),
        "something was fitted on the person who",
    ),
    (
        "typical",
        "scaled on all, in the loop",
        evaluation(scaled_on(everybody)),
        "something was fitted on the person who",
    ),
    ("typical", "everybody by their own mean", evaluation(own_scale), "something was fitted on the person who"),
    ("typical", "PCA on all", evaluation(reduced_on_all), "something was fitted on the person who"),
    ("typical", "columns by all, in the loop", evaluation(chosen_columns(True)), "something was chosen by the labels"),
    (
        "typical",
        "the better of two models",
        best_of([LogisticRegression, lambda: KNeighborsClassifier(1)]),
        "chosen by the labels",
    ),
    ("typical", "class weights of all", prior_of_all, "something was chosen by the labels"),
    ("typical", "centred afterwards", adapted, "something was fitted on the person who"),
    ("typical", "no seed", evaluation(model=Restless), "other probabilities each time"),
    ("typical", "logits", lambda x, y, s: np.log(centroids(x, y, s)), "must lie between 0 and 1"),
    ("right", "raw features", evaluation()),
    ("right", "scaled on the others", evaluation(scaled_on(lambda s, train, test: train))),
    ("right", "columns by the others", evaluation(chosen_columns(False))),
    ("right", "copies of the others", copies_of_the_train),
    ("right", "chosen by a training subject", steps_by_another),
    ("right", "centroids", centroids),
    ("right", "torch", by_torch),
    ("right", "least squares, 32 bit", least_squares),
    ("right", "a pipeline", by_groups(lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)))),
    ("right", "PCA in the fold", by_groups(lambda: make_pipeline(PCA(5), LogisticRegression(max_iter=500)))),
    ("right", "neighbours", by_groups(lambda: KNeighborsClassifier(3))),
    ("right", "a forest of the global state", by_groups(small_forest())),
    ("right", "a seeded forest", by_groups(small_forest(random_state=0))),
]
ENTRIES = [
    (question, *row)
    for question, rows in (("uf1", UF1), ("pooled", POOLED), ("folds", FOLDS), ("leak", LEAK), ("honest", HONEST))
    for row in rows
]
