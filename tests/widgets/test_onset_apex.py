from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from lookalikes import synthesize
from tsfmicro_lab.clips import Clip, ClipError, LazyFrames
from tsfmicro_lab.data import SyntheticMicroExpressions, load
from tsfmicro_lab.models import create_model, from_pretrained
from tsfmicro_lab.preprocess import align_clip, difference_frame, optical_flow, spot_apex
from tsfmicro_lab.training import to_inputs
from tsfmicro_lab.widgets import OnsetApexExplorer


@pytest.fixture(scope="module")
def faces():
    return SyntheticMicroExpressions(2, 5, image_size=96, seed=3)


@pytest.fixture
def explorer(faces):
    return OnsetApexExplorer(faces, size=96)


def decode(tile):
    return cv2.imdecode(np.frombuffer(tile.image.value, np.uint8), cv2.IMREAD_COLOR_RGB)


def test_it_opens_on_the_annotated_key_frames(explorer, faces):
    clip = align_clip(faces[0], 96)
    assert (explorer.onset.value, explorer.apex.value) == (clip.onset, clip.apex)
    onset, apex = clip.frame(clip.onset), clip.frame(clip.apex)
    assert np.array_equal(decode(explorer.tiles[0]), onset)
    assert np.array_equal(decode(explorer.tiles[1]), apex)
    assert np.array_equal(explorer.difference, difference_frame(onset, apex))
    assert np.array_equal(explorer.motion, optical_flow(onset, apex))
    assert clip.emotion in explorer.story.value


def test_the_sliders_follow_each_other_and_the_pictures_follow_them(explorer, faces):
    clip = align_clip(faces[0], 96)
    explorer.apex.value = 20
    assert np.array_equal(decode(explorer.tiles[1]), clip.frame(20))
    assert explorer.onset.max == 20
    explorer.onset.value = 25  # beyond the apex: the slider stops there
    assert explorer.onset.value == 20
    assert not explorer.difference.any()
    assert explorer.apex.min == explorer.play.min == 20
    explorer.reset()
    assert (explorer.onset.value, explorer.apex.value) == (clip.onset, clip.apex)


def test_another_clip_brings_its_own_frames_and_curve(explorer, faces):
    picture, curve = explorer.tiles[0].image.value, explorer.curve.image.value
    explorer.clip.value = 7
    assert explorer.tiles[0].image.value != picture
    assert explorer.curve.image.value != curve
    assert explorer.shown.id == faces[7].id
    assert explorer.onset.value == faces[7].onset
    assert explorer.apex.max == len(faces[7].frames) - 1


@pytest.mark.parametrize(
    ("control", "value", "tile"),
    [("gain", 5, 2), ("factor", 6, 1), ("flow", "farneback", 3), ("arrows", True, 3), ("points", True, 0)],
)
def test_each_control_changes_its_picture_alone(explorer, control, value, tile):
    before = [t.image.value for t in explorer.tiles]
    getattr(explorer, control).value = value
    changed = [t.image.value != b for t, b in zip(explorer.tiles, before, strict=True)]
    assert changed[tile]
    if control != "flow":  # magnification uses the chosen flow, too
        assert sum(changed) == 1


def test_the_region_of_a_unit_is_outlined_where_it_moves_the_face(explorer):
    plain = decode(explorer.tiles[0]).astype(int)
    explorer.region.value = "12"
    drawn = np.abs(decode(explorer.tiles[0]) - plain).sum(-1) > 0
    edge = cv2.dilate(explorer.regions["12"].astype(np.uint8), np.ones((3, 3))) > 0
    assert drawn.any()
    assert edge[drawn].all()
    explorer.region.value = "annotated"
    assert explorer.message.value == ""


def test_the_prediction_is_the_models_own(faces):
    model = create_model("tsfmicro_late", 5, seed=4).eval()
    explorer = OnsetApexExplorer(faces, model, ["a", "b", "c", "d", "e"], size=96, index=2)
    clip = align_clip(faces[2], 56)
    with torch.no_grad():
        frames = [torch.from_numpy(clip.frame(i)).permute(2, 0, 1)[None] for i in (clip.onset, clip.apex - 3)]
        expected = model(*to_inputs(*frames).values()).softmax(-1)[0]
    explorer.apex.value -= 3
    assert [level.value for level in explorer.bars.levels] == pytest.approx(expected.tolist(), abs=1e-5)


def test_without_a_model_the_one_that_ships_predicts(explorer, faces):
    expected = from_pretrained("emotions").logits(faces[0])
    assert [level.value for level in explorer.bars.levels] == pytest.approx(expected[0].softmax(0).tolist(), abs=1e-5)
    assert from_pretrained("emotions").tell(expected)[0] in explorer.bars.said.value


@pytest.mark.parametrize("name", ["ststnet", "slstt_mean", "frl_dgt"])
def test_models_that_read_flow_or_landmarks_predict_too(faces, name):
    model = create_model(name, 3, seed=4)
    explorer = OnsetApexExplorer(faces, model, ["a", "b", "c"], size=96, index=2)
    shown = [level.value for level in explorer.bars.levels]
    assert shown == pytest.approx(model.logits(faces[2])[0].softmax(-1).tolist(), abs=1e-5)
    explorer.apex.value -= 3
    assert [level.value for level in explorer.bars.levels] != shown


def test_key_frames_too_close_for_a_model_are_told(faces):
    explorer = OnsetApexExplorer(faces, create_model("slstt_mean", 3), ["a", "b", "c"], size=96)
    explorer.apex.value = last = faces[0].offset
    explorer.onset.value = last
    assert "0 frame after its onset, 11 are read" in explorer.message.value
    explorer.reset()
    explorer.gain.value = 5
    assert explorer.message.value == ""


def test_without_an_annotated_apex_the_spotted_one_is_shown(faces):
    clip = replace(faces[1], apex=None)
    explorer = OnsetApexExplorer(clip, size=96)
    assert explorer.apex.value == explorer.spotted == max(spot_apex(align_clip(clip, 96)), clip.onset)


def test_a_click_on_the_curve_moves_the_apex(explorer):
    count = len(explorer.shown.frames)
    explorer.curve.image.place = [0.999, 0.5]
    assert explorer.apex.value == count - 1


def test_a_long_recording_is_sampled_for_its_curve():
    read = []
    rng = np.random.default_rng(0)
    face = cv2.resize(rng.integers(0, 255, (12, 12, 3)).astype(np.uint8), (96, 96), interpolation=cv2.INTER_CUBIC)

    def make(i):
        read.append(i)
        return np.roll(face, int(5000 < i < 7000), 0)

    landmarks = SyntheticMicroExpressions(1, 1, image_size=96)[0].landmarks
    clip = Clip("long", "me", LazyFrames(make, range(10_000)), 100, None, 9_999, landmarks=landmarks)
    explorer = OnsetApexExplorer(clip, size=64)
    assert len(set(read)) < 400
    assert 5000 < explorer.spotted < 7000


def test_a_frame_that_cannot_be_read_is_told(faces):
    clip = faces[0]

    bad = clip.apex + 1

    def broken(i):
        if i == bad:
            raise OSError("the disk is gone")
        return clip.frame(i)

    explorer = OnsetApexExplorer(clip, size=96)
    explorer.shown = replace(explorer.shown, frames=LazyFrames(broken, range(len(clip.frames))))
    explorer.apex.value = bad
    assert f"frame {bad} cannot be read: the disk is gone" in explorer.message.value
    explorer.apex.value = bad + 1
    assert explorer.message.value == ""


def test_a_clip_of_one_frame_can_be_looked_at(faces):
    clip = faces[0]
    still = Clip("one", "me", [clip.frame(0)], 0, 0, 0, landmarks=clip.landmarks)
    explorer = OnsetApexExplorer(still, size=96)
    assert explorer.apex.max == 0
    assert not explorer.difference.any()


def test_a_loaded_data_set_can_be_explored(tmp_path, landmarker):
    synthesize("casme2", tmp_path, SyntheticMicroExpressions(1, 2, image_size=224), clips=2, faults=False)
    data = load("casme2", tmp_path, "2014")
    explorer = OnsetApexExplorer(data, landmarker=landmarker, size=96)
    row = data.annotations.iloc[0]
    assert explorer.apex.value - explorer.onset.value == row.apex - row.onset
    assert f"{row.subject}/{row['clip']}" in explorer.story.value
    assert explorer.difference.any()


def test_a_data_set_without_frames_says_what_is_missing(faces):
    class Tables:
        name, classes, annotations, report = "tables", faces.classes, faces.annotations, faces.report

        def __len__(self):
            return len(faces)

        def __getitem__(self, i):
            raise ClipError(f"clip {i}: there is no folder with its frames; give the folder of the data set")

    with pytest.raises(ClipError, match="there is no folder with its frames"):
        OnsetApexExplorer(Tables())


def test_what_cannot_be_explored_is_refused(faces):
    with pytest.raises(ValueError, match="there is no clip to explore"):
        OnsetApexExplorer([])
    with pytest.raises(ValueError, match="the model has 5 classes: name them all with classes="):
        OnsetApexExplorer(faces, create_model("tsfmicro_late"), ["a", "b"])
