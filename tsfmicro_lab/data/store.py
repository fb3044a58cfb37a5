"""Store: the prepared tensors of a whole data set in memory-mapped files, made once and checked when opened.

A store is a folder: a file per tensor (`onset.npy`, `apex.npy`) and `manifest.json`, which holds the annotations, what
the tensors were made from and their hashes. While it is made, `done.jsonl` notes every finished clip.
"""

import hashlib
import json
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tsfmicro_lab.clips import Clip, LazyFrames
from tsfmicro_lab.data.schema import Dataset, check_annotations, rows_with
from tsfmicro_lab.data.tensors import KEY_FRAMES, PREPARED, in_order, prepare_clip
from tsfmicro_lab.files import alone, file_digest, safe_name, write_whole
from tsfmicro_lab.preprocess.landmarks import Landmarker, find_model
from tsfmicro_lab.processes import spread
from tsfmicro_lab.progress import track

MANIFEST, DONE = "manifest.json", "done.jsonl"
#: Largest manifest that is read: a thousand bytes for each of 64 thousand clips.
MAX_MANIFEST_BYTES = 64 * 2**20
#: Columns of annotations of any other type come back as `object`.
DTYPES = ("str", "int64", "Int64", "float64", "bool")


def prepare_store(
    dataset: Dataset,
    size: int,
    folder: Path | str,
    *,
    target: str = "emotion",
    tensors: Sequence[str] = KEY_FRAMES,
    workers: int | None = 1,
    landmarker: Landmarker | None = None,
    progress: bool = True,
) -> Path:
    """Makes a store, or goes on with one: what `data.prepare` does when it is given a folder.

    Finished clips whose source is unchanged are not aligned again, and only the clips in work are in memory.

    Returns:
        The folder of the store, inside the folder given: each data set and set of parameters has its own.

    Raises:
        OSError: Another run is making the same store.
    """
    names, rows = in_order(tensors), rows_with(dataset, target)
    facts = {
        "dataset": dataset.name,
        "size": size,
        "target": target,
        "tensors": list(names),
        "version": version("tsfmicro-lab"),
        "annotations": _columns(dataset.annotations.iloc[rows]),
    }
    place = Path(folder) / f"{safe_name(f'{dataset.name}-{size}-{target}')}-{_hash(facts)[:12]}"
    with alone(place):
        (place / MANIFEST).unlink(missing_ok=True)  # what is in work is no store
        arrays = {name: _open_for_writing(place, name, size, len(rows)) for name in names}
        done = _read_done(place / DONE, arrays, len(rows))
        tasks = [(i, int(row), done.get(i)) for i, row in enumerate(rows)]
        align = partial(_align, dataset, size, names, landmarker)
        with (place / DONE).open("a") as notes:
            for i, source, made in track(spread(align, tasks, workers), "aligning clips", progress, len(tasks)):
                if made is None:
                    continue
                for name, array in made.items():
                    arrays[name][i] = array
                notes.write(json.dumps({"row": i, "source": source, "tensors": _digest(*made.values())}) + "\n")
                notes.flush()
        for memory in arrays.values():
            memory.flush()
        manifest = facts | {"files": {name: file_digest(place / f"{name}.npy") for name in names}}
        text = json.dumps(manifest | {"hash": _hash(manifest)}, default=str)
        write_whole(place / MANIFEST, lambda path: path.write_text(text))
    return place


def read_store(place: Path) -> tuple[dict[str, np.ndarray], pd.DataFrame, dict[str, Any]]:
    """Checks a store, which may come from elsewhere, and opens its files; nothing in them is executed.

    Returns:
        Arrays by name, which stay on disk until they are used, the annotations, and all that the manifest says.

    Raises:
        FileNotFoundError: There is no finished store.
        ValueError: A file was truncated or altered.
    """
    path = place / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"{place} holds no finished store (no {MANIFEST}): prepare the data set into it")
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise ValueError(f"{MANIFEST} is too large")
        manifest = json.loads(path.read_text())
        if manifest.pop("hash") != _hash(manifest):
            raise ValueError(f"the hash of {MANIFEST} differs")
        columns = manifest["annotations"].items()
        table = pd.DataFrame({n: pd.Series(x, dtype=kind if kind in DTYPES else object) for n, (kind, x) in columns})
        if check_annotations(table)[manifest["target"]].isna().any():
            raise ValueError(f"a clip of {MANIFEST} lacks its {manifest['target']}")
        arrays = {}
        for name in in_order(manifest["tensors"]):
            file, made = place / f"{name}.npy", PREPARED[name]
            if file_digest(file) != manifest["files"][name]:
                raise ValueError(f"the hash of {file.name} differs")
            arrays[name] = np.load(file, mmap_mode="c", allow_pickle=False)
            if (arrays[name].dtype, arrays[name].shape) != (made.dtype, (len(table), *made.shape(manifest["size"]))):
                raise ValueError(f"{file.name} is not what {MANIFEST} says")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{place} is truncated or altered ({error}): prepare the data set again") from error
    return arrays, table, manifest


def _columns(table: pd.DataFrame) -> dict[str, tuple[str, list[Any]]]:
    """Type and values of each column, without a loss: texts such as 006 and missing values stay what they are."""
    return {str(n): (str(x.dtype), x.astype(object).where(x.notna(), None).tolist()) for n, x in table.items()}


def _hash(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _open_for_writing(place: Path, name: str, size: int, count: int) -> np.memmap[Any, Any]:
    path, shape, dtype = place / f"{name}.npy", (count, *PREPARED[name].shape(size)), PREPARED[name].dtype
    try:
        array: np.memmap[Any, Any] = np.load(path, mmap_mode="r+", allow_pickle=False)
        if array.shape == shape and array.dtype == dtype:
            return array
    except (OSError, ValueError):
        pass  # none yet, or cut off: a new one, which the hashes of the finished clips do not fit
    return np.lib.format.open_memmap(path, "w+", dtype, shape)


def _read_done(path: Path, arrays: dict[str, np.memmap[Any, Any]], count: int) -> dict[int, str]:
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


def _align(
    dataset: Dataset,
    size: int,
    names: Sequence[str],
    landmarker: Landmarker | None,
    task: tuple[int, int, str | None],
) -> tuple[int, str, dict[str, np.ndarray] | None]:
    """A clip's source and its tensors, or None where they are there already."""
    i, row, known = task
    clip = dataset[row]
    source = _source(clip, set(names) <= {*KEY_FRAMES, "landmarks"}, landmarker)
    return i, source, None if source == known else prepare_clip(clip, size, names, landmarker)


def _source(clip: Clip, key_frames_only: bool, landmarker: Landmarker | None = None) -> str:
    """Hash of what the tensors are made from: files, or pixels where there are none; landmarks, or their finder."""
    digest = hashlib.sha256(repr((clip.id, clip.onset, clip.apex, clip.offset)).encode())
    if clip.landmarks is not None:
        digest.update(_digest(clip.landmarks).encode())
    else:
        digest.update((repr(type(landmarker)) if landmarker else file_digest(find_model())).encode())
    used = clip.key_frames if key_frames_only and clip.apex is not None else range(clip.onset, clip.offset + 1)
    for index in used:
        item = clip.frames.items[index] if isinstance(clip.frames, LazyFrames) else None
        path = item if isinstance(item, Path) and item.is_file() else None
        digest.update((file_digest(path) if path else _digest(clip.frame(index))).encode())
    return digest.hexdigest()


def _digest(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()
