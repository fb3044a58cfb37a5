"""Your own video: landmarks, alignment, spotted moments, a model's prediction and its where-how maps, on one page."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from tsfmicro_lab.clips import Clip
from tsfmicro_lab.data.video import Video, VideoError
from tsfmicro_lab.explain.attribution import WhereHow, where_how
from tsfmicro_lab.models.base import Recognizer
from tsfmicro_lab.preprocess.landmarks import POINT_INDEX, MediaPipeLandmarker
from tsfmicro_lab.preprocess.spotting import (
    HALF_WINDOW,
    FaceFinder,
    MotionTrace,
    Stream,
    cut,
    spot,
    trace_motion,
)
from tsfmicro_lab.progress import progress_bar


@dataclass(frozen=True)
class Analysis:
    """What was found in a video.

    Attributes:
        video: The video.
        trace: The curve and what it rests on.
        strictness: Of the spotting.
        clips: An aligned clip for each spotted moment.
        table: One row per moment: onset, apex and offset (seconds), duration (ms), strength, head (pixels), and with a
            model the predicted class and its probability.
        maps: With a model that reads both streams, the where-how maps.
        classes: Names of the model's classes.
        notes: What a reader should know about the recording, in sentences.
    """

    video: Video
    trace: MotionTrace = field(repr=False)
    strictness: float
    clips: list[Clip]
    table: pd.DataFrame = field(repr=False)
    maps: list[WhereHow] = field(repr=False)
    classes: tuple[str, ...]
    notes: list[str]


def analyze(
    path: Path | str,
    model: Recognizer | None = None,
    classes: tuple[str, ...] = (),
    *,
    fps: float | None = None,
    strictness: float = 6.0,
    most: int = 8,
    find_faces: FaceFinder | None = None,
    progress: bool = True,
) -> Analysis:
    """Finds the moments at which a face in a video moves quickly, and says what a model makes of them.

    The video is read twice, frame by frame: once for the curve, once for the frames around what was spotted.

    Args:
        path: A video file, or a folder of frames.
        model: A trained model, if there is one.
        classes: Names of its classes; those that it was saved with by default.
        fps: True frames per second, where the file does not tell (see :class:`~tsfmicro_lab.data.video.Video`).
        strictness: Less finds more, and more that is nothing.
        most: At most so many moments, the strongest.
        find_faces: Finds landmarks; MediaPipe, up to four faces, by default.
        progress: Whether to show progress bars.

    Returns:
        What was found.

    Raises:
        VideoError: The video cannot be read, or no face is in it.
        ValueError: The classes are not those of the model.

    Example:
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions
        >>> from tsfmicro_lab.data.film import LongTake
        >>> from tsfmicro_lab.data.video import write_video
        >>> import tempfile
        >>> take = LongTake([SyntheticMicroExpressions(1, 2, image_size=96).moving_face(1)], rest=0.4)
        >>> path = write_video(take.frames, Path(tempfile.mkdtemp()) / "take.mkv", 200)
        >>> found = analyze(path, find_faces=lambda image: [take.face.landmarks], progress=False)
        >>> bool(abs(found.table.apex[0] - take.table.apex[0] / 200) < 0.02)
        True
    """
    if model is not None:
        classes = classes or tuple(model.config.classes) or tuple(f"class {i}" for i in range(model.config.num_classes))
        if len(classes) != model.config.num_classes:
            raise ValueError(f"the model has {model.config.num_classes} classes, {len(classes)} are named: name all")
    video = Video(path, fps)
    trace = trace_motion(
        _shown(video, "looking for movements", progress), find_faces or MediaPipeLandmarker(faces=4).find_all
    )
    if not trace.searches.faces.any():
        searched = len(trace.searches)
        raise VideoError(
            f"{path}: no face in any of the {searched} frames that were searched: show it whole, upright, lit"
        )
    spots = spot(trace, strictness, most)
    clips = cut(_shown(video, "cutting out what was found", progress), trace, spots, subject=video.path.stem)
    table = _moments(trace, spots, clips)
    maps: list[WhereHow] = []
    if model is not None and clips:
        rows = []
        for clip in clips:
            p = model.logits(clip)[0].softmax(0)
            rows.append({"predicted": classes[int(p.argmax())], "probability": float(p.max())})
            if {"onset", "difference"} <= set(model.input_names):
                maps.append(where_how(model, model.inputs_of(clip)))
        table = table.join(pd.DataFrame(rows))
    return Analysis(video, trace, strictness, clips, table, maps, tuple(classes), list(_notes(video, trace, table)))


def unknown_spans(trace: MotionTrace, shortest: float = 2 * HALF_WINDOW + 0.1) -> list[tuple[float, float]]:
    """Times at which nothing could be spotted, since no face or no still head was seen, seconds.

    Args:
        trace: From `preprocess.spotting.trace_motion`.
        shortest: Shorter ones are not told: each segment loses half a window at both ends.

    Example:
        >>> curve = np.ones(100)
        >>> curve[50:] = np.nan
        >>> unknown_spans(MotionTrace(np.arange(100) / 50, curve, [], pd.DataFrame()))
        [(1.0, 1.98)]
    """
    gone = np.concatenate([[0], ~np.isfinite(trace.curve), [0]])
    edges = np.flatnonzero(np.diff(gone)).reshape(-1, 2)
    spans = [(float(trace.times[a]), float(trace.times[b - 1])) for a, b in edges]
    return [(a, b) for a, b in spans if b - a > shortest]


def _shown(video: Video, title: str, progress: bool) -> Stream:
    with progress_bar(video.claimed, title, progress) as bar:
        for item in video:
            yield item
            bar.update()


def _moments(trace: MotionTrace, spots: pd.DataFrame, clips: list[Clip]) -> pd.DataFrame:
    rows = []
    for i, clip in enumerate(clips):
        within = np.array([*clip.key_frames, clip.offset])
        onset, apex, offset = trace.times[within + int(spots.apex[i]) - within[1]]
        rows.append([clip.name, onset, apex, offset, 1e3 * (offset - onset), spots.strength[i], spots["head"][i]])
    return pd.DataFrame(rows, columns=["moment", "onset", "apex", "offset", "duration", "strength", "head"])


def _notes(video: Video, trace: MotionTrace, table: pd.DataFrame) -> Iterator[str]:
    yield from _of_time(video, trace.times)
    yield from _of_faces(trace)
    if (moved := table.moment[table["head"] > 1]).any():
        yield f"The head moved by more than a pixel during {', '.join(moved)}: the difference shows that, too."
    if (long := table.moment[table.duration > 500]).any():
        yield f"Longer than half a second, so no micro-expression by the usual definition: {', '.join(long)}."


def _of_time(video: Video, times: np.ndarray) -> Iterator[str]:
    steps = np.diff(times)
    usual = float(np.median(steps)) if len(steps) else 1.0
    if usual > 0.011:
        yield (
            f"{1 / usual:.0f} frames per second: a movement of a fifth of a second is in {0.2 / usual:.0f} frames. "
            "Recordings of the field have 100 to 200; short movements are lost here."
        )
    if len(steps) and steps.max() > 1.5 * usual:
        yield (
            f"The frame rate varies: {100 * (steps > 1.5 * usual).mean():.1f} % of the steps are longer than the usual "
            f"{1e3 * usual:.0f} ms, the longest {1e3 * steps.max():.0f} ms. Times are those of the frames."
        )
    if len(times) < 0.98 * video.claimed:
        yield f"Only {len(times)} of the {video.claimed} announced frames could be read: the file may be cut off."


def _of_faces(trace: MotionTrace) -> Iterator[str]:
    times, searches = trace.times, trace.searches
    if (several := searches.faces > 1).any():
        yield (
            f"{searches.faces.max()} faces: more than one is in {100 * several.mean():.0f} % of the searched frames. "
            "The one that was largest at first was followed."
        )
    if (lost := searches.faces == 0).any():
        first = times[searches.frame[lost].iloc[0]]
        yield f"No face in {100 * lost.mean():.0f} % of the searched frames, for the first time at {first:.1f} s."
    if spans := unknown_spans(trace):
        listed = ", ".join(f"{a:.1f} to {b:.1f} s" for a, b in spans[:5]) + (" and more" if len(spans) > 5 else "")
        share = 100 * float(np.isnan(trace.curve).mean())
        yield f"Nothing can be spotted in {share:.0f} % of the time ({listed}): the head moved, or no face was seen."
    for segment in trace.segments[:1]:
        right, left = (segment.landmarks[POINT_INDEX[f"{side}_eye_outer"]] for side in ("right", "left"))
        if (wide := float(np.hypot(*(left - right)))) < 50:
            yield f"The face is small, {wide:.0f} px from eye to eye: what moves it by less than a pixel is lost."
