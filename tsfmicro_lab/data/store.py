"""Store: the prepared tensors of a whole data set in memory-mapped files, made once and checked when opened.

A store is a folder: a file per tensor (`onset.npy`, `apex.npy`), `annotations.parquet` and `manifest.json`, which
says what they were made from and their hashes. While it is made, `done.jsonl` notes every finished clip.
"""

import hashlib
import importlib.metadata
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from tsfmicro_lab.clips import Clip, LazyFrames
from tsfmicro_lab.data.samples import Samples, samples_of, target_rows
from tsfmicro_lab.data.schema import Dataset
from tsfmicro_lab.data.tensors import KEY_FRAMES, PREPARED, in_order, prepare_clip
from tsfmicro_lab.files import file_digest, safe_name
from tsfmicro_lab.preprocess.landmarks import find_model
from tsfmicro_lab.processes import process_pool, usable_cores
from tsfmicro_lab.progress import progress_bar

ANNOTATIONS_FILE, MANIFEST, DONE = "annotations.parquet", "manifest.json", "done.jsonl"

Arrays = dict[str, np.ndarray]
Aligned = tuple[int, str, Arrays | None]

#: Largest manifest that is read: a thousand bytes for each of 64 thousand clips.
MAX_MANIFEST_BYTES = 64 * 2**20


def prepare_store(
    dataset: Dataset,
    size: int,
    folder: Path | str,
    *,
    target: str = "emotion",
    tensors: Sequence[str] = KEY_FRAMES,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Aligns every clip once, in parallel, and keeps what models read on disk: by default onset and apex.

    Call it again after it was interrupted: finished clips whose source is unchanged are not aligned again. Only the
    clips in work are in memory. Where a clip brings no landmarks, each process creates MediaPipe's landmarker.

    Args:
        dataset: The clips; it must be picklable. Those whose target is missing are left out.
        size: Side of the aligned frames, pixels.
        folder: Where stores lie. Each data set and set of parameters gets a folder of its own in it.
        target: Column of the annotations that is to be recognised.
        tensors: Names of `data.tensors.PREPARED`; a model's are its `prepared`.
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
    names = in_order(tensors)
    facts = {
        "dataset": dataset.name,
        "size": size,
        "target": target,
        "tensors": names,
        "clips": len(rows),
        "annotations": hashlib.sha256(table.to_csv().encode()).hexdigest(),
        "version": importlib.metadata.version("tsfmicro-lab"),
    }
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    place = Path(folder) / f"{safe_name(f'{dataset.name}-{size}-{target}')}-{key[:12]}"
    place.mkdir(parents=True, exist_ok=True)
    with _alone(place):
        table.to_parquet(place / ANNOTATIONS_FILE)
        sources = _fill(dataset, place, rows, size, names, workers, progress)
        hashes = {file: file_digest(place / file) for file in _files(names)}
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
    for name in _files(manifest["tensors"]):
        if not (place / name).is_file() or file_digest(place / name) != manifest["files"][name]:
            raise ValueError(f"{place / name} is missing, truncated or altered: run prepare_store again")
    arrays = {name: np.load(place / f"{name}.npy", mmap_mode="c", allow_pickle=False) for name in manifest["tensors"]}
    table = pd.read_parquet(place / ANNOTATIONS_FILE)
    fits = [x.shape == (len(table), *PREPARED[name].shape(manifest["size"])) for name, x in arrays.items()]
    if not all(fits) or manifest["target"] not in table:
        raise ValueError(f"{place / MANIFEST} does not fit its files: run prepare_store again")
    return samples_of(arrays, table, manifest["target"])


def _files(names: Sequence[str]) -> list[str]:
    return [*(f"{name}.npy" for name in names), ANNOTATIONS_FILE]


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


def _fill(
    dataset: Dataset,
    place: Path,
    rows: np.ndarray,
    size: int,
    names: Sequence[str],
    workers: int | None,
    progress: bool,
) -> list[str]:
    """Aligns what is not there yet and returns the source of each clip."""
    arrays = {name: _open_for_writing(place, name, size, len(rows)) for name in names}
    done = _read_done(place / DONE, arrays, len(rows))
    (place / MANIFEST).unlink(missing_ok=True)  # what is in work is no store
    with (place / DONE).open("a") as notes, progress_bar(len(rows), "aligning clips", progress) as bar:
        tasks = [(i, int(row), done.get(i)) for i, row in enumerate(rows)]
        for i, source, made in _in_parallel(dataset, size, names, tasks, workers):
            if made is not None:
                for name, array in made.items():
                    arrays[name][i] = array
                done[i] = source
                line = {"row": i, "source": source, "tensors": _digest(*made.values())}
                notes.write(json.dumps(line) + "\n")
                notes.flush()
            bar.update()
    for array in arrays.values():
        array.flush()
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


def _open_for_writing(place: Path, name: str, size: int, count: int) -> np.memmap[Any, np.dtype[Any]]:
    path, shape, dtype = place / f"{name}.npy", (count, *PREPARED[name].shape(size)), PREPARED[name].dtype
    try:
        array: np.memmap[Any, np.dtype[Any]] = np.load(path, mmap_mode="r+", allow_pickle=False)
        if array.shape == shape and array.dtype == dtype:
            return array
    except (OSError, ValueError):
        pass  # none yet, or cut off: a new one, which the hashes of the finished clips do not fit
    return np.lib.format.open_memmap(path, "w+", dtype, shape)


def _read_done(path: Path, arrays: Mapping[str, np.ndarray], count: int) -> dict[int, str]:
    """Source of each finished clip whose tensors are on disk as they were written."""
    done = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            note = json.loads(line)
            row, source, digest = note["row"], note["source"], note["tensors"]
        except (ValueError, KeyError, TypeError):
            continue  # the line that was being written when the process was killed
        if 0 <= row < count and _digest(*(x[row] for x in arrays.values())) == digest:
            done[row] = source
    return done


def _in_parallel(
    dataset: Dataset,
    size: int,
    names: Sequence[str],
    tasks: Sequence[tuple[int, int, str | None]],
    workers: int | None,
) -> Iterator[Aligned]:
    """Results as they come, with no more than two clips per process under way."""
    workers = workers or usable_cores()
    if workers == 1:
        yield from map(partial(_align, dataset, size, names), tasks)
        return
    with process_pool(workers, _start_worker, (dataset, size, names)) as pool:
        under_way: set[Future[Aligned]] = set()
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


def _start_worker(dataset: Dataset, size: int, names: Sequence[str]) -> None:
    _worker.update(dataset=dataset, size=size, names=names)


def _work(task: tuple[int, int, str | None]) -> Aligned:
    return _align(_worker["dataset"], _worker["size"], _worker["names"], task)


def _align(dataset: Dataset, size: int, names: Sequence[str], task: tuple[int, int, str | None]) -> Aligned:
    """A clip's source and its tensors, or None where they are there already."""
    i, row, known = task
    clip = dataset[row]
    source = _source(clip, set(names) <= {*KEY_FRAMES, "landmarks"})
    return i, source, None if source == known else prepare_clip(clip, size, names)


def _source(clip: Clip, key_frames_only: bool) -> str:
    """Hash of what the tensors are made from: files, or pixels where there are none; landmarks, or their finder."""
    used = clip.key_frames if key_frames_only and clip.apex is not None else range(clip.onset, clip.offset + 1)
    digest = hashlib.sha256(repr((clip.id, clip.onset, clip.apex, clip.offset)).encode())
    if clip.landmarks is not None:
        digest.update(np.ascontiguousarray(clip.landmarks).tobytes())
    else:
        digest.update(_landmarker_digest().encode())
    for index in used:
        item = clip.frames.items[index] if isinstance(clip.frames, LazyFrames) else None
        if isinstance(item, Path) and item.is_file():
            digest.update(file_digest(item).encode())
        else:
            digest.update(_digest(clip.frame(index)).encode())
    return digest.hexdigest()


@cache
def _landmarker_digest() -> str:
    return file_digest(find_model())


def _digest(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()
