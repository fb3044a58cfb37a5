"""TSFmicro: a retention branch reads how the face moved, a transformer branch reads where things lie on it.

Its variants share their parts and differ in one line: the point where both streams are added. Early adds what two stems
see, T→S adds the motion to the tokens of the onset frame, S→T adds the layout to the input of the retention pyramid,
and late, the paper's proposal, adds two finished maps. They read onset and difference (B, 3, S, S) and give logits.

Liu, Nan, Qian, Fu, "Temporal and Spatial Feature Fusion Framework for Dynamic Micro Expression Recognition",
arXiv 2505.16372 (2025). Written from the paper and checked against logits of its public code; `base` is the paper's
size, `small` and `tiny` are ours: each halves the image and leaves out the first stage of the pyramid, so that the last
grid, and with it the thumbnail of the spatial branch, always has 14×14 tokens.

The where-branch, a small ViT on a thumbnail of the onset frame that is added to the motion's map, is that of MMNet
(IJCAI 2022, arXiv 2201.05297, code muse1998/MMNet), as is, almost unchanged, the training loop of the public code.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tsfmicro_lab.models.base import ORIGINS, Image, Logits, ModelConfig, Recognizer, sizes
from tsfmicro_lab.models.retention import RetentionBlock
from tsfmicro_lab.models.vit import Map, ThumbnailViT, draw_linear, to_map, to_tokens


@dataclass(frozen=True)
class TSFmicroConfig(ModelConfig):
    """The sizes of a TSFmicro network.

    Attributes:
        dims: Channels of each stage of the temporal pyramid; the last is also the width of the spatial branch.
        depths: Retention blocks of each stage.
        decomposed: Per stage, retention along rows and columns instead of over all pairs of tokens.
        spreads: Per stage, b of the decay rule (:func:`~tsfmicro_lab.models.retention.head_decay`).
        heads: Retention heads in every block.
        drop_path: Stochastic depth of the last retention block.
        spatial_depth, spatial_heads: Transformer blocks of the spatial branch and their attention heads.
        inject: For T→S: whether the motion joins the onset's tokens `before` the transformer, as in the paper's
            figure, or `after` it, as in the public code.
        init_std: Standard deviation of the initial weights of linear layers. The public code's 0.02 suits 512 channels;
            narrow layers start closer to 1 / sqrt(channels).
    """

    dims: Sequence[int] = (64, 128, 256, 512)
    depths: Sequence[int] = (1, 1, 2, 1)
    decomposed: Sequence[bool] = (True, True, False, False)
    spreads: Sequence[float] = (4.0, 4.0, 6.0, 6.0)
    heads: int = 2
    drop_path: float = 0.1
    spatial_depth: int = 2
    spatial_heads: int = 4
    inject: Literal["before", "after"] = "before"
    init_std: float = 0.02

    @property
    def grid(self) -> int:
        """Side of the last grid, in tokens."""
        return self.image_size >> len(self.dims)


class ConvStem(nn.Sequential):
    """Four 3×3 convolutions that halve the image: (B, 3, H, W) → (B, dim, H/2, W/2); the first two have half of dim."""

    def __init__(self, dim: int) -> None:
        half, layers = dim // 2, list[nn.Module]()
        for i, o, stride in ((3, half, 2), (half, half, 1), (half, dim, 1), (dim, dim, 1)):
            layers += [nn.Conv2d(i, o, 3, stride, padding=1), nn.BatchNorm2d(o), nn.GELU()]
        super().__init__(*layers[:-1])  # no activation after the last

    def forward(self, image: Image) -> Map:
        """Returns the map, its channels last in memory, where all that follows works without copies."""
        return super().forward(image.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2))


class RetentionPyramid(nn.Module):
    """The temporal branch: stages of retention blocks; between two, a strided convolution halves the grid.

    (B, dims[0], S/2, S/2), S the side of the image → (B, dims[-1], grid, grid). Stochastic depth grows linearly from 0.
    """

    def __init__(self, c: TSFmicroConfig) -> None:
        super().__init__()
        rates = iter(torch.linspace(0, c.drop_path, sum(c.depths), device="cpu").tolist())
        self.stages, self.downsamples = nn.ModuleList(), nn.ModuleList()
        for i, (dim, depth) in enumerate(zip(c.dims, c.depths, strict=True)):
            if i:
                conv = nn.Conv2d(c.dims[i - 1], dim, 3, stride=2, padding=1)
                self.downsamples.append(nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(dim))))
            side, form = c.image_size >> (i + 1), (c.decomposed[i], c.spreads[i])
            blocks = [RetentionBlock(dim, c.heads, side, *form, next(rates)) for _ in range(depth)]
            self.stages.append(nn.Sequential(*blocks))

    def forward(self, x: Map) -> Float[Tensor, "batch wider coarse_h coarse_w"]:
        """Returns the map of the last stage."""
        x = x.permute(0, 2, 3, 1)
        for i, stage in enumerate(self.stages):
            if i:
                x = self.downsamples[i - 1](x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
            x = stage(x)
        return x.permute(0, 3, 1, 2)


class Classifier(nn.Module):
    """1×1 expansion to twice the channels, batch norm, SiLU, mean over the map, one linear layer."""

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        self.expand, self.norm = nn.Linear(dim, 2 * dim), nn.BatchNorm2d(2 * dim)
        self.head = nn.Linear(2 * dim, num_classes)

    def features(self, x: Map) -> Float[Tensor, "batch wide grid_h grid_w"]:
        """Returns what the last layer averages over the map."""
        x = self.expand(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return nn.functional.silu(self.norm(x))

    def evidence(self, x: Map) -> Float[Tensor, "batch classes grid_h grid_w"]:
        """Class activation maps (Zhou et al., CVPR 2016): their mean over the map is the logit, less its bias."""
        return torch.einsum("b d y x, c d -> b c y x", self.features(x), self.head.weight)

    def forward(self, x: Map) -> Logits:
        """Returns the logits."""
        return self.head(self.features(x).mean((-2, -1)))


class StreamSum(nn.Module):
    """Fusion by addition: how + where, both of weight 1 in every variant.

    The weights are no parameters. The lab moves them to ask what a trained model does when a stream is weakened (0.5)
    or switched off (0).
    """

    def __init__(self) -> None:
        super().__init__()
        self.how_weight = self.where_weight = 1.0

    def forward(self, how: Float[Tensor, "*shape"], where: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Returns the weighted sum."""
        return self.how_weight * how + self.where_weight * where


class TSFmicro(Recognizer):
    """What every variant shares: the onset frame answers *where*, the difference frame *how*.

    A variant names its parts, in the order in which a seed draws their weights, and joins them in `forward`.
    """

    origin, year = ORIGINS["tsfmicro"], 2025
    presets = sizes("tsfmicro", TSFmicroConfig)
    parts: ClassVar[tuple[str, ...]] = ()
    config: TSFmicroConfig
    stem: ConvStem
    onset_stem: ConvStem
    temporal: RetentionPyramid
    spatial: ThumbnailViT
    enlarge: nn.Sequential
    fuse: StreamSum
    classifier: Classifier

    def __init__(self, c: TSFmicroConfig) -> None:
        super().__init__(c)
        steps = pairwise(reversed(c.dims))
        constructors: dict[str, Callable[[], nn.Module]] = {
            "stem": lambda: ConvStem(c.dims[0]),
            "onset_stem": lambda: ConvStem(c.dims[0]),
            "temporal": lambda: RetentionPyramid(c),
            "spatial": lambda: ThumbnailViT(c.grid, c.dims[-1], c.spatial_depth, c.spatial_heads),
            "enlarge": lambda: nn.Sequential(*(nn.ConvTranspose2d(i, o, 4, stride=2, padding=1) for i, o in steps)),
            "fuse": StreamSum,
            "classifier": lambda: Classifier(c.dims[-1], c.num_classes),
        }
        for part in self.parts:
            self.add_module(part, constructors[part]())
        draw_linear(self, c.init_std)


class TSFmicroEarly(TSFmicro):
    """T-S early fusion: each frame has a stem of its own, their maps are added, one retention pyramid reads them."""

    name, checked = "tsfmicro_early", True
    parts = ("stem", "onset_stem", "fuse", "temporal", "classifier")

    def forward(self, onset: Image, difference: Image) -> Logits:
        """Returns the logits."""
        both = self.fuse(self.stem(difference), self.onset_stem(onset))
        return self.classifier(self.temporal(both))


class TSFmicroLate(TSFmicro):
    """T-S late fusion, the paper's proposal: both branches in parallel, their maps added, one classifier."""

    name, checked = "tsfmicro_late", True
    parts = ("stem", "temporal", "spatial", "fuse", "classifier")

    def forward(self, onset: Image, difference: Image) -> Logits:
        """Returns the logits."""
        how = self.temporal(self.stem(difference))
        return self.classifier(self.fuse(how, self.spatial(onset)))


class TSFmicroT2S(TSFmicroLate):
    """T→S fusion: the map of the temporal branch joins the tokens of the onset frame.

    The paper's figure adds it *before* the transformer, whose attention then moves motion over the face; the public
    code adds it *after*, just before the last layer norm, where no token hears of another (`inject` chooses).
    """

    name, checked = "tsfmicro_t2s", False

    def forward(self, onset: Image, difference: Image) -> Logits:
        """Returns the logits."""
        vit = self.spatial.vit
        how = to_tokens(self.temporal(self.stem(difference)))
        where = vit.embed(self.spatial.thumbnail(onset))
        if self.config.inject == "before":
            both = vit.blocks(self.fuse(how, where))
        else:
            both = self.fuse(how, vit.blocks(where))
        return self.classifier(to_map(vit.norm(both)))


class TSFmicroS2T(TSFmicro):
    """S→T fusion: the layout of the face, enlarged to the stem's size, joins the input of the retention pyramid.

    Transposed convolutions (kernel 4, stride 2) double the spatial branch's map once per halving in the pyramid.
    """

    name = "tsfmicro_s2t"
    parts = ("spatial", "enlarge", "stem", "fuse", "temporal", "classifier")

    def forward(self, onset: Image, difference: Image) -> Logits:
        """Returns the logits."""
        both = self.fuse(self.stem(difference), self.enlarge(self.spatial(onset)))
        return self.classifier(self.temporal(both))


class TSFmicroTemporal(TSFmicro):
    """Ablation: late fusion without its spatial branch. It sees how the face moved, not where."""

    name = "tsfmicro_temporal"
    input_names = ("difference",)
    parts = ("stem", "temporal", "classifier")

    def forward(self, difference: Image) -> Logits:
        """Returns the logits."""
        return self.classifier(self.temporal(self.stem(difference)))


class TSFmicroSpatial(TSFmicro):
    """Ablation: late fusion without its temporal branch. It sees a resting face, and should learn nothing from it."""

    name = "tsfmicro_spatial"
    input_names = ("onset",)
    parts = ("spatial", "classifier")

    def forward(self, onset: Image) -> Logits:
        """Returns the logits."""
        return self.classifier(self.spatial(onset))


MODELS = (TSFmicroLate, TSFmicroEarly, TSFmicroT2S, TSFmicroS2T, TSFmicroTemporal, TSFmicroSpatial)
