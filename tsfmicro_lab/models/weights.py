"""Files of parameters, read without executing anything in them, and put into a model that they fit."""

from pathlib import Path

import torch
from torch import Tensor, nn

#: Largest file of weights that is read: ViT-B in single precision has 350 MB.
MAX_BYTES = 2 * 2**30


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


def fill(module: nn.Module, given: dict[str, Tensor], wrong: str) -> None:
    """Loads tensors into a module, or lists those that are missing, unknown, of another shape, or not finite.

    A module on torch's meta device, which has shapes without numbers, takes the tensors themselves.

    Raises:
        ValueError: They do not fit; the message begins with `wrong`.
    """
    found, expected = ({n: str(tuple(x.shape)) for n, x in d.items()} for d in (given, module.state_dict()))
    shapes = [(n, found.get(n, "missing"), expected.get(n, "nothing")) for n in sorted(found | expected)]
    problems = [f"  {name} is {got}, expected {wanted}" for name, got, wanted in shapes if got != wanted]
    problems += [f"  {name} holds numbers that are not finite" for name, x in given.items() if not x.isfinite().all()]
    if problems:
        raise ValueError(f"{wrong}\n" + "\n".join(problems))
    module.load_state_dict(given, assign=next(module.parameters()).is_meta)
