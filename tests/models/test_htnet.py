"""HTNet and STSTNet against numbers of their public codes, and what their parts do."""

import json

import numpy as np
import pytest
import torch
from public_code import checkpoint, error

from studies.official import from_official
from tsfmicro_lab.models import create_model
from tsfmicro_lab.models.htnet import REGIONS, HTNet, HTNetConfig
from tsfmicro_lab.models.shallow import planes
from tsfmicro_lab.preprocess import POINT_NAMES


def reference(golden, name):
    return json.loads((golden / f"{name}.json").read_text())


def picture():
    return torch.from_numpy(np.random.RandomState(7).standard_normal((2, 3, 28, 28)).astype(np.float32))


def alternative(name, x):
    """The filling in which norms scale, by which the two samples differ."""
    n = x.flatten() * x.shape[1] ** 0.5 if x.ndim == 4 else (x - 1) / 0.1  # both are drawn from the same normal numbers
    if name.endswith(".g"):
        return (1 + 0.1 * n).reshape(x.shape)
    if name.endswith(".b"):
        return (0.02 * n).reshape(x.shape)
    return 0.2 * n if name.endswith("pos_emb") else x


@torch.no_grad()
def test_htnets_logits_are_met_and_queries_and_keys_do_nothing(golden):
    given = reference(golden, "htnet")
    model = from_official({name: alternative(name, x) for name, x in checkpoint(given["shapes"]).items()})
    assert sum(p.numel() for p in model.parameters()) == given["parameters"]
    logits = model.answer(picture())
    assert error(logits, given["logits_alt"]) < 1e-4
    assert error(logits.flip(0), given["logits_alt"]) > 0.1, "this test tells the two samples apart"
    assert model.tokens == 1
    idle = 0
    for level in model.levels:
        for block in level.layers:
            queries_and_keys = block.attention.qkv.weight[: 2 * len(block.attention.qkv.weight) // 3]
            queries_and_keys *= -3
            idle += queries_and_keys.numel()
    assert idle == 22_195_200
    assert torch.equal(model.answer(picture()), logits)


def test_the_other_depth_has_its_size():
    with torch.device("meta"):
        model = HTNet(HTNetConfig(depths=(2, 2, 8)))
    assert sum(p.numel() for p in model.parameters()) == 114_429_446


def small_state(**changes):
    """A checkpoint as the public code names it, of an HTNet that is as small as names allow."""
    rows = {"to_patch_embedding.1.weight": (256, 147, 1, 1), "layers.0.0.pos_emb": (1,), "mlp_head.2.bias": (3,)}
    return {name: torch.zeros(shape) for name, shape in (rows | changes).items()}


def test_a_checkpoint_of_another_size_is_refused():
    with pytest.raises(ValueError, match="does not fit htnet at base size:") as refusal:
        from_official(small_state(**{"layers.0.0.pos_emb": (16,)}))
    assert "\n  levels.0.position is (16,), expected (1,)" in str(refusal.value)
    assert "\n  head.weight is missing, expected (3, 1024)" in str(refusal.value)


@torch.no_grad()
@pytest.mark.parametrize(("settings", "tokens"), [({}, 1), ({"depths": (1, 2)}, 4), ({"image_size": 56}, 4)])
def test_attention_acts_where_a_block_holds_several_tokens(settings, tokens):
    model = create_model("htnet", 3, seed=0, **settings).eval()
    assert model.tokens == tokens
    x = torch.randn(2, 3, *[model.config.image_size] * 2)
    before = model.answer(x)
    for level in model.levels:
        for block in level.layers:
            block.attention.qkv.weight[: 2 * len(block.attention.qkv.weight) // 3] *= -3
    assert torch.equal(model.answer(x), before) == (tokens == 1)


@torch.no_grad()
def test_regions_lie_where_they_are_called_to():
    model = create_model("htnet", 3, seed=0)
    points = torch.full((1, len(POINT_NAMES), 2), 14.0)
    centres = {"right_eye": (8, 9), "left_eye": (20, 9), "right_mouth_corner": (9, 20), "left_mouth_corner": (19, 20)}
    for name, at in centres.items():
        for n, point in enumerate(POINT_NAMES):
            if point.startswith(name):
                points[0, n] = torch.tensor(at, dtype=torch.float32)
    y, x = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    read = model.regions(torch.stack((x, y))[None], points)[0]
    for n in range(4):
        part = read[:2, 14 * (n // 2) :, 14 * (n % 2) :][:, :14, :14]
        expected = torch.tensor(list(centres.values())[n]).clamp(7, 20)
        assert torch.allclose(part.mean((1, 2)), expected.float(), atol=1e-4), REGIONS[n]
    with pytest.raises(ValueError, match=r"region 'right eye' around .* lies outside the 28×28 px image"):
        model(torch.zeros(1, 2, 28, 28), points - 60)


def test_levels_that_do_not_fit_the_picture_are_refused():
    with pytest.raises(ValueError, match=r"\(28\) must be a multiple of patch_size \(7\) times 8, since 4 levels"):
        create_model("htnet", depths=(1, 1, 1, 1))


@torch.no_grad()
def test_ststnets_public_form_meets_its_logits(golden):
    given = reference(golden, "ststnet")
    state = checkpoint(given["shapes"])
    model = from_official(state)
    assert sum(p.numel() for p in model.parameters()) == given["parameters"]
    assert error(model.answer(picture()), given["logits"]) < 1e-4
    for stream in model.streams:
        stream[0].padding = (1, 1)
    assert error(model.answer(picture()), given["logits_padding1"]) < 1e-4
    assert error(model.answer(picture()), given["logits"]) > 0.1, "the padding is heard"
    with pytest.raises(ValueError, match=r"does not fit ststnet at base size:\n  head\.weight is \(3, 100\)"):
        from_official({**state, "fc.weight": torch.zeros(3, 100)})


def test_stretching_throws_strength_away():
    flow = torch.randn(2, 2, 28, 28)
    assert torch.allclose(planes(flow, True), planes(0.1 * flow, True), atol=1e-2)
    assert planes(flow, True).amin((2, 3)).abs().max() < 1e-6
    assert torch.allclose(planes(flow, True).amax((2, 3)), torch.tensor(255.0))
    assert not planes(torch.zeros(1, 2, 28, 28), True).any()
    assert torch.allclose(planes(flow)[:, :2], flow)
