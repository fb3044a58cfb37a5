"""What anatomy reads off a forward pass, and its operations against counts by hand."""

import pytest

from studies.anatomy import anatomy, anatomy_table
from tsfmicro_lab.models import create_model
from tsfmicro_lab.models.tsfmicro import TSFmicroTemporal

EDGES = {
    "late": [("spatial", "onset"), ("fuse", "temporal", "spatial"), ("classifier", "fuse")],
    "early": [
        ("onset_stem", "onset"),
        ("fuse", "stem", "onset_stem"),
        ("temporal", "fuse"),
        ("classifier", "temporal"),
    ],
    "t2s": [("fuse", "temporal", "spatial.vit.embed"), ("spatial.vit.blocks", "fuse")],
    "s2t": [("enlarge", "spatial"), ("fuse", "stem", "enlarge"), ("temporal", "fuse"), ("classifier", "temporal")],
}


@pytest.mark.parametrize("name", EDGES)
def test_the_anatomy_is_what_forward_does(name):
    model = create_model(f"tsfmicro_{name}", 3).train()
    parts = {part.name: part for part in anatomy(model)}
    assert model.training
    for reader, *sources in EDGES[name]:
        assert parts[reader].sources == tuple(sources)
    assert [parts[n].stream for n in ("onset", "difference", "fuse", "classifier")] == ["where", "how", "both", "both"]
    assert sum(part.parameters for part in parts.values()) == sum(p.numel() for p in model.parameters())
    assert parts["classifier"].shape == (3,)


def test_late_fusion_takes_the_operations_that_the_paper_size_should():
    """13.44 GFLOPs; fused attention must not be forgotten, as torch's counter does by default."""
    total = anatomy_table(create_model("tsfmicro_late", 5, "base")).iloc[-1]
    assert total["MFLOPs"] == pytest.approx(13440, rel=1e-3)
    assert total["parameters"] == 12_789_413


def test_operations_of_a_linear_layer_are_counted_by_hand():
    parts = {p.name: p for p in anatomy(create_model("tsfmicro_spatial", 3))}
    dim, n, ratio = 48, 196, 4
    embed = 2 * 3 * dim * n
    attention = 2 * n * dim * 4 * dim + 2 * 2 * n * n * dim
    mlp = 2 * 2 * n * dim * ratio * dim
    assert parts["spatial"].flops == embed + attention + mlp
    assert parts["classifier"].flops == 2 * n * dim * 2 * dim + 2 * 2 * dim * 3


def test_what_is_computed_between_modules_cannot_be_drawn():
    class Doubled(TSFmicroTemporal):
        def forward(self, difference):
            return self.classifier(self.temporal(2 * self.stem(difference)))

    with pytest.raises(ValueError, match="'temporal' reads a tensor that no part made: put what forward computes"):
        anatomy(Doubled.from_preset("tiny"))
