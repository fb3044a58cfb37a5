import re

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from scipy.stats import ttest_1samp
from typer.testing import CliRunner

from studies.leakage import RUN, app, predictions_by_epoch, relabel, relabel_by_subject
from studies.leakage_explorer import ROLES, LeakageExplorer, folds_figure, leaks_figure
from studies.leakage_scores import BY_SUBJECT, COPIED, LINEAR, VARIANT, Leakage, gains, leak_scores
from tsfmicro_lab.data import SyntheticMicroExpressions, prepare
from tsfmicro_lab.training.splits import Fold, nested_leave_one_subject_out

STORED, PAGE = ROOT / "notebooks" / "results" / "leakage.json", ROOT / "docs" / "results.md"


@pytest.fixture(scope="module")
def stored():
    return Leakage.load(STORED)


@pytest.fixture(scope="module")
def small():
    return prepare(SyntheticMicroExpressions(4, 8, 64), 28, target="emotion_megc", progress=False)


def test_each_way_to_score_by_hand():
    """Two subjects of two clips, three epochs. s: right 1, 2, 1 of 2; t: right 1, 0, 1 of 2."""
    rows = [("s", 0, "001"), ("s", 1, "011"), ("t", 0, "011"), ("t", 1, "100")]
    clips = pd.DataFrame(rows, columns=["subject", "truth", "epochs"])
    validation = pd.DataFrame({"subject": ["s", "t"], "uf1": [[0.1, 0.9, 0.2], [0.8, 0.1, 0.8]]})
    table = leak_scores(clips, validation).set_index("leak")
    # last: truth 0 1 0 1, said 1 1 1 0
    assert table.accuracy["last"] == pytest.approx(1 / 4)
    assert table.uf1["last"] == pytest.approx((0 + 2 * 1 / (2 + 2 + 1)) / 2)
    # validation: epoch 2 for s (all right), the later of two equal ones, 3, for t (none right)
    assert table.accuracy["validation"] == pytest.approx(2 / 4)
    # best of each subject: s epoch 2 (2 right), t epoch 1 (2 right)
    assert table.accuracy["best accuracy of each subject, stop at 100 %"] == 1
    assert table.uf1["best F1 of each subject"] == 1
    assert table.uf1["best F1 of each subject, and their mean"] == 1
    assert table.accuracy["one epoch for all, best when pooled"] == pytest.approx(3 / 4)
    one = leak_scores(clips, validation, epochs=1).set_index("leak")
    honest = one.loc["last"]
    for leak in ("validation", "best F1 of each subject", "one epoch for all, best when pooled"):
        assert one.loc[leak].tolist() == honest.tolist(), "with one epoch there is nothing to choose"


def test_noise_keeps_the_counts_and_clings_to_people_when_asked(small):
    mixed = relabel(small, 1.0, 1)
    assert sorted(mixed.label.tolist()) == sorted(small.label.tolist())
    assert (mixed.label != small.label).any()
    assert (relabel(small, 0.0).label == small.label).all()
    assert (relabel(small, 0.5).label != small.label).sum() <= round(len(small) / 2)
    bound = relabel_by_subject(small, favourite=1.0)
    assert all(len(set(bound.label[small.subjects == s].tolist())) == 1 for s in set(small.subjects))


def test_only_copies_let_a_model_see_the_tested_labels(small):
    """Change the tested subject's labels: what an honestly trained model says must stay, with copies it must not."""
    from dataclasses import replace

    run = replace(RUN, recipe=replace(RUN.recipe, epochs=12, lr=5e-3))
    fold = nested_leave_one_subject_out(small.annotations)[0]
    label = small.label.clone()
    label[fold.test] = (label[fold.test] + 1) % 3
    lied = replace(small, label=label)
    honest = [predictions_by_epoch(run, s, fold)[0].epochs.tolist() for s in (small, lied)]
    assert honest[0] == honest[1]
    copied = [predictions_by_epoch(run, s, fold, copies=True)[0].epochs.tolist() for s in (small, lied)]
    assert copied[0] != copied[1]


def test_the_command_measures_and_goes_on_where_it_was(tmp_path):
    args = ["--out", str(tmp_path), "--subjects", "4", "--clips", "6", "--seeds", "2"]
    args += ["--linear-seeds", "2", "--epochs", "1", "--workers", "1"]
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 0, result.output
    assert "leaky" in result.output
    made = Leakage.load(tmp_path / "leakage.json")
    assert set(made.clips.epochs.str.len()) == {1}
    table = gains(made.scores()).set_index(["labels", "leak"])
    for leak in (*LINEAR, COPIED, VARIANT, "last", "validation", "best F1 of each subject"):
        assert ("noise", leak) in table.index
    assert (table.loc[(slice(None), "last"), "gain"] == 0).all()
    before = {p: p.stat().st_mtime_ns for p in tmp_path.glob("*-*.json")}
    assert before, "the study kept nothing"
    assert CliRunner().invoke(app, args).exit_code == 0
    assert {p: p.stat().st_mtime_ns for p in tmp_path.glob("*-*.json")} == before
    result = CliRunner().invoke(app, [*args, "--epochs", "3"])
    assert result.exit_code == 1
    assert "another size or recipe" in re.sub(r"\s+", " ", result.output)


def test_on_noise_honest_selection_is_at_chance_and_every_picked_maximum_above(stored):
    scores = stored.scores(labels="noise")
    wide = scores.pivot_table(index="seed", columns="leak", values="uf1")
    for honest in ("last", "validation"):
        above = (wide[honest] - wide["chance"]).dropna()
        half = 3 * above.std() / np.sqrt(len(above))
        assert above.mean() - half <= 0.0, f"{honest} is above chance on labels that hold nothing"
    for leak in (
        "best F1 of each subject",
        "one epoch for all, best when pooled",
        "best F1 of each subject, and their mean",
    ):
        assert ((wide[leak] - wide["last"]).dropna() >= -0.1).all()
    assert wide["best F1 of each subject"].mean() > wide["chance"].mean() + 0.05
    true = stored.scores(labels="true").pivot_table(index="seed", columns="leak", values="uf1").dropna()
    assert (true["last"] > true["chance"] + 0.1).all(), "true labels hold something"


def test_the_stored_measurement_says_how_it_was_made(stored):
    for fact in ("command", "commit", "date", "device", "recipe", "seeds", "subjects", "protocol"):
        assert stored.provenance[fact], fact
    assert "/tmp" not in str(stored.provenance)
    assert stored.provenance["seeds"] == stored.clips.seed.nunique() >= 10


def test_the_sliders_score_the_same_runs_anew(stored):
    explorer = LeakageExplorer(stored)
    first = explorer.picture.value
    wide = explorer.table.set_index("leak").gain
    explorer.epochs = 1
    narrow = explorer.table.set_index("leak").gain
    assert explorer.picture.value != first
    assert narrow["best F1 of each subject"] == 0 < wide["best F1 of each subject"]
    assert narrow[COPIED] != 0, "copies leak from the first epoch on"
    explorer.subjects = 3
    explorer.noise = "true"
    assert set(explorer.table.labels) == {"true"}
    wanted = gains(stored.scores(1, 3, "true"))
    pd.testing.assert_frame_equal(explorer.table, wanted)


def test_the_picture_draws_every_leak_with_its_interval(stored):
    table = gains(stored.scores())
    [axis] = leaks_figure(table).axes
    names = [tick.get_text() for tick in axis.get_yticklabels()]
    assert "validation (honest)" in names
    assert "leaky" in axis.get_title()
    assert {"best F1 of each subject", COPIED, *LINEAR} <= set(names)
    assert BY_SUBJECT in set(table.labels)


def test_the_documented_number_is_the_stored_one(stored):
    row = gains(stored.scores(labels="noise")).set_index("leak").loc["best F1 of each subject"]
    text = PAGE.read_text("utf-8")
    assert f"{row.gain:+.3f} ({row.low:+.3f} to {row.high:+.3f})" in text


def test_intervals_and_p_of_leaks_are_of_one_construction(stored):
    table = gains(stored.scores())
    tested = table[table.leak != "last"]
    assert ((tested.low * tested.high > 0) == (tested.p_holm < 0.05)).all()
    for _, own in tested.groupby("labels"):
        assert (own.p_holm >= own.p).all()
        assert own.p_holm.min() == pytest.approx(own.p.min() * len(own))
    single = stored.scores(labels="noise").query("leak == 'best F1 of each subject'").gain
    [row] = table.query("labels == 'noise' and leak == 'best F1 of each subject'").itertuples()
    ends = ttest_1samp(single, 0).confidence_interval(1 - 0.05 * row.p / row.p_holm)
    assert (row.low, row.high) == pytest.approx(ends)


def test_the_picture_shows_what_each_clip_is_used_for():
    annotations = pd.DataFrame({"subject": list("bac"), "emotion": "x"})
    fold = Fold("f", np.array([0]), np.array([1]), np.array([2]))
    [image] = folds_figure([fold], annotations).axes[0].images
    shown = ["#" + bytes(pixel).hex() for pixel in image.get_array()[0]]
    wanted = [ROLES[role].lower() for role in ("test", "training", "chooses the epoch")]  # a, b, c
    assert shown == wanted


def test_what_picks_by_tested_clips_gains_on_noise_and_on_true_labels(stored):
    """The page of results and lesson 13 say so, and of the mean of each subject's F1 that it is no higher."""
    assert "leave out zero on shuffled labels and on true ones" in " ".join(PAGE.read_text("utf-8").split())
    low = gains(stored.scores()).pivot_table(index="leak", columns="labels", values="low")[["noise", "true"]]
    picks = [name for name in low.index if "best" in name or name == COPIED]
    assert len(picks) == 8
    assert (low.loc[picks] > 0).all(axis=None)
    assert (low.loc[["validation", "mean of each subject's F1"]] < 0).all(axis=None)
    true = gains(stored.scores(labels="true")).set_index("leak")
    assert true.high["split by clip instead of subject"] < 0, "it takes a little"
    assert true.low["split by clip, no resting face"] > 0, "and adds a little where nobody can be known by the face"
