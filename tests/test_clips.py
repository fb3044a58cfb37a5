import struct
import zlib

import cv2
import numpy as np
import pytest

from tsfmicro_lab.clips import Clip, ClipError, LazyFrames, read_image

GREY = [np.full((4, 5, 3), i, np.uint8) for i in range(6)]


@pytest.mark.parametrize(
    ("onset", "apex", "offset"), [(0, 5, 4), (3, 2, 5), (4, None, 3), (-1, 2, 3), (0, 2, 6), (2, 1, 5)]
)
def test_key_frames_out_of_order_name_the_clip_and_the_remedy(onset, apex, offset):
    with pytest.raises(ClipError, match=r"s1/c1: onset .* must be in this order .* correct the annotation"):
        Clip("c1", "s1", GREY, onset, apex, offset)


def test_a_clip_without_frames_is_refused():
    with pytest.raises(ClipError, match="s1/c1: it has no frames"):
        Clip("c1", "s1", [], 0, 0, 0)


def test_key_frames_are_onset_and_apex_and_a_missing_apex_names_the_remedy():
    assert Clip("c1", "s1", GREY, 1, 3, 5).key_frames == (1, 3)
    with pytest.raises(ClipError, match=r"s1/c1 has no apex: call preprocess\.with_apex first"):
        _ = Clip("c1", "s1", GREY, 1, None, 5).key_frames


def test_missing_and_corrupt_frames_are_named(tmp_path):
    good, corrupt, empty = tmp_path / "1.jpg", tmp_path / "2.jpg", tmp_path / "3.jpg"
    cv2.imwrite(str(good), np.full((8, 8, 3), 90, np.uint8))
    corrupt.write_bytes(good.read_bytes()[:40])
    empty.touch()
    clip = Clip("c1", "s1", LazyFrames(read_image, [good, corrupt, empty, tmp_path / "4.jpg"]), 0, 1, 3)
    assert clip.frame(0).shape == (8, 8, 3)
    with pytest.raises(ClipError, match=r"s1/c1: frame 1 cannot be read: .*2\.jpg is no readable image"):
        clip.frame(1)
    with pytest.raises(ClipError, match=r"3\.jpg is no readable image"):
        clip.frame(2)
    with pytest.raises(ClipError, match=r"frame 3 .*No such file.*4\.jpg"):
        clip.frame(3)


@pytest.mark.parametrize(
    "image",
    [
        np.full((5, 7), 200, np.uint8),
        np.full((4, 5, 4), 200, np.uint8),
        np.full((4, 4, 1), 200, np.uint8),
        np.full((4, 5, 3), 200 / 255, np.float32),
        np.full((4, 5, 3), 200 * 257, np.uint16),
        np.ones((4, 5, 3), bool),
    ],
    ids=["grey", "rgba", "one-channel", "float", "deep", "mask"],
)
def test_images_of_the_wrong_type_are_refused_and_the_remedy_works(image):
    clip = Clip("c1", "s1", [image] * 3, 0, 1, 2)
    with pytest.raises(ClipError, match=r"frame 1 must be \(height, width, 3\) uint8 RGB.*convert") as told:
        clip.frame(1)
    remedy = str(told.value).partition("convert it with ")[2]
    mended = eval(remedy, {"image": image, "cv2": cv2})  # as the reader would type it
    assert mended.shape == (*image.shape[:2], 3)
    assert mended.dtype == np.uint8
    assert np.abs(mended.astype(int) - (255 if image.dtype == bool else 200)).max() <= 1


def test_images_are_read_as_rgb(tmp_path):
    cv2.imwrite(str(tmp_path / "red.png"), np.full((3, 3, 3), (0, 0, 255), np.uint8))
    assert read_image(tmp_path / "red.png")[0, 0].tolist() == [255, 0, 0]


def test_oversized_files_are_not_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr("tsfmicro_lab.clips.MAX_FILE_BYTES", 10)
    (tmp_path / "big.jpg").write_bytes(bytes(11))
    with pytest.raises(ValueError, match=r"big\.jpg is larger than"):
        read_image(tmp_path / "big.jpg")
    monkeypatch.undo()
    with (tmp_path / "big.jpg").open("wb") as file:
        file.truncate(2**26 + 1)  # a hole on the disk
    with pytest.raises(ValueError, match="is larger than 64 MiB"):
        read_image(tmp_path / "big.jpg")


def test_the_largest_side_is_still_read(tmp_path):
    for side in (8192, 8193):
        cv2.imwrite(str(tmp_path / f"{side}.png"), np.zeros((1, side, 3), np.uint8))
    assert read_image(tmp_path / "8192.png").shape == (1, 8192, 3)
    with pytest.raises(ValueError, match="8193×1 px, more than 8192 on a side"):
        read_image(tmp_path / "8193.png")


def test_frames_are_made_only_when_asked_for():
    asked = []
    frames = LazyFrames(lambda i: asked.append(i) or GREY[i], range(6))
    clip = Clip("c1", "s1", frames, 0, 3, 5)
    assert asked == []
    assert clip.frame(3)[0, 0, 0] == 3
    assert asked == [3]


def test_the_size_of_a_picture_is_known_before_a_pixel_is_decoded(tmp_path, monkeypatch):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for side, message in ((9000, "9000×9000 px, more than 8192"), (40_000, "1600000000 pixels")):
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        path = tmp_path / f"{side}.png"
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))
        monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("pixels were decoded"))
        with pytest.raises(ValueError, match=message):
            read_image(path)
