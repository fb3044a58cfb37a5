import struct
import sys
import zipfile

import pandas as pd
import pytest

from tsfmicro_lab.data import tables
from tsfmicro_lab.data.tables import pick_columns, read_table

ROWS = pd.DataFrame({"Subject": ["006", "01"], "Onset": [46, 5562], "Note": ["", "a + b"]})


@pytest.fixture
def workbook(tmp_path):
    path = tmp_path / "t.xlsx"
    ROWS.to_excel(path, index=False)
    return path


def test_text_stays_text_in_every_format(tmp_path, workbook):
    import xlwt

    book = xlwt.Workbook()
    sheet = book.add_sheet("s")
    for j, name in enumerate(ROWS):
        for i, value in enumerate([name, *ROWS[name].tolist()]):
            sheet.write(i, j, value)
    book.save(str(tmp_path / "t.xls"))
    ROWS.to_csv(tmp_path / "t.csv", index=False)
    for path in (workbook, tmp_path / "t.xls", tmp_path / "t.csv"):
        table = read_table(path)
        assert table.to_dict("list") == {"Subject": ["006", "01"], "Onset": ["46", "5562"], "Note": ["", "a + b"]}


def test_the_content_tells_the_format_not_the_name(workbook):
    renamed = workbook.rename(workbook.with_suffix(".xls"))
    assert read_table(renamed).Subject.tolist() == ["006", "01"]


def test_columns_and_rows_without_anything_are_left_out(tmp_path):
    (tmp_path / "t.csv").write_text("Subject,,Onset\n06,x,1\n,,\n07,y,2\n")
    table = read_table(tmp_path / "t.csv")
    assert list(table) == ["Subject", "Onset"]
    assert table.Subject.tolist() == ["06", "07"]


def test_a_zip_bomb_is_not_unpacked(tmp_path, workbook):
    bomb = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(workbook) as good, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as bad:
        for entry in good.infolist():
            bad.writestr(entry, good.read(entry))
        bad.writestr("xl/media/image1.bmp", bytes(64 * 2**20))
    assert bomb.stat().st_size < 2**20
    with pytest.raises(ValueError, match=r"bomb\.xlsx would unpack to 64 MiB .* not opened"):
        read_table(bomb)


def test_a_sheet_that_is_mostly_emptiness_is_not_opened(tmp_path):
    wide = tmp_path / "wide.xlsx"
    pd.DataFrame([[1]]).to_excel(wide, header=False, index=False, startcol=16000)
    disguised = tmp_path / "disguised.xlsx"
    with zipfile.ZipFile(wide) as old, zipfile.ZipFile(disguised, "w") as new:
        for entry in old.infolist():
            new.writestr(entry, old.read(entry).replace(b'<c r="', b'<c t="n" r="'))
    for path in (wide, disguised):
        with pytest.raises(ValueError, match="more than 702 columns"):
            read_table(path)


def test_one_cell_far_out_of_an_old_workbook_does_not_fill_the_memory(tmp_path):
    import xlwt

    path = tmp_path / "far.xls"
    book = xlwt.Workbook()
    sheet = book.add_sheet("s")
    sheet.write(0, 0, "Subject")
    sheet.write(12345, 200, 7.5)
    book.save(str(path))
    cell, far = struct.pack("<HH", 12345, 200), struct.pack("<HH", 65535, 65535)
    assert path.read_bytes().count(cell) == 1
    path.write_bytes(path.read_bytes().replace(cell, far))
    with pytest.raises(ValueError, match=r"far\.xls"):
        read_table(path)


def test_too_many_rows_and_too_large_files_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    path.write_text("a\n" + "1\n" * 11)
    monkeypatch.setattr(tables, "MAX_ROWS", 10)
    with pytest.raises(ValueError, match="more than 10 rows"):
        read_table(path)
    monkeypatch.setattr(tables, "MAX_BYTES", 10)
    with pytest.raises(ValueError, match="is larger than"):
        read_table(path)


def test_formulas_are_not_evaluated(tmp_path):
    """A formula that nobody computed has no value; one that was has the value stored beside it."""
    path, cached = tmp_path / "f.xlsx", tmp_path / "g.xlsx"
    pd.DataFrame({"Onset": [40, 40], "Duration": ["=A2+2", '=WEBSERVICE("http://127.0.0.1/")']}).to_excel(
        path, index=False
    )
    assert read_table(path).Duration.tolist() == ["", ""]
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(cached, "w") as new:
        for entry in old.infolist():
            new.writestr(entry, old.read(entry).replace(b"<f>A2+2</f><v />", b"<f>A2+2</f><v>42</v>"))
    assert read_table(cached).Duration.tolist() == ["42", ""]


@pytest.mark.parametrize(
    "content", [b"PK\x03\x04 broken", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 broken", b'a,b\n"1', b"\xff\xfe\x00"]
)
def test_broken_files_are_named(tmp_path, content):
    (tmp_path / "t.xlsx").write_bytes(content)
    with pytest.raises(ValueError, match=r"t\.xlsx cannot be read as a table: .*copy it again"):
        read_table(tmp_path / "t.xlsx")


@pytest.mark.parametrize(("library", "content"), [("openpyxl", None), ("xlrd", b"\xd0\xcf\x11\xe0")])
def test_without_the_readers_of_excel_one_sentence_says_what_to_install(workbook, monkeypatch, library, content):
    monkeypatch.setitem(sys.modules, library, None)
    if content:
        workbook.write_bytes(content)
    with pytest.raises(ValueError, match=r"t\.xlsx is an Excel table: pip install 'tsfmicro-lab\[recordings\]'"):
        read_table(workbook)


def test_a_missing_sheet_lists_those_there_are(tmp_path, workbook):
    with pd.ExcelWriter(tmp_path / "two.xlsx") as book:
        for name in ("Sheet1", "Sheet2"):
            ROWS.to_excel(book, sheet_name=name, index=False)
    with pytest.raises(ValueError, match=r"two\.xlsx has no sheet 'label'; found Sheet1, Sheet2"):
        read_table(tmp_path / "two.xlsx", "label")
    assert len(read_table(workbook, "label")) == 2  # the only sheet of a copy that was saved anew


def text(*lines):
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(
    ("encoding", "remark"),
    [("utf-8", "é中"), ("utf-8-sig", "é"), ("utf-16", "é中"), ("cp1252", "geändert, é"), ("gb2312", "备注")],
)
def test_every_dialect_of_spreadsheets_is_read(tmp_path, separator, encoding, remark):
    rows = pd.DataFrame([["01", "4,12", remark], ["02", "", ""]], columns=["Subject", "AU", "Note"])
    rows.to_csv(tmp_path / "t.csv", sep=separator, encoding=encoding, index=False)
    assert read_table(tmp_path / "t.csv", names=["subject", "au"]).values.tolist() == rows.values.tolist()


def test_the_header_is_found_wherever_it_stands(tmp_path):
    (tmp_path / "t.csv").write_text(text("AD = descriptor,,", "Subject of it,,", "Subject,Onset,AU", "01,2,4"))
    table = read_table(tmp_path / "t.csv", names=["Subject", "Onset"])
    assert table.to_dict("list") == {"Subject": ["01"], "Onset": ["2"], "AU": ["4"]}
    assert table.attrs["above"] == ["AD = descriptor", "Subject of it"]


def test_trailing_separators_shift_nothing_and_a_comma_in_a_cell_is_told(tmp_path):
    (tmp_path / "t.csv").write_text(text("Subject,Onset", "01,2,", "02,3,,"))
    assert read_table(tmp_path / "t.csv", names=["Subject"]).values.tolist() == [["01", "2"], ["02", "3"]]
    (tmp_path / "t.csv").write_text(text("Subject,AU,Onset", "01,4,12,46"))
    with pytest.raises(ValueError, match=r"t\.csv, line 2 has 4 cells under 3 columns; a cell holds the separator"):
        read_table(tmp_path / "t.csv", names=["Subject"])


def test_a_line_of_separators_alone_does_not_fill_the_memory(tmp_path):
    (tmp_path / "t.csv").write_text(text("a,b", "," * 10**6))
    with pytest.raises(ValueError, match="more than 20000 rows or 702 columns"):
        read_table(tmp_path / "t.csv")


def test_columns_go_by_name_whatever_their_order_capitals_and_blanks():
    table = pd.DataFrame([["46", "006"]], columns=["onset  FRAME", "Subject"])
    assert pick_columns(table, {"subject": "Subject", "onset": "Onset Frame"}, "t").values.tolist() == [["006", "46"]]
    with pytest.raises(ValueError, match=r"t\.csv has no column 'Apex'; found onset  FRAME, Subject\."):
        pick_columns(table, {"apex": "Apex"}, "t.csv")
    twice = pd.DataFrame([["1", "2"]], columns=["Subject", "SUBJECT"])
    with pytest.raises(ValueError, match="has column 'Subject' more than once"):
        pick_columns(twice, {"subject": "Subject"}, "t.csv")
