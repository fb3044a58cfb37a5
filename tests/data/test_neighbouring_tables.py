"""What lies beside a table: other tables of the release, lists of exceptions, a key, and films of many movements."""

import cv2
import numpy as np
import openpyxl
import pandas as pd
import pytest

from lookalikes import synthesize
from lookalikes.layouts import LAYOUTS
from studies.films import movements
from tsfmicro_lab.data import SyntheticMicroExpressions, load, read_card

WHOLE = "CAS(ME)3_part_A_v2.xls"
HEAD = ["Subject", "Filename", "Onset", "Apex", "Offset", "AU", "Expression type", "Objective class"]


def write(path, sheet, columns, rows, above=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [["a line of text"] for _ in range(above)] + [columns] * bool(columns) + rows
    pd.DataFrame([[*row, *[""] * (len(rows[0]) - len(row))] for row in cells]).to_excel(
        path.with_suffix(".xlsx"), sheet_name=sheet, header=False, index=False
    )


def frames(folder, numbers, name="{}.jpg"):
    folder.mkdir(parents=True, exist_ok=True)
    for n in numbers:
        cv2.imwrite(str(folder / name.format(n)), np.full((8, 8, 3), n % 255, np.uint8))


@pytest.fixture
def casme3(tmp_path):
    synthesize("casme3", tmp_path / "c", clips=3, frames=False)
    return tmp_path / "c"


def key_frames(data, subject, clip):
    table = data.annotations
    rows = table[(table.subject == subject) & (table["clip"] == clip)]
    return [tuple(None if pd.isna(x) else int(x) for x in row) for row in rows[["onset", "apex", "offset"]].to_numpy()]


def test_the_table_beside_gives_key_frames_that_cannot_be(casme3):
    """True key frames stand in the other table; two clips that fit, or one with nothing in common, give nothing."""
    rows = [
        ["spNO.149", "d", 112, 118, 124, "4", "Micro-expression", "II"],
        ["spNO.149", "d", 300, 310, 320, "4", "Macro-expression", "II"],
        ["spNO.214", "c", 5, 9, 15, "4", "Micro-expression", "II"],
        ["spNO.216", "d", 2647, 2668, 2680, "4", "Micro-expression", "II"],
        ["spNO.40", "e", 20, 24, 31, "4", "Micro-expression", "II"],
        ["spNO.40", "e", 24, 26, 40, "4", "Micro-expression", "II"],
        ["spNO.216", "e", 20, 24, 30, "4", "Micro-expression", "II"],
    ]
    before = load("casme3", casme3)
    assert key_frames(before, "spNO.149", "d") == [(112, None, 124)]
    write(casme3 / "annotation" / WHOLE, "AU+Emotion", HEAD, rows)
    data = load("casme3", casme3)
    assert key_frames(data, "spNO.149", "d") == [(112, 118, 124)]
    assert key_frames(data, "spNO.214", "c") == [(5, 9, 15)]
    assert key_frames(data, "spNO.216", "d") == [(2647, 2668, 2680)]
    assert key_frames(data, "spNO.40", "e") == key_frames(before, "spNO.40", "e")  # two share its frames
    assert key_frames(data, "spNO.216", "e") == [(20, 24, 30)]  # 0, 0, 30 shares the offset alone
    why = data.report[data.report.subject == "spNO.214"].why
    table = LAYOUTS["casme3"].sheets[0].file
    assert f"apex 5 → 9, offset 3460 → 15: so has {WHOLE.replace('xls', 'xlsx')} (in {table})" in set(why)
    sound, same = (x.annotations[x.annotations.subject == "spNO.1"].reset_index(drop=True) for x in (before, data))
    pd.testing.assert_frame_equal(sound, same)
    write(casme3 / "annotation" / WHOLE, "AU+Emotion", ["who", *HEAD[1:]], rows)
    told = load("casme3", casme3)  # a table beside that is not understood stops nothing
    pd.testing.assert_frame_equal(told.annotations, before.annotations)
    assert told.report.why.str.contains("was not understood, so what it says is unknown").sum() == 1
    released = load("casme3", casme3, as_released=True)
    assert key_frames(released, "spNO.214", "c") == [(5, 5, 3460)]
    assert "corrected" not in set(released.report.what)


def test_the_lists_of_exceptions_are_told_and_one_of_another_form_stops_nothing(casme3):
    first = load("casme3", casme3).annotations.query("subject == 'spNO.1'").iloc[0]
    (casme3 / "exception").mkdir()
    lines = [
        f"spNO.1 a {first.onset + 1}.jpg  the image cannot open",
        f"spNO.1 a {first.offset + 1}.jpg  the image cannot open",
    ]
    (casme3 / "exception" / "error_info_damaged_image_partA.txt").write_text("\n".join(lines))
    (casme3 / "exception" / "image_with_bad_quality_partA.txt").write_text("/x/RGB/spNO.1/b/color/360.jpg\n")
    write(casme3 / "annotation" / "CAS(ME)3_part_A_wrongly_labeled_me_in_V1.x", "S", HEAD[:3], [["spNO.40", "J", 50]])
    report = load("casme3", casme3).report
    named = report[report.why.str.contains("names it")]
    assert named[["subject", "clip", "onset"]].values.tolist() == [["spNO.40", "J", 50], ["spNO.1", "a", first.onset]]
    assert named.why.tolist()[0].endswith("it was labelled wrongly in version 1")
    write(casme3 / "annotation" / "CAS(ME)3_part_A_wrongly_labeled_me_in_V1.x", "S", ["who"], [["spNO.40"]])
    why = load("casme3", casme3).report.why
    assert why.str.contains("was not understood, so what it says is unknown: .* has no column 'Subject'").sum() == 1


@pytest.mark.parametrize("name", ["casme3", "casme2", "samm", "casmesq"])
def test_a_genuine_copy_raises_no_alarm_of_its_counts(name, tmp_path):
    """As many rows of each class as the release has, its known faults among them; one row less is told."""
    labels = {"casme2": "2014"}.get(name, next(iter(read_card(name).labels)))
    plan, expected = LAYOUTS[name], read_card(name).labels[labels].expected
    emotions = [emotion for emotion, count in expected.emotions.items() for _ in range(count)]
    source = SyntheticMicroExpressions(2, 2, 64)
    truth = synthesize(name, tmp_path / "a", source, clips=1, frames=False)
    for mistake, emotion in zip(plan.mistakes, truth.emotion, strict=False):
        if "kind" not in mistake.written:  # a macro-expression is none of them
            emotions.remove(str(mistake.written.get("emotion", emotion)).lower())
    synthesize(name, tmp_path / "b", source, emotions=emotions, frames=False)
    synthesize(name, tmp_path / "c", source, emotions=emotions[1:], frames=False)
    whole, less = (load(name, tmp_path / part, labels).report.why for part in "bc")
    counts = whole[whole.str.contains("card counts")].tolist()
    assert counts in (
        [],
        [f"this copy is not what the card counts: subjects {expected.subjects}, found {counts[0].split()[-1]}"],
    )
    assert less.str.contains(f"clips {expected.clips}, found {expected.clips - 1}").sum() == 1
    assert plan.mistakes


@pytest.mark.parametrize("name", LAYOUTS)
def test_as_released_corrects_nothing_in_any_set(name, tmp_path):
    """Every key frame that is in order is what the table says."""
    truth = synthesize(name, tmp_path / name, SyntheticMicroExpressions(1, 1, 64), clips=1, frames=name == "smic")
    data = load(name, tmp_path / name, next(iter(read_card(name).labels)), as_released=True)
    assert "corrected" not in set(data.report.what)
    assert "dropped" not in set(data.report.what) or name == "casme3"  # an onset behind its offset
    for mistake in LAYOUTS[name].mistakes:
        said = {**mistake.true, **mistake.written}
        order = said["onset"] <= said["offset"]
        found = key_frames(data, said["subject"], said["clip"])
        assert bool(found) == (order and said["clip"] != "disgust8_1") or said["offset"] == 0
        for onset, apex, offset in found:
            assert onset == said["onset"]
            assert apex in (said["apex"], None)
            assert offset == said["offset"] or said["offset"] == 0
    assert len(truth)


def test_the_key_above_a_table_is_read(tmp_path):
    synthesize("samm", tmp_path / "samm", clips=3, frames=False, faults=False)
    path = tmp_path / "samm" / "SAMM_Micro_FACS_Codes_v2.xlsx"
    book = openpyxl.load_workbook(path)
    for row, text in enumerate(("U12+4", "12+dropped jaw", "4"), start=15):
        book.worksheets[0].cell(row, 9).value = text
    book.save(path)
    table = load("samm", tmp_path / "samm").annotations
    assert table.action_units.tolist() == ["12+4", "12", "4"]
    assert table.units_known.tolist() == [True, False, True]
    book.worksheets[0].delete_rows(1, 13)
    book.save(path)
    assert load("samm", tmp_path / "samm").annotations.units_known.tolist() == [False, False, True]
    assert "u" not in read_card("samm").words  # what one table explains is of no other


def test_a_table_that_was_renamed_has_its_remedy_and_known_names_are_read(tmp_path):
    synthesize("samm", tmp_path / "samm", clips=2, frames=False, faults=False)
    before = load("samm", tmp_path / "samm")
    path = tmp_path / "samm" / "SAMM_Micro_FACS_Codes_v2.xlsx"
    path = path.rename(path.with_name("SAMM_20181215_Micro_FACS_Codes_v2.xlsx"))
    data = load("samm", tmp_path / "samm")
    pd.testing.assert_frame_equal(data.annotations, before.annotations)
    path.rename(path.with_name("codes.xlsx"))
    with pytest.raises(FileNotFoundError, match=r"expected SAMM_Micro_FACS_.* found codes.*, or call your table so"):
        load("samm", tmp_path / "samm")


# Films of several movements.


def test_samm_long_videos_are_read_for_spotting(tmp_path):
    columns = [
        "Subject",
        "Filename",
        "Inducement Code",
        "Onset",
        "Apex",
        "Offset",
        "Duration",
        "Type",
        "Action Units",
        "Notes",
    ]
    rows = [
        ["006", "006_1_2", 1, 12.0, 14, 16, 5, "Micro - 1/2", "4+7", ""],
        ["006", "006_1_3", 1, 20, -1, 190, 171, "Macro", "12", ""],
    ]
    write(tmp_path / "SAMM_LongVideos_V2_Release.x", "FACS_Movement_Only", columns, rows, above=9)
    frames(tmp_path / "SAMM_longvideos" / "006_1", range(10, 200), "006_1_{:04d}.jpg")
    data = load("samm", tmp_path, "long")
    assert data.annotations[["kind", "film"]].values.tolist() == [
        ["micro", "SAMM_longvideos/006_1"],
        ["macro", "SAMM_longvideos/006_1"],
    ]
    assert data.annotations.emotion.isna().all()
    found = movements(data)
    film = str(tmp_path / "SAMM_longvideos" / "006_1")
    assert found.values.tolist() == [[film, 2, 6, "micro", 200.0], [film, 10, 180, "macro", 200.0]]
    told = data.report.why[data.report.subject != ""].tolist()
    assert told == ["no apex: it is spotted when the clip is prepared"]  # no emotion, -1, a long macro: no alarm
    assert data[0].frame(data[0].onset)[0, 0, 0] == 12
    with pytest.raises(FileNotFoundError, match="expected SAMM_Micro"):
        load("samm", tmp_path)


def test_macro_expressions_of_casme_sq_are_read_where_they_are_asked_for(tmp_path):
    synthesize("casmesq", tmp_path / "c", SyntheticMicroExpressions(1, 2, 64), clips=2)
    assert set(load("casmesq", tmp_path / "c").annotations.kind) == {"micro"}
    found = movements(data := load("casmesq", tmp_path / "c", "long"))
    assert sorted(set(data.annotations.kind)) == ["macro", "micro"]
    assert found.kind.tolist().count("macro") == 1
    macro = found[found.kind == "macro"].iloc[0]
    assert (macro.onset, macro.offset) == (2, 62)  # two frames before its onset lie on disk
    assert macro.film.endswith("rawpic/s17/17_0108disgustingteeth")


def test_part_a_is_read_for_spotting_and_part_c_besides(casme3):
    rows = [
        ["spNO.1", "a", 3, 5, 9, "4", "Micro-expression", "II"],
        ["spNO.1", "a", 12, 15, 60, "12", "Macro-expression", "I"],
    ]
    write(casme3 / WHOLE, "AU+Emotion", HEAD, rows)
    frames(casme3 / "spNO.1" / "a" / "color", range(1, 70))
    found = movements(load("casme3", casme3, "long"))
    assert found.drop(columns="film").values.tolist() == [[2, 8, "micro", 30.0], [11, 59, "macro", 30.0]]
    assert set(found.film) == {str(casme3 / "spNO.1" / "a" / "color")}
    part = [[1, 1, 3, 9, "R4，5", "negative"], [11, 2, 12, 20, "13?", "others"]]
    write(
        casme3 / "annotation" / "CAS(ME)3_part_C_ME.x", "S", ["sub", "count", "onset", "offset", "au", "emotion"], part
    )
    frames(casme3 / "part_C" / "01" / "a" / "color", range(1, 30))
    frames(casme3 / "part_C" / "11" / "a" / "color", range(1, 30))
    data = load("casme3", casme3, "c")
    assert data.annotations.emotion.tolist() == ["negative", "others"]
    assert data.annotations.emotion_megc.tolist()[0] == "negative"
    assert data.annotations.units_known.tolist() == [True, False]
    assert (data.annotations.frames > 0).all()
    assert movements(data).film.tolist() == [str(casme3 / "part_C" / n / "a" / "color") for n in ("01", "11")]


def test_a_set_without_films_has_no_movements(tmp_path):
    synthesize("casme2", tmp_path / "c", clips=2, frames=False, faults=False)
    assert list(movements(load("casme2", tmp_path / "c", "2014"))) == ["film", "onset", "offset", "kind", "fps"]
