"""Store: the prepared tensors of a whole data set in memory-mapped files, made once and checked when opened.

A store is a folder: a file per tensor (`onset.npy`, `apex.npy`) and `manifest.json`, which holds the annotations, what
the tensors were made from and their hashes. While it is made, `done.jsonl` notes every finished clip.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tsfmicro_lab.clips import Clip, LazyFrames
from tsfmicro_lab.data.schema import Dataset, check_annotations
from tsfmicro_lab.data.tensors import KEY_FRAMES, PREPARED, in_order, prepare_clip
from tsfmicro_lab.files import alone, file_digest, safe_name, space_advice, write_whole
from tsfmicro_lab.preprocess.landmarks import Landmarker, find_model

MANIFEST, DONE = "manifest.json", "done.jsonl"
#: Largest manifest that is read: a thousand bytes for each of 64 thousand clips.
MAX_MANIFEST_BYTES = 64 * 2**20
#: Columns of annotations of any other type come back as `object`.
DTYPES = ("str", "int64", "Int64", "float64", "bool")

Arrays = dict[str, np.ndarray]
Manifest = dict[str, Any]
#: A row of the data set and the source of its tensors on disk: nothing where there are none, None without a disk.
Task = tuple[int, str | None]
Aligned = tuple[str, Arrays | None]


#: Aligns many clips, one by one or side by side.
Align = Callable[[Sequence[Task]], Iterable[Aligned]]


def align_row(
    dataset: Dataset, size: int, names: Sequence[str], landmarker: Landmarker | None, align: bool, task: Task
) -> Aligned:
    """A hash of what a clip's tensors are made from, and the tensors, or None where they are on disk already."""
    row, known = task
    clip = dataset[row]
    source = "" if known is None else _source(clip, set(names) <= {*KEY_FRAMES, "landmarks"}, landmarker)
    return source, None if source and source == known else prepare_clip(clip, size, names, landmarker, align)


def make_store(folder: Path, about: Manifest, table: pd.DataFrame, rows: list[int], align: Align) -> Path:
    """Makes a store, or goes on with one: clips that are finished and unchanged are not aligned again.

    `about` says what it is of: `dataset`, `size`, `target` and `tensors`, which get a place of their own in the folder;
    `table` annotates its clips, `rows` are theirs in the data set, and `align` is :func:`align_row` for many tasks.
    """
    about = about | {"version": version("tsfmicro-lab"), "annotations": _columns(table)}
    place = folder / f"{safe_name('{dataset}-{size}-{target}'.format(**about))}-{_hash(about)[:12]}"
    with alone(place):
        (place / MANIFEST).unlink(missing_ok=True)  # what is in work is no store
        arrays = {name: _open_for_writing(place, name, about["size"], len(rows)) for name in about["tensors"]}
        done = _read_done(place / DONE, arrays)
        tasks = [(row, done.get(i, "")) for i, row in enumerate(rows)]
        with (place / DONE).open("a") as notes:
            for i, (source, tensors) in enumerate(align(tasks)):
                for name, array in (tensors or {}).items():
                    arrays[name][i] = array
                if tensors:
                    notes.write(json.dumps({"row": i, "source": source, "tensors": _digest(*tensors.values())}) + "\n")
                    notes.flush()
        for memory in arrays.values():
            memory.flush()
        manifest = about | {"files": {name: file_digest(place / f"{name}.npy") for name in arrays}}
        text = json.dumps(manifest | {"hash": _hash(manifest)}, default=str)
        write_whole(place / MANIFEST, lambda path: path.write_text(text))
    return place


def read_store(place: Path) -> tuple[Arrays, pd.DataFrame, Manifest]:
    """Checks a store, which may come from elsewhere, and opens its files; nothing in them is executed."""
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
            file, kind = place / f"{name}.npy", PREPARED[name]
            if file_digest(file) != manifest["files"][name]:
                raise ValueError(f"the hash of {file.name} differs")
            arrays[name] = np.load(file, mmap_mode="c", allow_pickle=False)
            if (arrays[name].dtype, arrays[name].shape) != (kind.dtype, (len(table), *kind.shape(manifest["size"]))):
                raise ValueError(f"{file.name} is not what {MANIFEST} says")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{place} is truncated or altered ({error}): prepare the data set again") from error
    return arrays, table, manifest


def _columns(table: pd.DataFrame) -> dict[str, tuple[str, list[Any]]]:
    """Type and values of each column, without a loss: texts such as 006 and missing values stay what they are."""
    return {str(n): (str(x.dtype), x.astype(object).where(x.notna(), None).tolist()) for n, x in table.items()}


def _hash(about: Manifest) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()


def _digest(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()


def _open_for_writing(place: Path, name: str, size: int, count: int) -> np.memmap[Any, Any]:
    path, shape, dtype = place / f"{name}.npy", (count, *PREPARED[name].shape(size)), PREPARED[name].dtype
    array: np.memmap[Any, Any] | None = None
    with suppress(
        OSError, ValueError
    ):  # none yet, or cut off: a new one, which the hashes of finished clips do not fit
        array = np.load(path, mmap_mode="r+", allow_pickle=False)
    with space_advice(f"{path} could not be made", "the clips that are finished are kept"):
        if array is None or (array.shape, array.dtype) != (shape, dtype):
            array = np.lib.format.open_memmap(path, "w+", dtype, shape)
        if hasattr(os, "posix_fallocate"):  # else the system would end the process once the disk is full
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _read_done(path: Path, arrays: dict[str, np.memmap[Any, Any]]) -> dict[int, str]:
    """Source of each finished clip whose tensors are on disk as they were written."""
    done = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            note = json.loads(line)
            if _digest(*(x[note["row"]] for x in arrays.values())) == note["tensors"]:
                done[note["row"]] = note["source"]
        except (ValueError, KeyError, TypeError, IndexError):
            continue  # the line that was being written when the process was killed
    return done


def _source(clip: Clip, key_frames_only: bool, landmarker: Landmarker | None = None) -> str:
    """Hash of what the tensors are made from: files, or pixels where there are none; landmarks, or their finder."""
    known = repr((clip.id, clip.onset, clip.apex, clip.offset))
    if clip.landmarks is not None:
        finder = _digest(clip.landmarks)
    else:
        finder = repr(type(landmarker)) if landmarker else file_digest(find_model())
    used = clip.key_frames if key_frames_only and clip.apex is not None else range(clip.onset, clip.offset + 1)
    items = [(i, clip.frames.items[i] if isinstance(clip.frames, LazyFrames) else None) for i in used]
    frames = [file_digest(x) if isinstance(x, Path) and x.is_file() else _digest(clip.frame(i)) for i, x in items]
    return hashlib.sha256("".join((known, finder, *frames)).encode()).hexdigest()
