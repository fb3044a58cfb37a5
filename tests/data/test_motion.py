import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from warping import warp

from tsfmicro_lab.data.face_params import FaceParams
from tsfmicro_lab.data.faces import draw_face
from tsfmicro_lab.data.motion import ACTION_UNITS, MOVED_SHARE, backward, displacement, moved_region, sample
from tsfmicro_lab.preprocess.landmarks import POINT_INDEX


@pytest.fixture(scope="module")
def points(data_face):
    return data_face.landmarks


@pytest.fixture(scope="module")
def data_face():
    return draw_face(FaceParams.draw(np.random.default_rng(0), 0.0), 224)


def at(field, points, name):
    x, y = points[POINT_INDEX[name]].round().astype(int)
    return field[:, y, x]


@pytest.mark.parametrize("unit", ACTION_UNITS)
@pytest.mark.parametrize("amplitude", [0.5, 3.0])
def test_the_largest_displacement_is_the_amplitude(unit, amplitude, points):
    field = displacement({unit: amplitude}, points, 224)
    assert np.hypot(*field).max() == pytest.approx(amplitude, rel=1e-4)


def test_units_move_the_way_facs_says(points):
    def move(unit, place):
        return at(displacement({unit: 2.0}, points, 224), points, place)

    assert move("1", "left_brow_inner")[1] < -1  # up
    assert move("2", "left_brow_outer")[1] < -1
    assert move("4", "left_brow_inner")[1] > 0.5  # down and together
    assert move("4", "left_brow_inner")[0] < 0 < move("4", "right_brow_inner")[0]
    assert move("5", "left_eye_top")[1] < -1
    assert move("7", "left_eye_bottom")[1] < -1
    assert move("6", "left_cheek")[1] < -1
    assert move("9", "left_nose_wing")[1] < -1
    assert move("12", "left_mouth_corner")[0] > 0.5 > 0 > move("12", "left_mouth_corner")[1]  # outward and up
    assert move("12", "right_mouth_corner")[0] < -0.5
    assert abs(move("14", "left_mouth_corner")[1]) < 0.5 < move("14", "left_mouth_corner")[0]
    assert move("15", "left_mouth_corner")[1] > 1
    assert move("17", "lower_lip_bottom")[1] < -0.8
    assert move("24", "upper_lip_top")[1] > 0 > move("24", "lower_lip_bottom")[1]


@pytest.mark.parametrize(("unit", "moves", "rests"), [("L12", "left", "right"), ("R12", "right", "left")])
def test_one_sided_units_leave_the_other_side_alone(unit, moves, rests, points):
    field = displacement({unit: 2.0}, points, 224)
    assert np.hypot(*at(field, points, f"{moves}_mouth_corner")) > 1
    assert np.hypot(*at(field, points, f"{rests}_mouth_corner")) < 0.02


def test_units_are_mirror_images_on_a_symmetric_face(points):
    middle = points[:, 0].mean()
    symmetric = points.copy()
    for name, i in POINT_INDEX.items():
        if name.startswith("right_"):
            x, y = points[POINT_INDEX["left" + name[5:]]]
            symmetric[i] = 223 - x, y
        elif not name.startswith("left_"):
            symmetric[i, 0] = 111.5
    assert abs(middle - 111.5) < 10
    left, right = (displacement({u: 1.0}, symmetric, 224) for u in ("L12", "R12"))
    assert np.allclose(left[0], -right[0][:, ::-1], atol=1e-4)
    assert np.allclose(left[1], right[1][:, ::-1], atol=1e-4)


@pytest.mark.parametrize("unit", ["3", "X12", "", "12L"])
def test_unknown_units_are_named(unit, points):
    with pytest.raises(ValueError, match=f"unknown action unit '{unit}': choose from 1, 2, 4"):
        displacement({unit: 1.0}, points, 64)


def test_backward_inverts_the_field(points):
    field = torch.from_numpy(displacement({"12": 3.0, "4": 2.0}, points, 224))[None]
    b = backward(field)
    residual = b + sample(field, b)
    assert float(residual.abs().max()) < 0.01


def test_warp_agrees_with_scipy(points):
    """An independent inverse and an independent spline give the same picture."""
    image = np.random.default_rng(0).normal(size=(28, 28))
    image = np.kron(image, np.ones((8, 8)))
    image = np.asarray([np.convolve(r, np.hanning(9) / 4, "same") for r in image])
    image = np.asarray([np.convolve(r, np.hanning(9) / 4, "same") for r in image.T]).T.astype(np.float32)
    field = displacement({"12": 2.5}, points, 224)
    y, x = np.mgrid[:224, :224].astype(float)
    by, bx = np.zeros_like(y), np.zeros_like(x)
    for _ in range(30):
        bx, by = (-map_coordinates(field[i], (y + by, x + bx), order=1, mode="nearest") for i in (0, 1))
    expected = map_coordinates(image, (y + by, x + bx), order=3, mode="nearest")
    assert np.abs(warp(image[..., None], field)[..., 0] - expected).max() < 0.03 * np.ptp(image)


def test_moved_region_is_where_most_moves(points):
    field = displacement({"L15": 2.0}, points, 224)
    region = moved_region(field)
    assert 0 < region.mean() < 0.1
    assert np.hypot(*field)[region].min() >= MOVED_SHARE * 2.0 * 0.999
    assert not moved_region(np.zeros((2, 8, 8), np.float32)).any()
