"""Frames on disk: which files are the frames of a clip, and what is missing between them."""

import glob
import os
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from tsfmicro_lab.data.cards import FrameFiles

#: Number and file of each frame.
Numbered = tuple[tuple[int, Path], ...]


@lru_cache(maxsize=256)
def list_frames(folder: Path, number: str) -> Numbered:
    """The frames of a folder, by number; of two files with one number the first by name.

    Numbers are read from names, however they are padded: they are the first group of the regular expression `number`.
    """
    if not folder.is_dir():
        return ()
    pattern, found = re.compile(number, re.IGNORECASE), {}
    for name in sorted(os.listdir(folder), reverse=True):  # noqa: PTH208
        if match := pattern.search(name):
            found[int(match[1])] = folder / name
    return tuple(sorted(found.items()))


def find_frames(root: Path, files: FrameFiles, row: Mapping[Any, Any], say: Callable[[str, str], None]) -> Numbered:
    """The frames of a row of the annotations, by number; none, and a doubt, where a key frame is missing."""
    folder = _folder(root, files.folders, row)
    frames = list_frames(folder, files.number) if folder else ()
    if not frames:
        say("doubtful", f"no frames in {' or '.join(_fill(t, row, str) for t in files.folders)}: annotations only")
        return ()
    onset, offset = row["onset"], row["offset"]
    if files.long:
        frames = tuple(frame for frame in frames if onset <= frame[0] <= offset)
    there = [number for number, _ in frames]
    if lost := [f"{name} {row[name]}" for name in ("onset", "apex") if row[name] not in (None, *there)]:
        say("doubtful", f"{' and '.join(lost)} is no frame on disk: annotations only")
        return ()
    within = [number for number in there if onset <= number <= offset]
    if missing := within[-1] - onset + 1 - len(within):
        first = next(n for i, n in enumerate(within) if n != onset + i)
        gap = f"{missing} frames are missing in the middle, the first gap before frame {first}"
        say("doubtful", f"{gap}: time jumps there")
    if offset not in there:
        say("doubtful", f"offset {offset} is no frame on disk: the last one before it, {within[-1]}, stands in for it")
    return frames


def _fill(template: str, row: Mapping[Any, Any], how: Callable[[str], str]) -> str:
    return re.sub(r"{(\w+)}", lambda match: how(str(row.get(match[1], ""))), template)


def _folder(root: Path, templates: list[str], row: Mapping[Any, Any]) -> Path | None:
    """The first folder there is; an empty field, such as a name that was not translated, stands for no folder."""
    known = [t for t in templates if all(row.get(field, "") != "" for field in re.findall(r"{(\w+)}", t))]
    found = (path for t in known for path in sorted(root.glob(_fill(t, row, glob.escape))) if path.is_dir())
    return next(found, None)
