import json
import re

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from typer.testing import CliRunner

from studies import compare as module
from studies.compare import VARIANTS, Comparison
from tsfmicro_lab.training import score_table, subject_interval
from tsfmicro_lab.training.predictions import read_predictions

LABELS = [run.label for run in VARIANTS]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    args = ["--out", str(folder), "--subjects", "2", "--clips", "10", "--seeds", "2", "--epochs", "1"]
    result = CliRunner().invoke(module.app, [*args, "--workers", "2"])
    assert result.exit_code == 0, result.output
    return folder, args, Comparison.load(folder / "comparison.json"), result.output


def test_the_comparison_holds_every_variant_and_condition(made):
    _, _, comparison, output = made
    usual = comparison.intervals[comparison.intervals.layout == 1]
    for _, rows in usual.groupby("distractors"):
        assert list(rows.model) == [*LABELS, "majority"]
    others = comparison.intervals[comparison.intervals.layout != 1]
    assert set(others.model) == {"tsfmicro_late", "tsfmicro_temporal", "majority"}
    assert {*map(tuple, comparison.intervals[["distractors", "layout"]].to_numpy())} == {
        (d, layout) for d in ("all", "none") for layout in (0, 1, 2)
    }
    assert (comparison.intervals.gain[comparison.intervals.model == "tsfmicro_temporal"] == 0).all()
    assert list(comparison.cost.model) == LABELS
    assert set(comparison.streams.model) == set(LABELS[:5])
    assert "t2s inject=after" in output
    assert comparison.provenance["command"].startswith("python notebooks/studies/")
    assert re.fullmatch(r"([0-9a-f]{40}|unknown)( with changes)?", comparison.provenance["commit"])


def test_its_numbers_are_those_of_the_kept_predictions(made):
    folder, _, comparison, _ = made
    predictions = read_predictions(folder / "predictions.csv")
    rows = predictions[(predictions.distractors == "none") & (predictions.layout == 1)]
    classes = sorted(c.removeprefix("p_") for c in rows if c.startswith("p_"))
    late, temporal = (rows[rows.model == m] for m in ("tsfmicro_late", "tsfmicro_temporal"))
    table = comparison.intervals.set_index(["distractors", "layout", "model"]).loc[("none", 1.0)]
    assert tuple(table.loc["tsfmicro_late", ["uf1", "low", "high"]]) == pytest.approx(
        subject_interval(late, classes), abs=1e-4
    )
    assert tuple(table.loc["tsfmicro_late", ["gain", "gain_low", "gain_high"]]) == pytest.approx(
        subject_interval(late, classes, against=temporal), abs=1e-4
    )
    per_seed = score_table(late[late.seed == 1], classes).iloc[0]
    kept = comparison.scores.query("distractors == 'none' and layout == 1 and model == 'tsfmicro_late' and seed == 1")
    assert kept.uf1.item() == pytest.approx(per_seed.uf1, abs=1e-4)


def test_started_again_it_trains_nothing(made, monkeypatch):
    folder, args, comparison, _ = made
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("sub*.csv")}
    assert len(before) == 2 * 2 * (7 + 2 + 2) * 2
    monkeypatch.setattr(module, "measure_cost", lambda *_: comparison.cost)
    assert CliRunner().invoke(module.app, args).exit_code == 0
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("sub*.csv")} == before
    again = Comparison.load(folder / "comparison.json")
    pd.testing.assert_frame_equal(again.intervals, comparison.intervals)
    pd.testing.assert_frame_equal(again.streams, comparison.streams)


def test_the_documented_table_is_the_stored_comparison():
    """Every cell of the stored table at the usual layout stands in docs/results.md, in the row of its model."""
    stored = Comparison.load(ROOT / "notebooks" / "results" / "variants.json").table().query("layout == 1")
    names = {
        "tsfmicro_late": "late fusion",
        "tsfmicro_early": "early fusion",
        "tsfmicro_t2s inject=before": "T→S, before the transformer",
        "tsfmicro_t2s inject=after": "T→S, after it",
        "tsfmicro_s2t": "S→T",
        "tsfmicro_temporal": "temporal alone (difference)",
        "tsfmicro_spatial": "spatial alone (onset frame)",
        "majority": "majority class",
    }
    lines = (ROOT / "docs" / "results.md").read_text().replace("−", "-").splitlines()
    assert set(stored.model) == set(names)
    for row in stored.itertuples():
        [line] = [line for line in lines if line.startswith(f"| {names[row.model]} |")]
        assert row.uf1 in line
        assert row.model == "tsfmicro_temporal" or row.gain in line


def test_what_is_no_comparison_is_refused(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps({"provenance": {}}))
    for path in (tmp_path / "x.json", tmp_path / "gone.json"):
        with pytest.raises(
            ValueError, match=r"no result of compare .*make one with `python notebooks/studies/compare.py`"
        ):
            Comparison.load(path)


def test_an_unknown_preset_is_one_sentence(tmp_path):
    result = CliRunner().invoke(module.app, ["--preset", "huge", "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "unknown preset 'huge': choose from base, small, tiny" in result.output
    assert not np.any([*tmp_path.iterdir()])
