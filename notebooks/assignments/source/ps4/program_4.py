"""An evaluation that looks reasonable and has one leak."""

import numpy as np
from sklearn.linear_model import LogisticRegression


def evaluate(features: np.ndarray, labels: np.ndarray, subjects: np.ndarray) -> np.ndarray:
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
