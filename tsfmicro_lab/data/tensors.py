"""Prepared tensors: what models read, made of a clip once and kept by name.

A model lists the names it needs as `prepared`. A name stands for one of four kinds, and any axes may stand in front
(frames of a clip, candidates for a key frame): an `image` (…, 3, S, S) from 0 to 255, the same `signed`, such as a
difference of images, a `flow` (…, 2, S, S), which is a displacement in pixels, or `points` (…, P, 2) in pixels.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from typing import Any, Literal

import numpy as np

from tsfmicro_lab.clips import Clip, LazyFrames
from tsfmicro_lab.preprocess.alignment import align_clip, onset_landmarks, resize_clip
from tsfmicro_lab.preprocess.flow import clip_flow, optical_flow, resize_flow
from tsfmicro_lab.preprocess.keyframes import FRAMES, strongest_pair, with_apex
from tsfmicro_lab.preprocess.landmarks import POINT_NAMES, Landmarker

#: What TSFmicro reads.
KEY_FRAMES = ("onset", "apex")
#: The pair of frames near them that differ most, which a recipe may train on instead.
STRONGEST = ("strongest_onset", "strongest_apex")
#: Random pairs of frames of each clip.
PAIRS = 4

Kind = Literal["image", "signed", "flow", "points"]
#: Frames of a clip that are kept while its tensors are made, which would else be read or rendered for each anew.
KEPT_BYTES = 64 * 2**20
#: How each kind is kept: type of its numbers and axes of one item, where 0 stands for the side of the frames.
KEPT: dict[Kind, tuple[Any, tuple[int, ...]]] = {
    "image": (np.uint8, (3, 0, 0)),
    "signed": (np.float16, (3, 0, 0)),
    "flow": (np.float16, (2, 0, 0)),
    "points": (np.float32, (len(POINT_NAMES), 2)),
}


@dataclass(frozen=True)
class Source:
    """A clip as it was recorded, with its landmarks, and what several tensors share of it."""

    clip: Clip
    size: int  #: side of the prepared frames, pixels
    align: bool = True  #: False leaves the face where the camera saw it

    @cached_property
    def aligned(self) -> Clip:
        """The clip aligned, its apex spotted where nobody annotated it."""
        return with_apex(self.place(self.clip, self.size))

    @cached_property
    def strongest(self) -> tuple[int, int]:
        """The frames near onset and apex that differ most."""
        return strongest_pair(self.aligned)

    def place(self, clip: Clip, size: int) -> Clip:
        """The clip in frames of a size: aligned, or only resized."""
        return align_clip(clip, size) if self.align else resize_clip(clip, size)

    @property
    def spotted(self) -> Clip:
        """The clip as it was recorded, with the apex of the aligned one."""
        return replace(self.clip, apex=self.aligned.apex)


@dataclass(frozen=True)
class Prepared:
    """How a tensor is made."""

    kind: Kind  #: what its numbers mean
    make: Callable[[Source], Any]  #: makes it of one clip
    axes: tuple[int, ...] = ()  #: axes before those of its kind

    @property
    def dtype(self) -> Any:
        """How its numbers are kept."""
        return KEPT[self.kind][0]

    def shape(self, size: int) -> tuple[int, ...]:
        """Shape of one sample with frames of a size."""
        return (*self.axes, *(side or size for side in KEPT[self.kind][1]))


def _flow(source: Source, method: str) -> np.ndarray:
    """Flow between the key frames, computed at 128 px or more."""
    fine = source.place(source.spotted, max(source.size, 128))
    onset, apex = map(fine.frame, fine.key_frames)
    return resize_flow(optical_flow(onset, apex, method), source.size)


def _pairs(source: Source) -> np.ndarray:
    """Random pairs of aligned frames between onset and offset, for what learns from motion without labels."""
    clip = source.aligned
    frames = np.random.default_rng(zlib.crc32(clip.id.encode())).integers(clip.onset, clip.offset + 1, (PAIRS, 2))
    return np.stack([np.stack([_frame(source, i) for i in pair]) for pair in frames.tolist()])


def _frame(source: Source, index: int) -> np.ndarray:
    return source.aligned.frame(index).transpose(2, 0, 1)


#: Every tensor that can be prepared, in the order in which samples hold them.
PREPARED: dict[str, Prepared] = {
    "onset": Prepared("image", lambda s: _frame(s, s.aligned.onset)),
    "apex": Prepared("image", lambda s: _frame(s, s.aligned.key_frames[1])),
    "strongest_onset": Prepared("image", lambda s: _frame(s, s.strongest[0])),
    "strongest_apex": Prepared("image", lambda s: _frame(s, s.strongest[1])),
    "landmarks": Prepared("points", lambda s: s.aligned.landmarks),
    "pairs": Prepared("image", _pairs, (PAIRS, 2)),
    "long_flow": Prepared("flow", lambda s: clip_flow(s.spotted, s.size, short=False), (FRAMES,)),
    "short_flow": Prepared("flow", lambda s: clip_flow(s.spotted, s.size, short=True), (FRAMES,)),
    **{f"flow_{m}": Prepared("flow", partial(_flow, method=m)) for m in ("farneback", "dis", "tvl1")},
}


def kind_of(name: str) -> Kind:
    """What the numbers of a tensor mean, by its name: `image`, `flow` or `points`; a ValueError if it is unknown."""
    return PREPARED[in_order([name])[0]].kind


def in_order(names: Sequence[str]) -> tuple[str, ...]:
    """Names of tensors, each once, in the order of :data:`PREPARED`; a ValueError names one that is unknown.

    Example:
        >>> in_order(["apex", "onset", "apex"])
        ('onset', 'apex')
    """
    if unknown := sorted(set(names) - set(PREPARED)):
        raise ValueError(f"no tensor is called {' or '.join(map(repr, unknown))}: choose from {', '.join(PREPARED)}")
    return tuple(name for name in PREPARED if name in names)


def prepare_clip(
    clip: Clip, size: int, names: Sequence[str] = KEY_FRAMES, landmarker: Landmarker | None = None, align: bool = True
) -> dict[str, np.ndarray]:
    """Makes tensors of :data:`PREPARED` of one clip, with frames of `size` pixels.

    Landmarks are found where the clip brings none. Without alignment, frames are resized only.

    Raises:
        ValueError: A name is unknown, or stands for flow in a crop by landmarks, which needs an upright face.
        ClipError: The clip cannot be read, no face is found in it, or it is too short for what is asked.
    """
    if not align and (cropped := {"long_flow", "short_flow"} & {*names}):
        raise ValueError(f"{' and '.join(sorted(cropped))} crop the upright face by its landmarks: leave align=True")
    if align or "landmarks" in names:
        clip = replace(clip, landmarks=onset_landmarks(clip, landmarker))
    if not {*names} <= {*KEY_FRAMES, "landmarks"}:
        most = max(1, KEPT_BYTES // clip.frame(clip.onset).nbytes)
        clip = replace(clip, frames=LazyFrames(lru_cache(most)(clip.frame), range(len(clip.frames))))
    source = Source(clip, size, align)
    return {name: PREPARED[name].make(source).astype(PREPARED[name].dtype) for name in in_order(names)}
