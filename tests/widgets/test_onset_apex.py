from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
import traitlets

from lookalikes import synthesize
from tsfmicro_lab.clips import Clip, ClipError, LazyFrames
from tsfmicro_lab.data import SyntheticMicroExpressions, load
from tsfmicro_lab.explain.regions import unit_regions
from tsfmicro_lab.models import create_model, from_pretrained
from tsfmicro_lab.preprocess import align_clip, difference_frame, distances, optical_flow, spot_apex
from tsfmicro_lab.training import to_inputs
from tsfmicro_lab.widgets import FrameViewer, OnsetApexExplorer
from tsfmicro_lab.widgets.explorer import clip_table
from tsfmicro_lab.widgets.viewer import MAX_BYTES


@pytest.fixture(scope="module")
def faces():
    return SyntheticMicroExpressions(2, 5, image_size=96, seed=3)


@pytest.fixture
def explorer(faces):
    return OnsetApexExplorer(faces, size=96)


def decode(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)


def flow_sent(explorer):
    """Optical flow as the browser reads it."""
    sent = explorer.viewer.flow
    return np.frombuffer(sent["data"], "<i2").reshape(2, *sent["shape"]) / 256


def test_it_opens_on_the_annotated_key_frames(explorer, faces):
    clip = align_clip(faces[0], 96)
    assert (explorer.onset, explorer.apex) == (clip.onset, clip.apex)
    assert explorer.viewer.info["annotated"] == [clip.onset, clip.apex, clip.offset]
    onset, apex = clip.frame(clip.onset), clip.frame(clip.apex)
    assert np.array_equal(explorer.difference, difference_frame(onset, apex))
    assert np.array_equal(explorer.motion, optical_flow(onset, apex))
    assert np.abs(flow_sent(explorer) - explorer.motion).max() <= 1 / 256
    assert explorer.viewer.flow["pair"] == [clip.onset, clip.apex]
    assert clip.emotion in explorer.story.value
    assert f"onset {clip.onset} to apex {clip.apex}" in explorer.story.value


def test_every_frame_is_sent_once_without_loss(explorer, faces):
    clip = align_clip(faces[0], 96)
    assert explorer.viewer.numbers == list(range(len(clip.frames)))
    for n in (0, clip.onset, len(clip.frames) - 1):
        assert np.array_equal(decode(explorer.viewer.frames[n]), clip.frame(n))
    assert explorer.viewer.info["levels"] == pytest.approx(distances(clip.frames, clip.onset), abs=1e-4)
    assert explorer.viewer.info["spotted"] == spot_apex(clip)
    sent = explorer.viewer.frames
    explorer.apex -= 2
    assert explorer.viewer.frames is sent, "a step sends no frame again"


def test_handles_push_each_other_and_stay_on_frames(explorer, faces):
    clip = align_clip(faces[0], 96)
    explorer.apex = 20
    assert np.array_equal(explorer.difference, difference_frame(clip.frame(clip.onset), clip.frame(20)))
    explorer.onset = 25
    assert (explorer.onset, explorer.apex) == (explorer.viewer.onset, explorer.viewer.apex) == (25, 25)
    assert not explorer.difference.any()
    explorer.onset, explorer.apex = 30, 40
    assert (explorer.onset, explorer.apex) == (30, 40)
    explorer.apex = 10_000
    assert explorer.apex == explorer.viewer.apex == len(clip.frames) - 1
    explorer.viewer.apex = 33  # as the browser does
    assert explorer.apex == 33
    explorer.reset()
    assert (explorer.onset, explorer.apex) == (clip.onset, clip.apex)
    assert explorer.message.value == ""


def test_handles_of_two_explorers_can_be_linked(explorer, faces):
    other = OnsetApexExplorer(faces, size=64)
    traitlets.link((explorer, "apex"), (other, "apex"))
    explorer.apex = 27
    assert other.viewer.apex == 27
    other.apex = 26
    assert explorer.viewer.flow["pair"][1] == 26


def test_another_clip_brings_its_own_frames_and_curve(explorer, faces):
    frames, levels = explorer.viewer.frames, explorer.viewer.info["levels"]
    explorer.clip = 7
    assert explorer.viewer.frames != frames
    assert explorer.viewer.info["levels"] != levels
    assert explorer.shown.id == explorer.viewer.info["name"] == faces[7].id
    assert (explorer.onset, explorer.apex) == (faces[7].onset, faces[7].apex)
    assert explorer.viewer.numbers[-1] == len(faces[7].frames) - 1


def test_a_view_can_be_kept_and_restored(explorer, faces):
    explorer.clip, explorer.flow = 3, "farneback"
    explorer.onset, explorer.apex = 5, 21
    explorer.viewer.view = {"mode": "blink", "gain": 7}
    kept = explorer.state
    assert kept == {"clip": 3, "flow": "farneback", "view": explorer.viewer.view, "onset": 5, "apex": 21}
    other = OnsetApexExplorer(faces, size=64)
    other.state = kept
    assert other.state == kept
    assert other.shown.id == faces[3].id
    assert other.viewer.flow["pair"] == [5, 21]
    other.state = {"apex": 30}
    assert other.state == kept | {"apex": 30}
    seen = []
    other.observe(lambda change: seen.append(change.new["apex"]), "state")
    other.apex = 22
    assert seen[-1] == 22


def test_another_flow_is_sent(explorer):
    before = explorer.viewer.flow
    explorer.flow = "farneback"
    assert explorer.viewer.flow["data"] != before["data"]
    assert explorer.viewer.flow["title"] == "optical flow (farneback)"


def test_flow_of_large_pictures_is_sent_smaller(faces):
    explorer = OnsetApexExplorer(faces[0], size=224)
    assert flow_sent(explorer).shape == (2, 112, 112)
    assert len(explorer.viewer.flow["data"]) < 100_000
    large, small = np.abs(explorer.motion).max(), np.abs(flow_sent(explorer)).max()
    assert 0.3 < small / large < 0.55, "in pixels of its own size"


def test_outlines_are_where_units_move_the_face(explorer):
    outlines = explorer.viewer.info["outlines"]
    masks = unit_regions(explorer.shown.landmarks, 96)
    x, y = np.array(outlines["12 lip corner puller"][0]).T
    assert masks["12"][y, x].all(), "the outline belongs to the region"
    assert len(outlines) == len(masks) + 1
    drawn = np.zeros((96, 96), np.uint8)
    cv2.drawContours(drawn, [np.array(ring) for ring in outlines["annotated"]], -1, 1, -1)
    units = [unit.lstrip("LR") for unit in explorer.shown.action_units]
    assert np.array_equal(drawn > 0, np.any([masks[u] for u in units], 0))
    assert np.allclose(explorer.viewer.info["points"], explorer.shown.landmarks)


def test_a_clip_too_large_for_png_is_sent_as_jpeg_and_then_in_part():
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (128, 128, 3)).astype(np.uint8) for _ in range(4)]
    smooth = [cv2.GaussianBlur(frame, (0, 0), 1) for frame in noise]
    for frames, count, whole in ((smooth, 100, True), ([cv2.resize(f, (512, 512)) for f in noise], 120, False)):
        film = Clip("film", "me", LazyFrames(lambda i, f=frames: f[i % 4], range(count)), 21, 33, 55)
        viewer = FrameViewer(film)
        assert viewer.info["type"] == "image/jpeg"
        assert sum(map(len, viewer.frames)) <= MAX_BYTES
        assert (len(viewer.frames) == count) is whole
        assert {21, 33, 55} <= set(viewer.numbers)
        assert len(viewer.info["levels"]) == len(viewer.numbers) == len(viewer.frames)
        assert np.abs(decode(viewer.frames[0]).astype(int) - film.frame(0)).mean() < 3
    viewer.apex = 34
    assert viewer.apex == min(viewer.numbers, key=lambda n: abs(n - 34)), "on a frame that was sent"


def test_the_prediction_is_the_models_own(faces):
    model = create_model("tsfmicro_late", 5, seed=4).eval()
    explorer = OnsetApexExplorer(faces, model, ["a", "b", "c", "d", "e"], size=96, index=2)
    clip = align_clip(faces[2], 56)
    with torch.no_grad():
        frames = [torch.from_numpy(clip.frame(i)).permute(2, 0, 1)[None] for i in (clip.onset, clip.apex - 3)]
        expected = model(*to_inputs(*frames).values()).softmax(-1)[0]
    explorer.apex -= 3
    assert explorer.bars.probabilities == pytest.approx(expected.tolist(), abs=1e-5)


def test_without_a_model_the_one_that_ships_predicts(explorer, faces):
    expected = from_pretrained("emotions").logits(faces[0])
    assert explorer.bars.probabilities == pytest.approx(expected[0].softmax(0).tolist(), abs=1e-5)
    assert from_pretrained("emotions").tell(expected)[0] in explorer.bars.value


def test_key_frames_too_close_for_a_model_are_told_and_nothing_old_stays(faces):
    explorer = OnsetApexExplorer(faces, create_model("slstt_mean", 3), ["a", "b", "c"], size=96)
    explorer.onset = faces[0].offset
    assert "0 frame after its onset, 11 are read" in explorer.message.value
    assert explorer.viewer.flow == {}
    assert explorer.bars.value == explorer.story.value == ""
    explorer.reset()
    assert explorer.message.value == ""
    assert explorer.viewer.flow["pair"] == [explorer.onset, explorer.apex]


def test_without_an_annotated_apex_the_spotted_one_is_shown(faces):
    clip = replace(faces[1], apex=None)
    explorer = OnsetApexExplorer(clip, size=96)
    assert explorer.apex == explorer.viewer.info["spotted"] == max(spot_apex(align_clip(clip, 96)), clip.onset)
    assert explorer.snapshot().data


def test_a_still_picture_shows_what_is_chosen(explorer):
    before = explorer.snapshot().data
    assert decode(before).shape[1] > 800
    explorer.apex -= 4
    assert explorer.snapshot().data != before
    assert "image/png" in explorer._repr_mimebundle_()


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
    assert 5000 < explorer.viewer.info["spotted"] < 7000
    explorer.apex = 6_010
    assert explorer.apex == explorer.viewer.apex in explorer.viewer.numbers
    assert abs(explorer.apex - 6_010) < 50


def test_a_frame_that_cannot_be_read_is_told(faces):
    clip = faces[0]

    bad = clip.apex + 1

    def broken(i):
        if i == bad:
            raise OSError("the disk is gone")
        return clip.frame(i)

    explorer = OnsetApexExplorer(clip, size=96)
    explorer.shown = replace(explorer.shown, frames=LazyFrames(broken, range(len(clip.frames))))
    explorer.apex = bad
    assert f"frame {bad} cannot be read: the disk is gone" in explorer.message.value
    explorer.apex = bad + 1
    assert explorer.message.value == ""


def test_a_clip_of_one_frame_can_be_looked_at(faces):
    clip = faces[0]
    still = Clip("one", "me", [clip.frame(0)], 0, 0, 0, landmarks=clip.landmarks)
    explorer = OnsetApexExplorer(still, size=96)
    assert explorer.viewer.numbers == [0]
    assert not explorer.difference.any()


def test_a_loaded_data_set_can_be_explored(tmp_path, landmarker):
    synthesize("casme2", tmp_path, SyntheticMicroExpressions(1, 2, image_size=224), clips=2, faults=False)
    data = load("casme2", tmp_path, "2014")
    explorer = OnsetApexExplorer(data, landmarker=landmarker, size=96)
    row = data.annotations.iloc[0]
    assert explorer.apex - explorer.onset == row.apex - row.onset
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
    with pytest.raises(ValueError, match="there is no clip 10: choose one of 0 to 9"):
        OnsetApexExplorer(faces, index=10)
    unchecked = getattr(clip_table, "__wrapped__", clip_table)  # as a reader runs it, who has no check of types
    with pytest.raises(ValueError, match="ndarray is no clip: make one as Clip"):
        unchecked([faces[0].frame(0)])
    with pytest.raises(ValueError, match="pictures of 0 pixels cannot be explored: give a size of 32 to 1024"):
        OnsetApexExplorer(faces, size=0)
    with pytest.raises(ValueError, match="the model has 5 classes: name them all with classes="):
        OnsetApexExplorer(faces, create_model("tsfmicro_late"), ["a", "b"])


@pytest.mark.parametrize(
    ("spoil", "remedy"),
    [
        (lambda f: f[..., 0], "cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)"),
        (lambda f: f.astype(np.uint16) * 257, "(image / 257).astype('uint8')"),
        (lambda f: f / 255, "(255 * image).astype('uint8')"),
        (lambda f: np.dstack([f, f[..., :1]]), "image[..., :3]"),
    ],
    ids=["grey", "16 bits", "floats", "alpha"],
)
def test_frames_of_another_kind_are_refused_with_a_remedy_that_works(faces, spoil, remedy):
    good = faces[0]
    bad = replace(good, frames=LazyFrames(lambda i: spoil(good.frame(i)), range(len(good.frames))))
    explorer = OnsetApexExplorer([good, bad], size=96)
    explorer.clip = 1
    assert f"convert it with {remedy}" in explorer.message.value
    assert explorer.viewer.frames == []
    assert explorer.bars.value == explorer.story.value == ""
    mended = eval(remedy, {"cv2": cv2, "image": bad.frames[0]})
    assert np.abs(Clip("c", "s", [mended], 0, 0, 0).frame(0).astype(int) - mended).max() == 0
    explorer.clip = 0
    assert explorer.message.value == ""
    assert explorer.viewer.frames
