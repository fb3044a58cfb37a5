"""Every loader on a tree that looks like the release: written by `layouts`, read by the card."""

import shutil
from functools import partial

import cv2
import numpy as np
import openpyxl
import pandas as pd
import pytest

from lookalikes import synthesize
from lookalikes.layouts import LAYOUTS
from tsfmicro_lab.clips import ClipError
from tsfmicro_lab.data import Dataset, SyntheticMicroExpressions, check_annotations, load, prepare

LOADERS = {
    "casme": partial(load, "casme"),
    "casme2": partial(load, "casme2", labels="2014"),
    "casmesq": partial(load, "casmesq"),
    "casme3": partial(load, "casme3"),
    "samm": partial(load, "samm"),
    "smic": partial(load, "smic", labels="HS"),
    "mmew": partial(load, "mmew"),
    "4dme": partial(load, "4dme"),
    "dfme": partial(load, "dfme", labels="train"),
}
CASME2 = "CASME2-coding-20140508.xlsx"


@pytest.fixture(scope="module")
def source():
    return SyntheticMicroExpressions(subjects=2, clips_per_subject=3, image_size=64)


@pytest.fixture(scope="module")
def tree(source, tmp_path_factory):
    """Writes each layout once and gives its root and its truth."""
    written = {}

    def get(name):
        if name not in written:
            root = tmp_path_factory.mktemp("trees") / name
            written[name] = root, synthesize(name, root, source)
        return written[name]

    return get


@pytest.fixture
def casme2(tmp_path):
    """A small copy without frames whose table a test may spoil."""
    synthesize("casme2", tmp_path / "casme2", clips=4, frames=False, faults=False)
    return tmp_path / "casme2"


def spoil(root, change, file=CASME2):
    table = pd.read_excel(root / file, dtype=str, engine="openpyxl").fillna("")
    table.columns = ["" if str(name).startswith("Unnamed") else name for name in table.columns]
    change(table).to_excel(root / file, index=False)


def said(data, subject, clip):
    rows = data.report[(data.report.subject == subject) & (data.report["clip"] == clip)]
    return [f"{row.what}: {row.why}" for row in rows.itertuples()]


def table_of(data):
    return data.annotations.set_index(["subject", "clip", "onset"])


def test_there_is_a_loader_for_every_layout():
    assert set(LOADERS) == set(LAYOUTS)


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_was_written_is_what_is_read(name, tree, source):
    root, truth = tree(name)
    data = LOADERS[name](root)
    assert isinstance(data, Dataset)
    check_annotations(data.annotations)
    found = table_of(data)
    sound = truth[~truth.faulty]
    assert len(sound) >= 5
    for row in sound.itertuples():
        read = found.loc[row.subject, row[2], row.onset]
        assert read.offset == row.offset
        assert pd.isna(read.apex) if name == "smic" else read.apex == row.apex
        assert read.emotion == row.emotion
        assert read.action_units == ("" if name == "smic" else row.action_units)
        assert read.fps == LAYOUTS[name].fps
        assert read.frames >= row.offset - row.onset + 1
    unspoken = data.report[(data.report.subject != "") & ~data.report["clip"].isin(truth["clip"][truth.faulty])]
    assert set(unspoken.why) <= ({"no apex: it is spotted when the clip is prepared"} if name == "smic" else set())


@pytest.mark.parametrize("name", LAYOUTS)
def test_frames_are_those_of_the_clip(name, tree, source):
    root, truth = tree(name)
    data = LOADERS[name](root)
    rows = truth[~truth.faulty].set_index(["subject", "clip", "onset"])
    for i, row in enumerate(data.annotations.itertuples()):
        key = row.subject, row[2], row.onset
        if key not in rows.index:
            continue
        clip, drawn = data[i], source[int(rows.loc[key].source)]
        pairs = [(clip.onset, drawn.onset), (clip.offset, drawn.offset)]
        pairs += [] if name == "smic" else [(clip.apex, drawn.apex)]
        for mine, theirs in pairs:
            assert np.abs(clip.frame(mine).astype(int) - drawn.frame(theirs)).mean() < 3
        assert clip.apex is None if name == "smic" else clip.onset < clip.apex < clip.offset
        assert str(row.emotion) in repr(clip)


FAULTS = [
    ("casme", "05", "EP12_3", ["doubtful: no apex"]),
    ("casme2", "04", "EP12_01f", ["doubtful: the table writes the apex as /", "doubtful: no apex"]),
    ("casme2", "05", "EP09_05f", ["doubtful: action units '?'"]),
    ("casme2", "06", "EP06_02_01", []),
    ("casmesq", "3", "disgust7_1", ["doubtful: nobody marked the offset: the last marked frame, 560, stands in"]),
    ("casmesq", "3", "disgust8_1", []),
    ("casme3", "spNO.149", "d", ["corrected: apex 83 → None: apex 83 lies before", "doubtful: no apex"]),
    (
        "casme3",
        "spNO.214",
        "c",
        [
            "doubtful: 5, 5, 3460",
            "doubtful: apex and onset are one frame, 5",
            "doubtful: 3455 frames from onset to offset are longer than 0.5 s",
            "doubtful: offset 3460 is no",
        ],
    ),
    (
        "casme3",
        "spNO.216",
        "d",
        ["corrected: onset 3647 → 2647", "doubtful: 33 frames from onset to offset are longer"],
    ),
    ("casme3", "spNO.216", "e", ["dropped: onset and apex are 0"]),
    ("casme3", "spNO.40", "e", ["doubtful: nobody marked the offset: the last marked frame, 24, stands in"]),
    ("casme3", "spNO.40", "J", ["doubtful: action units '13?': unsure of 13"]),
    ("samm", "028", "028_4_1", ["corrected: apex 1143 → 1105", "doubtful: action units 'L12 or L14': unsure"]),
    ("samm", "032", "032_3_1", ["corrected: apex 1930 → 4945", "doubtful: action units 'ref(7B)+43': unsure of 7"]),
    ("samm", "032", "032_3_2", ["corrected: apex 5127 → 5130"]),
    ("samm", "013", "013_1_9", ["doubtful: meb says offset 5739 here", "doubtful: offset 5759 is no frame on disk"]),
    ("samm", "013", "013_1_12", []),
    ("mmew", "S09", "S09-01-001", ["doubtful: apex 40 lies outside 3 to 15: left out"]),
    (
        "4dme",
        "9",
        "m1",
        ["doubtful: action units '(4)+R12': unsure of 4", "doubtful: emotion 'Negative+Repression' is"],
    ),
]


@pytest.mark.parametrize(("name", "subject", "clip", "expected"), FAULTS)
def test_every_fault_is_a_row_of_the_report(name, subject, clip, expected, tree):
    root, _ = tree(name)
    lines = said(LOADERS[name](root), subject, clip)
    assert len(lines) == len(expected), lines
    for line, begin in zip(lines, expected, strict=True):
        assert line.startswith(begin)


def test_every_mistake_of_every_layout_is_tested():
    listed = {(name, clip) for name, _, clip, _ in FAULTS}
    assert listed == {(name, m.true["clip"]) for name, plan in LAYOUTS.items() for m in plan.mistakes}


def test_corrected_key_frames_are_the_true_ones(tree):
    for name, clips in {"samm": ["028_4_1", "032_3_1", "032_3_2"], "casme3": ["d"]}.items():
        root, truth = tree(name)
        found = table_of(LOADERS[name](root))
        for row in truth[truth["clip"].isin(clips)].itertuples():
            read = found.loc[row.subject, row[2], row.onset]
            assert pd.isna(read.apex) if row.subject == "spNO.149" else read.apex == row.apex
            assert read.offset == row.offset


def test_doubtful_labels_keep_their_words(tree):
    data = load("4dme", tree("4dme")[0])
    row = data.annotations[data.annotations.subject == "9"].iloc[0]
    assert (row.emotion_text, row.action_units_text, row.action_units) == ("Negative+Repression", "(4)+R12", "4+R12")
    assert pd.isna(row.emotion)
    assert pd.isna(row.emotion_megc)


def test_macro_expressions_and_dropped_rows_are_no_clips(tree):
    assert "disgust8_1" not in set(load("casmesq", tree("casmesq")[0]).annotations["clip"])
    data = load("casme3", tree("casme3")[0])
    assert "spNO.216" in set(data.annotations.subject)
    assert ("spNO.216", "e") not in set(zip(data.annotations.subject, data.annotations["clip"], strict=True))


def test_one_recording_may_hold_several_clips(tree):
    data = load("casme3", tree("casme3")[0])
    rows = data.annotations[(data.annotations.subject == "spNO.1") & (data.annotations["clip"] == "a")]
    assert len(rows) == 3
    for i, row in rows.iterrows():
        assert len(data[i].frames) == row.offset - row.onset + 1


def test_the_release_of_the_labels_is_the_callers_choice(tree):
    root, _ = tree("casme2")
    with pytest.raises(ValueError, match="CASME II has no labels 'None': give labels=, one of 2014, 2019, objective"):
        load("casme2", root)
    with pytest.raises(ValueError, match="no data card 'casme9'"):
        load("casme9", root)
    with pytest.raises(ValueError, match="MEGC2019 composite has no labels 'None': it is not read from a folder"):
        load("megc2019", root)
    assert "objective" not in load("casme2", root, "2014").annotations
    for labels in ("2019", "objective"):
        assert set(load("casme2", root, labels).annotations.objective) <= set(range(1, 8))


def test_cropped_frames_are_found(tree, tmp_path):
    root = shutil.copytree(tree("casme2")[0], tmp_path / "copy")
    (root / "CASME2_RAW_selected").rename(root / "Cropped")
    for path in (root / "Cropped").rglob("*.jpg"):
        path.rename(path.with_name(f"reg_{path.name}"))
    data = load("casme2", root, labels="2014")
    assert (data.annotations.frames > 0).all()
    assert data[0].frame(0).shape == (64, 64, 3)


def test_parts_of_smic_have_a_frame_rate_of_their_own(tree, tmp_path):
    shutil.copytree(tree("smic")[0] / "HS", tmp_path / "VIS")
    data = load("smic", tmp_path, labels="VIS")
    assert len(data) == 6
    assert (data.annotations.fps == 25).all()
    with pytest.raises(FileNotFoundError, match=r"expected NIR/s\*/micro/\*/\* inside, found VIS"):
        load("smic", tmp_path, labels="NIR")


def test_annotations_alone_load_and_say_so(casme2):
    data = load("casme2", casme2, labels="2014")
    assert len(data) == 4
    assert (data.annotations.frames == 0).all()
    why = data.report.why[data.report.why.str.startswith("no frames")].tolist()
    assert len(why) == 1
    assert why[0].startswith(
        "no frames for 4 of 4 clips: looked for CASME2_RAW_selected/sub{subject}/{clip} or Cropped"
    )
    assert why[0].endswith("; folders there: none")
    assert "frames of 0 clips" in repr(data)
    with pytest.raises(ClipError, match=r"01/EP01_01f: its frames are missing .*data\.select"):
        data[0]


def test_selecting_keeps_clips_and_frames_together(tree):
    data = load("samm", tree("samm")[0])
    part = data.select(data.annotations.emotion == "surprise")
    assert 0 < len(part) < len(data)
    assert [part[i].emotion for i in range(len(part))] == ["surprise"] * len(part)
    assert len(data) == 11


def test_repr_tells_a_reader_what_there_is(tree):
    text = repr(load("samm", tree("samm")[0]))
    assert text.startswith("SAMM (labels v2): 11 clips of 5 subjects in ")
    assert "\n    frames of 11 clips; report: doubtful 5, corrected 3" in text


def test_counts_that_are_not_the_cards_are_reported(tree):
    why = load("samm", tree("samm")[0]).report.why
    assert why.str.contains("clips 159, found 11; subjects 29, found 5; anger 57, found 0").sum() == 1


def test_smic_is_prepared_with_a_spotted_apex(landmarker, tmp_path):
    synthesize("smic", tmp_path / "smic", SyntheticMicroExpressions(2, 1, 160), progress=False)
    data = load("smic", tmp_path / "smic", labels="HS")
    samples = prepare(data, 56, target="emotion_megc", landmarker=landmarker, progress=False)
    assert len(samples) == 2
    assert (samples.onset != samples.apex).float().mean() > 0.05


# Bad input.


def test_reordered_columns_change_nothing(casme2):
    before = load("casme2", casme2, labels="2014").annotations
    spoil(casme2, lambda table: table[[name for name in table.columns[::-1] if name]])
    pd.testing.assert_frame_equal(load("casme2", casme2, labels="2014").annotations, before)


def test_a_copy_saved_as_csv_is_read_alike(casme2):
    before = load("casme2", casme2, labels="2014").annotations
    pd.read_excel(casme2 / CASME2, dtype=str, engine="openpyxl").to_csv(
        casme2 / CASME2.replace("xlsx", "csv"), index=False
    )
    (casme2 / CASME2).unlink()
    pd.testing.assert_frame_equal(load("casme2", casme2, labels="2014").annotations, before)


def test_renamed_columns_are_answered_with_what_was_found(casme2):
    spoil(casme2, lambda table: table.rename(columns={"ApexFrame": "Peak"}))
    with pytest.raises(ValueError, match=r"20140508\.xlsx has no column 'ApexFrame'; found Subject, Filename, .*Peak"):
        load("casme2", casme2, labels="2014")


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("ApexFrame", "9999", "doubtful: apex 9999 lies outside"),
        ("ApexFrame", "1", "doubtful: apex 1 lies outside"),
        ("ApexFrame", "about 60", "doubtful: apex 'about 60' is no frame number"),
        ("OffsetFrame", "3", "dropped: offset 3 lies before onset 46"),
        ("OffsetFrame", "", "doubtful: nobody marked the offset"),
        ("OnsetFrame", "", "dropped: no onset"),
        ("OnsetFrame", "=40+6", "dropped: no onset"),
        ("Estimated Emotion", "joy", "doubtful: emotion 'joy' is none of happiness"),
        ("Filename", "../../etc", "dropped: '01' and '../../etc' cannot be names of folders"),
        ("Filename", "..", "dropped: '01' and '..' cannot be"),
        ("Filename", "/etc", "dropped: '01' and '/etc' cannot be"),
        ("Filename", "a\\b", "dropped: '01' and 'a\\\\b' cannot be"),
        ("Filename", "*", "dropped: '01' and '*' cannot be"),
    ],
)
def test_bad_cells_are_dropped_or_doubtful_never_believed(field, value, expected, casme2):
    def change(table):
        table.loc[0, field] = value
        return table

    spoil(casme2, change)
    data = load("casme2", casme2, labels="2014")
    clip = value if field == "Filename" else "EP01_01f"
    lines = said(data, "01", clip)
    assert any(line.startswith(expected) for line in lines), lines
    assert len(data) == (3 if expected.startswith("dropped") else 4)
    order = data.annotations.dropna(subset="apex")
    assert ((order.onset <= order.apex) & (order.apex <= order.offset)).all()


def test_a_clip_that_comes_twice_is_kept_once(casme2):
    spoil(casme2, lambda table: pd.concat([table, table.iloc[:1]]))
    data = load("casme2", casme2, labels="2014")
    assert len(data) == 4
    assert "dropped: a row with this subject, clip and onset came before" in said(data, "01", "EP01_01f")


def test_a_table_without_a_usable_row_says_why(casme2):
    def change(table):
        return table.assign(OnsetFrame="/")

    spoil(casme2, change)
    with pytest.raises(ValueError, match=r"(?s)no usable clip in .*no onset"):
        load("casme2", casme2, labels="2014")


@pytest.mark.parametrize("folder", ["../../etc", "", "s*"])
def test_a_second_sheet_cannot_lead_astray(folder, tmp_path, source):
    root = tmp_path / "casmesq"
    synthesize("casmesq", root, source, faults=False)
    path = next(root.glob("*.xlsx"))
    book = openpyxl.load_workbook(path)
    assert [cell.value for cell in book["naming rule1"][1]] == [15, "s15", 1]
    book["naming rule1"].cell(1, 2).value = folder
    book.save(path)
    data = load("casmesq", root)
    if folder:
        whys = [row.why for row in data.report.itertuples() if row.subject == "1"]
        assert len(whys) == 3
        assert all("cannot be names of folders" in why for why in whys)
    else:
        assert data.report.why.str.contains("no frames for 3 of 6 clips").sum() == 1
    assert (data.annotations.frames[data.annotations.subject == "2"] > 0).all()


@pytest.fixture
def one_clip(tmp_path, source):
    synthesize("casme2", tmp_path / "one", source, clips=1, faults=False)
    folder = tmp_path / "one" / "CASME2_RAW_selected" / "sub01" / "EP01_01f"
    return tmp_path / "one", folder, load("casme2", tmp_path / "one", labels="2014").annotations.iloc[0]


def frame_notes(root):
    data = load("casme2", root, labels="2014")
    return data, [line for line in said(data, "01", "EP01_01f") if "frame" in line]


def test_frames_missing_in_the_middle_are_said_and_shift_nothing(one_clip):
    root, folder, row = one_clip
    apex = cv2.imread(str(folder / f"img{row.apex}.jpg"), cv2.IMREAD_COLOR_RGB)
    for n in range(row.onset + 2, row.onset + 5):
        (folder / f"img{n}.jpg").unlink()
    data, lines = frame_notes(root)
    assert lines == [
        f"doubtful: 3 frames are missing in the middle, the first gap before frame {row.onset + 5}: time jumps there"
    ]
    assert (data[0].frame(data[0].apex) == apex).all()


@pytest.mark.parametrize("key", ["onset", "apex"])
def test_a_missing_key_frame_makes_the_clip_unusable(key, one_clip):
    root, folder, row = one_clip
    (folder / f"img{row[key]}.jpg").unlink()
    data, lines = frame_notes(root)
    assert lines == [f"doubtful: {key} {row[key]} is no frame on disk: annotations only"]
    with pytest.raises(ClipError, match="its frames are missing or incomplete"):
        data[0]


def test_an_offset_behind_the_last_frame_is_said(one_clip):
    root, folder, row = one_clip
    for n in range(row.offset - 1, row.offset + 3):
        (folder / f"img{n}.jpg").unlink()
    data, lines = frame_notes(root)
    assert lines == [
        f"doubtful: offset {row.offset} is no frame on disk: the last one before it, {row.offset - 2}, stands in for it"
    ]
    assert data[0].offset == len(data[0].frames) - 1


def test_a_wrong_root_says_what_was_expected_and_where_it_may_be(tree, tmp_path):
    root, _ = tree("casme2")
    for wrong in (root / "CASME2_RAW_selected", root.parent):
        with pytest.raises(
            FileNotFoundError, match=rf"is no root of CASME II: expected {CASME2} or .* inside and .*; {root} has it"
        ):
            load("casme2", wrong, labels="2014")
    with pytest.raises(
        FileNotFoundError, match=r"SMIC: expected HS/s\*/micro/\*/\* inside, found nothing; give the folder"
    ):
        load("smic", tmp_path, labels="HS")
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        load("samm", tmp_path / "gone")


def test_a_look_alike_never_overwrites(tree):
    root, _ = tree("casme2")
    with pytest.raises(ValueError, match="is not empty: give a new folder"):
        synthesize("casme2", root)
    with pytest.raises(ValueError, match="no layout 'mega': choose from casme, casme2"):
        synthesize("mega", root)
