"""Evaluations for ps4, each of which looks reasonable and has one leak. Do not copy from here."""

from collections.abc import Callable

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, SGDClassifier

Evaluation = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def evaluation_1(features: np.ndarray, labels: np.ndarray, subjects: np.ndarray) -> np.ndarray:
    """Standardise, reduce, classify; leave one subject out."""
    scaled = (features - features.mean(0)) / (features.std(0) + 1e-6)
    reduced = PCA(8, random_state=0).fit_transform(scaled)
    p = np.zeros((len(labels), labels.max() + 1))
    for subject in np.unique(subjects):
        train, test = subjects != subject, subjects == subject
        model = LogisticRegression(max_iter=500).fit(reduced[train], labels[train])
        p[test] = model.predict_proba(reduced[test])
    return p


def evaluation_2(features: np.ndarray, labels: np.ndarray, subjects: np.ndarray) -> np.ndarray:
    """Standardise, train for a good number of epochs; leave one subject out."""
    p = np.zeros((len(labels), labels.max() + 1))
    for subject in np.unique(subjects):
        train, test = subjects != subject, subjects == subject
        mean, spread = features[train].mean(0), features[train].std(0) + 1e-6
        x = (features - mean) / spread
        model, best = SGDClassifier(loss="log_loss", random_state=0), -1.0
        for _ in range(40):
            model.partial_fit(x[train], labels[train], classes=np.unique(labels))
            accuracy = (model.predict(x[test]) == labels[test]).mean()
            if accuracy > best:
                best, p[test] = accuracy, model.predict_proba(x[test])
    return p


def evaluation_3(features: np.ndarray, labels: np.ndarray, subjects: np.ndarray) -> np.ndarray:
    """Add slightly changed copies for a larger training set, standardise, classify; leave one subject out."""
    rng, n = np.random.default_rng(0), len(labels)
    changed = features + 0.05 * features.std(0) * rng.normal(size=features.shape)
    features, labels = np.concatenate([features, changed]), np.tile(labels, 2)
    subjects = np.concatenate([subjects, [f"{s}-copy" for s in subjects]])
    p = np.zeros((n, labels.max() + 1))
    for subject in np.unique(subjects[:n]):
        train, test = subjects != subject, np.flatnonzero(subjects == subject)
        mean, spread = features[train].mean(0), features[train].std(0) + 1e-6
        model = LogisticRegression(C=100, max_iter=2000).fit((features[train] - mean) / spread, labels[train])
        p[test] = model.predict_proba((features[test] - mean) / spread)
    return p


def evaluation_4(features: np.ndarray, labels: np.ndarray, subjects: np.ndarray) -> np.ndarray:
    """Keep the columns that tell the classes apart, standardise, classify; leave one subject out."""
    apart = np.stack([features[labels == c].mean(0) for c in np.unique(labels)]).std(0) / (features.std(0) + 1e-6)
    features = features[:, np.argsort(apart)[-8:]]
    p = np.zeros((len(labels), labels.max() + 1))
    for subject in np.unique(subjects):
        train, test = subjects != subject, subjects == subject
        mean, spread = features[train].mean(0), features[train].std(0) + 1e-6
        model = LogisticRegression(max_iter=500).fit((features[train] - mean) / spread, labels[train])
        p[test] = model.predict_proba((features[test] - mean) / spread)
    return p


def program(seed: int) -> Evaluation:
    """The evaluation that a student is given.

    Args:
        seed: The student's own, see :func:`~tsfmicro_lab.assignments.variant`.

    Example:
        >>> program(5).__name__
        'evaluation_2'
    """
    return (evaluation_1, evaluation_2, evaluation_3, evaluation_4)[seed % 4]
