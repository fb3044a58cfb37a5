"""What every model of the lab keeps to, so that one program trains, tests, explains, saves and loads them all."""

import json
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.resources import files
from itertools import compress
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from tsfmicro_lab.clips import Clip
from tsfmicro_lab.data.samples import Samples
from tsfmicro_lab.data.tensors import PREPARED, prepare_clip
from tsfmicro_lab.models.card import model_card

#: Mean and standard deviation of ImageNet's images, by which frames are normalised.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: The two inputs of TSFmicro and their nicknames; everything else calls a stream by its input's name.
STREAMS = {"onset": "where", "difference": "how"}
#: What a model says where it is not sure enough.
UNSURE = "cannot tell"
#: Parameters of a saved model, in its folder.
WEIGHTS = "model.safetensors"
_SIZES = tomllib.loads((files(__package__) / "sizes.toml").read_text("utf-8"))
#: Where the networks come from, and how far they were checked.
ORIGINS: dict[str, str] = _SIZES["origins"]

Image = Float[Tensor, "batch 3 height width"]
Logits = Float[Tensor, "batch classes"]
#: Which of some samples.
Rows = Sequence[int] | Int64[np.ndarray, " n"] | Int64[Tensor, " n"]
#: Gives the tensors of some training clips by name, augmented.
Batches = Callable[[Tensor, tuple[str, ...]], dict[str, Tensor]]
#: Loss of logits, given the labels.
Criterion = Callable[[Tensor, Tensor], Tensor]


@cache  # a tensor made anew would be copied to the device, and waited for, at every step
@torch.inference_mode(False)  # whose tensors no later gradient could pass
def mean_std(device: torch.device) -> tuple[Tensor, Tensor]:
    """:data:`MEAN` and :data:`STD` as (3, 1, 1)."""
    return torch.tensor(MEAN, device=device).view(3, 1, 1), torch.tensor(STD, device=device).view(3, 1, 1)


def to_inputs(onset: Tensor, apex: Tensor) -> dict[str, Tensor]:
    """Normalised onset frame and difference frame, the inputs of TSFmicro.

    Both frames (B, 3, H, W), 0 to 255, bytes or floats, are normalised and then subtracted, as TSFmicro does: the mean
    cancels, and identical frames give a difference of exactly zero.

    Returns:
        `onset` and `difference`, float32, of the same shape.

    Raises:
        ValueError: The frames differ in shape, or are no images of three channels.
    """
    if onset.shape != apex.shape or onset.ndim != 4 or onset.shape[1] != 3:
        shapes = f"onset {tuple(onset.shape)} and apex {tuple(apex.shape)}"
        raise ValueError(f"{shapes} must both be (batch, 3, height, width)")
    mean, std = mean_std(onset.device)
    first, second, scale = onset.float(), apex.float(), 1 / (255 * std)
    return {"onset": first * scale - mean / std, "difference": (second - first) * scale}


def check_word(what: str, word: str, known: Collection[str]) -> None:
    """Refuses a word that is none of those known, which it names but for the empty one."""
    if word not in known:
        raise ValueError(f"unknown {what} '{word}': choose from {', '.join(filter(None, known))}")


@dataclass(frozen=True)
class ModelConfig:
    """What every configuration holds; those of the models add their sizes.

    Attributes:
        num_classes: Emotions to tell apart.
        image_size: Side of the aligned face, pixels.
        classes: Names of the emotions, where they are known: a saved model brings them along. If all are numbers, they
            are action units.
        temperature: By what the last layer was divided after training, so that probabilities are calibrated; 1: by
            nothing. The logits have it in them.
        certain: Least probability at which the model says what it takes a clip for (see :meth:`Recognizer.tell`).
    """

    num_classes: int = 5
    image_size: int = 224
    classes: Sequence[str] = ()
    temperature: float = 1.0
    certain: float = 0.0

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            if get_origin(kind) is Literal:
                check_word(name, getattr(self, name), get_args(kind))
        if self.classes and len(self.classes) != self.num_classes:
            raise ValueError(f"{self.num_classes} classes, but {len(self.classes)} names: {', '.join(self.classes)}")
        if not (self.temperature > 0 and 0 <= self.certain <= 1):
            raise ValueError(f"temperature {self.temperature} must be above 0, certain {self.certain} from 0 to 1")

    @property
    def units(self) -> bool:
        """Whether the classes are action units, each a question of its own."""
        return bool(self.classes) and all(name.isdigit() for name in self.classes)


def sizes(name: str, kind: Callable[..., ModelConfig]) -> dict[str, ModelConfig]:
    """Configurations of a model by size: `base`, the defaults of its kind, and those of sizes.toml."""
    return {"base": kind()} | {size: kind(**frozen(row)) for size, row in _SIZES[name].items()}


def frozen(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a configuration as they were before a file made lists of its tuples.

    Raises:
        ValueError: A size is none of a network that anybody could train: a file from elsewhere could ask for anything.
    """
    for name, value in fields.items():
        numbers, most = value if isinstance(value, list) else [value], 256 if "depth" in name else 4096
        if len(numbers) > (4096 if name == "classes" else 64) or any(isinstance(x, int) and x > most for x in numbers):
            raise ValueError(f"{name} is too large: {str(value)[:40]}")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def cross_entropy(logits: Logits, label: Tensor, weight: Tensor | None = None, focal: float = 0.0) -> Tensor:
    r"""Cross-entropy between classes, (B,) labels; or, (B, units) of 0 and 1, of each action unit by itself.

    With the weight of each class, or of the clips that show a unit, as in torch; and with the exponent
    :math:`\gamma` of the focal loss :math:`-(1 - p)^\gamma \log p` of what is true (Lin et al., ICCV 2017).
    """
    one_of = label.ndim == 1
    each = F.cross_entropy if one_of else F.binary_cross_entropy_with_logits
    losses = each(logits, label if one_of else label.float(), reduction="none")
    if focal:
        losses = losses * (-torch.expm1(-losses)).clamp_min(1e-6) ** focal
    if weight is not None:
        share = weight[label] if one_of else torch.where(label > 0, weight, 1.0)
        losses = losses * share / (share.mean() if one_of else 1)
    return losses.mean()


class Recognizer(nn.Module):
    """A model that tells micro-expressions apart: its configuration, the check of its inputs, its loss, its file.

    A model names the tensors that are to be prepared of a clip (`prepared`, see `data.tensors`) and makes its inputs of
    a batch of them (`inputs`). It is called with these by name, or in the order of `input_names`.

    Example:
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions, prepare
        >>> from tsfmicro_lab.models import create_model
        >>> model = create_model("tsfmicro_late", num_classes=5)
        >>> samples = prepare(SyntheticMicroExpressions(2, 5, image_size=64), 56, progress=False)
        >>> logits = model(**model.inputs(samples.pick(torch.arange(8))))  # to train on, or to explain
        >>> tuple(logits.shape), tuple(model.logits(samples).shape)  # the answers alone: a clip, or samples
        ((8, 5), (10, 5))
    """

    name: ClassVar[str]
    #: Year of the paper; where the network comes from and how far it was checked, as its card tells; and whether it
    #: meets the logits of a public code.
    year: ClassVar[int]
    origin: ClassVar[str]
    checked: ClassVar[bool] = False
    #: Configurations by size: `base` is the paper's.
    presets: ClassVar[Mapping[str, ModelConfig]]
    prepared: tuple[str, ...] = ("onset", "apex")
    input_names: tuple[str, ...] = ("onset", "difference")
    #: Inputs that are no image and get no attribution: explanations hold them as they are.
    auxiliary_names: tuple[str, ...] = ()

    def __init__(self, config: Any) -> None:
        super().__init__()
        if not hasattr(self, "name"):
            raise TypeError(f"{type(self).__name__} is no model by itself: use create_model('tsfmicro_late')")
        self.config = config
        #: Shape of each input of one sample.
        self.input_shapes: dict[str, tuple[int, ...]] = dict.fromkeys(self.input_names, (3, *[config.image_size] * 2))
        self.input_shapes |= {name: PREPARED[name].shape(config.image_size) for name in self.auxiliary_names}

    def inputs(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the model reads, by name, made of a batch of prepared tensors (see `Samples.pick`)."""
        both = to_inputs(batch["onset"], batch["apex"])
        return {name: both[name] for name in self.input_names}

    def inputs_of(self, given: Clip | Samples, index: Rows | None = None) -> dict[str, Tensor]:
        """What the model reads of a clip, recorded or aligned, or of some samples (all by default), on its device."""
        if isinstance(given, Clip):
            arrays = prepare_clip(given, self.config.image_size, self.prepared)
            batch = {name: torch.from_numpy(x)[None] for name, x in arrays.items()}
        else:
            batch = given.pick(torch.arange(len(given)) if index is None else torch.as_tensor(index), self.prepared)
        device = next(self.parameters()).device
        return self.inputs({name: x.to(device) for name, x in batch.items()})

    @torch.no_grad()
    def logits(self, given: Clip | Samples, index: Rows | None = None, batch_size: int = 64) -> Logits:
        """The model's answers for a clip or for samples (see :meth:`inputs_of`), a row for each, float32, on the CPU.

        No gradient is kept, `batch_size` samples are computed at once, and the model is left in evaluation mode.
        """
        self.eval()
        if isinstance(given, Clip):
            return self(**self.inputs_of(given)).float().cpu()
        rows = torch.as_tensor(np.arange(len(given)) if index is None else index)
        return torch.cat([self(**self.inputs_of(given, part)).float().cpu() for part in rows.split(batch_size)])

    def probabilities(self, logits: Logits) -> Logits:
        """What logits mean: probabilities of classes, which sum to 1, or of each action unit by itself."""
        return logits.sigmoid() if self.config.units else logits.softmax(-1)

    def tell(self, logits: Logits, classes: Sequence[str] = ()) -> list[str]:
        """What the model says of each clip: a class, or action units joined by `+`; where it is unsure, :data:`UNSURE`.

        Example:
            >>> from tsfmicro_lab.models import create_model
            >>> model = create_model("ststnet", 3, classes=("a", "b", "c"), certain=0.6)
            >>> model.tell(torch.tensor([[2.0, 0.0, 0.0], [1.0, 0.0, 1.0]]))
            ['a', 'cannot tell']
        """
        p, c = self.probabilities(logits), self.config
        likeliest = F.one_hot(p.argmax(1), c.num_classes) > 0
        said = p >= (c.certain or 0.5) if c.units else likeliest & (p >= c.certain)
        return ["+".join(compress(classes or c.classes, row)) or UNSURE for row in said.tolist()]

    def baseline(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Reference input for attribution: mean-colour face, zero motion."""
        return {name: x if name in self.auxiliary_names else torch.zeros_like(x) for name, x in inputs.items()}

    def loss(self, label: Tensor, criterion: Criterion = cross_entropy, **inputs: Tensor) -> Tensor:
        """What training makes smaller: the criterion of the model's answers to its inputs."""
        return criterion(self(**inputs), label)

    def pretrain(self, rows: Tensor, batch_of: Batches, lr: float) -> None:
        """What comes before the training proper, on the training clips `rows`, without their labels; nothing here."""

    def __call__(self, *inputs: Tensor, **named: Tensor) -> Tensor:
        """Checks the inputs, by name or, as captum gives them, in the order of `input_names`; then runs the network.

        Raises:
            ValueError: An input is missing or superfluous, or its size or type is not what the model was built for.
        """
        names = self.input_names
        given = dict(zip(names, inputs, strict=False)) | named
        wrong = [f"'{name}' is missing" for name in names if name not in given]
        wrong += [f"'{name}' is superfluous" for name in given if name not in names]
        if wrong or len(inputs) + len(named) > len(given):
            but = f"{', '.join(wrong) or 'more tensors are given'}: call it as model(**model.inputs(batch))"
            raise ValueError(f"{type(self).__name__} reads {' and '.join(names)}, but {but}")
        for name, shape in self.input_shapes.items():
            x = given[name]
            if tuple(x.shape[1:]) != shape or not x.is_floating_point():
                wanted = f"normalised floating-point numbers (batch, {', '.join(map(str, shape))})"
                wrong_kind = f"'{name}' must be {wanted}, got {x.dtype} {tuple(x.shape)}"
                size = f"clips aligned to {self.config.image_size} px; create_model(image_size=…) changes it"
                raise ValueError(f"{wrong_kind}: model.inputs makes them of {size}")
        return super().__call__(*(given[name] for name in names))

    def save_pretrained(self, folder: Path | str, **facts: Any) -> None:
        """Saves parameters (safetensors), configuration and card (with `facts`), for `models.from_pretrained`."""
        from safetensors.torch import save

        (folder := Path(folder)).mkdir(parents=True, exist_ok=True)
        (folder / WEIGHTS).write_bytes(save({name: x.contiguous() for name, x in self.state_dict().items()}))
        config = json.dumps({"name": self.name, **asdict(self.config)}, sort_keys=True, indent=2)
        (folder / "config.json").write_text(config, encoding="utf-8")
        (folder / "README.md").write_text(model_card(self, **facts), encoding="utf-8")

    @classmethod
    def from_preset(cls, preset: str = "base", **overrides: Any) -> "Recognizer":
        """Builds the model in one of the sizes `base`, `small`, `tiny`.

        Raises:
            ValueError: The preset or an override is unknown.
        """
        check_word("preset", preset, cls.presets)
        known = asdict(cls.presets[preset])
        if unknown := overrides.keys() - known.keys():
            raise ValueError(f"unknown settings {sorted(unknown)}: choose from {list(known)}")
        return cls(replace(cls.presets[preset], **overrides))
