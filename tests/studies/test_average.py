from dataclasses import replace

import numpy as np
import pytest

from studies.average import average_maps, to_face
from tsfmicro_lab.explain import WhereHow
from tsfmicro_lab.preprocess import POINT_NAMES, align_clip


@pytest.fixture(scope="module")
def clips(data):
    return [align_clip(data[i], 56) for i in (0, 10, 20, 30)]


def spot(at, scale=1.0):
    y, x = np.mgrid[:56, :56]
    heat = scale * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 8)
    return WhereHow({"onset": 0 * heat, "difference": heat}, 0, "made up")


def test_a_spot_on_everybodys_mouth_corner_is_one_spot_on_the_mean_face(clips):
    corner = POINT_NAMES.index("left_mouth_corner")
    maps = [spot(clip.landmarks[corner]) for clip in clips]
    mean, face = average_maps(maps, clips)
    place = np.mean([clip.landmarks[corner] for clip in clips], 0)
    y, x = np.unravel_index(mean["difference"].argmax(), mean["difference"].shape)
    assert np.hypot(x - place[0], y - place[1]) < 1.5
    plain = np.mean([m.as_shares()["difference"] for m in maps], 0)
    assert mean["difference"].max() > plain.max(), "without the warp the spot is smeared"
    assert face.shape == (56, 56, 3)
    assert 0 <= face.min() < face.max() <= 255


def test_each_clip_counts_alike(clips):
    quiet, loud = spot((10, 10)), spot((40, 40), scale=1000)
    mean, _ = average_maps([quiet, loud], [clips[0]] * 2)
    assert mean["difference"][:28, :28].sum() == pytest.approx(mean["difference"][28:, 28:].sum(), rel=0.15)
    assert np.abs(mean["difference"]).sum() + np.abs(mean["onset"]).sum() == pytest.approx(1, rel=0.1)


def test_a_warp_moves_landmarks_onto_landmarks(clips):
    first, second = (np.asarray(c.landmarks) for c in clips[:2])
    nose = POINT_NAMES.index("nose_tip") if "nose_tip" in POINT_NAMES else 0
    moved = to_face(spot(first[nose])["difference"], first, second)
    y, x = np.unravel_index(moved.argmax(), moved.shape)
    assert np.hypot(x - second[nose][0], y - second[nose][1]) < 1.5


def test_what_cannot_be_averaged_is_refused(clips):
    maps = [spot((9, 9))] * 2
    with pytest.raises(ValueError, match="2 explanations for 1 clips"):
        average_maps(maps, clips[:1])
    with pytest.raises(ValueError, match="0 explanations"):
        average_maps([], [])
    with pytest.raises(ValueError, match="different methods have different units"):
        average_maps([maps[0], replace(maps[1], method="other")], clips[:2])
    with pytest.raises(ValueError, match=r"no landmarks to warp by: call preprocess\.align_clip"):
        average_maps(maps, [clips[0], replace(clips[1], landmarks=None)])
