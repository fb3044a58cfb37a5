import numpy as np
import pytest
import torch
from toy_models import Linear

from studies.complementarity import complementarity
from tsfmicro_lab.explain import WhereHow, where_how


def test_streams_that_only_add_up_have_no_synergy():
    model = Linear.from_preset("tiny")
    x = {name: torch.randn(1, 3, 56, 56) for name in model.input_names}
    maps = where_how(model, x, 0, "input × gradient")
    found = complementarity(model, x, maps)
    assert found["synergy"] == pytest.approx(0, abs=1e-3)
    assert found["difference alone"] == pytest.approx(found["difference given onset"], abs=1e-3)
    assert found["difference alone"] == pytest.approx(float(maps["difference"].sum()), abs=1e-2)
    assert found["onset alone"] == pytest.approx(float(maps["onset"].sum()), abs=1e-2)


def test_overlap_is_one_for_equal_maps_and_zero_for_maps_apart():
    model = Linear.from_preset("tiny")
    x = {name: torch.randn(1, 3, 56, 56) for name in model.input_names}
    left, right = np.zeros((2, 56, 56))
    left[:, :20], right[:, 30:] = 1.0, 5.0
    for where, how, expected in ((left, 3 * left, 1), (left, right, 0), (left + right, right, 130 / 150)):
        overlap = complementarity(model, x, WhereHow({"onset": where, "difference": how}, 0, "x"))["overlap"]
        assert overlap == pytest.approx(expected)
