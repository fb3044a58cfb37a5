"""Recorded data sets: one loader for all, told by a data card what it finds where."""

import copy
from bisect import bisect_right
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from tsfmicro_lab.clips import Clip, ClipError, LazyFrames, read_image
from tsfmicro_lab.data.annotations import Corrections, read_annotations
from tsfmicro_lab.data.cards import Card, read_card
from tsfmicro_lab.data.frame_files import find_folders, find_frames, list_frames
from tsfmicro_lab.data.schema import describe, tally


class Recordings:
    """A recorded data set as it was released; the frames may be missing.

    Attributes:
        annotations: One row per clip (see `data.schema.COLUMNS`); `emotion_text` and `action_units_text` keep the words
            of the table, `emotion_megc` and kin the class sets of the card, `frames` counts the frames on disk.
        report: One row per correction, drop or doubt.

    Args:
        card: What is known of it.
        root: Its folder.
        labels: Which release of the annotations; may be left out where there is one.
        frames: A part of a folder's name, such as `Cropped`, where the release has frames of several kinds; by default
            the kind that most clips have.
        as_released: Whether the known mistakes of the release are left in.

    Raises:
        ValueError: The release is not in the card, or the table is not what the card says.
        FileNotFoundError: The root is the wrong folder.
    """

    def __init__(
        self, card: Card, root: Path | str, labels: str | None = None, frames: str = "", as_released: bool = False
    ) -> None:
        if labels is None and len(card.labels) == 1:
            labels = next(iter(card.labels))
        if labels not in card.labels:
            hint = f"give labels=, one of {', '.join(card.labels)}" if card.labels else "it is not read from a folder"
            raise ValueError(f"{card.pretty_name} has no labels '{labels}': {hint}")
        self.card, self.name, self.root, self.labels = card, card.name, Path(root), labels
        self.classes = tuple(card.classes)
        release, report = card.labels[labels], Corrections()
        list_frames.cache_clear()  # what is on disk may have changed since the last time
        where = card.frames.model_copy(update={"folders": ["{folder}"]}) if release.tree else card.frames
        table = read_annotations(card, release, self.root, report, as_released)
        rows = table.astype(object).where(table.notna(), None).to_dict("records")
        self._frames = []
        for row, folder in zip(rows, find_folders(self.root, where, rows, frames, report.add), strict=True):
            say = partial(report.add, subject=row["subject"], clip=row["clip"], onset=row["onset"])
            self._frames.append(find_frames(folder, where, row, say))
        self.annotations = table.assign(frames=list(map(len, self._frames)))
        self.report = report.table

    def __len__(self) -> int:
        return len(self.annotations)

    def __getitem__(self, index: int) -> Clip:
        """The clip of that row of the annotations; a ClipError if its frames are missing."""
        row, numbered = self.annotations.iloc[index], self._frames[index]
        if not numbered:
            remedy = "leave such clips out with data.select(data.annotations.frames > 0)"
            raise ClipError(f"clip {row['subject']}/{row['clip']}: its frames are missing or incomplete; {remedy}")
        numbers, paths = zip(*numbered, strict=True)
        onset, offset = (bisect_right(numbers, row[key]) - 1 for key in ("onset", "offset"))
        apex = None if pd.isna(row["apex"]) else bisect_right(numbers, row["apex"]) - 1
        emotion = None if pd.isna(row["emotion"]) else row["emotion"]
        units = tuple(filter(None, row["action_units"].split("+")))
        who, fps = (row["clip"], row["subject"]), float(row["fps"])
        return Clip(*who, LazyFrames(read_image, paths), onset, apex, offset, fps, emotion, units)

    def select(self, rows: "pd.Series[bool] | np.ndarray") -> "Recordings":
        """The same data set with the clips where `rows` is True; its report is the whole one."""
        chosen, part = np.flatnonzero(np.asarray(rows, bool)), copy.copy(self)
        part.annotations = self.annotations.iloc[chosen].reset_index(drop=True)
        part._frames = [self._frames[i] for i in chosen]
        return part

    def __repr__(self) -> str:
        frames, report = (self.annotations["frames"] > 0).sum(), tally(self.report["what"]) or "nothing"
        name = f"{self.card.pretty_name} (labels {self.labels})"
        return f"{name}: {describe(self, f' in {self.root}')}\n    frames of {frames} clips; report: {report}"


def load(
    name: str, root: Path | str, labels: str | None = None, frames: str = "", as_released: bool = False
) -> Recordings:
    """Loads a recorded data set by the name of its card; `tsfmicro-lab data list` shows all (see :class:`Recordings`).

    `load("casme2", "FOLDER", labels="2014")` reads CASME II with the labels of 2014.
    """
    return Recordings(read_card(name), root, labels, frames, as_released)
