"""FaceStudio and WhereHowExplorer, moved as a reader moves them."""

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
import traitlets
from skimage.data import astronaut

from studies.film import write_video
from tsfmicro_lab.clips import read_image
from tsfmicro_lab.data import SyntheticMicroExpressions
from tsfmicro_lab.explain import METHODS, where_how
from tsfmicro_lab.explain.regions import region_table, unit_regions, without_motion
from tsfmicro_lab.models import create_model, from_pretrained
from tsfmicro_lab.preprocess import align_clip
from tsfmicro_lab.training import to_inputs
from tsfmicro_lab.widgets import FaceStudio, WhereHowExplorer
from tsfmicro_lab.widgets.face_studio import STRONGEST

CLASSES = ["a", "b", "c"]
EMOTIONS = ["disgust", "happiness", "others", "repression", "surprise"]


@pytest.fixture(scope="module")
def faces():
    return SyntheticMicroExpressions(2, 4, image_size=96, seed=6)


@pytest.fixture
def studio():
    return FaceStudio(size=64, seed=3)


@pytest.fixture
def explorer(faces):
    return WhereHowExplorer(create_model("tsfmicro_late", 3, seed=5), faces, CLASSES)


def pixels(studio, i):
    return studio.pictures.shown[i].face


def test_a_unit_moves_the_face_by_what_its_slider_says(studio):
    for slider in studio.units.values():
        slider.value = 0
    assert np.abs(studio.moving.expression).max() < 1e-3
    studio.units["4"].value = 3
    assert np.hypot(*studio.moving.expression).max() == pytest.approx(3 * 64 / 224, rel=0.02)
    both = studio.moving.expression
    studio.side = "L"
    assert studio.moving.motion.units == pytest.approx({"L4": 3 * 64 / 224})
    half = np.abs(studio.moving.expression).sum() / np.abs(both).sum()
    assert 0.3 < half < 0.7


def test_the_model_that_ships_follows_the_sliders():
    studio = FaceStudio(size=128, seed=3)
    for slider in studio.units.values():
        slider.value = 0
    assert "cannot tell" in studio.bars.said, "nothing moves"
    studio.units["12"].value = 3
    assert "happiness" in studio.bars.said
    studio.units["12"].value, studio.units["9"].value = 0, 3
    assert "disgust" in studio.bars.said


def test_pictures_are_those_of_the_renderer(studio):
    motion = studio.moving.motion
    assert studio.frame == motion.apex
    assert np.array_equal(pixels(studio, 0), studio.moving.render(motion.onset))
    assert np.array_equal(pixels(studio, 1), studio.moving.render(motion.apex))
    studio.frame = motion.onset
    assert not studio.pictures.shown[3].values.any(), "nothing has moved yet"
    assert "onset" in studio.story.value


def test_timing_person_and_layout_follow_their_sliders(studio):
    studio.duration, studio.rise = 200, 0.25
    motion = studio.moving.motion
    assert (motion.offset - motion.onset, motion.apex - motion.onset) == (40, 10)
    face = pixels(studio, 0)
    studio.person = 9
    assert np.abs(pixels(studio, 0).astype(int) - face).mean() > 2
    studio.layout_variation = 0
    mean_layout = studio.moving.landmarks
    studio.person = 10
    assert np.abs(studio.moving.landmarks - mean_layout).max() < 0.4, "only lids hang more or less"
    studio.layout_variation = 2
    assert np.abs(studio.moving.landmarks - mean_layout).max() > 1.5


def test_no_slider_asks_for_more_than_this_face_can_do(studio):
    for unit, slider in studio.units.items():
        reach = studio.moving.reach(unit) * 224 / 64
        assert reach - 0.25 < slider.max <= reach
    studio.units["17"].value = both = studio.units["17"].max
    studio.side = "R"
    assert studio.units["17"].max < both
    assert studio.moving.motion.units["R17"] == pytest.approx(studio.units["17"].max * 64 / 224)
    assert "R17E" in studio.story.value, "FACS: maximum"


def test_photographs_and_the_webcams_picture_move(studio, landmarker, tmp_path, monkeypatch):
    head = pixels(studio, 0)
    studio.source = "photograph"
    studio.photograph = "Grace Hopper"
    assert studio.message.value == ""
    photo = pixels(studio, 0)
    assert np.abs(photo.astype(int) - head).mean() > 10
    assert studio.clip().subject == "Grace Hopper"
    assert np.hypot(*studio.moving.expression).max() == pytest.approx(2 * 64 / 224, rel=0.1)
    assert studio.controls["person"][0].layout.display == "none", "it has no seed"

    monkeypatch.chdir(tmp_path)
    studio.source = "webcam"
    assert "no picture yet: look into the camera" in studio.message.value
    assert np.array_equal(pixels(studio, 0), photo), "what was shown stays"
    seen = [np.maximum(astronaut(), i) for i in range(3)]  # a camera gives no frame twice
    write_video(seen, "seen.mkv", 30)
    studio.recording = "seen.mkv"
    assert studio.message.value == ""
    assert np.abs(pixels(studio, 0).astype(int) - photo).mean() > 10
    kept = studio.state
    assert (studio.webcam.path, kept["recording"], kept["source"]) == ("seen.mkv", "seen.mkv", "webcam")
    write_video([cv2.flip(frame, 1) for frame in seen], "seen.mkv", 30)
    before = pixels(studio, 0)
    studio.webcam.status = "done"
    assert np.abs(pixels(studio, 0).astype(int) - before).mean() > 2, "recorded anew"
    another = FaceStudio(size=64)
    another.state = kept
    assert another.state == kept
    assert np.array_equal(pixels(another, 0), pixels(studio, 0))
    studio.source = "photograph"
    studio.photograph = "Eileen Collins"
    assert studio.clip().subject == "Eileen Collins"


def test_a_photograph_that_cannot_be_used_is_told(studio, landmarker, tmp_path):
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((200, 200, 3), 90, np.uint8))
    studio.source = "photograph"
    cv2.imwrite(str(tmp_path / "stamp.png"), np.zeros((20, 20, 3), np.uint8))
    (tmp_path / "essay.png").write_text("no picture")
    cv2.imwrite(str(tmp_path / "two.png"), np.hstack([astronaut()[..., ::-1]] * 2))
    refused = {"wall": "wall.png shows no face", "missing": "missing.png: upload it", "stamp": "is 20×20 px: take one"}
    refused |= {"essay": "essay.png is no readable image", "two": "two.png shows 2 faces: cut out one"}
    for name, message in refused.items():
        studio.photograph = str(tmp_path / f"{name}.png")
        assert message in studio.message.value
        assert studio.message.value.count("\n") == 0
    cv2.imwrite(str(tmp_path / "me.png"), astronaut()[..., ::-1])
    studio.photograph = str(tmp_path / "me.png")
    assert studio.message.value == ""
    assert studio.clip().subject == "me"


def test_units_that_contradict_one_another_are_told(studio):
    before = pixels(studio, 1)
    studio.units["43"].value = studio.units["5"].value = 2
    assert "cannot show 43 and 5 together: leave one out" in studio.message.value
    assert not np.array_equal(before, pixels(studio, 1)), "the closed eyes are still shown"
    assert set(studio.moving.motion.units) == {"12", "43"}
    studio.units["43"].value = 0
    assert studio.message.value == ""
    assert set(studio.moving.motion.units) == {"12", "5"}


@pytest.mark.parametrize("name", STRONGEST)
def test_each_distractor_has_a_slider(studio, name):
    for slider in studio.units.values():
        slider.value = 0
    clean = [studio.moving.render(i) for i in range(studio.controls["frame"][0].max + 1)]
    studio.distractors[name].value = studio.distractors[name].max
    assert getattr(studio.moving.motion.distractors, name) == STRONGEST[name]
    disturbed = [studio.moving.render(i) for i in range(studio.controls["frame"][0].max + 1)]
    assert any((a != b).any() for a, b in zip(clean, disturbed, strict=True))


def test_what_is_saved_is_what_was_shown(studio, tmp_path):
    studio.folder.value = str(tmp_path / "mine")
    studio.distractors["noise"].value = 1
    folder = studio.save()
    clip = studio.clip()
    row = pd.read_csv(folder / "annotation.csv").iloc[0]
    assert (row.onset, row.apex, row.offset) == (clip.onset, clip.apex, clip.offset)
    files = sorted(folder.glob("img*.png"))
    assert len(files) == len(clip.frames)
    assert np.array_equal(read_image(files[clip.apex]), clip.frame(clip.apex))
    with pytest.raises(OSError, match="is not empty: choose another folder"):
        studio.save()
    assert "is not empty" in studio.message.value


def test_maps_and_table_are_the_librarys_own(explorer, faces):
    clip = align_clip(faces[0], 56)
    frames = [torch.from_numpy(clip.frame(i)).permute(2, 0, 1)[None] for i in (clip.onset, clip.apex)]
    maps = where_how(explorer.models["the model"], to_inputs(*frames))
    assert np.allclose(explorer.maps["difference"], maps["difference"], atol=1e-6)
    expected = region_table(maps, unit_regions(clip.landmarks, 56))
    pd.testing.assert_frame_equal(explorer.table, expected)
    assert f"explained <b>{CLASSES[maps.target]}" in explorer.story.value


def test_a_region_held_still_changes_difference_logits_and_maps(explorer):
    unit = explorer.table[explorer.table.region != "elsewhere"].sort_values("difference").region.iloc[-1]
    logits, before = explorer.logits, explorer.inputs["difference"].clone()
    explorer.still[unit].value = True
    held = explorer.regions[unit]
    assert not explorer.inputs["difference"][0, :, held].any()
    far = cv2.dilate(held.astype(np.uint8), np.ones((15, 15))) == 0
    assert torch.equal(explorer.inputs["difference"][0, :, far], before[0, :, far])
    assert not np.allclose(explorer.logits, logits)
    assert not explorer.maps["difference"][held].any()
    explorer.reset()
    assert np.array_equal(explorer.logits, logits)


def test_a_click_switches_the_smallest_region_under_it(explorer):
    y, x = (int(v) for v in np.argwhere(explorer.regions["15"])[0])
    smallest = min((u for u, m in explorer.regions.items() if m[y, x]), key=lambda u: explorer.regions[u].sum())
    explorer.pictures.place = [(x + 0.5) / 56, (y + 0.5) / 56]
    assert explorer.still[smallest].value
    explorer.pictures.place = [0.001, 0.001]
    assert sum(s.value for s in explorer.still.values()) == 1


def test_blend_and_target_change_the_pictures(explorer):
    explorer.blend = 0.3
    assert explorer.pictures.blend == 0.3, "the browser does the rest"
    other = next(c for c in CLASSES if c != CLASSES[explorer.maps.target])
    explorer.target = other
    assert CLASSES[explorer.maps.target] == other
    explorer.method = "saliency"
    assert explorer.maps.method == "saliency"
    assert (explorer.maps["difference"] >= 0).all()


def test_a_region_is_taken_from_the_chosen_stream(explorer):
    before = {name: x.clone() for name, x in explorer.inputs.items()}
    explorer.still["12"].value = True
    explorer.stream = "where: it is blotted out"
    held = explorer.regions["12"]
    assert not explorer.inputs["onset"][0, :, held].any(), "the mean colour is zero"
    assert torch.equal(explorer.inputs["difference"], before["difference"])
    explorer.stream = "both"
    assert not explorer.inputs["difference"][0, :, held].any()


@pytest.mark.parametrize("method", ["feature ablation", "token Grad-CAM", "rollout"])
def test_every_method_of_the_menu_is_the_librarys(explorer, method):
    assert set(explorer.controls["method"][0].options) == set(METHODS)
    explorer.method = method
    expected = where_how(explorer.models["the model"], explorer.inputs, method=method, regions=explorer.regions)
    assert np.array_equal(explorer.maps["onset"], expected["onset"])


def test_a_refusal_is_told(explorer):
    before = explorer.maps
    explorer.method = "DeepLift"
    assert "DeepLift does not fit TSFmicroLate" in explorer.message.value
    assert explorer.maps is before


def test_a_list_of_clips_will_do(faces):
    clips = [align_clip(faces[i], 56) for i in (1, 0)]
    explorer = WhereHowExplorer(create_model("tsfmicro_late", 3, seed=5), clips, CLASSES)
    assert explorer.shown.id == clips[0].id


def test_no_motion_is_left_and_the_edge_is_soft():
    region = np.zeros((56, 56), bool)
    region[20:30, 20:30] = True
    left = without_motion(torch.ones(1, 3, 56, 56), region)[0, 0].numpy()
    assert not left[region].any()
    assert 0 < left[25, 30] < 1
    assert left[0, 0] == 1


def test_what_cannot_be_explained_is_refused(faces):
    with pytest.raises(ValueError, match="the model has 3 classes: name them all"):
        WhereHowExplorer(create_model("tsfmicro_late", 3), faces, ["a"])
    with pytest.raises(ValueError, match="does not read the onset frame"):
        WhereHowExplorer(create_model("tsfmicro_temporal", 3), faces, CLASSES)


def test_without_a_model_the_one_that_ships_is_explained(faces):
    explorer, model = WhereHowExplorer(None, faces), from_pretrained("where_how")
    assert explorer.classes == EMOTIONS
    assert torch.allclose(explorer.logits, model.logits(faces[0])[0], atol=1e-4)
    with pytest.raises(ValueError, match="the model has 5 classes: name them all"):
        WhereHowExplorer(None, faces, CLASSES)


@pytest.fixture(scope="module")
def shipped():
    return WhereHowExplorer(None, SyntheticMicroExpressions(3, 4, image_size=96, seed=6))


def test_clips_are_browsed_by_answer_label_subject_and_how_sure_it_is(shipped):
    explorer, model = shipped, from_pretrained("where_how")
    logits = torch.cat([model.logits(explorer.data[i]) for i in range(12)])
    said, labels = np.array(model.tell(logits)), explorer.data.annotations.emotion.to_numpy()
    for answer, expected in (
        ("right", said == labels),
        ("wrong", (said != labels) & (said != "cannot tell")),
        ("cannot tell", said == "cannot tell"),
    ):
        explorer.answer = answer
        if expected.any():
            assert [i for _, i in explorer.controls["clip"][0].options] == np.flatnonzero(expected).tolist()
            assert explorer.clip == np.flatnonzero(expected)[0]
            assert (f": <b>{answer}</b>" in explorer.story.value) == (answer != "cannot tell")
        else:
            assert "no clip is answered, labelled and named so" in explorer.message.value
    explorer.answer, explorer.subject = "all", "sub02"
    assert len(explorer.controls["clip"][0].options) == 4
    assert explorer.shown.subject == "sub02"
    explorer.subject, explorer.emotion = "all", labels[5]
    assert {labels[i] for _, i in explorer.controls["clip"][0].options} == {labels[5]}
    explorer.emotion = "all"
    sure = logits.softmax(1).amax(1).numpy()
    explorer.sure = 0.5
    assert len(explorer.controls["clip"][0].options) == int((sure >= 0.5).sum()) < 12
    explorer.sure = 0
    assert len(explorer.controls["clip"][0].options) == 12


def test_two_methods_or_models_on_one_scale(faces):
    models = {name: create_model("tsfmicro_late", 3, seed=seed) for name, seed in (("a", 5), ("b", 6))}
    explorer = WhereHowExplorer(models, faces, CLASSES)
    one = explorer.pictures.shown
    explorer.second = "method: saliency"
    where_a, how_a, _, where_b, how_b = explorer.pictures.shown[1:]
    assert len({pane.full for pane in (where_a, how_a, where_b, how_b)}) == 1
    assert sum(np.abs(pane.values).sum() for pane in (where_b, how_b)) == pytest.approx(1, abs=1e-5), "shares of all"
    assert explorer.maps.method == "integrated gradients"
    explorer.second = "model: b"
    panes = explorer.pictures.shown
    assert len({pane.full for pane in (panes[1], panes[2], panes[4], panes[5])}) == 1
    assert np.allclose(panes[1].values, one[2].values), "a's own map, in logits"
    expected = where_how(models["b"], explorer.inputs)
    assert np.allclose(panes[5].values, expected["difference"], atol=1e-6)
    assert "100.0%" in explorer.bars.value, "shares add up"
    explorer.second, explorer.model = "nothing", "b"
    assert np.allclose(explorer.pictures.shown[3].values, expected["difference"], atol=1e-6)
    assert len(explorer.pictures.shown) == 4


def test_baseline_and_steps_change_the_map_by_what_they_say(explorer):
    model, first = explorer.models["the model"], explorer.maps
    explorer.steps = 128
    assert explorer.maps.completeness_error <= first.completeness_error + 1e-4
    change = {"mean colour": sum(float(m.sum()) for m in explorer.maps.values())}
    for baseline in ("white", "another face"):
        explorer.baseline = baseline
        change[baseline] = sum(float(m.sum()) for m in explorer.maps.values())
    grey = torch.full((1, 3, 56, 56), 255.0)
    zero = {"onset": to_inputs(grey, grey)["onset"], "difference": torch.zeros(1, 3, 56, 56)}
    target = explorer.maps.target
    with torch.no_grad():
        expected = model(**explorer.inputs)[0, target] - model(**zero)[0, target]
    assert change["white"] == pytest.approx(float(expected), abs=2e-2)
    assert len({round(value, 3) for value in change.values()}) == 3


def test_what_no_longer_holds_is_dim_and_its_numbers_are_gone(explorer):
    explorer.method = "DeepLift"
    assert explorer.pictures.past
    assert explorer.bars.value == explorer.story.value == ""
    explorer.method = "saliency"
    assert not explorer.pictures.past
    assert explorer.bars.value


def test_a_state_is_kept_and_restored_and_nonsense_refused(explorer, studio, faces):
    explorer.method, explorer.still["12"].value, explorer.blend = "saliency", True, 0.5
    kept = explorer.state
    other = WhereHowExplorer(explorer.models, faces, CLASSES)
    other.state = kept
    assert other.state == kept
    assert np.array_equal(other.maps["difference"], explorer.maps["difference"])
    with pytest.raises(ValueError, match="there is no control mood: choose from answer, sure"):
        other.state = {"mood": 1}
    with pytest.raises(traitlets.TraitError):
        other.method = "guessing"
    assert other.method == other.state["method"] == "saliency", "nothing changed"
    studio.person = 900
    assert studio.person == studio.state["person"] == 200, "as far as its slider goes"
