import io

import numpy as np
import pandas as pd
import pytest
from matplotlib import image as mpl_image

from tsfmicro_lab.explain import WhereHow, maps_figure
from tsfmicro_lab.explain.figures import shared_limit
from tsfmicro_lab.explain.method_charts import causes_chart, methods_chart, sanity_chart

FACE = np.full((112, 112, 3), 120, np.uint8)


def pair(scale=1.0, method="a", blank=False):
    where, how = scale * np.random.default_rng(0).normal(size=(2, 56, 56))
    return WhereHow({"onset": 0 * where if blank else where, "difference": how}, 0, method)


def shown(figure):
    return [axis.images[-1] for axis in figure.axes if len(axis.images) == 2]


def test_methods_of_other_units_are_compared_as_shares():
    loud, quiet = pair(1000.0, "a"), pair(0.001, "b")
    drawn = [np.abs(image.get_array()).sum() for image in shown(maps_figure([FACE], [loud, quiet], ["a", "b"]))]
    assert sum(drawn) == pytest.approx(2, rel=1e-3)
    assert drawn[0] == pytest.approx(drawn[1], rel=1e-3)


def test_maps_of_one_method_keep_their_raw_values():
    maps = [pair(1.0), pair(0.1)]
    drawn = shown(maps_figure([FACE], maps, ["loud", "quiet"]))
    assert np.allclose(drawn[3].get_array(), maps[1]["difference"], atol=1e-6)
    assert len({image.get_clim() for image in drawn}) == 1
    assert tuple(drawn[0].get_extent()) == (-0.5, 111.5, 111.5, -0.5), "a small map covers the large face"


def test_a_zero_map_says_so():
    still = maps_figure([FACE], [pair(blank=True)], ["x"])
    assert [t.get_text() for axis in still.axes for t in axis.texts] == ["all zero"]


def test_a_row_for_each_input_of_the_model():
    flow = WhereHow({"flow": np.random.default_rng(0).normal(size=(3, 8, 8))}, 0, "x")
    figure = maps_figure([FACE], [flow], ["frames"])
    [image] = shown(figure)
    assert np.allclose(image.get_array(), flow["flow"].sum(0))
    assert figure.axes[0].get_ylabel() == "flow"


def test_still_pictures_need_no_browser(tmp_path):
    buffer = io.BytesIO()
    maps_figure([FACE], [pair(), pair(0.2)], ["x", "y"]).savefig(buffer, format="png")
    buffer.seek(0)
    assert mpl_image.imread(buffer).std() > 0.05


def test_what_is_not_finite_is_never_drawn():
    bad = pair()
    bad["difference"][3, 3] = np.nan
    with pytest.raises(ValueError, match="not finite, so it is not drawn"):
        maps_figure([FACE], [bad], ["x"])
    with pytest.raises(ValueError, match="1 explanations, 1 faces and 2 titles"):
        maps_figure([FACE], [pair()], ["x", "y"])
    assert shared_limit([WhereHow({"onset": np.zeros((2, 2))}, 0, "x")]) == 1


def test_charts_hold_the_numbers_of_their_tables():
    rows = [("a", 0.2), ("b", 0.6), ("input", 0.4)]
    scores = pd.DataFrame(
        [
            {"method": m, "stream": "how", "score": "deletion", "mean": v, "low": v - 0.1, "high": v + 0.2}
            for m, v in rows
        ]
    )
    chart = methods_chart(scores, "deletion")
    assert list(chart.layout.yaxis.categoryarray) == ["b", "input", "a"], "the best is on top"
    assert "lower is better" in chart.layout.xaxis.title.text
    assert list(chart.data[1].y) == ["input"]
    assert list(chart.data[0].error_x.array) == [0.2, 0.2]
    with pytest.raises(ValueError, match="no score 'beauty' of 'how': choose from"):
        methods_chart(scores, "beauty")
    checks = pd.DataFrame({"method": ["a", "a"], "check": ["x", "y"], "similarity": [0.5, 1.0]})
    assert sanity_chart(checks).data[0].z.tolist() == [[0.5, 1.0]]
    effects = pd.DataFrame(
        {"unit": ["12"], "name": ["lip corner puller"], "present": [True], "effect": [2.0], "claimed": [1.0]}
    )
    assert list(causes_chart(effects).data[0].y) == ["AU 12 lip corner puller (moved)"]
