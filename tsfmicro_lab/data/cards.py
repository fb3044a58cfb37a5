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
    """How much a complete copy holds.

    Attributes:
        clips: Number of micro-expressions in the table.
        subjects: Number of subjects in it.
        emotions: Clips of each emotion, in the card's own spelling.
    """

    clips: int | None = None
    subjects: int | None = None
    emotions: dict[str, int] = {}


class Lookup(_Strict):
    """A second sheet that translates a name of the table into a name on disk.

    Attributes:
        sheet: The sheet; it has no header.
        of: Field that is translated.
        pattern: What part of it is looked up.
        key: Position of the column that holds that part.
        value: Position of the column that holds the translation.
    """

    sheet: str
    of: str
    pattern: str = ".+"
    key: int
    value: int


class Side(_Strict):
    """A table that gives further fields to the rows of another, found by subject and clip.

    Attributes:
        files: Names the table goes by, as patterns below the root.
        columns: Field → name of its column.
    """

    files: list[str]
    columns: dict[str, str]


class Labels(_Strict):
    """One release of the annotations: a table, or a tree of folders whose names are the labels.

    Attributes:
        files: Names the table goes by, as patterns below the root; the first that is there is read.
        tree: Instead of a table: the folder of a clip, with `{subject}`, `{emotion}` and `{clip}` in it.
        sheet: Sheet of the workbook; the first by default.
        header: Row of the header, counted from 0; None where the sheet has none and columns go by position.
        columns: Field of the annotations → name (or position) of its column.
        keep: Field → value: other rows are no micro-expressions.
        lookups: Further fields, found in other sheets.
        side: Further fields, found in another table.
        unset: Fields whose 0 means that nobody annotated them.
        fps: Frames per second where this release differs from the card.
        expected: How much a complete copy holds.
    """

    files: list[str] = []
    tree: str | None = None
    sheet: str | None = None
    header: int | None = 0
    columns: dict[str, str | StrictInt] = {}
    keep: dict[str, str] = {}
    lookups: dict[str, Lookup] = {}
    side: Side | None = None
    unset: list[str] = []
    fps: float | None = Field(None, gt=0)
    expected: Expected = Expected()

    @model_validator(mode="after")
    def _table_or_tree(self) -> "Labels":
        if bool(self.files) == bool(self.tree):
            raise ValueError("give either files (a table) or tree (folders)")
        missing = [field for field in REQUIRED if field not in self.columns]
        if self.files and missing:
            raise ValueError(f"columns must name {', '.join(missing)}")
        return self


class Fault(_Strict):
    """A known mistake of a release, found by subject, clip and onset, and what to do about it.

    Attributes:
        subject: Subject as the table writes it.
        clip: Clip as the table writes it.
        onset: Onset as the table has it; may be left out where subject and clip name one row.
        correct: Field → right value. None means: nobody knows.
        drop: Whether the row is of no use.
        doubt: Whether the row stays as it is but is doubtful.
        why: The mistake and who says so.
    """

    subject: str
    clip: str
    onset: int | None = None
    correct: dict[str, int | None] = {}
    drop: bool = False
    doubt: bool = False
    why: str = Field(min_length=1)

    @model_validator(mode="after")
    def _one_remedy(self) -> "Fault":
        if bool(self.correct) + self.drop + self.doubt != 1:
            raise ValueError("a fault has one remedy: correct, drop or doubt")
        return self


class FrameFiles(_Strict):
    """Where the frames of a clip lie.

    Attributes:
        folders: Folders to look in, below the root: `{subject}`, `{clip}` and lookups are filled in, `*` is anything.
        number: Regular expression whose first group is the frame number of a file.
        long: Whether a folder holds a long recording, of which a clip is the stretch from onset to offset.
    """

    folders: list[str] = []
    number: str = r"(\d+)\.(?:jpe?g|png|bmp)$"
    long: bool = False


class Part(_Strict):
    """A data set's part in a composite.

    Attributes:
        name: Card of the data set.
        labels: Release of its annotations.
        subject: How the composite's logs write a subject.
        clip: How they write a clip; `{rest}` is what follows its first underscore.
        without: Clips left out, as `subject/clip`.
        expected: How many clips of each class it gives.
    """

    name: str
    labels: str
    subject: str = "{subject}"
    clip: str = "{clip}"
    without: list[str] = []
    expected: Expected = Expected()


class Card(_Strict):
    """What is known of a data set, read from its card.

    Attributes:
        name: Short name, as `load` takes it.
        pretty_name: Name in prose.
        license: Of the data set; `other` means its own agreement.
        access: Where and how to get it.
        tags: Words to find it by.
        fps: Frames per second.
        resolution: Width and height of a frame, pixels.
        classes: Emotions, in our spelling.
        spelling: Other spelling → ours; compared in lower case.
        maps: Class set (`megc`, `five`, `seven`) → emotion → class; emotions not named are left out of it.
        labels: Releases of the annotations.
        frames: Where the frames lie.
        faults: Known mistakes.
        max_frames: A longer expression is doubtful.
        parts: Of a composite, its data sets.
        expected: How much a complete composite holds.
        prose: The text below the front matter.
    """

    name: str = Field(pattern=r"^[a-z0-9]+$")
    pretty_name: str
    license: str
    access: str
    tags: list[str] = []
    fps: float | None = Field(None, gt=0)
    resolution: tuple[int, int] | None = None
    classes: list[str] = Field(min_length=1)
    spelling: dict[str, str] = {}
    maps: dict[str, dict[str, str]] = {}
    labels: dict[str, Labels] = {}
    frames: FrameFiles = FrameFiles()
    faults: list[Fault] = []
    max_frames: int | None = None
    parts: list[Part] = []
    expected: Expected = Expected()
    prose: str = ""

    @model_validator(mode="after")
    def _names_agree(self) -> "Card":
        for name, mapping in {"spelling": dict.fromkeys(self.spelling.values(), ""), **self.maps}.items():
            if unknown := sorted(set(mapping) - set(self.classes)):
                raise ValueError(f"{name} speaks of {', '.join(unknown)}, which classes does not have")
        return self


def cards_folder() -> Path:
    """Folder of the cards: inside the installed package, or beside it in a checkout.

    Raises:
        FileNotFoundError: It is in neither place.

    Example:
        >>> cards_folder().name
        'data_cards'
    """
    package = Path(__file__).parents[1]
    places = [package / "data_cards", package.parent / "data_cards"]
    for place in places:
        if (place / "synthetic.md").is_file():
            return place
    raise FileNotFoundError(f"no data cards in {places[0]} or {places[1]}: install tsfmicro-lab again")


def list_cards() -> list[str]:
    """Names of all data cards.

    Example:
        >>> list_cards()[:4]
        ['4dme', 'casme', 'casme2', 'casme3']
    """
    return sorted(path.stem for path in cards_folder().glob("*.md"))


@cache
def read_card(name: str) -> Card:
    """Reads a data card by name.

    Args:
        name: As `list_cards` gives it.

    Raises:
        ValueError: There is no such card.

    Example:
        >>> card = read_card("casme2")
        >>> card.fps, sorted(card.labels)
        (200.0, ['2014', '2019', 'objective'])
    """
    if name not in list_cards():
        raise ValueError(f"no data card '{name}': choose from {', '.join(list_cards())}")
    card = parse_card((cards_folder() / f"{name}.md").read_text(encoding="utf-8"), f"{name}.md")
    if card.name != name:
        raise ValueError(f"data card {name}.md calls itself '{card.name}': give file and card one name")
    return card


def parse_card(text: str, source: str = "card") -> Card:
    """Checks the text of a card against the schema.

    Args:
        text: YAML between two lines `---`, then Markdown.
        source: What messages call it.

    Raises:
        ValueError: The front matter is missing, no YAML, or not what the schema asks for; every place is named.

    Example:
        >>> parse_card("no front matter")
        Traceback (most recent call last):
        ...
        ValueError: card has no front matter: begin it with a line ---, then YAML, then a line ---
    """
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
