"""Sentences from a stored comparison say no more than its seeds allow."""

import numpy as np
import pandas as pd
import pytest

from studies.compare import Comparison
from studies.verdicts import linear_floor, published_scores, stream_verdict, verdict

ROWS = [
    ("tsfmicro_temporal", 5, 0.8, np.nan, np.nan, np.nan, np.nan),
    ("tsfmicro_early", 5, 0.9, 0.1, 0.05, 0.15, 0.01),
    ("tsfmicro_late", 5, 0.79, -0.01, -0.05, 0.03, 0.7),
    ("tsfmicro_spatial", 5, 0.62, 0.08, 0.03, 0.13, 0.02),
    ("tsfmicro_s2t", 1, 0.85, 0.05, np.nan, np.nan, np.nan),
    ("linear_flow", 5, 0.5, -0.3, -0.4, -0.2, 0.0),
    ("linear_difference", 5, 0.6, -0.2, -0.3, -0.1, 0.0),
]


def comparison(streams=()):
    columns = ["model", "seeds", "uf1", "gain", "gain_low", "gain_high", "p_holm"]
    rows = [
        {"setting": "clean", "model": model, "seed": seed, "intervention": what, "lost": lost}
        for model, what, losses in streams
        for seed, lost in enumerate(losses)
    ]
    intervals = pd.DataFrame(ROWS, columns=columns).assign(setting="clean", low=lambda rows: rows.uf1 - 0.05)
    none = pd.DataFrame()
    table = pd.DataFrame(rows, columns=["setting", "model", "seed", "intervention", "lost"])
    return Comparison(provenance={}, scores=none, intervals=intervals, curves=none, streams=table, cost=none)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("early", "gain +0.10 (+0.05 to +0.15), 5 seeds, p (Holm) 0.010: it wins."),
        ("spatial", "it wins, but its interval reaches a linear model's 0.60, so nothing is said"),
        ("late", "the two cannot be told apart"),
        ("s2t", "from 1 seed: an observation, not tested"),
        ("t2s", "has not been measured yet"),
    ],
)
def test_a_gain_is_told_only_if_its_test_leaves_out_zero(model, words):
    assert words in verdict(comparison(), "clean", f"tsfmicro_{model}")


@pytest.mark.parametrize(
    ("off", "grey", "other", "words"),
    [
        ((0.5, 0.6), (0.0, 0.0), (0.0, 0.0), "needs a constant in that stream, and no face"),
        ((0.5, 0.6), (0.5, 0.4), (0.0, 0.0), "needs a face, of whomever"),
        ((0.5, 0.6), (0.5, 0.4), (0.4, 0.3), "uses the onset frame of this very clip"),
        ((0.0, 0.0), (0.3, 0.2), (0.0, 0.0), "can do without the stream, though grey misleads it"),
        ((0.5, 0.0), (0.0, 0.0), (0.0, 0.0), "the seeds disagree"),
    ],
)
def test_a_stream_is_told_by_its_controls(off, grey, other, words):
    streams = [("tsfmicro_early", *pair) for pair in (("where off", off), ("onset grey", grey))]
    found = comparison([*streams, ("tsfmicro_early", "onset of another", other)])
    assert words in stream_verdict(found, "clean", "tsfmicro_early")
    assert linear_floor(found, "clean") == 0.6


def test_what_nobody_read_is_called_so():
    assert {*published_scores().accuracy} == {"not read"}
    assert published_scores("SLSTT-LSTM").uf1.str.match(r"0\.\d{3}|not read").all()
