import os
from pathlib import Path

import jaxtyping
import pytest
import torch

from tsfmicro_lab.data import Samples, SyntheticMicroExpressions, prepare
from tsfmicro_lab.preprocess import MediaPipeLandmarker
from tsfmicro_lab.preprocess.landmarks import find_model

ROOT = Path(__file__).parents[1]
os.environ["COLUMNS"] = "200"  # tables and sentences of commands are not broken where no terminal tells its width


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def unchecked(monkeypatch):
    """As users have it: no types are checked at a call, so that a wrong word gets as far as the library's own check."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(scope="session")
def data() -> SyntheticMicroExpressions:
    return SyntheticMicroExpressions(subjects=4, clips_per_subject=10, image_size=96, seed=3)


@pytest.fixture(scope="session")
def samples(data) -> Samples:
    return prepare(data, 56, progress=False)


@pytest.fixture(scope="session")
def landmarker() -> MediaPipeLandmarker:
    try:
        return MediaPipeLandmarker(find_model(download=False))
    except (FileNotFoundError, ImportError) as error:
        if os.environ.get("CI") and os.environ.get("TSFMICRO_FACE_LANDMARKER"):
            raise
        pytest.skip(f"the real landmarker cannot run here: {error}")


@pytest.fixture(scope="session")
def golden() -> Path:
    folder = os.environ.get("TSFMICRO_GOLDEN")
    if not folder:
        pytest.skip("TSFMICRO_GOLDEN names no folder with reference logits of the public code")
    return Path(folder)
