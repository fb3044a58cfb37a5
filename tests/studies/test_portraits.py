"""Portraits whose landmarks are stored, so that a lesson can move them without a landmarker."""

import numpy as np

from studies import portraits
from studies.portraits import PublicPortraits, stored_portraits
from tsfmicro_lab.data.photographs import find_portrait, packaged_portraits


def test_they_move_without_a_landmarker(monkeypatch):
    monkeypatch.setattr(portraits.MediaPipeLandmarker, "__init__", None)
    data = PublicPortraits(clips_per_subject=2, image_size=64, seed=3)
    assert len(data) == 4
    assert np.abs(data[0].frame(data[0].apex).astype(int) - data[0].frame(data[0].onset)).max() > 5


def test_stored_points_are_those_that_the_landmarker_finds(landmarker):
    for portrait, (name, picture) in zip(stored_portraits(), packaged_portraits().items(), strict=True):
        again = find_portrait(picture, name)
        assert (portrait.image == again.image).all()
        assert np.abs(portrait.points - again.points).max() < 1


def test_without_a_model_one_line_says_so(monkeypatch, capsys):
    def missing(self, **settings):
        raise FileNotFoundError("no model: fetch it")

    monkeypatch.setattr(portraits.MediaPipeLandmarker, "__init__", missing)
    assert portraits.landmarker() is None
    assert capsys.readouterr().out.count("\n") == 1
