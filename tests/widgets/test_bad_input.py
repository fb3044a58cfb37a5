"""What cannot be explored is refused in one sentence before anything is drawn; what is only unusual is shown."""

from dataclasses import replace

import numpy as np
import pytest

from studies.retention_explorer import RetentionExplorer
from tsfmicro_lab.clips import Clip, LazyFrames
from tsfmicro_lab.data import SyntheticMicroExpressions, prepare
from tsfmicro_lab.models import create_model
from tsfmicro_lab.widgets import FaceStudio, FusionExplorer, OnsetApexExplorer, WhereHowExplorer

CLASSES = ["a", "b", "c"]


@pytest.fixture(scope="module")
def faces():
    return SyntheticMicroExpressions(1, 2, image_size=96, seed=3)


@pytest.fixture(scope="module")
def clip(faces):
    return replace(faces[0], truth=None)


@pytest.fixture(scope="module")
def samples(faces):
    return prepare(faces, 56, progress=False)


@pytest.fixture(scope="module")
def late():
    return create_model("tsfmicro_late", 3, seed=0).eval()


def spoilt(clip, change):
    return [replace(clip, frames=LazyFrames(lambda i: change(clip.frame(i)), range(len(clip.frames))))]


NO_FACE = {"landmarks": None}
#: Data, settings, and what is said.
REFUSED = {
    "no clip": (lambda c: [], {}, "there is no clip to explore"),
    "no frame": (lambda c: [replace(c, frames=[], onset=0, apex=0, offset=0)], {}, "it has no frames"),
    "grey": (lambda c: spoilt(c, lambda f: f[..., 0]), {}, r"cv2\.cvtColor\(image, cv2\.COLOR_GRAY2RGB\)"),
    "16 bits": (lambda c: spoilt(c, lambda f: f.astype(np.uint16) * 257), {}, r"\(image / 257\)\.astype\('uint8'\)"),
    "alpha": (lambda c: spoilt(c, lambda f: np.dstack([f, f[..., :1]])), {}, r"image\[\.\.\., :3\]"),
    "index": (lambda c: [c], {"index": 1}, "there is no clip 1: choose one of 0 to 0"),
    "size": (lambda c: [c], {"size": 0}, "pictures of 0 pixels cannot be explored: give a size of 32 to 1024"),
    "classes": (lambda c: [c], {"classes": ["a"]}, "the model has 3 classes: name them all"),
    "no face": (lambda c: [replace(spoilt(c, lambda f: 0 * f)[0], landmarks=None)], {}, "no face"),
}
SHOWN = {
    "one frame": lambda c: [Clip("one", "me", [c.frame(0)], 0, 0, 0, landmarks=c.landmarks)],
    "no apex": lambda c: [replace(c, apex=None)],
    "not square": lambda c: spoilt(c, lambda f: f[:80]),
}


def explore(kind, late, data, **settings):
    classes = settings.pop("classes", CLASSES)
    if kind == "onset_apex":
        return OnsetApexExplorer(data, late, classes, **settings)
    return WhereHowExplorer(late, data, classes, **settings)


@pytest.mark.parametrize("kind", ["onset_apex", "where_how"])
@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_in_one_sentence(request, late, clip, kind, case):
    make, settings, said = REFUSED[case]
    if case == "no face":
        settings = {"landmarker": request.getfixturevalue("landmarker")}
    with pytest.raises((ValueError, OSError), match=said) as refused:
        explore(kind, late, make(clip), **settings)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kind", ["onset_apex", "where_how"])
@pytest.mark.parametrize("case", SHOWN)
def test_it_is_shown(late, clip, kind, case):
    explorer = explore(kind, late, SHOWN[case](clip))
    assert explorer.message.value == ""
    assert explorer.snapshot().data


def test_samples_that_do_not_fit_are_refused(samples):
    for explorer in (FusionExplorer, RetentionExplorer):
        with pytest.raises(ValueError, match="there is no clip 9: choose one of 0 to 1"):
            explorer(create_model("tsfmicro_late", len(samples.classes)), samples, 9)
        with pytest.raises(ValueError, match="the model has 9 classes: name them all"):
            explorer(create_model("tsfmicro_late", 9), samples)
        with pytest.raises(ValueError, match=r"'onset' must be .* \(batch, 3, 112, 112\)"):
            explorer(create_model("tsfmicro_late", len(samples.classes), "small"), samples)
    for size in (0, 5000):
        with pytest.raises(ValueError, match=f"pictures of {size} pixels cannot be explored"):
            FaceStudio(size)


def test_names_and_errors_are_shown_as_they_are_written(late, clip):
    trap = "<img src=x onerror=alert(1)>"
    named = replace(clip, name=trap, subject="<b>me", emotion=trap, action_units=(trap,))
    for explorer in (
        OnsetApexExplorer(named, late, [trap, "b", "c"]),
        WhereHowExplorer(late, [named], [trap, "b", "c"]),
    ):
        told = explorer.story.value + explorer.bars.value
        assert trap not in told
        assert told.count("&lt;img src=x") > 1
        assert trap in explorer.story_text()
    studio = FaceStudio(64)
    studio.source, studio.photograph = "photograph", trap
    assert "&lt;img" in studio.message.value
    assert trap not in studio.message.value
