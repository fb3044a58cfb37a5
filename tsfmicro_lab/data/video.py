"""Videos and folders of frames as a stream: one frame after another with its time, never all of them at once."""

import os
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2

from tsfmicro_lab.clips import MAX_SIDE, Frame, read_image

#: Containers that are opened. Playlists are not among them: a file that calls itself a video could otherwise have any
#: other file, or a server, read through ffmpeg.
CONTAINERS = ("mov", "mp4", "matroska", "webm", "avi", "mpeg", "mpegts", "mjpeg", "ogg", "asf", "gif")
FFMPEG = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


class VideoError(ValueError):
    """A video cannot be used; the message names it and the remedy."""


class Video:
    """A video file, or a folder of frames, that can be gone through again and again.

    It has a `size` (width, height), `fps`, and `claimed`, the number of frames that the file says it has, or 0.

    Args:
        path: The file or folder.
        fps: Frames per second, where the file does not know it: a folder, or a high-speed recording that was saved to
            be played slowly. Times then follow from it.

    Raises:
        VideoError: It is no video, empty, or too large.
    """

    def __init__(self, path: Path | str, fps: float | None = None) -> None:
        self.path, self.given, self._seen = Path(path), fps, set[int]()
        if fps is not None and not 1 <= fps <= 10_000:
            raise VideoError(f"{fps:g} frames per second make no sense: give 1 to 10000")
        if not self.path.exists():
            raise VideoError(f"{path}: there is no such file or folder")
        self.files = _images(self.path) if self.path.is_dir() else []
        if self.files and fps is None:
            raise VideoError(f"{path}: a folder does not say how fast it was recorded: give fps, such as 200")
        if self.files:
            self.size, self.claimed, self.fps = read_image(self.files[0]).shape[1::-1], len(self.files), fps or 0.0
            return
        capture = _open(self.path)
        self.size = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.claimed = max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        self.fps = fps or capture.get(cv2.CAP_PROP_FPS)
        capture.release()

    def __repr__(self) -> str:
        width, height = self.size
        return f"Video {self.path.name}: {width}×{height} px, {self.fps:g} fps, {self.claimed} frames claimed"

    def __iter__(self) -> Iterator[tuple[float, Callable[[], Frame]]]:
        """Time of each frame, seconds, and a function that reads it: frames that nobody looks at cost little."""
        if self.files:
            yield from ((i / self.fps, lambda path=path: read_image(path)) for i, path in enumerate(self.files))
            return
        capture, index, last = _open(self.path), 0, -1.0
        try:
            while capture.grab():
                time = index / self.given if self.given else capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                # Some files repeat a time or go back: then the claimed rate has to do.
                last = time if time > last else last + 1 / max(self.fps, 1.0)
                yield last, lambda: self._retrieve(capture)
                index += 1
            if not index or (len(self._seen) == 1 and index > 2):
                codec = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode("ascii", "replace")
                what = f"{self.path}: its {index} frames are all the same, so its codec {codec} is not decoded here"
                raise VideoError(f"{what}; convert it: ffmpeg -i {self.path.name} -crf 12 {self.path.stem}-h264.mp4")
        finally:
            capture.release()

    def _retrieve(self, capture: cv2.VideoCapture) -> Frame:
        there, frame = capture.retrieve()
        if not there:
            raise VideoError(f"{self.path}: a frame is damaged")
        if len(self._seen) < 2:  # two pictures that differ are enough to know that they are decoded
            self._seen.add(zlib.crc32(frame.tobytes()))
        return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


def _open(path: Path) -> cv2.VideoCapture:
    before = os.environ.get(FFMPEG)
    os.environ[FFMPEG] = f"protocol_whitelist;file|format_whitelist;{','.join(CONTAINERS)}"
    try:
        capture = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG) if path.is_file() else None
    finally:
        os.environ.pop(FFMPEG) if before is None else os.environ.update({FFMPEG: before})
    if capture is None or not capture.isOpened():
        why = f"it may be cut off, of an unknown kind ({', '.join(CONTAINERS)} are known), or a folder without frames"
        raise VideoError(f"{path} is no video that can be read: {why}; open it in a player, or convert it with ffmpeg")
    width, height = (capture.get(p) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    if not 16 <= min(width, height) <= max(width, height) <= MAX_SIDE:
        raise VideoError(f"{path} is {width:g}×{height:g} px: sides from 16 to {MAX_SIDE} can be used")
    return capture


def _images(folder: Path) -> list[Path]:
    """Frames in the order of their numbers: img2 before img10."""
    paths = [path for path in folder.iterdir() if path.suffix.lower() in IMAGES]
    return sorted(paths, key=lambda path: [int(x) if x.isdigit() else x for x in re.split(r"(\d+)", path.name)])
