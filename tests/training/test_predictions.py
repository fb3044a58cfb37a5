import numpy as np
import pandas as pd
import pytest

from tsfmicro_lab.training.predictions import read_predictions, write_predictions


def test_a_table_reads_back_as_it_was_to_the_last_bit(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "subject": ["006", "1e5", "NA", 's,"é"\n'],
            "clip": ["EP01", "001", "nan", "None"],
            "onset": [0, 7, 12, 1],
            "truth": ["", "4+12", "4", "null"],
            "p_4": rng.random(4) ** 30,
            "p_12": rng.random(4).astype(np.float32),
            "uf1": [1.0, np.nan, 0.0, np.inf],
            "model": "tsfmicro_late",
            "seed": 0,
            "marked": [True, False, True, True],
        }
    )
    write_predictions(table, tmp_path / "folds" / "a.csv")
    again = read_predictions(tmp_path / "folds" / "a.csv")
    assert [list(again[name]) for name in ("subject", "clip", "truth")] == [
        list(table[name]) for name in ("subject", "clip", "truth")
    ]
    pd.testing.assert_frame_equal(again, table.astype({"p_12": float}), check_dtype=False, check_exact=True)
    assert [again[name].dtype for name in ("onset", "seed", "uf1", "p_12", "marked")] == [int, int, float, float, bool]


def test_a_column_that_looks_like_numbers_can_be_declared_text(tmp_path):
    write_predictions(pd.DataFrame({"unit": ["04", ""]}), tmp_path / "a.csv")
    assert read_predictions(tmp_path / "a.csv", "unit").unit.tolist() == ["04", ""]


def test_a_file_that_is_too_large_or_no_table_is_one_sentence(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_text('a,b\n1,2,"3\n')
    with pytest.raises(ValueError, match=r"a\.csv is no CSV table"):
        read_predictions(path)
    monkeypatch.setattr("tsfmicro_lab.training.predictions.MAX_BYTES", 4)
    with pytest.raises(ValueError, match="is larger than"):
        read_predictions(path)


def test_names_with_every_kind_of_mark_are_read_back(tmp_path):
    names = ["006", "a,b", 'say "x"', "two\nlines", "back\rwards", "", "é"]
    write_predictions(pd.DataFrame({"subject": names, "p_a": [0.1] * len(names)}), tmp_path / "a.csv")
    assert read_predictions(tmp_path / "a.csv").subject.tolist() == names


@pytest.mark.parametrize("line", ["a,1,2", "a", 'a,"1'], ids=["long", "short", "open quote"])
def test_a_row_of_another_length_is_refused(tmp_path, line):
    (tmp_path / "a.csv").write_text(f"subject,p_a\nb,0.5\n{line}\n")
    with pytest.raises(ValueError, match="no CSV table whose rows all have the cells of its header"):
        read_predictions(tmp_path / "a.csv")
