import numpy as np
import pytest
import torch
from toy_models import Linear

from tsfmicro_lab.explain import WhereHow, where_how
from tsfmicro_lab.explain.truth import (
    perturbation_curves,
    pointing,
    rank_correlation,
    relative_infidelity,
    sensitivity,
    truth_scores,
)
from tsfmicro_lab.preprocess import align_clip


@pytest.fixture(scope="module")
def linear():
    torch.manual_seed(0)
    model = Linear.from_preset("tiny").eval()
    with torch.no_grad():
        for weights in (model.a, model.b):
            weights.mul_(0.002)
    return model, {name: torch.randn(1, 3, 56, 56) for name in model.input_names}


@pytest.fixture(scope="module")
def truth(data):
    return align_clip(data[1], 56).truth


def pair(how, where=None):
    return WhereHow({"onset": 0 * how if where is None else where, "difference": how}, 0, "made up")


def test_the_truth_itself_scores_best_and_noise_at_chance(truth):
    exact = truth_scores(np.hypot(*truth.expression), truth)
    assert exact["pointing"] == 1
    assert exact["rank"] == pytest.approx(1)
    assert exact["precision"] > 0.95  # the aligned region was rounded to pixels
    rng = np.random.default_rng(0)
    noise = [truth_scores(rng.normal(size=(56, 56)), truth) for _ in range(20)]
    mean = {name: np.mean([n[name] for n in noise]) for name in exact}
    assert mean["mass"] == pytest.approx(truth.moved.mean(), rel=0.1)
    assert mean["precision"] == pytest.approx(truth.moved.mean(), abs=0.03)
    assert abs(mean["rank"]) < 0.03
    assert mean["area"] == pytest.approx(truth.moved.mean())
    assert truth_scores(-3 * np.hypot(*truth.expression), truth) == pytest.approx(exact), "strength counts, not sign"


def test_pointing_and_ranks_of_maps_that_are_even():
    region = np.array([[True, False], [False, False]])
    assert pointing(np.zeros((2, 2)), region) == 0
    assert pointing(np.ones((2, 2)), region) == 0.25
    assert rank_correlation(np.ones((2, 2)), np.arange(4.0).reshape(2, 2)) == 0


def test_a_true_map_takes_out_what_matters_first(linear):
    model, x = linear
    exact = where_how(model, x, 0, "input × gradient")
    wrong = pair(-exact["difference"])
    deletion, insertion = perturbation_curves(model, x, exact)
    assert deletion[0] == insertion[-1]
    assert deletion[-1] == insertion[0]
    assert deletion.min() < deletion[-1], "pixels against the class are taken out last"
    for other in (wrong, pair(np.random.default_rng(0).normal(size=(56, 56)).astype(np.float32))):
        down, up = perturbation_curves(model, x, other)
        assert deletion.mean() < down.mean()
        assert insertion.mean() > up.mean()


def test_curves_of_the_onset_leave_the_difference_alone(linear):
    model, x = linear
    maps = where_how(model, x, 0, "input × gradient")
    deletion, _ = perturbation_curves(model, x, maps, "onset", points=5)
    with torch.no_grad():
        without = model(0 * x["onset"], x["difference"]).softmax(-1)[0, 0]
    assert deletion[-1] == pytest.approx(float(without), abs=1e-5)


def test_infidelity_is_zero_for_what_a_linear_model_does_and_one_for_nothing(linear):
    model, x = linear
    exact = where_how(model, x, 0, "input × gradient")
    assert relative_infidelity(model, x, exact) < 1e-6
    assert relative_infidelity(model, x, pair(7 * exact["difference"], 7 * exact["onset"])) < 1e-6
    assert relative_infidelity(model, x, pair(0 * exact["difference"])) == 1
    noise = np.random.default_rng(0).normal(size=(2, 56, 56)).astype(np.float32)
    assert 0.4 < relative_infidelity(model, x, pair(*noise)) <= 1
    half = relative_infidelity(model, x, pair(exact["difference"]))
    assert 0.1 < half < 0.9, "one stream alone explains a part"


def test_sensitivity_is_that_of_the_maps(linear):
    model, x = linear
    assert sensitivity(lambda s: where_how(model, s, 0, "saliency"), x) < 1e-6, "a linear slope is the same everywhere"
    little, more = (sensitivity(lambda s: where_how(model, s, 0, "input × gradient"), x, radius=r) for r in (0.02, 0.2))
    assert 0 < 5 * little < more
