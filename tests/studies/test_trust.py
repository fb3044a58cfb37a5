import json

import pandas as pd
import pytest
import torch
from conftest import ROOT
from typer.testing import CliRunner

from studies import trials
from studies.trust import Trust, app, methods_chart
from tsfmicro_lab.explain import METHODS

ARGS = ["--subjects", "2", "--clips", "10", "--seeds", "1", "--epochs", "1", "--explained", "1", "--workers", "1"]
#: Enough to show the way; the stored measurement holds all.
FEW = ("input × gradient", "DeepLift", "rollout")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trust")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials, "METHODS", {name: METHODS[name] for name in FEW})
        result = CliRunner().invoke(app, ["--out", str(folder), *ARGS])
    assert result.exit_code == 0, result.output
    return folder, Trust.load(folder / "trust.json"), result.output


def test_every_method_and_control_is_scored(made):
    _, trust, output = made
    expected = {*FEW, *trials.CONTROLS} - {"DeepLift"}
    clean = trust.scores[trust.scores.distractors == "none"]
    for score in ("pointing", "mass", "precision", "rank", "deletion", "insertion"):
        for stream in ("where", "how"):
            rows = clean[(clean.score == score) & (clean.stream == stream)]
            assert set(rows.method) == expected, (score, stream)
            assert (rows.low <= rows["mean"]).all()
            assert (rows["mean"] <= rows.high).all()
            assert (rows.clips == 2).all()
    refused = clean[clean.score == "refused"].set_index("method")["mean"]
    assert refused["DeepLift"] == 1
    assert refused.drop("DeepLift").max() == 0
    assert set(clean[clean.score == "infidelity"].method) == expected
    assert set(clean[clean.score == "sensitivity"].method) == {*FEW} - {"DeepLift"}
    busy = trust.scores[trust.scores.distractors == "all"]
    assert "mass" in set(busy.score)
    assert "infidelity" not in set(busy.score)
    assert "how-maps of clips without distractors" in output
    assert trust.provenance["command"].startswith("python notebooks/studies/")


def test_checks_and_shortcut_are_there(made):
    _, trust, _ = made
    checks = trust.sanity.pivot_table(index="method", columns="check", values="similarity")
    assert {"classifier", "stem", "another seed", "random labels", "shifted inputs"} <= set(checks)
    assert checks.classifier["rollout"] == 1, "it knows no class"
    assert set(trust.causes.method) <= {*FEW}
    assert set(trust.shortcut.marked) == {True, False}
    assert set(trust.shortcut.distractors) == {"none", "all"}
    assert trust.units.mass.between(0, 1.0001).all()


def test_started_again_it_computes_nothing_anew(made, monkeypatch):
    folder, trust, _ = made
    monkeypatch.setattr(trials, "METHODS", {})
    result = CliRunner().invoke(app, ["--out", str(folder), *ARGS])
    assert result.exit_code == 0, result.output
    again = Trust.load(folder / "trust.json")
    pd.testing.assert_frame_equal(again.scores, trust.scores)


def test_bad_files_and_settings_are_one_sentence(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps({"provenance": {}, "scores": []}))
    for path in (tmp_path / "x.json", tmp_path / "gone.json"):
        with pytest.raises(ValueError, match=r"holds no result of trust .*`python notebooks/studies/trust.py`"):
            Trust.load(path)
    result = CliRunner().invoke(app, ["--out", str(tmp_path), "--distractors", "some"])
    assert result.exit_code == 1
    assert "distractors must be 'none', or 'none' and 'all', got ['some']" in result.output


def test_the_documented_table_is_the_stored_measurement():
    """Every number of the table of methods in docs/results.md stands in the stored file, in the row of its method."""
    trust = Trust.load(ROOT / "notebooks" / "results" / "trust.json")
    table, causes = trust.table(), trust.causes[trust.causes.distractors == "none"].set_index("method")["mean"]
    assert trust.scores.query("score == 'mass' and distractors == 'none'").clips.min() >= 100
    assert trust.provenance["seeds"] >= 3
    lines = (ROOT / "docs" / "results.md").read_text().replace("−", "-").splitlines()
    for method in [m for m in table.index if m != "DeepLift"]:
        [line] = [line for line in lines if line.startswith(f"| {method} |")]
        cells = [cell.strip() for cell in line.split("|")[2:-2]]
        expected = [f"{table.loc[method, s]:.2f}" for s in ("pointing", "mass", "deletion", "infidelity")]
        expected += [f"{causes[method]:.2f}" if method in causes else ""]
        expected += [f"{table.loc[method, 'seconds']:.2f}" if method in causes else ""]
        assert cells == expected, method


def test_the_best_method_is_on_top_and_controls_have_another_colour():
    rows = [("a", 0.2), ("b", 0.6), ("input", 0.4)]
    scores = pd.DataFrame(rows, columns=["method", "mean"]).assign(stream="how", score="deletion")
    scores = scores.assign(low=scores["mean"] - 0.1, high=scores["mean"] + 0.2)
    chart = methods_chart(scores, "deletion")
    assert list(chart.layout.yaxis.categoryarray) == ["a", "input", "b"], "the first is drawn on top"
    assert chart.layout.yaxis.autorange == "reversed"
    assert "lower is better" in chart.layout.xaxis.title.text
    assert {t.name: list(t.y) for t in chart.data} == {"method": ["a", "b"], "control": ["input"]}
    with pytest.raises(ValueError, match="no score 'beauty' of 'how': choose from"):
        methods_chart(scores, "beauty")


def test_labels_are_dealt_not_invented(samples):
    dealt = trials.shuffled_labels(samples, seed=1)
    assert not torch.equal(dealt.label, samples.label)
    assert torch.equal(dealt.label.bincount(), samples.label.bincount())
    assert dealt.onset is samples.onset
