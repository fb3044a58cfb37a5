"""Samples: the tensors of every clip, prepared once, and ready to be trained on.

A store keeps them: a folder with a file per tensor (`onset.npy`, `apex.npy`), which are memory-mapped, and
`manifest.json`, which holds the annotations, what the tensors were made from and their hashes. While it is made,
`done.jsonl` notes every finished clip.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int64
from torch import Tensor
from torch.utils.data import StackDataset
from tqdm.auto import tqdm

from tsfmicro_lab.clips import Clip, LazyFrames
from tsfmicro_lab.data.action_units import action_unit_table
from tsfmicro_lab.data.schema import Dataset, check_annotations, rows_with
from tsfmicro_lab.data.tensors import KEY_FRAMES, PREPARED, in_order, prepare_clip
from tsfmicro_lab.files import alone, file_digest, safe_name, space_advice, write_text
from tsfmicro_lab.preprocess.landmarks import Landmarker, find_model
from tsfmicro_lab.processes import spread

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


@dataclass(frozen=True)
class Samples:
    """Prepared tensors of many clips with their labels.

    Attributes:
        tensors: By name, the first axis counts the samples (see `data.tensors`). Most models read `onset` and `apex`,
            aligned frames (N, 3, S, S) of bytes.
        label: (N,) index into `classes`; or (N, units) of 0 and 1 where action units are to be detected.
    """

    tensors: Mapping[str, Tensor] = field(repr=False)
    label: Int64[Tensor, "n *units"] = field(repr=False)
    classes: tuple[str, ...]  #: names of the classes, or numbers of the units
    table: pd.DataFrame = field(repr=False)  #: one row per sample: subject, clip and what else the annotations say
    source: str = ""  #: what the clips were prepared from, in words
    folder: Path | None = field(default=None, repr=False)  #: their store, where they have one

    def __len__(self) -> int:
        return len(self.label)

    @property
    def onset(self) -> Tensor:
        """Aligned onset frames."""
        return self["onset"]

    @property
    def apex(self) -> Tensor:
        """Aligned apex frames."""
        return self["apex"]

    def __getitem__(self, name: str) -> Tensor:
        """A tensor of all samples; a ValueError if it was not prepared."""
        if name not in self.tensors:
            held = ", ".join(self.tensors)
            raise ValueError(f"the samples hold {held}, but no '{name}': prepare(..., tensors=model.prepared)")
        return self.tensors[name]

    def with_tensors(self, **tensors: Tensor) -> "Samples":
        """The same samples with some tensors exchanged or added."""
        return replace(self, tensors={**self.tensors, **tensors}, folder=None)

    @property
    def subjects(self) -> np.ndarray:
        """Subject of each sample."""
        return self.table["subject"].to_numpy(dtype=object)

    @property
    def annotations(self) -> pd.DataFrame:
        """The table with what is to be recognised as `emotion`: what the protocols of `training.splits` take."""
        return self.table.assign(emotion=self.names(self.label))

    def names(self, label: Int64[Tensor, "m *units"]) -> list[str]:
        """Labels as tables show them: a class, or numbers of action units joined by `+`."""
        if label.ndim == 1:
            return [self.classes[i] for i in label]
        return ["+".join(name for name, there in zip(self.classes, row, strict=True) if there) for row in label]

    def pick(self, index: Int64[Tensor, " m"], names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """A batch: the tensors of some samples, all of them or those named, and `label`."""
        chosen = {name: self[name][index] for name in (self.tensors if names is None else names)}
        return chosen | {"label": self.label[index]}

    def as_torch(self) -> StackDataset[Any]:
        """The same as a `torch.utils.data.Dataset`, for loaders of your own: `[i]` is a dict of one sample."""
        parts: Any = {**self.tensors, "label": self.label}
        return StackDataset(**parts)

    def to(self, device: torch.device | str) -> "Samples":
        """The same samples with their tensors on a device."""
        return replace(self, tensors={n: x.to(device) for n, x in self.tensors.items()}, label=self.label.to(device))


def prepare(
    dataset: Dataset,
    size: int,
    *,
    target: str = "emotion",
    tensors: Sequence[str] = KEY_FRAMES,
    folder: Path | str | None = None,
    workers: int | None = 1,
    landmarker: Landmarker | None = None,
    align: bool = True,
    progress: bool = True,
) -> Samples:
    """Aligns every clip once and keeps what models read: by default onset and apex.

    With a folder, the tensors go to a store in it: memory-mapped files that a later call with the same arguments finds
    again. Interrupted, it goes on where it was, and of a finished store it aligns only the clips that changed.

    Args:
        dataset: The clips. Those whose target is missing are left out.
        size: Side of the aligned frames, pixels: the model's `image_size`.
        target: Column of the annotations that is to be recognised. With `action_units`, every unit that occurs is a
            question of its own, and a clip may have several.
        tensors: Names of `data.tensors.PREPARED`; a model's are its `prepared`.
        folder: Where stores lie; without one the tensors are kept in memory.
        workers: Number of processes, None for one per usable core. The data set must then be picklable.
        landmarker: What finds landmarks where the data set brings none; MediaPipe's, one in each process, by default.
        align: False takes alignment away: the middle square of each frame is resized, wherever the face lies in it.
        progress: Whether to show a progress bar.

    Raises:
        ValueError: No clip has the target, or a tensor is unknown.
        ClipError: A clip cannot be read, no face is found in it, or it is too short; the message names it.
        OSError: Another run is making the same store.

    Example:
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions
        >>> samples = prepare(SyntheticMicroExpressions(3, 4, image_size=96), 56, target="emotion_megc", progress=False)
        >>> samples.classes, tuple(samples.onset.shape)
        (('negative', 'positive', 'surprise'), (7, 3, 56, 56))
    """
    names, rows = in_order(tensors), rows_with(dataset, target)
    table = dataset.annotations.iloc[rows].reset_index(drop=True)

    def place(tasks: Sequence[Task]) -> Iterator[Aligned]:
        aligned = spread(partial(align_row, dataset, size, names, landmarker, align), tasks, workers)
        return iter(tqdm(aligned, "aligning clips", len(tasks), disable=not progress))

    if folder is not None:
        about = {"dataset": dataset.name, "size": size, "target": target, "tensors": list(names), "align": align}
        return replace(open_store(make_store(Path(folder), about, table, rows.tolist(), place)), source=repr(dataset))
    clips = [tensors for _, tensors in place([(row, None) for row in rows.tolist()]) if tensors]
    arrays = {name: np.stack([clip[name] for clip in clips]) for name in names}
    return _samples(arrays, table, target, source=repr(dataset))


def open_store(path: Path | str) -> Samples:
    """Opens a store that :func:`prepare` made: its frames stay on disk until they are used.

    What is written to the tensors stays in memory. No clips are needed, so a store can be taken to another machine.
    A file whose time is not that at which it was made is hashed, and then given that time: once, not at each opening.

    Raises:
        FileNotFoundError: There is no finished store.
        ValueError: A file was truncated or altered.
    """
    arrays, table, manifest = read_store(Path(path))
    return _samples(arrays, table, manifest["target"], source=manifest["dataset"], folder=Path(path))


def _samples(arrays: Mapping[str, np.ndarray], table: pd.DataFrame, target: str, **known: Any) -> Samples:
    """Samples over prepared arrays, which are shared where their memory allows it."""
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    if target == "action_units":
        units = action_unit_table(table)
        return Samples(tensors, torch.tensor(units.to_numpy(np.int64)), tuple(map(str, units)), table, **known)
    label, classes = pd.factorize(table[target], sort=True)
    return Samples(tensors, torch.from_numpy(label), tuple(map(str, classes)), table, **known)


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
    if (much := len(json.dumps(about, default=str))) > MAX_MANIFEST_BYTES - 2**16:
        most = int(len(rows) * MAX_MANIFEST_BYTES / much)
        raise ValueError(f"a store holds about {most:,} such clips, and these are {len(rows):,}: split the data set")
    with alone(place):
        arrays = {name: _open_for_writing(place, name, about["size"], len(rows)) for name in about["tensors"]}
        done = _read_done(place / DONE, arrays)
        tasks = [(row, done.get(i, "")) for i, row in enumerate(rows)]
        with (place / DONE).open("a", encoding="utf-8") as notes:
            for i, (source, tensors) in enumerate(align(tasks)):
                if tensors:
                    (place / MANIFEST).unlink(missing_ok=True)  # what is in work is no store
                    for name, array in tensors.items():
                        arrays[name][i] = array
                    notes.write(json.dumps({"row": i, "source": source, "tensors": _digest(*tensors.values())}) + "\n")
                    notes.flush()
        for memory in arrays.values():
            memory.flush()
        files = {name: place / f"{name}.npy" for name in arrays}
        manifest = about | {"files": {name: file_digest(path) for name, path in files.items()}}
        manifest |= {"times": {name: path.stat().st_mtime_ns for name, path in files.items()}}
        write_text(place / MANIFEST, json.dumps(manifest | {"hash": _hash(manifest)}, default=str))
    return place


def read_store(place: Path) -> tuple[Arrays, pd.DataFrame, Manifest]:
    """Checks a store, which may come from elsewhere, and opens its files; nothing in them is executed."""
    path = place / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"{place} holds no finished store (no {MANIFEST}): prepare the data set into it")
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise ValueError(f"{MANIFEST} is too large")
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest.pop("hash") != _hash(manifest):
            raise ValueError(f"the hash of {MANIFEST} differs")
        columns = manifest["annotations"].items()
        table = pd.DataFrame({n: pd.Series(x, dtype=kind if kind in DTYPES else object) for n, (kind, x) in columns})
        if check_annotations(table)[manifest["target"]].isna().any():
            raise ValueError(f"a clip of {MANIFEST} lacks its {manifest['target']}")
        arrays = {}
        for name in in_order(manifest["tensors"]):
            file, kind = place / f"{name}.npy", PREPARED[name]
            known, now = manifest["files"][name], file.stat().st_mtime_ns
            if now != (made := manifest.get("times", {}).get(name, now - 1)):
                if file_digest(file) != known:
                    raise ValueError(f"the hash of {file.name} differs")
                with suppress(OSError):  # of a store that is not ours to write to
                    os.utime(file, ns=(now, made))
            arrays[name] = np.load(file, mmap_mode="c", allow_pickle=False)
            if (arrays[name].dtype, arrays[name].shape) != (kind.dtype, (len(table), *kind.shape(manifest["size"]))):
                raise ValueError(f"{file.name} is not what {MANIFEST} says")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError) as error:
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
    with suppress(OSError, ValueError):  # none yet, or cut off: the hashes of finished clips do not fit a new one
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
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            note = json.loads(line)
            if _digest(*(x[note["row"]] for x in arrays.values())) == note["tensors"]:
                done[note["row"]] = note["source"]
        except (ValueError, KeyError, TypeError, IndexError, RecursionError):
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
