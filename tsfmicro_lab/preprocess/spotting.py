"""Spotting: when a face that was watched moved for a moment, and the clips that show it."""

import cv2
import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks
from scipy.stats import norm

from tsfmicro_lab.clips import Clip, Frame, Points
from tsfmicro_lab.preprocess.alignment import estimate_alignment, transform_points
from tsfmicro_lab.preprocess.keyframes import comparable
from tsfmicro_lab.preprocess.watching import LOOK, REACH, SIZE, Shot, Stream, Watched, align_frame, change

#: What lies within this time of a spotted apex belongs to its clip, seconds.
AROUND = 0.4


def spot(watched: Watched, strictness: float = 6.0, most: int = 8) -> pd.DataFrame:
    """Finds the moments at which the face changed quickly.

    A moment is a peak of the curve above :func:`threshold`, at least half a second from a higher one.

    Args:
        watched: From :func:`watch`.
        strictness: Less finds more, and more that is nothing.
        most: At most so many, the strongest.

    Returns:
        One row per moment in the order of time: apex (frame), time (seconds), strength (in thresholds: 1 is just
        spotted), and head, how far the head moved around it (pixels at 224 px).

    Example:
        >>> t = np.arange(400) / 200
        >>> curve = 1 + 5 * np.exp(-(((t - 1.0) / 0.05) ** 2)) + 0.1 * np.sin(40 * t)
        >>> looks = pd.DataFrame({"frame": range(0, 400, 20), "faces": 1, "x": 0.0, "y": 0.0})
        >>> spot(Watched(t, curve, [], looks)).apex.tolist()
        [200]
    """
    known = watched.curve[np.isfinite(watched.curve)]
    columns = ["apex", "time", "strength", "head"]
    if not len(known):
        return pd.DataFrame(columns=columns)
    limit = threshold(watched, strictness)
    apart = max(int(0.5 / max(float(np.median(np.diff(watched.times))), 1e-3)), 1)
    peaks, _ = find_peaks(np.nan_to_num(watched.curve), height=limit, distance=apart)
    strongest = sorted(sorted(peaks, key=lambda peak: -watched.curve[peak])[:most])
    rows = [[p, watched.times[p], watched.curve[p] / limit, _head_motion(watched, int(p))] for p in strongest]
    return pd.DataFrame(rows, columns=columns).astype({"apex": int})


def threshold(watched: Watched, strictness: float = 6.0) -> float:
    """Height above which a peak of the curve counts, grey levels.

    Rest is told from movement by the curve alone: its 10th and 30th percentile are taken for those of a normal
    distribution of rest, whose mean and spread follow. So a short clip that is half movement can be spotted in, too.

    Args:
        watched: From :func:`watch`.
        strictness: Spreads above the mean of rest.

    Example:
        >>> looks = pd.DataFrame({"frame": [0], "faces": 1, "x": 0.0, "y": 0.0})
        >>> threshold(Watched(np.arange(4.0), np.array([1.0, 1.0, 1.0, np.nan]), [], looks))
        1.0
    """
    known = watched.curve[np.isfinite(watched.curve)]
    low, high = (float(np.percentile(known, share)) for share in (10, 30))
    z_low, z_high = (float(norm.ppf(share)) for share in (0.10, 0.30))
    return float(high + (strictness - z_high) * (high - low) / (z_high - z_low))


def cut(frames: Stream, watched: Watched, spots: pd.DataFrame, size: int = 224, subject: str = "video") -> list[Clip]:
    """Goes through the video a second time and cuts an aligned clip around each spotted moment.

    Onset and offset are where the distance from the apex, going back and on, first comes to 90 % of its largest value.

    Args:
        frames: The same video again.
        watched: What :func:`watch` made of it.
        spots: From :func:`spot`.
        size: Side of the aligned frames, pixels.
        subject: Whose name the clips bear.

    Returns:
        A clip for each row of `spots`, with landmarks; it holds its frames, 0.8 s at most.

    Example:
        >>> nothing = pd.DataFrame(columns=["apex", "time", "strength", "head"])
        >>> looks = pd.DataFrame({"frame": [0], "faces": 0, "x": 0.0, "y": 0.0})
        >>> cut([], Watched(np.zeros(1), np.zeros(1), [], looks), nothing)
        []
    """
    spans = [_span(watched, int(apex)) for apex in spots.apex]
    matrices = [estimate_alignment(shot.landmarks, size) for shot, _, _ in spans]
    kept: list[list[Frame]] = [[] for _ in spans]
    for i, (_, read) in enumerate(frames):
        wanted = [k for k, (_, first, last) in enumerate(spans) if first <= i < last]
        if wanted:
            image = read()
            for k in wanted:
                kept[k].append(align_frame(image, matrices[k], size))
    return [
        _clip(
            f"spot{k + 1:02d}",
            subject,
            kept[k],
            apex - spans[k][1],
            watched,
            transform_points(spans[k][0].landmarks, m),
        )
        for k, (apex, m) in enumerate(zip(spots.apex.astype(int), matrices, strict=True))
    ]


def _head_motion(watched: Watched, apex: int) -> float:
    """How far the eyes went within a reach of the apex, pixels at 224 px, after a median over three looks."""
    near = np.abs(watched.times[watched.looks.frame] - watched.times[apex]) <= REACH + LOOK
    path = watched.looks.loc[near, ["x", "y"]].rolling(3, min_periods=1, center=True).median().dropna()
    return float(np.hypot(*np.ptp(path.to_numpy(), axis=0)) * 224 / SIZE) if len(path) else float("nan")


def _span(watched: Watched, apex: int) -> tuple[Shot, int, int]:
    """The shot of an apex, and the frames around it that belong to its clip."""
    shot = next(shot for shot in watched.shots if shot.start <= apex < shot.end)
    first, last = np.searchsorted(watched.times, watched.times[apex] + np.array([-AROUND, AROUND]))
    return shot, max(int(first), shot.start), min(int(last), shot.end)


def _clip(name: str, subject: str, kept: list[Frame], apex: int, watched: Watched, landmarks: Points) -> Clip:
    greys = [comparable(cv2.resize(frame, (SIZE, SIZE), interpolation=cv2.INTER_AREA)) for frame in kept]
    far = np.array([change(grey, greys[apex]) for grey in greys])
    onset = apex - _first_far(far[apex::-1])
    offset = apex + _first_far(far[apex:])
    fps = 1 / max(float(np.median(np.diff(watched.times))), 1e-4)
    return Clip(name, subject, kept, onset, apex, offset, fps, landmarks=landmarks)


def _first_far(distance: np.ndarray) -> int:
    """Steps until a distance that begins at zero first comes near its largest value."""
    if len(distance) < 3:
        return len(distance) - 1
    smooth = gaussian_filter1d(distance[1:], 1.5)
    floor, top = smooth[0], smooth.max()
    return 1 + int(np.argmax(smooth >= floor + 0.9 * (top - floor)))
