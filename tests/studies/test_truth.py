import numpy as np
import pytest
import torch
from toy_models import Linear

from studies.infidelity import relative_infidelity
from studies.truth import impute, perturbation_curves, pointing, rank_correlation, truth_scores
from tsfmicro_lab.explain import WhereHow, where_how
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


IMPUTATIONS = ["zero", "linear", "another"]


def given(name, model):
    return {n: torch.randn(1, 3, 56, 56) for n in model.input_names} if name == "another" else name


@pytest.mark.parametrize("name", IMPUTATIONS)
def test_kept_pixels_stay_and_the_others_are_what_the_imputation_says(linear, name):
    model, x = linear
    imputation = given(name, model)
    keep = torch.rand(4, 1, 56, 56) < 0.6
    batch = {n: one.expand(4, -1, -1, -1) for n, one in x.items()}
    found = impute(model, batch, {"onset": keep}, imputation)
    assert torch.equal(found["difference"], batch["difference"])
    mask = keep.expand(-1, 3, -1, -1)
    assert torch.equal(found["onset"][mask], batch["onset"][mask])
    holes = found["onset"][~mask]
    if name == "zero":
        assert not holes.any()
    elif name == "another":
        assert torch.equal(holes, imputation["onset"].expand(4, -1, -1, -1)[~mask])
    else:
        assert 0.05 < holes.std() < 0.95, "means of neighbours vary less than the noise that they fill"


def test_linear_imputation_solves_for_all_holes_at_once():
    """A ramp is its own mean of neighbours: inside the picture holes of any shape get it back, up to the noise."""
    model = Linear.from_preset("tiny")
    ramp = torch.linspace(-1, 1, 56).expand(1, 3, 56, 56)
    keep = torch.ones(1, 1, 56, 56, dtype=torch.bool)
    keep[..., 20:36, 18:40] = False
    x = {"onset": ramp, "difference": ramp}
    found = impute(model, x, {"onset": keep}, "linear")["onset"]
    assert (found - ramp).abs().max() < 0.06
    assert 0.005 < (found - ramp)[~keep.expand_as(ramp)].std() < 0.02
    nothing = impute(model, x, {"onset": torch.zeros_like(keep)}, "linear")["onset"]
    assert nothing.abs().max() < 0.06, "a picture of which nothing is kept is the baseline"
    assert torch.equal(found, impute(model, x, {"onset": keep}, "linear")["onset"])
    with pytest.raises(
        ValueError, match="imputation must be 'zero', 'linear' or the inputs of another clip, got 'blur'"
    ):
        impute(model, x, {"onset": keep}, "blur")


def test_weights_of_neighbours_are_roads(linear):
    """One missing pixel: a sixth of each straight neighbour and a twelfth of each diagonal one."""
    model, x = linear
    keep = torch.ones(1, 1, 56, 56, dtype=torch.bool)
    keep[..., 30, 30] = False
    found = impute(model, x, {"onset": keep}, "linear")["onset"][0, :, 30, 30]
    patch = x["onset"][0, :, 29:32, 29:32]
    straight = patch[:, [0, 1, 1, 2], [1, 0, 2, 1]].sum(1) / 6
    diagonal = patch[:, [0, 0, 2, 2], [0, 2, 0, 2]].sum(1) / 12
    assert torch.allclose(found, straight + diagonal, atol=0.05)


@pytest.mark.parametrize("name", IMPUTATIONS)
def test_a_true_map_beats_its_negative_under_every_imputation(linear, name):
    model, x = linear
    imputation = given(name, model)
    # What a linear model loses is its weight times the change, whatever stands in.
    full = {n: torch.zeros(1, 1, 56, 56, dtype=torch.bool) for n in x}
    other = impute(model, x, full, imputation)
    exact = {
        n: ((x[n] - other[n]) * w).sum((0, 1)).detach().numpy() for n, w in zip(x, (model.a, model.b), strict=True)
    }
    exact = WhereHow(exact, 0, "made up")
    deletion, insertion = perturbation_curves(model, x, exact, imputation=imputation)
    down, up = perturbation_curves(model, x, pair(-exact["difference"]), imputation=imputation)
    assert deletion.mean() < down.mean() - 0.1
    assert insertion.mean() > up.mean() + 0.1
    found = relative_infidelity(model, x, exact, imputation)
    assert found < (0.5 if name == "linear" else 1e-6), "linear imputation answers to which pixels are left"
    assert relative_infidelity(model, x, pair(-exact["difference"], exact["onset"]), imputation) > found + 0.1


def test_rows_of_frames_are_imputed_frame_by_frame():
    model = Linear.from_preset("tiny")
    x = {"flow": torch.randn(1, 4, 3, 12, 12)}
    keep = {"flow": torch.rand(2, 4, 1, 12, 12) < 0.5}
    found = impute(model, {"flow": x["flow"].expand(2, -1, -1, -1, -1)}, keep, "linear")["flow"]
    assert found.shape == (2, 4, 3, 12, 12)
    alone = impute(model, {"flow": x["flow"][:, 1]}, {"flow": keep["flow"][:1, 1]}, "linear")["flow"]
    assert torch.allclose(found[0, 1], alone[0], atol=0.1)


def test_infidelity_is_captums(linear):
    """Captum's infidelity with its normalisation, over the same holes."""
    from captum.metrics import infidelity

    model, x = linear
    maps = pair(*np.random.default_rng(0).normal(size=(2, 56, 56)).astype(np.float32))
    draw = torch.Generator().manual_seed(3)
    holes = [
        torch.nn.functional.interpolate((torch.rand(40, 1, 7, 7, generator=draw) >= 0.5).float(), (56, 56))
        for _ in range(2)
    ]

    def perturb(inputs):
        gone = tuple(h.expand_as(one).contiguous() for h, one in zip(holes, inputs, strict=True))
        return gone, tuple(one * (1 - g) for one, g in zip(inputs, gone, strict=True))

    heat = tuple(torch.from_numpy(maps[n])[None, None].expand(1, 3, -1, -1) / 3 for n in maps)

    def captum(normalize):
        settings = {"target": 0, "n_perturb_samples": 40, "max_examples_per_batch": 40, "normalize": normalize}
        scale = 1.0 if normalize else 0.0
        given = tuple(scale * h.contiguous() for h in heat)
        return float(infidelity(lambda *both: model(*both), perturb, tuple(x.values()), given, **settings))

    assert relative_infidelity(model, x, maps, count=40, seed=3) == pytest.approx(
        captum(True) / captum(False), rel=1e-3
    )
