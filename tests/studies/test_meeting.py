"""Where streams meet: what is exactly nothing by derivatives is nothing if one looks."""

import pytest
import torch

from studies.meeting import five_variants, meeting, meeting_figure, meeting_table
from tsfmicro_lab.explain.streams import fuse_of, inputs_seen


@pytest.fixture(scope="module")
def models():
    return five_variants()


@pytest.mark.parametrize("name", ["early", "t2s before", "s2t"])
def test_what_is_not_seen_does_not_act(models, name):
    model = models[name].eval()
    seen = torch.from_numpy(meeting(model).seen > 0)
    onset, difference = torch.randn(2, 1, 3, 56, 56)
    with torch.no_grad():
        where = []
        for frame in (onset, torch.where(seen, onset, onset + 1)):
            with inputs_seen(fuse_of(model)) as given:
                model(onset=frame, difference=difference)
            x = given[fuse_of(model)][1]
            x = x if x.ndim == 4 else x.mT.unflatten(-1, (14, 14))
            where.append(x[0, :, x.shape[-1] // 2, x.shape[-1] // 2])
    torch.testing.assert_close(*where, atol=1e-6, rtol=0)


def test_only_s2t_has_seen_all_and_combines_all(models):
    table = meeting_table(models).set_index("variant")
    both = table[["onset frame seen", "positions combined"]].min(axis=1)
    assert both["s2t"] == 1 > 0.1 > both.drop("s2t").max()
    assert dict(table.grid) == {"early": 28, "t2s before": 14, "t2s after": 14, "s2t": 28, "late": 14}
    assert len(meeting_figure({"late": models["late"]}).axes) == 3
