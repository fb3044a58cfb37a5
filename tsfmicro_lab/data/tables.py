"""Tables as they were released: xlsx, xls or csv, read as text, by column name, with bounds, and never executed."""

import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

#: Far above any table of the field, far below what fills a machine.
MAX_BYTES, MAX_ENTRIES, MAX_ROWS = 32 * 2**20, 1000, 20_000
#: A cell in a column of three letters: 16,384 of them a row is how a small file fills a large memory.
_WIDE = re.compile(rb"""<(?:\w+:)?c\s[^>]*?\br=["'][A-Za-z]{3,}""")


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
        raise ValueError(f"{path} is larger than {MAX_BYTES >> 20} MiB, which no table of the field is")
    with path.open("rb") as file:
        magic = file.read(8)
    try:
        if magic.startswith(b"PK"):
            _check_archive(path)
            table = _sheet(path, sheet, header)
        elif magic.startswith(b"\xd0\xcf\x11\xe0"):
            table = _old_sheet(path, sheet, header)
        else:
            table = pd.read_csv(
                path, header=header, dtype=str, nrows=MAX_ROWS + 1, encoding="utf-8-sig", skip_blank_lines=False
            )
    except Exception as error:  # the readers raise whatever a broken file leads them to
        if isinstance(error, _Refused):
            raise
        raise ValueError(
            f"{path} cannot be read as a table: {error or type(error).__name__}; copy it again from the data set"
        ) from error
    if len(table) > MAX_ROWS:
        raise ValueError(f"{path} has more than {MAX_ROWS} rows, which no table of the field has")
    if header is not None:
        table.columns = [" ".join(str(name).split()) for name in table.columns]
        table = table.loc[:, [not name.startswith("Unnamed:") for name in table.columns]]
    table = table.fillna("").astype(str).apply(lambda column: column.str.strip())
    filled: pd.DataFrame = table.loc[(table != "").any(axis=1)].reset_index(drop=True)
    return filled


def pick_columns(table: pd.DataFrame, columns: Mapping[str, str | int], source: str) -> pd.DataFrame:
    """Picks columns by name, whatever their order, capitals and blanks.

    Args:
        table: As `read_table` gives it.
        columns: Field → name of the column, or its position in a table without a header.
        source: What messages call the table.

    Returns:
        One column per field.

    Raises:
        ValueError: A column is not there or there twice; the message lists what was found.

    Example:
        >>> pick_columns(pd.DataFrame({"B": ["2"], "A ": ["1"]}), {"a": "A"}, "labels.csv")
           a
        0  1
    """
    found: dict[str | int, list[int]] = {}
    for position, name in enumerate(table.columns):
        found.setdefault(name if isinstance(name, int) else _plain(name), []).append(position)
    wanted = {field: name if isinstance(name, int) else _plain(name) for field, name in columns.items()}
    missing = [str(columns[field]) for field, name in wanted.items() if name not in found]
    twice = [str(columns[field]) for field, name in wanted.items() if len(found.get(name, [])) > 1]
    if missing or twice:
        what = f"has no column '{', '.join(missing)}'" if missing else f"has column '{', '.join(twice)}' more than once"
        raise ValueError(
            f"{source} {what}; found {', '.join(map(str, table.columns)) or 'nothing'}. "
            "Take the table as it was released, or give the columns their released names"
        )
    return pd.DataFrame({field: table.iloc[:, found[name][0]] for field, name in wanted.items()})


class _Refused(ValueError):
    """The file was understood and refused."""


def _sheet(path: Path, sheet: str | None, header: int | None) -> pd.DataFrame:
    with pd.ExcelFile(path, engine="openpyxl") as book:
        name = _sheet_name(path, sheet, book.sheet_names)
        return pd.read_excel(book, name, header=header, dtype=str, nrows=MAX_ROWS + 1, na_filter=False)


def _old_sheet(path: Path, sheet: str | None, header: int | None) -> pd.DataFrame:
    """By xlrd itself: pandas is about to drop it, and calamine takes all memory where one cell lies far out."""
    import xlrd

    with xlrd.open_workbook(path, on_demand=True, ragged_rows=True, logfile=io.StringIO()) as book:
        cells = book.sheet_by_name(_sheet_name(path, sheet, book.sheet_names()))
        if cells.nrows > MAX_ROWS + 1:
            raise _Refused(f"{path} has more than {MAX_ROWS} rows, which no table of the field has")
        rows = [[_text(value) for value in cells.row_values(i)] for i in range(cells.nrows)]
    width = max(map(len, rows), default=0)
    rows = [[*row, *[""] * (width - len(row))] for row in rows]
    if header is None:
        return pd.DataFrame(rows)
    names = [name or f"Unnamed: {i}" for i, name in enumerate(rows[header])]
    return pd.DataFrame(rows[header + 1 :], columns=names)


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _sheet_name(path: Path, sheet: str | None, names: Sequence[object]) -> str:
    if sheet is not None and sheet not in names:
        raise _Refused(f"{path} has no sheet '{sheet}'; found {', '.join(map(str, names))}")
    return sheet or str(names[0])


def _check_archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        size = sum(entry.file_size for entry in entries)
        if size > MAX_BYTES or len(entries) > MAX_ENTRIES:
            raise _Refused(
                f"{path} would unpack to {size >> 20} MiB in {len(entries)} parts, more than {MAX_BYTES >> 20} MiB in "
                f"{MAX_ENTRIES}: this is no table of the field, and it is not opened"
            )
        for entry in entries:
            if entry.filename.endswith(".xml") and _WIDE.search(archive.read(entry)):
                raise _Refused(
                    f"{path} has a sheet of more than 702 columns: no table of the field, and it is not opened"
                )


def _plain(name: object) -> str:
    return "".join(str(name).split()).lower()
