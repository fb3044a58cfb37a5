"""From a released table, or a tree of folders, to annotations that keep the contract, and a report of what was done.

Also which files are the frames of a clip, and what is missing between them.
"""

import glob
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

from tsfmicro_lab.data.action_units import parse_action_units, read_key
from tsfmicro_lab.data.cards import OPTIONAL, REQUIRED, Card
from tsfmicro_lab.data.schema import KEY, check_annotations
from tsfmicro_lab.data.tables import pick_columns, read_table, read_text

KEY_FRAMES = ("onset", "apex", "offset")
REPORT_COLUMNS = [*KEY, "what", "why"]
#: Subjects and clips are parts of paths, so they hold nothing that leads out of the root.
_SAFE = re.compile(r"(?!\.)[\w()^#@+ .-]+")
_MISSING = ("", "/", "\\", "-", "-1", "?", "nan", "NaN")
#: Objective classes; MEGC2018 counts the first five.
ROMAN = {name: str(i) for i, name in enumerate(("I", "II", "III", "IV", "V", "VI", "VII"), start=1)}

Say = Callable[[str, str], None]
#: Number and file of each frame.
Numbered = tuple[tuple[int, Path], ...]
Row = Mapping[Any, Any]
#: Folders that are looked at to say where frames may lie instead.
MOST_FOLDERS = 50_000
#: A micro-expression lasts half a second at most: Yan, Wu, Liang, Chen, Fu, Journal of Nonverbal Behavior, 2013.
LONGEST = 0.5
#: By recording, the key frames of its clips in other tables of the release, with the name of the table.
Beside = Mapping[tuple[str, str], list[tuple[list[int], str]]]


class Corrections(list[tuple[object, ...]]):
    """What was corrected, dropped or is doubtful, row by row."""

    def add(self, what: str, why: str, subject: str = "", clip: str = "", onset: int | None = None) -> None:
        """Adds a row; without a subject it concerns the whole data set."""
        self.append((subject, clip, onset, what, why))

    @property
    def table(self) -> pd.DataFrame:
        """The rows as a table: subject, clip, onset, what, why."""
        return pd.DataFrame(self, columns=REPORT_COLUMNS).astype({"onset": "Int64"})


def grouped(report: pd.DataFrame) -> pd.DataFrame:
    """A report with one row for each kind of remark: how many clips it concerns, and what is said of the first.

    Example:
        >>> why = ["onset 46 is no frame on disk", "onset 7 is no frame on disk"]
        >>> rows = pd.DataFrame({"subject": "01", "clip": ["a", "b"], "what": "doubtful", "why": why})
        >>> grouped(rows).values.tolist()
        [['doubtful', 2, '01', 'a', 'onset 46 is no frame on disk']]
    """
    kind = report["why"].str.replace(r"'[^']*'|\S*\d\S*", "…", regex=True).rename("kind")
    first = {name: (name, "first") for name in ("subject", "clip", "why")}
    groups = report.groupby(["what", kind], sort=False)
    return groups.agg(rows=("why", "size"), **first).reset_index().drop(columns="kind")


def read_annotations(card: Card, labels: Card, root: Path, report: Corrections, as_released: bool) -> pd.DataFrame:
    """Reads one release of a data set's annotations: the original texts and the class sets of the card besides.

    Each correction, drop and doubt becomes a row of the report; with `as_released` nothing is corrected.

    Raises:
        FileNotFoundError: The root is not what the card describes; the message names what was expected inside.
        ValueError: The table cannot be read, lacks a column, or gives no clip at all.
    """
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    card = SimpleNamespace(**vars(card) | {"words": dict(card.words)})  # the key of a table adds to them
    raws = list(_tree_rows(card, labels.tree, root) if labels.tree else _table_rows(card, labels, root, report))
    faults, beside = ([], {}) if as_released else (card.faults, _beside(card, labels, root, report))
    for raw in raws:
        if row := _clip(raw, card, labels, report, faults, beside):
            key = row["subject"], row["clip"], row["onset"]
            if rows.setdefault(key, row) is not row:
                report.add("dropped", "a row with this subject, clip and onset came before", *key)
    if not rows:
        raise ValueError(f"no usable clip in {root}; what was dropped:\n{report.table.to_string(index=False)}")
    table = pd.DataFrame(rows.values()).astype({"emotion": "str"})
    for name, mapping in card.maps.items():
        table[f"emotion_{name}"] = table["emotion"].map(mapping).astype("str")
    _compare_lists(table, labels, root, report)
    there = pd.DataFrame(raws).reindex(columns=["subject", "emotion"]).astype("str")  # those that are dropped, too
    there["emotion"] = there["emotion"].str.lower().replace(card.spelling)
    compare_counts(there, labels.expected, report)
    return check_annotations(table)


def compare_counts(
    table: pd.DataFrame, expected: Card, report: Corrections, name: str = "this copy", column: str = "emotion"
) -> None:
    """Adds a row to the report where the counts of clips, subjects and classes are not those that a card expects."""
    found = {"clips": len(table), "subjects": table["subject"].nunique(), **table[column].value_counts().to_dict()}
    wanted = {"clips": expected.clips, "subjects": expected.subjects, **expected.emotions}
    counts = {what: (n, found.get(what, 0)) for what, n in wanted.items() if n is not None}
    if differ := [f"{what} {n}, found {there}" for what, (n, there) in counts.items() if n != there]:
        report.add("doubtful", f"{name} is not what the card counts: {'; '.join(differ)}")


def find_table(card: Card, labels: Card, root: Path) -> Path:
    """The table of a release (or a neighbour of it) below the root: the first of its names that is there; or a folder.

    Raises:
        FileNotFoundError: There is none of these names.
    """
    if getattr(labels, "tree", None):
        return tree_folders(card, labels.tree, root)[0]
    for pattern in labels.files:
        for suffix in (Path(pattern).suffix, ".xlsx", ".xls", ".csv"):  # copies saved anew in another format
            if found := sorted(root.glob(str(Path(pattern).with_suffix(suffix)))):
                return found[0]
    raise _wrong_root(card, labels.files, root)


def files_of(release: Card) -> list[str]:
    """Names of all tables and lists of a release of labels."""
    others = [release.side, *release.neighbours, *release.exceptions]
    return [name for part in (release, *filter(None, others)) for name in part.files]


def _pick(path: Path, labels: Card) -> pd.DataFrame:
    """The columns of a table by the names that a card gives them; `attrs["above"]` holds the lines above it."""
    if not labels.columns:
        named = (match.groupdict() for match in re.finditer(labels.pattern, read_text(path)))
        return pd.DataFrame(named, columns=["subject", "clip", "frame"])
    names = None if labels.headless else map(str, labels.columns.values())
    table = read_table(path, labels.sheet, names)
    picked = pick_columns(table, labels.columns, path.name)
    picked.attrs = table.attrs
    return picked


def _wrong_root(card: Card, expected: list[str], root: Path) -> FileNotFoundError:
    inside = sorted(p.name for p in root.iterdir())[:8] if root.is_dir() else []
    found = f"found {', '.join(inside) or 'nothing'}" if root.is_dir() else "there is no such folder"
    places = [root.parent, *(sorted(root.glob("*/")) if inside else [])]
    near = [place for place in places if any(any(place.glob(pattern)) for pattern in expected)]
    hint = f"{near[0]} has it: give that folder" if near else "give the folder that holds it, or call your table so"
    wanted = " or ".join(expected) + " inside" + "".join(f" and frames in {f}" for f in card.frames.folders[:1])
    return FileNotFoundError(f"{root} is no root of {card.pretty_name}: expected {wanted}, {found}; {hint}")


def tree_folders(card: Card, tree: str, root: Path) -> list[Path]:
    """The folders of the clips of a release whose folders are its labels; a FileNotFoundError if there is none."""
    star = re.sub(r"{\w+}", "*", tree)
    if folders := sorted(path for path in root.glob(star) if path.is_dir()):
        return folders
    raise _wrong_root(card, [star], root)


def _tree_rows(card: Card, tree: str, root: Path) -> Iterator[dict[str, str]]:
    pattern = re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(tree)))
    for folder in tree_folders(card, tree, root):
        name = folder.relative_to(root).as_posix()
        numbers = [number for number, _ in list_frames(folder, card.frames.number)]
        ends = {"onset": str(min(numbers)), "offset": str(max(numbers))} if numbers else {}
        if match := pattern.fullmatch(name):
            yield {**match.groupdict(), **ends, "folder": name}


def _table_rows(card: Card, labels: Card, root: Path, report: Corrections) -> Iterator[dict[str, str]]:
    path = find_table(card, labels, root)
    table = _pick(path, labels).assign(table=path.name)
    card.words.update(read_key(table.attrs["above"]))
    if "kind" in table:  # such as Micro-expression and Micro - 1/2
        table["kind"] = table["kind"].str[:5].str.lower()
    whole = table["subject"].str.extract(r"^(\d+)(?:\.0+)?$")[0].str.zfill(card.digits).fillna(table["subject"])
    if (bare := table["subject"] != whole).any() and card.digits:
        such = f"such as {table['subject'][bare].iloc[0]} for {whole[bare].iloc[0]}"
        report.add("corrected", f"{bare.sum()} rows name a subject without its zeros, {such}")
        table["subject"] = whole
    for name, lookup in labels.lookups.items():
        part = table[lookup.of].str.extract(f"({lookup.pattern})", expand=False)
        if lookup.sheet:
            pairs = read_table(path, lookup.sheet, None)
            if max(lookup.key, lookup.value) >= pairs.shape[1]:
                raise ValueError(f"sheet '{lookup.sheet}' of {path.name} has only {pairs.shape[1]} columns")
            part = part.map(dict(zip(pairs[lookup.key], pairs[lookup.value], strict=True)))
        table[name] = part.fillna("")
    if labels.side:
        side = _pick(find_table(card, labels.side, root), labels.side)
        table = table.merge(side.drop_duplicates(["subject", "clip"]), how="left", on=["subject", "clip"]).fillna("")
    for field, value in labels.keep.items():
        table = table[table[field].str.lower() == value]
    yield from ({str(k): str(v) for k, v in row.items()} for row in table.to_dict("records"))


def _pick_if(path: Path, labels: Card, report: Corrections) -> pd.DataFrame:
    """:func:`_pick` of a table without which the release can be read; one that is not understood is told and empty."""
    try:
        return _pick(path, labels)
    except ValueError as error:
        report.add("doubtful", f"{path.name} was not understood, so what it says is unknown: {error}")
    return pd.DataFrame(columns=[*labels.columns])


def _beside(card: Card, labels: Card, root: Path, report: Corrections) -> Beside:
    """Key frames of other tables of the release, where they are there."""
    found: dict[tuple[str, str], list[tuple[list[int], str]]] = {}
    for side in labels.neighbours:
        with suppress(FileNotFoundError):
            path = find_table(card, side, root)
            for row in _pick_if(path, side, report).to_dict("records"):
                frames = [_number(row[field]) or 0 for field in KEY_FRAMES]
                if 0 < frames[0] < frames[1] <= frames[2]:
                    found.setdefault((row["subject"], row["clip"]), []).append((frames, path.name))
    return found


def _compare_lists(table: pd.DataFrame, labels: Card, root: Path, report: Corrections) -> None:
    """Adds a doubt for each clip of which a list of exceptions speaks that the release brings with it."""
    for listed in labels.exceptions:
        for path in sorted(path for name in listed.files for path in root.glob(name)):
            found = _pick_if(path, listed, report)
            rows = table.merge(found.assign(frame=pd.to_numeric(found["frame"], errors="coerce")), on=KEY[:2])
            inside = rows.loc[rows["frame"].between(rows["onset"], rows["offset"]), KEY].drop_duplicates()
            for key in inside.itertuples(index=False):
                report.add("doubtful", f"{path.name} names it: {listed.why}", *key)


def _clip(
    raw: dict[str, str], card: Card, labels: Card, report: Corrections, faults: list[Card], beside: Beside
) -> dict[str, Any] | None:
    """One row of the annotations, or None where it cannot be used."""
    subject, clip, source = raw["subject"], raw["clip"], raw.pop("table", "")
    frames = {field: _number(raw.get(field, "")) for field in KEY_FRAMES}
    onset = frames["onset"]
    say: Say = partial(report.add, subject=subject, clip=clip, onset=onset)
    for field, number in frames.items():
        if number is None and raw.get(field, "") not in _MISSING:
            say("doubtful", f"{field} '{raw[field]}' is no frame number and is left out")
        if number == 0 and field in labels.unset:
            frames[field] = None
    names = [subject, clip, *(raw[name] for name in labels.lookups if raw[name])]
    if not all(map(_SAFE.fullmatch, names)):
        say("dropped", f"{' and '.join(map(repr, names))} cannot be names of folders")
        return None
    if found := _same_clip(list(frames.values()), beside.get((subject, clip), [])):
        was, frames = frames, dict(zip(KEY_FRAMES, found[0], strict=True))
        changed = [f"{field} {was[field]} → {frames[field]}" for field in KEY_FRAMES if was[field] != frames[field]]
        say("corrected", f"{', '.join(changed)}: so has {found[1]} (in {source})")
        faults = []
    for fault in faults:
        if (fault.subject, fault.clip) != (subject, clip) or fault.onset not in (None, onset):
            continue
        if not fault.correct:
            say("dropped" if fault.drop else "doubtful", fault.why)
        if fault.drop:
            return None
        for field, (wrong, right) in fault.correct.items():
            if frames[field] == wrong:
                say("corrected", f"{field} {wrong} → {right}: {fault.why} (in {source})")
                frames[field] = right
            else:
                say("doubtful", f"{field} {frames[field]} is different here already, not {wrong}: left as it is")
    fps = _fps(raw.get("fps", ""), card, labels, say)
    longest = LONGEST * fps if raw.get("kind") != "macro" else float("inf")
    if wrong := _order(frames, longest, say, spotted="apex" in labels.columns or bool(labels.tree)):
        say("dropped", wrong)
        return None
    units = parse_action_units(raw.get("action_units", ""), card.words)
    if units.doubt:
        say("doubtful", f"action units '{raw['action_units']}': {units.doubt}")
    emotion = _emotion(raw.get("emotion"), card, say)
    row: dict[str, Any] = {"subject": subject, "clip": clip, **frames, "fps": fps, "emotion": emotion}
    row |= {"action_units": "+".join(units.names), "units_known": units.known}
    row |= {f"{field}_text": raw.get(field, "") for field in ("emotion", "action_units")}
    row |= {field: text for field, text in raw.items() if field not in (*REQUIRED, *OPTIONAL)}
    if "objective" in raw:
        row["objective"] = _number(ROMAN.get(raw["objective"].upper(), raw["objective"]))
        row["objective_class"] = next((name for name in list(ROMAN)[:5] if ROMAN[name] == str(row["objective"])), None)
    return row


def _same_clip(frames: list[int | None], others: list[tuple[list[int], str]]) -> tuple[list[int], str] | None:
    """Of key frames that cannot be, what another table has: the only clip of the recording that shares one of them."""
    onset, apex, offset = (number or 0 for number in frames)
    alike = [other for other in others if {onset, apex, offset} & {*other[0]}]
    return None if 0 < onset < apex <= offset or len(alike) != 1 else alike[0]


def _order(frames: dict[str, int | None], longest: float, say: Say, spotted: bool) -> str:
    """Brings the key frames in order; returns why that cannot be, or nothing."""
    onset, apex, offset = frames["onset"], frames["apex"], frames["offset"]
    if onset is None:
        return "no onset"
    if offset is None:
        offset = frames["offset"] = max(onset, apex or 0)
        say("doubtful", f"nobody marked the offset: the last marked frame, {offset}, stands in for it")
    if offset < onset:
        return f"offset {offset} lies before onset {onset}"
    if apex is None and spotted:
        say("doubtful", "no apex: it is spotted when the clip is prepared")
    if apex is not None and not onset <= apex <= offset:
        frames["apex"] = None
        say("doubtful", f"apex {apex} lies outside {onset} to {offset}: left out, to be spotted when it is prepared")
    elif apex == onset:
        say("doubtful", f"apex and onset are one frame, {apex}: difference and flow are zero")
    if offset - onset > longest:
        say("doubtful", f"{offset - onset} frames from onset to offset are longer than {LONGEST} s: too long a clip")
    return ""


def _number(text: str) -> int | None:
    """A frame number; negative ones, which some tables use for missing, are missing."""
    match = re.fullmatch(r"(\d{1,9})(?:\.0+)?", text)
    return int(match[1]) if match else None


def _emotion(text: str | None, card: Card, say: Say) -> str | None:
    name = text and card.spelling.get(text.lower(), text.lower())
    if name in card.classes:
        return name
    if text is not None:  # else there is no such column
        say("doubtful", f"emotion '{text}' is none of {', '.join(card.classes)}: the clip has no label")
    return None


def _fps(text: str, card: Card, labels: Card, say: Say) -> float:
    standard = float(labels.fps or card.fps or 0)
    if re.fullmatch(r"\d{1,4}(\.\d+)?", text) and float(text) > 0:
        return float(text)
    if "fps" in labels.columns:
        say("doubtful", f"frame rate '{text}' is no number: {standard:g} is taken")
    return standard


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


def find_folders(root: Path, files: Card, rows: Sequence[Row], kind: str, say: Say) -> list[Path | None]:
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
        places = " or ".join(found) + _elsewhere(root, lost)
        say("doubtful", f"no frames for {len(lost)} of {len(rows)} clips: looked for {places}")
    return found[best]


def _elsewhere(root: Path, rows: Sequence[Row]) -> str:
    """Where folders lie that are called like the clips, or what lies there at all."""
    clips: dict[str, list[Row]] = {}
    for row in rows:
        clips.setdefault(row["clip"].lower(), []).append(row)
    places: Counter[str] = Counter()
    for path, _, _ in islice(os.walk(root), 1, MOST_FOLDERS):
        for row in clips.get(Path(path).name.lower(), ()):
            last = rf"(.*(?<!\d))0*{re.sub(r'^[^0-9]*0*', '', row['subject'])}(?!\d)"  # not the 2 of CASME2
            above = re.sub(last, r"\1{subject}", str(Path(path).parent.relative_to(root)))
            places[f"{above}/{{clip}}"] += "{subject}" in above
    if places and (best := places.most_common(1)[0])[1]:
        return f"; {best[1]} would match if {best[0]} were called so"
    return f"; folders there: {', '.join(sorted(p.name for p in root.iterdir() if p.is_dir())[:8]) or 'none'}"


def find_frames(folder: Path | None, files: Card, row: Row, say: Say) -> Numbered:
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
    if any(row.get(field, "") == "" for field in re.findall(r"{(\w+)", template)):
        return None
    name = template.format(**{field: glob.escape(str(value)) for field, value in row.items()})
    return next((path for path in sorted(root.glob(name)) if path.is_dir()), None)
