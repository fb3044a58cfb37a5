import pytest

from tsfmicro_lab.data.action_units import parse_action_units, read_key


@pytest.mark.parametrize(
    ("text", "names", "doubt"),
    [
        ("4", ("4",), ""),
        ("4+R10", ("4", "R10"), ""),
        ("L1+L2", ("L1", "L2"), ""),
        ("12+15 ", ("12", "15"), ""),
        ("4，7、R9", ("4", "7", "R9"), ""),
        ("R4,5", ("R4", "5"), ""),
        ("AU4+AU7", ("4", "7"), ""),
        ("4+4", ("4",), ""),
        ("4?+4", ("4",), "unsure of 4"),
        ("l12b", ("L12",), ""),
        ("L12 or L14", ("L12", "L14"), "unsure of L12, L14"),
        ("ref(7B)+43", ("7", "43"), "unsure of 7"),
        ("4+13?", ("4", "13"), "unsure of 13"),
        ("(4)+12", ("4", "12"), "unsure of 4"),
        ("R14+17+soft focus", ("R14", "17"), "'soft focus'"),
        ("12 or a smile", ("12",), "unsure of 12 and 'a smile'"),
        ("?", (), "'?'"),
        ("", (), ""),
        ("124", (), "'124'"),
    ],
)
def test_units_are_read_as_they_are_written_in_the_tables(text, names, doubt):
    coding = parse_action_units(text)
    assert coding.names == names
    assert coding.doubt == doubt


KEY = [
    "Key to the codes:",
    "4 = brow lowerer",
    "'U' = unilateral",
    "x - trace",
    "smirk: AU14, one-sided",
    "tongue = tongue shown",
]


def test_a_key_explains_words_and_letters_and_what_it_leaves_open_stays_unknown():
    key = read_key(KEY)
    assert key == {"u": "#", "x": "#", "smirk": "14"}
    assert parse_action_units("U12+4x+smirk", key) == (("12", "4", "14"), "")
    assert parse_action_units("12+tongue", key).doubt == "'tongue'"
    assert not parse_action_units("12+tongue", key).known
    assert not parse_action_units("U12").known  # without the key


def test_a_key_never_changes_what_is_a_unit():
    assert read_key(["AU 4: brow lowerer", "AU12 = AU 14", "L12 = left AU 12", "12B = slight"]) == {}
