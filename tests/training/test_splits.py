import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsfmicro_lab.training import Fold
from tsfmicro_lab.training.splits import (
    PROTOCOLS,
    checked,
    composite_evaluation,
    hold_out,
    leave_one_data_set_out,
    leave_one_subject_out,
    nested_leave_one_subject_out,
    subject_k_fold,
)

TABLES = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("xyz"), st.sampled_from(["one", "two"])), min_size=12
)


def table(rows):
    """Subjects belong to one data set each, as in a composite, and there are at least five of them in both."""
    rows = [*rows, *((s, "x", "") for s in "abcdefgh")]
    made = pd.DataFrame(rows, columns=["subject", "emotion", "data"])
    made["data"] = np.where(made["subject"] < "d", "one", "two")
    return made


@settings(max_examples=40, deadline=None)
@given(TABLES, st.sampled_from(sorted(PROTOCOLS)))
def test_nobody_stands_on_two_sides_whatever_the_table(rows, name):
    annotations = table(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folds = PROTOCOLS[name](annotations)
    for fold in folds:
        sides = [set(annotations.subject[part]) for part in (fold.train, fold.validation, fold.test)]
        assert sides[0]
        assert sides[2]
        assert not (sides[0] & sides[1])
        assert not (sides[0] & sides[2])
        assert not (sides[1] & sides[2])
    tested = np.concatenate([fold.test for fold in folds])
    if name != "hold-out":
        assert sorted(tested) == list(range(len(annotations))), "every clip is tested once"
    if name == "nested":
        used = [sorted(np.r_[f.train, f.validation, f.test]) for f in folds]
        assert all(rows == list(range(len(annotations))) for rows in used)
        assert all(len(f.validation) for f in folds)
    if name == "data-set-out":
        assert [f.name for f in folds] == ["one", "two"]


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 4), st.integers(1, 3), st.integers(0, 99))
def test_repeated_folds_test_everybody_once_in_each_repetition(folds, repeats, seed):
    annotations = table([])
    made = subject_k_fold(annotations, folds=folds, repeats=repeats, seed=seed)
    assert len(made) == folds * repeats
    for repeat in range(repeats):
        part = [f.test for f in made if f.name.startswith(f"{repeat + 1}-")]
        assert sorted(np.concatenate(part)) == list(range(len(annotations)))
    again = subject_k_fold(annotations, folds=folds, repeats=repeats, seed=seed)
    assert all((a.test == b.test).all() for a, b in zip(made, again, strict=True))


def test_five_folds_unless_told_and_targets_by_their_name():
    table = pd.DataFrame({"subject": list("abcdefg"), "emotion": "x"})
    assert len(nested_leave_one_subject_out(table, target="emotion")) == 7
    assert [fold.name for fold in subject_k_fold(table)] == ["1-1", "1-2", "1-3", "1-4", "1-5"]


def test_a_class_that_training_lacks_is_warned_of_by_name():
    annotations = pd.DataFrame({"subject": list("aabb"), "emotion": ["x", "rare", "x", "x"]})
    with pytest.warns(UserWarning, match="fold a: no clip to train on has rare"):
        leave_one_subject_out(annotations)
    units = annotations.assign(action_units=["4+12", "4", "4", ""])
    with pytest.warns(UserWarning, match="fold a: no clip to train on has 12"):
        leave_one_subject_out(units, "action_units")


def test_what_cannot_be_split_is_refused():
    one = pd.DataFrame({"subject": ["s", "s"], "emotion": ["x", "y"], "data": "d"})
    for protocol in (leave_one_subject_out, nested_leave_one_subject_out, hold_out, subject_k_fold):
        with pytest.raises(ValueError, match="needs at least"):
            protocol(one)
    for protocol in (composite_evaluation, leave_one_data_set_out):
        with pytest.raises(ValueError, match="needs two data sets or more, got d"):
            protocol(one)
        with pytest.raises(ValueError, match="no column 'data'"):
            protocol(one.drop(columns="data"))
    with pytest.raises(ValueError, match="at least 3 subjects"):
        nested_leave_one_subject_out(pd.DataFrame({"subject": ["s", "t"], "emotion": "x"}))
    shared = pd.DataFrame({"subject": ["s", "s", "t"], "emotion": "x", "data": ["d", "e", "e"]})
    with pytest.raises(ValueError, match="subject s stands in several data sets"):
        composite_evaluation(shared)
    with pytest.raises(ValueError, match="fold mine: t stands on both sides"):
        checked([Fold("mine", np.array([0, 2]), np.array([1, 2]))], shared.assign(subject=["s", "u", "t"]))
    with pytest.raises(ValueError, match="fold empty has 0 clips to train on"):
        checked([Fold("empty", np.array([], int), np.array([1]))], shared)


def test_many_folds_of_many_clips_are_small_and_read_back():
    annotations = pd.DataFrame({"subject": np.arange(30_000) % 300, "emotion": "x"})
    folds = leave_one_subject_out(annotations)
    assert len(pickle.dumps(folds)) < 300 * 30_000 / 8 * 1.4, "a bit a clip, and the tested rows"
    for number, fold in enumerate(pickle.loads(pickle.dumps(folds))[:3]):
        assert fold.test.tolist() == list(range(number, 30_000, 300))
        assert sorted([*fold.train, *fold.test]) == list(range(30_000))


@pytest.mark.parametrize(
    "rows", [[], [0], [5, 3, 4], [2, 2, 7], [10**9, 10**9 + 1], list(range(0, 700, 7)), [-1, 0, 1]]
)
def test_rows_come_back_as_they_were_given(rows):
    fold = Fold("f", np.array(rows, int), np.array(rows, int))
    assert fold.train.tolist() == fold.test.tolist() == rows
    assert fold.validation.tolist() == []
    assert fold.train.dtype == np.int64
