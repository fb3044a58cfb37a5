"""SLSTT's starting point: a transformer that was trained on ImageNet, in timm's names."""

from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from studies.official import rename
from tsfmicro_lab.models.slstt import SLSTT
from tsfmicro_lab.models.weights import fill, read_weights

#: SLSTT's starting point in timm's names: ViT-B/16 at 384 px, ImageNet-21k, then 1k.
IMAGENET = "timm/vit_base_patch16_384.augreg_in21k_ft_in1k"


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


def stretch(position: Tensor, count: int) -> Tensor:
    """Position embeddings (1, 1 + n, dim) of a square grid for another one of `count` tokens, class token included."""
    if position.shape[1] == count:
        return position
    old, new = round((position.shape[1] - 1) ** 0.5), round((count - 1) ** 0.5)
    grid = rearrange(position[:, 1:], "b (y x) d -> b d y x", y=old)
    grid = F.interpolate(grid, (new, new), mode="bicubic", antialias=True)
    return torch.cat((position[:, :1], rearrange(grid, "b d y x -> b (y x) d")), 1)
