"""Tables as they were released: xlsx, xls or csv, read as text, by column name, with bounds, and never executed."""

import csv
import io
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

import pandas as pd

#: Far above any table of the field, far below what fills a machine.
MAX_BYTES, MAX_ENTRIES, MAX_ROWS, MAX_COLUMNS = 32 * 2**20, 1000, 20_000, 702
#: Rows among which the header is looked for.
MAX_PREAMBLE = 50
#: What texts are tried as, in this order. Both bytes of a Chinese letter are large in gb2312, while an accent of cp1252
#: stands between ASCII letters, so neither is taken for the other.
ENCODINGS = ("utf-8-sig", "gb2312", "cp1252")
#: A cell in a column of three letters: 16,384 of them a row is how a small file fills a large memory.
_WIDE = re.compile(rb"""<(?:\w+:)?c\s[^>]*?\br=["'][A-Za-z]{3,}""")


class TableRefused(ValueError):
    """A table was understood and refused; the message names it and says why."""


def read_table(path: Path, sheet: str | None = None, names: Iterable[str] | None = ()) -> pd.DataFrame:
    """Reads a table with every cell as text; formulas give the value that was stored with them.

    Args:
        path: An xlsx, xls or csv file, told by its content, not by its name; csv of any separator and encoding that
            spreadsheets write.
        sheet: Sheet of a workbook; the first by default, and the only one where there is one.
        names: Columns by which the header is found, wherever it stands: the first row that has most of them. None: the
            table has no header.

    Returns:
        The cells, stripped; empty ones are empty text. Columns without a name are left out. `attrs["above"]` holds the
        lines above the header.

    Raises:
        ValueError: The file is too large or no table, or the sheet is not in it.
    """
    if path.stat().st_size > MAX_BYTES:
        raise TableRefused(f"{path} is larger than {MAX_BYTES >> 20} MiB, which no table of the field is")
    with path.open("rb") as file:
        read = {b"PK\3\4": _read_xlsx, b"\xd0\xcf\x11\xe0": _read_xls}.get(file.read(4), _read_csv)
    above: list[str] = []
    try:
        rows = [[_text(cell) for cell in row] for row in islice(read(path, sheet), MAX_ROWS + 1)]
        if len(rows) > MAX_ROWS or max(map(len, rows)) > MAX_COLUMNS:
            raise TableRefused(f"{path} has more than {MAX_ROWS} rows or {MAX_COLUMNS} columns: no table of the field")
        table = pd.DataFrame(zip(*zip_longest(*rows, fillvalue=""), strict=True))  # all rows as long as the longest
        if names is not None:
            wanted = set(map(_plain, names))
            there = [len(wanted & set(map(_plain, row))) for row in rows[:MAX_PREAMBLE]]
            header = there.index(max(there))
            if read is _read_csv:
                _refuse_shifted(path, rows, header)
            above = [" ".join(filter(None, row)) for row in rows[:header]]
            titles = [" ".join(name.split()) for name in table.iloc[header]]
            table = table.iloc[header + 1 :].set_axis(titles, axis=1).loc[:, [name != "" for name in titles]]
    except TableRefused:
        raise
    except ImportError as error:
        raise TableRefused(f"{path} is an Excel table: pip install 'tsfmicro-lab[recordings]'") from error
    except Exception as error:  # the readers raise whatever a broken file leads them to
        remedy = "copy it again from the data set, or save it as CSV in UTF-8"
        raise TableRefused(f"{path} cannot be read as a table: {error or type(error).__name__}; {remedy}") from error
    table = table[(table != "").any(axis=1)].reset_index(drop=True)
    table.attrs["above"] = above
    return table


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


def read_text(path: Path) -> str:
    """The first megabytes of a text in any encoding that spreadsheets write."""
    with path.open("rb") as file:
        data = file.read(MAX_BYTES)
    for encoding in ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ENCODINGS:
        with suppress(UnicodeDecodeError):
            return data.decode(encoding)
    return ""


def _read_csv(path: Path, sheet: str | None) -> Iterator[Any]:
    text = read_text(path)
    yield from csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=max(",;\t", key=text.count))


def _refuse_shifted(path: Path, rows: list[list[str]], header: int) -> None:
    """Refuses a row with more cells than there are columns: a comma within a cell has shifted all behind it."""
    width = len(rows[header])
    for number, row in enumerate(rows[header + 1 :], start=header + 2):
        if any(row[width:]):
            remedy = "a cell holds the separator: save the table again with quotes, or as xlsx"
            raise TableRefused(f"{path}, line {number} has {len(row)} cells under {width} columns; {remedy}")


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
    if sheet is not None and sheet not in names and len(names) > 1:
        raise TableRefused(f"{path} has no sheet '{sheet}'; found {', '.join(names)}")
    return sheet if sheet in names else names[0]


def _text(cell: Any) -> str:
    """A cell as text, whole numbers without the point that workbooks put behind them."""
    return "" if cell is None else str(int(cell) if isinstance(cell, float) and cell.is_integer() else cell).strip()


def _plain(name: str | int) -> str | int:
    return name if isinstance(name, int) else "".join(name.split()).lower()
