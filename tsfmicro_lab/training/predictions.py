"""Tables of predictions as files: CSV that anybody can read, and that reads back as it was, to the last bit."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tsfmicro_lab.files import write_whole

#: Columns that are text even where they look like numbers ("006") or like nothing (no action unit).
TEXT = ("subject", "clip", "truth", "predicted", "fold", "model", "selection", "data", "emotion")
#: Largest table that is read.
MAX_BYTES = 64 * 2**20


def write_predictions(table: pd.DataFrame, path: Path) -> None:
    """Writes a table as CSV, whole or not at all, numbers with all their digits; its folder is created.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "folds" / "006.csv"
        >>> write_predictions(pd.DataFrame({"subject": ["006"], "predicted": [""], "p_4": [0.1 + 0.2]}), path)
        >>> print(path.read_text())
        "subject","predicted","p_4"
        "006","",0.30000000000000004
        >>> read_predictions(path).values.tolist()
        [['006', '', 0.30000000000000004]]
    """
    exact = table.assign(**table.select_dtypes("float32").astype("float64"))
    write_whole(path, lambda target: exact.to_csv(target, index=False, quoting=csv.QUOTE_NONNUMERIC))


def read_predictions(path: Path, *text: str) -> pd.DataFrame:
    """Reads what :func:`write_predictions` wrote, or another CSV; `text` are columns of text besides :data:`TEXT`.

    Raises:
        ValueError: The file is no CSV table, or larger than :data:`MAX_BYTES`.
    """
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} is larger than {MAX_BYTES >> 20} MiB")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first, *others = zip(*filter(None, csv.reader(file, strict=True)), strict=True)
        columns = {name: cells for name, *cells in (first, *others)}
        return pd.DataFrame({n: pd.array(x, "str") if n in (*TEXT, *text) else _values(x) for n, x in columns.items()})
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path} is no CSV table whose rows all have the cells of its header ({error})") from error


def _values(cells: list[str]) -> Any:
    """Whole numbers, other numbers or truth values, if all cells are some; an empty cell is a missing number."""
    known = np.array([cell or "nan" for cell in cells], dtype=object)
    for kind in (int, float):
        try:
            return known.astype(kind)
        except (ValueError, OverflowError):
            continue
    return known == "True" if {*cells} <= {"True", "False"} else pd.array(cells, "str")
