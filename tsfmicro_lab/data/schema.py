"""The contract that every data set of the lab keeps."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from jaxtyping import Int64
from pandas.api.types import is_float_dtype, is_integer_dtype, is_string_dtype

from tsfmicro_lab.clips import Clip

#: What tells one clip from another.
KEY = ["subject", "clip", "onset"]
_Check = tuple[str, Callable[[Any], bool]]
_TEXT: _Check = "text", is_string_dtype
_FRAME: _Check = "frame numbers from 0", lambda x: is_integer_dtype(x) and not (x < 0).any()
_RATE: _Check = "numbers above 0", lambda x: is_float_dtype(x) and not (x <= 0).any()
#: Columns of the annotations and what they hold; a data set may have more. Only `apex` and `emotion` may be missing.
COLUMNS = dict.fromkeys(("subject", "clip"), _TEXT) | dict.fromkeys(("onset", "apex", "offset"), _FRAME)
COLUMNS |= {"emotion": _TEXT, "action_units": _TEXT, "fps": _RATE}


@runtime_checkable
class Dataset(Protocol):
    """Clips with their annotations."""

    name: str
    annotations: pd.DataFrame  #: one row per clip, in the order of the clips; see :data:`COLUMNS`
    classes: tuple[str, ...]  #: the emotions that `annotations.emotion` may hold
    report: pd.DataFrame  #: one row per correction, drop or doubt

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.annotations)

    def __getitem__(self, index: int) -> Clip:
        """The clip of that row of the annotations."""
        ...


def check_annotations(table: pd.DataFrame) -> pd.DataFrame:
    """Checks that a table is what every data set promises, and makes its apex whole numbers that may be missing.

    Raises:
        ValueError: A column of :data:`COLUMNS` is missing or holds something else, or a clip comes twice.
    """
    if missing := [name for name in COLUMNS if name not in table]:
        raise ValueError(f"the annotations lack {', '.join(missing)}")
    table = table.astype({"apex": "Int64"})
    for name, (what, holds) in COLUMNS.items():
        there = table[name].dropna()
        if len(there) < len(table) and name not in ("apex", "emotion"):
            raise ValueError(f"column '{name}' of the annotations must have a value in every row")
        if len(there) and not holds(there):
            raise ValueError(f"column '{name}' of the annotations must hold {what}, got {there.tolist()[0]!r}")
    for subject, clip, onset in table.loc[table.duplicated(KEY), KEY].itertuples(index=False):
        raise ValueError(f"the annotations have clip {subject}/{clip} with onset {onset} twice")
    return table


def tally(values: "pd.Series[Any]") -> str:
    """How often each value comes, in words: `others 6, disgust 4`."""
    return ", ".join(f"{value} {count}" for value, count in values.value_counts().items())


def describe(data: Dataset, note: str) -> str:
    """What a data set shows of itself: clips, subjects, a note behind them, and the counts of its emotions."""
    table = data.annotations
    return f"{len(table)} clips of {table['subject'].nunique()} subjects{note}\n    {tally(table['emotion'])}"


def rows_with(dataset: Dataset, target: str) -> Int64[np.ndarray, " n"]:
    """Rows of the annotations that have a value in the target column; a ValueError if there is none.

    Where action units are asked for, a clip with a unit that was not understood has none: it may be anything.
    """
    if target not in dataset.annotations:
        raise ValueError(f"no column '{target}' in the annotations: choose from {list(dataset.annotations)}")
    known = np.asarray(dataset.annotations.get("units_known", True), bool) | (target != "action_units")
    rows = np.flatnonzero(dataset.annotations[target].notna() & known)
    if not len(rows):
        raise ValueError(f"no clip of '{dataset.name}' has a value in '{target}'")
    return rows
