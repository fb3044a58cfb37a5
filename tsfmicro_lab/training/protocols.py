"""Evaluation over folds of subjects: nothing is selected on those it tests, and it survives being killed."""

import copy
import hashlib
import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
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
from tsfmicro_lab.models import Recognizer, create_model
from tsfmicro_lab.models.card import model_card
from tsfmicro_lab.processes import process_pool
from tsfmicro_lab.progress import progress_bar
from tsfmicro_lab.provenance import device_name, environment
from tsfmicro_lab.training.checkpoint import Checkpoint, write_whole
from tsfmicro_lab.training.device import Compiled
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
    compiled: Compiled = ""

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
        model.cpu().save_pretrained(model_folder, model_card_kwargs=_facts(run, samples, fold))
    rows.attrs = {
        "fold": fold.name,
        "device": device_name(fabric.device),
        "threads": torch.get_num_threads(),
        "epochs": len(best.seconds),
        "seconds_per_epoch": round(float(np.median(best.seconds)), 4),
    }
    return rows


def cross_validate(
    samples: Samples,
    run: Run | None = None,
    folds: Sequence[Fold] | None = None,
    *,
    folder: Path | str | None = None,
    executor: Executor | None = None,
    keep_models: bool = False,
    checkpoints: bool = False,
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
        checkpoints: Whether the state of each fold is kept after every epoch, to go on from within a fold. On several
            machines the folder must be one that all of them see.
        progress: Whether to show a progress bar.

    Returns:
        The predictions of all folds, one row per clip that is tested, in the order of the samples.

    Raises:
        ValueError: A subject stands on both sides of a fold, or the folder holds another run.
        OSError: A fold cannot be written; earlier folds stay whole.
        MemoryError: A batch does not fit the device; the message says how many clips would.

    Example:
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions, prepare
        >>> samples = prepare(SyntheticMicroExpressions(2, 10, image_size=64), 56, progress=False)
        >>> run = Run("tsfmicro_spatial", recipe=Recipe(epochs=1))
        >>> table = cross_validate(samples, run, progress=False)
        >>> len(table), sorted(set(table.subject))
        (20, ['sub01', 'sub02'])
    """
    run = run or Run()
    places = [Path(folder) if folder else None]
    options = {"keep_models": keep_models, "checkpoints": checkpoints, "progress": progress}
    return _cross_validate(samples, [run], places, folds, executor, **options)[0]


def cross_validate_runs(
    samples: Samples,
    runs: Sequence[Run],
    folds: Sequence[Fold] | None = None,
    *,
    folder: Path | str | None = None,
    executor: Executor | None = None,
    keep_models: bool = False,
    checkpoints: bool = False,
    progress: bool = True,
) -> pd.DataFrame:
    """Folds × seeds × variants in one go: every fold of every run is handed out at once, so that no worker waits.

    Args:
        samples: Prepared clips.
        runs: What to evaluate.
        folds: As for :func:`cross_validate`.
        folder: Where runs are kept, a folder each, named by model and seed.
        executor: As for :func:`cross_validate`.
        keep_models: As for :func:`cross_validate`.
        checkpoints: As for :func:`cross_validate`.
        progress: Whether to show a progress bar.

    Returns:
        The tables of all runs below each other, as :func:`~tsfmicro_lab.training.score_table` takes them.

    Raises:
        ValueError: Two runs have the same name and seed, or as for :func:`cross_validate`.

    Example:
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions, prepare
        >>> samples = prepare(SyntheticMicroExpressions(2, 10, image_size=64), 56, progress=False)
        >>> runs = [Run("tsfmicro_spatial", recipe=Recipe(epochs=1), seed=seed) for seed in (0, 1)]
        >>> len(cross_validate_runs(samples, runs, progress=False))
        40
    """
    names = [f"{run.label.replace(' ', '-')}-{run.seed}" for run in runs]
    if len(set(names)) < len(names):
        raise ValueError(f"two runs have one name and seed: {sorted(names)}")
    places = [Path(folder) / name if folder else None for name in names]
    options = {"keep_models": keep_models, "checkpoints": checkpoints, "progress": progress}
    return pd.concat(_cross_validate(samples, runs, places, folds, executor, **options), ignore_index=True)


def fold_processes(workers: int | None = None, *, gpus: int = 0) -> ProcessPoolExecutor:
    """Processes that each train one fold on one core, which is faster for small models than one fold on all cores.

    Args:
        workers: Number of processes; one per usable core by default, or one per GPU.
        gpus: GPUs of this machine to deal the processes to, in turn; two or more processes may share one.
    """
    if not gpus:
        return process_pool(workers)
    workers = workers or gpus
    numbers = multiprocessing.get_context("spawn").Queue()
    for worker in range(workers):
        numbers.put(worker % gpus)
    return process_pool(workers, _take_gpu, (numbers,))


def _take_gpu(numbers: Any) -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = str(numbers.get())


@dataclass(frozen=True)
class _Job:
    """One fold of one run, and where it is kept."""

    run: Run
    fold: Fold
    place: Path | None
    keep_model: bool
    checkpoint: bool

    @property
    def table(self) -> Path | None:
        return self.place / f"{self.fold.name}.parquet" if self.place else None

    @property
    def checkpoint_file(self) -> Path | None:
        return self.place / "checkpoints" / f"{self.fold.name}.pt" if self.place and self.checkpoint else None

    def train(self, samples: Samples) -> pd.DataFrame:
        model_folder = self.place / "models" / self.fold.name if self.place and self.keep_model else None
        return run_fold(self.run, samples, self.fold, model_folder, self.checkpoint_file)

    def keep(self, rows: pd.DataFrame) -> None:
        """Writes what the fold predicted; its checkpoint is then needed no more."""
        if not self.place or not self.table:
            return
        _write_fold(rows, self.table)
        with (self.place / "folds.jsonl").open("a") as log:
            log.write(json.dumps(rows.attrs) + "\n")
        if self.checkpoint_file:
            for file in self.checkpoint_file.parent.glob(f"{self.fold.name}-*.pt"):
                file.unlink()


def _cross_validate(
    samples: Samples,
    runs: Sequence[Run],
    places: Sequence[Path | None],
    folds: Sequence[Fold] | None,
    executor: Executor | None,
    *,
    keep_models: bool,
    checkpoints: bool,
    progress: bool,
) -> list[pd.DataFrame]:
    folds = leave_one_subject_out(samples.annotations) if folds is None else checked(folds, samples.annotations)
    for run, place in zip(runs, places, strict=True):
        if place:
            _open_run(place, run, samples, folds)
    jobs = [
        _Job(run, fold, place, keep_models, checkpoints)
        for run, place in zip(runs, places, strict=True)
        for fold in folds
    ]
    results: dict[int, pd.DataFrame] = {
        i: pd.read_parquet(job.table) for i, job in enumerate(jobs) if job.table and job.table.exists()
    }
    what = f"{runs[0].label}, seed {runs[0].seed}" if len(runs) == 1 else f"{len(runs)} runs"
    with progress_bar(len(jobs), f"{what}: folds", progress) as bar:
        bar.update(len(results))
        todo = {i: job for i, job in enumerate(jobs) if i not in results}
        for i, rows in _train_all(samples, todo, executor):
            jobs[i].keep(rows)
            results[i] = rows
            bar.update()
    tables = []
    for number, (run, place) in enumerate(zip(runs, places, strict=True)):
        own = [results[number * len(folds) + i] for i in range(len(folds))]
        table = samples.table[KEY].merge(pd.concat(own, ignore_index=True), on=KEY, validate="one_to_many")
        if place and keep_models:
            _write_cards(run, samples, folds, table, place / "models")
        tables.append(table)
    return tables


def _train_all(
    samples: Samples, jobs: Mapping[int, _Job], executor: Executor | None
) -> Iterator[tuple[int, pd.DataFrame]]:
    """Rows of each job as it ends."""
    if executor is None:
        yield from ((i, job.train(samples)) for i, job in jobs.items())
        return
    client = getattr(executor, "_client", None)  # a Dask executor's: the samples travel once, not with every fold
    shared = client.scatter(samples, broadcast=True) if client and jobs else samples
    futures: dict[Future[pd.DataFrame], int] = {executor.submit(_Job.train, job, shared): i for i, job in jobs.items()}
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        for future in futures:
            future.cancel()


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
    return hashlib.sha256(b"".join(x.numpy().tobytes() for x in samples.tensors.values())).hexdigest()


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
        made = json.dumps(environment(), indent=2)
        write_whole(folder / "environment.json", lambda target: target.write_text(made))
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
