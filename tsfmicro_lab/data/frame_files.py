"""Frames on disk: which files are the frames of a clip, and what is missing between them."""

import glob
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from tsfmicro_lab.data.cards import FrameFiles

#: Number and file of each frame.
Numbered = tuple[tuple[int, Path], ...]
Row = Mapping[Any, Any]
#: Folders that are looked at to say where frames may lie instead.
MOST_FOLDERS = 50_000


@lru_cache(maxsize=256)
def list_frames(folder: Path, number: str) -> Numbered:
    """The frames of a folder, by number; of two files with one number the first by name.

    Numbers are read from names, however they are padded: they are the first group of the regular expression `number`.
    What begins with a dot is none: macOS puts such a file beside every other where it copies to a foreign disk.
    """
    if not folder.is_dir():
        return ()
    pattern, found = re.compile(number, re.IGNORECASE), {}
    for name in sorted(os.listdir(folder), reverse=True):  # noqa: PTH208
        if not name.startswith(".") and (match := pattern.search(name)):
            found[int(match[1])] = folder / name
    return tuple(sorted(found.items()))


def find_folders(
    root: Path, files: FrameFiles, rows: Sequence[Row], kind: str, say: Callable[[str, str], None]
) -> list[Path | None]:
    """The folder of each clip, all of one kind, so that raw and cropped frames never mix: the kind that most have.

    `kind` chooses among the card's folders by a part of the name. What is not found is told once, with what lies there.

    Raises:
        ValueError: The card knows no folder of that kind.
    """
    found = {t: [_folder(root, t, row) for row in rows] for t in files.folders if kind in t}
    if not found:
        raise ValueError(f"no frames are called '{kind}': choose a part of {' or '.join(files.folders)}")
    best = max(found, key=lambda template: sum(map(bool, found[template])))
    for other in found:
        if only := sum(b is not None and a is None for a, b in zip(found[best], found[other], strict=True)):
            rest = f"the others in {best}: one kind is read, never both; choose with frames="
            say("doubtful", f"{only} of {len(rows)} clips have frames in {other} alone, {rest}")
    if lost := [row for row, folder in zip(rows, found[best], strict=True) if not folder]:
        hint = _elsewhere(root, lost) if root.is_dir() else ""
        say("doubtful", f"no frames for {len(lost)} of {len(rows)} clips: looked for {' or '.join(found)}{hint}")
    return found[best]


def _elsewhere(root: Path, rows: Sequence[Row]) -> str:
    """Where folders lie that are called like the clips, or what lies there at all."""
    clips: dict[str, list[Row]] = {}
    for row in rows:
        clips.setdefault(row["clip"].lower(), []).append(row)
    places: Counter[str] = Counter()
    for path, _, _ in islice(os.walk(root), MOST_FOLDERS):
        for row in clips.get(Path(path).name.lower(), ()):
            last = rf"(.*(?<!\d))0*{re.sub(r'^[^0-9]*0*', '', row['subject'])}(?!\d)"  # not the 2 of CASME2
            above = re.sub(last, r"\1{subject}", str(Path(path).parent.relative_to(root)))
            places[f"{above}/{{clip}}"] += "{subject}" in above
    if places and (best := places.most_common(1)[0])[1]:
        return f"; {best[1]} would match if {best[0]} were called so"
    inside = sorted(path.name for path in root.iterdir() if path.is_dir())
    return f"; the folders there are {', '.join(inside[:8])}" if inside else "; there is no folder at all"


def find_frames(folder: Path | None, files: FrameFiles, row: Row, say: Callable[[str, str], None]) -> Numbered:
    """The frames of a row of the annotations, by number; none, and a doubt, where a key frame is missing."""
    if not folder:
        return ()
    frames = list_frames(folder, files.number)
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


def _folder(root: Path, template: str, row: Row) -> Path | None:
    """The first folder there is; an empty field, such as a name that was not translated, stands for no folder."""
    if any(row.get(field, "") == "" for field in re.findall(r"{(\w+)}", template)):
        return None
    name = re.sub(r"{(\w+)}", lambda match: glob.escape(str(row[match[1]])), template)
    return next((path for path in sorted(root.glob(name)) if path.is_dir()), None)
