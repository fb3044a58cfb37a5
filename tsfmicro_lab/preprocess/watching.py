"""Watching: how quickly a face changes, frame by frame, in a video of any length that is read once from begin to end.

The idea of comparing each frame with the mean of one before and one after it, block by block, is that of Moilanen, Zhao
and Pietikäinen, "Spotting rapid facial movements from videos using appearance-based feature difference analysis"
(ICPR 2014): a slow drift cancels, a quick movement there and back remains. They compare texture histograms; here it is
brightness after alignment, so that the curve needs no more than a reader of this course has met.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache

import cv2
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from tsfmicro_lab.clips import Frame, Points
from tsfmicro_lab.preprocess.alignment import ANCHORS, Matrix, apply_alignment, estimate_alignment, transform_points
from tsfmicro_lab.preprocess.keyframes import comparable
from tsfmicro_lab.preprocess.landmarks import POINT_INDEX

#: Time of a frame (seconds) and a function that reads it, one after another, as `data.video.Video` gives them.
Stream = Iterable[tuple[float, Callable[[], Frame]]]
#: Finds all faces of an image: the named points of each, pixels.
FaceFinder = Callable[[Frame], list[Points]]

#: Side of the aligned face that is watched, and of the blocks that it is compared by, pixels.
SIZE, BLOCK = 112, 8
#: Seconds between two searches for the face; the frames between them share one alignment.
LOOK = 0.1
#: A frame is compared with those this long before and after it: half a micro-expression, seconds.
REACH = 0.15
#: Share of the face's blocks that a frame is judged by: those that changed most. A one-sided movement fills few.
SHARE = 1 / 12
#: A head that moved by this share of the distance between the outer corners of its eyes is aligned anew.
STIR = 0.06


@dataclass(frozen=True)
class Shot:
    """Frames that share one alignment, since the head hardly moved between them.

    Attributes:
        start: Its first frame.
        end: The frame after its last.
        landmarks: On its first frame, pixels.
    """

    start: int
    end: int
    landmarks: Points = field(repr=False)


@dataclass(frozen=True)
class Watched:
    """What was seen of a video.

    Attributes:
        times: Time of each frame, seconds.
        curve: How far each frame is from the mean of those before and after it, grey levels; NaN where no face or no
            still head was seen for long enough.
        shots: Stretches with a face that holds about still.
        looks: One row per search: frame, faces found, and x, y of the followed face's eyes (aligned pixels).
    """

    times: Float[np.ndarray, " frames"] = field(repr=False)
    curve: Float[np.ndarray, " frames"] = field(repr=False)
    shots: list[Shot] = field(repr=False)
    looks: pd.DataFrame = field(repr=False)


def watch(frames: Stream, find_faces: FaceFinder) -> Watched:
    """Goes through a video once and measures how quickly the face changes; memory does not grow with its length.

    The largest face is followed. While the head holds still, all frames are aligned by the landmarks of one frame, as
    for a clip (see :func:`~tsfmicro_lab.preprocess.align_clip`); when it stirs, or the face is lost, a new shot begins.
    The eyes are left out, since blinks are quicker and stronger than what is looked for; with them goes what moves only
    the lids.

    Args:
        frames: The video.
        find_faces: Such as `MediaPipeLandmarker(faces=4).find_all`.

    Returns:
        The curve and what it rests on.

    Raises:
        ValueError: The video has no frame.

    Example:
        >>> still = np.full((64, 64, 3), 90, np.uint8)
        >>> nobody = watch([(i / 100, lambda: still) for i in range(30)], lambda image: [])
        >>> nobody.looks.faces.tolist(), bool(np.isnan(nobody.curve).all())
        ([0, 0, 0], True)
    """
    times: list[float] = []
    looks: list[dict[str, float]] = []
    watcher, last, next_look = _Watcher(), None, 0.0
    for i, (time, read) in enumerate(frames):
        image = read()
        times.append(time)
        watcher.take(i, time, image)
        if not looks or time >= next_look - 1e-6:
            next_look = time + LOOK
            faces = find_faces(image)
            points = _follow(faces, last)
            last = points if points is not None else last
            x, y = watcher.judge(i, time, image, points)
            looks.append({"frame": i, "faces": len(faces), "x": x, "y": y})
    if not times:
        raise ValueError("there is no frame to watch")
    watcher.judge(len(times), times[-1], None, last if watcher.shot else None)
    curve = np.full(len(times), np.nan, np.float32)
    curve[list(watcher.levels)] = list(watcher.levels.values())
    return Watched(np.array(times), curve, watcher.shots, pd.DataFrame(looks))


def align_frame(image: Frame, matrix: Matrix, size: int) -> Frame:
    """`apply_alignment` on the part of a frame that it needs: a face in a 4K frame costs no more than its own size.

    Args:
        image: The frame.
        matrix: From :func:`estimate_alignment`.
        size: Side of the output, pixels.

    Example:
        >>> image = np.random.default_rng(0).integers(0, 256, (400, 600, 3), np.uint8)
        >>> matrix = np.array([[0.5, 0.0, -100.0], [0.0, 0.5, -60.0]])
        >>> part, whole = align_frame(image, matrix, 64), apply_alignment(image, matrix, 64)
        >>> int(np.abs(part.astype(int) - whole).max())
        0
    """
    corners = np.array([[0, 0], [size, 0], [0, size], [size, size]]) - matrix[:, 2]
    places = corners @ np.linalg.inv(matrix[:, :2]).T
    margin = 4 / float(np.hypot(*matrix[:, 0])) + 4
    height, width = image.shape[:2]
    x0, y0 = (max(int(v), 0) for v in places.min(0) - margin)
    x1, y1 = (int(v) for v in np.minimum(places.max(0) + margin + 1, (width, height)))
    if x1 - x0 < 2 or y1 - y0 < 2:  # a face that has left the picture
        return apply_alignment(image, matrix, size)
    return apply_alignment(image[y0:y1, x0:x1], matrix + matrix[:, :2] @ np.array([[0, 0, x0], [0, 0, y0]]), size)


class _Watcher:
    """The shot under way, and the few frames that the curve still needs."""

    def __init__(self) -> None:
        self.shot: Shot | None = None
        self.matrix, self.home = np.eye(2, 3), np.zeros((len(POINT_INDEX), 2), np.float32)
        self.shots: list[Shot] = []
        self.levels: dict[int, float] = {}
        self.unjudged: list[tuple[int, float, np.ndarray]] = []
        self.window: deque[tuple[int, float, np.ndarray]] = deque()
        self.centre = 0

    def take(self, index: int, time: float, image: Frame) -> None:
        """Aligns a frame; whether the face was still there is told by the next look."""
        if self.shot:
            self.unjudged.append((index, time, comparable(align_frame(image, self.matrix, SIZE))))

    def judge(self, index: int, time: float, image: Frame | None, points: Points | None) -> tuple[float, float]:
        """Keeps the frames since the last look if the head is where it was, else begins a new shot."""
        shift = np.full(2, np.nan)
        if self.shot and points is not None:
            shift = (transform_points(points, self.matrix) - self.home)[_anchors()].mean(0)
            if np.hypot(*shift) <= STIR * SIZE * (ANCHORS["left_eye_outer"][0] - ANCHORS["right_eye_outer"][0]):
                for seen in self.unjudged:
                    self._push(seen)
                self.unjudged = []
                if image is not None:
                    return float(shift[0]), float(shift[1])
        if self.shot:
            self.shots.append(
                Shot(self.shot.start, self.window[-1][0] + 1 if self.window else index, self.shot.landmarks)
            )
        self.shot, self.unjudged, self.centre = None, [], 0
        self.window.clear()
        if image is not None and points is not None:
            self.shot = Shot(index, index, points)
            self.matrix = estimate_alignment(points, SIZE)
            self.home = transform_points(points, self.matrix)
            self.take(index, time, image)
            return 0.0, 0.0
        return float("nan"), float("nan")

    def _push(self, seen: tuple[int, float, np.ndarray]) -> None:
        """Adds a frame and finishes those that lie a reach before it."""
        self.window.append(seen)
        while self.centre < len(self.window) and self.window[self.centre][1] + REACH <= seen[1] + 1e-6:
            index, time, grey = self.window[self.centre]
            while len(self.window) > 1 and self.window[1][1] <= time - REACH + 1e-6:
                self.window.popleft()
                self.centre -= 1
            if self.window[0][1] <= time - REACH + 1e-6:
                self.levels[index] = change(grey, (self.window[0][2] + seen[2]) / 2)
            self.centre += 1


def change(a: Float[np.ndarray, "_ _"], b: Float[np.ndarray, "_ _"]) -> float:
    """Mean absolute difference of the face's blocks that changed most, less what head and light explain.

    Args:
        a: Aligned grey frame of `SIZE` pixels, as `keyframes.comparable` gives it.
        b: What it is compared with.

    Example:
        >>> grey = np.random.default_rng(0).random((SIZE, SIZE), np.float32)
        >>> change(grey, grey)
        0.0
    """
    blocks = cv2.resize(np.abs(_without_sway(a, b)), (SIZE // BLOCK,) * 2, interpolation=cv2.INTER_AREA)[_face_blocks()]
    top = round(SHARE * len(blocks))
    return float(np.partition(blocks, -top)[-top:].mean())


def _without_sway(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Difference a - b, less the least-squares share of a shift, turn, zoom and change of light of the whole face."""
    dy, dx = np.gradient(b)
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j].astype(np.float32)
    basis = np.stack([dx, dy, x * dy - y * dx, x * dx + y * dy, b, np.ones_like(b)])
    inside = _face_pixels()
    seen = basis[:, inside]
    share = np.linalg.solve(seen @ seen.T + 1e-3 * np.eye(len(seen)), seen @ (a - b)[inside])
    return np.asarray(a - b - np.tensordot(share, basis, 1), np.float32)


@cache
def _face_pixels() -> Bool[np.ndarray, "_ _"]:
    return np.kron(_face_blocks(), np.ones((BLOCK, BLOCK), bool))


@cache
def _face_blocks() -> Bool[np.ndarray, "rows columns"]:
    """Blocks of the aligned face that are watched: the oval of the face without the eyes."""
    places = (np.arange(SIZE // BLOCK) + 0.5) * BLOCK / SIZE
    x, y = np.meshgrid(places, places)
    oval = ((x - 0.5) / 0.40) ** 2 + ((y - 0.57) / 0.45) ** 2 <= 1
    eyes = (np.abs(np.abs(x - 0.5) - 0.165) < 0.125) & (np.abs(y - 0.36) < 0.08)
    return np.asarray(oval & ~eyes)


def _anchors() -> list[int]:
    return [POINT_INDEX[name] for name in ANCHORS]


def _follow(faces: list[Points], last: Points | None) -> Points | None:
    """The face nearest to where the followed one was, or the largest, where it is new or gone."""
    if not faces:
        return None
    if last is not None:
        nearest = min(faces, key=lambda face: float(np.abs(face - last).mean()))
        if np.abs(nearest - last).mean() < np.ptp(last, axis=0).max() / 2:
            return nearest
    return max(faces, key=lambda face: float(np.prod(np.ptp(face, axis=0))))
