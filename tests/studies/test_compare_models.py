import re

import numpy as np
import pytest
from conftest import ROOT

from studies.compare import VARIANTS
from studies.compare_models import OTHERS, ModelComparison, WrongKeyFrames, compare_models
from studies.displacement import Displacements
from studies.displacement import measure as measure_displacement

STORED = ROOT / "notebooks" / "results"


def test_the_command_compares_all_models_and_goes_on(tmp_path, monkeypatch):
    from studies import compare_models as module

    monkeypatch.setattr(module, "OTHERS", OTHERS[:2])
    monkeypatch.setattr(module, "VARIANTS", VARIANTS[:1])
    monkeypatch.setattr(module, "OFF", (0, 3))
    size = {"subjects": 2, "clips_per_subject": 6, "seeds": 2, "epochs": 1, "workers": 1}
    found = compare_models(tmp_path, **size)
    labels = [run.label for run in (VARIANTS[0], *OTHERS[:2])]
    assert set(found.table()["model"]) == {*labels, "majority"}
    assert (found.scores.groupby("model").size() == 2).all()
    intact = found.shifts[found.shifts.off == 0].set_index("model")
    assert set(intact.index) == set(labels)
    assert (found.cost.parameters > 0).all()
    found.save(tmp_path / "x.json")
    assert ModelComparison.load(tmp_path / "x.json").table().shape == found.table().shape
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("sub*.csv")}
    again = compare_models(tmp_path, **size)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("sub*.csv")} == before
    assert np.allclose(again.intervals.uf1, found.intervals.uf1)


def test_a_stored_comparison_of_another_budget_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"was made with .* nothing to compare"):
        compare_models(tmp_path, subjects=3, variants=STORED / "variants.json")


def test_wrong_key_frames_stay_in_order(data):
    for off in (1, 5):
        for i, clip in enumerate(wrong := WrongKeyFrames(data, off)):
            if i == len(wrong) - 1:
                break
            assert 0 <= clip.onset < clip.apex <= clip.offset
            assert abs(clip.onset - data[i].onset) <= off
    assert WrongKeyFrames(data, 0)[3].apex == data[3].apex


def paragraph(begin):
    [text] = [text for text in (ROOT / "docs" / "results.md").read_text().split("\n\n") if text.startswith(begin)]
    return " ".join(text.split())


def test_the_documented_table_of_models_is_the_stored_one():
    stored = ModelComparison.load(STORED / "models.json").table()
    assert set(stored["model"]) == {run.label for run in (*VARIANTS, *OTHERS)} | {"majority"}
    lines = (ROOT / "docs" / "results.md").read_text().splitlines()
    for row in stored.itertuples(index=False):
        [line] = [line for line in lines if line.startswith(f"| `{row.model}` |")]
        assert [cell.strip() for cell in line.split("|")[2:-1]] == list(row)[1:]


def test_the_documented_losses_by_wrong_key_frames_are_the_stored_ones():
    shifts = ModelComparison.load(STORED / "models.json").shifts.set_index(["model", "off"]).uf1
    text = paragraph("**Wrong key frames.**")
    for model, name in {"ststnet": "STSTNet", "slstt_mean flow=short": "short flow", "frl_dgt": "FRL-DGT"}.items():
        assert re.search(rf"{name} (loses )?{shifts[model, 0] - shifts[model, 5]:.2f}", text)
    for model in ("slstt_mean", "off_apexnet"):
        assert f"{shifts[model, 0] - shifts[model, 5]:.2f}" == "0.04"
    assert shifts["tsfmicro_late", 5] >= shifts["tsfmicro_late", 0]


def test_the_documented_displacements_are_the_stored_ones():
    errors = Displacements.load(STORED / "displacement.json").errors.query("condition == 'none'")
    means = errors.groupby(["method", "seed", "subject"]).expression.mean().groupby("method").mean()
    text = paragraph("**Is a learned displacement a displacement?**")
    expected = ["nothing moved", "dis", "farneback", "DGM, self-supervised", "DGM, self-supervised 30 × as long"]
    found = [float(number) for number in re.findall(r"\d\.\d\d", text)]
    assert found == [round(means[m], 2) for m in (*expected, "DGM, with the classes")]
    assert round(means["tvl1"], 2) == round(means["farneback"], 2)


def test_displacements_are_measured_against_the_truth(tmp_path):
    found = measure_displacement(subjects=2, clips_per_subject=2, seeds=1, epochs=1, longer=2)
    still = found.errors[found.errors.method == "nothing moved"]
    assert (still.expression > 0).all()
    clean = found.errors[found.errors.condition == "none"].groupby("method").expression.mean()
    assert clean["dis"] < clean["nothing moved"]
    found.save(tmp_path / "x.json")
    assert Displacements.load(tmp_path / "x.json").table().shape == (7, 6)
