"""The contract that every data set of the lab keeps."""

from typing import Protocol, runtime_checkable

import pandas as pd
import pandera.pandas as pa

from tsfmicro_lab.clips import Clip

#: One row per clip; a data set may have more columns.
ANNOTATIONS = pa.DataFrameSchema(
    {
        "subject": pa.Column(str),
        "clip": pa.Column(str),
        "onset": pa.Column(int, pa.Check.ge(0)),
        "apex": pa.Column("Int64", nullable=True, coerce=True),
        "offset": pa.Column(int, pa.Check.ge(0)),
        "emotion": pa.Column(str, nullable=True),
        "action_units": pa.Column(str),
        "fps": pa.Column(float, pa.Check.gt(0)),
    },
    unique=["subject", "clip", "onset"],
    strict=False,
)


@runtime_checkable
class Dataset(Protocol):
    """Clips with their annotations.

    Attributes:
        name: Name of the data set.
        annotations: One row per clip, in the order of the clips; see `ANNOTATIONS`.
        classes: The emotions that `annotations.emotion` may hold.
        report: One row per correction, drop or doubt.
    """

    name: str
    annotations: pd.DataFrame
    classes: tuple[str, ...]
    report: pd.DataFrame

    def __len__(self) -> int:
        """Number of clips."""
        ...

    def __getitem__(self, index: int) -> Clip:
        """The clip of that row of the annotations."""
        ...
