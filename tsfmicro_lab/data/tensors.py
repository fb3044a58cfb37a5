"""Prepared tensors: what models read, made of a clip once and kept by name.

A model lists the names it needs as `prepared`. Three kinds of tensors are told apart by what they hold, and any axes
may stand in front (frames of a clip, candidates for a key frame): images are bytes (…, 3, S, S), displacements are
half-precision numbers (…, 2, S, S) in pixels, and points are single-precision numbers (…, P, 2) in pixels.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tsfmicro_lab.clips import Clip, Points
from tsfmicro_lab.preprocess import POINT_NAMES, Landmarker, align_clip, clip_flow, key_flow, onset_landmarks, with_apex
from tsfmicro_lab.preprocess.flow_clip import FRAMES
from tsfmicro_lab.preprocess.keyframes import sought_pair

#: What TSFmicro reads.
KEY_FRAMES = ("onset", "apex")
#: The pair that `Recipe.sought` trains on instead.
SOUGHT = ("sought_onset", "sought_apex")
#: Random pairs of frames of each clip.
PAIRS = 4


@dataclass(frozen=True)
class Source:
    """A clip and what several tensors share of it.

    Attributes:
        clip: The clip with its landmarks, as it was recorded.
        size: Side of the prepared frames, pixels.
    """

    clip: Clip
    size: int

    @cached_property
    def aligned(self) -> Clip:
        """The clip aligned, its apex spotted where nobody annotated it."""
        return with_apex(align_clip(self.clip, self.size))

    @property
    def apex(self) -> int:
        """Index of the apex."""
        assert self.aligned.apex is not None
        return self.aligned.apex

    @cached_property
    def sought(self) -> tuple[int, int]:
        """The frames near onset and apex that differ most."""
        return sought_pair(self.aligned)

    @property
    def landmarks(self) -> Points:
        """Landmarks of the aligned onset frame."""
        assert self.aligned.landmarks is not None
        return self.aligned.landmarks

    def slstt_flow(self, short: bool) -> np.ndarray:
        """Flow of the frames around the apex (see `preprocess.clip_flow`)."""
        return clip_flow(replace(self.clip, apex=self.apex), self.size, short=short)


@dataclass(frozen=True)
class Prepared:
    """How a tensor is made, and its shape without the sides of its frames, if it has any.

    Attributes:
        make: Makes it of one clip.
        shape: Of one sample; `None` stands for the side of the frames.
        dtype: Of its numbers.
    """

    make: Callable[[Source], np.ndarray]
    shape: tuple[int | None, ...]
    dtype: Any = np.uint8

    def of_size(self, size: int) -> tuple[int, ...]:
        """Shape of one sample with frames of a size."""
        return tuple(size if side is None else side for side in self.shape)


def _flow(source: Source, method: str) -> np.ndarray:
    """Flow between the key frames, computed at 128 px or more."""
    fine = align_clip(replace(source.clip, apex=source.apex), max(source.size, 128))
    return key_flow(fine, source.size, method)


def _pairs(source: Source) -> np.ndarray:
    """Random pairs of aligned frames between onset and offset, for what learns from motion without labels."""
    clip = source.aligned
    rng = np.random.default_rng(zlib.crc32(clip.id.encode()))
    frames = rng.integers(clip.onset, clip.offset + 1, (PAIRS, 2))
    return np.stack([np.stack([_frame(source, i) for i in pair]) for pair in frames.tolist()])


def _frame(source: Source, index: int) -> np.ndarray:
    return source.aligned.frame(index).transpose(2, 0, 1)


#: Every tensor that can be prepared, in the order in which samples hold them.
PREPARED: dict[str, Prepared] = {
    "onset": Prepared(lambda s: _frame(s, s.aligned.onset), (3, None, None)),
    "apex": Prepared(lambda s: _frame(s, s.apex), (3, None, None)),
    "sought_onset": Prepared(lambda s: _frame(s, s.sought[0]), (3, None, None)),
    "sought_apex": Prepared(lambda s: _frame(s, s.sought[1]), (3, None, None)),
    "landmarks": Prepared(lambda s: s.landmarks, (len(POINT_NAMES), 2), np.float32),
    "pairs": Prepared(_pairs, (PAIRS, 2, 3, None, None)),
    "long_flow": Prepared(lambda s: s.slstt_flow(short=False), (FRAMES, 2, None, None), np.float16),
    "short_flow": Prepared(lambda s: s.slstt_flow(short=True), (FRAMES, 2, None, None), np.float16),
    **{
        f"flow_{m}": Prepared(partial(_flow, method=m), (2, None, None), np.float16)
        for m in ("farneback", "dis", "tvl1")
    },
}


def in_order(names: Sequence[str]) -> tuple[str, ...]:
    """Names of tensors, each once, in the order of :data:`PREPARED`.

    Raises:
        ValueError: A name is unknown.

    Example:
        >>> in_order(["apex", "onset", "apex"])
        ('onset', 'apex')
    """
    if unknown := sorted(set(names) - set(PREPARED)):
        raise ValueError(f"unknown tensors {unknown}: choose from {', '.join(PREPARED)}")
    return tuple(name for name in PREPARED if name in names)


def prepare_clip(
    clip: Clip, size: int, names: Sequence[str] = KEY_FRAMES, landmarker: Landmarker | None = None
) -> dict[str, np.ndarray]:
    """Makes the tensors of one clip.

    Args:
        clip: The clip.
        size: Side of the frames, pixels.
        names: Of :data:`PREPARED`.
        landmarker: What finds landmarks where the clip brings none.

    Returns:
        Arrays by name.

    Raises:
        ValueError: A name is unknown.
        ClipError: The clip cannot be read, no face is found in it, or it is too short for what is asked.

    Example:
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions
        >>> {name: x.shape for name, x in prepare_clip(SyntheticMicroExpressions(1, 1, image_size=96)[0], 56).items()}
        {'onset': (3, 56, 56), 'apex': (3, 56, 56)}
    """
    source = Source(replace(clip, landmarks=onset_landmarks(clip, landmarker)), size)
    return {name: PREPARED[name].make(source).astype(PREPARED[name].dtype) for name in in_order(names)}


def is_image(x: Tensor) -> bool:
    """Whether a tensor holds images: bytes (…, 3, S, S)."""
    return x.dtype == torch.uint8 and x.ndim >= 4 and x.shape[-3] == 3


def is_displacement(x: Tensor) -> bool:
    """Whether a tensor holds displacements: half-precision numbers (…, 2, S, S)."""
    return x.dtype == torch.float16 and x.ndim >= 4 and x.shape[-3] == 2


def is_points(x: Tensor) -> bool:
    """Whether a tensor holds named points: single-precision numbers (B, P, 2)."""
    return x.dtype == torch.float32 and x.ndim == 3 and x.shape[1:] == (len(POINT_NAMES), 2)
