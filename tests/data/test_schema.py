import subprocess
import sys

import pandas as pd
import pytest

import tsfmicro_lab.data
from tsfmicro_lab.data import check_annotations

GOOD = {
    **{"subject": ["s1", "s1"], "clip": ["a", "b"], "onset": [0, 0], "apex": [3, None], "offset": [5, 6]},
    **{"emotion": ["joy", None], "action_units": ["12", ""], "fps": [200.0, 200.0]},
}


def test_a_sound_table_gets_a_whole_apex():
    assert check_annotations(pd.DataFrame(GOOD)).apex.dtype == "Int64"
    assert len(check_annotations(pd.DataFrame(GOOD).iloc[:0].astype({"onset": int}))) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"subject": [1, 2]}, "column 'subject' of the annotations must hold text, got 1"),
        ({"subject": ["s1", None]}, "column 'subject' of the annotations must have a value in every row"),
        ({"onset": [-1, 0]}, "column 'onset' of the annotations must hold frame numbers from 0"),
        ({"offset": [5.5, 6.0]}, "column 'offset' of the annotations must hold frame numbers"),
        ({"fps": [0.0, 200.0]}, "column 'fps' of the annotations must hold numbers above 0"),
        ({"emotion": [1, 2]}, "column 'emotion' of the annotations must hold text"),
        ({"clip": ["a", "a"]}, "the annotations have clip s1/a with onset 0 twice"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(change, message):
    with pytest.raises(ValueError, match=message):
        check_annotations(pd.DataFrame(GOOD | change))
    with pytest.raises(ValueError, match="the annotations lack clip, onset, apex, offset, emotion, action_units, fps"):
        check_annotations(pd.DataFrame({"subject": ["s1"]}))


def test_names_of_the_package_are_found_when_asked_for():
    assert {"prepare", "Samples", "megc2019", "load"} <= set(dir(tsfmicro_lab.data))
    assert all(getattr(tsfmicro_lab.data, name) for name in tsfmicro_lab.data.__all__)
    with pytest.raises(ImportError, match="cannot import name 'prepares'"):
        exec("from tsfmicro_lab.data import prepares")


def test_cards_are_read_without_torch():
    code = "import sys, tsfmicro_lab.data.cards as c; c.list_cards(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
