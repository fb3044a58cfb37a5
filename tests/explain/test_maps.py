import io

import numpy as np
import pandas as pd
import pytest
from matplotlib import image as mpl_image

from tsfmicro_lab.explain import WhereHow, maps_chart, maps_figure, regions_chart
from tsfmicro_lab.explain.figures import shared_limit
from tsfmicro_lab.explain.method_charts import causes_chart, methods_chart, sanity_chart

FACE = np.full((112, 112, 3), 120, np.uint8)


def pair(scale=1.0, method="a", blank=False):
    where, how = scale * np.random.default_rng(0).normal(size=(2, 56, 56))
    return WhereHow(0 * where if blank else where, how, 0, method, 0.0)


def heats(figure):
    return [trace for trace in figure.data if trace.type == "heatmap"]


def test_all_maps_share_one_symmetric_scale_with_raw_values():
    maps = [pair(1.0), pair(0.1)]
    figure = maps_chart([FACE], maps, ["loud", "quiet"])
    assert figure.layout.coloraxis.cmin == -figure.layout.coloraxis.cmax
    assert {trace.coloraxis for trace in heats(figure)} == {"coloraxis"}
    assert np.allclose(heats(figure)[3].z, maps[1].how, atol=1e-6)
    scale = figure.layout.coloraxis.colorscale
    assert scale[0][1].endswith(",1.000)")
    assert scale[20][1].endswith(",0.000)"), "nothing is drawn where there is nothing"
    assert scale[0][0] == 0
    assert scale[-1][0] == 1


def test_methods_of_other_units_are_compared_as_shares():
    loud, quiet = pair(1000.0, "a"), pair(0.001, "b")
    shown = [np.abs(trace.z).sum() for trace in heats(maps_chart([FACE], [loud, quiet], ["a", "b"]))]
    assert shown[0] + shown[1] == pytest.approx(1, rel=1e-3)
    assert shown[0] == pytest.approx(shown[2], rel=1e-3)


def test_the_slider_blends_maps_and_leaves_faces():
    figure = maps_chart([FACE], [pair()], ["x"])
    [slider] = figure.layout.sliders
    for step in slider.steps:
        opacity, traces = step.args
        assert {figure.data[i].type for i in traces} == {"heatmap"}
        assert f"{opacity['opacity']:.0%}" == step.label


def test_a_small_map_covers_the_large_face():
    heat = heats(maps_chart([FACE], [pair()], ["x"]))[0]
    assert heat.x0 - heat.dx / 2 == -0.5
    assert heat.x0 + 55.5 * heat.dx == 111.5


def test_a_zero_map_says_so_in_both_kinds_of_picture():
    figure = maps_chart([FACE], [pair(blank=True)], ["x"])
    assert sum(note.text == "all zero" for note in figure.layout.annotations) == 1
    still = maps_figure([FACE], [pair(blank=True)], ["x"])
    assert [t.get_text() for axis in still.axes for t in axis.texts] == ["all zero"]


def test_still_pictures_need_no_browser(tmp_path):
    buffer = io.BytesIO()
    maps_figure([FACE], [pair(), pair(0.2)], ["x", "y"]).savefig(buffer, format="png")
    buffer.seek(0)
    assert mpl_image.imread(buffer).std() > 0.05


def test_what_is_not_finite_is_never_drawn():
    bad = pair()
    bad.how[3, 3] = np.nan
    for draw in (maps_chart, maps_figure):
        with pytest.raises(ValueError, match="not finite, so it is not drawn"):
            draw([FACE], [bad], ["x"])
    with pytest.raises(ValueError, match="1 pairs of maps, 1 faces and 2 titles"):
        maps_chart([FACE], [pair()], ["x", "y"])
    assert shared_limit([WhereHow(np.zeros((2, 2)), np.zeros((2, 2)), 0, "x", 0.0)]) == 1


def test_charts_hold_the_numbers_of_their_tables():
    regions = pd.DataFrame({"region": ["4", "12"], "where": [0.1, 0.2], "how": [0.5, 0.3], "area": [0.1, 0.1]})
    bars = regions_chart(regions).data
    assert [list(bar.y) for bar in bars] == [[0.5, 0.3], [0.1, 0.2], [0.1, 0.1]]
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
