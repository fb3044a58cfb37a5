"""The studies of drawn heads: optical flow and the real landmarker against the truth."""

import re

import numpy as np
from conftest import ROOT

from studies import flow
from studies.flow import Flows
from studies.landmarker import PLACES, POSES, Landmarked, measure
from tsfmicro_lab.data import SyntheticMicroExpressions
from tsfmicro_lab.preprocess import FLOWS

STORED = ROOT / "notebooks" / "results"


def rows_of(heading, page=ROOT / "docs" / "results.md"):
    """Cells of the first table behind a heading or sentence."""
    lines = page.read_text().split(heading, 1)[1].splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("|---"))
    body = []
    for line in lines[first + 1 :]:
        if not line.startswith("|"):
            return body
        body.append([cell.strip() for cell in line.strip("|").split("|")])
    return body


def test_flow_is_measured_under_each_condition(tmp_path):
    found = flow.measure(subjects=1, clips_per_subject=2, workers=1)
    assert len(found.errors) == len(flow.CONDITIONS) * 2 * 4
    table = found.table()
    assert list(table.index) == list(flow.CONDITIONS)
    assert list(table.columns) == ["nothing moved", "dis", "farneback", "tvl1"]
    assert table.loc["texture alone", "dis"] < table.loc["texture alone", "nothing moved"]
    assert table.loc["texture alone", "nothing moved"] == table.loc["shading", "nothing moved"]
    found.save(tmp_path / "x.json")
    assert Flows.load(tmp_path / "x.json").table("face").equals(found.table("face"))
    assert found.by_amplitude("tvl1").shape[0] == len(flow.CONDITIONS)


def test_on_a_painted_face_only_texture_moves():
    """The light of the onset stays on the skin: away from where texture moves nothing changes but by shading."""
    data = SyntheticMicroExpressions(1, 3, 96, distractors=flow.NONE, amplitude=(3.0, 3.0))
    moving = data.moving_face(1)
    painted = flow.Painted(moving.face, moving.motion, moving.camera, moving.light)
    keys = moving.motion.onset, moving.motion.apex
    assert (painted.noise_free(keys[0]) == moving.noise_free(keys[0])).all()
    changed, painted_changed = (np.abs(m.noise_free(keys[1]) - m.noise_free(keys[0])).mean() for m in (moving, painted))
    assert painted_changed < changed


def test_the_documented_flows_are_the_stored_ones():
    stored = Flows.load(STORED / "flow.json")
    for what, heading in {
        "moved": "**What light does to optical flow.**",
        "face": "the same over the whole head",
    }.items():
        expected = [[name, *(f"{x:.2f}" for x in row)] for name, *row in stored.table(what).itertuples()]
        assert rows_of(heading) == expected


def test_shading_misleads_flow():
    """The sentences of the documentation, asked of the stored clips."""
    stored = Flows.load(STORED / "flow.json").table("moved")
    text = (ROOT / "docs" / "results.md").read_text()
    for condition in ("shading", "shading, lamp wanders", "texture alone, head turns"):
        grown = stored.loc[condition, list(FLOWS)] / stored.loc["texture alone", list(FLOWS)] - 1
        assert (grown > 0).all() or (condition.endswith("turns") and (grown >= 0).all())  # DIS bears a turn
        percent = [f"{100 * share:.0f} %" for share in grown]
        assert all(number in text for number in percent)
        assert grown.idxmax() == "tvl1"
    assert (stored[list(FLOWS)].idxmin(axis=1) == "dis").all()


def test_the_real_landmarker_is_asked(landmarker, tmp_path):
    found = measure(people=6)
    assert len(found.faces) == 6 * len(POSES)
    assert found.faces.found.mean() > 0.9
    assert (found.faces[list(PLACES)].median() < 10).all()
    assert found.faces.tone.value_counts().nunique() == 1
    found.save(tmp_path / "x.json")
    assert Landmarked.load(tmp_path / "x.json").table().shape == (8, 2 + len(PLACES))


def test_the_documented_landmarks_are_the_stored_ones():
    stored = Landmarked.load(STORED / "landmarker.json")
    expected = [
        [*(str(i) for i in index), *row]
        for index, row in zip(stored.table().index, stored.table().to_numpy().tolist(), strict=True)
    ]
    assert rows_of("**Are drawn heads faces to a program that learnt from photographs?**") == expected
    assert len(stored.faces) == 400
    assert stored.faces.found.mean() >= 0.98
    [share] = re.findall(r"found (\d+) of 400", (ROOT / "docs" / "results.md").read_text())
    assert int(share) == stored.faces.found.sum()
