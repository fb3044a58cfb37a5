"""Evaluation on any executor: folds are independent, so they run side by side, and what is done is kept."""

import copy
import hashlib
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Executor, ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from tsfmicro_lab.data.samples import Samples, open_store, prepare
from tsfmicro_lab.data.schema import KEY, Dataset
from tsfmicro_lab.data.tensors import KEY_FRAMES, in_order
from tsfmicro_lab.files import alone, check_own, file_digest, safe_name, space_advice, write_text
from tsfmicro_lab.models.base import WEIGHTS, check_word
from tsfmicro_lab.models.card import model_card
from tsfmicro_lab.processes import process_pool, whole_pool
from tsfmicro_lab.provenance import environment
from tsfmicro_lab.training.metrics import score_table
from tsfmicro_lab.training.predictions import read_predictions, write_predictions
from tsfmicro_lab.training.protocols import Run, card_facts, run_fold, samples_digest
from tsfmicro_lab.training.splits import PROTOCOLS, Fold, checked, leave_one_subject_out
from tsfmicro_lab.training.statistics import card_scores


def cross_validate(
    samples: Samples,
    runs: Run | Sequence[Run] | None = None,
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
        runs: What to evaluate; the tiny late fusion by default. Of several (seeds, variants) every fold is handed out
            at once, so that no worker waits.
        folds: Of any protocol in `training.splits`, over `samples.annotations`.
        folder: Where folds are kept; nothing is kept if None. Several runs have a folder each in it, named by
            :func:`run_name`.
        executor: Runs the folds, any `concurrent.futures.Executor`: :func:`fold_processes`, or a Dask cluster's. In
            this process, one after another, by default.
        keep_models: Whether each fold's model is saved beside its predictions.
        checkpoints: Whether the state of each fold is kept after every epoch, to go on from within a fold. On several
            machines the folder must be one that all of them see.
        progress: Whether to show a progress bar.

    Returns:
        The predictions of all folds, one row per clip that is tested, in the order of the samples; those of several
        runs below each other, as :func:`~tsfmicro_lab.training.score_table` takes them.

    Raises:
        ValueError: There is no run or no fold, a subject stands on both sides of a fold, the folder holds another run
            or somebody's files where a run's go, or two runs have one name and seed.
        OSError: A fold cannot be written, and earlier folds stay whole; or another run is writing to the folder.
        MemoryError: A batch does not fit the device; the message says how many clips may.

    Example:
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions, prepare
        >>> from tsfmicro_lab.training import Recipe, score_table
        >>> samples = prepare(SyntheticMicroExpressions(2, 10, image_size=64), 56, progress=False)
        >>> runs = [Run("tsfmicro_spatial", recipe=Recipe(epochs=1), seed=seed) for seed in (0, 1)]
        >>> table = cross_validate(samples, runs, progress=False)
        >>> score_table(table, samples.classes).model.tolist()
        ['tsfmicro_spatial', 'tsfmicro_spatial', 'majority', 'random']
    """
    several = list(runs) if isinstance(runs, Sequence) else [runs or Run()]
    if not several or (folds is not None and not len(folds)):
        raise ValueError("there is nothing to evaluate: give at least one run and one fold")
    names = [run_name(run) for run in several]
    if len(set(names)) < len(names):
        raise ValueError(f"two runs have one name and seed: {', '.join(sorted(names))}")
    folds = leave_one_subject_out(samples.annotations) if folds is None else checked(folds, samples.annotations)
    with TemporaryDirectory() as passing, alone(place := Path(folder or passing)):
        by_run, todo = [], []
        for run, name in zip(several, names, strict=True):
            own = place / name if isinstance(runs, Sequence) else place
            _open_run(own, run, samples, folds)
            by_run.append([_Job(run, own, fold, keep_models, checkpoints) for fold in folds])
            done, parts = finished(own), 1 + keep_models
            todo += [job for job in by_run[-1] if {*fold_state(own, job.fold.name, done)[:parts]} != {"whole"}]
        what = f"{several[0].label}, seed {several[0].seed}" if len(several) == 1 else f"{len(several)} runs"
        with tqdm(desc=f"{what}: folds", total=len(several) * len(folds), disable=not progress) as bar:
            bar.update(bar.total - len(todo))
            for job, rows in _train_all(samples, todo, executor):
                job.keep(rows)
                bar.update()
        return pd.concat([_collect(jobs, samples) for jobs in by_run], ignore_index=True)


def evaluate(
    runs: Sequence[Run],
    data: Callable[[int], Dataset] | Samples,
    folder: Path | str,
    *,
    seeds: int = 3,
    target: str = "emotion",
    protocol: str = "loso",
    align: bool = True,
    workers: int | None = None,
    keep_frames: bool = False,
    before: Callable[[Run, Samples, Sequence[Fold], Executor], None] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Evaluates runs with several seeds, each of which draws its own data and parameters; resumable.

    Args:
        runs: What to evaluate.
        data: Gives the data set of a seed; or samples, the same for every seed, such as an opened store.
        folder: Where `predictions.csv`, `scores.csv` and a folder for each run go.
        seeds: Number of seeds, from 0.
        target: Column that is recognised.
        protocol: A name of `training.splits.PROTOCOLS`.
        align: Whether clips are aligned; see :func:`~tsfmicro_lab.data.prepare`.
        workers: Training processes; one per core by default, and one where there is a GPU.
        keep_frames: Whether each run keeps its clips (`results.load_frames`). Not for licensed recordings.
        before: Called once for each new run before its first seed is trained, with the processes that will do it.

    Returns:
        (Predictions of all runs; scores of every model in each seed, as `training.summary` takes them.)

    Raises:
        ValueError: A model, preset, protocol or target is unknown, or the folder holds other runs or other tables.
        OSError: Another evaluation is writing to the folder.

    Example:
        >>> import tempfile
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions
        >>> from tsfmicro_lab.training import Recipe
        >>> run = Run("tsfmicro_spatial", recipe=Recipe(epochs=1))
        >>> data = lambda seed: SyntheticMicroExpressions(2, 10, image_size=64, seed=seed)
        >>> predictions, scores = evaluate([run], data, tempfile.mkdtemp(), seeds=1, workers=1)
        >>> scores.model.tolist()
        ['tsfmicro_spatial', 'majority', 'random']
    """
    check_word("protocol", protocol, PROTOCOLS)
    networks = [run.create(2) for run in runs]  # an unknown name is told before anything is drawn
    tables, scores, folder = [], [], Path(folder)
    check_own(folder, "an evaluation", any(folder.glob("*/run.json")), "predictions.csv", "scores.csv")
    with alone(folder), fold_processes(1 if any(run.accelerator == "cuda" for run in runs) else workers) as pool:
        for seed in range(seeds):
            dataset = data if isinstance(data, Samples) else data(seed)
            for run, network in zip(runs, networks, strict=True):
                names = in_order([*network.prepared, *KEY_FRAMES])
                run = replace(run, seed=seed)
                place = folder / run_name(run)
                kept = place / "frames" if keep_frames else None
                how: Any = {"target": target, "tensors": names, "folder": kept, "align": align}
                samples = (
                    dataset if isinstance(dataset, Samples) else prepare(dataset, network.config.image_size, **how)
                )
                folds = PROTOCOLS[protocol](samples.annotations)
                if before and not seed and not (place / "run.json").exists():
                    before(run, samples, folds, pool)
                tables.append(cross_validate(samples, run, folds, folder=place, executor=pool, keep_models=True))
            scores.append(score_table(pd.concat(tables[-len(runs) :]), samples.classes))
    found = pd.concat(tables, ignore_index=True), pd.concat(scores, ignore_index=True)
    for table, name in zip(found, ("predictions", "scores"), strict=True):
        write_predictions(table, folder / f"{name}.csv")
    return found


def run_name(run: Run) -> str:
    """Name of a run's folder.

    Example:
        >>> run_name(Run("tsfmicro_late", settings={"depth": 2}, seed=1))
        'tsfmicro_late-depth-2-1'
    """
    settings = [f"{name}-{value}" for name, value in run.settings.items()]
    return safe_name("-".join([run.model, *settings, *["leaky"] * run.leaky, str(run.seed)]))


def fold_processes(workers: int | None = None, *, gpus: int = 0) -> ProcessPoolExecutor:
    """Processes that each train one fold on one core, which is faster for small models than one fold on all cores.

    Args:
        workers: Number of processes; one per usable core by default, or one per GPU.
        gpus: GPUs of this machine to deal the processes to, in turn; two or more processes may share one.
    """
    if not gpus:
        return process_pool(workers)
    numbers = multiprocessing.get_context("spawn").Queue()
    for worker in range(workers or gpus):
        numbers.put(worker % gpus)
    return process_pool(workers or gpus, _take_gpu, (numbers,))


def _take_gpu(numbers: Any) -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = str(numbers.get())


def fold_files(folder: Path, fold: str) -> tuple[Path, Path, Path]:
    """Where a run keeps a fold's predictions, its model's parameters and configuration; named by whom it never saw."""
    model = folder / "models" / safe_name(fold)
    return folder / "folds" / f"{model.name}.csv", model / WEIGHTS, model / "config.json"


def finished(folder: Path) -> dict[str, list[str]]:
    """SHA-256 of the files of each finished fold, by its last line in `folds.jsonl`; none if `run.json` was another."""
    found, about, log = {}, file_digest(folder / "run.json"), folder / "folds.jsonl"
    for line in log.read_text("utf-8", errors="replace").splitlines() if log.is_file() else ():
        with suppress(ValueError, LookupError, TypeError, RecursionError):  # altered: its fold is not whole
            note = json.loads(line[line.rindex('{"fold"') :])  # after the beginning of one that was cut off
            found[note["fold"]] = [*note["sha256"]] if note.get("run", about) == about else []
    return found


def fold_state(folder: Path, fold: str, done: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """Whether a fold's table and its model are `whole`, `missing` or `altered`, or the model was `not kept`."""
    files = zip(fold_files(folder, fold), done.get(fold) or [""], strict=False)
    states = ["missing" if not p.exists() else "whole" if file_digest(p) == known else "altered" for p, known in files]
    return states[0], min(states[1:], default="not kept")  # the worst comes first in the alphabet


class _Job(NamedTuple):
    """One fold of one run, and where it is kept."""

    run: Run
    place: Path
    fold: Fold
    keep_model: bool
    keep_checkpoints: bool

    @property
    def files(self) -> tuple[Path, ...]:
        return fold_files(self.place, self.fold.name)[: 3 if self.keep_model else 1]

    @property
    def checkpoints(self) -> Path:
        return self.place / "checkpoints" / safe_name(self.fold.name)

    def train(self, given: Samples | Path) -> pd.DataFrame:
        samples = _open_once(given) if isinstance(given, Path) else given
        kept = self.files[1].parent if self.keep_model else None, self.checkpoints if self.keep_checkpoints else None
        return run_fold(self.run, samples, self.fold, *kept)

    def keep(self, rows: pd.DataFrame) -> None:
        """Writes what the fold predicted; its checkpoints are then needed no more."""
        what = f"fold {self.fold.name} could not be saved to {self.files[0]}"
        with space_advice(what, "the folds that are finished are kept"):
            write_predictions(rows, self.files[0])
            hashes = {"sha256": [*map(file_digest, self.files)], "run": file_digest(self.place / "run.json")}
            with (self.place / "folds.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(rows.attrs | hashes) + "\n")
        if all(path.name.strip(".-0123456789") == "pt" for path in self.checkpoints.glob("*")):  # and no foreign file
            shutil.rmtree(self.checkpoints, ignore_errors=True)


def _train_all(samples: Samples, jobs: list[_Job], executor: Executor | None) -> Iterator[tuple[_Job, pd.DataFrame]]:
    """Rows of each job as it ends."""
    if executor is None:
        yield from ((job, job.train(samples)) for job in jobs)
        return
    client = getattr(executor, "_client", None)
    if client and max(client.nthreads().values(), default=1) > 1:
        raise ValueError("a Dask worker has several threads, and a process trains one fold: start it with --nthreads 1")
    shared: Any = samples
    place = samples.folder and samples.folder.resolve()
    if place and jobs and _lies_in(place, samples) and (not client or all(client.run(place.exists).values())):
        shared = place
    elif client and jobs:
        # The samples travel once to each worker, not with every fold. They are the result of a task, which the
        # scheduler repeats when the worker that holds it dies; what is scattered would be lost.
        shared = client.submit(copy.copy, samples, pure=False)
    futures = {executor.submit(_Job.train, job, shared): job for job in jobs}
    try:
        with whole_pool():
            for future in as_completed(futures):
                yield futures[future], future.result()
    except CancelledError as error:
        raise RuntimeError("the scheduler was lost; finished folds are kept, the same call goes on there") from error
    finally:
        for future in futures:
            future.cancel()


_open_once = lru_cache(maxsize=1)(open_store)


def _lies_in(place: Path, samples: Samples) -> bool:
    """Whether workers that open a store have the same samples, which may have been changed since they were read."""
    with suppress(OSError, ValueError):
        kept = open_store(place)
        pairs = zip([*kept.tensors.values(), kept.label], [*samples.tensors.values(), samples.label], strict=True)
        return kept.table.equals(samples.table) and all(torch.equal(*pair) for pair in pairs)
    return False


def _collect(jobs: Sequence[_Job], samples: Samples) -> pd.DataFrame:
    """Table of a run; tells the cards of its models what all folds together scored, which nobody knew before."""
    rows = pd.concat([read_predictions(job.files[0]) for job in jobs], ignore_index=True)
    table = samples.table[KEY].merge(rows, on=KEY, validate="one_to_many")
    if jobs[0].keep_model:
        model, scores = jobs[0].run.create(len(samples.classes)), card_scores(table, samples.classes).to_dict("records")
        for job in jobs:
            card = model_card(model, **card_facts(job.run, samples, job.fold), scores=scores)
            write_text(job.files[1].with_name("README.md"), card)
    return table


def _open_run(folder: Path, run: Run, samples: Samples, folds: Sequence[Fold]) -> None:
    """Creates the folder of a run, or checks that it holds this very run on these very samples."""
    split = hashlib.sha256()
    for fold in folds:
        split.update(repr((fold.name, *(rows.size for rows in (fold.train, fold.test, fold.validation)))).encode())
        split.update(np.concatenate([fold.train, fold.test, fold.validation]).astype(np.int64).tobytes())
    about: dict[str, Any] = {"run": asdict(run), "classes": list(samples.classes), "units": samples.label.ndim > 1}
    about |= {"samples": samples_digest(samples), "data": samples.source}
    about |= {"folds": {fold.name: len(fold.test) for fold in folds}, "split": split.hexdigest()}
    path = folder / "run.json"
    if not path.exists():
        check_own(folder, "a run", False, "environment.json", "folds.jsonl", "folds", "models", "checkpoints")
        write_text(path, json.dumps(about, indent=2))
    elif path.is_dir() or path.read_text("utf-8", errors="replace") != json.dumps(about, indent=2):
        raise ValueError(f"{folder} holds the folds of another run or other samples: give another folder, or delete it")
    (folder / "folds").mkdir(exist_ok=True)
    if not (told := folder / "environment.json").exists():  # one that was stopped before it could tell
        write_text(told, json.dumps(environment(), indent=2))
