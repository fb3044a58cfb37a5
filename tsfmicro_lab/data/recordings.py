"""Recorded data sets: one loader for all, told by a data card what it finds where, and whether a copy can be used."""

import copy
import re
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tsfmicro_lab.clips import Clip, ClipError, LazyFrames, read_image
from tsfmicro_lab.data import annotations
from tsfmicro_lab.data.cards import Card, list_cards, read_card
from tsfmicro_lab.data.schema import KEY, Dataset, describe, tally
from tsfmicro_lab.preprocess.alignment import onset_landmarks
from tsfmicro_lab.processes import spread

#: A face of less height, pixels, gives few of them to what moves by half of one.
SMALL_FACE = 100


class Recordings(Dataset):
    """A recorded data set as it was released; the frames may be missing.

    Attributes:
        annotations: One row per clip (see `data.schema.COLUMNS`); `emotion_text` and `action_units_text` keep the words
            of the table, `emotion_megc` and kin the class sets of the card, `frames` counts the frames on disk. Where
            clips are parts of long films, `film` is the folder of each below the root; `kind` is macro or micro.
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
        usual = [name for name, release in card.labels.items() if not release.on_request]
        labels = usual[0] if labels is None and len(usual) == 1 else labels
        if labels not in card.labels:
            hint = f"give labels=, one of {', '.join(card.labels)}" if card.labels else "it is not read from a folder"
            raise ValueError(f"{card.pretty_name} has no labels '{labels}': {hint}")
        self.card, self.name, self.root, self.labels = card, card.name, Path(root), labels
        self.classes = tuple(card.classes)
        release, report = card.labels[labels], annotations.Corrections()
        annotations.list_frames.cache_clear()  # what is on disk may have changed since the last time
        where = release.frames or card.frames
        table = annotations.read_annotations(card, release, self.root, report, as_released)
        rows: list[Any] = table.astype(object).where(table.notna(), None).to_dict("records")
        self._frames, folders = [], annotations.find_folders(self.root, where, rows, frames, report.add)
        if where.long:
            place = where.folders[0].rstrip("*")
            films = [there or self.root / place.format(**row) for there, row in zip(folders, rows, strict=True)]
            table["film"] = [film.relative_to(self.root).as_posix() for film in films]
        for row, folder in zip(rows, folders, strict=True):
            say = partial(report.add, subject=row["subject"], clip=row["clip"], onset=row["onset"])
            self._frames.append(annotations.find_frames(folder, where, row, say))
        self.annotations, self.files = table.assign(frames=list(map(len, self._frames))), where
        self.report = report.table

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
        frames = LazyFrames(read_image, paths)
        return Clip(*who, frames, onset, apex, offset, fps, emotion, units, reach=self.card.reach)

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


def load(name: str, root: Path | str, labels: str | None = None, **options: Any) -> Recordings:
    """Loads a recorded data set by the name of its card; `tsfmicro-lab data list` shows all (see :class:`Recordings`).

    `load("casme2", "FOLDER", labels="2014")` reads CASME II with the labels of 2014.
    """
    return Recordings(read_card(name), root, labels, **options)


def differences(one: Recordings, other: Recordings) -> pd.DataFrame:
    """Where two copies of a data set, or two releases of its labels, differ.

    Clips go by subject and name, and by their onset where these name several.

    Returns:
        A row for each kind of difference: `what` (a column, or that something is in one alone), `rows` that it
        concerns, the `first` of them, and what either copy has there.
    """
    a, b = (copy.annotations.astype(str).fillna("–") for copy in (one, other))
    names = [table["subject"] + "/" + table["clip"] for table in (a, b)]
    several = {name for own in names for name in own[own.duplicated()]}
    for table, own in zip((a, b), names, strict=True):
        table.index = own + ("/" + table["onset"]).where(own.isin(several), "")
    rows: list[Any] = []
    for kind, x, y in (("clips", a.index, b.index), ("columns", a.columns, b.columns)):
        alone = {"first": x.difference(y), "second": y.difference(x)}
        rows += [(f"{kind} of the {side} alone", len(n), n[0], "", "") for side, n in alone.items() if len(n)]
    both = a.index.intersection(b.index), a.columns.intersection(b.columns)
    a, b = a.loc[both], b.loc[both]
    for column in a.columns:
        if (differ := a[column] != b[column]).any():
            first = a.index[differ][0]
            rows.append((column, differ.sum(), first, a[column][first], b[column][first]))
    return pd.DataFrame(rows, columns=["what", "rows", "first", "one", "other"])


def recognise(root: Path) -> list[tuple[Card, str]]:
    """Data sets, with the release of their labels, whose table or folders lie in a root.

    Raises:
        FileNotFoundError: There is none; the message names what lies there.
    """
    found = []
    for card in map(read_card, list_cards()):
        for name, labels in card.labels.items():
            with suppress(FileNotFoundError):
                annotations.find_table(card, labels, root)
                found.append((card, name))
    if not found:
        inside = ", ".join(sorted(path.name for path in root.glob("*"))[:8]) or "nothing"
        hint = "give the folder with it; if it was renamed, data prepare with the name of the set says what to call it"
        raise FileNotFoundError(f"{root} holds no table that a data card names, but {inside}: {hint}")
    return found


def open_copy(root: Path, labels: str | None = None, **options: Any) -> Recordings:
    """The data set that lies in a folder, whichever it is (see :func:`recognise` and :class:`Recordings`)."""
    found = recognise(root)
    card, release = next((pair for pair in found if labels in (None, pair[1])), found[0])
    return Recordings(card, root, labels or release, **options)


def unused(card: Card, root: Path) -> list[str]:
    """What lies in a root and is read for no release of the card."""
    named = [name for r in card.labels.values() for name in (*annotations.files_of(r), r.tree or "")]
    folders = [name for part in (card, *card.labels.values()) if part.frames for name in part.frames.folders]
    used = [re.sub(r"{\w.*?}", "*", name.split("/")[0]) for name in [*named, *folders]]
    return sorted(path.name for path in root.iterdir() if not any(fnmatch(path.name, name) for name in used))


def examine(dataset: Dataset, row: int) -> list[tuple[str, str]]:
    """What a model would stumble over in a clip: `unusable` or `doubtful`, and why; its key frames are decoded."""
    try:
        clip = dataset[row]
        onset, apex, offset = (clip.frame(i) for i in (clip.onset, clip.apex or clip.offset, clip.offset))
        if not onset.shape == apex.shape == offset.shape:
            raise ClipError(f"clip {clip.id}: its frames are not of one size, {onset.shape[:2]} and {apex.shape[:2]}")
        height = float(np.ptp(onset_landmarks(clip)[:, 1]))
    except ClipError as error:
        return [("unusable", str(error))]
    doubts = {
        "onset and apex are the same picture: difference and flow are zero": np.array_equal(onset, apex),
        f"the face is {height:.0f} px high, less than {SMALL_FACE}: too small to see half a pixel": height < SMALL_FACE,
        f"{clip.offset - clip.onset + 1} frames from onset to offset: less than 4": clip.offset - clip.onset < 3,
    }
    return [("doubtful", why) for why, true in doubts.items() if true]


def usable(data: Recordings, without: Sequence[str] = (), strict: bool = False, workers: int | None = 1) -> Recordings:
    """The clips that can be used; their report says besides what :func:`examine` says of all that have frames.

    Clips named in `without`, as `subject/clip`, are left out, too; `strict` looks at none and leaves all others in.
    """
    names, report = data.annotations["subject"] + "/" + data.annotations["clip"], annotations.Corrections()
    framed = data.select((data.annotations["frames"] > 0) & ~names.isin(without))
    good = np.ones(len(framed), bool)
    said = spread(partial(examine, framed), range(0 if strict else len(framed)), workers)
    for i, (remarks, key) in enumerate(zip(said, framed.annotations[KEY].astype(object).to_numpy(), strict=False)):
        good[i] = all(what != "unusable" for what, _ in remarks)
        for what, why in remarks:
            report.add(what, why, *key)
    kept = framed.select(good)
    kept.report = pd.concat([data.report, report.table], ignore_index=True)
    return kept
