import re
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from scipy.stats import ttest_1samp

from studies import displacement, needed, said
from studies.compare import Comparison
from studies.displacement import Displacements
from studies.intervals import over_seeds, p_told
from studies.key_frames import KeyFrames, WrongKeyFrames
from studies.new_subjects import SETTINGS
from studies.tables import BLOCKS, PAIRS, written
from tsfmicro_lab.training.statistics import corrected

STORED = ROOT / "notebooks" / "results"


def test_wrong_key_frames_stay_in_order(data):
    for off in (1, 5):
        for i, clip in enumerate(wrong := WrongKeyFrames(data, off)):
            if i == len(wrong) - 1:
                break
            assert 0 <= clip.onset < clip.apex <= clip.offset
            assert abs(clip.onset - data[i].onset) <= off
    assert WrongKeyFrames(data, 0)[3].apex == data[3].apex


def test_a_wrong_key_frame_is_shown_to_reach_the_model(tmp_path, monkeypatch):
    from studies import key_frames

    monkeypatch.setattr(key_frames, "RUNS", key_frames.RUNS[:1])
    found = key_frames._measure(replace(SETTINGS["clean"], subjects=2, clips=10), key_frames.RUNS[0], (0, 20))
    assert found.changed[0] == 0
    assert found.changed[1] > 0.01
    KeyFrames({}, found).save(tmp_path / "x.json")
    assert list(KeyFrames.load(tmp_path / "x.json").table()) == [0, 20, "inputs"]
    assert key_frames.OFF[0] == 0, "changes are measured against right key frames"


def test_the_tables_of_the_results_page_are_the_stored_ones():
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert written(page) == page, "python notebooks/studies/tables.py"
    assert all(f"<!-- {name} -->" in page for name in BLOCKS)


def test_no_printed_interval_contradicts_its_p():
    """An interval that leaves out zero stands beside a corrected p below 0.05, and no other does, as printed."""
    for name in ("clean", "distractors", "needed", "needed-flow", "pairs"):
        table = BLOCKS[name]()
        gains = table["gain" if name == "pairs" else "gain over temporal"]
        for gain, p in zip(gains, table["p (Holm)"], strict=True):
            low, high = map(float, re.findall(r"[+-]\d\.\d+", gain)[1:] or (np.nan, np.nan))
            assert (low * high > 0) == (p != "" and float(p.lstrip("<")) < 0.05), f"{name}: {gain} beside p = {p}"


def test_the_pairs_are_tested_over_seeds():
    scores = Comparison.load(STORED / "comparison.json").scores.query("faces == 'new heads'")
    uf1 = scores.pivot_table("uf1", "seed", ["setting", "model"])
    tests = [ttest_1samp((uf1[where, a] - uf1[where, b]).dropna(), 0).pvalue for where, a, b in PAIRS]
    holm = np.minimum(np.maximum.accumulate(np.sort(tests) * np.arange(len(tests), 0, -1)), 1)
    printed = BLOCKS["pairs"]()["p (Holm)"]
    assert list(printed.iloc[np.argsort(tests)]) == [*map(p_told, holm)]


def test_a_p_near_the_limit_shows_its_side():
    assert [*map(p_told, (0.0008, 0.0123, 0.04961, 0.05034, 1, np.nan))] == [
        "<0.001",
        "0.012",
        "0.0496",
        "0.0503",
        "1.000",
        "",
    ]


def errors_of(farther, seeds=10):
    """Errors of each stage by seed: with noise, some are farther from the truth by a number of pixels."""
    rng, rows = np.random.default_rng(0), []
    for seed, where in product(range(seeds), ("none", "noise")):
        for method in ("nothing moved", LONGER, "DGM, self-supervised", "DGM, with the classes"):
            error = 1 + rng.normal(0, 0.05) + (where == "noise") * farther.get(method, 0)
            rows.append({"condition": where, "seed": seed, "method": method, "expression": error})
    return Displacements({}, pd.DataFrame(rows))


LONGER = "DGM, self-supervised 30 × as long"


def test_a_stage_is_closer_farther_or_neither():
    found = errors_of({LONGER: 0.5, "DGM, with the classes": -0.3})
    table = found.compared().set_index(["stage", "condition"])
    assert table.gain[LONGER, "noise"] == pytest.approx(-0.5, abs=0.1)
    assert (table.p_holm < 0.05).sum() == 2
    told = said.displacement(found, "expression")
    assert f"- {LONGER}, against nothing moved: farther under *noise*; of the others it cannot be told." in told
    assert "- DGM, self-supervised, against nothing moved: under none can it be told." in told
    assert "- DGM, with the classes, against DGM, self-supervised: closer under *noise*; of" in told


def test_a_gap_is_to_the_best_of_each_seed():
    uf1 = {needed.ORACLE: (0.9, 0.8), "a": (0.5, 0.2), "b": (0.3, 0.6)}
    rows = [
        {"condition": c, "seed": seed, "model": model, "uf1": value}
        for c in needed.CONDITIONS
        for model, values in uf1.items()
        for seed, value in enumerate(values)
    ]
    assert "0.300 (0.200 to 0.400) as filmed" in said.gap(needed.Gap({}, pd.DataFrame(rows)))


def test_lesson_12_and_the_page_say_what_the_stored_displacements_tell():
    found = Displacements.load(STORED / "displacement.json")
    table, whole = found.compared(), found.compared("all")
    assert not ((whole.than == "nothing moved") & (whole.gain > 0) & (whole.p_holm < 0.05)).any()
    networks = [method for method in found.errors.method.unique() if method.startswith("DGM")]
    behind = []
    for what in ("expression", "all"):
        seeds = found.errors.pivot_table(what, "seed", ["condition", "method"])
        behind += [
            seeds[where, method] - seeds[where, "dis"] for where in displacement.CONDITIONS for method in networks
        ]
    tests = corrected([*map(over_seeds, behind)])
    assert (tests.low > 0).all(), "DIS flow is closer than each stage under every disturbance"
    assert (seeds["noise", "dis"] > seeds["noise", "nothing moved"]).all(), "in noise it sees motion everywhere"
    told = table[table.p_holm < 0.05]
    sides = {*zip(told.stage, told.condition, told.gain > 0, strict=True)}
    assert sides == {
        (LONGER, "none", True),
        (LONGER, "light", True),
        (LONGER, "noise", False),
        (LONGER, "flicker", False),
        ("DGM, self-supervised", "noise", False),
    }


def test_displacements_are_measured_against_the_truth(tmp_path, monkeypatch):
    few = {name: displacement.CONDITIONS[name] for name in ("none", "noise")}
    monkeypatch.setattr(displacement, "CONDITIONS", few)
    found = displacement.measure(subjects=2, clips_per_subject=2, seeds=1, epochs=1, longer=2, workers=1)
    still = found.errors[found.errors.method == "nothing moved"]
    assert (still.expression > 0).all()
    clean = found.errors[found.errors.condition == "none"].groupby("method").expression.mean()
    assert clean["dis"] < clean["nothing moved"]
    found.save(tmp_path / "x.json")
    assert Displacements.load(tmp_path / "x.json").table().shape == (7, 2)
