"""Four ways to join *how* the face moved with *where* things lie on it, and each stream alone.

The variants of TSFmicro (Liu, Nan, Qian, Fu, arXiv 2505.16372) share their parts and differ in one line: the place
where both streams are added. Early adds what two stems see, T→S adds the motion to the tokens of the onset frame, S→T
adds the layout to the input of the retention pyramid, and late, the paper's proposal, adds two finished maps.
"""

from itertools import pairwise

from torch import nn

from tsfmicro_lab.models.spatial import to_map, to_tokens
from tsfmicro_lab.models.temporal import ConvStem
from tsfmicro_lab.models.tsfmicro import Classifier, Image, Logits, StreamSum, TSFmicro, TSFmicroConfig


class TSFmicroEarly(TSFmicro):
    """T-S early fusion: each frame has a stem of its own, the stems' maps are added, one retention pyramid reads them.

    Shape:
        onset (B, 3, S, S), difference (B, 3, S, S) → (B, num_classes).

    Example:
        >>> import torch
        >>> model = TSFmicroEarly.from_preset("tiny", num_classes=3)
        >>> model(torch.randn(2, 3, 56, 56), torch.randn(2, 3, 56, 56)).shape
        torch.Size([2, 3])
    """

    name = "tsfmicro_early"

    def __init__(self, c: TSFmicroConfig) -> None:
        super().__init__(c)
        self.stem = ConvStem(c.dims[0])
        self.onset_stem = ConvStem(c.dims[0])
        self.fuse = StreamSum()
        self.temporal = self._temporal(c)
        self.classifier = Classifier(c.dims[-1], c.num_classes)
        self.apply(self._init_weights)

    def forward(self, onset: Image, difference: Image) -> Logits:
        """Returns the logits."""
        both = self.fuse(self.stem(difference), self.onset_stem(onset))
        return self.classifier(self.temporal(both))


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

    def __init__(self, c: TSFmicroConfig) -> None:
        super().__init__(c)
        self.stem = ConvStem(c.dims[0])
        self.temporal = self._temporal(c)
        self.spatial = self._spatial(c)
        self.fuse = StreamSum()
        self.classifier = Classifier(c.dims[-1], c.num_classes)
        self.apply(self._init_weights)

    def forward(self, onset: Image, difference: Image) -> Logits:
        """Returns the logits."""
        how = self.temporal(self.stem(difference))
        where = self.spatial(onset)
        return self.classifier(self.fuse(how, where))


class TSFmicroT2S(TSFmicroLate):
    """T→S fusion: the map of the temporal branch joins the tokens of the onset frame.

    The paper's figure adds it *before* the transformer, whose attention then moves motion over the face; the public
    code adds it *after*, just before the last layer norm, where no place hears of another (`inject` chooses). The
    parts are those of late fusion, in another order.

    Shape:
        onset (B, 3, S, S), difference (B, 3, S, S) → (B, num_classes).

    Example:
        >>> import torch
        >>> model = TSFmicroT2S.from_preset("tiny", num_classes=3, inject="after")
        >>> model(torch.randn(2, 3, 56, 56), torch.randn(2, 3, 56, 56)).shape
        torch.Size([2, 3])
    """

    name = "tsfmicro_t2s"

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

    Shape:
        onset (B, 3, S, S), difference (B, 3, S, S) → (B, num_classes).

    Example:
        >>> import torch
        >>> model = TSFmicroS2T.from_preset("tiny", num_classes=3)
        >>> model(torch.randn(2, 3, 56, 56), torch.randn(2, 3, 56, 56)).shape
        torch.Size([2, 3])
    """

    name = "tsfmicro_s2t"

    def __init__(self, c: TSFmicroConfig) -> None:
        super().__init__(c)
        self.spatial = self._spatial(c)
        steps = pairwise(reversed(c.dims))
        self.enlarge = nn.Sequential(*(nn.ConvTranspose2d(i, o, 4, stride=2, padding=1) for i, o in steps))
        self.stem = ConvStem(c.dims[0])
        self.fuse = StreamSum()
        self.temporal = self._temporal(c)
        self.classifier = Classifier(c.dims[-1], c.num_classes)
        self.apply(self._init_weights)

    def forward(self, onset: Image, difference: Image) -> Logits:
        """Returns the logits."""
        both = self.fuse(self.stem(difference), self.enlarge(self.spatial(onset)))
        return self.classifier(self.temporal(both))


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

    def __init__(self, c: TSFmicroConfig) -> None:
        super().__init__(c)
        self.stem = ConvStem(c.dims[0])
        self.temporal = self._temporal(c)
        self.classifier = Classifier(c.dims[-1], c.num_classes)
        self.apply(self._init_weights)

    def forward(self, difference: Image) -> Logits:
        """Returns the logits."""
        return self.classifier(self.temporal(self.stem(difference)))


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

    def __init__(self, c: TSFmicroConfig) -> None:
        super().__init__(c)
        self.spatial = self._spatial(c)
        self.classifier = Classifier(c.dims[-1], c.num_classes)
        self.apply(self._init_weights)

    def forward(self, onset: Image) -> Logits:
        """Returns the logits."""
        return self.classifier(self.spatial(onset))
