import numpy as np
import pytest
import torch

from studies.close_ups import BRIGHT, EDGE, PLACES, SIDE, SpotNet, close_ups, with_spot
from studies.small_fusion import SmallFusion
from tsfmicro_lab.explain import where_how


def test_the_same_spot_lies_where_the_table_says_on_balanced_classes():
    drawn = close_ups(2, 6, seed=1)
    samples = drawn.samples
    assert samples.label.bincount().tolist() == [4] * len(PLACES)
    spots = (samples.apex - samples.onset.float()).numpy()
    assert np.ptp(spots.max((1, 2, 3))) < 0.1 * BRIGHT, "all spots are alike"
    for spot, moved, row in zip(spots, drawn.moved, samples.table.itertuples(), strict=True):
        y, x = np.unravel_index(spot[0].argmax(), spot[0].shape)
        assert (x, y) == pytest.approx((row.x, row.y), abs=0.6)
        assert min(row.x, row.y) >= EDGE
        assert max(row.x, row.y) < SIDE - EDGE
        assert moved[y, x]
    again = close_ups(2, 6, seed=1).samples
    assert torch.equal(again.apex, samples.apex)
    assert not torch.equal(close_ups(2, 6, seed=2).samples.apex, samples.apex)


def test_a_counterfactual_spot_is_the_clips_own_where_it_lay():
    samples = close_ups(1, 3).samples
    row = samples.table.iloc[0]
    own = SpotNet.from_preset().inputs_of(samples, [0])
    moved = with_spot(samples.onset[0], row.x, row.y)
    assert all(torch.allclose(own[name], moved[name], atol=1e-4) for name in own)


@pytest.mark.parametrize("kind", [SpotNet, SmallFusion])
def test_both_streams_reach_the_answer_and_the_maps_add_up(kind):
    torch.manual_seed(0)
    model = kind.from_preset().eval()
    maps = where_how(model, {name: torch.rand(3, SIDE, SIDE) for name in model.input_names}, 0, steps=256)
    assert all(np.abs(heat).sum() > 0 for heat in maps.values())
    assert maps.completeness_error < 0.05
