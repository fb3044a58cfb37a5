import numpy as np
import pytest
from conftest import ROOT

from tsfmicro_lab.studies.compare import VARIANTS
from tsfmicro_lab.studies.compare_models import OTHERS, ModelComparison, WrongKeyFrames, compare_models
from tsfmicro_lab.studies.displacement import Displacements
from tsfmicro_lab.studies.displacement import measure as measure_displacement

STORED = ROOT / "notebooks" / "results"


def test_the_command_compares_all_models_and_goes_on(tmp_path, monkeypatch):
    from tsfmicro_lab.studies import compare_models as module

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
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("sub*.parquet")}
    again = compare_models(tmp_path, **size)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("sub*.parquet")} == before
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


def test_displacements_are_measured_against_the_truth(tmp_path):
    found = measure_displacement(subjects=2, clips_per_subject=2, seeds=1, epochs=1, longer=2)
    still = found.errors[found.errors.method == "nothing moved"]
    assert (still.expression > 0).all()
    clean = found.errors[found.errors.condition == "none"].groupby("method").expression.mean()
    assert clean["dis"] < clean["nothing moved"]
    found.save(tmp_path / "x.json")
    assert Displacements.load(tmp_path / "x.json").table().shape == (7, 4)
