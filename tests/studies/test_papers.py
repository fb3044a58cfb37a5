import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from studies.papers import (
    NAMED,
    SCORES,
    can_be_true,
    cards_of,
    integer_confusion,
    paper_recipes,
    published,
    recipes_page,
    reference_scores,
    with_scores,
)
from tsfmicro_lab.data.cards import list_cards, read_card
from tsfmicro_lab.training import RECIPES
from tsfmicro_lab.training.metrics import uf1_of_counts


def test_every_published_score_has_a_source_and_says_how_it_was_chosen():
    table = published()
    for name in ("method", "data", "classes", "protocol", "selection", "evidence", "source"):
        assert (table[name] != "").all(), name
    assert set(table.selection) == {"leaky", "honest", "unknown"}
    scores = table[list(SCORES)]
    assert (scores.isna() | ((scores > 0) & (scores < 1))).all().all()
    assert not table.duplicated(["method", "data", "classes", "protocol", "year"]).any()
    slstt = table[table.recomputed.notna()].iloc[0]
    assert (slstt.method, slstt.data, slstt.uf1, slstt.recomputed) == ("SLSTT-LSTM", "CASME II", 0.901, 0.893)


def test_what_nobody_has_read_is_said_so_and_has_no_number():
    """TSFmicro's tables were not read; what has no score at all is not read, and everything else has one."""
    table = published()
    without = table[table[list(SCORES)].isna().all(axis=1)]
    assert set(without.method) == {"TSFmicro"} <= set(table.method)
    assert without.source.str.contains("not read").all()
    assert (without.selection == "leaky").all()


def test_one_epoch_chosen_on_the_test_subject_is_worth_six_to_fourteen_points():
    """What the notes on MEB's runs say, from the table: the same networks, only the choice of the epoch differs."""
    table = published().query("data == 'MEGC2019'").set_index("method").uf1
    for name, gain in (("STSTNet", 0.06), ("Off-ApexNet", 0.14)):
        honest, leaky = table[f"{name}, epoch fixed"], table[f"{name}, best epoch of each test subject"]
        assert leaky - honest == pytest.approx(gain, abs=0.005)


@pytest.mark.parametrize("name", list_cards())
def test_cards_hold_the_reference_scores_of_the_table(name):
    card = read_card(name)
    recorded = card.license == "other"
    assert (reference_scores(card.pretty_name) in card.prose) == recorded, "run python -m studies.papers in notebooks/"
    assert card.prose.count("**Reference scores.**") == recorded


def test_every_score_belongs_to_a_card():
    names = {read_card(name).pretty_name for name in list_cards()}
    assert {card for data in published().data for card in cards_of(data)} <= names


def test_all_that_was_read_is_there_once():
    """The number of scores is that of the notes on papers: a row that is lost, or copied twice, is seen."""
    table = published()
    known = table[list(SCORES)].notna()
    assert known.sum().sum() == 434
    several = table[known.sum(axis=1) > 1]
    assert not several.duplicated(["data", *SCORES]).any(), "numbers that several places quote stand once"
    assert not (table[["classes", "protocol", "evidence", "quoted_by", "source"]] == "not told").any().any()
    assert table.classes.str.fullmatch(r"\d|not read").all()
    listed = table.protocol.str.match("CDE|SDE|not read|spot, then recognise|disputed|challenge|leave one subject out")
    assert listed.all(), table.protocol[~listed].tolist()


def test_a_card_with_many_rows_says_how_many_it_leaves_out():
    whole, some = reference_scores("CASME"), reference_scores("SAMM")
    assert "All rows that were read." in whole
    assert "leave one subject out, mean over folds; CASME + CASME II + CAS(ME)^2" in whole
    known = sum("SAMM" in cards_of(data) for data in published().data)
    assert f"{some.count(chr(10) + '| ') - 1} of the {known} rows" in some
    assert "spot, then recognise" in reference_scores("CAS(ME)^2")
    highest = published().query("data == 'MEGC2019'").nlargest(2, "uf1").method
    assert {*highest} <= {*NAMED}


def test_new_scores_take_the_place_of_old_ones():
    card = "# A\n\n**Counts.** 3.\n\n**Licence and how to apply.** Ask.\n"
    once = with_scores(card, "**Reference scores.** Old.\n\n| a |")
    assert with_scores(once, "**Reference scores.** New.") == with_scores(card, "**Reference scores.** New.")
    assert "Old" in once


def test_the_page_of_recipes_is_what_the_data_give():
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert page == recipes_page(), "run python -m studies.papers in notebooks/"
    assert page.count("| not read |") > 10


def test_a_recipe_that_was_read_trains_and_another_is_refused():
    recipes = {(p.method, p.task): p for p in paper_recipes()}
    tsfmicro = recipes["TSFmicro", "CASME II, 5 classes"].recipe()
    base = RECIPES["base"]
    same = ("epochs", "batch_size", "lr", "weight_decay", "decay", "decay_epochs", "degrees", "optimizer", "schedule")
    assert [getattr(tsfmicro, name) for name in same] == [getattr(base, name) for name in same]
    assert tsfmicro.shift == pytest.approx(base.shift, abs=1e-5)
    assert 8e-4 * tsfmicro.rate(120) == pytest.approx(4.16e-4, rel=1e-3), "constant after 50 epochs"
    slstt = recipes["SLSTT", "all its data sets"].recipe()
    assert [slstt.rate(epoch) for epoch in (1, 30, 31)] == pytest.approx([1, 1, 0.1])
    with pytest.raises(ValueError, match=r"FRL-DGT, MEGC2019: optimizer, lr, .* was not read, so there is no recipe"):
        recipes["FRL-DGT", "MEGC2019"].recipe()


MATRICES = st.lists(st.lists(st.integers(0, 24), min_size=3, max_size=3), min_size=3, max_size=3)


@settings(max_examples=40, deadline=None)
@given(MATRICES)
def test_a_printed_matrix_gives_its_clips_back(rows):
    counts = np.array(rows) + np.eye(3, dtype=int)
    printed = (counts / counts.sum(1, keepdims=True)).round(3)
    assert (integer_confusion(printed, counts.sum(1).tolist(), decimals=3) == counts).all()


@pytest.mark.parametrize(
    ("shares", "totals", "message"),
    [
        ([[0.95, 0.05], [0.2, 0.8]], [11, 5], "row 0: no ways to share out 11 clips"),
        ([[0.5, 0.5], [0.2, 0.8]], [1001, 5], r"row 0: \d+ ways to share out 1001 clips"),
        ([[1.0, 0.0], [0.0, 1.0]], [3, 3, 3], "3 classes need a matrix of that side"),
    ],
)
def test_what_cannot_be_turned_back_is_named(shares, totals, message):
    with pytest.raises(ValueError, match=message):
        integer_confusion(np.array(shares), totals)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=3, max_size=3))
def test_scores_of_a_real_matrix_can_be_true(rows):
    counts = np.array(rows) + np.eye(3, dtype=int)
    uar = float((np.diag(counts) / counts.sum(1)).mean())
    assert can_be_true(round(float(uf1_of_counts(counts)), 3), round(uar, 3), counts.sum(1).tolist())


def test_scores_of_no_matrix_are_found_out():
    assert not can_be_true(0.99, 0.5, [10, 10, 10])
    assert not can_be_true(1.0, 0.99, [10, 10, 10])
    with pytest.raises(ValueError, match="for 3 classes, got 2"):
        can_be_true(1.0, 1.0, [3, 3])
