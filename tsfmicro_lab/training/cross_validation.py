"""Cross-validation on any executor: folds are independent, so they run side by side, and what is done is kept."""

import hashlib
import json
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from tsfmicro_lab.data.samples import Samples
from tsfmicro_lab.files import write_whole
from tsfmicro_lab.models.card import model_card
from tsfmicro_lab.processes import process_pool
from tsfmicro_lab.progress import progress_bar
from tsfmicro_lab.provenance import environment
from tsfmicro_lab.training.protocols import KEY, Run, facts, run_fold, samples_digest
from tsfmicro_lab.training.splits import Fold, checked, leave_one_subject_out
from tsfmicro_lab.training.statistics import card_scores


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
        >>> from tsfmicro_lab.training import Recipe
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
        >>> from tsfmicro_lab.training import Recipe
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
    # With a Dask executor the samples travel once to each worker, not with every fold. They are the result of a task,
    # which the scheduler repeats when the worker that holds it dies; what is scattered would be lost.
    client = getattr(executor, "_client", None)
    shared = client.submit(_same, samples, pure=False) if client and jobs else samples
    futures: dict[Future[pd.DataFrame], int] = {executor.submit(_Job.train, job, shared): i for i, job in jobs.items()}
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        for future in futures:
            future.cancel()


def _write_cards(run: Run, samples: Samples, folds: Sequence[Fold], table: pd.DataFrame, place: Path) -> None:
    """Tells each fold's card what all folds together scored, which nobody knew when its model was saved."""
    scores = card_scores(table, samples.classes)
    model = run.create(len(samples.classes))
    for fold in folds:
        card = model_card(model, **facts(run, samples, fold), scores=scores)
        write_whole(place / fold.name / "README.md", partial(Path.write_text, data=card, encoding="utf-8"))


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


def _same(samples: Samples) -> Samples:
    return samples
