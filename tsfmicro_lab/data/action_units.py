"""Action units as coders write them: one-sided, doubtful, alternative, with intensities and remarks between them."""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import pandas as pd

_UNIT = re.compile(r"(?P<side>[LRTB])?(?:AU|AD|M)?(?P<number>\d{1,2})[A-E]?", re.IGNORECASE)
#: Commas, full-width and Chinese ones among them, plus, ampersand, semicolon, slash.
_SEPARATORS = re.compile(r"[+,&;/，、；＋]")
#: A line of a key, `code = what it means`, and meanings that leave open which unit it is: side and strength.
_EXPLAINED = re.compile(r"""\W*?["'(]?([^\W\d][^=:–]{0,23}?)["')]?\s*(?:[=:–]|\s-\s)\s*(.+)""")
_ASIDE = re.compile("(?i)left|right|upper|lower|top|bottom|lateral|side|intens|trace|slight|marked|severe|maxim")


class Coding(NamedTuple):
    """The action units of a clip."""

    names: tuple[str, ...]  #: such as `12`, or one-sided `L12` (left), `R12`, `T12` (top) or `B12`, each once
    doubt: str  #: what is doubtful, in words; nothing where all is clear

    @property
    def known(self) -> bool:
        """Whether every word was understood: else a unit that is not named may move all the same."""
        return bool(self.names) and not self.doubt


def parse_action_units(text: str, words: Mapping[str, str] = MappingProxyType({})) -> Coding:
    """Reads action units as the tables of the field write them; nothing is guessed and no word is lost.

    A unit is doubtful where the coder was unsure (`13?`, `(13)`, `12 or 14`) or saw it at rest (`ref(7B)`); its
    intensity, `A` to `E`, is left aside. Action descriptors (`AD19`) and movements of head and eyes (`M55`) count as
    units, whose numbers they share. `words` are those that a data set's own key explains (see :func:`read_key`).

    Example:
        >>> parse_action_units("R14+17+soft focus")
        Coding(names=('R14', '17'), doubt="'soft focus'")
        >>> parse_action_units("L12 or L14").doubt
        'unsure of L12, L14'
    """
    units: dict[str, bool] = {}
    remarks: list[str] = []
    aside = "|".join(re.escape(word) for word, unit in words.items() if unit == "#") or "$^"
    text = re.sub(rf"\b(?:{aside})(?=[LRTB]?\d)|(?<=\d)(?:{aside})\b", "", text, flags=re.IGNORECASE)
    for part in filter(None, (part.strip() for part in _SEPARATORS.split(text))):
        choices = re.split(r"\s+or\s+", part, flags=re.IGNORECASE)
        for choice in choices:
            bare = re.sub(r"^ref(?=\()|[()（）?？\s]", "", words.get(choice.lower(), choice), flags=re.IGNORECASE)
            if match := _UNIT.fullmatch(bare):
                name = f"{(match['side'] or '').upper()}{int(match['number'])}"
                guessed = len(choices) > 1 or bare not in (choice, words.get(choice.lower()))
                units[name] = units.get(name, False) or guessed
            elif bare or choice.lower() not in words:
                remarks.append(f"'{choice}'")
    unsure = ", ".join(name for name, doubtful in units.items() if doubtful)
    doubts = (f"unsure of {unsure}" if unsure else "", ", ".join(remarks))
    return Coding(tuple(units), " and ".join(filter(None, doubts)))


def read_key(lines: Iterable[str]) -> dict[str, str]:
    """Words that the lines above a table explain → the unit that is named, or `#` for a side or strength beside one.

    What is explained by neither stays unknown: it may be a movement for which there is no number.

    Example:
        >>> read_key(["Key", "U = unilateral", "smirk: AU 14 on one side", "AD = action descriptor"])
        {'u': '#', 'smirk': '14'}
    """
    key = {}
    for word, meaning in (match.groups() for line in lines if (match := _EXPLAINED.match(line))):
        if unit := re.search(r"\bAU ?(\d+)", meaning):
            key[word.lower()] = unit[1]
        elif len(word) <= 2 and _ASIDE.search(meaning):
            key[word.lower()] = "#"
    return {word: unit for word, unit in key.items() if not _UNIT.fullmatch(word.replace(" ", ""))}


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
