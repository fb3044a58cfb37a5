"""Checkpoints of the public codes of TSFmicro and SLSTT, read into the models of this lab."""

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from tsfmicro_lab.models.base import Recognizer
from tsfmicro_lab.models.fusion import TSFmicroEarly, TSFmicroLate, TSFmicroS2T, TSFmicroT2S
from tsfmicro_lab.models.slstt_weights import slstt_of
from tsfmicro_lab.models.tsfmicro import TSFmicro, TSFmicroConfig

# Names of the public code and ours, applied in this order.
RENAMES = (
    # T reads the onset frame and S the difference there, whatever the letters say: only so are its logits met.
    (r"^ConvStem_T\.proj\.", "onset_stem."),
    (r"^(ConvStem_S|main_branch\.patch_embed)\.proj\.", "stem."),
    (r"^transposed_conv1\.", "enlarge.0."),
    (r"^transposed_conv2\.", "enlarge.1."),
    (r"^transposed_conv3\.", "enlarge.2."),
    (r"^main_branch\.layers\.(\d+)\.blocks\.", r"temporal.stages.\1."),
    (r"^main_branch\.layers\.(\d+)\.downsample\.reduction\.", r"temporal.downsamples.\1.conv."),
    (r"^main_branch\.layers\.(\d+)\.downsample\.", r"temporal.downsamples.\1."),
    (r"^(main_branch\.)?proj\.", "classifier.expand."),
    (r"^(main_branch\.)?norm\.", "classifier.norm."),
    (r"^(main_branch\.)?head\.", "classifier.head."),
    (r"\.retention_layer_norm\.", ".norm1."),
    (r"\.final_layer_norm\.", ".norm2."),
    (r"\.retention\.([qkv]|out)_proj\.", r".retention.\1."),
    (r"\.retention\.lepe\.conv\.", ".retention.local."),
    (r"\.ffn\.fc1\.", ".ffn.widen."),
    (r"\.ffn\.fc2\.", ".ffn.narrow."),
    (r"\.ffn\.dwconv\.conv\.", ".ffn.local."),
    (r"\.pos\.conv\.", ".position."),
    (r"^vit_pos\.pos_embed$", "spatial.vit.embed.position"),
    (r"^vit_pos\.patch_embed\.proj\.", "spatial.vit.embed.proj."),
    (r"^vit_pos\.", "spatial.vit."),
    (r"\.attn\.", ".attention."),
    (r"\.mlp\.fc1\.", ".mlp.0."),
    (r"\.mlp\.fc2\.", ".mlp.2."),
)


class Variant(NamedTuple):
    """How a checkpoint of one fusion variant is told from the others, and what in it the public code never uses."""

    mark: str
    model: type[TSFmicro]
    unused: str


# The last fits every checkpoint that has a head. T→S classifies behind the transformer: the head, the expansion and the
# norm that its temporal branch also carries stand idle. The early variant has its own stems instead of the branch's.
VARIANTS = (
    Variant("ConvStem_T.proj.0.weight", TSFmicroEarly, r"^main_branch\.patch_embed\."),
    Variant("transposed_conv1.weight", TSFmicroS2T, r"$^"),
    Variant("head.weight", TSFmicroT2S, r"^main_branch\.(proj|norm|head)\."),
    Variant("main_branch.head.weight", TSFmicroLate, r"$^"),
)
# Idle in every variant, or derived from the configuration.
UNUSED = r"^vit_pos\.(cls_token|head\.|to_Mask\.)|\.(decay|angle|relative_pos|Relpos)"


def rename(name: str) -> str:
    """Our name of a tensor of the public code.

    Example:
        >>> rename("main_branch.layers.0.blocks.0.retention.q_proj.weight")
        'temporal.stages.0.0.retention.q.weight'
    """
    for pattern, ours in RENAMES:
        name = re.sub(pattern, ours, name)
    return name


def from_official(state_dict: Mapping[str, Tensor], aggregator: str = "lstm") -> Recognizer:
    """Recognises a checkpoint of the public codes of TSFmicro, any of its four fusion variants, or SLSTT, and loads it.

    Read the file with ``torch.load(path, weights_only=True)``: it then executes nothing.

    Args:
        state_dict: Tensors by the names of the public code; a `module.` in front is left out.
        aggregator: For SLSTT, whose checkpoints hold both heads: `lstm` or `mean`.

    Returns:
        The model in evaluation mode, with as many classes as the checkpoint has. T→S injects `after` the transformer,
        as the public code does.

    Raises:
        ValueError: Tensors are missing, unknown or of another shape; the message lists them.
    """
    given = {name.removeprefix("module."): tensor for name, tensor in state_dict.items()}
    if "vit.class_token" in given:
        return _filled(*slstt_of(given, aggregator))
    variant = next((v for v in VARIANTS if v.mark in given), None)
    if variant is None:
        raise ValueError(
            "no tensor 'main_branch.head.weight': this is no checkpoint of the public TSFmicro code, nor "
            "of SLSTT's, which has 'vit.class_token'"
        )
    unused = [name for name in given if re.search(f"{UNUSED}|{variant.unused}", name)]
    renamed = {rename(name): tensor for name, tensor in given.items() if name not in unused}
    classes = len(renamed["classifier.head.weight"]) if "classifier.head.weight" in renamed else 5
    model = variant.model(TSFmicroConfig(num_classes=classes, inject="after"))
    return _filled(model, renamed, unused)


def _filled(model: Recognizer, renamed: Mapping[str, Tensor], unused: Sequence[str]) -> Recognizer:
    problems = _problems(renamed, model.state_dict())
    if problems:
        raise ValueError(f"the checkpoint does not fit {model.name} at base size:\n" + "\n".join(problems))
    if unused:
        warnings.warn(
            f"left out, since {model.name} of the public code never uses them: {', '.join(unused)}", stacklevel=3
        )
    model.load_state_dict(renamed)
    return model.eval()


def _problems(given: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    missing = [f"  missing: {name}" for name in expected.keys() - given.keys()]
    unknown = [f"  unknown: {name}" for name in given.keys() - expected.keys()]
    shapes = [
        f"  shape: {name} is {tuple(given[name].shape)}, expected {tuple(expected[name].shape)}"
        for name in given.keys() & expected.keys()
        if given[name].shape != expected[name].shape
    ]
    return sorted(missing) + sorted(unknown) + sorted(shapes)
