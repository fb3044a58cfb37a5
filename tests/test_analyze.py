import cv2
import numpy as np
import pytest
from takes import beside, long_take, vary_frame_rate
from typer.testing import CliRunner

from studies.moments import moments_of, spotting_scores
from tsfmicro_lab.analyze import analyze
from tsfmicro_lab.cli import app
from tsfmicro_lab.data.video import VideoError, write_video
from tsfmicro_lab.models import create_model, from_pretrained
from tsfmicro_lab.models.base import UNSURE
from tsfmicro_lab.reports import analysis_report


@pytest.fixture(scope="module")
def take():
    return long_take(seed=203, expressions=2, size=160)


@pytest.fixture(scope="module")
def frames(take):
    return list(take.frames)


@pytest.fixture(scope="module")
def video(frames, tmp_path_factory):
    return write_video(frames, tmp_path_factory.mktemp("video") / "take.mkv", 200)


def test_a_video_from_the_command_line_to_the_page(take, video, landmarker, tmp_path):
    classes = ("disgust", "happiness", "others")
    create_model("tsfmicro_late", 3, seed=0, classes=classes).save_pretrained(tmp_path / "model")
    arguments = ["analyze", str(video), "--model", str(tmp_path / "model"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    page = (tmp_path / "out" / "index.html").read_text()
    assert "2 moments were spotted" in page
    assert "not in hiring" in page
    assert any(name in result.output for name in classes)
    for name in ("clips.png", "maps.png"):
        picture = cv2.imread(str(tmp_path / "out" / name))
        assert picture.std() > 10


def test_the_model_that_ships_answers_by_default_and_says_where_it_cannot(take, video, landmarker, tmp_path):
    found, model = analyze(video, progress=False), from_pretrained("emotions")
    assert found.classes == model.config.classes
    assert 0.2 < found.certain == model.config.certain
    for row, clip in zip(found.table.itertuples(), found.clips, strict=True):
        p = model.logits(clip).softmax(1)[0]
        assert row.probability == pytest.approx(float(p.max()), abs=1e-5)
        assert row.likeliest == found.classes[p.argmax()]
        assert row.predicted == (row.likeliest if row.probability >= found.certain else UNSURE)
    page = " ".join(analysis_report(found, tmp_path, "some heads").read_text().split())
    assert f"calibrated on such faces, not on this one; below {found.certain:.2f} it says that it cannot tell" in page
    assert "It must choose" not in page
    assert "predicted" not in analyze(video, None, progress=False).table
    true = (take.table[["onset", "offset"]] + 1).assign(film="take", emotion="disgust")
    moments = moments_of(found)
    assert list(moments) == ["film", "onset", "offset", "kind", "emotion"]
    assert spotting_scores(true, moments)["hits"] == 2


def test_units_are_told_together(video, landmarker):
    found = analyze(video, "action_units", progress=False)
    told = {unit for text in found.table.predicted if text != UNSURE for unit in text.split("+")}
    assert told <= {*found.classes}
    p = from_pretrained("action_units").logits(found.clips[0]).sigmoid()
    assert found.table.probability[0] == pytest.approx(float(p.max()), abs=1e-5)


def test_a_folder_of_frames_gives_what_the_video_gives(take, frames, video, landmarker, tmp_path):
    for i, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / f"frame{i}.png"), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    one, other = analyze(video, progress=False), analyze(tmp_path, fps=200, progress=False)
    np.testing.assert_allclose(one.trace.curve, other.trace.curve, atol=1e-4)
    assert abs(one.table.apex - take.table.apex / 200).max() < 0.03
    assert one.notes == other.notes


def test_nobody_is_said(tmp_path, landmarker):
    path = write_video([np.full((120, 160, 3), 90 + i % 2, np.uint8) for i in range(30)], tmp_path / "wall.mkv", 100)
    with pytest.raises(VideoError, match="no face in any"):
        analyze(path, progress=False)
    result = CliRunner().invoke(app, ["analyze", str(path), "--out", str(tmp_path / "page")])
    assert result.exit_code == 1
    assert "no face in any" in result.output
    assert "Traceback" not in result.output


def test_several_faces_a_lost_one_and_a_cut_file_are_said(frames, landmarker, tmp_path):
    wall = np.full_like(frames[0], 90)
    shown = [beside(f, wall) for f in frames[:80]]
    shown += [beside(wall, wall)] * 80
    shown += [beside(f, f) for f in frames[:80]]
    path = write_video(shown, tmp_path / "party.avi", 200, "MJPG")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.9)])
    notes = " ".join(analyze(path, progress=False).notes)
    assert "2 faces" in notes
    assert "No face in" in notes
    assert "Nothing can be spotted" in notes
    assert "announced frames could be read" in notes


def test_a_slow_camera_of_a_varying_rate_is_said(frames, landmarker, tmp_path):
    path = write_video(frames[::8], tmp_path / "phone.mp4", 25, "mp4v")
    vary_frame_rate(path)
    notes = " ".join(analyze(path, progress=False).notes)
    assert "frames per second: a movement of a fifth of a second" in notes
    assert "The frame rate varies" in notes


def test_a_4k_frame_is_read_where_the_face_is(take, frames, landmarker, tmp_path):
    """The same face, once in its own frame and once in a corner of a 4K one."""
    part = frames[: take.table.offset[0] + 80 : 2]
    ground = np.full((2160, 3840, 3), 120, np.uint8)

    def placed():
        for frame in part:
            ground[200:1000, 300:1100] = cv2.resize(frame, (800, 800), interpolation=cv2.INTER_CUBIC)
            yield ground

    small = analyze(write_video(part, tmp_path / "small.mkv", 100), progress=False)
    large = analyze(write_video(placed(), tmp_path / "large.avi", 100, "MJPG"), progress=False)
    assert large.video.size == (3840, 2160)
    assert abs(large.table.apex[0] - small.table.apex[0]) <= 0.02


def test_bad_answers_to_the_model_are_refused(video):
    model = create_model("tsfmicro_late", 3, seed=0)
    with pytest.raises(ValueError, match="3 classes, 2 are named"):
        analyze(video, model, ("a", "b"), progress=False)
    with pytest.raises(ValueError, match="3 classes, but 2 names"):
        create_model("tsfmicro_late", 3, classes=("a", "b"))


def test_a_page_without_a_moment_says_so(frames, landmarker, tmp_path):
    path = write_video(frames[:90], tmp_path / "rest.mkv", 200)
    found = analyze(path, progress=False)
    assert found.table.empty
    assert "No moment stands out" in analysis_report(found, tmp_path / "out").read_text()
