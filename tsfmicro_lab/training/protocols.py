"""Evaluation over folds of subjects: nothing is selected on those it tests, and it survives being killed."""

import copy
import hashlib
import shutil
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from sklearn.metrics import f1_score

from tsfmicro_lab.data.samples import Samples
from tsfmicro_lab.models import Recognizer, create_model
from tsfmicro_lab.provenance import device_name
from tsfmicro_lab.training.checkpoint import Checkpoint
from tsfmicro_lab.training.device import COMPILED
from tsfmicro_lab.training.loop import RECIPES, Recipe, decide, fit, predict
from tsfmicro_lab.training.splits import Fold, with_inner

#: How a fold's epoch is chosen: fixed, by subjects set aside, or (leaky) by the tested ones.
SELECTIONS = ("last", "inner", "oracle")
#: What every output of a run says that chose by the clips it is tested on.
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
        selection: `last` keeps the last epoch; `inner` the epoch that is best on training subjects held out inside
            the fold. Neither sees the test subject. `oracle` keeps the epoch that is best on the test subject, as many
            published programs do: a demonstration, called leaky wherever it is shown.
        compiled: Mode of `torch.compile`: `default`, or `reduce-overhead` for CUDA graphs; empty for none.
        candidates: Recipes of which the selection chooses as it does of epochs, instead of `recipe`.
        seed: Of weights, order and augmentation.
        accelerator: For Lightning Fabric: `auto`, `cpu`, `cuda`, …
        precision: For Lightning Fabric: `32-true`, `bf16-mixed`, …
        settings: Fields of the model's configuration that differ from the preset, such as `{"inject": "after"}`.
    """

    model: str = "tsfmicro_late"
    preset: str = "tiny"
    recipe: Recipe = RECIPES["tiny"]
    selection: str = "last"
    seed: int = 0
    accelerator: str = "cpu"
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    settings: dict[str, Any] = field(default_factory=dict)
    candidates: tuple[Recipe, ...] = ()
    compiled: str = ""

    def __post_init__(self) -> None:
        if self.selection not in SELECTIONS:
            raise ValueError(f"unknown selection '{self.selection}': choose from {', '.join(SELECTIONS)}")
        if self.compiled not in COMPILED:
            raise ValueError(f"unknown compiled '{self.compiled}': choose from {', '.join(COMPILED[1:])}")
        if self.candidates and self.selection == "last":
            raise ValueError("selection 'last' chooses nothing, so give one recipe, or selection 'inner'")

    @property
    def label(self) -> str:
        """Name of the model with its settings, as tables show it."""
        leaky = ["(leaky)"] if self.selection == "oracle" else []
        return " ".join([self.model, *(f"{name}={value}" for name, value in self.settings.items()), *leaky])

    def create(self, num_classes: int, seed: int | None = None) -> Recognizer:
        """The untrained model."""
        return create_model(self.model, num_classes, self.preset, seed=seed, **self.settings)


@dataclass
class _Best:
    """The epoch that a fold keeps, and of which candidate."""

    uf1: float = -1.0
    epoch: int = 0
    candidate: int = 0
    state: dict[str, Any] | None = None
    seconds: list[float] = field(default_factory=list)


def run_fold(
    run: Run, samples: Samples, fold: Fold, model_folder: Path | None = None, checkpoint: Path | None = None
) -> pd.DataFrame:
    """Trains on all other subjects and predicts the one held out.

    Args:
        run: Model, recipe, selection, seed.
        samples: All samples.
        fold: Who is held out.
        model_folder: Where to keep the trained model, if anywhere.
        checkpoint: File that holds the state after every epoch, if any; an interrupted fold goes on from there.

    Returns:
        One row per test clip: subject, clip, onset, truth, predicted, p_<class>, model, seed, selection, epoch. Its
        `attrs` tell on what device it was made and how long an epoch took.
    """
    seed = _fold_seed(run.seed, fold.name)
    fabric = Fabric(accelerator=run.accelerator, devices=1, precision=run.precision)
    if run.selection == "inner" and not len(fold.inner):
        fold = with_inner(fold, samples.subjects, 0.2, seed)
    judged = {"last": fold.test[:0], "inner": fold.inner, "oracle": fold.test}[run.selection]
    best, clock = _Best(), [0.0]
    for candidate, recipe in enumerate(run.candidates or (run.recipe,)):
        model = run.create(len(samples.classes), seed)

        def look(epoch: int, _: float, model: Recognizer = model, candidate: int = candidate) -> None:
            best.seconds.append(time.perf_counter() - clock[0])
            uf1 = _uf1(model, samples, judged) if len(judged) else 0.0
            if uf1 >= best.uf1:
                best.uf1, best.epoch, best.candidate = uf1, epoch, candidate
                best.state = copy.deepcopy(model.state_dict()) if len(judged) else None
            clock[0] = time.perf_counter()

        file = checkpoint and checkpoint.with_name(f"{checkpoint.stem}-{candidate}{checkpoint.suffix}")
        about = f"{run.label}, fold {fold.name}, seed {run.seed}, {recipe}"
        clock[0] = time.perf_counter()
        fit(
            model,
            samples,
            fold.train,
            recipe,
            seed=seed,
            fabric=fabric,
            after_epoch=look,
            checkpoint=Checkpoint(file, about, vars(best)) if file else None,
            compiled=run.compiled,
        )
    if best.state is not None:
        model.load_state_dict(best.state)
    rows = _rows(run, samples, fold, predict(model, samples, fold.test), best)
    if model_folder:
        shutil.rmtree(model_folder, ignore_errors=True)  # the remains of a fold that was interrupted
        model.config = replace(model.config, classes=samples.classes)
        model.cpu().save_pretrained(model_folder, **facts(run, samples, fold))
    rows.attrs = {
        "fold": fold.name,
        "device": device_name(fabric.device),
        "threads": torch.get_num_threads(),
        "epochs": len(best.seconds),
        "seconds_per_epoch": round(float(np.median(best.seconds)), 4),
    }
    return rows


def _uf1(model: Recognizer, samples: Samples, rows: np.ndarray) -> float:
    truth = samples.label[rows].numpy()
    return float(f1_score(truth, decide(predict(model, samples, rows), truth.ndim), average="macro", zero_division=0))


def _rows(run: Run, samples: Samples, fold: Fold, probabilities: np.ndarray, best: _Best) -> pd.DataFrame:
    rows = samples.table.loc[fold.test, KEY].reset_index(drop=True)
    rows["truth"] = samples.names(samples.label[fold.test])
    rows["predicted"] = samples.names(torch.from_numpy(decide(probabilities, samples.label.ndim)))
    for i, name in enumerate(samples.classes):
        rows[f"p_{name}"] = probabilities[:, i]
    selection = LEAKY if run.selection == "oracle" else run.selection
    chosen: dict[str, Any] = {"epoch": best.epoch, "candidate": best.candidate, "fold": fold.name}
    return rows.assign(model=run.label, seed=run.seed, selection=selection, **chosen)


def facts(run: Run, samples: Samples, fold: Fold) -> dict[str, Any]:
    """What the card of a fold's model tells."""
    who = len(set(samples.subjects[fold.train]))
    held = f", {len(fold.inner)} of others chose the epoch" if len(fold.inner) and run.selection == "inner" else ""
    return {
        "classes": samples.classes,
        "data": " ".join(samples.source.split()),
        "protocol": f"fold {fold.name}: trained on {len(fold.train)} clips of {who} subjects{held}, tested on "
        f"{len(fold.test)} clips of {', '.join(sorted(set(samples.subjects[fold.test])))}",
        "selection": LEAKY
        if run.selection == "oracle"
        else f"{run.selection}: nothing was chosen on the tested subjects",
        "leaky": run.selection == "oracle",
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
