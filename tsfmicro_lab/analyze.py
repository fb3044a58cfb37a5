"""Your own video: landmarks, alignment, spotted moments, a model's prediction and its where-how maps, on one page."""

from dataclasses import dataclass, field
from functools import partial
from importlib.resources import files
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from tsfmicro_lab.clips import Clip
from tsfmicro_lab.data.video import Video, VideoError
from tsfmicro_lab.explain.attribution import WhereHow, where_how
from tsfmicro_lab.models import STREAMS, Recognizer, from_pretrained
from tsfmicro_lab.preprocess.landmarks import POINT_INDEX, MediaPipeLandmarker
from tsfmicro_lab.preprocess.spotting import HALF_WINDOW, LONG, FaceFinder, MotionTrace, cut, spot, trace_motion


@dataclass(frozen=True)
class Analysis:
    """What was found in a video.

    Attributes:
        trace: The curve and what it rests on.
        clips: An aligned clip for each spotted moment.
        table: One row per moment: onset, apex and offset (seconds), duration (ms), strength, head (pixels), and with a
            model what it says (`predicted`), which is "cannot tell" where it is not sure enough, the likeliest class
            and the probability of that.
        classes: Names of the model's classes.
        maps: With a model that reads both streams, the where-how maps.
        notes: What a reader should know about the recording, in sentences.
        certain: The probability from which on the model says anything.
    """

    video: Video
    trace: MotionTrace = field(repr=False)
    strictness: float
    clips: list[Clip]
    table: pd.DataFrame = field(repr=False)
    maps: list[WhereHow] = field(repr=False)
    classes: tuple[str, ...]
    notes: list[str]
    certain: float = 0.0


def analyze(
    path: Path | str,
    model: Recognizer | str | None = "emotions",
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
        model: A trained model, or the name of one that ships; None for none.
        classes: Names of its classes; those that it was saved with by default.
        fps: True frames per second, where the file does not tell (see :class:`~tsfmicro_lab.data.video.Video`).
        strictness: Less finds more, and more that is nothing.
        most: At most so many moments, the strongest.
        find_faces: Finds landmarks; MediaPipe, up to four faces, by default.
        progress: Whether to show progress bars.

    Raises:
        VideoError: The video cannot be read, or no face is in it.
        ValueError: The classes are not those of the model.

    Example:
        >>> found = analyze("film.mp4", fps=200)  # doctest: +SKIP
        >>> found.table[["onset", "apex", "offset"]]  # doctest: +SKIP
    """
    model = from_pretrained(model) if isinstance(model, str) else model
    if model is not None:
        count = model.config.num_classes
        classes = classes or tuple(model.config.classes) or tuple(f"class {i}" for i in range(count))
        if len(classes) != count:
            raise ValueError(f"the model has {count} classes, {len(classes)} are named: name all")
    video = Video(path, fps)
    reading = partial(tqdm, video, total=video.claimed or None, disable=not progress)
    finder = find_faces or MediaPipeLandmarker(faces=4).find_all
    trace = trace_motion(iter(reading(desc="looking for movements")), finder)
    if not trace.searches.faces.any():
        raise VideoError(f"{path}: no face in any of {len(trace.searches)} frames: show it whole, upright, lit")
    spots = spot(trace, strictness, most)
    clips = cut(iter(reading(desc="cutting out what was found")), trace, spots, subject=video.path.stem)
    table, maps = _moments(trace, spots, clips), []
    if model is not None and clips:
        p = model.probabilities(logits := torch.cat([model.logits(clip) for clip in clips]))
        table["predicted"], table["likeliest"] = model.tell(logits, classes), [classes[i] for i in p.argmax(1)]
        table["probability"] = p.amax(1).tolist()
        if STREAMS.keys() <= {*model.input_names}:
            maps = [where_how(model, model.inputs_of(clip)) for clip in clips]
    certain, notes = model.config.certain if model else 0.0, _notes(video, trace, table, spots)
    return Analysis(video, trace, strictness, clips, table, maps, classes, notes, certain)


def unknown_spans(trace: MotionTrace) -> list[tuple[float, float]]:
    """Times at which nothing could be spotted, since no face or no still head was seen, seconds.

    Short ones are left out, since each segment loses half a window at both ends.

    Example:
        >>> curve = np.ones(100)
        >>> curve[50:] = np.nan
        >>> unknown_spans(MotionTrace(np.arange(100) / 50, curve, [], pd.DataFrame()))
        [(1.0, 1.98)]
    """
    gone = [trace.times[span] for span in np.ma.clump_masked(np.ma.masked_invalid(trace.curve))]
    spans = [(float(times[0]), float(times[-1])) for times in gone]
    return [(a, b) for a, b in spans if b - a > 2 * HALF_WINDOW + 0.1]


def _moments(trace: MotionTrace, spots: pd.DataFrame, clips: list[Clip]) -> pd.DataFrame:
    keys = np.array([[*clip.key_frames, clip.offset] for clip in clips], int).reshape(-1, 3)
    keys += spots.apex.to_numpy(int)[:, None] - keys[:, 1:2]
    table = pd.DataFrame(trace.times[keys], columns=["onset", "apex", "offset"])
    table.insert(0, "moment", [clip.name for clip in clips])
    return table.assign(duration=1e3 * (table.offset - table.onset), strength=spots.strength, head=spots["head"])


def _notes(video: Video, trace: MotionTrace, table: pd.DataFrame, spots: pd.DataFrame) -> list[str]:
    """On the frame rate, on the faces, and on the moments: the sentences are those of a template, a line each."""
    steps = np.diff(trace.times) if len(trace.times) > 1 else np.ones(1)
    eyes = [POINT_INDEX[f"{side}_eye_outer"] for side in ("right", "left")]
    wide = np.hypot(*np.diff(trace.segments[0].landmarks[eyes], axis=0)[0]) if trace.segments else np.inf
    facts = {"steps": steps, "usual": np.median(steps), "faces": trace.searches.faces, "spans": unknown_spans(trace)}
    facts |= {"read": len(trace.times), "claimed": video.claimed, "wide": wide, "gone": np.isnan(trace.curve).mean()}
    facts["lost"] = trace.times[trace.searches.frame[trace.searches.faces == 0]]
    facts |= {"moved": table.moment[table["head"] > 1], "long": table.moment[table.duration > 1e3 * LONG]}
    facts["rim"] = table.moment[spots.rim.to_numpy(bool)]
    text = files("tsfmicro_lab").joinpath("templates/notes.jinja").read_text("utf-8")
    return [line for line in jinja2.Template(text).render(facts).splitlines() if line.strip()]
