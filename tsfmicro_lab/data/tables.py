"""Tables as they were released: xlsx, xls or csv, read as text, by column name, with bounds, and never executed."""

import csv
import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import islice, zip_longest
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
    """Reads a table with every cell as text; formulas give the value that was stored with them.

    Args:
        path: An xlsx, xls or csv file, told by its content, not by its name.
        sheet: Sheet of a workbook; the first by default.
        header: Row of the header, counted from 0; None where there is none.

    Returns:
        The cells, stripped; empty ones are empty text. Columns without a name are left out.

    Raises:
        ValueError: The file is too large or no table, or the sheet is not in it.
    """
    if path.stat().st_size > MAX_BYTES:
        raise TableRefused(f"{path} is larger than {MAX_BYTES >> 20} MiB, which no table of the field is")
    with path.open("rb") as file:
        read = {b"PK\3\4": _read_xlsx, b"\xd0\xcf\x11\xe0": _read_xls}.get(file.read(4), _read_csv)
    try:
        rows = [[_text(cell) for cell in row] for row in islice(read(path, sheet), MAX_ROWS + 1)]
        table = pd.DataFrame(zip(*zip_longest(*rows, fillvalue=""), strict=True))  # all rows as long as the longest
        if header is not None:
            names = [" ".join(name.split()) for name in table.iloc[header]]
            table = table.iloc[header + 1 :].set_axis(names, axis=1).loc[:, [name != "" for name in names]]
    except TableRefused:
        raise
    except ImportError as error:
        raise TableRefused(f"{path} is an Excel table: pip install 'tsfmicro-lab[recordings]'") from error
    except Exception as error:  # the readers raise whatever a broken file leads them to
        why = error or type(error).__name__
        raise TableRefused(f"{path} cannot be read as a table: {why}; copy it again from the data set") from error
    if len(rows) > MAX_ROWS:
        raise TableRefused(f"{path} has more than {MAX_ROWS} rows, which no table of the field has")
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
    for name in columns.values():
        if (there := names.count(_plain(name))) != 1:
            what = f"column '{name}' more than once" if there else f"no column '{name}'"
            found = ", ".join(map(str, table.columns)) or "nothing"
            raise TableRefused(f"{source} has {what}; found {found}. Give the columns the names that were released")
    return pd.DataFrame({field: table.iloc[:, names.index(_plain(name))] for field, name in columns.items()})


def _read_csv(path: Path, sheet: str | None) -> Iterator[Any]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from csv.reader(file, strict=True)


def _read_xlsx(path: Path, sheet: str | None) -> Iterator[Any]:
    import openpyxl

    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        size = sum(entry.file_size for entry in entries)
        if size > MAX_BYTES or len(entries) > MAX_ENTRIES:
            what = f"{path} would unpack to {size >> 20} MiB in {len(entries)} parts"
            raise TableRefused(f"{what}, more than any table of the field ({MAX_BYTES >> 20} MiB): it is not opened")
        if any(_WIDE.search(archive.read(entry)) for entry in entries if entry.filename.endswith(".xml")):
            raise TableRefused(f"{path} has a sheet of more than 702 columns: no table of the field, it is not opened")
    with path.open("rb") as file, closing(openpyxl.load_workbook(file, read_only=True, data_only=True)) as book:
        cells = book[_sheet_name(path, sheet, book.sheetnames)]
        cells.reset_dimensions()  # what the file says of its size may be wrong
        yield from cells.iter_rows(values_only=True)


def _read_xls(path: Path, sheet: str | None) -> Iterator[Any]:
    import xlrd

    with xlrd.open_workbook(path, on_demand=True, ragged_rows=True, logfile=io.StringIO()) as book:
        cells = book.sheet_by_name(_sheet_name(path, sheet, book.sheet_names()))
        yield from map(cells.row_values, range(cells.nrows))


def _sheet_name(path: Path, sheet: str | None, names: list[str]) -> str:
    if sheet is not None and sheet not in names:
        raise TableRefused(f"{path} has no sheet '{sheet}'; found {', '.join(names)}")
    return sheet or names[0]


def _text(cell: Any) -> str:
    """A cell as text, whole numbers without the point that workbooks put behind them."""
    return "" if cell is None else str(int(cell) if isinstance(cell, float) and cell.is_integer() else cell).strip()


def _plain(name: str | int) -> str | int:
    return name if isinstance(name, int) else "".join(name.split()).lower()
