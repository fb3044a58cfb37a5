"""An evaluation that looks reasonable and has one leak."""

import numpy as np
from sklearn.linear_model import LogisticRegression


def evaluate(features: np.ndarray, labels: np.ndarray, subjects: np.ndarray) -> np.ndarray:
    """Standardise, classify; leave one subject out."""
    scaled = (features - features.mean(0)) / (features.std(0) + 1e-6)
    p = np.zeros((len(labels), labels.max() + 1))
    for subject in np.unique(subjects):
        train, test = subjects != subject, subjects == subject
        model = LogisticRegression(max_iter=500).fit(scaled[train], labels[train])
        p[test] = model.predict_proba(scaled[test])
    return p
