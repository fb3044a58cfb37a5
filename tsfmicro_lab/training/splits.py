"""Who is trained on and who is tested: the protocols of the field, as plain functions over annotations.

Each takes a table with one row per clip, a `subject` and a column to recognise (several labels joined by `+`, as action
units are), and returns folds that have been checked: nobody stands on two sides of one, and a class that training
lacks is warned of. `share` is the share of the subjects that is drawn, at least one of them; `seed` is of the draw. A
ValueError says what the table lacks: subjects, or data sets.
"""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int64

Rows = Int64[np.ndarray, "_"]


class _Packed:
    """A field of rows: where they rise and a mask of bits is smaller, as of 100,000 clips with 13 KB, that is kept."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = f"_{name}"

    def __set__(self, fold: Any, rows: Rows | None) -> None:
        rows = np.asarray([] if rows is None else rows, np.int64)
        small = len(rows) and rows[0] >= 0 and rows[-1] < 64 * len(rows) and bool((np.diff(rows) > 0).all())
        vars(fold)[self.name] = np.packbits(np.bincount(rows).astype(bool)) if small else rows

    def __get__(self, fold: Any, owner: type | None = None) -> Any:
        if fold is None:
            return None  # the default: no rows
        kept = vars(fold)[self.name]
        return np.flatnonzero(np.unpackbits(kept)) if kept.dtype == np.uint8 else kept


@dataclass(frozen=True)
class Fold:
    """Some subjects held out.

    Attributes:
        name: Who is tested, or which part it is.
        train: Rows to learn from.
        test: Rows to predict.
        validation: Rows of training subjects that are not learnt from, but decide the epoch and the recipe.
    """

    name: str
    train: Rows = _Packed()  # type: ignore[assignment]
    test: Rows = _Packed()  # type: ignore[assignment]
    validation: Rows = _Packed()  # type: ignore[assignment]


def leave_one_subject_out(annotations: pd.DataFrame, target: str = "emotion") -> list[Fold]:
    """LOSO: every subject is tested once, by a model that never saw them. Pool the predictions, then score.

    Args:
        annotations: `subject` and the target; of a data set, a composite, or `Samples.annotations`.
        target: Column that is recognised.

    Example:
        >>> table = pd.DataFrame({"subject": list("aabb"), "emotion": ["x", "y", "x", "y"]})
        >>> [(fold.name, fold.train.tolist(), fold.test.tolist()) for fold in leave_one_subject_out(table)]
        [('a', [2, 3], [0, 1]), ('b', [0, 1], [2, 3])]
    """
    return _leave_out(annotations, "subject", target)


def nested_leave_one_subject_out(
    annotations: pd.DataFrame, target: str = "emotion", *, share: float = 0.2, seed: int = 0
) -> list[Fold]:
    """LOSO in which a share of each fold's training subjects is set aside for `selection="validation"`."""
    subjects = annotations["subject"].to_numpy(dtype=object)
    folds = leave_one_subject_out(annotations, target)
    return checked([with_validation(f, subjects, share, seed + i) for i, f in enumerate(folds)], annotations, target)


def subject_k_fold(
    annotations: pd.DataFrame, target: str = "emotion", *, folds: int = 5, repeats: int = 1, seed: int = 0
) -> list[Fold]:
    """Subjects dealt into a few folds, several times anew: cheaper than LOSO where there are many subjects."""
    from sklearn.model_selection import GroupKFold

    subjects, dealt = _subjects(annotations, folds), []
    for repeat in range(repeats):
        parts = GroupKFold(folds, shuffle=True, random_state=seed + repeat).split(subjects, groups=subjects)
        dealt += [Fold(f"{repeat + 1}-{i}", train, test) for i, (train, test) in enumerate(parts, start=1)]
    return checked(dealt, annotations, target)


def composite_evaluation(annotations: pd.DataFrame, target: str = "emotion") -> list[Fold]:
    """CDE: LOSO over several data sets put together (MEGC2019), where a subject belongs to one of them."""
    _need_parts(annotations)
    shared = annotations.groupby("subject")["data"].nunique()
    if (shared > 1).any():
        raise ValueError(f"subject {shared.idxmax()} stands in several data sets: prefix names, as Composite does")
    return leave_one_subject_out(annotations, target)


def leave_one_data_set_out(annotations: pd.DataFrame, target: str = "emotion") -> list[Fold]:
    """Trains on all data sets but one and tests on that one: other cameras, coders and people."""
    _need_parts(annotations)
    return _leave_out(annotations, "data", target)


def hold_out(annotations: pd.DataFrame, target: str = "emotion", *, share: float = 0.2, seed: int = 0) -> list[Fold]:
    """One fold: a share of the subjects is tested, the others trained on."""
    return checked([Fold("held-out", *_set_aside(_subjects(annotations, 2), share, seed))], annotations, target)


#: What `tsfmicro-lab evaluate --protocol` knows.
PROTOCOLS: dict[str, Callable[[pd.DataFrame], list[Fold]]] = {
    "loso": leave_one_subject_out,
    "nested": nested_leave_one_subject_out,
    "kfold": subject_k_fold,
    "megc2019": composite_evaluation,
    "data-set-out": leave_one_data_set_out,
    "hold-out": hold_out,
}


def with_validation(fold: Fold, subjects: np.ndarray, share: float, seed: int) -> Fold:
    """Sets a share of a fold's training subjects aside, at least one of them, to choose by."""
    groups = subjects[rows := fold.train]
    if len(set(groups)) < 2:
        raise ValueError("validation needs at least 3 subjects: one to test, one to validate, one to train")
    keep, held = _set_aside(groups, share, seed % 2**32)
    return replace(fold, train=rows[keep], validation=rows[held])


def checked(folds: Iterable[Fold], annotations: pd.DataFrame, target: str = "emotion") -> list[Fold]:
    """Refuses folds that share a subject between sides and warns of classes that training lacks.

    Raises:
        ValueError: Two folds have one name, a side is empty, or a subject stands on two sides of one fold.
    """
    folds = list(folds)
    if len({fold.name for fold in folds}) < len(folds):
        raise ValueError(f"two folds have one name: {', '.join(sorted(fold.name for fold in folds))}")
    subjects, names = pd.factorize(annotations["subject"], use_na_sentinel=False)
    kinds, kept = pd.factorize(annotations[target].map(str))
    labels = [set(label.split("+")) - {""} for label in kept]
    for fold in folds:
        parts = fold.train, fold.test, fold.validation
        sides = np.stack([np.bincount(subjects[rows], minlength=len(names)) for rows in parts])
        if not sides[0].any() or not sides[1].any():
            raise ValueError(f"fold {fold.name} has {len(parts[0])} clips to train on and {len(parts[1])} to test")
        if (both := (sides > 0).sum(0) > 1).any():
            found = ", ".join(sorted(map(str, names[both])))
            raise ValueError(f"fold {fold.name}: {found} stands on both sides; split by subject")
        shown = [np.flatnonzero(np.bincount(kinds[rows])) for rows in parts[:2]]
        learnt, asked = (set[str]().union(*(labels[i] for i in some)) for some in shown)
        if unseen := sorted(asked - learnt):
            lacks = f"no clip to train on has {', '.join(unseen)}, so its clips of it cannot be recognised"
            remedy = "leave the class out, join it with another, or add subjects"
            warnings.warn(f"fold {fold.name}: {lacks}; {remedy}", stacklevel=3)
    return folds


def _leave_out(annotations: pd.DataFrame, column: str, target: str) -> list[Fold]:
    _subjects(annotations, 2)
    groups, names = pd.factorize(annotations[column], sort=True)
    folds = [Fold(str(n), np.flatnonzero(groups != i), np.flatnonzero(groups == i)) for i, n in enumerate(names)]
    return checked(folds, annotations, target)


def _set_aside(subjects: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of most subjects, and of the share that is drawn."""
    from sklearn.model_selection import GroupShuffleSplit

    return next(GroupShuffleSplit(1, test_size=share, random_state=seed).split(subjects, groups=subjects))


def _subjects(annotations: pd.DataFrame, least: int) -> np.ndarray:
    subjects = annotations["subject"].to_numpy(dtype=object)
    if len(set(subjects)) < least:
        raise ValueError(f"this protocol needs at least {least} subjects, got {sorted(set(subjects))}")
    return subjects


def _need_parts(annotations: pd.DataFrame) -> None:
    parts = sorted(set(annotations["data"])) if "data" in annotations else ["no column 'data'"]
    if len(parts) < 2:
        raise ValueError(f"this protocol needs two data sets or more, got {', '.join(parts)}: see data.Composite")
