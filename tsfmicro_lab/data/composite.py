"""Several data sets as one, the protocols of the field that are made of them, and the logs of MEGC2019."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tsfmicro_lab.clips import Clip
from tsfmicro_lab.data.annotations import REPORT_COLUMNS, Corrections, compare_counts
from tsfmicro_lab.data.cards import Card, read_card
from tsfmicro_lab.data.recordings import Recordings
from tsfmicro_lab.data.schema import Dataset, check_annotations, describe

#: Largest log that is read, and classes of MEGC2019 by their numbers.
MAX_BYTES = 8 * 2**20
CLASSES = ("negative", "positive", "surprise")


class Composite(Dataset):
    """Data sets put together; subjects are prefixed by their data set, for every data set has a subject 1.

    A column `data` of annotations and report names the part.

    Args:
        parts: The data sets.
        name: Name of the composite.
        target: Column that becomes `emotion`; clips without it are left out.

    Raises:
        ValueError: Two parts have one name, or the target is missing or empty.

    Example:
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions
        >>> data = Composite([SyntheticMicroExpressions(2, 10, 64)], "mine", "emotion_megc")
        >>> data
        mine: 12 clips of 2 subjects from synthetic
            negative 7, positive 3, surprise 2
    """

    def __init__(self, parts: Sequence[Dataset], name: str = "composite", target: str = "emotion") -> None:
        names = [part.name for part in parts]
        if len(set(names)) < len(names) or not parts:
            raise ValueError(f"the parts {', '.join(names) or '(none)'} must be several data sets, each given once")
        if lacking := [part.name for part in parts if target not in part.annotations]:
            raise ValueError(f"no column '{target}' in the annotations of {', '.join(lacking)}: all need it")
        self.name, self.parts = name, {part.name: part for part in parts}
        tables = [part.annotations.assign(data=part.name, row=np.arange(len(part))) for part in parts]
        table = pd.concat(tables, ignore_index=True).astype({"emotion": "str", target: "str"})
        table = table[table[target].notna()].reset_index(drop=True)
        if table.empty:
            raise ValueError(f"no clip of {', '.join(names)} has a value in '{target}'")
        table["emotion"], table["subject"] = table[target], table["data"] + "_" + table["subject"]
        self.annotations = check_annotations(table)
        self.classes: tuple[str, ...] = tuple(sorted(table["emotion"].unique()))
        reports = [part.report.reindex(columns=REPORT_COLUMNS).assign(data=part.name) for part in parts]
        self.report = pd.concat([r for r in reports if len(r)] or reports, ignore_index=True)

    def __getitem__(self, index: int) -> Clip:
        """The clip of that row of the annotations, with the composite's subject and class."""
        row = self.annotations.iloc[index]
        return replace(self.parts[row["data"]][int(row["row"])], subject=row["subject"], emotion=row["emotion"])

    def __repr__(self) -> str:
        return f"{self.name}: " + describe(self, f" from {', '.join(self.parts)}")


def challenge(name: str, *given: Recordings) -> Composite:
    """The composite of a challenge, as its card tells: `log_subject` and `log_clip` are the names in its logs.

    The report names counts that differ from the challenge's.

    Raises:
        ValueError: A part is another data set, or has other labels than the challenge.
    """
    card, report, chosen = read_card(name), Corrections(), []
    for rule, part in zip(card.parts, given, strict=True):
        if (part.name, part.labels) != (rule.name, rule.labels):
            needed = f"{name.upper()} needs {rule.name} with labels {rule.labels}"
            raise ValueError(f"{needed}, got {part.name} with labels {part.labels}: load('{rule.name}', …)")
        names = part.annotations["subject"] + "/" + part.annotations["clip"]
        part = part.select(~names.isin(rule.without) & part.annotations[card.target].notna())
        part.annotations = part.annotations.assign(**_log_names(part.annotations, rule))
        compare_counts(part.annotations, rule.expected, report, rule.name, card.target)
        chosen.append(part)
    composite = Composite(chosen, card.name, card.target)
    compare_counts(composite.annotations, card.expected, report, composite.name)
    composite.report = pd.concat([composite.report, report.table.assign(data=composite.name)], ignore_index=True)
    return composite


#: Of SMIC with labels HS, CASME II with 2014 and SAMM: three data sets, three classes, 442 clips, 68 subjects.
megc2019 = partial(challenge, "megc2019")
#: Of CASME II with labels `objective` and SAMM: objective classes I to V, by action units and no emotion; 253 clips.
megc2018 = partial(challenge, "megc2018")


def _log_names(table: pd.DataFrame, rule: Card) -> dict[str, list[str]]:
    rows: list[Any] = table[["subject", "clip"]].assign(rest=table["clip"].str.partition("_")[2]).to_dict("records")
    return {f"log_{name}": [getattr(rule, name).format(**row) for row in rows] for name in ("subject", "clip")}


def class_set(data: Recordings, name: str) -> Recordings:
    """The clips that belong to a class set: `megc` (three classes), `five` or `seven`; target `emotion_<name>`.

    Raises:
        ValueError: The card of the data set has no such class set.
    """
    if name not in data.card.maps:
        raise ValueError(f"{data.card.pretty_name} has no class set '{name}': choose from {', '.join(data.card.maps)}")
    return data.select(data.annotations[f"emotion_{name}"].notna())


def read_log(path: Path | str, classes: Sequence[str] = CLASSES) -> pd.DataFrame:
    """A log of MEGC2019, a row per clip: `data`, `subject`, `clip` as it writes them, `truth` and `predicted` as names.

    Raises:
        ValueError: A line is neither of the two kinds, names no class, or a clip comes twice; the line is named.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "log.txt"
        >>> _ = path.write_text("casme2 sub01" + chr(10) + "EP02_01f 1 0")
        >>> read_log(path).values.tolist()
        [['casme2', 'sub01', 'EP02_01f', 'positive', 'negative']]
    """
    path = Path(path)
    rows: dict[tuple[str, ...], tuple[str, str]] = {}
    who: tuple[str, ...] = ()
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} is larger than {MAX_BYTES >> 20} MiB, which no log is")
    codes = {str(i): name for i, name in enumerate(classes)}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        match line.split():
            case []:
                continue
            case [data, subject]:
                who = data, subject
            case [clip, truth, predicted] if who and {truth, predicted} <= set(codes):
                if (*who, clip) in rows:
                    raise ValueError(f"{path}, line {number}: {' '.join(who)} {clip} came before; it may come once")
                rows[*who, clip] = codes[truth], codes[predicted]
            case _:
                kinds = f"'casme2 sub01' nor, below it, 'EP02_01f 1 1' with numbers from 0 to {len(classes) - 1}"
                raise ValueError(f"{path}, line {number}: '{line[:80]}' is neither {kinds}")
    columns = ["data", "subject", "clip", "truth", "predicted"]
    return pd.DataFrame([who + said for who, said in rows.items()], columns=columns)
