import re

import pandas as pd
import pytest
from typer.testing import CliRunner

from lookalikes import synthesize
from tsfmicro_lab.cli import app
from tsfmicro_lab.data import SyntheticMicroExpressions, list_cards, read_card

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
    assert "casme2 CASME II 255 26 200 2014, 2019, objective other" in text
    assert "megc2019 MEGC2019 composite 442 68 – – " in text


def test_show_prints_the_card():
    text = data("show", "samm")
    assert "Where it must not be used." in text
    assert "Access: Manchester Metropolitan University" in text
    assert "no data card 'sam': choose from 4dme" in data("show", "sam", code=1)


def test_a_look_alike_is_reported_on(tmp_path):
    root = tmp_path / "samm"
    synthesize("samm", root, SyntheticMicroExpressions(2, 2, 64), clips=4)
    text = data("report", "samm", root, "--save", tmp_path / "report.csv", "--rows", 3)
    assert "SAMM (labels v2): 9 clips of 5 subjects" in text
    assert "028 028_4_1 1090 corrected apex 1143 → 1105" in text
    assert "rows more: give --rows or --save" in text
    table = pd.read_csv(tmp_path / "report.csv", dtype=str)
    assert list(table) == ["subject", "clip", "onset", "what", "why"]
    assert (table.what == "corrected").sum() == 3


@pytest.mark.parametrize("layout", ["casme2", "casme3", "smic", "mmew"])
def test_every_row_of_a_report_is_printed(tmp_path, layout):
    synthesize(layout, tmp_path / layout, SyntheticMicroExpressions(1, 2, 64), frames=False)
    labels = ("--labels", read_card(layout).labels and next(iter(read_card(layout).labels)))
    data("report", layout, tmp_path / layout, *labels, "--rows", 1000)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["report", "samm", "{here}"], "is no root of SAMM: expected SAMM_Micro_FACS_Codes_v2.xlsx inside"),
        (["report", "casme2", "{here}"], "CASME II has no labels 'None': give labels=, one of 2014"),
        (["report", "casme2", "{here}", "--labels", "2020"], "CASME II has no labels '2020'"),
        (["report", "synthetic", "{here}"], "it is not read from a folder"),
    ],
)
def test_wrong_arguments_are_one_sentence(args, message, tmp_path):
    assert message in data(*(arg.format(here=tmp_path) for arg in args), code=1)
