import json
import os
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT
from scipy.stats import t
from typer.testing import CliRunner

from studies import trials, trust_story
from studies.trust import CLOSER, Trust, _telling, app, methods_chart
from tsfmicro_lab.data import SyntheticMicroExpressions
from tsfmicro_lab.explain import METHODS
from tsfmicro_lab.models import create_model

#: Two seeds every night, when the `TSFMICRO_SEEDS` of lessons are several.
SEEDS = 2 if os.environ.get("TSFMICRO_SEEDS") else 1
SIZES = {"subjects": 2, "clips": 10, "new": 2, "explained": 2, "seeds": SEEDS, "epochs": 1, "workers": 1}
ARGS = [word for name, value in SIZES.items() for word in (f"--{name}", str(value))]
#: Enough to show the way; the stored measurement holds all.
FEW = ("integrated gradients", "input × gradient", "saliency", "DeepLift", "rollout")
STORED = ROOT / "notebooks" / "results" / "trust.json"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trust")
    page = folder / "page.md"
    page.write_text(f"# Results\n\nBefore.\n\n{trust_story.HEADING}\n\nOld.\n\n## Next\n\nAfter.\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials, "METHODS", {name: METHODS[name] for name in FEW})
        patch.setattr(trials, "POINTS", 3)
        patch.setattr(trials, "PERTURBATIONS", 4)
        result = CliRunner().invoke(app, ["--out", str(folder), "--docs", str(page), *ARGS])
    assert result.exit_code == 0, result.output
    return folder, Trust.load(folder / "trust.json"), result.output


def test_every_method_and_control_is_scored_in_both_kinds_of_clips(made):
    _, trust, output = made
    expected = {*FEW, *trials.CONTROLS} - {"DeepLift"}
    for name in ("none", "all"):
        own = trust.scores[trust.scores.distractors == name]
        for score in ("pointing", "mass", "precision", "rank", "deletion", "insertion"):
            for stream in ("where", "how"):
                rows = own[(own.score == score) & (own.stream == stream)]
                assert set(rows.method) == expected, (name, score, stream)
                assert (rows.clips == 4 * SEEDS).all()
                # A method with the same score on every clip of a seed has an interval of one point.
                assert (rows.low <= rows["mean"] + 1e-9).all()
                assert (rows["mean"] <= rows.high + 1e-9).all()
        assert set(own[own.score == "infidelity"].method) == expected
    refused = trust.scores[trust.scores.score == "refused"].set_index("method")["mean"]
    assert (refused["DeepLift"] == 1).all()
    assert refused.drop("DeepLift").max() == 0
    sensitive = trust.scores[trust.scores.score == "sensitivity"]
    assert set(sensitive.method) == {*FEW} - {"DeepLift"}
    assert set(sensitive.distractors) == {"none"}
    assert "how-maps of clips without distractors" in output
    assert f"{6 * SEEDS} models to train" in output
    assert "minutes" in output
    assert trust.provenance["command"].startswith("python notebooks/studies/")
    assert "explained on clips of others" in trust.provenance["protocol"]


def test_every_imputation_is_measured_and_scores_are_their_mean(made):
    _, trust, _ = made
    keys = ["distractors", "method", "stream", "score"]
    table = trust.imputation.pivot_table("mean", keys, "imputation")
    assert set(table) == set(trials.IMPUTATIONS)
    assert table.notna().all(axis=None)
    means = trust.scores.set_index(keys)["mean"].loc[table.index]
    assert np.allclose(table.mean(axis=1), means, atol=2e-4)
    assert table.std(axis=1).max() > 0.001, "imputations differ, or only one was measured"
    counts = trust.stability.groupby(["distractors", "score", "stream"]).size()
    assert (counts == 3).all(), "three pairs of imputations"
    assert len(counts) == 2 * (2 + 2 + 1)
    assert trust.stability.tau.between(-1, 1).all()
    assert (trust.stability.methods == len(FEW) - 1).all()


def test_checks_and_shortcut_are_there(made):
    _, trust, _ = made
    checks = trust.sanity.pivot_table(index="method", columns="check", values="similarity")
    assert {"classifier", "stem", trials.TWIN, trials.NONSENSE, "shifted inputs"} <= set(checks)
    assert checks.classifier["rollout"] == 1, "it knows no class"
    assert np.allclose(checks[CLOSER], checks[trials.TWIN] - checks[trials.NONSENSE], atol=2e-4)
    assert set(trust.causes.method) <= {*FEW}
    marked = trust.shortcut[trust.shortcut.marked]
    assert set(marked.trained) == {trials.CHEAT, trials.HONEST}
    assert set(trust.shortcut[~trust.shortcut.marked].trained) == {trials.CHEAT}
    assert set(trust.shortcut.distractors) == {"none", "all"}
    assert trust.telling.auc.between(0, 1).all()
    controls = trust.telling[trust.telling.method.isin(["edges", "input"])]
    assert (controls.auc == 0.5).all(), "a map that saw no model cannot tell two models apart"
    assert set(trust.models.trained) == {trials.CHEAT, trials.HONEST, trials.TWIN, trials.NONSENSE}
    assert trust.models.accuracy.between(0, 1).all()
    assert trust.units.mass.between(0, 1.0001).all()


def test_started_again_it_computes_nothing_anew_and_other_sizes_do(made, monkeypatch):
    folder, trust, _ = made
    monkeypatch.setattr(trials, "METHODS", {})
    result = CliRunner().invoke(app, ["--out", str(folder), *ARGS])
    assert result.exit_code == 0, result.output
    assert "minutes" not in result.output
    again = Trust.load(folder / "trust.json")
    pd.testing.assert_frame_equal(again.scores, trust.scores)


def test_what_fits_a_clip_by_luck_and_its_neighbours_not_is_refused(made, monkeypatch):
    from studies.trust import RUN

    folder, _, _ = made
    run = replace(RUN, recipe=replace(RUN.recipe, epochs=1))
    setting = trials.Setting("none", 0, run, 2, 10, 2, 2, folder)

    def misfit(*_: object) -> None:
        raise ValueError("DeepLift does not fit")

    monkeypatch.setattr(trials, "METHODS", {"DeepLift": None})
    monkeypatch.setattr(trials, "CONTROLS", {})
    monkeypatch.setattr(trials, "POINTS", 3)
    monkeypatch.setattr(
        trials.Case, "explain", lambda own, _, target: trials.where_how(own.model, own.inputs, target, "saliency")
    )
    monkeypatch.setattr(trials.Case, "explain_other", misfit)
    rows = trials.score_clips(setting, setting.faces.annotations.subject[0])
    assert list(rows[rows.stream == "both"].refused) == [1, 0], "only of the first clip is its sensitivity measured"


def test_models_that_were_trained_before_are_explained(tmp_path, monkeypatch):
    from studies.trust import RUN

    other = create_model("tsfmicro_late", 5, seed=77)
    other.save_pretrained(tmp_path / "given" / "none-0")
    setting = trials.Setting("none", 0, RUN, 2, 5, 2, 2, tmp_path / "out", tmp_path / "given")
    assert not setting.lacks(trials.HONEST)
    assert setting.lacks(trials.CHEAT)
    loaded = setting.model()
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in loaded.state_dict().items())


def test_nobody_is_trained_on_and_explained():
    from studies.trust import RUN

    setting = trials.Setting("none", 0, RUN, 16, 12, 6, 6, ROOT)
    own = SyntheticMicroExpressions(16, 1, seed=0, distractors=trials.DISTRACTORS["none"])
    trained, new = ([data.face(i).vertices[:5000] for i in range(n)] for data, n in ((own, 16), (setting.faces, 6)))
    assert all(not np.allclose(a, b, atol=0.5) for a in trained for b in new)


def test_the_page_gets_its_section_and_keeps_the_others(made):
    folder, trust, _ = made
    text = (folder / "page.md").read_text()
    assert text.startswith("# Results\n\nBefore.\n")
    assert text.endswith("\n## Next\n\nAfter.\n")
    assert "Old." not in text
    assert trust_story.section(trust) in text
    trust_story.write_section(folder / "page.md", trust)
    assert (folder / "page.md").read_text() == text, "written twice it is the same"
    (folder / "other.md").write_text("# Nothing\n")
    with pytest.raises(ValueError, match="has no section '## Which map to trust'"):
        trust_story.write_section(folder / "other.md", trust)


def told(mass, pointing=(0.85, 0.85), fooled=(0.9, 0.1), auc=(0.5, 0.95)):
    """A measurement of one method as it could be."""
    about = {"distractors": "all", "method": "integrated gradients", "stream": "where", "marked": True, "area": 0.01}
    kinds = (trials.CHEAT, trials.HONEST)
    shortcut = [
        {**about, "trained": k, "pointing": p, "mass": m} for k, p, m in zip(kinds, pointing, mass, strict=True)
    ]
    telling = [
        {**about, "score": s, "auc": a, "low": a - 0.05, "high": a + 0.05}
        for s, a in zip(("pointing", "mass"), auc, strict=True)
    ]
    models = [
        {"distractors": "all", "trained": k, "fooled": f, "plain": 0.1} for k, f in zip(kinds, fooled, strict=True)
    ]
    empty = [pd.DataFrame()] * 6
    return Trust({"seeds": 4, "new_subjects": 5}, *empty, *map(pd.DataFrame, (shortcut, telling, models)))


def test_the_verdict_follows_the_numbers():
    """The same sentence, from measurements that say other things."""
    found = trust_story.accusation(told((0.28, 0.07)), "all")
    assert "in 17 of 20 clips with the first model and in 17 of 20 clips with the second; 0.28 and 0.07" in found
    assert "from 10% to 90% (+80% to +80% in the 4 seeds)" in found
    assert "and from 10% to 10% (+0% to +0% in the 4 seeds) if it was not" in found
    assert "of 20 maps of either kind" in found
    assert "Pointing cannot be seen to tell which of the two models" in found
    assert "mass tells which of the two models drew a map (95% of pairs right, 88% to 100%; 50% by chance)" in found
    found = trust_story.accusation(told((0.28, 0.27), pointing=(0.9, 0.1), auc=(0.9, 0.54)), "all")
    assert "Pointing tells which" in found
    assert "mass cannot be seen to tell" in found
    assert "mass hardly tells" in trust_story.accusation(told((0.28, 0.2), auc=(0.9, 0.65)), "all")
    wrong = trust_story.accusation(told((0.07, 0.28), auc=(0.9, 0.1)), "all")
    assert "mass tells the wrong way round which of the two models drew a map" in wrong
    found = trust_story.accusation(told((0.28, 0.07), fooled=(0.12, 0.1)), "all")
    assert "did not take the shortcut" in found
    assert "tells which" not in found


def test_pairs_are_of_one_seed_and_their_interval_over_seeds():
    """Two seeds of two people: all four pairs are right in one seed, half of them in the other."""
    values = {(0, True): (5, 6), (0, False): (1, 2), (1, True): (50, 70), (1, False): (60, 60)}
    rows = [
        {"seed": seed, "subject": who, "trained": trials.CHEAT if cheat else trials.HONEST, "mass": value}
        for (seed, cheat), both in values.items()
        for who, value in zip("ab", both, strict=True)
    ]
    marks = pd.DataFrame(rows).assign(distractors="all", method="m", stream="where", marked=True, pointing=0.5)
    found = _telling(marks).set_index("score")
    assert found.auc.to_dict() == {"pointing": 0.5, "mass": 0.75}, "pairs across seeds would make 0.625 of it"
    assert found.low["mass"] < 0.5 < found.high["mass"]
    assert found.low["pointing"] == found.high["pointing"] == 0.5


def test_good_models_and_nonsense_are_told_by_method():
    rows = [("a", 0.2, 0.1, 0.3), ("b", 0.0, -0.1, 0.1), ("c", -0.3, -0.4, -0.2)]
    sanity = pd.DataFrame(rows, columns=["method", "similarity", "low", "high"]).assign(check=CLOSER)
    trust = Trust({"seeds": 4}, *[pd.DataFrame()] * 5, sanity, *[pd.DataFrame()] * 3)
    found = trust_story.seeds_and_nonsense(trust)
    assert re.search(r"random labels with a; with b that cannot be told.*with c it is the other way round", found)
    one_in_eleven = pd.concat([sanity[:1].assign(low=0.01, high=0.39), *[sanity[1:2]] * 10])
    found = trust_story.seeds_and_nonsense(replace(trust, sanity=one_in_eleven))
    assert "cannot be told of any of the 11 methods" in found, "its own interval leaves out zero, corrected it does not"


def test_corrected_intervals_are_the_wider_the_more_there_are():
    """By hand: with four seeds an interval of 0.2 ± 0.1 has a standard error of 0.1 / 3.18 and p = 0.0079."""
    rows = pd.DataFrame({"mean": [0.2, 0.0], "low": [0.1, -0.1], "high": [0.3, 0.1]})
    trust = Trust({"seeds": 4}, *[pd.DataFrame()] * 9)
    alone = trust_story.corrected_ends(trust, rows[:1])
    assert alone.low[0] == pytest.approx(0.1)
    two = trust_story.corrected_ends(trust, rows)
    assert two.low[0] == pytest.approx(0.2 - t.ppf(0.9875, 3) * 0.1 / t.ppf(0.975, 3))
    assert two.low[1] == pytest.approx(-0.1), "the largest p is not multiplied"


def test_bad_files_and_settings_are_one_sentence(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps({"provenance": {}, "scores": []}))
    for path in (tmp_path / "x.json", tmp_path / "gone.json"):
        with pytest.raises(ValueError, match=r"holds no result of trust .*`python notebooks/studies/trust.py`"):
            Trust.load(path)
    result = CliRunner().invoke(app, ["--out", str(tmp_path), "--distractors", "some"])
    assert result.exit_code == 1
    assert "distractors must be 'none', or 'none' and 'all', got ['some']" in result.output


def test_the_documented_section_is_made_of_the_stored_measurement():
    trust = Trust.load(STORED)
    assert trust_story.section(trust) in (ROOT / "docs" / "results.md").read_text(), (
        "write it anew: python notebooks/studies/trust.py with the options of the last run and --docs docs/results.md"
    )


def test_the_stored_measurement_is_large_enough():
    trust = Trust.load(STORED)
    assert trust.provenance["seeds"] >= 2
    for score in ("mass", "deletion", "infidelity"):
        clips = trust.scores[trust.scores.score == score].groupby("distractors").clips.max()
        assert set(clips.index) == {"none", "all"}
        assert clips.sum() >= 200
    people = trust.provenance["new_subjects"] * trust.provenance["seeds"]
    assert people >= 8
    assert set(trust.causes.method) == {*METHODS} - {"DeepLift"}


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


def test_sentences_that_fell_are_those_that_the_file_refutes():
    trust, page = Trust.load(STORED), " ".join((ROOT / "docs" / "results.md").read_text().split())
    honest = trust.models[trust.models.trained == trials.HONEST]
    assert (honest.fooled == honest.plain).all()
    assert "It says so without the mark as well, in each seed: the mark's effect is nothing" in page
    closer = trust.sanity[trust.sanity.check == CLOSER]
    told = trust_story.corrected_ends(trust, closer, "similarity")
    assert list(told.method[told.low > 0]) == ["KernelSHAP"]
    assert (told.high > 0).all()
    assert "With ten it is false of KernelSHAP, and of the others it cannot be told" in page
    pairs = trust_story.told(trust, trust_story.shown(trust)).set_index(["method", "score"])
    assert (pairs.verdict["integrated gradients"] == "tells").all()
    assert pairs.auc["integrated gradients", "mass"] == pairs.low["integrated gradients", "mass"] == 1
    assert "the mass in the mark of integrated gradients in every pair, in each of ten seeds" in page
    assert trust.provenance["seeds"] == 10
