import pytest
import torch

from tsfmicro_lab.data import prepare
from tsfmicro_lab.models.base import MEAN, STD
from tsfmicro_lab.preprocess.landmarks import POINT_INDEX, POINT_NAMES
from tsfmicro_lab.training import Augmentation, to_inputs
from tsfmicro_lab.training.augmentation import MIRRORED


def frames(n=6):
    return torch.randint(0, 256, (n, 3, 56, 56), dtype=torch.uint8)


def moved_pair(onset, apex, **settings):
    return Augmentation(56, **settings)({"onset": onset, "apex": apex}).values()


def test_one_draw_moves_both_frames_alike():
    first, second = frames(), frames()
    onset, apex = moved_pair(torch.cat((first, second)), torch.cat((second, first)))
    torch.manual_seed(1)
    again = Augmentation(56)
    moved, same = again({"onset": first, "apex": first}).values()
    assert torch.equal(moved, same)
    assert not torch.allclose(moved, first.float(), atol=5)
    assert onset.shape == apex.shape == (12, 3, 56, 56)


def test_identical_frames_have_no_motion_after_augmentation():
    x = frames()
    assert not to_inputs(*moved_pair(x, x))["difference"].any()


def test_samples_are_drawn_one_by_one():
    x = frames(1).expand(8, -1, -1, -1)
    onset, _ = moved_pair(x, x)
    assert (onset[0] - onset[1:]).abs().flatten(1).amax(1).min() > 1


def test_half_of_the_samples_are_flipped_and_none_moved_without_degrees_and_shift():
    x = frames(64)
    onset, _ = moved_pair(x, x, degrees=0.0, shift=0.0)
    same = (onset - x.float()).abs().flatten(1).amax(1) < 0.1
    flipped = (onset - x.float().flip(-1)).abs().flatten(1).amax(1) < 0.1
    assert (same ^ flipped).all()
    assert 16 < int(flipped.sum()) < 48


def test_angles_and_shifts_fill_their_range_and_no_more():
    place = Augmentation(56, flip=0.2).draw(20_000)
    mirrored = torch.linalg.det(place[:, :, :2]) < 0
    assert mirrored.float().mean() == pytest.approx(0.2, abs=0.015)
    angle = torch.rad2deg(torch.atan2(place[:, 1, 0], place[:, 1, 1]))
    shift = place[:, :, 2] / 2  # of a side, which is 2 long
    for value, most in ((angle, 3.0), (shift[:, 0], 15 / 224), (shift[:, 1], 15 / 224)):
        assert 0.99 * most < value.max() <= 1.001 * most
        assert -1.001 * most <= value.min() < -0.99 * most
        assert value.mean().abs() < 0.02 * most
        assert value.abs().mean() == pytest.approx(most / 2, rel=0.02), "all are equally likely"
    assert torch.corrcoef(torch.stack((angle, shift[:, 0], shift[:, 1], mirrored.float()))).triu(1).abs().max() < 0.03
    assert Augmentation(56).flip == 0.5


def test_inputs_are_normalised_as_the_paper_says():
    onset, apex = frames(2), frames(2)
    inputs = to_inputs(onset, apex)
    for c in range(3):
        assert torch.allclose(inputs["onset"][:, c], (onset[:, c] / 255 - MEAN[c]) / STD[c], atol=1e-6)
        difference = (apex[:, c].float() - onset[:, c].float()) / 255 / STD[c]
        assert torch.allclose(inputs["difference"][:, c], difference, atol=1e-5)


def test_frames_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"must both be \(batch, 3, height, width\)"):
        to_inputs(frames(2), frames(3))


def test_points_and_displacements_go_where_their_pixels_go():
    """A bright dot is drawn at a named point; after any draw the dot is at the moved point, and a step follows it."""
    side, n = 56, 8
    spots = torch.tensor([[20.0, 30.0], [36.0, 18.0]])
    points = torch.zeros(n, len(POINT_NAMES), 2)
    index = POINT_NAMES.index("nose_tip") if "nose_tip" in POINT_NAMES else 0
    points[:, index] = spots[0]
    dot = torch.zeros(n, 3, side, side, dtype=torch.uint8)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    dot[:] = (255 * torch.exp(-((x - spots[0, 0]) ** 2 + (y - spots[0, 1]) ** 2) / 8)).to(torch.uint8)
    flow = torch.zeros(n, 2, side, side, dtype=torch.float16)
    flow[:, 0] = 3.0
    moved = Augmentation(side, degrees=20)({"onset": dot, "landmarks": points, "flow_dis": flow})
    for i in range(n):
        weight = moved["onset"][i, 0].clamp(min=0)
        centre = torch.stack(((weight * x).sum(), (weight * y).sum())) / weight.sum()
        mirrored = moved["flow_dis"][i, 0].mean() < 0
        place = MIRRORED[index] if mirrored else index
        assert torch.allclose(centre, moved["landmarks"][i, place], atol=0.15)
        assert moved["flow_dis"][i, :, 28, 28].norm() == pytest.approx(3, abs=0.01)


def test_one_draw_moves_images_displacements_and_points_alike(data):
    samples = prepare(data, 56, tensors=("onset", "landmarks", "flow_dis"), progress=False)
    batch = samples.pick(torch.arange(16))
    marked = torch.zeros(16, 3, 56, 56, dtype=torch.uint8)
    tip = POINT_INDEX["left_mouth_corner"]
    x, y = batch["landmarks"][:, tip].round().long().T
    for i in range(16):
        marked[i, :, y[i] - 1 : y[i] + 2, x[i] - 1 : x[i] + 2] = 255
    right = torch.zeros(16, 2, 56, 56, dtype=torch.float16)
    right[:, 0] = 1
    torch.manual_seed(1)
    moved = Augmentation(56)({"onset": marked, "flow_dis": right, "landmarks": batch["landmarks"]})
    dx, dy = moved["flow_dis"][:, :, 28, 28].T
    flipped = dx < 0
    assert 2 < flipped.sum() < 14
    assert torch.allclose(dx.abs(), torch.ones(16), atol=0.01)  # up to 3 degrees
    assert dy.abs().max() < 0.06
    for i in range(16):
        name = "right_mouth_corner" if flipped[i] else "left_mouth_corner"
        at = moved["landmarks"][i, POINT_INDEX[name]]
        heat = moved["onset"][i, 0]
        grid = torch.stack(torch.meshgrid(*[torch.arange(56.0)] * 2, indexing="xy"))
        if heat.sum() > 1000:  # not shifted out
            middle = (grid * heat).sum((1, 2)) / heat.sum()
            assert (middle - at).abs().max() < 1.0


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_flow_moves_with_its_picture_whatever_its_numbers_are_kept_in(dtype):
    """The picture is as bright as the flow is strong, so they must agree after any draw."""
    strength = torch.rand(4, 1, 56, 56) * 9
    batch = {"onset": strength.expand(-1, 3, -1, -1), "flow_dis": strength.expand(-1, 2, -1, -1).to(dtype)}
    moved = Augmentation(56, degrees=20)(batch)
    assert not torch.allclose(moved["onset"], batch["onset"], atol=1), "images may be floats"
    assert torch.allclose(moved["flow_dis"].norm(dim=1), 2**0.5 * moved["onset"][:, 0], atol=0.02)


def test_labels_pass_and_unknown_tensors_are_named():
    label = torch.tensor([3, 1])
    assert torch.equal(Augmentation(56)({"label": label, "onset": frames(2)})["label"], label)
    points = torch.full((2, len(POINT_NAMES), 2), 28.0)
    assert Augmentation(56)({"landmarks": points})["landmarks"].shape == points.shape, "points alone"
    with pytest.raises(ValueError, match="no tensor is called 'depth': choose from onset, apex"):
        Augmentation(56)({"onset": frames(2), "depth": frames(2)})
