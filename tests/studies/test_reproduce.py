"""A paper's recipe on a store: honest, leaky and published stand side by side, and each says what it is."""

import pandas as pd
import pytest

from studies.reproduce import cost, known, reproduce
from tsfmicro_lab.data import SyntheticMicroExpressions, prepare
from tsfmicro_lab.data.tensors import KEY_FRAMES
from tsfmicro_lab.models import create_model

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
