import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studies.papers import can_be_true, integer_confusion, published
from tsfmicro_lab.training.metrics import uf1_of_counts


def test_every_published_score_has_a_source_and_says_how_it_chose():
    table = published()
    assert table[["method", "data", "source", "evidence"]].notna().all().all()
    assert set(table.selection) == {"leaky", "honest", "unknown"}
    assert table.uf1.between(0, 1).all()
    slstt = table[table.recomputed.notna()].iloc[0]
    assert (slstt.uf1, slstt.recomputed, sum(slstt.counts)) == (0.901, 0.893, 145)


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
