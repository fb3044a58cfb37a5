"""Checkpoints of the public code: names, shapes, and the logits that it gives."""

import json
import zlib

import numpy as np
import pytest
import torch

from tsfmicro_lab.models import from_official
from tsfmicro_lab.models.official import rename


def rule(name, shape):
    """The rule by which the reference logits' weights were made."""
    n = np.asarray(np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape), np.float32)
    if name.endswith("num_batches_tracked"):
        return torch.tensor(1)
    if name.endswith("running_var"):
        n = 1 + 0.1 * np.abs(n)
    elif name.endswith("running_mean"):
        n = 0.1 * n
    elif name.endswith(".bias"):
        n = 0.02 * n
    elif "pos_embed" in name or "cls_token" in name:
        n = 0.2 * n
    elif len(shape) == 1:
        n = 1 + 0.1 * n
    else:
        n = n / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(n, np.float32))


@pytest.fixture(scope="module")
def late(golden):
    reference = json.loads((golden / "tsfmicro.json").read_text())["late"]
    return reference, {name: rule(name, shape) for name, shape in reference["shapes"].items()}


@torch.no_grad()
def test_late_fusion_meets_the_public_codes_logits(late):
    reference, state = late
    with pytest.warns(UserWarning, match=r"never uses them: .*cls_token.*to_Mask"):
        model = from_official(state)
    rs = np.random.RandomState(7)
    onset = rs.standard_normal((2, 3, 224, 224))
    apex = onset + 0.1 * rs.standard_normal((2, 3, 224, 224))
    onset, apex = (torch.from_numpy(x.astype(np.float32)) for x in (onset, apex))
    expected = torch.tensor(reference["logits"])
    error = (model(onset, apex - onset) - expected).abs().max() / expected.abs().max()
    assert float(error) < 1e-4
    assert sum(p.numel() for p in model.parameters()) == 12_789_413


def test_a_prefix_of_data_parallel_training_is_left_out(late):
    with pytest.warns(UserWarning, match="left out"):
        model = from_official({f"module.{name}": tensor for name, tensor in late[1].items()})
    assert model.config.num_classes == 5


def test_missing_unknown_and_misshapen_tensors_are_listed(late):
    state = dict(late[1])
    state["main_branch.mystery.weight"] = state.pop("main_branch.layers.2.blocks.1.ffn.fc1.bias")
    state["main_branch.proj.bias"] = torch.zeros(7)
    with pytest.raises(ValueError, match="does not fit tsfmicro_late at base size") as error:
        from_official(state)
    text = str(error.value)
    assert "missing: temporal.stages.2.1.ffn.widen.bias" in text
    assert "unknown: main_branch.mystery.weight" in text
    assert "shape: classifier.expand.bias is (7,), expected (1024,)" in text


def test_another_programs_checkpoint_is_refused():
    with pytest.raises(ValueError, match="no checkpoint of the public TSFmicro code"):
        from_official({"encoder.weight": torch.zeros(3)})


def test_names_are_translated():
    assert rename("main_branch.layers.1.downsample.reduction.weight") == "temporal.downsamples.1.conv.weight"
    assert rename("vit_pos.blocks.1.attn.qkv.bias") == "spatial.vit.blocks.1.attention.qkv.bias"
