"""Spotted moments as the field counts them, moments that play on a page, and a camera that leaves a still."""

import numpy as np

from studies.film import write_video
from studies.spotted import best_ious, count_spots, iou, playable
from studies.webcam import Recorder
from tsfmicro_lab.clips import Clip


def test_a_span_that_is_too_long_is_no_hit_and_a_second_one_is_an_alarm():
    assert iou((0, 2), (4, 6)) == 0
    assert iou((0, 2), (0, 2)) == 1
    assert iou((0, 4), (1, 3)) == iou((1, 3), (0, 4)) == 0.5
    assert count_spots([(0, 2)], [(-6, 8)]) == (0, 1, 1)
    assert count_spots([(0, 2)], [(0, 2), (0, 1.9)]) == (1, 0, 1)
    assert count_spots([(0, 2)], []) == (0, 1, 0)
    assert count_spots([], [(0, 2)]) == (0, 0, 1)
    assert best_ious([(0, 2), (5, 6)], []) == [0, 0]


def test_spans_agree_with_counted_instants():
    rng, ticks = np.random.default_rng(0), np.linspace(0, 1, 100_001)
    for _ in range(20):
        a, b = np.sort(rng.uniform(size=(2, 2)))
        a, b = np.sort(a), np.sort(b)
        inside = [(s[0] <= ticks) & (ticks <= s[1]) for s in (a, b)]
        assert abs(iou(tuple(a), tuple(b)) - (inside[0] & inside[1]).sum() / (inside[0] | inside[1]).sum()) < 1e-3


def test_each_moment_plays_on_the_page():
    frames = [np.full((32, 32, 3), 10 * i, np.uint8) for i in range(9)]
    page = playable([Clip(name, "video", frames, 1, 4, 8) for name in ("spot01", "spot02")]).data
    assert page.count("data:video/webm;base64,") == 2
    assert "spot02" in page
    assert "no moment" in playable([]).data


def test_a_recorder_leaves_its_first_frame(tmp_path):
    empty = Recorder(tmp_path / "x.webm")
    word = empty.picture
    write_video([np.full((32, 48, 3), 200, np.uint8)] * 3, tmp_path / "x.webm", 30, "VP80")
    data = empty._repr_mimebundle_()[0]
    assert data["image/png"][:4] == b"\x89PNG"
    assert data["image/png"] != word
    assert "application/vnd.jupyter.widget-view+json" in data
