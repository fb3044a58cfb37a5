import numpy as np
import pandas as pd
import pytest
import torch

from studies.curves import curves_chart, learning_curves
from tsfmicro_lab.models import create_model
from tsfmicro_lab.models.base import cross_entropy
from tsfmicro_lab.training import Recipe, fit


def test_curves_are_those_of_the_training_and_of_the_held_out_clips(samples):
    train, test, recipe = np.arange(20), np.arange(20, 30), Recipe(epochs=2)
    model = create_model("tsfmicro_spatial", 5, seed=0)
    history = learning_curves(model, samples, train, test, recipe, seed=3, progress=False)
    again = create_model("tsfmicro_spatial", 5, seed=0)
    losses = fit(again, samples, train, recipe, seed=3)
    assert list(history.epoch) == [1, 2]
    assert list(history.train_loss) == losses
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    logits = again.logits(samples, test)
    last = history.iloc[-1]
    assert last.test_loss == pytest.approx(float(cross_entropy(logits, samples.label[test])), abs=1e-6)
    assert last.test_accuracy == pytest.approx(float((logits.argmax(1) == samples.label[test]).float().mean()))


def test_fifteen_models_are_thirty_lines_that_look_different():
    models = [f"tsfmicro_{i}" for i in range(15)]
    rows = [{"model": m, "epoch": e, "train_loss": 1 / e, "test_loss": 2 / e} for m in models for e in (1, 2, 3)]
    lines = curves_chart(pd.DataFrame(rows)).data
    assert [t.name for t in lines] == [f"{i}, {clips}" for i in range(15) for clips in ("training", "held out")]
    assert len({(t.line.color, t.line.dash) for t in lines}) == 30
    alone = curves_chart(pd.DataFrame(rows[:3]).drop(columns="model")).data
    assert [t.name for t in alone] == ["training", "held out"]
