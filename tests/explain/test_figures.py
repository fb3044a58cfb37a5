import io
from dataclasses import replace

import cv2
import numpy as np
import pytest
from matplotlib import image as mpl_image

from studies.pictures import maps_figure
from studies.plots import strip_figure
from tsfmicro_lab.explain import WhereHow, clips_figure, where_how_figure
from tsfmicro_lab.explain.figures import Picture, shared_limit
from tsfmicro_lab.preprocess import align_clip

FACE = np.full((112, 112, 3), 120, np.uint8)


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


def test_maps_of_streams_and_of_frames_are_headed_differently(clips):
    streams = where_how_figure(clips[:1], [maps()], ("a", "b"))
    heat = maps()["onset"]
    framed = WhereHow(dict.fromkeys(("onset frame", "apex frame"), heat), 1, "integrated gradients")
    frames = where_how_figure(clips[:1], [framed], ("a", "b"))
    titles = [[a.get_title() for a in figure.axes[2:4]] for figure in (streams, frames)]
    assert titles[0] == ["where: onset", "how: difference"]
    assert titles[1] == ["onset frame (both inputs)", "apex frame (difference)"]


def test_a_zero_map_is_drawn_as_nothing(clips):
    figure = where_how_figure(clips[:1], [maps(blank=True)], ("a", "b"))
    assert not np.asarray(figure.axes[2].images[-1].get_alpha()).any()
    pixels(figure)


def test_clips_that_cannot_be_drawn_are_named(clips):
    with pytest.raises(ValueError, match="no clip to draw"):
        clips_figure([])
    with pytest.raises(ValueError, match=r"has no apex: call preprocess\.with_apex"):
        clips_figure([replace(clips[0], apex=None)])


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


def test_still_pictures_need_no_browser():
    assert pixels(maps_figure([FACE], [pair(), pair(0.2)], ["x", "y"])).std() > 0.05


def test_what_is_not_finite_is_never_drawn():
    bad = pair()
    bad["difference"][3, 3] = np.nan
    with pytest.raises(ValueError, match="not finite, so it is not drawn"):
        maps_figure([FACE], [bad], ["x"])
    with pytest.raises(ValueError, match="1 explanations, 1 faces and 2 titles"):
        maps_figure([FACE], [pair()], ["x", "y"])
    assert shared_limit([WhereHow({"onset": np.zeros((2, 2))}, 0, "x")]) == 1


def test_a_strip_has_a_column_for_each_frame():
    ones = np.ones((4, 4))
    strip = strip_figure({"flow": [np.zeros((4, 4, 3))] * 3, "map": [ones, -2 * ones]})
    assert [len(axis.images) for axis in strip.axes] == [1, 1, 1, 1, 1, 0]
    assert strip.axes[3].images[0].get_clim() == (-2, 2)
    assert strip.axes[3].get_ylabel() == "map"


def test_what_is_written_can_be_read_on_a_light_and_on_a_dark_page():
    figure = Picture(figsize=(2, 2))
    axis = figure.subplots()
    axis.set(title="apex", xlabel="frame")
    pixels = cv2.imdecode(np.frombuffer(figure._repr_png_(), np.uint8), cv2.IMREAD_UNCHANGED).astype(float)
    opaque = pixels[pixels[..., 3] > 100][:, :3].mean(-1)
    assert pixels[0, 0, 3] == 0, "the page shows through"
    assert len(opaque) > 20
    assert (np.abs(opaque - 122) < 30).all(), "as far from black as from white"
