"""One fold of an evaluation: trained on some subjects, its epoch chosen without those it tests, and its predictions."""

import copy
import hashlib
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from tsfmicro_lab.data.samples import Samples
from tsfmicro_lab.models import Recognizer, create_model
from tsfmicro_lab.provenance import device_name
from tsfmicro_lab.training.checkpoint import Checkpoint
from tsfmicro_lab.training.device import COMPILED, PRECISIONS
from tsfmicro_lab.training.loop import RECIPES, Recipe, decide, fit, predict
from tsfmicro_lab.training.metrics import class_table, confusion, uf1_of_counts
from tsfmicro_lab.training.splits import Fold, with_validation

#: How a fold's epoch is chosen: fixed, by subjects set aside, or (leaky) by the tested ones.
SELECTIONS = ("last", "validation", "oracle")
#: What every output of a run says that chose by the clips it is tested on: a leak, as data leakage is called.
LEAKY = "leaky: chosen on the test clips"
#: What tells one clip from another in every table.
KEY = ["subject", "clip", "onset"]


@dataclass(frozen=True)
class Run:
    """What makes the folds of one evaluation what they are; stored beside them.

    Attributes:
        model: Name of the model.
        preset: Its size.
        recipe: How it is trained.
        selection: `last` keeps the last epoch; `validation` the epoch that is best on training subjects held out inside
            the fold. Neither sees the test subject. `oracle` keeps the epoch that is best on the test subject, as many
            published programs do: a demonstration, called leaky wherever it is shown.
        seed: Of parameters, order and augmentation.
        accelerator: `cpu`, `cuda`, `mps` or `auto`.
        precision: `32-true`, `bf16-mixed` or `16-mixed` (see :func:`~tsfmicro_lab.training.fit`).
        settings: Fields of the model's configuration that differ from the preset, such as `{"inject": "after"}`.
        candidates: Recipes of which the selection chooses as it does of epochs, instead of `recipe`.
        compiled: Mode of `torch.compile`: `default`, or `reduce-overhead` for CUDA graphs; empty for none.
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
            if (value := getattr(self, name)) not in known:
                raise ValueError(f"unknown {name} '{value}': choose from {', '.join(filter(None, known))}")
        if self.candidates and self.selection == "last":
            raise ValueError("selection 'last' chooses nothing, so give one recipe, or selection 'validation'")

    @property
    def leaky(self) -> bool:
        """Whether it chooses by the clips that it tests."""
        return self.selection == "oracle"

    @property
    def label(self) -> str:
        """Name of the model with its settings, as tables show it."""
        leaky = ["(leaky)"] if self.leaky else []
        return " ".join([self.model, *(f"{name}={value}" for name, value in self.settings.items()), *leaky])

    def create(self, num_classes: int, seed: int | None = None) -> Recognizer:
        """The untrained model."""
        return create_model(self.model, num_classes, self.preset, seed=seed, **self.settings)


class _Choice:
    """Which epoch of which candidate a fold keeps: the last, or the best by UF1 on some rows."""

    def __init__(self, samples: Samples, rows: np.ndarray) -> None:
        self.samples, self.rows, self.clock = samples, rows, 0.0
        #: Saved in checkpoints, and restored in place.
        self.kept: dict[str, Any] = {"uf1": -1.0, "epoch": 0, "candidate": 0, "state": None, "seconds": []}

    def of(self, model: Recognizer, candidate: int) -> Callable[[int, float], None]:
        """What `fit` is to call after each epoch of a candidate."""

        def after_epoch(epoch: int, _: float) -> None:
            self.kept["seconds"].append(time.perf_counter() - self.clock)
            uf1 = _uf1(model, self.samples, self.rows) if len(self.rows) else 0.0
            if uf1 >= self.kept["uf1"]:
                state = copy.deepcopy(model.state_dict()) if len(self.rows) else None
                self.kept.update(uf1=uf1, epoch=epoch, candidate=candidate, state=state)
            self.clock = time.perf_counter()

        self.clock = time.perf_counter()
        return after_epoch


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
    if run.selection == "validation" and not len(fold.validation):
        fold = with_validation(fold, samples.subjects, 0.2, seed)
    choice = _Choice(
        samples, {"last": fold.test[:0], "validation": fold.validation, "oracle": fold.test}[run.selection]
    )
    device: dict[str, Any] = {name: getattr(run, name) for name in ("accelerator", "precision", "compiled")}
    for candidate, recipe in enumerate(run.candidates or (run.recipe,)):
        model = run.create(len(samples.classes), seed)
        about = f"{run.label}, fold {fold.name}, seed {run.seed}, {recipe}"
        kept = Checkpoint(checkpoints / f"{candidate}.pt", about, choice.kept) if checkpoints else None
        options: dict[str, Any] = {"seed": seed, "checkpoint": kept, "after_epoch": choice.of(model, candidate)}
        fit(model, samples, fold.train, recipe, **options, **device)
    if choice.kept["state"] is not None:
        model.load_state_dict(choice.kept["state"])
    chosen: dict[str, Any] = {"epoch": choice.kept["epoch"], "candidate": choice.kept["candidate"], "fold": fold.name}
    rows = _predictions(model, samples, fold.test).assign(
        model=run.label, seed=run.seed, selection=LEAKY if run.leaky else run.selection, **chosen
    )
    rows.attrs = {
        "fold": fold.name,
        "device": device_name(next(model.parameters()).device),
        "threads": torch.get_num_threads(),
        "epochs": len(choice.kept["seconds"]),
        "seconds_per_epoch": round(float(np.median(choice.kept["seconds"])), 4),
    }
    if model_folder:
        shutil.rmtree(model_folder, ignore_errors=True)  # the remains of a fold that was interrupted
        model.config = replace(model.config, classes=samples.classes)
        model.cpu().save_pretrained(model_folder, **card_facts(run, samples, fold))
    return rows


def _uf1(model: Recognizer, samples: Samples, rows: np.ndarray) -> float:
    table = _predictions(model, samples, rows)
    if samples.label.ndim > 1:
        return float(class_table(table, samples.classes).f1.mean())
    return float(uf1_of_counts(confusion(table, samples.classes)))


def _predictions(model: Recognizer, samples: Samples, rows: np.ndarray) -> pd.DataFrame:
    p = predict(model, samples, rows)
    table = samples.table.loc[rows, KEY].reset_index(drop=True)
    table["truth"] = samples.names(samples.label[rows])
    table["predicted"] = samples.names(torch.from_numpy(decide(p, samples.label.ndim)))
    return table.assign(**{f"p_{name}": p[:, i].astype(float) for i, name in enumerate(samples.classes)})


def card_facts(run: Run, samples: Samples, fold: Fold) -> dict[str, Any]:
    """What the card of a fold's model says (see `models.card.model_card`)."""
    held = len(fold.validation) if run.selection == "validation" else 0
    train, test = (sorted(set(samples.subjects[rows])) for rows in (fold.train, fold.test))
    return {
        "classes": samples.classes,
        "data": " ".join(samples.source.split()),
        "protocol": f"fold {fold.name}: trained on {len(fold.train)} clips of {len(train)} subjects"
        + (f", {held} of others chose the epoch" if held else "")
        + f", tested on {len(fold.test)} clips of {', '.join(test)}",
        "selection": LEAKY if run.leaky else f"{run.selection}: nothing was chosen on the tested subjects",
        "leaky": run.leaky,
        "recipe": run.candidates or run.recipe,
        "seed": run.seed,
        "device": f"{run.accelerator}, {run.precision}, torch {torch.__version__.split('+')[0]}",
    }


def _fold_seed(seed: int, name: str) -> int:
    """A seed of its own for each fold, the same in whatever order folds are run."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4], "big")


def samples_digest(samples: Samples) -> str:
    """By which a run's folder knows whether samples are those that it was evaluated on."""
    return hashlib.sha256(b"".join(x.numpy().tobytes() for x in samples.tensors.values())).hexdigest()
