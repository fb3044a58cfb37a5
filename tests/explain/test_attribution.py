import numpy as np
import pytest
import torch
from toy_models import Deaf, Linear

from tsfmicro_lab.explain import share_inside, where_how, where_how_batch
from tsfmicro_lab.models import create_model


def sample(side=56):
    return {name: torch.randn(3, side, side) for name in ("onset", "difference")}


@pytest.fixture(scope="module")
def late():
    return create_model("tsfmicro_late", 3, seed=0)


def test_a_linear_model_gets_weight_times_input():
    model, x = Linear.from_preset("tiny"), sample()
    for target, sign in ((0, 1), (1, -1)):
        maps = where_how(model, x, target, steps=4)
        assert np.allclose(maps.where, sign * (x["onset"] * model.a).sum(0).detach(), atol=1e-4)
        assert np.allclose(maps.how, sign * (x["difference"] * model.b).sum(0).detach(), atol=1e-4)
        assert maps.completeness_error < 1e-4


def test_the_other_methods_on_a_linear_model():
    model, x = Linear.from_preset("tiny"), sample()
    product, slope = (where_how(model, x, 1, method) for method in ("input × gradient", "saliency"))
    assert np.allclose(product.how, -(x["difference"] * model.b).sum(0).detach(), atol=1e-4)
    assert np.allclose(slope.where, model.a.abs().sum(0).detach(), atol=1e-4)
    assert np.isnan(slope.completeness_error)
    with pytest.raises(ValueError, match="unknown method 'magic': choose from integrated gradients, input"):
        where_how(model, x, 1, "magic")


def test_both_maps_sum_to_the_change_of_the_logit(late):
    x = sample()
    maps = where_how(late, x, 2, steps=128)
    with torch.no_grad():
        logit = late(x["onset"][None], x["difference"][None])[0, 2]
        rest = late(torch.zeros(1, 3, 56, 56), torch.zeros(1, 3, 56, 56))[0, 2]
    assert maps.where.sum() + maps.how.sum() == pytest.approx(float(logit - rest), rel=0.02)
    assert maps.completeness_error < 0.02


def test_the_baseline_itself_has_no_attribution(late):
    zero = {name: torch.zeros(3, 56, 56) for name in ("onset", "difference")}
    maps = where_how(late, zero, 0)
    assert not maps.where.any()
    assert not maps.how.any()
    assert maps.how_share == 0


def test_the_predicted_class_is_explained_by_default(late):
    x = sample()
    with torch.no_grad():
        predicted = int(late(x["onset"][None], x["difference"][None]).argmax())
    assert where_how(late, x).target == predicted
    maps = [where_how(late, x, t).how for t in range(3)]
    assert not np.allclose(maps[0], maps[1])


def test_the_batch_size_bounds_memory_and_changes_nothing(late):
    x = sample()
    small, large = (where_how(late, x, 0, steps=16, batch_size=b) for b in (3, 16))
    assert np.allclose(small.how, large.how, atol=1e-5)


def test_tensors_of_inference_mode_are_explained(late):
    with torch.inference_mode():
        x = sample()
    assert np.isfinite(where_how(late, x).how).all()


@pytest.mark.parametrize(("name", "stream"), [("tsfmicro_temporal", "onset"), ("tsfmicro_spatial", "difference")])
def test_a_model_of_one_stream_is_refused_by_name(name, stream):
    with pytest.raises(ValueError, match=f"does not read the {stream} frame.*such as tsfmicro_late"):
        where_how(create_model(name, 3), sample())


def test_inside_inference_mode_too(late):
    x = sample()
    with torch.inference_mode():
        inside = where_how(late, x, 0)
    assert np.array_equal(inside.how, where_how(late, x, 0).how)


def test_weights_of_inference_mode_are_named():
    with torch.inference_mode():
        model = Linear.from_preset("tiny")
    with pytest.raises(ValueError, match=r"weights were made in inference mode.*outside torch\.inference_mode"):
        where_how(model, sample(), 0)


def test_a_stream_that_is_ignored_is_named():
    with pytest.raises(ValueError, match="Deaf takes the onset frame and ignores it"):
        where_how(Deaf.from_preset("tiny"), sample(), 0, "occlusion")


def test_a_batch_is_explained_as_its_clips_are(late):
    batch = {name: torch.randn(3, 3, 56, 56) for name in late.input_names}
    together = where_how_batch(late, batch, [2, 0, 1], "SmoothGrad", steps=4)
    for i, target in enumerate([2, 0, 1]):
        alone = where_how(late, {name: x[i] for name, x in batch.items()}, target, "SmoothGrad", steps=4)
        assert np.array_equal(together[i].where, alone.where)
        assert together[i].target == target


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
    assert share_inside(np.full((10, 10), -3.0), region) == pytest.approx((0.15, 0.15))
    assert share_inside(region * 1.0, region) == pytest.approx((1.0, 0.15))
    assert share_inside(np.zeros((10, 10)), region) == (0.0, 0.15)
    with pytest.raises(ValueError, match="align the clip to the model's size"):
        share_inside(np.zeros((5, 5)), region)
