"""One fold of an evaluation: trained on some subjects, its epoch chosen without those it tests, and its predictions."""

import copy
import hashlib
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from tsfmicro_lab.data.samples import Samples
from tsfmicro_lab.data.schema import KEY
from tsfmicro_lab.models import Recognizer, create_model
from tsfmicro_lab.models.base import check_word
from tsfmicro_lab.provenance import device_name
from tsfmicro_lab.training.checkpoint import Checkpoint
from tsfmicro_lab.training.device import COMPILED, PRECISIONS
from tsfmicro_lab.training.loop import RECIPES, Recipe, criterion_of, decide, fit, predict
from tsfmicro_lab.training.metrics import class_table, confusion, uf1_of_counts
from tsfmicro_lab.training.splits import Fold, Rows, with_validation

#: How a fold's epoch is chosen: fixed, by subjects set aside, or (leaky) by the tested ones.
SELECTIONS = ("last", "validation", "oracle")
#: What every output of a run says that chose by the clips it is tested on: a leak, as data leakage is called.
LEAKY = "leaky: chosen on the test clips"


@dataclass(frozen=True)
class Run:
    """What makes the folds of one evaluation what they are; stored beside them.

    Attributes:
        model: Name of the model.
        preset: Its size: `tiny`, `small` or `base`.
        recipe: How it is trained.
        selection: `last` keeps the last epoch; `validation` the epoch that is best on training subjects held out inside
            the fold. Neither sees the test subject. `oracle` keeps the epoch that is best on the test subject, as many
            published programs do: a demonstration, called leaky wherever it is shown.
        seed: Of parameters, order and augmentation.
        accelerator: See :func:`~tsfmicro_lab.training.fit`, as for `precision` and `compiled`.
        settings: Fields of the model's configuration that differ from the preset, such as `{"inject": "after"}`.
        candidates: Recipes of which the selection chooses as it does of epochs, instead of `recipe`.
    """

    model: str = "tsfmicro_late"
    preset: str = "tiny"
    recipe: Recipe = RECIPES["tiny"]
    selection: str = "last"
    seed: int = 0
    accelerator: str = "cpu"
    precision: str = "32-true"
    settings: dict[str, Any] = field(default_factory=dict)
    candidates: tuple[Recipe, ...] = ()
    compiled: str = ""

    def __post_init__(self) -> None:
        for name, known in {"selection": SELECTIONS, "precision": PRECISIONS, "compiled": COMPILED}.items():
            check_word(name, getattr(self, name), known)
        if self.candidates and self.selection == "last":
            raise ValueError("selection 'last' chooses nothing, so give one recipe, or selection 'validation'")
        if self.selection != "validation" and any(recipe.patience for recipe in (self.recipe, *self.candidates)):
            raise ValueError(f"patience ends a training by validation subjects, selection '{self.selection}' has none")

    @property
    def leaky(self) -> bool:
        """Whether it chooses by the clips that it tests."""
        return self.selection == "oracle"

    @property
    def label(self) -> str:
        """Name of the model with its settings, as tables show it."""
        settings = [f"{name}={value}" for name, value in self.settings.items()]
        return " ".join([self.model, *settings, *["(leaky)"] * self.leaky])

    def create(self, num_classes: int, seed: int | None = None) -> Recognizer:
        """The untrained model."""
        return create_model(self.model, num_classes, self.preset, seed=seed, **self.settings)


def run_fold(
    run: Run, samples: Samples, fold: Fold, model_folder: Path | None = None, checkpoints: Path | None = None
) -> pd.DataFrame:
    """Trains on all other subjects and predicts the one held out.

    Args:
        run: What to train, and how.
        samples: All samples.
        fold: Who is held out.
        model_folder: Where to keep the trained model, if anywhere.
        checkpoints: Folder for the state after every epoch, if any; an interrupted fold goes on from there.

    Returns:
        One row per test clip: subject, clip, onset, truth, predicted, p_<class>, model, seed, selection, epoch. Its
        `attrs` tell on what device it was made and how long an epoch took.
    """
    seed = _fold_seed(run.seed, fold.name)
    fold = _as_trained(run, samples, fold)
    judges = {"last": fold.test[:0], "validation": fold.validation, "oracle": fold.test}[run.selection]
    # What is kept of the best epoch until now: saved in checkpoints, and restored in place.
    best: dict[str, Any] = {"uf1": -1.0, "epoch": 0, "candidate": 0, "state": None, "seconds": [], "loss": 0.0}
    device: dict[str, Any] = {name: getattr(run, name) for name in ("accelerator", "precision", "compiled")}
    for candidate, recipe in enumerate(run.candidates or (run.recipe,)):
        model, best["judged"] = run.create(len(samples.classes), seed), []
        about = f"{run.label}, fold {fold.name}, seed {run.seed}, {recipe}"
        checkpoint = Checkpoint(checkpoints / f"{candidate}.pt", about, best) if checkpoints else None
        device |= {"looks": len(judges) > 0, "after_epoch": _keep_best(best, model, samples, judges, candidate)}
        with _alone():
            stop = partial(_stalled, best, recipe.patience)
            fit(model, samples, fold.train, recipe, seed=seed, checkpoint=checkpoint, stop=stop, **device)
    if best["state"] is not None:
        model.load_state_dict(best["state"])
    columns: dict[str, Any] = {"model": run.label, "seed": run.seed, "selection": LEAKY if run.leaky else run.selection}
    columns |= {"epoch": best["epoch"], "candidate": best["candidate"], "fold": fold.name}
    rows = prediction_table(model, samples, fold.test).assign(**columns)
    where, took = device_name(next(model.parameters()).device), best["seconds"]
    facts: dict[Any, Any] = {"fold": fold.name, "device": where, "threads": torch.get_num_threads()}
    facts |= {"epochs": len(took), "seconds_per_epoch": round(float(np.median(took)), 4)}
    recipe = (run.candidates or (run.recipe,))[best["candidate"]]
    rows.attrs = facts | training_score(model, samples, fold.train, recipe, best["loss"], f"fold {fold.name}")
    if model_folder:
        model.config = replace(model.config, classes=samples.classes)
        model.cpu().save_pretrained(model_folder, **card_facts(run, samples, fold))
    return rows


def _keep_best(
    best: dict[str, Any], model: Recognizer, samples: Samples, judges: np.ndarray, candidate: int
) -> Callable[[int, float], None]:
    """What `fit` is to call after each epoch: keeps the one that is best by UF1 on some rows, or the last if none."""
    clock = [time.perf_counter()]

    def after_epoch(epoch: int, loss: float) -> None:
        best["seconds"].append(time.perf_counter() - clock[0])
        uf1 = _uf1(model, samples, judges) if len(judges) else 0.0
        best["judged"].append(uf1)
        if uf1 >= best["uf1"]:
            state = copy.deepcopy(model.state_dict()) if len(judges) else None
            best.update(uf1=uf1, epoch=epoch, candidate=candidate, state=state, loss=loss)
        clock[0] = time.perf_counter()

    return after_epoch


def _stalled(best: dict[str, Any], patience: int) -> bool:
    """Whether the last epochs, as many as a recipe has patience for, were no better than one before."""
    uf1 = best["judged"]
    return patience > 0 and len(uf1) > patience and max(uf1[:-patience]) >= max(uf1[-patience:])


def training_score(
    model: Recognizer, samples: Samples, index: Rows, recipe: Recipe, loss: float, name: str
) -> dict[str, float]:
    """How the model does on its own training clips as it predicts, beside the loss while it learned.

    Where both disagree, what is tested is another function than what was trained: a warning names both.

    Args:
        model: Trained.
        samples: All samples.
        index: Rows that it was trained on.
        recipe: How; its criterion is used.
        loss: Mean of the last epoch.
        name: What the warning calls it.

    Returns:
        `train_loss`, that loss; `train_loss_predicting`, in evaluation mode; `train_uf1`.
    """
    truth = samples.label[index].cpu()
    found = criterion_of(recipe, truth, len(samples.classes))(model.logits(samples, index), truth)
    scores = {"train_loss": round(loss, 4), "train_loss_predicting": round(float(found), 4)}
    said = f"has a loss of {found:.2f} when it predicts, but {loss:.2f} while it learned: see Recipe.recalibrate"
    if found > 1.25 * loss + 0.2:  # stale statistics: 1.4 to 2.5 times the loss; recalibrated: 0.85 to 1.05
        warnings.warn(f"{name}, whose scores say little: on its own training clips the model {said}", stacklevel=2)
    return scores | {"train_uf1": round(_uf1(model, samples, index), 4)}


_training = threading.Lock()


@contextmanager
def _alone() -> Iterator[None]:
    """Refuses a second training in the same process: order, augmentation and dropout share its random numbers."""
    if not _training.acquire(blocking=False):
        raise RuntimeError("a thread of this process trains another fold: use processes, as fold_processes() does")
    try:
        yield
    finally:
        _training.release()


def _uf1(model: Recognizer, samples: Samples, rows: np.ndarray) -> float:
    table = prediction_table(model, samples, rows)
    if samples.label.ndim > 1:
        return float(class_table(table, samples.classes).f1.mean())
    return float(uf1_of_counts(confusion(table, samples.classes)))


def prediction_table(model: Recognizer, samples: Samples, rows: np.ndarray) -> pd.DataFrame:
    """What a model predicts of some samples: subject, clip, onset, truth, predicted, p_<class>."""
    p = predict(model, samples, rows)
    table = samples.table.loc[rows, KEY].reset_index(drop=True)
    table["truth"] = samples.names(samples.label[rows])
    table["predicted"] = samples.names(torch.from_numpy(decide(p, samples.label.ndim)))
    return table.assign(**{f"p_{name}": p[:, i].astype(float) for i, name in enumerate(samples.classes)})


def card_facts(run: Run, samples: Samples, fold: Fold) -> dict[str, Any]:
    """What the card of a fold's model says (see `models.card.model_card`)."""
    fold = _as_trained(run, samples, fold)
    train, test = (sorted(set(samples.subjects[rows])) for rows in (fold.train, fold.test))
    held = len(fold.validation) if run.selection == "validation" else 0
    chose = f", {held} of others chose the epoch" if held else ""
    protocol = f"trained on {len(fold.train)} clips of {len(train)} subjects{chose}"
    return {
        "classes": samples.classes,
        "data": " ".join(samples.source.split()),
        "protocol": f"fold {fold.name}: {protocol}, tested on {len(fold.test)} clips of {', '.join(test)}",
        "selection": LEAKY if run.leaky else f"{run.selection}: nothing was chosen on the tested subjects",
        "leaky": run.leaky,
        "recipe": run.candidates or run.recipe,
        "seed": run.seed,
        "device": f"{run.accelerator}, {run.precision}, torch {torch.__version__.split('+')[0]}",
    }


def _as_trained(run: Run, samples: Samples, fold: Fold) -> Fold:
    """The fold with subjects set aside, where the epoch is chosen on them and the protocol named none."""
    if run.selection != "validation" or len(fold.validation):
        return fold
    return with_validation(fold, samples.subjects, 0.2, _fold_seed(run.seed, fold.name))


def _fold_seed(seed: int, name: str) -> int:
    """A seed of its own for each fold, the same in whatever order folds are run."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4], "big")


def samples_digest(samples: Samples) -> str:
    """By which a run's folder knows whether samples are those that it was evaluated on."""
    digest = hashlib.sha256()
    for part in (part for tensor in samples.tensors.values() for part in tensor.split(64)):  # never the set in memory
        digest.update(part.contiguous().numpy())
    return digest.hexdigest()
