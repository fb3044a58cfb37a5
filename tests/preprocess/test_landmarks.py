import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from skimage.data import astronaut

from tsfmicro_lab.data.synthetic import SyntheticMicroExpressions
from tsfmicro_lab.preprocess import landmarks
from tsfmicro_lab.preprocess.landmarks import (
    POINT_INDEX,
    POINT_NAMES,
    FaceNotFoundError,
    MediaPipeLandmarker,
    find_model,
)

MEASURED = ("eye_outer", "eye_inner", "mouth_corner", "nose_tip")


@pytest.fixture
def no_model(monkeypatch, tmp_path):
    monkeypatch.delenv(landmarks.MODEL_VARIABLE, raising=False)
    monkeypatch.setattr(landmarks, "cached_model", lambda: tmp_path / "cache" / "face_landmarker.task")
    return tmp_path


@pytest.fixture
def serve():
    servers = []

    def start(folder):
        handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/face_landmarker.task"

    yield start
    for server in servers:
        server.shutdown()


def test_a_variable_that_names_no_file_is_an_error(no_model, monkeypatch):
    monkeypatch.setenv(landmarks.MODEL_VARIABLE, str(no_model / "gone.task"))
    with pytest.raises(FileNotFoundError, match=r"gone\.task, which is no file: correct or unset it"):
        find_model()


def test_without_a_model_the_error_says_how_to_get_it(no_model):
    with pytest.raises(FileNotFoundError, match=rf"download https://.* or set {landmarks.MODEL_VARIABLE}"):
        find_model(download=False)


def test_a_download_is_kept_and_found_again(no_model, monkeypatch, serve):
    (no_model / "face_landmarker.task").write_bytes(b"a model")
    monkeypatch.setattr(landmarks, "MODEL_URL", serve(no_model))
    monkeypatch.setattr(landmarks, "MODEL_SHA256", "ffa13b1ebfd16c9ddc9b1e2fc3f42e73c82d6bde4b1a2fbdb06da7b0db5d1d2c")
    with pytest.raises(FileNotFoundError, match="could not be downloaded"):
        find_model()  # the hash is another file's
    assert not landmarks.cached_model().exists()
    import hashlib

    monkeypatch.setattr(landmarks, "MODEL_SHA256", hashlib.sha256(b"a model").hexdigest())
    assert find_model().read_bytes() == b"a model"
    assert find_model(download=False) == landmarks.cached_model()


def test_a_file_that_is_no_model_is_named(tmp_path, landmarker):
    (tmp_path / "broken.task").write_bytes(bytes(1000))
    with pytest.raises(ValueError, match=r"broken\.task is no landmarker model .*delete it"):
        MediaPipeLandmarker(tmp_path / "broken.task")


def test_a_real_face_is_landmarked(landmarker):
    points = dict(zip(POINT_NAMES, landmarker(astronaut()), strict=True))
    assert points["right_eye_outer"][0] < points["right_eye_inner"][0] < points["left_eye_inner"][0]
    assert points["nose_tip"][1] < points["upper_lip_top"][1] < points["chin"][1]
    # Read off the enlarged photograph by eye.
    seen = {"right_eye_outer": (194, 101), "right_mouth_corner": (204, 140), "left_mouth_corner": (244, 142)}
    for name, place in seen.items():
        assert np.abs(points[name] - place).max() < 5, name


def test_no_face_is_an_error(landmarker):
    with pytest.raises(FaceNotFoundError, match=r"no face found in an image of 120×100 px: .* at least 15 px high"):
        landmarker(np.full((100, 120, 3), 128, np.uint8))


def test_of_several_faces_the_largest_is_taken(landmarker, monkeypatch):
    square = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)
    small, large = 20 * square, 50 * square + 100
    monkeypatch.setattr(landmarker, "find_all", lambda image: [small, large, small + 9])
    assert landmarker(np.zeros((200, 200, 3), np.uint8)) is large


def test_drawn_faces_are_faces_to_the_real_landmarker(landmarker):
    """At least 95 % are found, eye and mouth corners and nose tip within 6 % of the inter-ocular distance."""
    subjects, errors = 40, []
    data = SyntheticMicroExpressions(subjects, 1, image_size=224, seed=11)
    for i in range(subjects):
        clip = data[i]
        try:
            found = landmarker(clip.frame(clip.onset))
        except FaceNotFoundError:
            continue
        eyes = [
            clip.landmarks[[POINT_INDEX[f"{s}_eye_{c}"] for c in ("outer", "inner")]].mean(0) for s in ("right", "left")
        ]
        error = np.linalg.norm(found - clip.landmarks, axis=1) / np.linalg.norm(eyes[0] - eyes[1])
        errors.append([error[i] for name, i in POINT_INDEX.items() if name.endswith(MEASURED)])
    assert len(errors) >= 0.95 * subjects
    assert np.mean(errors, axis=0).max() < 0.06
