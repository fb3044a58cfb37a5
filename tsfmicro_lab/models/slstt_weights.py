"""Weights for SLSTT that were trained elsewhere: its public checkpoints, and vision transformers of ImageNet."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from tsfmicro_lab.models.slstt import SLSTT, SLSTTLSTM, SLSTTConfig, SLSTTMean

#: The public code's starting point in timm's names: ViT-B/16 at 384 px, ImageNet-21k, then 1k.
IMAGENET = "timm/vit_base_patch16_384.augreg_in21k_ft_in1k"
#: Largest file of weights that is read: ViT-B in single precision has 350 MB.
MAX_BYTES = 2 * 2**30

OFFICIAL = (
    (r"^vit\.class_token$", "vit.embed.class_token"),
    (r"^vit\.patch_embedding\.", "vit.embed.proj."),
    (r"^vit\.positional_embedding\.pos_embedding$", "vit.embed.position"),
    (r"^vit\.transformer\.blocks\.", "vit.blocks."),
    (r"\.attn\.proj_([qkv])\.", r".attention.\1."),
    (r"(blocks\.\d+)\.proj\.", r"\1.attention.proj."),
    (r"\.pwff\.fc1\.", ".mlp.0."),
    (r"\.pwff\.fc2\.", ".mlp.2."),
    (r"^vit\.fc\.", "head."),
)
TIMM = (
    (r"^cls_token$", "embed.class_token"),
    (r"^pos_embed$", "embed.position"),
    (r"^patch_embed\.", "embed."),
    (r"\.attn\.", ".attention."),
    (r"\.mlp\.fc1\.", ".mlp.0."),
    (r"\.mlp\.fc2\.", ".mlp.2."),
)


def _rename(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, ours in rules:
        name = re.sub(pattern, ours, name)
    return name


def renamed(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of SLSTT's public code by our names, its three projections of attention joined to one.

    Example:
        >>> qkv = {f"vit.transformer.blocks.0.attn.proj_{x}.bias": torch.zeros(4) for x in "qkv"}
        >>> {name: tuple(x.shape) for name, x in renamed(qkv).items()}
        {'vit.blocks.0.attention.qkv.bias': (12,)}
    """
    names = {_rename(name, OFFICIAL): tensor for name, tensor in state_dict.items()}
    joined: dict[str, Tensor] = {}
    for name, tensor in names.items():
        if match := re.fullmatch(r"(.*\.attention\.)([qkv])(\..*)", name):
            parts = [names.get(f"{match[1]}{x}{match[3]}") for x in "qkv"]
            if any(part is None for part in parts):
                joined[name] = tensor  # reported as unknown
            else:
                joined[f"{match[1]}qkv{match[3]}"] = torch.cat([part for part in parts if part is not None])
        else:
            joined[name] = tensor
    return joined


def slstt_of(state_dict: Mapping[str, Tensor], aggregator: str) -> tuple[SLSTT, dict[str, Tensor], list[str]]:
    """An empty model for a checkpoint of SLSTT's public code, the tensors that belong in it, and what stands idle.

    Args:
        state_dict: Tensors by the names of the public code.
        aggregator: `lstm` or `mean`: one checkpoint holds both heads, and does not say which of them was trained.
    """
    if aggregator not in ("lstm", "mean"):
        raise ValueError(f"aggregator must be 'lstm' or 'mean', got '{aggregator}'")
    ours = renamed(state_dict)
    unused = r"^head\." if aggregator == "lstm" else r"^(lstm|fc1|fc2)\."
    idle = [name for name in ours if re.match(unused, name)]
    tensors = {name: tensor for name, tensor in ours.items() if name not in idle}
    last = tensors.get("fc2.bias" if aggregator == "lstm" else "head.bias", torch.zeros(3))
    position = tensors.get("vit.embed.position", torch.zeros(1, 577, 768))
    size = 16 * round((position.shape[1] - 1) ** 0.5)
    config = SLSTTConfig(num_classes=len(last), image_size=size, scale="frame")
    return (SLSTTLSTM if aggregator == "lstm" else SLSTTMean)(config), tensors, idle


def load_imagenet(model: SLSTT, weights: Path | str = IMAGENET) -> SLSTT:
    """Gives SLSTT's transformer weights that were trained on ImageNet, in timm's names.

    Args:
        model: Of the transformer's size (`base` for the default); its positions are stretched to its own grid.
        weights: A local file, `.safetensors`, or a state dict of `torch.save`, of which nothing is executed; or the
            name of a repository of the Hugging Face hub, from which it is downloaded and kept.

    Returns:
        The model, changed in place.

    Raises:
        OSError: The file is missing, or the hub cannot be reached.
        ValueError: The tensors do not fit.

    Example:
        >>> load_imagenet(SLSTTMean.from_preset("tiny"), "no.safetensors")
        Traceback (most recent call last):
        ...
        FileNotFoundError: no.safetensors does not exist: give a file of timm's weights, or a repository of the hub
    """
    path = Path(weights)
    if path.suffix not in (".safetensors", ".pth", ".pt", ".bin"):
        from huggingface_hub import hf_hub_download

        path = Path(hf_hub_download(str(weights), "model.safetensors"))
    elif not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: give a file of timm's weights, or a repository of the hub")
    given = {_rename(name, TIMM): tensor for name, tensor in read_weights(path).items()}
    expected = model.vit.state_dict()
    if "embed.position" in given:
        given["embed.position"] = stretch(given["embed.position"], expected["embed.position"].shape[1])
    wrong = [n for n, x in expected.items() if n not in given or given[n].shape != x.shape]
    if wrong:
        raise ValueError(
            f"{path} does not fit a transformer of {len(model.vit.blocks)} blocks and {model.config.dim} channels: "
            f"missing or of another shape: {', '.join(wrong[:4])}{' …' if len(wrong) > 4 else ''}"
        )
    model.vit.load_state_dict({name: given[name] for name in expected})
    return model


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a file, which is not executed."""
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} is larger than {MAX_BYTES >> 30} GiB, which no vision transformer here should be")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
        return dict(tensors.get("state_dict", tensors))
    except Exception as error:
        raise ValueError(f"{path} holds no weights that can be read safely: {str(error).splitlines()[0]}") from error


def stretch(position: Tensor, count: int) -> Tensor:
    """A position table for a grid of another size, the class token's place kept.

    Args:
        position: (1, 1 + n, dim) of a square grid.
        count: Tokens that are wanted, the class token counted.

    Example:
        >>> stretch(torch.zeros(1, 5, 8), 10).shape
        torch.Size([1, 10, 8])
    """
    if position.shape[1] == count:
        return position
    old, new = round((position.shape[1] - 1) ** 0.5), round((count - 1) ** 0.5)
    grid = rearrange(position[:, 1:], "b (y x) d -> b d y x", y=old)
    grid = F.interpolate(grid, (new, new), mode="bicubic", antialias=True)
    return torch.cat((position[:, :1], rearrange(grid, "b d y x -> b (y x) d")), 1)
