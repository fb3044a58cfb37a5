"""Spotting: how quickly a face changes, frame by frame, in a video of any length, and the clips of its quick movements.

Each frame is compared with one before and one after it, block by block (Moilanen, Zhao, Pietikäinen, "Spotting rapid
facial movements from videos using appearance-based feature difference analysis", ICPR 2014; they compare texture
histograms with the mean of both, here it is brightness). What differs from both in the same direction went and came
back: a slow drift, and a step that stays, leave nothing.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
import pandas as pd
from jaxtyping import Float

from tsfmicro_lab.clips import Clip, Frame, Points
from tsfmicro_lab.preprocess.alignment import ANCHORS, apply_alignment, estimate_alignment, transform_points
from tsfmicro_lab.preprocess.keyframes import SIZE, distances, normalized_grey, pulse
from tsfmicro_lab.preprocess.landmarks import POINT_INDEX, extent

#: Time of a frame (seconds) and a function that reads it, one after another, as `data.video.Video` gives them.
Stream = Iterable[tuple[float, Callable[[], Frame]]]
#: Finds all faces of an image: the named points of each, pixels.
FaceFinder = Callable[[Frame], list[Points]]

#: Seconds between two searches for the face; the frames between them share one alignment.
SEARCH_INTERVAL = 0.1
#: A frame is compared with those this long before and after it: half a micro-expression, seconds.
HALF_WINDOW = 0.15
#: A head that moved by so many aligned pixels, 6 % of the distance between the eyes' outer corners, is aligned anew.
HEAD_SHIFT = 0.06 * SIZE * (ANCHORS["left_eye_outer"][0] - ANCHORS["right_eye_outer"][0])
#: What lies within this time of a spotted apex belongs to its clip, and holds no other apex; so long it rises or falls.
AROUND, RISE = 0.4, 0.25
#: The motion trace is a moving mean over this time; a peak that lasts less than the next at half its height is none; a
#: span that lasts longer than the last is no micro-expression by the usual definition, seconds.
SMOOTH, LASTING, LONG = 0.05, 0.08, 0.475


class Segment:
    """Frames that share one alignment, since the head hardly moved between them.

    Attributes:
        start: Its first frame.
        end: The frame after the last one in which the head was seen in its place.
        box: The part of the picture that is aligned, so that a face in a 4K frame costs no more than its own size.
        landmarks: On its first frame, pixels of the box.
        shift: How far the eyes were from their place when they were last seen, (x, y), aligned pixels.
        levels: The motion trace by frame.
    """

    def __init__(self, start: int, landmarks: Points) -> None:
        margin = np.ptp(landmarks, axis=0).max()
        low, high = (landmarks.min(0) - margin).clip(0).astype(int), (landmarks.max(0) + margin).astype(int)
        self.start, self.end, self.box = start, start + 1, np.s_[low[1] : high[1], low[0] : high[0]]
        self.landmarks, self.shift = landmarks - low, np.zeros(2)
        self.levels: dict[int, float] = {}
        self._corner, self._matrix = low, estimate_alignment(self.landmarks, SIZE)
        self._frames: list[tuple[int, float, np.ndarray]] = []  # which the curve still needs

    def add(self, index: int, time: float, image: Frame) -> None:
        """Aligns a frame; whether the face was still there is told by the next search."""
        face = apply_alignment(image[self.box], self._matrix, SIZE)
        self._frames.append((index, time, normalized_grey(face)))

    def confirm(self, landmarks: Points | None) -> bool:
        """Whether the head is in its place still; if so, the frames since the last search count."""
        if landmarks is not None:
            moved = (landmarks - self._corner - self.landmarks)[[POINT_INDEX[name] for name in ANCHORS]]
            self.shift = self._matrix[:, :2] @ moved.mean(0)
        if landmarks is None or np.hypot(*self.shift) > HEAD_SHIFT:
            self._frames = []
            return False
        index, times, greys = zip(*self._frames, strict=True)
        before = np.searchsorted(times, np.array(times) - HALF_WINDOW + 1e-6, "right") - 1
        after = np.searchsorted(times, np.array(times) + HALF_WINDOW - 1e-6)
        known = int(np.searchsorted(after, len(times)))
        for i in range(known):
            if before[i] >= 0 and index[i] not in self.levels:
                self.levels[index[i]] = pulse(greys[i], greys[before[i]], greys[after[i]])
        self.end, self._frames = index[-1] + 1, self._frames[max(before[known], 0) :]
        return True


@dataclass(frozen=True)
class MotionTrace:
    """How quickly the face of a video changes.

    Attributes:
        times: Of each frame, seconds.
        curve: :func:`~tsfmicro_lab.preprocess.keyframes.pulse` of each frame between one before and one after it, grey
            levels; NaN where no face or no still head was seen for long enough.
        segments: Stretches with a face that holds about still.
        searches: One row per search for the face: frame, faces found, and x, y of the followed face's eyes (aligned
            pixels).
    """

    times: Float[np.ndarray, " frames"] = field(repr=False)
    curve: Float[np.ndarray, " frames"] = field(repr=False)
    segments: list[Segment] = field(repr=False)
    searches: pd.DataFrame = field(repr=False)


def trace_motion(frames: Stream, find_faces: FaceFinder) -> MotionTrace:
    """Goes through a video once and measures how quickly the face changes; few frames are held at a time.

    The largest face is followed. While the head holds still, all frames are aligned by the landmarks of one frame, as
    for a clip (see :func:`~tsfmicro_lab.preprocess.align_clip`); when it moves, or the face is lost, a new segment
    begins. The eyes are left out, since blinks are as quick as what is looked for, and stronger; with them goes what
    moves only the lids.
    """
    times: list[float] = []
    searches: list[tuple[float, ...]] = []
    segments: list[Segment] = []
    current, followed, next_search = None, None, -np.inf
    for i, (time, read) in enumerate(frames):
        image = read()
        times.append(time)
        if current:
            current.add(i, time, image)
        if time < next_search - 1e-6:
            continue
        next_search = time + SEARCH_INTERVAL
        faces = find_faces(image)
        points = _follow(faces, followed)
        if current and not current.confirm(points):
            current = None
        followed = followed if points is None else points
        if points is not None and not current:
            segments.append(current := Segment(i, points))
            current.add(i, time, image)
        searches.append((i, len(faces), *(current.shift if current else (np.nan, np.nan))))
    if not times:
        raise ValueError("the video has no frame")
    if current:
        current.confirm(followed)
    raw = pd.Series({i: level for s in segments for i, level in s.levels.items()}, range(len(times)), np.float32)
    smooth = raw.rolling(2 * round(SMOOTH / 2 / _step(times)) + 1, center=True, min_periods=1).mean()
    curve = smooth.where(raw.notna()).to_numpy()
    return MotionTrace(np.array(times), curve, segments, pd.DataFrame(searches, columns=["frame", "faces", "x", "y"]))


def spot(trace: MotionTrace, strictness: float = 6.0, most: int = 8) -> pd.DataFrame:
    """Finds the moments at which the face changed quickly: peaks of the motion trace above :func:`threshold`.

    Of several within 0.4 s the highest counts; of all, the `most` highest.

    Returns:
        One row per moment in the order of time: apex (frame), time (seconds), strength (in thresholds: 1 is just
        spotted), head, how far the head moved around it (pixels at 224 px), and rim: whether the trace begins or ends
        so near that the peak may be cut off.

    Example:
        >>> t = np.arange(400) / 200
        >>> curve = 1 + 5 * np.exp(-(((t - 1.0) / 0.1) ** 2)) + 0.1 * np.sin(40 * t)
        >>> searches = pd.DataFrame({"frame": range(0, 400, 20), "faces": 1, "x": 0.0, "y": 0.0})
        >>> spot(MotionTrace(t, curve, [], searches))[["apex", "rim"]].values.tolist()
        [[200, False]]
    """
    from scipy.signal import find_peaks

    limit, step = threshold(trace, strictness), _step(trace.times)
    peaks, _ = find_peaks(np.nan_to_num(trace.curve), limit, distance=max(AROUND // step, 1), width=LASTING / step)
    table = pd.DataFrame({"apex": peaks, "time": trace.times[peaks], "strength": trace.curve[peaks] / limit})
    table = table.nlargest(most, "strength").sort_index(ignore_index=True)
    unknown = np.pad(np.isnan(trace.curve), near := round(HALF_WINDOW / step), constant_values=True)
    table["rim"] = [bool(unknown[apex : apex + 2 * near + 1].any()) for apex in table.apex]
    return table.assign(head=[_head_motion(trace, apex) for apex in table.apex])


def threshold(trace: MotionTrace, strictness: float = 6.0) -> float:
    """Height above which a peak of the curve counts, grey levels: so many standard deviations above the mean of rest.

    Rest is told from movement by the curve alone: its 10th and 30th percentile are taken for those of a normal
    distribution of rest, whose mean and standard deviation follow. So a short clip that is half movement can be spotted
    in, too.
    """
    low, high = pd.Series(trace.curve).quantile([0.10, 0.30])
    z_low, z_high = map(NormalDist().inv_cdf, (0.10, 0.30))
    return float(high + (strictness - z_high) * (high - low) / (z_high - z_low))


def cut(frames: Stream, trace: MotionTrace, spots: pd.DataFrame, size: int = 224, subject: str = "video") -> list[Clip]:
    """Goes through the video a second time and cuts an aligned clip around each spotted moment.

    Onset and offset are where the distance from the apex, going back and on, first comes to 90 % of its largest value
    within 0.25 s. So none lasts longer than half a second, whatever the face did then.

    Returns:
        A clip for each row of `spots`, with landmarks; it holds its frames, 0.8 s at most.
    """
    spans = [_span(trace, int(apex)) for apex in spots.apex]
    matrices = [estimate_alignment(segment.landmarks, size) for segment, _, _ in spans]
    kept: list[list[Frame]] = [[] for _ in spans]
    for i, (_, read) in enumerate(frames):
        for k, (segment, first, last) in enumerate(spans):
            if first <= i < last:
                kept[k].append(apply_alignment(read()[segment.box], matrices[k], size))
    clips = []
    for k, (segment, first, _) in enumerate(spans):
        key_frames = _key_frames(kept[k], int(spots.apex.iloc[k]) - first, round(RISE / _step(trace.times)))
        points = transform_points(segment.landmarks, matrices[k])
        clips.append(Clip(f"spot{k + 1:02d}", subject, kept[k], *key_frames, 1 / _step(trace.times), landmarks=points))
    return clips


def _step(times: Sequence[float] | np.ndarray) -> float:
    """Usual time between two frames, seconds."""
    return max(float(np.median(np.diff(times))), 1e-3) if len(times) > 1 else 1.0


def _follow(faces: list[Points], last: Points | None) -> Points | None:
    """The face nearest to where the followed one was; the largest, to begin with and where the followed one is gone."""
    if last is not None and faces:
        nearest = min(faces, key=lambda face: float(np.abs(face - last).mean()))
        if np.abs(nearest - last).mean() < np.ptp(last, axis=0).max() / 2:
            return nearest
    return max(faces, key=extent, default=None)


def _head_motion(trace: MotionTrace, apex: int) -> float:
    """How far the eyes went around the apex, pixels at 224 px, after a median over three searches."""
    near = np.abs(trace.times[trace.searches.frame] - trace.times[apex]) <= HALF_WINDOW + SEARCH_INTERVAL
    path = trace.searches.loc[near, ["x", "y"]].rolling(3, min_periods=1, center=True).median().dropna()
    return float(np.hypot(*np.ptp(path.to_numpy(), axis=0)) * 224 / SIZE) if len(path) else float("nan")


def _span(trace: MotionTrace, apex: int) -> tuple[Segment, int, int]:
    """The segment of an apex, and the frames around it that belong to its clip."""
    segment = next(segment for segment in trace.segments if segment.start <= apex < segment.end)
    first, last = np.searchsorted(trace.times, trace.times[apex] + np.array([-AROUND, AROUND]))
    return segment, max(int(first), segment.start), min(int(last), segment.end)


def _key_frames(frames: list[Frame], apex: int, reach: int) -> tuple[int, int, int]:
    """Onset, apex and offset of a clip whose apex is known."""
    distance = distances(frames, apex)
    return apex - _rise_time(distance[apex::-1], reach), apex, apex + _rise_time(distance[apex:], reach)


def _rise_time(distance: np.ndarray, reach: int) -> int:
    """Steps until a distance that begins at zero first comes to 90 % of its largest value within reach."""
    from scipy.ndimage import gaussian_filter1d

    if len(distance) < 3:
        return len(distance) - 1
    smooth = gaussian_filter1d(distance[1 : reach + 1], 1.5)
    return 1 + int(np.argmax(smooth >= smooth[0] + 0.9 * (smooth.max() - smooth[0])))
