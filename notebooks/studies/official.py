"""Parameters that were trained elsewhere: checkpoints of the public codes of our models."""

import re
import tomllib
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor

from tsfmicro_lab.models import tsfmicro
from tsfmicro_lab.models.base import Recognizer, check_word
from tsfmicro_lab.models.htnet import HTNet, HTNetConfig
from tsfmicro_lab.models.mmnet import MMNet
from tsfmicro_lab.models.shallow import STSTNet, STSTNetConfig
from tsfmicro_lab.models.slstt import SLSTT, SLSTTLSTM, SLSTTConfig, SLSTTMean
from tsfmicro_lab.models.tsfmicro import TSFmicro, TSFmicroConfig
from tsfmicro_lab.models.weights import fill

#: For each code, its names of tensors (regular expressions) and ours.
RULES: dict[str, dict[str, str]] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
Tensors = dict[str, Tensor]


def rename(name: str, code: str = "tsfmicro") -> str:
    """Our name of a tensor of another code, one of :data:`RULES`."""
    for pattern, ours in (RULES[code] | RULES["timm"]).items():
        name = re.sub(pattern, ours, name)
    return name


def from_official(state_dict: Mapping[str, Tensor], aggregator: str = "lstm") -> Recognizer:
    """Recognises a checkpoint of the public code of TSFmicro (its four variants), MMNet, HTNet, STSTNet or SLSTT.

    Read the file with ``torch.load(path, weights_only=True)``: it then executes nothing.

    Args:
        state_dict: Tensors by the names of the public code; a `module.` in front is left out.
        aggregator: `lstm` or `mean`: a checkpoint of SLSTT holds both heads, and does not say which one was trained.

    Returns:
        The model in evaluation mode, with the checkpoint's classes; T→S injects `after` the transformer, as that code.

    Raises:
        ValueError: Tensors are missing, unknown or of another shape; the message lists them.
    """
    given = {name.removeprefix("module."): tensor for name, tensor in state_dict.items()}
    check_word("aggregator", aggregator, HEADS)
    known = CODES | {"vit.class_token": (f"slstt_{aggregator}", HEADS[aggregator])}
    if not (marks := [mark for mark in known if mark in given]):
        raise ValueError(f"this is no checkpoint of a public code known here, which all have one of {', '.join(known)}")
    code, build = known[marks[0]]
    unused = [name for name in given if re.search(RULES["unused"].get(code, "$^"), name)]
    tensors = {rename(name, code.partition("_")[0]): x for name, x in given.items() if name not in unused}
    model = build(tensors)
    fill(model, tensors, f"the checkpoint does not fit {model.name} at base size:")
    if unused:
        names = ", ".join(unused)
        warnings.warn(f"left out, since {model.name} of the public code never uses them: {names}", stacklevel=2)
    return model.eval()


def _tsfmicro(kind: type[TSFmicro], tensors: Tensors) -> Recognizer:
    """An empty model for a checkpoint of TSFmicro's code; of what follows, too, which also shape tensors as ours."""
    return kind(TSFmicroConfig(num_classes=_classes(tensors, "classifier.head.weight", 5), inject="after"))


def _mmnet(tensors: Tensors) -> Recognizer:
    form = "three" if "spatial.vit.blocks.2.norm1.bias" in tensors else "base"
    return MMNet.from_preset(form, num_classes=_classes(tensors, "classifier.head.bias", 5))


def _htnet(tensors: Tensors) -> Recognizer:
    for name, x in tensors.items():  # here layers on tokens are what there are norms and 1×1 convolutions
        if name == "patches.weight" and x.shape[1:] == (147, 1, 1):
            tensors[name] = rearrange(x, "o (y x c) 1 1 -> o c y x", y=7, x=7)
        elif x.shape[2:] == (1, 1):
            tensors[name] = x.flatten() if len(x) == 1 else x.flatten(1)
    blocks = {tuple(name.split(".")[1:4:2]) for name in tensors if ".layers." in name}
    depths = [sum(level == str(n) for level, _ in blocks) for n in range(3)]
    return HTNet(HTNetConfig(num_classes=_classes(tensors, "head.bias", 3), depths=depths))


def _ststnet(tensors: Tensors) -> Recognizer:
    return STSTNet(STSTNetConfig(num_classes=_classes(tensors, "head.bias", 3), form="public"))


def _slstt(kind: type[SLSTT], last: str, tensors: Tensors) -> Recognizer:
    for name in [name for name in tensors if ".attention.q." in name]:
        parts = [name.replace(".q.", f".{x}.") for x in "qkv"]
        if all(part in tensors for part in parts):  # else they are reported as unknown
            tensors[name.replace(".q.", ".qkv.")] = torch.cat([tensors.pop(part) for part in parts])
    tokens = tensors.get("vit.embed.position", torch.zeros(1, 577, 768)).shape[1]
    classes = _classes(tensors, last, 3)
    return kind(SLSTTConfig(num_classes=classes, image_size=16 * round((tokens - 1) ** 0.5), scale="frame"))


def _classes(tensors: Tensors, last: str, otherwise: int) -> int:
    return len(tensors.get(last, range(otherwise)))


#: What builds a model of a checkpoint's tensors, by a tensor that no code has which comes later.
CODES: dict[str, tuple[str, Callable[[Tensors], Recognizer]]] = {
    "conv_act.0.weight": ("mmnet", _mmnet),
    "to_patch_embedding.1.weight": ("htnet", _htnet),
    "bn3.weight": ("ststnet", _ststnet),
    "ConvStem_T.proj.0.weight": ("tsfmicro_early", partial(_tsfmicro, tsfmicro.TSFmicroEarly)),
    "transposed_conv1.weight": ("tsfmicro", partial(_tsfmicro, tsfmicro.TSFmicroS2T)),
    "head.weight": ("tsfmicro_t2s", partial(_tsfmicro, tsfmicro.TSFmicroT2S)),
    "main_branch.head.weight": ("tsfmicro", partial(_tsfmicro, tsfmicro.TSFmicroLate)),
}
HEADS = {"lstm": partial(_slstt, SLSTTLSTM, "fc2.bias"), "mean": partial(_slstt, SLSTTMean, "head.bias")}
