"""Tables as they were released: xlsx, xls or csv, read as text, by column name, with bounds, and never executed."""

import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pandas as pd

#: Far above any table of the field, far below what fills a machine.
MAX_BYTES, MAX_ENTRIES, MAX_ROWS = 32 * 2**20, 1000, 20_000
#: A cell in a column of three letters: 16,384 of them a row is how a small file fills a large memory.
_WIDE = re.compile(rb"""<(?:\w+:)?c\s[^>]*?\br=["'][A-Za-z]{3,}""")


class TableRefused(ValueError):
    """A table was understood and refused; the message names it and says why."""


def read_table(path: Path, sheet: str | None = None, header: int | None = 0) -> pd.DataFrame:
    r"""Reads a table with every cell as text; formulas give the value that was stored with them.

    Args:
        path: An xlsx, xls or csv file, told by its content, not by its name.
        sheet: Sheet of a workbook; the first by default.
        header: Row of the header, counted from 0; None where there is none.

    Returns:
        The cells, stripped; empty ones are empty text. Columns without a name are left out.

    Raises:
        ValueError: The file is too large or no table, or the sheet is not in it.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "labels.csv"
        >>> _ = path.write_text("Subject,Filename\n006,006_1_2\n")
        >>> read_table(path).loc[0, "Subject"]
        '006'
    """
    if path.stat().st_size > MAX_BYTES:
        raise TableRefused(f"{path} is larger than {MAX_BYTES >> 20} MiB, which no table of the field is")
    with path.open("rb") as file:
        magic = file.read(4)
    try:
        if magic in _READERS:
            table = _READERS[magic](path, sheet, header)
        else:
            options: dict[str, Any] = {"dtype": str, "encoding": "utf-8-sig", "skip_blank_lines": False}
            table = pd.read_csv(path, header=header, nrows=MAX_ROWS + 1, **options)
    except TableRefused:
        raise
    except ImportError as error:
        raise TableRefused(f"{path} is an Excel table: pip install 'tsfmicro-lab[recordings]'") from error
    except Exception as error:  # the readers raise whatever a broken file leads them to
        why = error or type(error).__name__
        raise TableRefused(f"{path} cannot be read as a table: {why}; copy it again from the data set") from error
    if len(table) > MAX_ROWS:
        raise TableRefused(f"{path} has more than {MAX_ROWS} rows, which no table of the field has")
    if header is not None:
        table.columns = [" ".join(str(name).split()) for name in table.columns]
        table = table.loc[:, ~table.columns.str.startswith("Unnamed:")]
    table = table.fillna("").astype(str).apply(lambda column: column.str.strip())
    return table[(table != "").any(axis=1)].reset_index(drop=True)


def pick_columns(table: pd.DataFrame, columns: Mapping[str, str | int], source: str) -> pd.DataFrame:
    """Picks columns by name (or position), whatever their order, capitals and blanks.

    Raises:
        ValueError: A column is not there or there twice; the message lists what was found.

    Example:
        >>> pick_columns(pd.DataFrame({"B": ["2"], "A ": ["1"]}), {"a": "A"}, "labels.csv")
           a
        0  1
    """
    names = [_plain(name) for name in table.columns]
    missing = [str(name) for name in columns.values() if _plain(name) not in names]
    twice = [str(name) for name in columns.values() if names.count(_plain(name)) > 1]
    if missing or twice:
        what = f"no column '{', '.join(missing)}'" if missing else f"column '{', '.join(twice)}' more than once"
        raise TableRefused(
            f"{source} has {what}; found {', '.join(map(str, table.columns)) or 'nothing'}. "
            "Take the table as it was released, or give the columns their released names"
        )
    return pd.DataFrame({field: table.iloc[:, names.index(_plain(name))] for field, name in columns.items()})


def _read_xlsx(path: Path, sheet: str | None, header: int | None) -> pd.DataFrame:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        size = sum(entry.file_size for entry in entries)
        if size > MAX_BYTES or len(entries) > MAX_ENTRIES:
            raise TableRefused(
                f"{path} would unpack to {size >> 20} MiB in {len(entries)} parts, more than {MAX_BYTES >> 20} MiB in "
                f"{MAX_ENTRIES}: this is no table of the field, and it is not opened"
            )
        if any(_WIDE.search(archive.read(entry)) for entry in entries if entry.filename.endswith(".xml")):
            raise TableRefused(f"{path} has a sheet of more than 702 columns: no table of the field, it is not opened")
    with pd.ExcelFile(path, engine="openpyxl") as book:
        name = _sheet_name(path, sheet, book.sheet_names)
        return pd.read_excel(book, name, header=header, dtype=str, nrows=MAX_ROWS + 1, na_filter=False)


def _read_xls(path: Path, sheet: str | None, header: int | None) -> pd.DataFrame:
    """By xlrd itself: pandas is about to drop it, and calamine takes all memory where one cell lies far out."""
    import xlrd

    with xlrd.open_workbook(path, on_demand=True, ragged_rows=True, logfile=io.StringIO()) as book:
        cells = book.sheet_by_name(_sheet_name(path, sheet, book.sheet_names()))
        if cells.nrows > MAX_ROWS + 1:
            raise TableRefused(f"{path} has more than {MAX_ROWS} rows, which no table of the field has")
        rows = [cells.row_values(i) for i in range(cells.nrows)]
    whole = [[str(int(x)) if isinstance(x, float) and x.is_integer() else str(x) for x in row] for row in rows]
    table = pd.DataFrame(zip_longest(*whole, fillvalue="")).T  # rows end where their last cell does
    if header is None:
        return table
    names = [name or f"Unnamed: {i}" for i, name in enumerate(table.iloc[header])]
    return table.iloc[header + 1 :].set_axis(names, axis=1)


def _sheet_name(path: Path, sheet: str | None, names: Sequence[object]) -> str:
    if sheet is not None and sheet not in names:
        raise TableRefused(f"{path} has no sheet '{sheet}'; found {', '.join(map(str, names))}")
    return sheet or str(names[0])


def _plain(name: str | int) -> str | int:
    return name if isinstance(name, int) else "".join(str(name).split()).lower()


#: How a file begins that each of them reads.
_READERS = {b"PK\3\4": _read_xlsx, b"\xd0\xcf\x11\xe0": _read_xls}
