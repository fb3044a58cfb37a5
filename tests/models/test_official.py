"""Checkpoints of the public code: names, shapes, and the logits that it gives."""

import json

import numpy as np
import pytest
import torch
from public_code import checkpoint, error

from studies.official import from_official, rename


@pytest.fixture(scope="module")
def reference(golden):
    return json.loads((golden / "tsfmicro.json").read_text())


@pytest.fixture(scope="module")
def late(reference):
    return checkpoint(reference["late"]["shapes"])


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:left out")
@pytest.mark.parametrize("variant", ["late", "early"])
def test_the_public_codes_logits_are_met(reference, variant):
    model = from_official(checkpoint(reference[variant]["shapes"]))
    rs = np.random.RandomState(7)
    onset = rs.standard_normal((2, 3, 224, 224))
    apex = onset + 0.1 * rs.standard_normal((2, 3, 224, 224))
    onset, apex = (torch.from_numpy(x.astype(np.float32)) for x in (onset, apex))
    assert error(model(onset, apex - onset), reference[variant]["logits"]) < 1e-4


@pytest.mark.parametrize(
    ("variant", "name", "used", "idle"),
    [
        ("late", "tsfmicro_late", 12_789_413, r"cls_token.*to_Mask"),
        ("early", "tsfmicro_early", 6_447_173, r"main_branch\.patch_embed"),
        ("temporal_to_spatial", "tsfmicro_t2s", 12_789_413, r"main_branch\.proj.*main_branch\.head"),
        ("spatial_to_temporal", "tsfmicro_s2t", 15_542_373, r"cls_token.*to_Mask"),
    ],
)
def test_every_variant_is_recognised_and_idle_tensors_are_named(reference, variant, name, used, idle):
    state = checkpoint(reference[variant]["shapes"])
    with pytest.warns(UserWarning, match=f"never uses them: .*{idle}"):
        model = from_official(state)
    assert model.name == name
    assert model.config.inject == "after"
    assert sum(p.numel() for p in model.parameters()) == used
    parameters = [n for n in state if "running" not in n and "num_batches" not in n]
    assert sum(state[n].numel() for n in parameters) == reference[variant]["parameters_in_public_code"]
    assert torch.equal(
        model.state_dict()["classifier.head.weight"], state[[n for n in state if "head.weight" in n][-1]]
    )


def test_a_prefix_of_data_parallel_training_is_left_out(late):
    with pytest.warns(UserWarning, match="left out"):
        model = from_official({f"module.{name}": tensor for name, tensor in late.items()})
    assert model.config.num_classes == 5


def test_missing_unknown_and_misshapen_tensors_are_listed(late):
    state = dict(late)
    state["main_branch.mystery.weight"] = state.pop("main_branch.layers.2.blocks.1.ffn.fc1.bias")
    state["main_branch.proj.bias"] = torch.zeros(7)
    with pytest.raises(ValueError, match="does not fit tsfmicro_late at base size") as refusal:
        from_official(state)
    text = str(refusal.value)
    assert "\n  temporal.stages.2.1.ffn.widen.bias is missing, expected (768,)" in text
    assert "\n  main_branch.mystery.weight is (768,), expected nothing" in text
    assert "\n  classifier.expand.bias is (7,), expected (1024,)" in text


def test_a_checkpoint_without_its_head_says_so(reference):
    state = checkpoint(reference["spatial_to_temporal"]["shapes"])
    del state["main_branch.head.weight"]
    with pytest.raises(
        ValueError, match=r"does not fit tsfmicro_s2t at base size:\n  classifier\.head\.weight is missing"
    ):
        from_official(state)


def test_another_programs_checkpoint_is_refused():
    with pytest.raises(ValueError, match="no checkpoint of a public code known here, which all have one of conv_act"):
        from_official({"encoder.weight": torch.zeros(3)})


def test_names_are_translated():
    assert rename("main_branch.layers.1.downsample.reduction.weight") == "temporal.downsamples.1.conv.weight"
    assert rename("vit_pos.blocks.1.attn.qkv.bias") == "spatial.vit.blocks.1.attention.qkv.bias"
    assert rename("transposed_conv3.weight") == "enlarge.2.weight"
    assert rename("proj.bias") == rename("main_branch.proj.bias") == "classifier.expand.bias"
    # The letters are crossed in the public code: only so are its logits met.
    assert rename("ConvStem_T.proj.0.weight") == "onset_stem.0.weight"
