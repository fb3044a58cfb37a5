import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from studies.needed import CONDITIONS, ERROR, ORACLE, Gap, Unpainted, clips, one_seed
from tsfmicro_lab.data import Distractors, SyntheticMicroExpressions, prepare
from tsfmicro_lab.data.synthetic import WHERE

#: Among the best of the large study, filmed and aligned, and quick to train.
QUICK = (
    "logistic regression, pooled, without the head",
    "gradient boosting, invariants",
)


def test_the_displacement_alone_decides_only_when_it_is_aligned():
    """The proof, small; `notebooks/results/needed.json` holds the large one."""
    found = pd.DataFrame(one_seed(12, 25, 0, ERROR, QUICK))
    oracle = found.model == ORACLE
    known, best = (found[rows].groupby("condition").uf1.max() for rows in (oracle, ~oracle))
    assert set(known.index) == set(CONDITIONS)
    assert known.filmed >= 0.80
    assert known.filmed - best.filmed >= 0.40  # 0.20 is what is asked; an upright camera leaves 0.14, whole units 0.25
    assert known.aligned - best.aligned <= 0.08


def test_the_stored_study_shows_the_gap_in_every_seed():
    gaps = Gap.load(ROOT / "notebooks" / "results" / "needed.json").gaps()
    assert len(gaps) >= 10
    assert (gaps.filmed >= 0.20).all()
    assert (gaps.aligned <= 0.05).all()


def test_a_close_up_is_turned_near_and_shows_what_moves():
    data = clips(4, 10, 0)
    cameras = [data.moving_face(i).camera for i in range(len(data))]
    turns = np.sort([camera.roll for camera in cameras])
    assert np.diff(turns, append=turns[0] + 2 * np.pi).max() < np.pi / 2  # no direction is left out
    assert min(camera.zoom for camera in cameras) > 1.5
    places = [np.unravel_index(np.hypot(*data[i].truth.expression).argmax(), (48, 48)) for i in range(len(data))]
    assert 8 <= np.min(places) <= 16
    assert 31 <= np.max(places) <= 39
    assert all(len(units) == 1 and units[0][0] in "LR" for choices in WHERE["needed"].values() for units in choices)


def test_traces_of_all_units_look_alike():
    """Seen from one camera, moved to one place and turned to one side, they differ by a few percent."""
    data = Unpainted(1, 40, 96, 0, where="needed", balance="uniform", distractors=Distractors.none())
    shapes = []
    for i in range(len(data)):
        moving = data.moving_face(i)
        field = moving.expression
        length = np.hypot(*field) / np.hypot(*field).max()
        shapes.append((length > 0.5).sum() / moving.camera.zoom**2)
    assert np.std(shapes) < 0.15 * np.mean(shapes)


def test_without_alignment_frames_are_only_resized():
    data = SyntheticMicroExpressions(1, 2, 96, where="needed")
    filmed, aligned = (prepare(data, 48, align=align, progress=False) for align in (False, True))
    small = cv2.resize(data[0].frame(data[0].onset), (48, 48), interpolation=cv2.INTER_AREA)
    off = [np.abs(x.onset[0].permute(1, 2, 0).numpy().astype(int) - small).mean() for x in (filmed, aligned)]
    assert off[0] < 6 < off[1]
    with pytest.raises(ValueError, match="short_flow crop the upright face by its landmarks: leave align=True"):
        prepare(data, 48, tensors=("short_flow",), align=False, progress=False)


def test_stores_of_filmed_and_aligned_clips_are_not_mixed_up(tmp_path):
    data = SyntheticMicroExpressions(1, 2, 64, where="needed")
    filmed, aligned = (prepare(data, 32, align=align, folder=tmp_path, progress=False) for align in (False, True))
    assert filmed.folder != aligned.folder
    assert (filmed.onset != aligned.onset).any()


def test_an_unknown_condition_is_refused_in_one_sentence():
    with pytest.raises(ValueError, match="where is one of free, needed, not 'somewhere'"):
        SyntheticMicroExpressions(1, 1, where="somewhere")
