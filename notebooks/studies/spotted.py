"""Spotted moments against true ones, as the field counts them, and moments that can be played on a page."""

from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from IPython.display import HTML

from studies.portraits import silent
from tsfmicro_lab.clips import Clip
from tsfmicro_lab.data.video import write_video
from tsfmicro_lab.training.metrics import confusion, uf1_of_counts

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


def spotting_scores(
    films: Sequence[tuple[Sequence[Span], Sequence[Span]]], labels: Sequence[tuple[Sequence[str], Sequence[str]]] = ()
) -> dict[str, float]:
    """Spotting as the challenges score it: F1 of hits over all films together; with labels, spot-then-recognise.

    Counts are pooled over films before anything is divided. Hits that are named right are scored by a UF1 of their own
    (`recognition`), over the classes that the hits have; STRS is the product of both F1 (MEGC2022 and later).

    Args:
        films: Of each film the true spans and the found ones.
        labels: Of each film the labels of both, in the same order.

    Example:
        >>> scores = spotting_scores([([(0, 10), (20, 30)], [(1, 10), (40, 50)])], [(["a", "b"], ["a", "b"])])
        >>> scores
        {'precision': 0.5, 'recall': 0.5, 'f1': 0.5, 'recognition': 1.0, 'strs': 0.5}
    """
    hits, misses, alarms = np.sum([count_spots(*film) for film in films], axis=0).tolist()
    f1 = 2 * hits / max(2 * hits + misses + alarms, 1)
    scores = {"precision": hits / max(hits + alarms, 1), "recall": hits / max(hits + misses, 1), "f1": f1}
    if labels:
        pairs = []
        for (true, found), (names, said) in zip(films, labels, strict=True):
            overlap = [(max((iou(t, f), j) for j, f in enumerate(found)), i) for i, t in enumerate(true) if found]
            pairs += [(names[i], said[j]) for (share, j), i in overlap if share >= 0.5]
        table = pd.DataFrame(pairs, columns=["truth", "predicted"])
        classes = sorted({*table.truth, *table.predicted})
        recognition = float(uf1_of_counts(confusion(table, classes), 0.0)) if pairs else 0.0
        scores |= {"recognition": recognition, "strs": f1 * recognition}
    return scores


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
