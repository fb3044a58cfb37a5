"""Store: the aligned key frames of a whole data set in one memory-mapped file, made once and checked when opened.

A store is a folder: `frames.npy` (onset and apex of every sample), `annotations.parquet` and `manifest.json`, which
says what they were made from and their hashes. While it is made, `done.jsonl` notes every finished clip.
"""

import hashlib
import importlib.metadata
import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from tsfmicro_lab.clips import Clip, LazyFrames
from tsfmicro_lab.data.samples import Samples, key_frames, samples_of, target_rows
from tsfmicro_lab.data.schema import Dataset
from tsfmicro_lab.preprocess.landmarks import find_model
from tsfmicro_lab.processes import process_pool, usable_cores
from tsfmicro_lab.progress import progress_bar

FRAMES, ANNOTATIONS_FILE, MANIFEST, DONE = "frames.npy", "annotations.parquet", "manifest.json", "done.jsonl"

#: Largest manifest that is read: a thousand bytes for each of 64 thousand clips.
MAX_MANIFEST_BYTES = 64 * 2**20


def prepare_store(
    dataset: Dataset,
    size: int,
    folder: Path | str,
    *,
    target: str = "emotion",
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Aligns every clip once, in parallel, and keeps onset and apex on disk.

    Call it again after it was interrupted: finished clips whose source is unchanged are not aligned again. Only the
    clips in work are in memory. Where a clip brings no landmarks, each process creates MediaPipe's landmarker.

    Args:
        dataset: The clips; it must be picklable. Those whose target is missing are left out.
        size: Side of the aligned frames, pixels.
        folder: Where stores lie. Each data set and set of parameters gets a folder of its own in it.
        target: Column of the annotations that is to be recognised.
        workers: Number of processes; one per usable core by default, and 1 works without any.
        progress: Whether to show a progress bar.

    Returns:
        The folder of the store, for :func:`open_store`.

    Raises:
        ValueError: No clip has the target.
        ClipError: A clip cannot be read, or no face is found in it; the message names it.
        OSError: Another run is making the same store.

    Example:
        >>> import tempfile
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions
        >>> data = SyntheticMicroExpressions(1, 3, image_size=96)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tuple(open_store(prepare_store(data, 56, folder, workers=1, progress=False)).onset.shape)
        (3, 3, 56, 56)
    """
    rows = target_rows(dataset, target)
    table = dataset.annotations.iloc[rows].reset_index(drop=True)
    facts = {
        "dataset": dataset.name,
        "size": size,
        "target": target,
        "clips": len(rows),
        "annotations": hashlib.sha256(table.to_csv().encode()).hexdigest(),
        "version": importlib.metadata.version("tsfmicro-lab"),
    }
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    name = re.sub(r"[^\w.-]+", "_", f"{dataset.name}-{size}-{target}").lstrip(".")
    place = Path(folder) / f"{name}-{key[:12]}"
    place.mkdir(parents=True, exist_ok=True)
    with _alone(place):
        table.to_parquet(place / ANNOTATIONS_FILE)
        sources = _fill(dataset, place, rows, size, workers, progress)
        hashes = {name: _file_digest(place / name) for name in (FRAMES, ANNOTATIONS_FILE)}
        manifest = {**facts, "files": hashes, "sources": sources}
        text = json.dumps({**manifest, "manifest": _manifest_digest(manifest)}, indent=1)
        unfinished = place / f"{MANIFEST}.part"
        unfinished.write_text(text)
        unfinished.replace(place / MANIFEST)
    return place


def open_store(path: Path | str) -> Samples:
    """Opens a store: its frames stay on disk until they are used, and what is written to them stays in memory.

    Args:
        path: Folder that :func:`prepare_store` returned.

    Raises:
        FileNotFoundError: There is no finished store.
        ValueError: A file was truncated or altered.

    Example:
        >>> open_store("nowhere")
        Traceback (most recent call last):
        ...
        FileNotFoundError: nowhere holds no finished store (no manifest.json): make it with prepare_store
    """
    place = Path(path)
    if not (place / MANIFEST).is_file():
        raise FileNotFoundError(f"{place} holds no finished store (no {MANIFEST}): make it with prepare_store")
    manifest = _read_manifest(place / MANIFEST)
    for name in (FRAMES, ANNOTATIONS_FILE):
        if not (place / name).is_file() or _file_digest(place / name) != manifest["files"][name]:
            raise ValueError(f"{place / name} is missing, truncated or altered: run prepare_store again")
    pixels = np.load(place / FRAMES, mmap_mode="c", allow_pickle=False)
    table = pd.read_parquet(place / ANNOTATIONS_FILE)
    if pixels.shape != (2, len(table), 3, manifest["size"], manifest["size"]) or manifest["target"] not in table:
        raise ValueError(f"{place / MANIFEST} does not fit its files: run prepare_store again")
    return samples_of(pixels, table, manifest["target"])


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Keeps a second run from writing to the same store; a run that is killed lets go."""
    lock = FileLock(place / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise OSError(f"another run is making {place}: wait for it, or stop it") from error
    try:
        yield
    finally:
        lock.release()


def _fill(dataset: Dataset, place: Path, rows: np.ndarray, size: int, workers: int | None, progress: bool) -> list[str]:
    """Aligns what is not there yet and returns the source of each clip."""
    pixels = _open_for_writing(place / FRAMES, (2, len(rows), 3, size, size))
    done = _read_done(place / DONE, pixels)
    (place / MANIFEST).unlink(missing_ok=True)  # what is in work is no store
    with (place / DONE).open("a") as notes, progress_bar(len(rows), "aligning clips", progress) as bar:
        tasks = [(i, int(row), done.get(i)) for i, row in enumerate(rows)]
        for i, source, frames in _in_parallel(dataset, size, tasks, workers):
            if frames is not None:
                pixels[:, i] = frames
                done[i] = source
                line = {"row": i, "source": source, "frames": _digest(frames)}
                notes.write(json.dumps(line) + "\n")
                notes.flush()
            bar.update()
    pixels.flush()
    return [done[i] for i in range(len(rows))]


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise ValueError("too large")
        manifest: dict[str, Any] = json.loads(path.read_text())
        if manifest.pop("manifest") != _manifest_digest(manifest):
            raise ValueError("its hash differs")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is truncated or altered ({error}): run prepare_store again") from error
    return manifest


def _manifest_digest(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _open_for_writing(path: Path, shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[np.uint8]]:
    try:
        pixels: np.memmap[Any, np.dtype[np.uint8]] = np.load(path, mmap_mode="r+", allow_pickle=False)
        if pixels.shape == shape and pixels.dtype == np.uint8:
            return pixels
    except (OSError, ValueError):
        pass  # none yet, or cut off: a new one, which the hashes of the finished clips do not fit
    return np.lib.format.open_memmap(path, "w+", np.uint8, shape)


def _read_done(path: Path, pixels: np.ndarray) -> dict[int, str]:
    """Source of each finished clip whose frames are on disk as they were written."""
    done = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            note = json.loads(line)
            row, source, digest = note["row"], note["source"], note["frames"]
        except (ValueError, KeyError, TypeError):
            continue  # the line that was being written when the process was killed
        if 0 <= row < pixels.shape[1] and _digest(pixels[:, row]) == digest:
            done[row] = source
    return done


def _in_parallel(
    dataset: Dataset, size: int, tasks: Sequence[tuple[int, int, str | None]], workers: int | None
) -> Iterator[tuple[int, str, np.ndarray | None]]:
    """Results as they come, with no more than two clips per process under way."""
    workers = workers or usable_cores()
    if workers == 1:
        yield from map(partial(_align, dataset, size), tasks)
        return
    with process_pool(workers, _start_worker, (dataset, size)) as pool:
        under_way: set[Future[tuple[int, str, np.ndarray | None]]] = set()
        try:
            for task in tasks:
                under_way.add(pool.submit(_work, task))
                if len(under_way) >= 2 * workers:
                    finished, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in finished)
            yield from (future.result() for future in under_way)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


_worker: dict[str, Any] = {}


def _start_worker(dataset: Dataset, size: int) -> None:
    _worker.update(dataset=dataset, size=size)


def _work(task: tuple[int, int, str | None]) -> tuple[int, str, np.ndarray | None]:
    return _align(_worker["dataset"], _worker["size"], task)


def _align(dataset: Dataset, size: int, task: tuple[int, int, str | None]) -> tuple[int, str, np.ndarray | None]:
    """A clip's source and its key frames, or None where they are there already."""
    i, row, known = task
    clip = dataset[row]
    source = _source(clip)
    return i, source, None if source == known else key_frames(clip, size)


def _source(clip: Clip) -> str:
    """Hash of what the key frames are made from: files, or pixels where there are none; landmarks, or their finder."""
    used = (clip.onset, clip.apex) if clip.apex is not None else range(clip.onset, clip.offset + 1)
    digest = hashlib.sha256(repr((clip.id, clip.onset, clip.apex, clip.offset)).encode())
    if clip.landmarks is not None:
        digest.update(np.ascontiguousarray(clip.landmarks).tobytes())
    else:
        digest.update(_landmarker_digest().encode())
    for index in used:
        item = clip.frames.items[index] if isinstance(clip.frames, LazyFrames) else None
        if isinstance(item, Path) and item.is_file():
            digest.update(_file_digest(item).encode())
        else:
            digest.update(_digest(clip.frame(index)).encode())
    return digest.hexdigest()


@cache
def _landmarker_digest() -> str:
    return _file_digest(find_model())


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
