import shutil

import numpy as np
import openpyxl
import pandas as pd
import pytest

from lookalikes import synthesize
from studies.megc_log import write_log
from tsfmicro_lab.data import SyntheticMicroExpressions, load
from tsfmicro_lab.data.action_units import action_unit_table
from tsfmicro_lab.data.cards import read_card
from tsfmicro_lab.data.composite import Composite, class_set, megc2018, megc2019, read_log
from tsfmicro_lab.training import scores
from tsfmicro_lab.training.splits import leave_one_data_set_out


def full(name, labels):
    """As many labels as the release has, in the card's spelling."""
    expected = read_card(name).labels[labels].expected
    return [emotion for emotion, count in expected.emotions.items() for _ in range(count)]


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """Full-size look-alikes: every clip of the releases in tables, SMIC's in its folders."""
    folder = tmp_path_factory.mktemp("roots")
    source = SyntheticMicroExpressions(2, 2, 64)
    emotions = full("casme2", "2014")
    for _ in range(3):
        emotions.remove("disgust")  # the faulty clips of the look-alike come besides
    synthesize("casme2", folder / "casme2", source, emotions=emotions, frames=False)
    synthesize("samm", folder / "samm", source, emotions=full("samm", "v2"), frames=False, faults=False)
    synthesize("smic", folder / "smic", source, emotions=full("smic", "HS"))
    return folder


@pytest.fixture(scope="module")
def composite(roots):
    return megc2019(
        load("smic", roots / "smic", "HS"), load("casme2", roots / "casme2", "2014"), load("samm", roots / "samm")
    )


def test_megc2019_has_the_clips_and_classes_of_the_challenge(composite):
    table = composite.annotations
    counts = pd.crosstab(table["data"], table.emotion)
    for part in read_card("megc2019").parts:
        assert counts.loc[part.name].to_dict() == part.expected.emotions
    assert len(composite) == 442
    assert composite.classes == ("negative", "positive", "surprise")
    assert not {("casme2_04", "EP12_01f"), ("casme2_05", "EP09_05f")} & set(
        zip(table.subject, table["clip"], strict=True)
    )
    assert all(subject.startswith(f"{data}_") for subject, data in zip(table.subject, table["data"], strict=True))
    said = composite.report[composite.report["data"] == "megc2019"].why
    assert said.str.contains("subjects 68, found").any()  # look-alikes have fewer people, and that is said
    assert not said.str.contains("clips").any()


def test_clips_of_a_composite_carry_its_names(composite):
    i = int(np.flatnonzero(composite.annotations["data"] == "smic")[0])
    clip = composite[i]
    assert clip.subject == composite.annotations.subject[i]
    assert clip.subject.startswith("smic_")
    assert clip.emotion == composite.annotations.emotion[i]


def test_megc2019_refuses_other_labels(roots):
    smic, samm = load("smic", roots / "smic", "HS"), load("samm", roots / "samm")
    with pytest.raises(ValueError, match="needs casme2 with labels 2014, got casme2 with labels 2019"):
        megc2019(smic, load("casme2", roots / "casme2", "2019"), samm)
    with pytest.raises(ValueError, match="needs smic with labels HS, got samm"):
        megc2019(samm, load("casme2", roots / "casme2", "2014"), smic)


@pytest.mark.parametrize(
    ("name", "labels", "classes", "count"),
    [
        ("casme2", "2014", "five", 246),
        ("casme2", "2014", "seven", 255),
        ("samm", None, "five", 136),
        ("samm", None, "seven", 133),
    ],
)
def test_class_sets_have_the_counts_of_the_field(name, labels, classes, count, roots):
    data = load(name, roots / name, labels)
    chosen = class_set(data, classes)
    assert len(chosen) == count
    assert chosen.annotations[f"emotion_{classes}"].notna().all()


def test_an_unknown_class_set_lists_those_there_are(roots):
    with pytest.raises(ValueError, match="SMIC has no class set 'five': choose from megc"):
        class_set(load("smic", roots / "smic", "HS"), "five")


def test_megc2018_counts_objective_classes_one_to_five(roots):
    casme2, samm = load("casme2", roots / "casme2", "objective"), load("samm", roots / "samm")
    data = megc2018(casme2, samm)
    assert data.classes == ("I", "II", "III", "IV", "V")
    kept = [part.annotations.objective.between(1, 5).sum() for part in (casme2, samm)]
    assert data.annotations["data"].value_counts().to_dict() == {"casme2": kept[0], "samm": kept[1]}
    assert data.report.why.str.contains(f"clips 253, found {sum(kept)}").any()
    with pytest.raises(ValueError, match="needs casme2 with labels objective, got casme2 with labels 2019"):
        megc2018(load("casme2", roots / "casme2", "2019"), samm)


def test_megc2018_is_253_clips_where_the_tables_count_as_the_released_ones(roots, tmp_path):
    """By the counts of both tables, which leave classes VI and VII out: 185 and 68."""
    for name, file, first, column, counts in (
        ("casme2", "CASME2-ObjectiveClasses.xlsx", 2, 3, (25, 15, 99, 26, 20, 1, 69)),
        ("samm", "SAMM_Micro_FACS_Codes_v2.xlsx", 15, 11, (24, 13, 20, 8, 3, 7, 84)),
    ):
        path = shutil.copytree(roots / name, tmp_path / name) / file
        book = openpyxl.load_workbook(path)
        classes = [number for number, count in enumerate(counts, start=1) for _ in range(count)]
        assert book.worksheets[0].max_row == first + len(classes) - 1
        for row, number in enumerate(classes, start=first):
            book.worksheets[0].cell(row, column).value = number
        book.save(path)
    data = megc2018(load("casme2", tmp_path / "casme2", "objective"), load("samm", tmp_path / "samm"))
    assert data.annotations["data"].value_counts().to_dict() == {"casme2": 185, "samm": 68}
    assert data.annotations.emotion.value_counts().to_dict() == {"I": 49, "II": 28, "III": 119, "IV": 34, "V": 23}
    assert not (data.report["data"] == "megc2018").any()


def test_one_data_set_is_left_out_over_action_units(roots):
    data = Composite([load("casme2", roots / "casme2", "2014"), load("samm", roots / "samm")])
    units = action_unit_table(data.annotations, least=2)
    assert units.shape[1] >= 2
    assert list(units) == sorted(units, key=int)
    held_out = {}
    for fold in leave_one_data_set_out(data.annotations):
        name, train, test = fold.name, fold.train, fold.test
        assert set(train) | set(test) == set(range(len(data)))
        assert not set(data.annotations.subject[train]) & set(data.annotations.subject[test])
        assert units.iloc[train].any().all()
        held_out[name] = len(test)
    assert held_out == {"casme2": 255, "samm": 159}
    with pytest.raises(ValueError, match="needs two data sets or more, got samm"):
        leave_one_data_set_out(Composite([load("samm", roots / "samm")]).annotations)


def test_action_units_of_one_side_count_as_the_unit():
    table = action_unit_table(pd.DataFrame({"action_units": ["L12+4", "R12", "", "12"], "data": list("aabb")}))
    assert table.to_dict("list") == {"12": [True, True, False, True]}  # unit 4 is in one data set alone


def test_a_composite_of_one_data_set_twice_is_refused(data):
    with pytest.raises(ValueError, match="synthetic, synthetic must be several data sets, each given once"):
        Composite([data, data])
    with pytest.raises(ValueError, match="no column 'mood' in the annotations of synthetic"):
        Composite([data], target="mood")


@pytest.fixture
def predictions(composite):
    rng = np.random.default_rng(0)
    table = composite.annotations[["subject", "clip", "onset"]].copy()
    return table.assign(truth=composite.annotations.emotion, predicted=rng.choice(composite.classes, len(table)))


def test_logs_are_written_and_read_as_the_challenge_has_them(composite, predictions, tmp_path):
    write_log(tmp_path / "log.txt", predictions, composite)
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert {"casme2 sub01", "samm 001", "smic s01"} <= set(lines)
    assert any(line.startswith("s01_ne_01 0 ") for line in lines)
    read = read_log(tmp_path / "log.txt")
    assert len(read) == 442
    classes = composite.classes
    ours, theirs = ([list(table[name]) for name in ("truth", "predicted")] for table in (predictions, read))
    assert scores(*ours, classes) == scores(*theirs, classes)
    names = composite.annotations.assign(predicted=predictions.predicted)
    key = {"log_subject": "subject", "log_clip": "clip"}
    both = read.merge(names[["data", *key, "predicted"]].rename(columns=key), on=["data", "subject", "clip"])
    assert (both.predicted_x == both.predicted_y).sum() == 442


def test_a_log_of_too_few_or_too_many_predictions_is_refused(composite, predictions, tmp_path):
    with pytest.raises(ValueError, match="each of 442 clips: 2 are missing"):
        write_log(tmp_path / "log.txt", predictions.iloc[2:], composite)
    with pytest.raises(ValueError, match="442 come twice"):
        write_log(tmp_path / "log.txt", pd.concat([predictions, predictions]), composite)
    with pytest.raises(ValueError, match="class 'joy' is none of negative"):
        write_log(tmp_path / "log.txt", predictions.assign(predicted="joy"), composite)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("EP02_01f 1 1\n", "line 1: 'EP02_01f 1 1' is neither"),
        ("casme2 sub01\nEP02_01f 1 3\n", "line 2: .* from 0 to 2"),
        ("casme2 sub01\nEP02_01f 1\nx\n", "line 3: 'x'"),
        ("casme2 sub01\nEP02_01f 1 1 1\n", "line 2"),
        ("casme2 sub01\nEP02_01f 1 1\nEP02_01f 1 0\n", "line 3: casme2 sub01 EP02_01f came before"),
    ],
)
def test_a_broken_log_names_the_line(text, message, tmp_path):
    (tmp_path / "log.txt").write_text(text)
    with pytest.raises(ValueError, match=rf"log\.txt, {message}"):
        read_log(tmp_path / "log.txt")
