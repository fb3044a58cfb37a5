"""What every model of the lab keeps to, so that one program trains, tests, explains, saves and loads them all."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cache
from typing import Any, ClassVar

import torch
from huggingface_hub import ModelCard, PyTorchModelHubMixin
from torch import Tensor, nn
from torch.nn import functional as F

from tsfmicro_lab.models.card import model_card

#: Mean and standard deviation of ImageNet's images, by which frames are normalised.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: The two inputs of TSFmicro and their nicknames; everything else calls a stream by its input's name.
STREAMS = {"onset": "where", "difference": "how"}


#: Gives the tensors of some training clips by name, augmented.
Batches = Callable[[Tensor, tuple[str, ...]], dict[str, Tensor]]


def to_inputs(onset: Tensor, apex: Tensor) -> dict[str, Tensor]:
    """Normalised onset frame and difference frame, the inputs of TSFmicro.

    Both frames are normalised and then subtracted, so the mean cancels and the difference is scaled by 1 / std
    (as TSFmicro does). Identical frames give a difference of exactly zero.

    Args:
        onset: Aligned onset frames, 0 to 255, bytes or floats.
        apex: Aligned apex frames, alike.

    Shape:
        Two tensors (B, 3, H, W) → two of the same shape.

    Returns:
        `onset` and `difference`, float32.

    Raises:
        ValueError: The frames differ in shape, or are no images of three channels.

    Example:
        >>> frame = torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8)
        >>> float(to_inputs(frame, frame)["difference"].abs().max())
        0.0
    """
    if onset.shape != apex.shape or onset.ndim != 4 or onset.shape[1] != 3:
        raise ValueError(
            f"onset {tuple(onset.shape)} and apex {tuple(apex.shape)} must both be (batch, 3, height, width)"
        )
    scale, shift = _normalisation(onset.device)
    first, second = onset.float(), apex.float()
    return {"onset": first * scale - shift, "difference": (second - first) * scale}


@cache  # a tensor made anew would be copied to the device, and waited for, at every step
def _normalisation(device: torch.device) -> tuple[Tensor, Tensor]:
    mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (MEAN, STD))
    return 1 / (255 * std), mean / std


class Recognizer(nn.Module, PyTorchModelHubMixin):
    """A model that tells micro-expressions apart: its configuration, the check of its inputs, its loss, its file.

    A model names the tensors that are to be prepared of a clip (`prepared`, see `data.tensors`), makes its inputs of
    a batch of them (`inputs`), and is called with the tensors that `input_names` lists, in that order, so that each
    can be attributed by itself.

    Args:
        config: Sizes; the defaults of `Config` are those of the paper.
            What a file of `save_pretrained` holds will do as well.
    """

    name: ClassVar[str]
    #: Where the network comes from and how far it was checked, as its card tells.
    origin: ClassVar[str]
    Config: ClassVar[type[Any]]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]]
    prepared: tuple[str, ...] = ("onset", "apex")
    input_names: tuple[str, ...] = ("onset", "difference")
    #: Inputs that explanations hold fixed, since they are no picture of the face.
    fixed_names: tuple[str, ...] = ()

    def __init__(self, config: Any = None) -> None:
        super().__init__()
        if isinstance(config, Mapping):
            known = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items() if k != "name"}
            config = self.Config(**known)
        self.config = config or self.Config()
        self.build(self.config)

    def build(self, c: Any) -> None:
        """Creates the parts."""
        raise TypeError(f"{type(self).__name__} is no model by itself: use create_model('tsfmicro_late')")

    @property
    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each input of one sample."""
        side = self.config.image_size
        return dict.fromkeys(self.input_names, (3, side, side))

    def inputs(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the model is called with, by name, made of prepared tensors; may hold more than it reads."""
        return to_inputs(batch["onset"], batch["apex"])

    def nothing_known(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The baseline of explanations, of the inputs' shapes: no face and no motion."""
        return {name: torch.zeros_like(x) for name, x in inputs.items()}

    def loss(self, logits: Tensor, label: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """What training makes smaller: cross-entropy between classes, or of each action unit by itself.

        Args:
            logits: What the model has just said.
            label: The truth, (B,) or (B, units).
            inputs: What it was called with.
        """
        if label.ndim == 1:
            return F.cross_entropy(logits, label)
        return F.binary_cross_entropy_with_logits(logits, label.float())

    def pretrain(self, rows: Tensor, batch_of: Batches, lr: float) -> None:
        """What comes before the training proper, on training clips only and without their labels; nothing here.

        Args:
            rows: The training clips.
            batch_of: Gives the tensors of some of them, augmented.
            lr: Learning rate of the recipe.
        """

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Checks the inputs, then runs the network.

        Raises:
            ValueError: The number, size or channels of the inputs are not what the model was built for.
        """
        if len(inputs) != len(self.input_names):
            raise ValueError(f"{type(self).__name__} takes {self.input_names}, got {len(inputs)} tensors")
        for (name, shape), x in zip(self.input_shapes.items(), inputs, strict=True):
            if tuple(x.shape[1:]) != shape:
                hint = ""
                if len(shape) == x.ndim - 1 and x.shape[-1] == x.shape[-2]:
                    hint = (
                        f": align the clip to {self.config.image_size} px, or create the model with "
                        f"image_size={x.shape[-1]}"
                    )
                expected = ", ".join(map(str, shape))
                raise ValueError(f"'{name}' must have shape (batch, {expected}), got {tuple(x.shape)}{hint}")
            if not x.is_floating_point():
                raise ValueError(f"'{name}' must be a normalised float tensor, got {x.dtype}: see training.to_inputs")
        logits: Tensor = super().__call__(*inputs)
        return logits

    def save_pretrained(self, save_directory: Any, **kwargs: Any) -> Any:
        """Saves weights (safetensors) and configuration, with the name of the model for `models.from_pretrained`.

        Args:
            save_directory: The folder; it is created.
            **kwargs: Of `huggingface_hub.PyTorchModelHubMixin.save_pretrained`, but for `config`.
        """
        kwargs["config"] = {"name": self.name, **asdict(self.config)}
        return super().save_pretrained(save_directory, **kwargs)

    def generate_model_card(self, **facts: Any) -> ModelCard:
        """The card that `save_pretrained` writes; its `model_card_kwargs` are the facts of `models.card.model_card`."""
        return model_card(self, **facts)

    @classmethod
    def from_preset(cls, preset: str = "base", **overrides: Any) -> "Recognizer":
        """Builds the model in one of the sizes `base`, `small`, `tiny`.

        Raises:
            ValueError: The preset or an override is unknown.
        """
        if preset not in cls.presets:
            raise ValueError(f"unknown preset '{preset}': choose from {', '.join(cls.presets)}")
        fields = cls.Config.__dataclass_fields__
        if unknown := overrides.keys() - fields.keys():
            raise ValueError(f"unknown settings {sorted(unknown)}: choose from {list(fields)}")
        return cls(cls.Config(**{**cls.presets[preset], **overrides}))
