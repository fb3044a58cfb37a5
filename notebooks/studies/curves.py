"""Learning curves: the losses of training clips and of held-out subjects, epoch by epoch, as a table and as a chart."""

from typing import Any

import pandas as pd
import plotly.express as px
import plotly.graph_objects as go

from tsfmicro_lab.data import Samples
from tsfmicro_lab.explain.charts import TEMPLATE
from tsfmicro_lab.models.base import Recognizer, cross_entropy
from tsfmicro_lab.training import Recipe, fit
from tsfmicro_lab.training.splits import Rows


def learning_curves(
    model: Recognizer, samples: Samples, train: Rows, test: Rows, recipe: Recipe, **settings: Any
) -> pd.DataFrame:
    """Trains a model (`fit`, with its settings) and tests it after every epoch, without choosing anything by it.

    Returns:
        One row per epoch: `epoch`, `train_loss` (while learning), `test_loss`, `test_accuracy`.
    """
    rows, truth = [], samples.label[test]

    def evaluate(epoch: int, train_loss: float) -> None:
        logits = model.logits(samples, test)
        loss, accuracy = float(cross_entropy(logits, truth)), float((logits.argmax(1) == truth).float().mean())
        rows.append({"epoch": epoch, "train_loss": train_loss, "test_loss": loss, "test_accuracy": accuracy})

    fit(model, samples, train, recipe, after_epoch=evaluate, **{"progress": True, **settings})
    return pd.DataFrame(rows)


def curves_chart(history: pd.DataFrame) -> go.Figure:
    """Loss over the epochs, of training clips (solid) and of held-out subjects (dashed), a colour for each model.

    The history is that of :func:`learning_curves`, with a column `model` if there are several.
    """
    columns = {"train_loss": "training", "test_loss": "held out"}
    model = ["model"] if "model" in history else []
    long = history.rename(columns=columns).melt(["epoch", *model], list(columns.values()), "clips", "loss")
    if model:
        long = long.assign(model=long["model"].astype(str).str.removeprefix("tsfmicro_"))
    series = {"color": "model" if model else None, "line_dash": "clips", "line_dash_sequence": ["solid", "dash"]}
    return px.line(long, x="epoch", y="loss", labels={"loss": "loss (cross-entropy)"}, template=TEMPLATE, **series)
