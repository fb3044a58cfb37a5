from dataclasses import replace

import numpy as np
import pytest
import torch

from tsfmicro_lab.clips import ClipError
from tsfmicro_lab.data import prepare
from tsfmicro_lab.preprocess import apex_frames, clip_flow, key_flow, square_crop
from tsfmicro_lab.preprocess.landmarks import POINT_INDEX
from tsfmicro_lab.training import Augmentation


def test_frames_are_centred_on_the_apex_in_numeric_order(data):
    clip = data[0]
    long = replace(clip, frames=[np.full((4, 4, 3), i, np.uint8) for i in range(60)], onset=0, apex=30, offset=59)
    assert [int(f[0, 0, 0]) for f in apex_frames(long)] == list(range(25, 36))
    early = replace(long, apex=2)
    assert [int(f[0, 0, 0]) for f in apex_frames(early)] == list(range(1, 12))
    short = replace(long, apex=2, offset=6)
    made = [int(f[0, 0, 0]) for f in apex_frames(short)]
    assert made[0] == 1
    assert made[-1] == 6
    assert made == sorted(made)
    assert len(made) == 11


@pytest.mark.parametrize(("onset", "apex", "offset"), [(3, 3, 3), (3, 4, 4)])
def test_a_clip_too_short_to_interpolate_is_named(data, onset, apex, offset):
    clip = replace(data[0], onset=onset, apex=apex, offset=offset)
    with pytest.raises(ClipError, match=r"clip sub01/EP01 has [01] frame after its onset, 11 are read"):
        apex_frames(clip)


def test_the_crop_is_centred_on_the_nose_and_carries_landmarks_along(data):
    cropped = square_crop(data[0], 64)
    assert np.allclose(cropped.landmarks[POINT_INDEX["nose_tip"]], 31.5, atol=1e-3)
    away = replace(data[0], landmarks=data[0].landmarks + 500)
    with pytest.raises(ClipError, match=r"face crop .* lies outside the 96×96 px frame"):
        square_crop(away, 64)


def test_nothing_moves_where_all_frames_are_the_onset(data):
    for clip in (data[i] for i in range(4)):
        still = replace(clip, frames=[clip.frame(clip.onset)] * len(clip.frames))
        assert np.abs(clip_flow(still, 48)).max() < 1e-3
        assert np.abs(clip_flow(still, 48, short=True)).max() < 1e-3


def test_short_flow_adds_up_to_long_flow(data):
    clip = max((data[i] for i in range(len(data))), key=lambda clip: float(np.abs(clip.truth.field).max()))
    clip = replace(clip, onset=clip.apex - 5)  # so that the frame before the first of the eleven is the onset
    long, short = clip_flow(clip, 48), clip_flow(clip, 48, short=True)
    moved = np.hypot(*long[4]) > 0.5 * np.hypot(*long[4]).max()
    assert np.corrcoef(short[:5].sum(0)[:, moved].ravel(), long[4][:, moved].ravel())[0, 1] > 0.75
    assert np.abs(short[1:]).max() < np.abs(long).max()
    earlier = clip_flow(replace(clip, onset=clip.apex - 8), 48, short=True)
    assert np.allclose(earlier[1:], short[:-1]), "short flow does not know how far away the onset is"


def test_flow_shrinks_with_its_image(data):
    fine = key_flow(square_crop(data[1], 128), 128, "dis")
    coarse = key_flow(square_crop(data[1], 128), 32, "dis")
    assert np.abs(coarse).mean() == pytest.approx(np.abs(fine).mean() / 4, rel=0.25)


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
