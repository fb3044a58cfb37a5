"""Evaluation over folds of subjects: nothing is selected on those it tests, and it survives being killed."""

import copy
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from sklearn.metrics import f1_score

from tsfmicro_lab.data.samples import Samples
from tsfmicro_lab.models import TSFmicro, create_model
from tsfmicro_lab.models.card import model_card
from tsfmicro_lab.processes import process_pool
from tsfmicro_lab.progress import progress_bar
from tsfmicro_lab.training.loop import RECIPES, Recipe, decide, fit, predict
from tsfmicro_lab.training.splits import Fold, checked, leave_one_subject_out, with_inner
from tsfmicro_lab.training.statistics import card_scores

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

    def __post_init__(self) -> None:
        if self.selection not in SELECTIONS:
            raise ValueError(f"unknown selection '{self.selection}': choose from {', '.join(SELECTIONS)}")
        if self.candidates and self.selection == "last":
            raise ValueError("selection 'last' chooses nothing, so give one recipe, or selection 'inner'")

    @property
    def label(self) -> str:
        """Name of the model with its settings, as tables show it."""
        leaky = ["(leaky)"] if self.selection == "oracle" else []
        return " ".join([self.model, *(f"{name}={value}" for name, value in self.settings.items()), *leaky])

    def create(self, num_classes: int, seed: int | None = None) -> TSFmicro:
        """The untrained model."""
        return create_model(self.model, num_classes, self.preset, seed=seed, **self.settings)


@dataclass
class _Best:
    """The epoch that a fold keeps, and of which candidate."""

    uf1: float = -1.0
    epoch: int = 0
    candidate: int = 0
    state: dict[str, Any] | None = None


def run_fold(run: Run, samples: Samples, fold: Fold, model_folder: Path | None = None) -> pd.DataFrame:
    """Trains on all other subjects and predicts the one held out.

    Args:
        run: Model, recipe, selection, seed.
        samples: All samples.
        fold: Who is held out.
        model_folder: Where to keep the trained model, if anywhere.

    Returns:
        One row per test clip: subject, clip, onset, truth, predicted, p_<class>, model, seed, selection, epoch.
    """
    seed = _fold_seed(run.seed, fold.name)
    fabric = Fabric(accelerator=run.accelerator, devices=1, precision=run.precision)
    if run.selection == "inner" and not len(fold.inner):
        fold = with_inner(fold, samples.subjects, 0.2, seed)
    judged = {"last": fold.test[:0], "inner": fold.inner, "oracle": fold.test}[run.selection]
    best = _Best()
    for candidate, recipe in enumerate(run.candidates or (run.recipe,)):
        model = run.create(len(samples.classes), seed)

        def look(epoch: int, _: float, model: TSFmicro = model, candidate: int = candidate) -> None:
            uf1 = _uf1(model, samples, judged) if len(judged) else 0.0
            if uf1 >= best.uf1:
                best.uf1, best.epoch, best.candidate = uf1, epoch, candidate
                best.state = copy.deepcopy(model.state_dict()) if len(judged) else None

        fit(model, samples, fold.train, recipe, seed=seed, fabric=fabric, after_epoch=look)
    if best.state is not None:
        model.load_state_dict(best.state)
    rows = _rows(run, samples, fold, predict(model, samples, fold.test), best)
    if model_folder:
        shutil.rmtree(model_folder, ignore_errors=True)  # the remains of a fold that was interrupted
        model.config = replace(model.config, classes=samples.classes)
        model.cpu().save_pretrained(model_folder, model_card_kwargs=_facts(run, samples, fold))
    return rows


def cross_validate(
    samples: Samples,
    run: Run | None = None,
    folds: Sequence[Fold] | None = None,
    *,
    folder: Path | str | None = None,
    executor: Executor | None = None,
    keep_models: bool = False,
    progress: bool = True,
) -> pd.DataFrame:
    """Trains and tests on every fold, resumable; leave-one-subject-out by default.

    Each finished fold is written at once, whole or not at all. Started again with the same folder, the same samples
    and the same run, only the missing folds are trained, and the table comes out the same.

    Args:
        samples: Prepared clips.
        run: What to evaluate; the tiny late fusion by default.
        folds: Of any protocol in `training.splits`, over `samples.annotations`.
        folder: Where folds are kept; nothing is kept if None.
        executor: Runs the folds, any `concurrent.futures.Executor`: :func:`fold_processes`, or a Dask cluster's. In
            this process, one after another, by default.
        keep_models: Whether each fold's model is saved beside its predictions.
        progress: Whether to show a progress bar.

    Returns:
        The predictions of all folds, one row per clip that is tested, in the order of the samples.

    Raises:
        ValueError: A subject stands on both sides of a fold, or the folder holds another run.
        OSError: A fold cannot be written; earlier folds stay whole.

    Example:
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions, prepare
        >>> samples = prepare(SyntheticMicroExpressions(2, 10, image_size=64), 56, progress=False)
        >>> run = Run("tsfmicro_spatial", recipe=Recipe(epochs=1))
        >>> table = cross_validate(samples, run, progress=False)
        >>> len(table), sorted(set(table.subject))
        (20, ['sub01', 'sub02'])
    """
    run = run or Run()
    if folds is None:
        folds = leave_one_subject_out(samples.annotations)
    checked(folds, samples.annotations)
    place = _open_run(Path(folder), run, samples, folds) if folder else None
    results: dict[str, pd.DataFrame] = {}
    with progress_bar(len(folds), f"{run.label}, seed {run.seed}: folds", progress) as bar:

        def finished(fold: Fold, rows: pd.DataFrame, save: bool = True) -> None:
            if place and save:
                _write_fold(rows, place / f"{fold.name}.parquet")
            results[fold.name] = rows
            bar.update()

        todo = []
        for fold in folds:
            path = place / f"{fold.name}.parquet" if place else None
            if path and path.exists():
                finished(fold, pd.read_parquet(path), save=False)
            else:
                todo.append((fold, place / "models" / fold.name if place and keep_models else None))
        _run_all(run, samples, todo, executor, finished)
    table = samples.table[KEY].merge(pd.concat(results.values(), ignore_index=True), on=KEY, validate="one_to_many")
    if place and keep_models:
        _write_cards(run, samples, folds, table, place / "models")
    return table


def fold_processes(workers: int | None = None) -> ProcessPoolExecutor:
    """Processes that each train one fold on one core, which is faster for small models than one fold on all cores.

    Args:
        workers: Number of processes; one per usable core by default.
    """
    return process_pool(workers)


def _run_all(
    run: Run,
    samples: Samples,
    todo: Sequence[tuple[Fold, Path | None]],
    executor: Executor | None,
    finished: Callable[[Fold, pd.DataFrame], None],
) -> None:
    if executor is None:
        for fold, model_folder in todo:
            finished(fold, run_fold(run, samples, fold, model_folder))
        return
    futures: dict[Future[pd.DataFrame], Fold] = {
        executor.submit(run_fold, run, samples, fold, model_folder): fold for fold, model_folder in todo
    }
    try:
        for future in as_completed(futures):
            finished(futures[future], future.result())
    finally:
        for future in futures:
            future.cancel()


def _uf1(model: TSFmicro, samples: Samples, rows: np.ndarray) -> float:
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


def _write_cards(run: Run, samples: Samples, folds: Sequence[Fold], table: pd.DataFrame, place: Path) -> None:
    """Tells each fold's card what all folds together scored, which nobody knew when its model was saved."""
    scores = card_scores(table, samples.classes)
    model = run.create(len(samples.classes))
    for fold in folds:
        card = model_card(model, **_facts(run, samples, fold), scores=scores)
        write_whole(place / fold.name / "README.md", card.save)


def _facts(run: Run, samples: Samples, fold: Fold) -> dict[str, Any]:
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
    return hashlib.sha256(samples.onset.numpy().tobytes() + samples.apex.numpy().tobytes()).hexdigest()


def _open_run(folder: Path, run: Run, samples: Samples, folds: Sequence[Fold]) -> Path:
    """Creates the folder of a run, or checks that it holds this very run on these very samples."""
    split = repr([(f.name, f.train.tolist(), f.test.tolist(), f.inner.tolist()) for f in folds])
    about = {
        "run": asdict(run),
        "classes": list(samples.classes),
        "samples": samples_digest(samples),
        "data": samples.source,
    }
    about = json.loads(json.dumps(about | {"folds": hashlib.sha256(split.encode()).hexdigest()}))
    path = folder / "run.json"
    if path.exists():
        if json.loads(path.read_text()) != about:
            raise ValueError(
                f"{folder} holds the folds of another run or other samples: give another folder, or delete this one"
            )
    else:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda target: target.write_text(json.dumps(about, indent=2)))
    return folder


def _write_fold(rows: pd.DataFrame, path: Path) -> None:
    try:
        write_whole(path, rows.to_parquet)
    except OSError as error:
        raise OSError(
            error.errno,
            f"fold {path.stem} could not be saved to {path} ({error.strerror or error}): free some space and start "
            "again, the folds that are finished are kept",
        ) from error


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Writes beside the target and renames, so that a file is there whole or not at all."""
    temporary = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
