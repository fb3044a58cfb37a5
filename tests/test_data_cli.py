import re

import pandas as pd
import pytest
from typer.testing import CliRunner

from tsfmicro_lab.cli import app
from tsfmicro_lab.data import list_cards, read_card

run = CliRunner()


def data(*args, code=0):
    result = run.invoke(app, ["data", *map(str, args)], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return re.sub(r"\s+", " ", re.sub(r"\x1b\[[0-9;]*m", "", result.output))


def test_list_names_every_card():
    text = data("list")
    for name in list_cards():
        assert read_card(name).pretty_name in text
    assert "│ casme2 │ CASME II │ 255 │ 26 │ 200 │ 2014, 2019, objective │ other │" in text
    assert "│ megc2019 │ MEGC2019 composite │ 442 │ 68 │" in text


def test_show_prints_the_card():
    text = data("show", "samm")
    assert "Where it must not be used." in text
    assert "Access: Manchester Metropolitan University" in text
    assert "no data card 'sam': choose from 4dme" in data("show", "sam", code=1)


def test_a_look_alike_is_written_and_reported_on(tmp_path):
    root = tmp_path / "samm"
    size = ("--subjects", 2, "--clips", 2, "--size", 64)
    assert "9 clips, 5 of them with faults" in data("synthesize", root, "--layout", "samm", *size)
    assert len(list((root / "001" / "001_1_2").glob("001_*.jpg"))) > 20
    text = data("report", "samm", root, "--save", tmp_path / "report.csv", "--rows", 3)
    assert "SAMM (labels v2): 9 clips of 5 subjects" in text
    assert "│ 028 │ 028_4_1 │ 1090 │ corrected │ apex 1143 → 1105" in text
    assert "rows more: give --rows or --save" in text
    table = pd.read_csv(tmp_path / "report.csv", dtype=str)
    assert list(table) == ["subject", "clip", "onset", "what", "why"]
    assert (table.what == "corrected").sum() == 4


@pytest.mark.parametrize("layout", ["casme2", "casme3", "smic", "mmew"])
def test_every_row_of_a_report_is_printed(tmp_path, layout):
    data("synthesize", tmp_path / layout, "--layout", layout, "--subjects", 1, "--clips", 2, "--no-frames")
    labels = ("--labels", read_card(layout).labels and next(iter(read_card(layout).labels)))
    data("report", layout, tmp_path / layout, *labels, "--rows", 1000)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["report", "samm", "{here}"], "is no root of SAMM: expected SAMM_Micro_FACS_Codes_v2.xlsx inside"),
        (["report", "casme2", "{here}"], "CASME II has no labels 'None': give labels=, one of 2014"),
        (["report", "casme2", "{here}", "--labels", "2020"], "CASME II has no labels '2020'"),
        (["report", "synthetic", "{here}"], "it is not read from a folder"),
        (["synthesize", "{here}/new", "--layout", "nobody"], "no layout 'nobody': choose from casme, casme2"),
    ],
)
def test_wrong_arguments_are_one_sentence(args, message, tmp_path):
    assert message in data(*(arg.format(here=tmp_path) for arg in args), code=1)


def test_a_folder_that_is_not_empty_is_not_written_to(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    assert "is not empty: give a new folder" in data("synthesize", tmp_path, "--layout", "casme2", code=1)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
