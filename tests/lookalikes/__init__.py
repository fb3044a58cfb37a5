"""Look-alikes: synthetic clips on disk as a recorded data set is released, with its names, sheets and faults."""

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from lookalikes.layouts import LAYOUTS, Layout, Sheet
from tsfmicro_lab.data.synthetic import SyntheticMicroExpressions

_ROMAN = ("", "I", "II", "III", "IV", "V", "VI", "VII")


def synthesize(
    layout: str,
    out: Path | str,
    data: SyntheticMicroExpressions | None = None,
    *,
    clips: int | None = None,
    emotions: Sequence[str] | None = None,
    frames: bool = True,
    faults: bool = True,
    progress: bool = False,
) -> pd.DataFrame:
    """Writes synthetic clips to disk in the layout of a recorded data set, to test loaders on.

    Args:
        layout: Name of the data set.
        out: Folder that becomes the root; it must be new or empty.
        data: Clips to write; those of the default synthetic data set, small, if left out.
        clips: How many clips besides the faulty ones; more than `data` has repeat its clips.
        emotions: Labels to write instead of those of the clips, one a clip, in the card's spelling.
        frames: Whether to write JPEG frames, at the frame rate of the data set; a tree of folders needs them.
        faults: Whether to add clips with the faults of the release.
        progress: Whether to show a progress bar.

    Returns:
        The truth, one row per clip in the order of the table: key frames as they are on disk whatever the table says,
        `source` the index of the synthetic clip, and `faulty` whether the table has it wrong.

    Raises:
        ValueError: There is no such layout, or the folder is not empty.

    Example:
        >>> import tempfile
        >>> truth = synthesize("samm", Path(tempfile.mkdtemp()), clips=3, frames=False)
        >>> truth.loc[0, "clip"], int(truth.loc[0, "apex"])
        ('028_4_1', 1105)
    """
    if layout not in LAYOUTS:
        raise ValueError(f"no layout '{layout}': choose from {', '.join(LAYOUTS)}")
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is not empty: give a new folder, so that no data set is overwritten")
    out.mkdir(parents=True, exist_ok=True)
    plan = LAYOUTS[layout]
    data = data or SyntheticMicroExpressions(3, 4, image_size=96)
    rows = list(_rows(plan, data, clips or (len(emotions) if emotions else len(data)), emotions, faults))
    _write_tables(plan, rows, out)
    if frames or not plan.sheets:
        encode = partial(_jpeg, data)
        for row in tqdm(rows, f"writing {layout}", disable=not progress):
            _write_frames(plan, row, out, encode)
    columns = ["subject", "clip", "onset", "apex", "offset", "emotion", "action_units", "source", "faulty"]
    return pd.DataFrame(rows)[columns]


def _rows(
    plan: Layout, data: SyntheticMicroExpressions, clips: int, emotions: Sequence[str] | None, faults: bool
) -> Iterator[dict[str, Any]]:
    """Faulty clips first, then the others, each with what is true and, in `written`, what the table says."""
    usable = [i for i, emotion in enumerate(data.annotations["emotion"]) if emotions or emotion in plan.emotions]
    subjects = data.annotations["subject"].nunique()
    for number, mistake in enumerate(plan.mistakes if faults else ()):
        base = _describe(plan, data, number, usable[number % len(usable)], None) | {
            "s": 0,
            "c": 0,
            "faulty": True,
            **mistake.true,
        }
        yield base | {"written": mistake.written}
    after = dict.fromkeys(range(subjects), plan.start)
    for number in range(clips):
        source = usable[number % len(usable)]
        s, c = number % subjects, number // subjects + 1
        row = _describe(plan, data, number, source, emotions[number] if emotions else None)
        names = {
            "s": s + 1,
            "c": c,
            "folder": s + 15,
            "token": {"negative": "ne", "positive": "po"}.get(row["emotion"], "sur"),
        }
        subject = plan.subject.format(**names)
        motion = data[source]
        rise, fall = (
            max(2, round((b - a) / motion.fps * plan.fps)) for a, b in pairwise((*motion.key_frames, motion.offset))
        )
        onset, after[s] = after[s], after[s] + rise + fall + 8 if plan.clip == "a" else after[s]
        key_frames = {"onset": onset, "apex": onset + rise, "offset": onset + rise + fall}
        yield {**row, **names, **key_frames, "subject": subject, "clip": plan.clip.format(**names), "written": {}}


def _describe(
    plan: Layout, data: SyntheticMicroExpressions, number: int, source: int, emotion: str | None
) -> dict[str, Any]:
    annotation = data.annotations.iloc[source]
    label = emotion or plan.emotions[annotation["emotion"]]
    return {
        "emotion": label,
        "folder_emotion": "repression" if label == "others" else label,
        "action_units": annotation["action_units"],
        "units": annotation["action_units"],
        "objective": number % 7 + 1,
        "roman": _ROMAN[number % 7 + 1],
        "kind": "micro-expression",
        "fps": int(plan.fps),
        "source": source,
        "faulty": False,
    }


def _write_tables(plan: Layout, rows: list[dict[str, Any]], out: Path) -> None:
    for file in dict.fromkeys(sheet.file for sheet in plan.sheets):
        sheets = {s.name: _cells(plan, s, rows) for s in plan.sheets if s.file == file}
        if file.endswith(".xls"):
            _write_xls(out / file, sheets)
            continue
        with pd.ExcelWriter(out / file, engine="openpyxl") as book:
            for name, cells in sheets.items():
                width = max(map(len, cells), default=0)
                even = [[*row, *[""] * (width - len(row))] for row in cells]
                pd.DataFrame(even).to_excel(book, sheet_name=name, header=False, index=False)


def _write_xls(path: Path, sheets: dict[str, list[list[object]]]) -> None:
    import xlwt  # the old format has no other writer; its last release is of 2017

    book = xlwt.Workbook()
    for name, cells in sheets.items():
        sheet = book.add_sheet(name)
        for i, row in enumerate(cells):
            for j, value in enumerate(row):
                sheet.write(i, j, value)
    book.save(str(path))


def _cells(plan: Layout, sheet: Sheet, rows: list[dict[str, Any]]) -> list[list[object]]:
    notes = sheet.key + tuple(f"Line {i + 1} of the notes above the table" for i in range(sheet.preamble))
    lines: list[list[object]] = [[note] for note in notes[: sheet.preamble]]
    if sheet.columns and not sheet.headless:
        lines.append([name for name, _ in sheet.cells])
    seen = set()
    for row in rows if sheet.columns else ():
        spelled = {"emotion": plan.spelling.get(row["emotion"], row["emotion"])}
        values = {**row, **spelled, **row["written"]}
        line = [_cell(template, values) for _, template in sheet.cells]
        key = None if sheet.once is None else line[sheet.once]
        if key is None or key not in seen:
            lines.append(line)
        seen.add(key)
    return lines


def _cell(template: str, values: dict[str, Any]) -> object:
    name = template.strip("{}")
    return values[name] if template == f"{{{name}}}" else template.format(**values)


def _write_frames(plan: Layout, row: dict[str, Any], out: Path, encode: Any) -> None:
    keys = [row["onset"], row["apex"], row["offset"]]
    for n in range(max(0, keys[0] - plan.margin), keys[2] + plan.margin + 1):
        path = out / row.get("frame", plan.frame).format(**row, n=n)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(row["source"], *_moment(n, keys)))


def _moment(n: int, keys: list[int]) -> tuple[int, float]:
    """Between which two key frames a frame lies, and how far on, in eighths: a clip of any length is shown by that."""
    onset, apex, offset = keys
    if n <= apex:
        return 0, round(max(0.0, (n - onset) / (apex - onset)) * 8) / 8
    return 1, round(min(1.0, (n - apex) / max(1, offset - apex)) * 8) / 8


@lru_cache(maxsize=1024)  # several layouts are written from one source
def _jpeg(data: SyntheticMicroExpressions, source: int, phase: int, share: float) -> bytes:
    clip = data[source]
    begin, end = (*clip.key_frames, clip.offset)[phase : phase + 2]
    frame = clip.frame(round(float(np.interp(share, (0, 1), (begin, end)))))
    done, encoded = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95])
    if not done:
        raise ValueError(f"frame of synthetic clip {source} cannot be written as JPEG")
    return encoded.tobytes()
