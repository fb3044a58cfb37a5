"""Samples: the tensors of every clip, prepared once, and ready to be trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int64
from torch import Tensor

from tsfmicro_lab.data.composite import action_unit_table
from tsfmicro_lab.data.schema import Dataset
from tsfmicro_lab.data.tensors import KEY_FRAMES, in_order, prepare_clip
from tsfmicro_lab.preprocess.landmarks import Landmarker
from tsfmicro_lab.progress import track


@dataclass(frozen=True)
class Samples:
    """Prepared tensors of many clips with their labels.

    Attributes:
        tensors: By name, the first axis counts the samples (see `data.tensors`). Most models read `onset` and `apex`,
            aligned frames (N, 3, S, S) of bytes.
        label: (N,) index into `classes`; or (N, units) of 0 and 1 where action units are to be detected.
        classes: Names of the classes, or numbers of the units.
        table: One row per sample: subject, clip and whatever else the annotations say.
        source: What the clips were prepared from, in words.
    """

    tensors: Mapping[str, Tensor] = field(repr=False)
    label: Int64[Tensor, "n *units"] = field(repr=False)
    classes: tuple[str, ...]
    table: pd.DataFrame = field(repr=False)
    source: str = ""

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
        """A tensor of all samples.

        Raises:
            ValueError: It was not prepared.
        """
        if name not in self.tensors:
            raise ValueError(
                f"the samples hold {', '.join(self.tensors)}, but no '{name}': prepare(..., tensors=model.prepared)"
            )
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

    def to(self, device: torch.device | str) -> "Samples":
        """The same samples with their tensors on a device."""
        return replace(self, tensors={n: x.to(device) for n, x in self.tensors.items()}, label=self.label.to(device))


def prepare(
    dataset: Dataset,
    size: int,
    *,
    target: str = "emotion",
    tensors: Sequence[str] = KEY_FRAMES,
    landmarker: Landmarker | None = None,
    progress: bool = True,
) -> Samples:
    """Aligns every clip once and keeps what models read: by default onset and apex.

    Args:
        dataset: The clips. Those whose target is missing are left out.
        size: Side of the aligned frames, pixels: the model's `image_size`.
        target: Column of the annotations that is to be recognised. With `action_units`, every unit that occurs is a
            question of its own, and a clip may have several.
        tensors: Names of `data.tensors.PREPARED`; a model's are its `prepared`.
        landmarker: What finds landmarks where the data set brings none.
        progress: Whether to show a progress bar.

    Returns:
        The samples, in the order of the annotations.

    Raises:
        ValueError: No clip has the target, or a tensor is unknown.
        ClipError: A clip cannot be read, no face is found in it, or it is too short; the message names it.

    Example:
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions
        >>> samples = prepare(SyntheticMicroExpressions(3, 4, image_size=96), 56, target="emotion_megc", progress=False)
        >>> samples.classes, tuple(samples.onset.shape)
        (('negative', 'positive', 'surprise'), (7, 3, 56, 56))
    """
    rows = target_rows(dataset, target)
    names = in_order(tensors)
    clips = [
        prepare_clip(dataset[r], size, names, landmarker) for r in track(rows.tolist(), "aligning clips", progress)
    ]
    arrays = {name: np.stack([clip[name] for clip in clips]) for name in names}
    samples = samples_of(arrays, dataset.annotations.iloc[rows].reset_index(drop=True), target)
    return replace(samples, source=repr(dataset))


def target_rows(dataset: Dataset, target: str) -> Int64[np.ndarray, " n"]:
    """Rows of the annotations that have a value in the target column.

    Args:
        dataset: The clips.
        target: Column of the annotations.

    Raises:
        ValueError: There is no such column, or no clip has a value in it.

    Example:
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions
        >>> target_rows(SyntheticMicroExpressions(1, 3), "emotion")
        array([0, 1, 2])
    """
    if target not in dataset.annotations:
        raise ValueError(f"no column '{target}' in the annotations: choose from {list(dataset.annotations)}")
    rows = np.flatnonzero(dataset.annotations[target].notna())
    if not len(rows):
        raise ValueError(f"no clip of '{dataset.name}' has a value in '{target}'")
    return rows


def samples_of(arrays: Mapping[str, np.ndarray], table: pd.DataFrame, target: str) -> Samples:
    """Samples over prepared arrays, which are shared where their memory allows it.

    Args:
        arrays: By name, the first axis counts the samples.
        table: One row per sample.
        target: Column of the table that is to be recognised.

    Example:
        >>> table = pd.DataFrame({"subject": ["s1", "s2"], "emotion": ["surprise", "disgust"]})
        >>> samples_of({"onset": np.zeros((2, 3, 8, 8), np.uint8)}, table, "emotion").label
        tensor([1, 0])
    """
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    if target == "action_units":
        units = action_unit_table(table)
        return Samples(tensors, torch.tensor(units.to_numpy(np.int64)), tuple(map(str, units)), table)
    classes = sorted(table[target].unique())
    label = torch.tensor([classes.index(value) for value in table[target]])
    return Samples(tensors, label, tuple(classes), table)
