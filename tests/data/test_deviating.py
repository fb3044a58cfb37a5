"""Copies that deviate from the release: read all the same, or told in one sentence that names the cause."""

import shutil

import cv2
import pandas as pd
import pytest

from lookalikes import synthesize
from tsfmicro_lab.data import SyntheticMicroExpressions, load
from tsfmicro_lab.data.annotations import grouped

TABLE = "CASME2-coding-20140508"
RAW = "CASME2_RAW_selected"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    root = tmp_path_factory.mktemp("sound") / "casme2"
    synthesize("casme2", root, SyntheticMicroExpressions(2, 2, 64), faults=False)
    return root


@pytest.fixture
def copy(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "copy")


def change(root, edit, file=f"{TABLE}.xlsx"):
    table = pd.read_excel(root / file, dtype=str, engine="openpyxl").fillna("")
    table.columns = ["" if str(name).startswith("Unnamed") else name for name in table.columns]
    edit(table).to_excel(root / file, index=False)


def read(root, **how):
    data = load("casme2", root, "2014", **how)
    return data, [why for why in data.report.why if "card counts" not in why]


def test_a_sound_copy_raises_no_alarm(sound):
    data, why = read(sound)
    assert (data.annotations.frames > 0).all()
    assert why == []


def test_files_that_begin_with_a_dot_are_no_frames(copy):
    before, _ = read(copy)
    for folder in (copy / RAW).glob("*/*"):
        for n in (1, 99999):
            (folder / f"._img{n}.jpg").write_bytes(b"\0\5\26\7")
    after, why = read(copy)
    assert after.annotations.frames.tolist() == before.annotations.frames.tolist()
    assert why == []


@pytest.mark.parametrize("form", ["{}", "{}.0"])
def test_subjects_saved_by_a_spreadsheet_are_read(copy, form):
    before, _ = read(copy)
    change(copy, lambda table: table.assign(Subject=[form.format(int(s)) for s in table.Subject]))
    data, why = read(copy)
    pd.testing.assert_frame_equal(data.annotations, before.annotations)
    assert len(why) == 1
    assert why[0] == f"4 rows name a subject without its zeros, such as {form.format(1)} for 01"


def test_raw_and_cropped_frames_are_never_mixed(copy):
    (copy / "Cropped" / "sub02").mkdir(parents=True)
    moved = copy / "Cropped" / "sub02" / "EP01_01f"
    (copy / RAW / "sub02" / "EP01_01f").rename(moved)
    for path in moved.iterdir():
        cv2.imwrite(str(moved / f"reg_{path.name}"), cv2.imread(str(path))[:40, :40])
        path.unlink()
    data, why = read(copy)
    table = data.annotations
    assert (table.frames == 0).tolist() == ((table.subject == "02") & (table["clip"] == "EP01_01f")).tolist()
    assert why[0].startswith("1 of 4 clips have frames in Cropped/sub{subject}/{clip} alone, the others in CASME2_RAW")
    cropped, _ = read(copy, frames="Cropped")
    assert (cropped.annotations.frames > 0).sum() == 1
    with pytest.raises(ValueError, match="no frames are called 'depth': choose a part of CASME2_RAW_selected"):
        read(copy, frames="depth")


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ("CASME2-RAW", "CASME2-RAW/sub{subject}/{clip}"),
        (f"{RAW}/{RAW}", f"{RAW}/{RAW}/sub{{subject}}/{{clip}}"),
        ("frames/a", "frames/a/sub{subject}/{clip}"),
    ],
)
def test_a_folder_of_another_name_is_one_sentence(copy, place, found):
    (copy / RAW).rename(copy / "away")
    (copy / place).parent.mkdir(parents=True, exist_ok=True)
    (copy / "away").rename(copy / place)
    _, why = read(copy)
    looked = f"{RAW}/sub{{subject}}/{{clip}} or Cropped/sub{{subject}}/{{clip}}"
    assert why == [f"no frames for 4 of 4 clips: looked for {looked}; 4 would match if {found} were called so"]


def test_capitals_of_folders_are_told(copy):
    for folder in (copy / RAW).glob("sub*"):
        folder.rename(folder.with_name(folder.name.capitalize()))
    _, why = read(copy)
    assert "4 would match if CASME2_RAW_selected/Sub{subject}/{clip} were called so" in why[0]


def test_a_correction_has_a_precondition(tmp_path):
    synthesize("samm", tmp_path / "samm", clips=1, frames=False)
    table = "SAMM_Micro_FACS_Codes_v2.xlsx"
    cells = pd.read_excel(tmp_path / "samm" / table, dtype=str, header=None, engine="openpyxl")
    assert (cells == "1143").sum().sum() == 1
    cells.replace({"1143": "1100", "1930": "4940"}).to_excel(
        tmp_path / "samm" / table, sheet_name="MICRO_ONLY", header=False, index=False
    )
    data = load("samm", tmp_path / "samm")
    apex = data.annotations.set_index("clip").apex
    assert (apex["028_4_1"], apex["032_3_1"], apex["032_3_2"]) == (1100, 4940, 5130)
    assert data.report.why.str.contains("apex 1100 is different here already, not 1143").sum() == 1
    assert data.report.what.value_counts()["corrected"] == 1
    released = load("samm", tmp_path / "samm", as_released=True)
    assert released.annotations.set_index("clip").apex["032_3_2"] == 5127
    assert "corrected" not in set(released.report.what)


def test_a_table_without_its_preamble_is_read(tmp_path):
    synthesize("samm", tmp_path / "samm", clips=3, frames=False, faults=False)
    before = load("samm", tmp_path / "samm").annotations
    path = tmp_path / "samm" / "SAMM_Micro_FACS_Codes_v2.xlsx"
    pd.read_excel(path, dtype=str, header=13, engine="openpyxl").to_excel(path, sheet_name="MICRO_ONLY", index=False)
    pd.testing.assert_frame_equal(load("samm", tmp_path / "samm").annotations, before)


def test_what_is_not_understood_is_unknown_never_absent(copy):
    units = ["4", "?", "AD19+M55", "12+a smile"]
    change(copy, lambda table: table.assign(**{"Action Units": units}))
    table = read(copy)[0].annotations
    assert table.units_known.tolist() == [True, False, True, False]
    assert table.action_units.tolist() == ["4", "", "19+55", "12"]


def test_an_apex_that_is_the_onset_is_doubtful(copy):
    change(copy, lambda table: table.assign(ApexFrame=table.OnsetFrame))
    data, _ = read(copy)
    rows = grouped(data.report)
    assert "difference and flow are zero" in rows.why[rows.rows == 4].iloc[0]
    assert len(rows) == 2  # and the counts that are not the card's
