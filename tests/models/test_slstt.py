import json
from pathlib import Path

import numpy as np
import pytest
import torch
from public_code import checkpoint, error
from safetensors.torch import save_file

from studies.imagenet import load_imagenet
from studies.official import RULES, from_official
from tsfmicro_lab.data import Distractors, SyntheticMicroExpressions, prepare
from tsfmicro_lab.models import create_model
from tsfmicro_lab.models.base import MEAN, STD
from tsfmicro_lab.models.slstt import SLSTTLSTM, SLSTTConfig, SLSTTMean, colour_code
from tsfmicro_lab.preprocess import flow_colours
from tsfmicro_lab.training import Recipe, fit


@pytest.fixture(scope="module")
def reference(golden):
    return json.loads((golden / "slstt.json").read_text())


def test_the_logits_of_the_public_code_are_met(reference):
    given = reference["slstt_mean"]
    with pytest.warns(UserWarning, match=r"slstt_mean .* never uses them: lstm\.weight_ih_l0"):
        model = from_official(checkpoint(given["shapes"]), "mean")
    size = (2, given["frames"], 3, given["size"], given["size"])
    flow = torch.from_numpy(np.random.RandomState(11).standard_normal(size).astype(np.float32))
    with torch.no_grad():
        logits = model.frame_logits(flow).mean(1)
    assert error(logits, given["logits"]) < 1e-4


def test_the_lstms_names_and_shapes_fit_and_mistakes_are_listed(reference):
    given = reference["slstt_lstm"]
    state = checkpoint(given["shapes"])
    assert sum(x.numel() for x in state.values()) == given["parameters"]
    with pytest.warns(UserWarning, match=r"never uses them: vit\.fc\.weight"):
        model = from_official(state)
    assert isinstance(model, SLSTTLSTM)
    assert model.config.image_size == given["size"]
    assert torch.equal(model.fc2.weight, state["fc2.weight"])
    q = state.pop("vit.transformer.blocks.3.attn.proj_q.weight")
    with pytest.raises(ValueError, match=r"vit\.blocks\.3\.attention\.qkv\.weight is missing"):
        from_official(state)
    state["vit.transformer.blocks.3.attn.proj_q.weight"] = q
    with pytest.raises(ValueError, match=r"unknown aggregator '.*': choose from lstm, mean"):
        from_official(state, "max")


def test_frames_go_through_the_encoder_as_one_batch():
    model = create_model("slstt_mean", 3, seed=0).eval()
    seen = []
    model.vit.register_forward_pre_hook(lambda _, x: seen.append(tuple(x[0].shape)))
    flow = torch.randn(2, 11, 3, 56, 56)
    whole = model.encode(flow)
    assert seen == [(22, 3, 56, 56)]
    alone = torch.stack([model.vit(flow[:, t])[:, 0] for t in range(11)], 1)
    assert torch.allclose(whole, alone, atol=1e-5)


def test_a_frozen_encoder_keeps_its_weights_and_still_passes_gradients_to_the_input():
    model = create_model("slstt_lstm", 3, seed=0, freeze_encoder=True)
    flow = torch.randn(1, 11, 3, 56, 56, requires_grad=True)
    model(flow).sum().backward()
    assert flow.grad.abs().sum() > 0
    assert all(p.grad is None for p in model.vit.blocks.parameters())
    assert model.fc1.weight.grad is not None


def test_checkpointing_changes_no_gradient():
    plain, saving = (create_model("slstt_mean", 3, seed=0, dropout=0.0, checkpointing=c) for c in (False, True))
    flow = torch.randn(2, 11, 3, 56, 56)
    for model in (plain, saving):
        model(flow).square().sum().backward()
    for a, b in zip(plain.parameters(), saving.parameters(), strict=True):
        assert torch.allclose(a.grad, b.grad, atol=1e-6)


def test_colours_tell_direction_and_length():
    angles = torch.arange(0, 360, 15.0).deg2rad()
    flow = torch.stack((angles.cos(), angles.sin()))[:, None]
    flow[:, :, 0] *= 0  # the shortest is black, all others equally long
    coded = colour_code(flow[None])[0]
    expected = flow_colours(flow.numpy(), 1.0)[0]  # white where ours is black, else the same hue at full strength
    assert np.abs(255 * coded[:, 0, 1:].numpy().T - expected[1:]).max() < 2
    assert coded[:, 0, 0].max() == 0


def test_scale_per_frame_throws_away_how_far_anything_moved():
    flow = torch.randn(1, 1, 2, 8, 8)
    flow = torch.cat((flow, 0.1 * flow), 1)
    clip, frame = (colour_code(flow, scale) for scale in ("clip", "frame"))
    assert clip[:, 1].max() < 0.2 < 0.9 < clip[:, 0].max()
    assert torch.allclose(frame[:, 0], frame[:, 1], atol=1e-4)


def test_flow_of_zero_everywhere_is_black_and_finite():
    model = create_model("slstt_lstm", 3, seed=0).eval()
    for scale in ("clip", "frame"):
        assert not colour_code(torch.zeros(2, 11, 2, 56, 56), scale).any()
    inputs = model.inputs({"long_flow": torch.zeros(2, 11, 2, 56, 56, dtype=torch.float16)})
    assert model(inputs["flow"]).isfinite().all()


def test_imagenet_weights_of_a_local_file(tmp_path):
    model, other = (SLSTTMean(SLSTTConfig(3, 32, patch_size=8, dim=16, depth=1, heads=2)) for _ in range(2))
    back = {ours: theirs for theirs, ours in (("cls_token", "embed.class_token"), ("pos_embed", "embed.position"))}
    names = {n: back.get(n, n) for n in other.vit.state_dict()}
    for theirs, ours in ((".attn.", ".attention."), (".mlp.fc1.", ".mlp.0."), (".mlp.fc2.", ".mlp.2.")):
        names = {n: t.replace(ours, theirs) for n, t in names.items()}
    names = {n: t.replace("embed.proj", "patch_embed.proj") for n, t in names.items()}
    assert len(RULES["timm"]) == 6
    state = {names[n]: x.clone() for n, x in other.vit.state_dict().items()}
    save_file(state, tmp_path / "vit.safetensors")
    torch.save({"state_dict": state}, tmp_path / "vit.pth")
    for file in ("vit.safetensors", "vit.pth"):
        model = SLSTTMean(model.config)
        load_imagenet(model, tmp_path / file)
        assert all(torch.equal(a, b) for a, b in zip(model.vit.parameters(), other.vit.parameters(), strict=True))
    larger = SLSTTMean(SLSTTConfig(3, 48, patch_size=8, dim=16, depth=1, heads=2))
    load_imagenet(larger, tmp_path / "vit.safetensors")  # positions are stretched
    with pytest.raises(ValueError, match="does not fit a transformer of 2 blocks and 32 channels"):
        load_imagenet(create_model("slstt_mean", 3), tmp_path / "vit.safetensors")
    for broken in ("junk.safetensors", "junk.pth"):
        (tmp_path / broken).write_bytes(b"\x80\x04junk")
    torch.save({"state_dict": Path}, tmp_path / "code.pth")
    with (tmp_path / "huge.pth").open("wb") as file:
        file.truncate(2**31 + 1)
    for broken in ("junk.safetensors", "junk.pth", "none.safetensors", "none.pth", "code.pth", "huge.pth"):
        with pytest.raises(ValueError, match=f"no weights can be read from .*{broken}"):
            load_imagenet(model, tmp_path / broken)


def test_black_is_zero_unless_imagenets_weights_are_expected():
    still = {"long_flow": torch.zeros(1, 11, 2, 56, 56)}
    assert not create_model("slstt_mean").inputs(still)["flow"].any()
    shown = create_model("slstt_mean", imagenet=True).inputs(still)["flow"]
    assert torch.allclose(shown[0, 3, :, 5, 5], -torch.tensor(MEAN) / torch.tensor(STD))


@pytest.fixture(scope="module")
def flows():
    data = SyntheticMicroExpressions(4, 12, 112, seed=3, distractors=Distractors.none())
    return prepare(data, 56, tensors=("long_flow", "short_flow"), progress=False)


@pytest.mark.parametrize("flow", ["long", "short"])
def test_it_learns_from_either_range_of_flow(flow, flows):
    model, samples = create_model("slstt_mean", seed=0, flow=flow), flows
    losses = fit(model, samples, np.arange(len(samples)), Recipe(epochs=15), seed=0)
    shares = np.bincount(samples.label) / len(samples)
    assert losses[-1] < 0.7 * -(shares * np.log(shares)).sum(), "no better than knowing how common each class is"
