"""An evaluation that looks reasonable and has one leak."""

import numpy as np
from sklearn.linear_model import SGDClassifier


def evaluate(features: np.ndarray, labels: np.ndarray, subjects: np.ndarray) -> np.ndarray:
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
