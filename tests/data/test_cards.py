import re

import pytest

from tsfmicro_lab.data.cards import list_cards, parse_card, read_card
from tsfmicro_lab.data.synthetic import MEGC, PROTOTYPES

RECORDED = ["4dme", "casme", "casme2", "casme3", "casmesq", "dfme", "megc2018", "megc2019", "mmew", "samm", "smic"]
NAMES = sorted([*RECORDED, "photographs", "synthetic"])
SECTIONS = (
    "What it is.",
    "How it was made.",
    "Who is in it.",
    "Labels and what they do not mean.",
    "Counts.",
    "Recording.",
    "Layout on disk.",
    "Columns.",
    "Known faults.",
    "Licence and how to apply.",
    "Biases",
    "Where it must not be used.",
    "Citation.",
)
GOOD = """---
name: mine
pretty_name: Mine
license: other
access: ask me
classes: [a, b]
labels: {v1: {files: [t.csv], columns: {subject: S, clip: C, onset: Onset, offset: Offset}}}
---
# Mine
"""


def test_every_data_set_has_a_card():
    assert list_cards() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_card_fits_the_schema_and_answers_every_question(name):
    card = read_card(name)
    missing = [section for section in SECTIONS if f"**{section}" not in card.prose]
    assert not missing
    assert card.prose.startswith(f"# {card.pretty_name}")
    for labels in card.labels.values():
        if labels.expected.clips and labels.expected.emotions:
            assert sum(labels.expected.emotions.values()) == labels.expected.clips
            assert set(labels.expected.emotions) <= set(card.classes)
        folders = (labels.frames or card.frames).folders
        fields = {f for template in folders for f in re.findall(r"{(\w+)", template)}
        assert fields <= {*labels.columns, *labels.lookups, *["folder"] * bool(labels.tree)}
    assert card.labels or name in ("synthetic", "photographs", "megc2018", "megc2019")


def test_the_cards_count_what_the_field_counts():
    """Sums that the papers print, from parts that the tables print."""

    def counts(name, labels, classes):
        card = read_card(name)
        emotions = card.labels[labels].expected.emotions
        return sum(count for emotion, count in emotions.items() if emotion in card.maps[classes])

    assert counts("casme2", "2014", "five") == 246
    assert counts("casme2", "2019", "five") == 249
    assert counts("samm", "v2", "five") == 136
    assert counts("samm", "v2", "megc") == 133
    composite = read_card("megc2019")
    for what in ("clips", "subjects"):
        assert sum(getattr(p.expected, what) for p in composite.parts) == getattr(composite.expected, what)
    for emotion, count in composite.expected.emotions.items():
        assert sum(p.expected.emotions[emotion] for p in composite.parts) == count


def test_the_synthetic_card_says_what_the_program_does():
    card = read_card("synthetic")
    assert tuple(card.classes) == tuple(PROTOTYPES)
    assert card.maps["megc"] == MEGC


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("fps", "fps", None),
        ("classes: [a, b]", "classes: []", r"classes: \[\] should be non-empty"),
        ("license: other\n", "", r"'license' is a required property"),
        ("name: mine", "name: mine\ncolour: red", r"not allowed \('colour' was unexpected\)"),
        ("onset: Onset, ", "", r"labels\.v1: .*columns must name onset"),
        ("files: [t.csv]", "files: []", r"labels\.v1: .*give either files .* or tree"),
        (
            "classes: [a, b]",
            "classes: [a, b]\nmaps: {megc: {c: positive}}",
            r"megc speaks of c, which classes does not",
        ),
        ("classes: [a, b]", "classes: [a, b]\nfaults: [{subject: s, clip: c, why: x}]", r"faults\.0: .*one remedy"),
        ("onset: Onset", "onset: On", r"labels\.v1\.columns\.onset: True is not of type"),  # YAML reads it as true
        ("name: mine", "name: [mine", r"is no YAML"),
        (GOOD[4:-11], "- a list\n", r"card: .* is not of type 'object'"),
    ],
)
def test_a_wrong_card_is_told_where_and_why(old, new, message):
    if message is None:
        assert parse_card(GOOD).labels["v1"].columns["onset"] == "Onset"
        return
    assert old in GOOD
    with pytest.raises(ValueError, match=rf"(?s)mine\.md.*{message}"):
        parse_card(GOOD.replace(old, new), "mine.md")


def test_an_unknown_card_is_answered_with_those_there_are():
    with pytest.raises(ValueError, match=r"no data card '\.\./secret': choose from 4dme, casme"):
        read_card("../secret")
