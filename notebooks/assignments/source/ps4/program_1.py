"""An evaluation that looks reasonable and has one leak."""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression


def evaluate(features: np.ndarray, labels: np.ndarray, subjects: np.ndarray) -> np.ndarray:
    """Standardise, reduce, classify; leave one subject out."""
    scaled = (features - features.mean(0)) / (features.std(0) + 1e-6)
    reduced = PCA(8, random_state=0).fit_transform(scaled)
    p = np.zeros((len(labels), labels.max() + 1))
    for subject in np.unique(subjects):
        train, test = subjects != subject, subjects == subject
        model = LogisticRegression(max_iter=500).fit(reduced[train], labels[train])
        p[test] = model.predict_proba(reduced[test])
    return p
