"""Leave-one-subject-out evaluation that selects nothing on the subject it tests, and survives being killed."""

import copy
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Int64
from lightning_fabric import Fabric
from sklearn.metrics import f1_score
from sklearn.model_selection import GroupShuffleSplit, LeaveOneGroupOut

from tsfmicro_lab.data.samples import Samples
from tsfmicro_lab.models import TSFmicro, create_model
from tsfmicro_lab.processes import process_pool
from tsfmicro_lab.progress import progress_bar
from tsfmicro_lab.training.loop import RECIPES, Recipe, fit, predict

Selection = Literal["last", "inner"]
#: What tells one clip from another in every table.
KEY = ["subject", "clip", "onset"]


@dataclass(frozen=True)
class Fold:
    """One subject held out.

    Attributes:
        subject: Who is tested.
        train: Indices of all other subjects' samples.
        test: Indices of the subject's samples.
    """

    subject: str
    train: Int64[np.ndarray, " n_train"]
    test: Int64[np.ndarray, " n_test"]


@dataclass(frozen=True)
class Run:
    """What makes the folds of one evaluation what they are; stored beside them.

    Attributes:
        model: Name of the model.
        preset: Its size.
        recipe: How it is trained.
        selection: `last` keeps the last epoch; `inner` the epoch that is best on training subjects held out inside
            the fold. Neither sees the test subject.
        seed: Of weights, order and augmentation.
        accelerator: For Lightning Fabric: `auto`, `cpu`, `cuda`, …
        precision: For Lightning Fabric: `32-true`, `bf16-mixed`, …
        settings: Fields of the model's configuration that differ from the preset, such as `{"inject": "after"}`.
    """

    model: str = "tsfmicro_late"
    preset: str = "tiny"
    recipe: Recipe = RECIPES["tiny"]
    selection: Selection = "last"
    seed: int = 0
    accelerator: str = "cpu"
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Name of the model with its settings, as tables show it."""
        return " ".join([self.model, *(f"{name}={value}" for name, value in self.settings.items())])

    def create(self, num_classes: int, seed: int | None = None) -> TSFmicro:
        """The untrained model."""
        return create_model(self.model, num_classes, self.preset, seed=seed, **self.settings)


@dataclass
class _Best:
    """The epoch that a fold keeps."""

    uf1: float = -1.0
    epoch: int = 0
    state: dict[str, Any] | None = None


def leave_one_subject_out(samples: Samples) -> list[Fold]:
    """One fold per subject, checked before anything is trained.

    Args:
        samples: At least two subjects.

    Returns:
        The folds, by subject.

    Raises:
        ValueError: There is only one subject, or a class occurs with one subject alone, so that the fold that holds
            it out would be tested on a class that it never saw.

    Example:
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions, prepare
        >>> samples = prepare(SyntheticMicroExpressions(3, 10, image_size=96), 56, progress=False)
        >>> [(fold.subject, len(fold.train), len(fold.test)) for fold in leave_one_subject_out(samples)]
        [('sub01', 20, 10), ('sub02', 20, 10), ('sub03', 20, 10)]
    """
    subjects = samples.subjects
    if len(set(subjects)) < 2:
        raise ValueError(f"leave-one-subject-out needs at least 2 subjects, got {sorted(set(subjects))}")
    labels = samples.label.numpy()
    folds = []
    for train, test in LeaveOneGroupOut().split(labels, groups=subjects):
        subject = str(subjects[test[0]])
        unseen = sorted(samples.classes[i] for i in set(labels[test]) - set(labels[train]))
        if unseen:
            raise ValueError(
                f"fold {subject}: its class {', '.join(unseen)} occurs with no other subject, so no model can "
                "learn it; leave the class out, join it with another, or add subjects"
            )
        folds.append(Fold(subject, train, test))
    return folds


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
    seed = _fold_seed(run.seed, fold.subject)
    model = run.create(len(samples.classes), seed)
    fabric = Fabric(accelerator=run.accelerator, devices=1, precision=run.precision)
    train, inner = _inner_split(samples, fold.train, seed) if run.selection == "inner" else (fold.train, None)
    best = _Best()

    def look(epoch: int, _: float) -> None:
        if inner is None:
            best.epoch = epoch
            return
        predicted = predict(model, samples, inner).argmax(1)
        uf1 = float(f1_score(samples.label[inner].numpy(), predicted, average="macro"))
        if uf1 >= best.uf1:
            best.uf1, best.epoch, best.state = uf1, epoch, copy.deepcopy(model.state_dict())

    fit(model, samples, train, run.recipe, seed=seed, fabric=fabric, after_epoch=look)
    if best.state is not None:
        model.load_state_dict(best.state)
    if model_folder:
        model.config = replace(model.config, classes=samples.classes)
        model.cpu().save_pretrained(model_folder)
    return _rows(run, samples, fold, predict(model, samples, fold.test), best.epoch)


def cross_validate(
    samples: Samples,
    run: Run | None = None,
    *,
    folder: Path | str | None = None,
    executor: Executor | None = None,
    keep_models: bool = False,
    progress: bool = True,
) -> pd.DataFrame:
    """Leave-one-subject-out over all subjects, resumable.

    Each finished fold is written at once, whole or not at all. Started again with the same folder, the same samples
    and the same run, only the missing folds are trained, and the table comes out the same.

    Args:
        samples: Prepared clips.
        run: What to evaluate; the tiny late fusion by default.
        folder: Where folds are kept; nothing is kept if None.
        executor: Runs the folds, any `concurrent.futures.Executor`: :func:`fold_processes`, or a Dask cluster's. In
            this process, one after another, by default.
        keep_models: Whether each fold's model is saved beside its predictions.
        progress: Whether to show a progress bar.

    Returns:
        The predictions of all folds, one row per clip, in the order of the samples.

    Raises:
        ValueError: A class occurs with one subject alone, or the folder holds another run.
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
    folds = leave_one_subject_out(samples)
    place = _open_run(Path(folder), run, samples) if folder else None
    results: dict[str, pd.DataFrame] = {}
    with progress_bar(len(folds), f"{run.label}, seed {run.seed}: folds", progress) as bar:

        def finished(fold: Fold, rows: pd.DataFrame, save: bool = True) -> None:
            if place and save:
                _write_fold(rows, place / f"{fold.subject}.parquet")
            results[fold.subject] = rows
            bar.update()

        todo = []
        for fold in folds:
            path = place / f"{fold.subject}.parquet" if place else None
            if path and path.exists():
                finished(fold, pd.read_parquet(path), save=False)
            else:
                todo.append((fold, place / "models" / fold.subject if place and keep_models else None))
        _run_all(run, samples, todo, executor, finished)
    table = pd.concat(results.values(), ignore_index=True)
    return samples.table[KEY].merge(table, on=KEY, how="left", validate="one_to_one")


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


def _rows(run: Run, samples: Samples, fold: Fold, probabilities: np.ndarray, epoch: int) -> pd.DataFrame:
    rows = samples.table.loc[fold.test, KEY].reset_index(drop=True)
    names = np.array(samples.classes, dtype=object)
    rows["truth"] = names[samples.label.numpy()[fold.test]]
    rows["predicted"] = names[probabilities.argmax(1)]
    for i, name in enumerate(samples.classes):
        rows[f"p_{name}"] = probabilities[:, i]
    return rows.assign(model=run.label, seed=run.seed, selection=run.selection, epoch=epoch)


def _inner_split(samples: Samples, train: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    groups = samples.subjects[train]
    if len(set(groups)) < 2:
        raise ValueError("inner selection needs at least 3 subjects: one to test, one to select, one to train")
    keep, held = next(GroupShuffleSplit(1, test_size=0.2, random_state=seed % 2**32).split(train, groups=groups))
    return train[keep], train[held]


def _fold_seed(seed: int, subject: str) -> int:
    """A seed of its own for each fold, the same in whatever order folds are run."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{subject}".encode()).digest()[:4], "big")


def _open_run(folder: Path, run: Run, samples: Samples) -> Path:
    """Creates the folder of a run, or checks that it holds this very run on these very samples."""
    digest = hashlib.sha256(samples.onset.numpy().tobytes() + samples.apex.numpy().tobytes()).hexdigest()
    about = {"run": asdict(run), "classes": list(samples.classes), "samples": digest}
    path = folder / "run.json"
    if path.exists():
        if json.loads(path.read_text()) != about:
            raise ValueError(
                f"{folder} holds the folds of another run or other samples: give another folder, or delete this one"
            )
    else:
        folder.mkdir(parents=True, exist_ok=True)
        _write_whole(path, lambda target: target.write_text(json.dumps(about, indent=2)))
    return folder


def _write_fold(rows: pd.DataFrame, path: Path) -> None:
    try:
        _write_whole(path, rows.to_parquet)
    except OSError as error:
        raise OSError(
            error.errno,
            f"fold {path.stem} could not be saved to {path} ({error.strerror or error}): free some space and start "
            "again, the folds that are finished are kept",
        ) from error


def _write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Writes beside the target and renames, so that a file is there whole or not at all."""
    temporary = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
