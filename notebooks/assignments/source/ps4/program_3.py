"""An evaluation that looks reasonable and has one leak."""

import numpy as np
from sklearn.linear_model import LogisticRegression


def evaluate(features: np.ndarray, labels: np.ndarray, subjects: np.ndarray) -> np.ndarray:
    """Add slightly changed copies for a larger training set, standardise, classify; leave one subject out."""
    rng, n = np.random.default_rng(0), len(labels)
    changed = features + 0.05 * rng.normal(size=features.shape)
    features, labels = np.concatenate([features, changed]), np.tile(labels, 2)
    subjects = np.concatenate([subjects, [f"{s}-copy" for s in subjects]])
    p = np.zeros((n, labels.max() + 1))
    for subject in np.unique(subjects[:n]):
        train, test = subjects != subject, np.flatnonzero(subjects == subject)
        mean, spread = features[train].mean(0), features[train].std(0) + 1e-6
        model = LogisticRegression(C=100, max_iter=2000).fit((features[train] - mean) / spread, labels[train])
        p[test] = model.predict_proba((features[test] - mean) / spread)
    return p
