"""Several data sets as one, and the protocols of the field that are made of them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from tsfmicro_lab.clips import Clip
from tsfmicro_lab.data.annotations import REPORT_COLUMNS, Corrections, compare_counts
from tsfmicro_lab.data.cards import Expected, Part, read_card
from tsfmicro_lab.data.recordings import Recordings
from tsfmicro_lab.data.schema import Dataset, check_annotations, describe

#: MEGC2018 counts objective classes I to V: 253 clips, by the tables of both data sets.
OBJECTIVE = ("I", "II", "III", "IV", "V")


class Composite:
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

    def __len__(self) -> int:
        return len(self.annotations)

    def __getitem__(self, index: int) -> Clip:
        """The clip of that row of the annotations, with the composite's subject and class."""
        row = self.annotations.iloc[index]
        return replace(self.parts[row["data"]][int(row["row"])], subject=row["subject"], emotion=row["emotion"])

    def __repr__(self) -> str:
        return f"{self.name}: " + describe(self, f" from {', '.join(self.parts)}")


def megc2019(smic: Recordings, casme2: Recordings, samm: Recordings) -> Composite:
    """The composite of the 2019 challenge: three data sets, three classes, 442 clips, 68 subjects.

    SMIC comes with labels HS, CASME II with 2014. `log_subject` and `log_clip` are the names that the challenge's logs
    use; the report names counts that differ.

    Raises:
        ValueError: A part is another data set, or has other labels than the challenge.
    """
    card, report, chosen = read_card("megc2019"), Corrections(), []
    for rule, given in zip(card.parts, (smic, casme2, samm), strict=True):
        _check_part(card.name, given, rule.name, rule.labels)
        names = given.annotations["subject"] + "/" + given.annotations["clip"]
        part = given.select(~names.isin(rule.without) & given.annotations["emotion_megc"].notna())
        part.annotations = part.annotations.assign(**_log_names(part.annotations, rule))
        compare_counts(part.annotations, rule.expected, report, rule.name, "emotion_megc")
        chosen.append(part)
    return _counted(Composite(chosen, card.name, "emotion_megc"), card.expected, report)


def megc2018(casme2: Recordings, samm: Recordings) -> Composite:
    """The composite of the 2018 challenge: objective classes I to V, by action units and no emotion; 253 clips.

    CASME II comes with labels `objective`, for the classes in its 2019 table are others.

    Raises:
        ValueError: A part is another data set, or has other labels.
    """
    chosen = []
    for part, name, labels in ((casme2, "casme2", "objective"), (samm, "samm", "v2")):
        _check_part("megc2018", part, name, labels)
        roman = part.annotations["objective"].map(dict(enumerate(OBJECTIVE, start=1)))
        part = part.select(roman.notna())
        part.annotations = part.annotations.assign(objective_class=roman.dropna().to_list())
        chosen.append(part)
    return _counted(Composite(chosen, "megc2018", "objective_class"), Expected(clips=253), Corrections())


def _check_part(challenge: str, part: Recordings, name: str, labels: str) -> None:
    if (part.name, part.labels) != (name, labels):
        got = f"{part.name} with labels {part.labels}"
        raise ValueError(f"{challenge.upper()} needs {name} with labels {labels}, got {got}: load('{name}', …)")


def _counted(composite: Composite, expected: Expected, report: Corrections) -> Composite:
    """Adds to the report of a composite where its counts are not those of the challenge."""
    compare_counts(composite.annotations, expected, report, composite.name)
    composite.report = pd.concat([composite.report, report.table.assign(data=composite.name)], ignore_index=True)
    return composite


def _log_names(table: pd.DataFrame, rule: Part) -> dict[str, list[str]]:
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
