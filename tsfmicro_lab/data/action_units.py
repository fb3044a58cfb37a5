"""Action units as coders write them: one-sided, doubtful, alternative, with intensities and remarks between them."""

import re
from dataclasses import dataclass

import pandas as pd

_UNIT = re.compile(r"(?P<side>[LRTB])?(?:AU)?(?P<number>\d{1,2})(?P<intensity>[A-E])?", re.IGNORECASE)
#: Commas, full-width and Chinese ones among them, plus, ampersand, semicolon, slash.
_SEPARATORS = re.compile(r"[+,&;/，、；＋]")


@dataclass(frozen=True)
class ActionUnit:
    """One action unit, in words `12` or one-sided `L12`."""

    number: int  #: in FACS
    side: str = ""  #: `L` left, `R` right, `T` top, `B` bottom, or nothing for both sides
    intensity: str = ""  #: `A` (a trace) to `E` (the maximum), or nothing where it was not coded
    doubtful: bool = False  #: the coder was unsure: `13?`, `(13)`, `12 or 14`, or saw it at rest, `ref(7B)`

    def __str__(self) -> str:
        return f"{self.side}{self.number}"


@dataclass(frozen=True)
class Coding:
    """The action units of a clip, and what else was written among them."""

    units: tuple[ActionUnit, ...] = ()  #: what was understood
    remarks: tuple[str, ...] = ()  #: what is no action unit, such as `soft focus`

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the units, each once, as a clip carries them."""
        return tuple(dict.fromkeys(map(str, self.units)))

    @property
    def doubt(self) -> str:
        """What is doubtful, in words; nothing where all is clear."""
        unsure = ", ".join(str(unit) for unit in self.units if unit.doubtful)
        parts = [f"unsure of {unsure}" if unsure else "", ", ".join(f"'{remark}'" for remark in self.remarks)]
        return " and ".join(filter(None, parts))


def parse_action_units(text: str) -> Coding:
    """Reads action units as the tables of the field write them; nothing is guessed and no word is lost.

    Example:
        >>> coding = parse_action_units("R14+17+soft focus")
        >>> coding.names, coding.remarks
        (('R14', '17'), ('soft focus',))
        >>> parse_action_units("L12 or L14").doubt
        'unsure of L12, L14'
    """
    units: list[ActionUnit] = []
    remarks: list[str] = []
    for part in filter(None, (part.strip() for part in _SEPARATORS.split(text))):
        choices = re.split(r"\s+or\s+", part, flags=re.IGNORECASE)
        for choice in choices:
            bare = re.sub(r"^ref(?=\()|[()（）?？\s]", "", choice, flags=re.IGNORECASE)
            if match := _UNIT.fullmatch(bare):
                side, intensity = ((match[name] or "").upper() for name in ("side", "intensity"))
                units.append(ActionUnit(int(match["number"]), side, intensity, len(choices) > 1 or bare != choice))
            else:
                remarks.append(choice)
    return Coding(tuple(units), tuple(remarks))


def action_unit_table(annotations: pd.DataFrame, least: int = 1) -> pd.DataFrame:
    """Which action unit moves in which clip, sides left aside: the target that all coded data sets share.

    Units that occur in fewer than `least` clips, or in a composite in fewer of any data set, are left out.

    Example:
        >>> action_unit_table(pd.DataFrame({"action_units": ["L12+4", "12", ""]}))
               4     12
        0   True   True
        1  False   True
        2  False  False
    """
    units = [set(re.findall(r"\d+", text)) for text in annotations["action_units"]]
    names = sorted(set().union(*units), key=int)
    table = pd.DataFrame({name: [name in row for row in units] for name in names}, index=annotations.index)
    groups = annotations["data"] if "data" in annotations else pd.Series("all", index=annotations.index)
    return table.loc[:, (table.groupby(groups).sum() >= least).all()]
