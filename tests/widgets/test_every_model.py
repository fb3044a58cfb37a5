"""Every model of the registry in every explorer: it works, or is refused in one sentence before anything is drawn."""

import re

import numpy as np
import pytest

import studies.neighbours  # noqa: F401 registers three more
from studies.retention_explorer import RetentionExplorer
from tsfmicro_lab.data import SyntheticMicroExpressions, prepare
from tsfmicro_lab.models import MODELS, create_model
from tsfmicro_lab.widgets import FaceStudio, FusionExplorer, OnsetApexExplorer, WhereHowExplorer

#: Inputs that do not hang on the apex.
STILL = (("onset",), ("dynamic_time", "dynamic_motion"))
CLASSES = ["disgust", "happiness", "others", "repression", "surprise"]
RETAINING = {"tsfmicro_late", "tsfmicro_early", "tsfmicro_t2s", "tsfmicro_s2t"}
FUSIONS = RETAINING | {"mmnet"}
#: Which models each explorer shows, how it is made, and what is moved in it.
EXPLORERS = {
    "onset_apex": (set(MODELS), lambda m, data, _: OnsetApexExplorer(data, m, CLASSES, size=64), {"apex": 20}),
    "studio": (set(MODELS), lambda m, *_: FaceStudio(64, model=m), {"duration": 200}),
    "where_how": (
        FUSIONS | {"frl_dgt"},
        lambda m, data, _: WhereHowExplorer(m, data, CLASSES, size=64),
        {"method": "input × gradient", "second": "method: saliency"},
    ),
    "fusion": (FUSIONS, lambda m, _, samples: FusionExplorer(m, samples), {"how_weight": 0.5}),
    "retention": (
        RETAINING | {"tsfmicro_temporal"},
        lambda m, _, samples: RetentionExplorer(m, samples),
        {"decay": 0.5},
    ),
}


@pytest.fixture(scope="module")
def faces():
    return SyntheticMicroExpressions(2, 4, image_size=96, seed=6)


@pytest.fixture(scope="module")
def samples(faces):
    return prepare(faces, 56, progress=False)


def shown(explorer):
    bars = explorer.bars.values() if isinstance(explorer.bars, dict) else [explorer.bars]
    return [p for bar in bars for p in bar.probabilities]


@pytest.mark.parametrize("name", EXPLORERS)
@pytest.mark.parametrize("model_name", MODELS)
def test_it_works_or_is_refused_in_one_sentence(faces, samples, name, model_name):
    fits, build, moved = EXPLORERS[name]
    preset = "tiny" if "tiny" in MODELS[model_name].presets else "base"
    model = create_model(model_name, 5, preset, seed=4, classes=tuple(CLASSES)).eval()
    if model_name not in fits:
        with pytest.raises(ValueError, match=re.escape(model_name) + "|" + type(model).__name__) as refused:
            build(model, faces, samples)
        assert "choose" in str(refused.value) or "such as" in str(refused.value), "and what to do"
        assert "\n" not in str(refused.value)
        return
    explorer = build(model, faces, samples)
    before = shown(explorer)
    assert explorer.message.value == ""
    if name in ("onset_apex", "where_how"):
        assert before == pytest.approx(model.logits(faces[0])[0].softmax(0).tolist(), abs=1e-5)
    explorer.state = explorer.state | moved
    assert explorer.message.value == ""
    assert {key: explorer.state[key] for key in moved} == moved
    assert np.frombuffer(explorer.snapshot().data[:4], np.uint8).tolist() == [137, 80, 78, 71]
    if name in ("onset_apex", "fusion", "retention") and model.input_names not in STILL:
        assert shown(explorer) != before, "the answer follows"
