from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from toy_models import Deaf, Linear

from tsfmicro_lab.explain import explain_all, mass_inside, where_how
from tsfmicro_lab.models import create_model, from_pretrained


def sample(side=56):
    return {name: torch.randn(3, side, side) for name in ("onset", "difference")}


@pytest.fixture(scope="module")
def late():
    return create_model("tsfmicro_late", 3, seed=0)


def test_a_linear_model_gets_weight_times_input():
    model, x = Linear.from_preset("tiny"), sample()
    for target, sign in ((0, 1), (1, -1)):
        maps = where_how(model, x, target, steps=4)
        assert np.allclose(maps["onset"], sign * (x["onset"] * model.a).sum(0).detach(), atol=1e-4)
        assert np.allclose(maps["difference"], sign * (x["difference"] * model.b).sum(0).detach(), atol=1e-4)
        assert maps.completeness_error < 1e-4


def test_the_other_methods_on_a_linear_model():
    model, x = Linear.from_preset("tiny"), sample()
    product, slope = (where_how(model, x, 1, method) for method in ("input × gradient", "saliency"))
    assert np.allclose(product["difference"], -(x["difference"] * model.b).sum(0).detach(), atol=1e-4)
    assert np.allclose(slope["onset"], model.a.abs().sum(0).detach(), atol=1e-4)
    assert np.isnan(slope.completeness_error)
    with pytest.raises(ValueError, match="unknown method 'magic': choose from integrated gradients, input"):
        where_how(model, x, 1, "magic")


def test_both_maps_sum_to_the_change_of_the_logit(late):
    x = sample()
    maps = where_how(late, x, 2, steps=128)
    with torch.no_grad():
        logit = late(x["onset"][None], x["difference"][None])[0, 2]
        rest = late(torch.zeros(1, 3, 56, 56), torch.zeros(1, 3, 56, 56))[0, 2]
    assert maps["onset"].sum() + maps["difference"].sum() == pytest.approx(float(logit - rest), rel=0.02)
    assert maps.completeness_error < 0.02


def test_the_baseline_itself_has_no_attribution(late):
    zero = {name: torch.zeros(3, 56, 56) for name in ("onset", "difference")}
    maps = where_how(late, zero, 0)
    assert not maps["onset"].any()
    assert not maps["difference"].any()
    assert maps.share("difference") == 0


def test_the_predicted_class_is_explained_by_default(late):
    x = sample()
    with torch.no_grad():
        predicted = int(late(x["onset"][None], x["difference"][None]).argmax())
    assert where_how(late, x).target == predicted
    maps = [where_how(late, x, t)["difference"] for t in range(3)]
    assert not np.allclose(maps[0], maps[1])


def test_the_batch_size_bounds_memory_and_changes_nothing(late):
    x = sample()
    small, large = (where_how(late, x, 0, steps=16, batch_size=b) for b in (3, 16))
    assert np.allclose(small["difference"], large["difference"], atol=1e-5)


def test_tensors_of_inference_mode_are_explained(late):
    with torch.inference_mode():
        x = sample()
    assert np.isfinite(where_how(late, x)["difference"]).all()


@pytest.mark.parametrize(("name", "stream"), [("tsfmicro_temporal", "difference"), ("tsfmicro_spatial", "onset")])
def test_a_model_of_one_stream_has_one_map(name, stream):
    model, x = create_model(name, 3, seed=0).eval(), sample()
    maps = where_how(model, x, 1, steps=128)
    with torch.no_grad():
        change = model(x[stream][None]) - model(0 * x[stream][None])
    assert list(maps) == [stream]
    assert maps.share(stream) == pytest.approx(1)
    assert maps[stream].sum() == pytest.approx(float(change[0, 1]), rel=0.02)
    other = "onset" if stream == "difference" else "difference"
    with pytest.raises(KeyError, match=f"there is no map of '{other}': the explained model reads {stream}"):
        maps[other]


@pytest.mark.parametrize("name", ["slstt_mean", "frl_dgt", "ststnet", "off_apexnet"])
def test_every_model_is_explained(name, samples):
    model = create_model(name, 3, seed=0).eval()
    x = {n: torch.rand(1, *shape) for n, shape in model.input_shapes.items()}
    if "landmarks" in x:
        x["landmarks"] = x["landmarks"] * 30 + 10
    maps = where_how(model, x, 0, steps=16)
    assert set(maps) == set(model.input_names) - set(model.auxiliary_names)
    for n, heat in maps.items():
        assert heat.shape == (*x[n].shape[1:-3], *x[n].shape[-2:])
        assert heat.any()
    other = where_how(model, {n: t if n in model.auxiliary_names else 1 - t for n, t in x.items()}, 0, steps=16)
    assert all(not np.allclose(maps[n], other[n]) for n in maps)


def test_inputs_that_are_missing_or_too_many_are_named(late):
    with pytest.raises(ValueError, match="TSFmicroLate reads onset, difference, but there is no difference"):
        where_how(late, {"onset": sample()["onset"]})
    with pytest.raises(ValueError, match="'onset' holds 2 samples: explain one at a time"):
        where_how(late, {n: torch.stack([x, x]) for n, x in sample().items()})


def test_inside_inference_mode_too(late):
    x = sample()
    with torch.inference_mode():
        inside = where_how(late, x, 0)
    assert np.array_equal(inside["difference"], where_how(late, x, 0)["difference"])


def test_weights_of_inference_mode_are_named():
    with torch.inference_mode():
        model = Linear.from_preset("tiny")
    with pytest.raises(ValueError, match=r"weights were made in inference mode.*outside torch\.inference_mode"):
        where_how(model, sample(), 0)


def test_a_stream_that_is_ignored_is_named():
    with pytest.raises(ValueError, match="Deaf takes the onset frame and ignores it"):
        where_how(Deaf.from_preset("tiny"), sample(), 0, "occlusion")


def test_the_callers_random_state_is_left_alone(late):
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    expected = torch.rand(1), np.random.rand()  # noqa: NPY002
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    where_how(late, sample_of(3), 0, "gradient SHAP", steps=3)
    assert (torch.rand(1), np.random.rand()) == expected  # noqa: NPY002


def sample_of(seed):
    noise = torch.Generator().manual_seed(seed)
    return {name: torch.randn(3, 56, 56, generator=noise) for name in ("onset", "difference")}


@pytest.mark.parametrize("target", [-1, 3])
def test_targets_outside_the_classes_are_refused(late, target):
    with pytest.raises(ValueError, match=f"target {target} is none of the model's 3 classes"):
        where_how(late, sample(), target)


def test_maps_that_are_not_finite_are_refused(late):
    x = sample()
    x["difference"][0, 3, 3] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        where_how(late, x, 0)


def test_the_share_of_an_even_map_is_chance():
    region = np.zeros((10, 10), bool)
    region[2:5, 2:7] = True
    assert mass_inside(np.full((10, 10), -3.0), region) == pytest.approx((0.15, 0.15))
    assert mass_inside(region * 1.0, region) == pytest.approx((1.0, 0.15))
    assert mass_inside(np.zeros((10, 10)), region) == (0.0, 0.15)
    with pytest.raises(ValueError, match="align the clip to the model's size"):
        mass_inside(np.zeros((5, 5)), region)


def test_a_set_is_explained_with_as_many_points_as_each_clip_needs(samples):
    """By a model that has learnt something: of an untrained one any number of points is enough."""
    model, rows = from_pretrained("where_how"), range(6)
    few = [where_how(model, model.inputs_of(samples, [i]), steps=4) for i in rows]
    assert max(maps.completeness_error for maps in few) > 0.01
    found = list(explain_all(model, samples, rows))
    assert max(maps.completeness_error for maps in found) <= 0.01
    with ThreadPoolExecutor(2) as pool:
        again = list(explain_all(model, samples, rows, executor=pool, target=2))
    assert {maps.target for maps in again} == {2}
    for i in rows:
        once = where_how(model, model.inputs_of(samples, [i]), steps=256)
        assert found[i].target == once.target
        mass = np.abs(once["difference"]).sum()
        assert np.abs(found[i]["difference"] - once["difference"]).sum() < 0.1 * mass
