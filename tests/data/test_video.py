import re

import cv2
import numpy as np
import pytest
from PIL import Image
from takes import vary_frame_rate

from studies.film import write_video
from tsfmicro_lab.data.video import Video, VideoError


def grey(values, side=64):
    return [np.full((side, side, 3), value, np.uint8) for value in values]


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mkv", "FFV1"), ("a.avi", "MJPG"), ("a.mp4", "mp4v"), ("a.webm", "VP80")]
)
def test_frames_and_times_come_back(tmp_path, name, codec):
    values = np.linspace(20, 220, 24).astype(int)
    video = Video(write_video(grey(values), tmp_path / name, 100, codec))
    assert (video.size, video.fps, video.claimed) == ((64, 64), 100, 24)
    for _ in range(2):  # and again, from the start
        times, levels = zip(*[(time, read().mean()) for time, read in video], strict=True)
        np.testing.assert_allclose(times, np.arange(24) / 100, atol=6e-4)
        np.testing.assert_allclose(levels, values, atol=0 if codec == "FFV1" else 4)


def test_the_true_rate_of_a_slowed_recording_can_be_given(tmp_path):
    video = Video(write_video(grey(range(10)), tmp_path / "slow.mkv", 25), fps=200)
    assert [time for time, _ in video] == pytest.approx(np.arange(10) / 200)


def test_a_variable_rate_is_read_as_it_is(tmp_path):
    path = write_video(grey(range(0, 200, 10)), tmp_path / "phone.mp4", 50, "mp4v")
    half = vary_frame_rate(path)
    steps = np.diff([time for time, _ in Video(path)])
    np.testing.assert_allclose(steps[: half - 1], 0.02, atol=1e-3)
    np.testing.assert_allclose(steps[half:], 0.06, atol=1e-3)


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path):
    for number in (10, 9, 2, 1):
        cv2.imwrite(str(tmp_path / f"img{number}.png"), grey([number])[0])
    (tmp_path / "notes.txt").write_text("not a frame")
    assert [int(read().mean()) for _, read in Video(tmp_path, fps=100)] == [1, 2, 9, 10]
    with pytest.raises(VideoError, match="give fps"):
        Video(tmp_path)


def test_a_file_that_is_cut_off_ends_early_or_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(40)]
    cut = write_video(noise, tmp_path / "cut.avi", 100, "MJPG")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    video = Video(cut)
    assert 0 < len(list(video)) < 40
    film = write_video(noise, tmp_path / "film.mp4", 100, "mp4v")
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    with pytest.raises(VideoError, match="cut off"):
        Video(film)


@pytest.mark.parametrize("name", ["list.m3u8", "list.mp4", "concat.mp4"])
def test_a_playlist_cannot_have_another_file_read(tmp_path, name):
    secret = write_video(grey([1, 2, 3]), tmp_path / "secret.mkv", 100)
    playlists = {
        "list": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n",
        "concat": f"ffconcat version 1.0\nfile {secret.name}\n",
    }
    (tmp_path / name).write_text(playlists[name.split(".")[0]])
    with pytest.raises(VideoError, match="no video that can be read"):
        Video(tmp_path / name)


def test_what_is_no_video_is_refused(tmp_path):
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "empty.avi").touch()
    (tmp_path / "folder").mkdir()
    for name in ("noise.mp4", "empty.avi", "folder"):
        with pytest.raises(VideoError, match=re.escape(name)):
            Video(tmp_path / name)
    with pytest.raises(VideoError, match="there is no such file"):
        Video(tmp_path / "gone.mp4")
    with pytest.raises(VideoError, match="make no sense"):
        Video(tmp_path / "noise.mp4", fps=0)
    with pytest.raises(VideoError, match="no frame to write"):
        write_video([], tmp_path / "none.mkv", 100)


def test_frames_that_are_all_the_same_are_a_codec_that_is_not_decoded(tmp_path):
    still = write_video(grey([90] * 5), tmp_path / "still.mkv", 100)
    with pytest.raises(VideoError, match=r"its 5 frames are all the same, so its codec ffv1 .* ffmpeg -i still\.mkv"):
        [read() for _, read in Video(still)]
    assert len(list(Video(still))) == 5  # who looks at no frame is told nothing


def test_containers_of_cameras_and_tiff_are_read(tmp_path):
    frames = grey(range(10, 210, 5))
    for name, codec in {"a.ts": "mp4v", "b.mts": "mp2v", "c.wmv": "WMV2"}.items():
        found = [read().mean() for _, read in Video(write_video(frames, tmp_path / name, 25, codec))]
        assert np.abs(np.array(found) - range(10, 210, 5)).max() < 6
    first, *others = map(Image.fromarray, frames)
    first.save(tmp_path / "d.gif", save_all=True, append_images=others, duration=40)
    assert [read().max() for _, read in Video(tmp_path / "d.gif")] == list(range(10, 210, 5))
    (tmp_path / "tiff").mkdir()
    for i, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / "tiff" / f"{i}.tiff"), frame)
    assert [read().max() for _, read in Video(tmp_path / "tiff", fps=25)] == list(range(10, 210, 5))
