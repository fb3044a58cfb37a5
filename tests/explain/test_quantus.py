"""Our scores against Quantus (Hedström et al., JMLR 2023), and against their definitions written a second time.

Quantus asks for opencv-python, which would overwrite opencv-contrib, so it is no dependency: for the first half of this
file, `pip install --no-deps quantus cachetools` into a folder, and put that on PYTHONPATH.
"""

import numpy as np
import pytest
import torch
from torch import nn
from toy_models import Linear

from studies.truth import perturbation_curves, truth_scores
from tsfmicro_lab.explain import where_how
from tsfmicro_lab.preprocess import align_clip

POINTS, SIDE = 8, 56


class OneInput(nn.Module):
    """The difference alone, in grey: Quantus asks models of one input, and flips each colour by itself."""

    def __init__(self, model, onset):
        super().__init__()
        self.model, self.onset = model, onset

    def forward(self, difference):
        return self.model(self.onset.expand(len(difference), -1, -1, -1), difference.expand(-1, 3, -1, -1))


@pytest.fixture(scope="module")
def case(data):
    torch.manual_seed(0)
    model = Linear.from_preset("tiny").eval()
    with torch.no_grad():
        for weights in (model.a, model.b):
            weights.mul_(0.01)
    x = {name: torch.randn(1, 1, SIDE, SIDE).expand(-1, 3, -1, -1).contiguous() for name in model.input_names}
    clip = next(c for c in (align_clip(data[i], SIDE) for i in range(1, 9)) if c.truth.moved.mean() > 0.02)
    return model, x, where_how(model, x, 0, "input × gradient"), clip.truth


def test_deletion_is_pixel_flipping(case):
    quantus = pytest.importorskip("quantus", reason="it wants another OpenCV: compared every night")
    model, x, maps, _ = case
    quiet = {"normalise": False, "disable_warnings": True, "display_progressbar": False}
    metric = quantus.PixelFlipping(features_in_step=SIDE**2 // (POINTS - 1), perturb_baseline=0.0, **quiet)
    [theirs] = metric(
        model=OneInput(model, x["onset"]).eval(),
        x_batch=x["difference"][:, :1].numpy(),
        y_batch=np.array([0]),
        a_batch=maps["difference"][None, None],
        softmax=True,
        device="cpu",
    )
    ours, _ = perturbation_curves(model, x, maps, points=POINTS)
    assert np.ptp(ours) > 0.2, "a flat curve would agree with any"
    assert np.allclose(theirs, ours[1:], atol=1e-5)


def test_mass_and_pointing_are_those_of_quantus(case):
    quantus = pytest.importorskip("quantus", reason="it wants another OpenCV: compared every night")
    model, x, maps, truth = case
    about = {
        "model": OneInput(model, x["onset"]).eval(),
        "x_batch": x["difference"][:, :1].numpy(),
        "y_batch": np.array([0]),
        "a_batch": maps["difference"][None, None],
        "s_batch": truth.moved[None, None],
        "device": "cpu",
    }
    how = {"abs": True, "normalise": False, "disable_warnings": True, "display_progressbar": False}
    found = truth_scores(maps["difference"], truth)
    [mass], [pointing] = quantus.RelevanceMassAccuracy(**how)(**about), quantus.PointingGame(**how)(**about)
    assert mass == pytest.approx(found["mass"], abs=1e-6)
    assert float(pointing) == found["pointing"]


def test_deletion_and_mass_by_their_definitions(case):
    """Pixel by pixel in plain loops, whether Quantus is there or not."""
    model, x, maps, truth = case
    heat, order = maps["difference"], np.argsort(-maps["difference"].ravel())
    expected = []
    for gone in np.linspace(0, heat.size, POINTS):
        changed = x["difference"].clone()
        for pixel in order[: int(gone)]:
            changed[0, :, pixel // SIDE, pixel % SIDE] = 0
        with torch.no_grad():
            expected.append(float(torch.softmax(model(x["onset"], changed)[0], 0)[0]))
    ours, _ = perturbation_curves(model, x, maps, points=POINTS)
    assert np.allclose(ours, expected, atol=1e-5)
    inside = sum(abs(float(v)) for v, m in zip(heat.ravel(), truth.moved.ravel(), strict=True) if m)
    assert truth_scores(heat, truth)["mass"] == pytest.approx(inside / np.abs(heat).sum(), rel=1e-5)
