import pandas as pd
import pytest

from studies.megc_log import read_moments, write_moments
from tsfmicro_lab.training.metrics import match_moments, spotting_scores


def moments(film, spans, emotions=None):
    table = pd.DataFrame(spans, columns=["onset", "offset"]).assign(film=film)
    return table if emotions is None else table.assign(emotion=list(emotions))


@pytest.mark.parametrize(
    ("found", "counts"),
    [
        ([(0, 2)], (1, 0, 0)),
        ([(0, 1)], (1, 0, 0)),  # one half is enough
        ([(-6, 8)], (0, 1, 1)),  # seven times too long
        ([(0, 2), (0, 1.9)], (1, 0, 1)),  # the second span of a moment is a false alarm
        ([(4, 6)], (0, 1, 1)),
        ([], (0, 1, 0)),
    ],
)
def test_hits_misses_and_alarms_of_one_moment(found, counts):
    scores = spotting_scores(moments("a", [(0, 2)]), moments("a", found))
    assert (scores["hits"], scores["misses"], scores["alarms"]) == counts


def test_scores_of_several_films_are_those_counted_by_hand():
    """Three hits of five true moments, two alarms: F1 6/10. Truth a, a, b; said a, b, b: F1 of a 2/3, of b 2/3."""
    true = pd.concat(
        [moments("x", [(0, 10), (20, 30), (40, 50)], "aab"), moments("y", [(0, 4), (9, 10)], "bb")], ignore_index=True
    )
    found = pd.concat([moments("x", [(0, 8), (21, 30), (60, 70)], "aba"), moments("y", [(0, 4), (20, 30)], "bb")])
    scores = spotting_scores(true, found)
    assert (scores["precision"], scores["recall"], scores["f1"]) == (0.6, 0.6, 0.6)
    assert scores["recognition"] == pytest.approx(2 / 3)
    assert scores["strs"] == pytest.approx(0.4)
    assert "strs" not in spotting_scores(true.drop(columns="emotion"), found)
    per_film = [spotting_scores(true.query("film == @f"), found.query("film == @f"))["f1"] for f in "xy"]
    assert sum(per_film) / 2 != pytest.approx(scores["f1"]), "a mean over films is another number"
    other = found.assign(film=found.film.map({"x": "y", "y": "x"}))
    # Only (20, 30) lies in both, and (0, 4) and (0, 8) meet by half.
    assert spotting_scores(true, other)["hits"] == 2, "a span in another film is no hit"


def test_a_film_without_a_moment_counts_by_its_false_alarms():
    quiet = spotting_scores(moments("a", []), moments("b", [(0, 1)], "a"))
    assert (quiet["f1"], quiet["alarms"]) == (0, 1)
    assert spotting_scores(moments("a", [(0, 1)], "a"), moments("b", [], ""))["strs"] == 0


def test_the_best_of_several_spans_is_the_hit():
    pairs = match_moments(moments("a", [(0, 10)]), moments("a", [(0, 6), (0, 9), (0, 20)]))
    assert pairs.found.tolist() == [1]
    assert pairs.iou.tolist() == [0.9]


def test_the_challenges_logs_go_out_and_in(tmp_path):
    table = moments("006_1_2", [(12, 80), (300, 420)], ["negative", "surprise"]).assign(
        kind=["me", "mae"], subject="06"
    )
    for log, header in {
        "spotting": "vid,pred_onset,pred_offset,type",
        "str": "subject,video,onset,offset,emotion",
    }.items():
        write_moments(path := tmp_path / f"{log}.csv", table, log)
        assert path.read_text().splitlines()[0] == header
        back = read_moments(path)
        pd.testing.assert_frame_equal(back, table[[*back]])
        assert spotting_scores(table, back)["f1"] == 1
    assert read_moments(tmp_path / "str.csv").subject.tolist() == ["06", "06"]


def test_a_log_that_is_none_is_told(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("video,begin,end\na,1,2\n")
    with pytest.raises(ValueError, match=r"x.csv has no column film, offset, onset: name them"):
        read_moments(path)
    path.write_text("film,onset,offset\na,1,9\na,30,20\n")
    with pytest.raises(ValueError, match=r"row 2: onset and offset must be numbers"):
        read_moments(path)
    with pytest.raises(ValueError, match="needs emotion, subject"):
        write_moments(path, moments("a", [(1, 2)]), "str")
