"""Charts hold the numbers of their tables, and as many series as there are."""

import numpy as np
import pandas as pd
import plotly.io as pio
import pytest

from studies.plots import intervals_chart
from tsfmicro_lab.explain.charts import (
    COLOURS,
    TEMPLATE,
    bars_chart,
    confusion_chart,
    folds_chart,
    reliability_chart,
    scores_chart,
    shares_chart,
)

MODELS = [f"model {i}" for i in range(15)]


def scored(models, seeds=2):
    rows = [{"model": m, "seed": s, "uf1": i / 40} for i, m in enumerate(models) for s in range(seeds)]
    return pd.DataFrame(rows).assign(uar=0.5, accuracy=0.6)


def intervals(models):
    return pd.DataFrame({"model": models, "uf1": 0.5, "low": 0.4, "high": 0.7})


def test_fifteen_models_are_fifteen_series_that_look_different():
    """Once, every series beyond the seventh was dropped without a word."""
    bars = [t for t in scores_chart(scored(MODELS)).data if t.type == "bar"]
    assert [t.name for t in bars] == MODELS
    assert len({t.marker.color for t in bars}) == 15
    assert len({(t.marker.color, t.marker.pattern.shape) for t in bars}) == 15
    assert {t.marker.pattern.shape for t in bars[:7]} == {""}, "the first seven are plain"
    dots = intervals_chart(intervals(MODELS), "uf1", "model", "low", "high", "model").data
    assert [t.name for t in dots] == MODELS
    assert len({t.marker.color for t in dots}) == 15
    assert len({t.marker.symbol for t in dots}) == 3
    [rows] = intervals_chart(intervals(MODELS), "uf1", "model", "low", "high").data
    assert list(rows.y) == MODELS


def test_even_more_series_than_styles_are_all_drawn():
    many = [f"m{i}" for i in range(40)]
    assert len([t for t in scores_chart(scored(many, 1)).data if t.type == "bar"]) == 40


def test_colours_are_distinct_and_the_template_is_registered():
    assert len(set(COLOURS)) == 21
    assert COLOURS[0] == "#0072B2"
    assert pio.templates[TEMPLATE].layout.colorway == COLOURS


def test_a_bar_is_a_mean_and_each_seed_a_dot_on_it():
    table = pd.DataFrame({"model": ["tsfmicro_late"] * 2 + ["majority"], "seed": [0, 1, -1], "uf1": [0.2, 0.4, 0.1]})
    table = table.assign(uar=0.5, accuracy=0.6)
    chart = scores_chart(table)
    bars = {t.name: list(t.y) for t in chart.data if t.type == "bar"}
    dots = {t.name: t for t in chart.data if t.type == "scatter"}
    assert bars["late"] == pytest.approx([0.3, 0.5, 0.6])
    assert bars["majority"][0] == 0.1
    assert list(dots["late"].y[:2]) == [0.2, 0.4]
    assert dots["late"].offsetgroup == "late"
    assert chart.layout.scattermode == "group"
    assert list(chart.layout.yaxis.range) == [0, 1]
    assert all(t.type == "bar" for t in bars_chart(table[:1], "model", "uf1", "seed").data), "one row: no dot"


def test_intervals_have_their_ends_and_zero_where_they_meet_it():
    table = pd.DataFrame({"model": ["a", "b"], "gain": [0.1, 0.3], "low": [-0.1, 0.2], "high": [0.2, 0.6]})
    chart = intervals_chart(table, "gain", "model", "low", "high", title="gain in UF1")
    assert list(chart.data[0].error_x.array) == pytest.approx([0.1, 0.3])
    assert list(chart.data[0].error_x.arrayminus) == pytest.approx([0.2, 0.1])
    assert len(chart.layout.shapes) == 1
    assert chart.layout.xaxis.title.text == "gain in UF1"
    assert chart.layout.yaxis.autorange == "reversed"
    assert not intervals_chart(table[1:], "gain", "model", "low", "high").layout.shapes
    both = pd.concat([table.assign(data=d) for d in ("own", "other")])
    chart = intervals_chart(both, "gain", "model", "low", "high", "data")
    assert [(t.name, t.offsetgroup, t.orientation) for t in chart.data] == [
        ("own", "own", "h"),
        ("other", "other", "h"),
    ]


def test_the_confusion_is_counted_and_coloured_by_share():
    predictions = pd.DataFrame({"truth": ["a", "a", "b"], "predicted": ["a", "b", "b"]})
    heat = confusion_chart(predictions, ("a", "b")).data[0]
    assert np.asarray(heat.text).tolist() == [[1, 1], [0, 1]]
    assert np.asarray(heat.z).tolist() == [[0.5, 0.5], [0, 1]]


def test_masses_stand_against_chance():
    about = {"clip": ["c"], "truth": ["a"], "predicted": ["b"]}
    shares = pd.DataFrame({**about, "where": [0.1], "how": [0.4], "chance": [0.2]})
    how, where, chance = shares_chart(shares).data
    assert (how.name, where.name, chance.name) == ("how (difference)", "where (onset)", "chance")
    assert (list(how.x), list(how.y), list(where.y)) == ([0.2], [0.4], [0.1])
    assert list(chance.x) == list(chance.y)
    assert "%{y:.0%}" in how.hovertemplate


def test_folds_and_confidence():
    predictions = pd.DataFrame({"subject": [7, 8], "truth": ["a", "b"], "predicted": ["a", "a"]})
    uf1, accuracy = folds_chart(predictions, ["a", "b"]).data
    assert [uf1.name, accuracy.name] == ["UF1", "accuracy"]
    assert list(accuracy.y) == [0, 1]
    assert "clips=%{customdata[0]}" in uf1.hovertemplate
    model, calibrated = reliability_chart(pd.DataFrame({"confidence": [0.8], "accuracy": [0.5], "clips": [4]})).data
    assert (list(model.x), list(model.y)) == ([0.8], [0.5])
    assert list(calibrated.x) == list(calibrated.y) == [0, 1]
