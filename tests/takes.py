"""Recordings of synthetic heads in files, sound and unsound ones."""

import struct
from pathlib import Path

import numpy as np

from studies.film import LongTake
from tsfmicro_lab.data import Distractors, SyntheticMicroExpressions


def long_take(seed: int, expressions: int = 3, size: int = 128, rest: float = 0.5, **strength: float) -> LongTake:
    data = SyntheticMicroExpressions(1, expressions, size, seed=seed, amplitude=(2.0, 3.0))
    takes = [data.moving_face(i) for i in range(expressions)]
    return LongTake(takes, rest, Distractors(**{"blinks": 0.0, **strength}), seed)


def vary_frame_rate(path: Path) -> int:
    """Lets the second half of an MP4's frames last three times as long; returns the first frame of that half.

    The table of times (`stts`) holds one entry in a file of OpenCV's; it gets two, and every box around it grows.
    """
    data = bytearray(path.read_bytes())
    at = data.index(b"stts") - 4
    entries, count, step = struct.unpack(">III", data[at + 12 : at + 24])
    assert entries == 1
    half = count // 2
    for box in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts"):
        start = data.index(box) - 4
        size = struct.unpack(">I", data[start : start + 4])[0]
        data[start : start + 4] = struct.pack(">I", size + 8)
    assert data.index(b"moov") > data.index(b"mdat")  # so that no offset into the frames changes
    data[at + 12 : at + 24] = struct.pack(">IIIII", 2, half, step, count - half, 3 * step)
    path.write_bytes(data)
    return half


def beside(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.hstack([left, right])
