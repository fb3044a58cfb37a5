"""A paper's recipe on a store: honest, leaky and published stand side by side, and each says what it is."""

from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest
from typer.testing import CliRunner

from lookalikes import synthesize
from studies.reproduce import app, cost, find, known, prepare_for, reproduce
from tsfmicro_lab.data import SyntheticMicroExpressions, load, open_store, prepare
from tsfmicro_lab.data.tensors import KEY_FRAMES
from tsfmicro_lab.models import create_model
from tsfmicro_lab.training import cross_validation

METHOD, TASK = "STSTNet, the authors' PyTorch code", "MEGC2019"


@pytest.fixture(scope="module")
def samples():
    tensors = (*create_model("ststnet", preset="base").prepared, *KEY_FRAMES)
    return prepare(SyntheticMicroExpressions(2, 10, 64), 28, target="emotion_megc", tensors=tensors, progress=False)


def test_honest_leaky_and_published_stand_side_by_side(samples, tmp_path):
    table = reproduce(METHOD, TASK, samples, tmp_path, epochs=3, workers=1)
    own, printed = table[:2], table[2:]
    assert own.row.tolist() == ["honest", "leaky"]
    assert own.selection.tolist() == ["last", "leaky: chosen on the test clips"]
    assert own.uf1[0] <= own.uf1[1]  # what chooses on the test clips cannot choose worse for them
    assert own.uf1.between(0, 1).all()
    assert own.clips.tolist() == [len(samples)] * 2
    assert own.source.str.contains("STSTNet@1afb56e").all()
    assert len(printed) >= 2
    assert printed.row.str.startswith("published, ").all()
    assert {"honest", "leaky"} <= set(printed.selection)
    assert printed.can_be_true.dropna().eq(False).any()  # of other clips: no matrix of these has those scores


def test_what_is_not_read_or_not_known_is_refused(samples, tmp_path):
    with pytest.raises(ValueError, match="STSTNet, MEGC2019: weight_decay was not read, so there is no recipe"):
        reproduce("STSTNet", "MEGC2019", samples, tmp_path)
    with pytest.raises(ValueError, match="no recipe of 'STSTNet' on 'Mars': choose from TSFmicro: CASME II, 5 classes"):
        reproduce("STSTNet", "Mars", samples, tmp_path)
    assert not any(tmp_path.iterdir())


def test_the_cost_is_said_before(samples):
    assert cost(samples, 3, 1).startswith("4 trainings of 3 epochs: ")
    assert isinstance(known(), pd.DataFrame)
    assert {"TSFmicro", "MMNet", "SLSTT", "HTNet"} <= set(known().method)


LOOKALIKES = {"casme2": "2014", "samm": "v2", "casme3": "a", "smic": "HS"}


@pytest.fixture(scope="module")
def roots(tmp_path_factory, landmarker):
    """Small copies of all sets that the papers read."""
    folder, source = tmp_path_factory.mktemp("roots"), SyntheticMicroExpressions(2, 3, 160)
    for name in LOOKALIKES:
        synthesize(name, folder / name, source, faults=False)
    return folder


PAPERS = [
    ("TSFmicro", "CASME II, 5 classes"),
    ("TSFmicro", "SAMM, 5 classes"),
    ("TSFmicro", "SAMM, 3 classes"),
    ("TSFmicro", "CAS(ME)^3, 4 classes"),
    ("TSFmicro", "CAS(ME)^3, 7 classes"),
    ("MMNet", "CASME II, 3 classes"),
    ("SLSTT", "all its data sets"),
    ("SLSTT, in two stages", "all its data sets"),
    (METHOD, TASK),
    ("Off-ApexNet, written again by Off-TANet's authors", "CASME, CASME II and CAS(ME)^2"),
]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("method", "task"), PAPERS)
def test_every_paper_is_trained_by_its_recipe_from_a_raw_copy(method, task, roots, tmp_path, monkeypatch):
    """One epoch at small size: the cost comes first, then honest and leaky with intervals, and what was published."""
    monkeypatch.setattr(cross_validation, "fold_processes", lambda workers: ThreadPoolExecutor(1))  # starts at once
    paper = find(method, task)
    parts = ("smic", "casme2", "samm") if paper.prepare["name"] == "megc2019" else (paper.prepare["name"],)
    options = ["--preset", "tiny", "--epochs", "1", "--workers", "1", "--out", str(tmp_path)]
    done = CliRunner().invoke(app, [method, task, *(str(roots / part) for part in parts), *options])
    assert done.exit_code == 0, done.output
    told = f"trainings of {1 + ('stages' in method)} epochs: "
    assert told in done.output
    assert done.output.index(told) < done.output.index("honest")
    table = pd.read_csv(tmp_path / "reproduced.csv")
    assert table.row[:2].tolist() == ["honest", "leaky"]
    assert table[["uf1", "low", "high"]][:2].notna().all(axis=None)
    assert table.source[0] == paper.source
    samples = open_store(next((tmp_path / "stores").iterdir()))
    assert ("strongest_onset" in samples.tensors) == paper.recipe().strongest_pair
    assert set(samples.table.get("data", pd.Series(parts))) == set(parts)


def test_the_strongest_pair_of_samm_is_sought_farther(roots):
    """A tenth of the way to the apex, as its script says; a twenty-seventh for the others."""
    reach = {name: load(name, roots / name, labels)[0].reach for name, labels in LOOKALIKES.items()}
    assert reach == {"casme2": 0.0375, "samm": 0.1, "casme3": 0.0375, "smic": 0.0375}


def test_a_copy_is_prepared_only_where_the_recipe_says_how(roots, tmp_path):
    with pytest.raises(ValueError, match="weight_decay was not read, so there is no recipe"):
        prepare_for(find("STSTNet", "MEGC2019"), [roots], tmp_path)
    with pytest.raises(ValueError, match="give the folder of your copy of smic, then of casme2, then of samm"):
        prepare_for(find(METHOD, TASK), [roots / "smic"], tmp_path)
    assert not any(tmp_path.iterdir())
