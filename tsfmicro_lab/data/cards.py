"""Data cards: one Markdown file per data set, whose YAML front matter is what the loaders know about it."""

import re
from functools import cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, StrictInt, ValidationError, model_validator

#: Fields that a table must give and that it may give.
REQUIRED, OPTIONAL = ("subject", "clip", "onset", "offset"), ("apex", "emotion", "action_units", "fps")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Expected(_Strict):
    """How much a complete copy holds."""

    clips: int | None = None  #: number of micro-expressions in the table
    subjects: int | None = None  #: number of subjects in it
    emotions: dict[str, int] = {}  #: clips of each emotion, in the card's own spelling


class Lookup(_Strict):
    """A second sheet that translates a name of the table into a name on disk."""

    sheet: str  #: the sheet; it has no header
    of: str  #: field that is translated
    pattern: str = ".+"  #: what part of it is looked up
    key: int  #: position of the column that holds that part
    value: int  #: position of the column that holds the translation


class Side(_Strict):
    """A table that gives further fields to the rows of another, found by subject and clip."""

    files: list[str]  #: names the table goes by, as patterns below the root
    columns: dict[str, str]  #: field → name of its column


class Labels(_Strict):
    """One release of the annotations: a table, or a tree of folders whose names are the labels."""

    files: list[str] = []  #: names the table goes by, as patterns below the root; the first that is there is read
    tree: str | None = None  #: instead of a table: a clip's folder, with `{subject}`, `{emotion}`, `{clip}` in it
    sheet: str | None = None  #: sheet of the workbook; the first by default
    headless: bool = False  #: whether the sheet has no header, so that columns go by position
    columns: dict[str, str | StrictInt] = {}  #: field of the annotations → name (or position) of its column
    keep: dict[str, str] = {}  #: field → value: other rows are no micro-expressions
    lookups: dict[str, Lookup] = {}  #: further fields, found in other sheets
    side: Side | None = None  #: further fields, found in another table
    unset: list[str] = []  #: fields whose 0 means that nobody annotated them
    fps: float | None = Field(None, gt=0)  #: frames per second where this release differs from the card
    expected: Expected = Expected()  #: how much a complete copy holds

    @model_validator(mode="after")
    def _table_or_tree(self) -> "Labels":
        if bool(self.files) == bool(self.tree):
            raise ValueError("give either files (a table) or tree (folders)")
        if self.files and (missing := [field for field in REQUIRED if field not in self.columns]):
            raise ValueError(f"columns must name {', '.join(missing)}")
        return self


class Fault(_Strict):
    """A known mistake of a release, found by subject, clip and onset, and what to do about it."""

    subject: str  #: subject as the table writes it
    clip: str  #: clip as the table writes it
    onset: int | None = None  #: onset as the table has it; may be left out where subject and clip name one row
    correct: dict[str, tuple[int | None, int | None]] = {}  #: field → value that is wrong, right one (None: unknown)
    drop: bool = False  #: whether the row is of no use
    doubt: bool = False  #: whether the row stays as it is but is doubtful
    why: str = Field(min_length=1)  #: the mistake and who says so

    @model_validator(mode="after")
    def _one_remedy(self) -> "Fault":
        if bool(self.correct) + self.drop + self.doubt != 1:
            raise ValueError("a fault has one remedy: correct, drop or doubt")
        return self


class FrameFiles(_Strict):
    """Where the frames of a clip lie."""

    folders: list[str] = []  #: below the root; `{subject}`, `{clip}` and lookups are filled in, `*` is anything
    number: str = r"(\d+)\.(?:jpe?g|png|bmp)$"  #: regular expression whose first group is the frame number of a file
    long: bool = False  #: whether a folder holds a long recording, of which a clip is the stretch from onset to offset


class Part(_Strict):
    """A data set's part in a composite."""

    name: str  #: card of the data set
    labels: str  #: release of its annotations
    subject: str = "{subject}"  #: how the composite's logs write a subject
    clip: str = "{clip}"  #: how they write a clip; `{rest}` is what follows its first underscore
    without: list[str] = []  #: clips left out, as `subject/clip`
    expected: Expected = Expected()  #: how many clips of each class it gives


class Card(_Strict):
    """What is known of a data set, read from its card."""

    name: str = Field(pattern=r"^[a-z0-9]+$")  #: short name, as `load` takes it
    pretty_name: str  #: name in prose
    license: str  #: of the data set; `other` means its own agreement
    access: str  #: where and how to get it
    tags: list[str] = []  #: words to find it by
    fps: float | None = Field(None, gt=0)  #: frames per second
    resolution: tuple[int, int] | None = None  #: width and height of a frame, pixels
    classes: list[str] = Field(min_length=1)  #: emotions, in our spelling
    spelling: dict[str, str] = {}  #: other spelling → ours; compared in lower case
    maps: dict[str, dict[str, str]] = {}  #: class set (`megc`, `five`) → emotion → class; others are left out
    labels: dict[str, Labels] = {}  #: releases of the annotations
    frames: FrameFiles = FrameFiles()  #: where the frames lie
    faults: list[Fault] = []  #: known mistakes
    digits: int = 0  #: of a subject's number, whose zeros a spreadsheet may have dropped; 0 where it has none
    words: dict[str, str] = {}  #: word between action units → the unit it stands for; nothing: it stands for none
    max_frames: int | None = None  #: A longer expression is doubtful
    parts: list[Part] = []  #: of a composite, its data sets
    expected: Expected = Expected()  #: how much a complete composite holds
    prose: str = ""  #: the text below the front matter

    @model_validator(mode="after")
    def _names_agree(self) -> "Card":
        for name, mapping in {"spelling": dict.fromkeys(self.spelling.values(), ""), **self.maps}.items():
            if unknown := sorted(set(mapping) - set(self.classes)):
                raise ValueError(f"{name} speaks of {', '.join(unknown)}, which classes does not have")
        return self


def cards_folder() -> Path:
    """Folder of the cards: inside the installed package, or beside it in a checkout."""
    places = [folder / "data_cards" for folder in Path(__file__).parents[1:3]]
    for place in places:
        if (place / "synthetic.md").is_file():
            return place
    raise FileNotFoundError(f"no data cards in {places[0]} or {places[1]}: install tsfmicro-lab again")


def list_cards() -> list[str]:
    """Names of all data cards."""
    return sorted(path.stem for path in cards_folder().glob("*.md"))


@cache
def read_card(name: str) -> Card:
    """Reads a data card by its name, which :func:`list_cards` gives; a ValueError says that there is none."""
    if name not in list_cards():
        raise ValueError(f"no data card '{name}': choose from {', '.join(list_cards())}")
    return parse_card((cards_folder() / f"{name}.md").read_text(encoding="utf-8"), f"{name}.md")


def parse_card(text: str, source: str = "card") -> Card:
    """Checks the text of a card, YAML between two lines `---` and then Markdown; a ValueError names every fault."""
    match = re.match(r"---\n(.*?)\n---\n(.*)", text, re.DOTALL)
    if not match:
        raise ValueError(f"{source} has no front matter: begin it with a line ---, then YAML, then a line ---")
    try:
        front = yaml.safe_load(match[1])
        if not isinstance(front, dict):
            raise ValueError(f"the front matter of {source} must be fields with values, got {type(front).__name__}")
        return Card.model_validate({**front, "prose": match[2].strip()})
    except yaml.YAMLError as error:
        raise ValueError(f"the front matter of {source} is no YAML: {error}") from error
    except ValidationError as error:
        places = [f"{'.'.join(map(str, e['loc'])) or 'card'}: {e['msg']}" for e in error.errors()]
        raise ValueError(f"the front matter of {source} does not fit the schema:\n  " + "\n  ".join(places)) from error
