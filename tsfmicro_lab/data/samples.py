"""Samples: the tensors of every clip, prepared once, and ready to be trained on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int64
from torch import Tensor
from torch.utils.data import StackDataset
from tqdm.auto import tqdm

from tsfmicro_lab.data.action_units import action_unit_table
from tsfmicro_lab.data.schema import Dataset, rows_with
from tsfmicro_lab.data.store import Aligned, Task, align_row, make_store, read_store
from tsfmicro_lab.data.tensors import KEY_FRAMES, in_order
from tsfmicro_lab.preprocess.landmarks import Landmarker
from tsfmicro_lab.processes import spread


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
        return replace(self, tensors={**self.tensors, **tensors})

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
