"""TSFmicro: a retention branch reads how the face moved, a transformer branch reads where things lie on it.

Liu, Nan, Qian, Fu, "Temporal and Spatial Feature Fusion Framework for Dynamic Micro Expression Recognition",
arXiv 2505.16372 (2025). Written from the paper and checked against logits of its public code; `base` is the paper's
size, `small` and `tiny` are ours: each halves the image and leaves out the first stage of the pyramid, so that the last
grid, and with it the thumbnail of the spatial branch, always has 14×14 places.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from huggingface_hub import PyTorchModelHubMixin
from jaxtyping import Float
from torch import Tensor, nn

from tsfmicro_lab.models.spatial import ThumbnailViT
from tsfmicro_lab.models.temporal import ConvStem, RetentionPyramid

Image = Float[Tensor, "batch 3 height width"]
Map = Float[Tensor, "batch dim grid_h grid_w"]
Logits = Float[Tensor, "batch classes"]


@dataclass(frozen=True)
class TSFmicroConfig:
    """The sizes of a TSFmicro network.

    Attributes:
        num_classes: Emotions to tell apart.
        image_size: Side of the aligned face, pixels.
        dims: Channels of each stage of the temporal pyramid; the last is also the width of the spatial branch.
        depths: Retention blocks of each stage.
        decomposed: Per stage, retention along rows and columns instead of over all pairs of places.
        spreads: Per stage, b of the decay rule (:func:`~tsfmicro_lab.models.retention.head_decay`).
        heads: Retention heads in every block.
        drop_path: Stochastic depth of the last retention block.
        spatial_depth: Transformer blocks of the spatial branch.
        spatial_heads: Attention heads of the spatial branch.
        init_std: Spread of the initial weights of linear layers. The public code's 0.02 suits 512 channels; narrow
            layers start closer to 1 / sqrt(channels).

    Example:
        >>> TSFmicroConfig(image_size=224).grid
        14
    """

    num_classes: int = 5
    image_size: int = 224
    dims: Sequence[int] = (64, 128, 256, 512)
    depths: Sequence[int] = (1, 1, 2, 1)
    decomposed: Sequence[bool] = (True, True, False, False)
    spreads: Sequence[float] = (4.0, 4.0, 6.0, 6.0)
    heads: int = 2
    drop_path: float = 0.1
    spatial_depth: int = 2
    spatial_heads: int = 4
    init_std: float = 0.02

    @property
    def grid(self) -> int:
        """Side of the last grid, in tokens."""
        return self.image_size >> len(self.dims)


PRESETS: dict[str, dict[str, Any]] = {
    "base": {},
    "small": {
        "image_size": 112,
        "dims": (48, 96, 192),
        "depths": (1, 2, 1),
        "decomposed": (True, False, False),
        "spreads": (4.0, 6.0, 6.0),
        "init_std": 0.05,
    },
    "tiny": {
        "image_size": 56,
        "dims": (24, 48),
        "depths": (1, 1),
        "decomposed": (True, False),
        "spreads": (6.0, 6.0),
        "spatial_depth": 1,
        "init_std": 0.1,
    },
}


class Classifier(nn.Module):
    """1×1 expansion to twice the channels, batch norm, SiLU, mean over the map, one linear layer.

    Shape:
        (B, dim, g, g) → (B, num_classes).

    Example:
        >>> import torch
        >>> Classifier(8, num_classes=3)(torch.randn(2, 8, 14, 14)).shape
        torch.Size([2, 3])
    """

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        self.expand, self.norm = nn.Linear(dim, 2 * dim), nn.BatchNorm2d(2 * dim)
        self.head = nn.Linear(2 * dim, num_classes)

    def forward(self, x: Map) -> Logits:
        """Returns the logits."""
        x = self.expand(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        logits: Tensor = self.head(nn.functional.silu(self.norm(x)).mean((-2, -1)))
        return logits


class TSFmicro(nn.Module, PyTorchModelHubMixin):
    """What every variant shares: its configuration, its parts, the check of its inputs, saving and loading.

    A model is called with the tensors that `input_names` lists, in that order, so that each can be attributed by
    itself: the onset frame answers *where*, the difference frame *how*.

    Args:
        config: Sizes; defaults are the paper's.
    """

    name: ClassVar[str]
    input_names: ClassVar[tuple[str, ...]] = ("onset", "difference")

    def __init__(self, config: TSFmicroConfig | None = None) -> None:
        super().__init__()
        self.config = config or TSFmicroConfig()
        self.build(self.config)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=self.config.init_std)
                nn.init.zeros_(module.bias)

    def build(self, c: TSFmicroConfig) -> None:
        """Creates the parts of the variant."""
        raise TypeError(f"{type(self).__name__} is no variant by itself: use create_model('tsfmicro_late')")

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Checks the inputs, then runs the network.

        Raises:
            ValueError: The number, size or channels of the inputs are not what the model was built for.
        """
        if len(inputs) != len(self.input_names):
            raise ValueError(f"{type(self).__name__} takes {self.input_names}, got {len(inputs)} tensors")
        side = self.config.image_size
        for name, x in zip(self.input_names, inputs, strict=True):
            if x.ndim != 4 or tuple(x.shape[1:]) != (3, side, side):
                raise ValueError(
                    f"'{name}' must have shape (batch, 3, {side}, {side}), got {tuple(x.shape)}: align the clip to "
                    f"{side} px, or create the model with image_size={x.shape[-1]}"
                )
            if not x.is_floating_point():
                raise ValueError(f"'{name}' must be a normalised float tensor, got {x.dtype}: see training.to_inputs")
        logits: Tensor = super().__call__(*inputs)
        return logits

    def save_pretrained(self, save_directory: Any, **kwargs: Any) -> Any:
        """Saves weights (safetensors) and configuration, with the name of the variant for `models.from_pretrained`.

        Args:
            save_directory: The folder; it is created.
            **kwargs: Of `huggingface_hub.PyTorchModelHubMixin.save_pretrained`, but for `config`.
        """
        kwargs["config"] = {"name": self.name, **asdict(self.config)}
        return super().save_pretrained(save_directory, **kwargs)

    def _temporal(self, c: TSFmicroConfig) -> RetentionPyramid:
        return RetentionPyramid(
            c.image_size // 2, c.dims, c.depths, c.heads, c.decomposed, c.spreads, drop_path=c.drop_path
        )

    def _spatial(self, c: TSFmicroConfig) -> ThumbnailViT:
        return ThumbnailViT(c.grid, c.dims[-1], c.spatial_depth, c.spatial_heads)

    @classmethod
    def from_preset(cls, preset: str = "base", **overrides: Any) -> "TSFmicro":
        """Builds the variant in one of the sizes `base`, `small`, `tiny`.

        Raises:
            ValueError: The preset or an override is unknown.
        """
        if preset not in PRESETS:
            raise ValueError(f"unknown preset '{preset}': choose from {', '.join(PRESETS)}")
        unknown = overrides.keys() - TSFmicroConfig.__dataclass_fields__.keys()
        if unknown:
            raise ValueError(
                f"unknown settings {sorted(unknown)}: choose from {list(TSFmicroConfig.__dataclass_fields__)}"
            )
        return cls(TSFmicroConfig(**{**PRESETS[preset], **overrides}))


class TSFmicroLate(TSFmicro):
    """T-S late fusion, the paper's proposal: both branches in parallel, their maps added, one classifier.

    Shape:
        onset (B, 3, S, S), difference (B, 3, S, S) → (B, num_classes).

    Example:
        >>> import torch
        >>> model = TSFmicroLate.from_preset("tiny", num_classes=3)
        >>> model(torch.randn(2, 3, 56, 56), torch.randn(2, 3, 56, 56)).shape
        torch.Size([2, 3])
    """

    name = "tsfmicro_late"

    def build(self, c: TSFmicroConfig) -> None:
        """Creates stem, temporal branch, spatial branch and classifier."""
        self.stem = ConvStem(c.dims[0])
        self.temporal = self._temporal(c)
        self.spatial = self._spatial(c)
        self.classifier = Classifier(c.dims[-1], c.num_classes)

    def forward(self, onset: Image, difference: Image) -> Logits:
        """Returns the logits."""
        how = self.temporal(self.stem(difference))
        where = self.spatial(onset)
        logits: Tensor = self.classifier(how + where)
        return logits


class TSFmicroTemporal(TSFmicro):
    """Ablation: late fusion without its spatial branch. It sees how the face moved, not where.

    Shape:
        difference (B, 3, S, S) → (B, num_classes).

    Example:
        >>> import torch
        >>> TSFmicroTemporal.from_preset("tiny", num_classes=3)(torch.randn(2, 3, 56, 56)).shape
        torch.Size([2, 3])
    """

    name = "tsfmicro_temporal"
    input_names = ("difference",)

    def build(self, c: TSFmicroConfig) -> None:
        """Creates stem, temporal branch and classifier."""
        self.stem = ConvStem(c.dims[0])
        self.temporal = self._temporal(c)
        self.classifier = Classifier(c.dims[-1], c.num_classes)

    def forward(self, difference: Image) -> Logits:
        """Returns the logits."""
        logits: Tensor = self.classifier(self.temporal(self.stem(difference)))
        return logits


class TSFmicroSpatial(TSFmicro):
    """Ablation: late fusion without its temporal branch. It sees a resting face, and should learn nothing from it.

    Shape:
        onset (B, 3, S, S) → (B, num_classes).

    Example:
        >>> import torch
        >>> TSFmicroSpatial.from_preset("tiny", num_classes=3)(torch.randn(2, 3, 56, 56)).shape
        torch.Size([2, 3])
    """

    name = "tsfmicro_spatial"
    input_names = ("onset",)

    def build(self, c: TSFmicroConfig) -> None:
        """Creates spatial branch and classifier."""
        self.spatial = self._spatial(c)
        self.classifier = Classifier(c.dims[-1], c.num_classes)

    def forward(self, onset: Image) -> Logits:
        """Returns the logits."""
        logits: Tensor = self.classifier(self.spatial(onset))
        return logits
