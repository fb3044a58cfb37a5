"""How much a wrong protocol adds: the same training runs, scored honestly and with each leak of the field.

Varanka, Li, Peng, Zhao, "Data Leakage and Evaluation Issues in Micro-Expression Analysis", arXiv 2211.11425, read 16
public programs and measured the first of these leaks on recordings. Here the truth is known: with labels that are pure
noise nobody can be better than chance, and whatever a protocol reports above it was not learnt.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Float

from studies.intervals import over_seeds
from studies.stored import Stored
from tsfmicro_lab.training.metrics import uf1_of_counts
from tsfmicro_lab.training.statistics import corrected

MODELS = ("tsfmicro_late", "tsfmicro_early", "tsfmicro_temporal")
#: Late fusion, trained with moved copies of the tested clips.
COPIES, COPIED = "copies", "copies of the tested clips in training"
VARIANT, VARIANT_AND_EPOCH = "best of three variants", "best of three variants, best F1 of each subject"
#: Noise that clings to people: each subject has a class of their own.
BY_SUBJECT = "noise by subject"
#: Leaks shown with a linear model, and the honest way that each is compared with.
LINEAR = {
    "mean and spread of all subjects": "linear",
    "features chosen on all subjects": "linear, features chosen",
    "split by clip instead of subject": "linear",
    "split by clip, no resting face": "linear, no resting face",
}


@dataclass(frozen=True)
class Leakage(Stored):
    """What was measured; every table is long.

    Attributes:
        clips: `labels`, `seed`, `model`, `subject`, `truth` and `epochs`: a digit for the class predicted after each.
        validation: `labels`, `seed`, `model`, `subject` and `uf1`: after each epoch, on the fold's validation subjects.
        linear: `labels`, `seed`, `leak`, `uf1`, `accuracy` of a linear model, for leaks that need no network.
    """

    script: ClassVar = "leakage"
    clips: pd.DataFrame
    validation: pd.DataFrame
    linear: pd.DataFrame

    def scores(self, epochs: int | None = None, subjects: int | None = None, labels: str | None = None) -> pd.DataFrame:
        """UF1 and accuracy of every experiment under every protocol.

        Args:
            epochs: How many epochs are looked at; all that were trained by default.
            subjects: How many subjects are scored; all by default. Linear models are always scored on all.
            labels: Only those with these labels.

        Returns:
            One row per experiment and leak: `labels`, `seed`, `leak`, `uf1`, `accuracy`, and `gain`, `accuracy_gain`
            over the honest score of the same models. Networks are averaged, but for the leak that picks the best.
        """
        people = sorted(self.clips.subject.unique())[:subjects]
        clips, validation = (
            t[t.subject.isin(people) & t.labels.eq(labels or t.labels)] for t in (self.clips, self.validation)
        )
        curves = dict(list(validation.groupby(["labels", "seed", "model"])))
        rows = []
        key: Any
        for key, group in clips.groupby(["labels", "seed"]):
            scored = {
                str(model): leak_scores(own, curves[*key, model], epochs).set_index("leak")
                for model, own in group.groupby("model")
            }
            rows.append(_network_gains(scored).assign(labels=key[0], seed=key[1]))
        for key, group in self.linear[self.linear.labels.eq(labels or self.linear.labels)].groupby(["labels", "seed"]):
            table = group.set_index("leak")[["uf1", "accuracy"]]
            pairs = {leak: (table.loc[leak], table.loc[honest]) for leak, honest in LINEAR.items()}
            rows.append(_gains(pairs).assign(labels=key[0], seed=key[1]))
        return pd.concat(rows, ignore_index=True)


def gains(scores: pd.DataFrame) -> pd.DataFrame:
    """What each leak adds: mean over experiments, with interval and p of one t statistic, corrected within the labels.

    Every seed draws its own subjects, so that the spread over seeds holds that over subjects as well.

    Args:
        scores: From `Leakage.scores`.

    Returns:
        One row per labels and leak: `labels`, `leak`, `uf1`, `accuracy_gain`, `seeds`, `gain`, `low`, `high`, `p`,
        `p_holm`. The honest score, `last`, gains nothing over itself and is not tested.
    """
    grouped = scores.groupby(["labels", "leak"], sort=False)
    table = grouped[["uf1", "accuracy_gain"]].mean().assign(seeds=grouped.gain.count())
    found = grouped.gain.apply(over_seeds).drop("last", level="leak", errors="ignore")
    tested = [corrected([*own]).set_index(own.index) for _, own in found.groupby("labels", sort=False)]
    nothing = pd.DataFrame(0.0, index=table.index.difference(found.index), columns=["gain", "low", "high"])
    return table.join(pd.concat([*tested, nothing])).reset_index()


def leak_table(leakage: Leakage) -> pd.DataFrame:
    """UF1 that each way to score adds to the honest one, by labels, with corrected intervals (:func:`gains`)."""
    table = gains(leakage.scores())
    rows = zip(table.gain, table.low, table.high, strict=True)
    cells = table.assign(cell=[f"{gain:+.3f} ({low:+.3f} to {high:+.3f})" for gain, low, high in rows])
    wide = cells.pivot_table("cell", "leak", "labels", aggfunc="first", sort=False).drop("last").fillna("")
    return wide[["noise", BY_SUBJECT, "true"]].reset_index()


def leak_scores(clips: pd.DataFrame, validation: pd.DataFrame, epochs: int | None = None) -> pd.DataFrame:
    """One experiment, scored honestly and with every leak that picks what to report.

    Args:
        clips: `subject`, `truth`, `epochs` of one experiment.
        validation: `subject`, `uf1` of the same.
        epochs: How many epochs are looked at.

    Returns:
        One row per way to score: `leak`, `uf1`, `accuracy`. `last` and `validation` are honest; `chance` is what
        the last epoch's predictions score against labels dealt anew, mean of 100 deals.
    """
    predicted = np.array([[int(digit) for digit in text[:epochs]] for text in clips.epochs])
    truth = clips.truth.to_numpy(int)
    people = [np.flatnonzero(clips.subject == s) for s in clips.subject.unique()]
    # Over the classes that occur: what a program computes for a fold by itself.
    f1 = np.array([_uf1(truth[rows], predicted[rows]) for rows in people])
    right = np.array([(predicted[rows] == truth[rows, None]).mean(0) for rows in people])
    inside = np.array([validation.set_index("subject").uf1[s][:epochs] for s in clips.subject.unique()])
    last = np.full(len(people), predicted.shape[1] - 1)

    def kept(epoch: np.ndarray) -> tuple[float, float]:
        chosen = np.concatenate([predicted[rows, e] for rows, e in zip(people, epoch, strict=True)])
        order = np.concatenate(people)
        return float(_uf1(truth[order], chosen[:, None])[0]), float((chosen == truth[order]).mean())

    def averaged(epoch: np.ndarray) -> tuple[float, float]:
        return tuple(float(table[np.arange(len(people)), epoch].mean()) for table in (f1, right))  # type: ignore[return-value]

    by_f1, by_accuracy = kept(f1.argmax(1)), kept(right.argmax(1))
    ways = {
        "last": kept(last),
        "chance": _chance(truth, predicted[:, -1]),
        "validation": kept(last - inside[:, ::-1].argmax(1)),
        "mean of each subject's F1": averaged(last),
        "one epoch for all, best when pooled": kept(np.full(len(people), _uf1(truth, predicted).argmax())),
        "best accuracy of each subject, stop at 100 %": by_accuracy,
        "best F1 of each subject": by_f1,
        "best F1 and best accuracy, from different epochs": (by_f1[0], by_accuracy[1]),
        "best F1 of each subject, and their mean": averaged(f1.argmax(1)),
    }
    return pd.DataFrame([(way, *pair) for way, pair in ways.items()], columns=["leak", "uf1", "accuracy"])


def _chance(truth: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    dealt = np.stack([rng.permutation(predicted) for _ in range(100)], 1)
    return float(_uf1(truth, dealt).mean()), float((dealt == truth[:, None]).mean())


def _uf1(truth: np.ndarray, predicted: np.ndarray) -> Float[np.ndarray, " epochs"]:
    """UF1 after every epoch, over the classes that occur or are predicted."""
    one = np.eye(int(max(truth.max(), predicted.max())) + 1)
    return uf1_of_counts(np.einsum("nt, nep -> etp", one[truth], one[predicted]))


def _network_gains(networks: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """All leaks of one experiment with networks, from their scores by model."""
    compared = [networks[model] for model in MODELS if model in networks]
    mean = pd.concat(compared).groupby(level=0, sort=False).mean()
    honest: Any = mean.loc["last"]
    pairs: dict[str, Any] = {str(leak): (row, honest) for leak, row in mean.iterrows()}
    if len(compared) > 1:
        for leak, way in {VARIANT: "last", VARIANT_AND_EPOCH: "best F1 of each subject"}.items():
            pairs[leak] = pd.DataFrame([table.loc[way] for table in compared]).max(), honest
    if COPIES in networks:
        pairs[COPIED] = networks[COPIES].loc["last"], networks[MODELS[0]].loc["last"]
    return _gains(pairs)


def _gains(pairs: dict[str, Any]) -> pd.DataFrame:
    """Scores of each way, and what they are above the honest ones of the same models."""
    found = pd.DataFrame({leak: score for leak, (score, _) in pairs.items()}).T
    gained = pd.DataFrame({leak: score - honest for leak, (score, honest) in pairs.items()}).T
    gained = gained.rename(columns={"uf1": "gain", "accuracy": "accuracy_gain"})
    return found.join(gained).rename_axis("leak").reset_index()
