"""Spotted moments against true ones, as the field counts them, and moments that can be played on a page."""

from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from IPython.display import HTML

from studies.film import write_video
from studies.portraits import silent
from tsfmicro_lab.clips import Clip

#: Begin and end of a moment, in frames or seconds.
Span = tuple[float, float]


def iou(a: Span, b: Span) -> float:
    """Intersection over union of two spans: the time that both cover, as a share of the time that either covers.

    Example:
        >>> iou((0, 10), (5, 15))
        0.3333333333333333
    """
    both = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    either = (a[1] - a[0]) + (b[1] - b[0]) - both
    return both / either if either > 0 else 0.0


def best_ious(true: Sequence[Span], found: Sequence[Span]) -> list[float]:
    """The largest intersection over union that each true moment has with a found one; 0 if nothing was found."""
    return [max((iou(t, f) for f in found), default=0.0) for t in true]


def count_spots(true: Sequence[Span], found: Sequence[Span], least: float = 0.5) -> tuple[int, int, int]:
    """Hits, misses and false alarms, as the grand challenges count them: a hit is a true moment with an IoU of `least`.

    A true moment counts once, a found one, too; true moments do not overlap.

    Example:
        >>> count_spots([(0, 10), (20, 30)], [(1, 10), (14, 22), (40, 50)])
        (1, 1, 2)
    """
    hits = int(np.sum(np.array(best_ious(true, found)) >= least))
    return hits, len(true) - hits, len(found) - hits


def playable(clips: Sequence[Clip], slower: float = 8.0) -> HTML:
    """Moments as small films that a page plays by itself, slowed down; each goes from its onset to its offset.

    Example:
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions
        >>> playable([SyntheticMicroExpressions(1, 1, image_size=64)[0]]).data.count("<video")
        1
    """
    parts = []
    for clip in clips:
        frames = (clip.frame(i) for i in range(clip.onset, clip.offset + 1))
        with TemporaryDirectory() as folder, silent():
            path = write_video(frames, Path(folder) / "moment.webm", clip.fps / slower, "VP80")
            data = b64encode(path.read_bytes()).decode()
        film = f'<video controls loop muted autoplay src="data:video/webm;base64,{data}" width="180"></video>'
        parts.append(
            f'<figure style="display:inline-block;margin:4px">{film}<figcaption>{clip.name}</figcaption></figure>'
        )
    return HTML("".join(parts) or "no moment stands out")
