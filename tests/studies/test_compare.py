import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from toy_models import with_stale_statistics
from typer.testing import CliRunner

from studies import compare as module
from studies import new_subjects
from studies.compare import LOSO, TEMPORAL, VARIANTS, Comparison, compare, put_into, trials
from studies.floors import FLOORS, ORACLE, main_directions, pooled
from studies.new_subjects import ELSEWHERE, FLOW, HALF, HEADS, PHOTOGRAPHS, SETTINGS, data_of, drawn, seed_of, shrunk
from tsfmicro_lab.training import scores, subject_interval
from tsfmicro_lab.training.predictions import read_predictions

SMALL = replace(SETTINGS["needed"], parts=2, tested=1, subjects=2, clips=10)
ONLY = ("tsfmicro_late", TEMPORAL, "ststnet flow=dis")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    return folder, compare(folder, seeds=2, epochs=1, workers=1, settings=[SMALL], only=ONLY)


def test_networks_stand_between_floors_and_an_oracle(made):
    _, found = made
    assert set(found.intervals.model) == {*ONLY, *FLOORS} - {"lbp_top"}, "whole clips are read in one setting"
    assert (found.scores.groupby("model").seed.nunique() == 2).all()
    assert set(found.scores.faces) == {HEADS}
    uf1 = found.intervals.set_index("model").uf1
    assert uf1[ORACLE] > 0.6 > 0.45 > max(uf1["chance"], uf1["majority"])
    assert set(found.streams.model) == {"tsfmicro_late"}
    assert found.curves.query("epoch > 0").model.nunique() == 2
    assert list(found.table("needed").model) == list(found.intervals.sort_values("uf1", ascending=False).model)


def test_its_numbers_are_those_of_the_kept_predictions(made):
    folder, found = made
    [*paths] = sorted(folder.glob("trials/needed-new_heads-tsfmicro_late-2-*.csv"))
    late = pd.concat(map(read_predictions, paths))
    classes = sorted(SMALL_CLASSES := data_of(SMALL, 0, "train 0").classes)
    assert len(late) == 2 * 2 * 10
    assert late.train_loss_predicting.between(0.5 * late.train_loss, 1.5 * late.train_loss).all(), "what was trained"
    row = found.intervals.set_index("model").loc["tsfmicro_late"]
    assert tuple(row[["uf1", "low", "high"]]) == pytest.approx(subject_interval(late, classes))
    own = late[late.seed == 1]
    kept = found.scores.query("model == 'tsfmicro_late' and seed == 1").uf1.item()
    assert kept == pytest.approx(scores(list(own.truth), list(own.predicted), classes)["uf1"])
    assert set(SMALL_CLASSES) == set(classes)


def test_a_network_that_predicts_otherwise_than_it_learned_is_told(made, tmp_path, monkeypatch):
    (tmp_path / "clips").symlink_to(made[0] / "clips")
    monkeypatch.setattr(module, "fit", with_stale_statistics(module.fit))
    trial = next(t for t in trials(SMALL, 0, 1, "cpu") if t.name == "tsfmicro_late")
    with pytest.warns(UserWarning, match=r"tsfmicro_late, seed 0.* a loss of .* when it predicts"):
        module._train(tmp_path, trial, float("inf"))


def test_started_again_it_trains_nothing_and_too_late_it_starts_nothing(made, monkeypatch):
    folder, found = made
    monkeypatch.setattr(module, "measure_cost", lambda _: found.cost)
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}
    again = compare(folder, seeds=2, epochs=1, workers=1, settings=[SMALL], only=ONLY)
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()} == before
    pd.testing.assert_frame_equal(again.intervals, found.intervals)
    for path in folder.glob("trials/*tsfmicro_late*"):
        path.unlink()
    late = compare(folder, seeds=2, epochs=1, workers=1, settings=[SMALL], only=ONLY, minutes=0)
    assert "tsfmicro_late" not in set(late.intervals.model)


def test_models_are_put_into_a_stored_comparison(made):
    _, found = made
    worse = replace(found, scores=found.scores.assign(uf1=0), intervals=found.intervals.assign(uf1=0, p_holm=0.5))
    joined = put_into(worse, found, ["tsfmicro_late"])
    known = found.intervals.set_index("model")
    for model, row in joined.intervals.set_index("model").iterrows():
        if model == "tsfmicro_late":
            pd.testing.assert_series_equal(row, known.loc[model])
        else:
            assert (row.uf1, row.p_holm) == (0, 0.5)
    assert {*joined.scores.query("uf1 > 0").model} == {"tsfmicro_late"}
    assert (len(joined.scores), len(joined.cost)) == (len(found.scores), len(found.cost))
    assert joined.provenance["put into"][0]["models"] == ["tsfmicro_late"]
    base = known.loc[TEMPORAL]
    assert joined.provenance["put into"][0]["over"] == {"needed": {"uf1": round(base.uf1, 4), "seeds": 2}}
    with pytest.raises(ValueError, match="not run: mmnet"):
        put_into(worse, found, ["mmnet"])


def test_networks_of_two_recipes_do_not_stand_in_one_table(made):
    _, found = made
    recipe = found.provenance["settings"]["needed"]
    former = replace(found, provenance=found.provenance | {"settings": {"needed": recipe | {"lr": 1.0}, "other": {}}})
    with pytest.raises(ValueError, match=f"needed: another recipe than that of ststnet flow=dis, {TEMPORAL}: put"):
        put_into(former, found, ["tsfmicro_late"])
    joined = put_into(former, found, ONLY)
    assert joined.provenance["settings"] == {"needed": recipe, "other": {}}


def test_all_that_was_run_is_put_in_and_what_is_replaced_is_forgotten(made, tmp_path, monkeypatch):
    _, found = made
    runs = [{"models": ["tsfmicro_late"], "of": [where]} for where in ("needed", "clean")]
    path = tmp_path / "comparison.json"
    replace(found, scores=found.scores.assign(uf1=0.0), provenance=found.provenance | {"put into": runs}).save(path)
    monkeypatch.setattr(module, "compare", lambda *_, **__: found)
    result = CliRunner().invoke(module.app, ["--save", str(path), "--setting", "needed", "--into", "all"])
    assert result.exit_code == 0, result.output
    joined = Comparison.load(path)
    assert joined.scores.uf1.tolist() == pytest.approx(found.scores.uf1.tolist(), abs=1e-3)
    assert joined.provenance["put into"][0] == runs[1]
    assert {*joined.provenance["put into"][1]["models"]} == {*found.scores.model}


def test_a_second_protocol_is_put_in_without_its_model(made):
    _, found = made
    rows = found.scores.query("model == 'tsfmicro_late'")
    stored = replace(found, scores=pd.concat([found.scores, rows.head(1).assign(faces=LOSO, uf1=0)]))
    more = replace(found, scores=pd.concat([found.scores.assign(uf1=0), rows.assign(faces=LOSO)]))
    joined = put_into(stored, more, [LOSO])
    pd.testing.assert_frame_equal(joined.scores.query("faces != @LOSO"), found.scores)
    assert list(joined.scores.query("faces == @LOSO").uf1) == list(rows.uf1)
    for name in ("intervals", "curves", "streams"):
        pd.testing.assert_frame_equal(getattr(joined, name), getattr(found, name))


def test_nobody_is_trained_on_and_tested(made):
    folder, _ = made
    train, tested = (drawn(folder, SMALL, 0, faces).samples for faces in ("train", HEADS))
    faces = {x[0].float().mean().item() for s in (train, tested) for x in s["onset"].split(10)}
    assert len(faces) == 6
    assert data_of(SMALL, 3, f"{HEADS} 1").seed == seed_of(3, f"{HEADS} 1")
    some = range(10)
    seeds = {seed_of(seed, group) for s in SETTINGS.values() for seed in some for group in s.groups()[:-1]}
    tested = {seed_of(seed, f"{HEADS} {i}") for seed in some for i in range(2)}
    assert not tested & {100, 101}, "the recipe was chosen on these"
    assert len(seeds) == 10 * (8 + 2)  # settings share heads, seeds and groups do not


def test_flow_in_place_of_the_difference_is_the_flow(made):
    folder, _ = made
    samples = drawn(folder, replace(SMALL, name="needed, flow", motion="flow"), 0).samples
    left = (samples["apex"] - samples["onset"].float())[:, :2] / 40
    assert (left - samples[FLOW].float()).abs().max() < 0.01
    assert drawn(folder, SMALL, 0).samples["apex"].dtype != samples["apex"].dtype


def test_flow_of_another_size_keeps_its_displacements_in_pixels_of_it(made):
    folder, _ = made
    samples = drawn(folder, SMALL, 0).samples
    small = shrunk(samples, 28)[FLOW].float()
    assert small.shape[-2:] == (28, 28)
    assert np.allclose(2 * small.mean((2, 3)), samples[FLOW].float().mean((2, 3)), atol=2e-3)


def test_pooled_fields_and_main_directions_by_hand():
    field = np.zeros((1, 2, 6, 6), np.float32)
    field[0, 0, :3, :3], field[0, 1, 0, 0] = 1.0, 5.0
    assert pooled(field, 2)[0].tolist() == pytest.approx([1, 0, 0, 0, 5 / 9, 0, 0, 0])
    # Eight of the nine vectors of the first field point right; the ninth is left out of the mean.
    assert main_directions(field, 2)[0].tolist() == pytest.approx([1, 0, 0, 0, 0, 0, 0, 0])


def test_every_setting_has_the_trials_that_its_table_needs():
    for setting in SETTINGS.values():
        found = trials(setting, 0, None, "cpu")
        labels = {t.run.label for t in found}
        assert {"tsfmicro_late", TEMPORAL} <= labels
        assert setting.motion == "flow" or {run.label for run in VARIANTS} <= labels
        assert len({t.path(ROOT) for t in found}) == len(found)
        assert any(t.faces == LOSO for t in found) == (setting.name == HALF)
    assert PHOTOGRAPHS not in SETTINGS["needed"].faces


def test_what_is_no_comparison_is_refused(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps({"provenance": {}}))
    for path in (tmp_path / "x.json", tmp_path / "gone.json"):
        with pytest.raises(
            ValueError, match=r"no result of compare .*make one with `python notebooks/studies/compare.py`"
        ):
            Comparison.load(path)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [(["--setting", "huge"], "unknown setting ['huge']"), (["--only", "huge"], "unknown ['huge']: choose from")],
)
def test_bad_input_is_one_sentence(tmp_path, options, sentence):
    result = CliRunner().invoke(module.app, [*options, "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert sentence in " ".join(result.output.split())


def test_the_stored_comparison_knows_where_it_comes_from():
    stored = Comparison.load(ROOT / "notebooks" / "results" / "comparison.json")
    assert re.fullmatch(r"([0-9a-f]{40}|unknown)( with changes)?", stored.provenance["commit"])
    assert stored.provenance["faces"] == "3-D heads"
    assert set(stored.intervals.setting) == {*SETTINGS, ELSEWHERE}


def test_one_seed_is_not_tested(made):
    _, found = made
    table = pd.DataFrame(
        [
            ("needed", HEADS, m, 0, f"s{i}", "x", "x" if m == TEMPORAL else "y")
            for m in (TEMPORAL, "a")
            for i in range(9)
        ],
        columns=["setting", "faces", "model", "seed", "subject", "truth", "predicted"],
    )
    one = module._intervals(table, ["x", "y"]).set_index("model")
    assert one.gain["a"] == -0.5
    assert one.loc["a", ["gain_low", "gain_high", "p", "p_holm"]].isna().all()
    two = module._intervals(pd.concat([table, table.assign(seed=1)]), ["x", "y"]).set_index("model")
    assert two.p_holm["a"] < 0.05
    assert found.intervals.p_holm.notna().any()


def test_clips_that_lack_what_a_later_model_reads_are_drawn_again(tmp_path):
    setting, group = replace(SETTINGS["clean"], subjects=2, clips=2), "train 0"
    path = new_subjects._path(tmp_path, setting, 0, group)
    assert not new_subjects._holds(path, ())
    new_subjects._draw(tmp_path, setting, 0, group, ())
    assert new_subjects._holds(path, ())
    assert not new_subjects._holds(path, ["long_flow"])
    new_subjects._draw(tmp_path, setting, 0, group, ("long_flow",))
    assert new_subjects._holds(path, ["long_flow"])
