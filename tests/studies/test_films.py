from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from studies import said
from studies.spotting import CONDITIONS, SHOWN, Film, Held, Spotting


@pytest.fixture(scope="module")
def made():
    """Two films whose truth is found."""
    films = [{"film": f"{c}-0", "condition": c, "seed": 0, "seconds": 20.0} for c in ("rest", "hands")]
    true = [
        {"film": film["film"], "onset": t, "apex": t + 0.2, "offset": t + 0.4, "emotion": e}
        for film in films
        for t, e in zip((2, 6, 11, 17), "abab", strict=True)
    ]
    true = pd.DataFrame(true)
    apexes = pd.DataFrame([{"guess": "spot_apex", "seed": 0, "ends": 0.0, "error": e} for e in (1, 3)])
    return Spotting({}, pd.DataFrame(films), true, true, apexes)


def test_a_perfect_spotter_a_wide_one_and_three_controls(made, tmp_path):
    made.save(tmp_path / "x.json")
    scores = Spotting.load(tmp_path / "x.json").scores().set_index(["spotter", "condition"])
    assert (scores.f1["spotter"] == 1).all()
    assert scores.strs["spotter", "all"] == 1
    assert (scores.f1["silent"] == 0).all()
    assert (scores["alarms a minute"]["silent"] == 0).all()
    wide = made.true.assign(onset=made.true.onset - 0.3, offset=made.true.offset + 0.3)
    worse = replace(made, found=wide).scores().set_index(["spotter", "condition"])
    assert (worse.f1["spotter"] == 0).all()
    assert worse["alarms a minute"]["spotter", "all"] == 8 / (40 / 60)
    # A span of 0.4 s hits another of 0.4 s within 2/15 s: eight spans of 20 s, four of them in each film.
    assert 0.02 < scores.f1["random", "all"] < 0.15
    assert scores.hits["every second", "all"] in range(9)
    assert made.table().spotter.tolist() == ["spotter", "random", "every second", "silent"]
    assert made.apex_table()["at rest"].tolist() == ["2.0 (2)"]


def test_it_is_told_how_much_closer_an_apex_is(made):
    rows = [
        {"guess": guess, "seed": seed, "ends": ends, "error": error + seed % 2}
        for seed in range(2)
        for ends, guess, error in ((0.0, "spot_apex", 1), (0.0, "middle", 6), (1.0, "spot_apex", 9), (1.0, "middle", 9))
    ]
    told = said.apexes(replace(made, apexes=pd.DataFrame(rows)))
    assert "by Holm: 5.0 (5.0 to 5.0) in clips that end at rest. Too uncertain" in told
    assert told.endswith("to tell: 0.0 (0.0 to 0.0) in clips that end at the apex.")


def test_what_happens_beside_the_expressions_comes_and_goes():
    still = np.abs(Film("rest", 3).motion.speech).sum(1)
    assert not still.any()
    talk = np.abs(Film("speech", 3).motion.speech).sum(1) > 0
    assert 0.2 < talk.mean() < 0.9
    hands = Film("hands", 3)
    middle = int(hands.middles[0])
    assert np.array_equal(hands.seen(int(hands.table.apex[0])), hands.frames[int(hands.table.apex[0])])
    changed = (hands.seen(middle) != hands.frames[middle]).any(-1)
    assert 0.01 < changed.mean() < 0.3
    assert len(hands.table) == SHOWN
    assert len(Film("steps", 3).takes) > SHOWN
    assert set(CONDITIONS) >= {"rest", "blinks", "speech", "turns", "steps", "hands"}


def test_a_held_expression_stays():
    motion = Film("rest", 3).takes[0][1].motion
    held = Held(**{**vars(motion), "offset": 200})
    assert [held.intensity(k) for k in (-1, 20, 100, 180, 201)] == [0, 1, 1, 1, 0]
    assert 0 < held.intensity(10) < 1
