from dataclasses import fields, replace

import cv2
import numpy as np
import pytest

from tsfmicro_lab.data.face_params import FaceParams
from tsfmicro_lab.data.faces import draw_face
from tsfmicro_lab.preprocess.landmarks import POINT_INDEX


def draw(seed, variation=1.0):
    return FaceParams.draw(np.random.default_rng(seed), variation)


def test_layout_variation_moves_the_layout_only():
    same, other = draw(4, 0.0), draw(4, 1.0)
    changed = {f.name for f in fields(FaceParams) if getattr(same, f.name) != getattr(other, f.name)}
    assert {"nose_length", "brow_height", "mouth_drop", "eye_spacing"} <= changed
    assert not {"skin_tone", "hair_length", "light_azimuth", "texture_seed"} & changed
    layout = {f.name for f in fields(FaceParams) if "sd" in f.metadata}
    assert changed <= layout
    assert [getattr(draw(5, 0.0), n) for n in sorted(layout)] == [getattr(same, n) for n in sorted(layout)]


def test_the_same_subject_is_the_same_face_at_every_size():
    small, large = draw_face(draw(1), 96), draw_face(draw(1), 192)
    shrunk = cv2.resize(large.open, (192, 192), interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk - small.open).mean() < 0.02
    assert np.allclose((large.landmarks + 0.5) / 2, small.landmarks + 0.5, atol=1e-3)


def test_the_same_parameters_give_the_same_picture():
    first, again, other = draw_face(draw(1), 64), draw_face(draw(1), 64), draw_face(draw(2), 64)
    assert (first.open == again.open).all()
    assert np.abs(first.open - other.open).mean() > 0.03


def test_closed_eyes_differ_at_the_eyes_alone():
    face = draw_face(draw(3), 128)
    away = face.lid > 1.5
    assert np.abs(face.open - face.closed)[away].max() < 0.01
    x, y = (2 * face.landmarks[[POINT_INDEX["left_eye_top"], POINT_INDEX["left_eye_bottom"]]].mean(0)).astype(int)
    assert np.abs(face.open - face.closed)[y - 1 : y + 2, x - 3 : x + 4].mean() > 0.1


def test_landmarks_lie_on_what_they_name():
    face = draw_face(replace(draw(0), skin_tone=0.1, iris_melanin=1.0, roll=0.0), 224)
    p = {name: face.landmarks[i] for name, i in POINT_INDEX.items()}
    eye = 2 * (p["left_eye_inner"] + p["left_eye_outer"]) / 2
    cheek = 2 * p["left_cheek"]

    def brightness(at):
        x, y = at.round().astype(int)
        return face.open[y - 3 : y + 4, x - 3 : x + 4].mean()

    assert brightness(eye) < 0.7 * brightness(cheek)  # a dark iris and pupil between the corners of the eye
    assert p["left_eye_outer"][0] > p["left_eye_inner"][0] > p["nose_tip"][0] > p["right_eye_inner"][0]


@pytest.mark.parametrize("size", [32, 1024])
def test_sizes_out_of_range_are_refused(size):
    with pytest.raises(ValueError, match="faces are drawn for 64 to 512 pixels"):
        draw_face(draw(0), size)
