import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib import image as mpl_image

from tsfmicro_lab.explain import WhereHow, clips_figure, where_how_figure
from tsfmicro_lab.explain.charts import confusion_chart, scores_chart, shares_chart
from tsfmicro_lab.preprocess import align_clip


@pytest.fixture(scope="module")
def clips(data):
    return [align_clip(data[i], 56) for i in (0, 12)]


def pixels(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=60)
    buffer.seek(0)
    return mpl_image.imread(buffer)


def maps(scale=1.0, blank=False):
    heat = np.zeros((56, 56), np.float32) if blank else np.random.default_rng(0).normal(0, scale, (56, 56))
    return WhereHow(dict.fromkeys(("onset", "difference"), heat.astype(np.float32)), 1, "integrated gradients")


def test_a_row_of_pictures_for_each_clip(clips):
    one, two = clips_figure(clips[:1]), clips_figure(clips)
    assert [a.get_title() for a in two.axes[:4]] == ["onset frame", "apex frame", "difference", "true motion"]
    assert two.axes[0].get_ylabel() == f"{clips[0].emotion}\nAU {' + '.join(clips[0].action_units)}"
    assert pixels(two).shape[0] > 1.5 * pixels(one).shape[0]
    shown = two.axes[0].images[0].get_array()
    assert (shown == clips[0].frame(clips[0].onset)).all()


def test_all_maps_share_one_scale(clips):
    figure = where_how_figure(clips, [maps(1.0), maps(0.1)], ("a", "b"))
    limits = {axis.images[-1].get_clim() for row in (0, 1) for axis in figure.axes[4 * row + 2 : 4 * row + 4]}
    assert len(limits) == 1
    low, high = limits.pop()
    assert low == -high
    strong, weak = (np.asarray(figure.axes[i].images[-1].get_alpha()).mean() for i in (2, 6))
    assert weak < 0.4 * strong  # the weaker map looks weaker


def test_a_zero_map_is_drawn_as_nothing(clips):
    figure = where_how_figure(clips[:1], [maps(blank=True)], ("a", "b"))
    assert not np.asarray(figure.axes[2].images[-1].get_alpha()).any()
    pixels(figure)


def test_clips_that_cannot_be_drawn_are_named(clips):
    with pytest.raises(ValueError, match="no clip to draw"):
        clips_figure([])
    with pytest.raises(ValueError, match=r"has no apex: call preprocess\.with_apex"):
        clips_figure([replace(clips[0], apex=None)])


def test_charts_hold_the_numbers_of_their_tables():
    table = pd.DataFrame(
        {"model": ["m", "m", "majority"], "seed": [0, 1, -1], "uf1": [0.2, 0.4, 0.1], "uar": 0.5, "accuracy": 0.6}
    )
    chart = scores_chart(table)
    bars = {trace.name: list(trace.y) for trace in chart.data if trace.type == "bar"}
    assert bars["m"] == pytest.approx([0.3, 0.5, 0.6])
    assert bars["majority"][0] == 0.1
    predictions = pd.DataFrame({"truth": ["a", "a", "b"], "predicted": ["a", "b", "b"]})
    heat = confusion_chart(predictions, ("a", "b")).data[0]
    assert np.asarray(heat.text).tolist() == [[1, 1], [0, 1]]
    assert np.asarray(heat.z).tolist() == [[0.5, 0.5], [0, 1]]
    shares = pd.DataFrame(
        {"clip": ["c"], "truth": ["a"], "predicted": ["b"], "where": [0.1], "how": [0.4], "chance": [0.2]}
    )
    how = next(t for t in shares_chart(shares).data if t.name.startswith("how"))
    assert (list(how.x), list(how.y)) == ([0.2], [0.4])
