import numpy as np
import pytest
import torch

from studies.pictures import frame_table
from tsfmicro_lab.data.motion import ACTION_UNITS
from tsfmicro_lab.explain import WhereHow, where_how
from tsfmicro_lab.explain.regions import clip_regions, region_table, shared_out, without_motion
from tsfmicro_lab.models import create_model
from tsfmicro_lab.preprocess import align_clip


@pytest.fixture(scope="module")
def regions(data):
    found = clip_regions(align_clip(data[4], 56))
    assert np.sum(list(found.values()), 0).max() > 1, "regions of a face overlap, or there is nothing to test"
    return found


def test_shared_pixels_are_shared_out(regions):
    weights = shared_out(regions)
    assert list(weights) == [*regions, "elsewhere"]
    assert np.allclose(sum(weights.values()), 1)
    union = np.any(list(regions.values()), axis=0)
    assert np.array_equal(weights["elsewhere"] > 0, ~union)
    for unit, mask in regions.items():
        assert np.array_equal(weights[unit] > 0, mask)


def test_signed_sums_of_regions_are_those_of_the_map_and_of_the_logit(regions):
    """Once, bars of overlapping regions summed to 10 where the logit had changed by 6."""
    model = create_model("tsfmicro_late", 3, seed=2)
    x = {name: torch.randn(1, 3, 56, 56) for name in model.input_names}
    maps = where_how(model, x, 1, steps=64)
    table = region_table(maps, regions, signed=True).set_index("region")
    union = np.any(list(regions.values()), axis=0)
    for name, heat in maps.items():
        assert table[name].sum() == pytest.approx(heat.sum(), abs=1e-4)
        assert table[name].drop("elsewhere").sum() == pytest.approx(heat[union].sum(), abs=1e-4)
        counted_twice = sum(heat[mask].sum() for mask in regions.values())
        assert counted_twice != pytest.approx(heat[union].sum(), rel=0.2, abs=1e-6)
    with torch.no_grad():
        change = (model(**x) - model(**model.baseline(x)))[0, 1]
    assert table[list(maps)].to_numpy().sum() == pytest.approx(float(change), rel=0.02)


def test_masses_of_regions_are_shares_of_one(regions):
    rng = np.random.default_rng(0)
    maps = WhereHow({"difference": rng.normal(size=(56, 56))}, 0, "x")
    table = region_table(maps, regions)
    assert table.difference.sum() == pytest.approx(1)
    assert table.area.sum() == pytest.approx(1)
    frames = frame_table(rng.normal(size=(3, 56, 56)), regions)
    assert frames.share.sum() == pytest.approx(1)
    assert set(frames.region) == {*ACTION_UNITS, *regions, "elsewhere"}


def test_without_motion_is_zero_inside_untouched_far_away_and_soft_between():
    region = np.zeros((120, 120), bool)
    region[40:80, 40:80] = True
    still = without_motion(torch.full((1, 3, 120, 120), 2.0), region)[0, 0]
    assert (still[region] == 0).all()
    assert torch.allclose(still[:, :25], torch.tensor(2.0))
    edge = still[60, 25:40]  # towards the region
    assert (edge.diff() <= 1e-6).all()
    assert ((edge > 0.1) & (edge < 1.9)).sum() >= 2
    small = without_motion(torch.full((1, 3, 16, 16), 2.0), region[:96:6, :96:6])[0, 0]
    assert small[8, 6] < 1.9, "on a small picture, too"
