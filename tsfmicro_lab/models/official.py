"""Parameters that were trained elsewhere: checkpoints of the public codes of TSFmicro and SLSTT, and timm's ViTs."""

import re
import tomllib
import warnings
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from tsfmicro_lab.models import tsfmicro
from tsfmicro_lab.models.base import Recognizer, check_word
from tsfmicro_lab.models.slstt import SLSTT, SLSTTLSTM, SLSTTConfig, SLSTTMean
from tsfmicro_lab.models.tsfmicro import TSFmicro, TSFmicroConfig

#: SLSTT's starting point in timm's names: ViT-B/16 at 384 px, ImageNet-21k, then 1k.
IMAGENET = "timm/vit_base_patch16_384.augreg_in21k_ft_in1k"
#: Largest file of weights that is read: ViT-B in single precision has 350 MB.
MAX_BYTES = 2 * 2**30

#: For each code, its names of tensors (regular expressions) and ours.
RULES: dict[str, dict[str, str]] = tomllib.loads((files(__package__) / "official.toml").read_text("utf-8"))
# What tells a checkpoint of each fusion variant from the next ones, and what in it the public code never uses. The last
# fits every checkpoint that has a head. T→S classifies behind the transformer: head, expansion and norm of its temporal
# branch stay unused. The early variant has its own stems instead of the branch's.
VARIANTS: tuple[tuple[str, type[TSFmicro], str], ...] = (
    ("ConvStem_T.proj.0.weight", tsfmicro.TSFmicroEarly, r"^main_branch\.patch_embed\."),
    ("transposed_conv1.weight", tsfmicro.TSFmicroS2T, r"$^"),
    ("head.weight", tsfmicro.TSFmicroT2S, r"^main_branch\.(proj|norm|head)\."),
    ("main_branch.head.weight", tsfmicro.TSFmicroLate, r"$^"),
)
# Unused in every variant, or derived from the configuration.
UNUSED = r"^vit_pos\.(cls_token|head\.|to_Mask\.)|\.(decay|angle|relative_pos|Relpos)"


def rename(name: str, code: str = "tsfmicro") -> str:
    """Our name of a tensor of another code, one of :data:`RULES`."""
    for pattern, ours in (RULES[code] | RULES["timm"]).items():
        name = re.sub(pattern, ours, name)
    return name


def from_official(state_dict: Mapping[str, Tensor], aggregator: str = "lstm") -> Recognizer:
    """Recognises a checkpoint of the public codes of TSFmicro, any of its four fusion variants, or SLSTT, and loads it.

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
    model, tensors, unused = _slstt(given, aggregator) if "vit.class_token" in given else _tsfmicro(given)
    fill(model, tensors, f"the checkpoint does not fit {model.name} at base size:")
    if unused:
        names = ", ".join(unused)
        warnings.warn(f"left out, since {model.name} of the public code never uses them: {names}", stacklevel=2)
    return model.eval()


def _tsfmicro(given: Mapping[str, Tensor]) -> tuple[Recognizer, dict[str, Tensor], list[str]]:
    """An empty model for a checkpoint of TSFmicro's code, the tensors that belong in it, and what it never uses."""
    kind, unused_here = next(((kind, unused) for mark, kind, unused in VARIANTS if mark in given), (None, ""))
    if kind is None:
        known = "public TSFmicro code, nor of SLSTT's, which has 'vit.class_token'"
        raise ValueError(f"no tensor 'main_branch.head.weight': this is no checkpoint of the {known}")
    unused = [name for name in given if re.search(f"{UNUSED}|{unused_here}", name)]
    tensors = {rename(name): tensor for name, tensor in given.items() if name not in unused}
    classes = len(tensors.get("classifier.head.weight", range(5)))
    return kind(TSFmicroConfig(num_classes=classes, inject="after")), tensors, unused


def _slstt(given: Mapping[str, Tensor], aggregator: str) -> tuple[Recognizer, dict[str, Tensor], list[str]]:
    """The same for SLSTT's code, whose three projections of attention are joined to one."""
    check_word("aggregator", aggregator, ("lstm", "mean"))
    tensors = {rename(name, "slstt"): tensor for name, tensor in given.items()}
    for name in [name for name in tensors if ".attention.q." in name]:
        parts = [name.replace(".q.", f".{x}.") for x in "qkv"]
        if all(part in tensors for part in parts):  # else they are reported as unknown
            tensors[name.replace(".q.", ".qkv.")] = torch.cat([tensors.pop(part) for part in parts])
    unused = [name for name in tensors if re.match(r"head\." if aggregator == "lstm" else r"(lstm|fc1|fc2)\.", name)]
    tensors = {name: tensor for name, tensor in tensors.items() if name not in unused}
    classes = len(tensors.get("fc2.bias" if aggregator == "lstm" else "head.bias", range(3)))
    position = tensors.get("vit.embed.position", torch.zeros(1, 577, 768))
    config = SLSTTConfig(num_classes=classes, image_size=16 * round((position.shape[1] - 1) ** 0.5), scale="frame")
    return (SLSTTLSTM if aggregator == "lstm" else SLSTTMean)(config), tensors, unused


def load_imagenet(model: SLSTT, weights: Path | str = IMAGENET) -> SLSTT:
    """Gives SLSTT's transformer parameters that were trained on ImageNet, in timm's names.

    Args:
        model: Of the transformer's size (`base` for the default); it is changed, the positions stretched to its grid.
        weights: A local file, `.safetensors` or a state dict of `torch.save`, of which nothing is executed; or the name
            of a repository of the Hugging Face hub, from which it is downloaded and kept.

    Raises:
        OSError: The hub cannot be reached.
        ValueError: The file is missing, broken or too large, or its tensors do not fit.
    """
    path = Path(weights)
    if path.suffix not in (".safetensors", ".pth", ".pt", ".bin"):
        path = Path(torch.hub.get_dir(), path, "model.safetensors")
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(f"https://huggingface.co/{weights}/resolve/main/{path.name}", str(path))
    expected = model.vit.state_dict()
    given = {rename(name, "timm"): tensor for name, tensor in read_weights(path).items()}
    used = {name: tensor for name, tensor in given.items() if name in expected}
    if "embed.position" in used:
        used["embed.position"] = stretch(used["embed.position"], expected["embed.position"].shape[1])
    size = f"{len(model.vit.blocks)} blocks and {model.config.dim} channels"
    fill(model.vit, used, f"{path} does not fit a transformer of {size}:")
    return model


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a file, safetensors or of `torch.save`, of which nothing is executed.

    Raises:
        ValueError: The file is missing, too large, or holds anything but tensors.
    """
    from safetensors.torch import load_file

    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES >> 30} GiB")
        if path.suffix == ".safetensors":
            return load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
        return dict(tensors.get("state_dict", tensors))
    except Exception as error:
        why = str(error).partition("\n")[0]
        raise ValueError(f"no weights can be read from {path} ({why}): give a whole .safetensors file") from error


def stretch(position: Tensor, count: int) -> Tensor:
    """Position embeddings (1, 1 + n, dim) of a square grid for another one of `count` tokens, class token included."""
    if position.shape[1] == count:
        return position
    old, new = round((position.shape[1] - 1) ** 0.5), round((count - 1) ** 0.5)
    grid = rearrange(position[:, 1:], "b (y x) d -> b d y x", y=old)
    grid = F.interpolate(grid, (new, new), mode="bicubic", antialias=True)
    return torch.cat((position[:, :1], rearrange(grid, "b d y x -> b (y x) d")), 1)


def fill(module: nn.Module, given: Mapping[str, Tensor], wrong: str) -> None:
    """Loads tensors into a module, or lists those that are missing, unknown or of another shape.

    Raises:
        ValueError: They do not fit; the message begins with `wrong`.
    """
    found, expected = ({n: str(tuple(x.shape)) for n, x in d.items()} for d in (given, module.state_dict()))
    problems = [
        f"  {name} is {found.get(name, 'missing')}, expected {expected.get(name, 'nothing')}"
        for name in sorted(found | expected)
        if found.get(name) != expected.get(name)
    ]
    if problems:
        raise ValueError(f"{wrong}\n" + "\n".join(problems))
    module.load_state_dict(given)
