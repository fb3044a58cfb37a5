from dataclasses import replace

import numpy as np
import pytest
import torch

from studies.plots import over_time, when_chart
from tsfmicro_lab.models import create_model


@pytest.fixture(scope="module")
def found(data):
    model = create_model("tsfmicro_late", 3, seed=0).eval()
    return model, data[0], over_time(model, data[0], ["a", "b", "c"])


def test_each_frame_is_taken_for_the_apex(found):
    model, clip, table = found
    frames = range(clip.onset, clip.offset + 1)
    assert table.frame.unique().tolist() == [*frames]
    assert table["class"].tolist() == ["a", "b", "c"] * len(frames)
    at_apex = table[table.frame == clip.apex].logit.to_numpy()
    assert np.allclose(at_apex, model.logits(clip)[0], atol=1e-6)
    assert not np.allclose(at_apex, table[table.frame == clip.onset].logit, atol=1e-5)
    assert np.allclose(table.groupby("frame").probability.sum(), 1)


def test_at_the_onset_nothing_has_moved(found):
    model, clip, table = found
    still = model.inputs_of(replace(clip, apex=clip.onset))
    assert not still["difference"].any()
    with torch.no_grad():
        assert np.allclose(model(**still)[0], table[table.frame == clip.onset].logit, atol=1e-6)


def test_the_chart_has_a_line_for_each_class_and_marks_the_apex(found):
    _, clip, table = found
    chart = when_chart(table, clip.apex)
    assert [t.name for t in chart.data] == ["a", "b", "c"]
    assert list(chart.data[1].y) == table[table["class"] == "b"].probability.tolist()
    assert chart.layout.shapes[0].x0 == clip.apex
