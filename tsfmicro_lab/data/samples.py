"""Samples: onset and apex of every clip, aligned once, kept as bytes, and ready to be trained on."""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from tsfmicro_lab.clips import Clip
from tsfmicro_lab.data.composite import action_unit_table
from tsfmicro_lab.data.schema import Dataset
from tsfmicro_lab.preprocess import Landmarker, align_clip, with_apex
from tsfmicro_lab.progress import track


@dataclass(frozen=True)
class Samples:
    """Aligned onset and apex frames of many clips with their labels.

    Attributes:
        onset: (N, 3, S, S) uint8.
        apex: (N, 3, S, S) uint8.
        label: (N,) index into `classes`; or (N, units) of 0 and 1 where action units are to be detected.
        classes: Names of the classes, or numbers of the units.
        table: One row per sample: subject, clip and whatever else the annotations say.
        source: What the clips were prepared from, in words.
    """

    onset: UInt8[Tensor, "n 3 height width"] = field(repr=False)
    apex: UInt8[Tensor, "n 3 height width"] = field(repr=False)
    label: Int64[Tensor, "n *units"] = field(repr=False)
    classes: tuple[str, ...]
    table: pd.DataFrame = field(repr=False)
    source: str = ""

    def __len__(self) -> int:
        return len(self.label)

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

    def pick(self, index: Int64[Tensor, " m"]) -> dict[str, Tensor]:
        """A batch: the tensors of some samples."""
        return {"onset": self.onset[index], "apex": self.apex[index], "label": self.label[index]}

    def to(self, device: torch.device | str) -> "Samples":
        """The same samples with their tensors on a device."""
        return replace(self, onset=self.onset.to(device), apex=self.apex.to(device), label=self.label.to(device))


def prepare(
    dataset: Dataset, size: int, *, target: str = "emotion", landmarker: Landmarker | None = None, progress: bool = True
) -> Samples:
    """Aligns every clip once and keeps its onset and apex.

    Args:
        dataset: The clips. Those whose target is missing are left out.
        size: Side of the aligned frames, pixels: the model's `image_size`.
        target: Column of the annotations that is to be recognised. With `action_units`, every unit that occurs is a
            question of its own, and a clip may have several.
        landmarker: What finds landmarks where the data set brings none.
        progress: Whether to show a progress bar.

    Returns:
        The samples, in the order of the annotations.

    Raises:
        ValueError: No clip has the target.
        ClipError: A clip cannot be read, or no face is found in it; the message names it.

    Example:
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions
        >>> samples = prepare(SyntheticMicroExpressions(3, 4, image_size=96), 56, target="emotion_megc", progress=False)
        >>> samples.classes, tuple(samples.onset.shape)
        (('negative', 'positive', 'surprise'), (7, 3, 56, 56))
    """
    rows = target_rows(dataset, target)
    pixels = [key_frames(dataset[row], size, landmarker) for row in track(rows.tolist(), "aligning clips", progress)]
    samples = samples_of(np.stack(pixels, axis=1), dataset.annotations.iloc[rows].reset_index(drop=True), target)
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


def key_frames(clip: Clip, size: int, landmarker: Landmarker | None = None) -> UInt8[np.ndarray, "2 3 size size"]:
    """Aligned onset and apex of a clip, the apex spotted where nobody annotated it.

    Args:
        clip: The clip.
        size: Side of the aligned frames, pixels.
        landmarker: What finds landmarks where the clip brings none.

    Raises:
        ClipError: The clip cannot be read, or no face is found in it.

    Example:
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions
        >>> key_frames(SyntheticMicroExpressions(1, 1, image_size=96)[0], 56).shape
        (2, 3, 56, 56)
    """
    aligned = with_apex(align_clip(clip, size, landmarker))
    assert aligned.apex is not None
    return np.stack([aligned.frame(aligned.onset), aligned.frame(aligned.apex)]).transpose(0, 3, 1, 2)


def samples_of(pixels: UInt8[np.ndarray, "2 n 3 size size"], table: pd.DataFrame, target: str) -> Samples:
    """Samples over key frames, which are shared where their memory allows it.

    Args:
        pixels: Onset and apex of every sample.
        table: One row per sample.
        target: Column of the table that is to be recognised.

    Example:
        >>> table = pd.DataFrame({"subject": ["s1", "s2"], "emotion": ["surprise", "disgust"]})
        >>> samples_of(np.zeros((2, 2, 3, 8, 8), np.uint8), table, "emotion").label
        tensor([1, 0])
    """
    onset, apex = (torch.from_numpy(np.ascontiguousarray(frames)) for frames in pixels)
    if target == "action_units":
        units = action_unit_table(table)
        return Samples(onset, apex, torch.tensor(units.to_numpy(np.int64)), tuple(map(str, units)), table)
    classes = sorted(table[target].unique())
    label = torch.tensor([classes.index(value) for value in table[target]])
    return Samples(onset, apex, label, tuple(classes), table)
