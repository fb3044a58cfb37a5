import cv2
import numpy as np
import pytest
from takes import beside, long_take, vary_frame_rate
from typer.testing import CliRunner

from studies.film import write_video
from studies.film_truth import read_truth, score_truth
from studies.megc_log import moments_of
from tsfmicro_lab.analyze import analyze
from tsfmicro_lab.cli import app
from tsfmicro_lab.data.video import VideoError
from tsfmicro_lab.models import create_model, from_pretrained
from tsfmicro_lab.models.base import UNSURE
from tsfmicro_lab.reports import analysis_report
from tsfmicro_lab.training.metrics import spotting_scores


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


def test_what_is_found_is_scored_against_the_truth(take, video, landmarker, tmp_path):
    """The same in frames and in seconds, with and without emotions; the spotter finds both movements of this film."""
    frames, path = take.table[["onset", "apex", "offset"]] + 1, tmp_path / "truth.csv"
    found = analyze(video, progress=False)
    frames.assign(emotion=found.table.likeliest.to_numpy()).to_csv(path, index=False)
    told = CliRunner().invoke(app, ["analyze", str(video), "--truth", str(path), "--out", str(tmp_path / "page")])
    assert told.exit_code == 0, told.output
    title = "Against 2 true moments, hit where intersection over union is 0.5 or more"
    header, row = (line.split() for line in told.output.partition(title)[2].splitlines()[1:3])
    assert header == ["hits", "misses", "alarms", "precision", "recall", "f1", "recognition", "strs"]
    assert row == ["2", "0", "0", *["1.000"] * 5]
    ((frames[["onset", "offset"]] - 1) / 200).to_csv(path, index=False, sep=";")
    seconds = score_truth(found, read_truth(path))
    assert seconds == {"hits": 2, "misses": 0, "alarms": 0, "precision": 1, "recall": 1, "f1": 1}
    frames.iloc[:1].assign(emotion="anger", onset=1, offset=5).to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"emotion 'anger' of the truth is none of the model's classes disgust, happ"):
        score_truth(found, read_truth(path))
    frames.iloc[:1].assign(emotion="disgust", onset=1, offset=5).to_csv(path, index=False)
    nothing = score_truth(found, read_truth(path))
    assert (nothing["misses"], nothing["alarms"], nothing["strs"]) == (1, 2, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("onset,offset\n", "truth.csv names no moment: write a row for each movement below the header"),
        ("onset,offset,mood\n1,9,sad\n", "column 'mood' is unknown: name them onset, offset, perhaps apex and emotion"),
        ("onset,apex\n1,9\n", "column 'offset' is missing"),
        ("onset,offset\n1,9\n9,9\n", "row 2: onset and offset must be seconds or frame numbers, the offset the larger"),
        ("onset,offset\n1,\n", "row 1: onset and offset must be"),
        ("", "cannot be read as a table"),
        ("onset,offset\n1,99999\n", "the truth has a moment from 1 to 99999, the film frames 1 to {frames}"),
        ("onset,offset\n0,9\n", "the truth has a moment from 0 to 9, the film frames 1 to {frames}"),
        ("onset,offset\n0.5,99.5\n", "the truth has a moment from 0.5 to 99.5, the film 0 to {seconds} s"),
    ],
)
def test_a_truth_that_cannot_be_is_one_sentence(text, message, frames, video, landmarker, tmp_path):
    (tmp_path / "truth.csv").write_text(text)
    asked = ["analyze", str(video), "--truth", str(tmp_path / "truth.csv"), "--model", "none", "--out", str(tmp_path)]
    told = CliRunner().invoke(app, asked)
    assert told.exit_code == 1
    assert "Traceback" not in told.output
    assert message.format(frames=len(frames), seconds=f"{len(frames) / 200:.2f}") in " ".join(told.output.split())
    assert (tmp_path / "index.html").exists() == ("the truth has" in message), "the page of a long film is not lost"


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
