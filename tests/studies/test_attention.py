"""Retention one term less, the largest tensor, the pattern that a thumbnail hides, the table of the needed onset."""

import numpy as np
import pytest
import torch

from studies.attention import TERMS, largest_tensor, share_elsewhere, weights_figure, without_terms
from studies.hidden_pattern import accuracy, exclusive_or, hidden_stripes, learn
from studies.where_needed import where_needed, where_needed_chart
from tsfmicro_lab.models import create_model
from tsfmicro_lab.models.retention import ManhattanRetention
from tsfmicro_lab.models.vit import Thumbnail


@pytest.mark.parametrize("term", TERMS)
def test_each_term_changes_the_answer_of_a_layer(term):
    layer, x = ManhattanRetention(8, heads=2, grid=4), 3 * torch.randn(2, 4, 4, 8)
    assert torch.allclose(without_terms(layer, x), layer(x), atol=1e-5)
    assert not torch.allclose(without_terms(layer, x, [term]), layer(x), atol=1e-4)


def test_the_papers_order_equals_the_codes_without_decay():
    layer, x = ManhattanRetention(8, heads=2, grid=4), torch.randn(2, 4, 4, 8)
    layer.set_decay(torch.ones(2))
    assert torch.allclose(without_terms(layer, x, order="after"), layer(x), atol=1e-5)


def test_the_largest_tensor_is_that_of_all_pairs():
    q = torch.randn(30, 2)
    assert largest_tensor(lambda x: (x @ x.T).sum(), q) == 900
    assert largest_tensor(lambda x: x + 1, q) == 60


def test_weight_lies_elsewhere_in_whole_or_not_at_all():
    assert share_elsewhere(torch.eye(3), torch.eye(3)) == 0
    assert share_elsewhere(torch.eye(2), torch.eye(2).flip(0)) == 1


def test_maps_share_one_scale():
    figure = weights_figure({"face": np.zeros((56, 56, 3)), "a": torch.ones(14, 14), "b": torch.eye(14)}, (2, 3))
    assert [image.get_clim() for axis in figure.axes[1:3] for image in axis.images] == [(0, 1), (0, 1)]


@pytest.mark.parametrize("size", [56, 112])
def test_no_thumbnail_shows_the_stripes_either_way(size):
    stripes = hidden_stripes(Thumbnail(14), size)
    for picture in (stripes, stripes.T):
        assert Thumbnail(14)(picture.expand(1, 3, size, size).contiguous()).abs().max() < 1e-5
    assert stripes.std() > 0.9


def test_neither_frame_alone_tells_the_class():
    onset, difference, label = exclusive_or(hidden_stripes(Thumbnail(14), 56), 400, torch.Generator().manual_seed(0))
    level, bright = (onset[:, 0, 0] == onset[:, 0, 0, :1]).all(1), difference.sum((1, 2, 3)) > 0
    assert torch.equal(level ^ bright, label.bool())
    for alone in (level, bright):
        assert abs(float((alone == label.bool()).float().mean()) - 0.5) < 0.1


def test_what_reads_a_thumbnail_is_right_as_often_as_a_coin():
    model, generator = create_model("tsfmicro_late", 2, seed=0), torch.Generator().manual_seed(0)
    batch = exclusive_or(hidden_stripes(Thumbnail(14), 56), 100, generator)
    assert abs(accuracy(model, batch) - 0.5) < 0.2


def test_the_needed_onset_as_a_table_and_a_chart():
    table = where_needed()
    assert {*table.motion} == {"difference of frames", "optical flow"}
    assert (table.low <= table.uf1).all()
    assert len(where_needed_chart(table).data) == 2


def test_the_same_seed_learns_the_same_whatever_was_drawn_before():
    """Stems drop features while they learn, by torch's own random state."""
    stripes = hidden_stripes(create_model("tsfmicro_late").spatial.thumbnail, 56)

    def losses(seed):
        generator = torch.Generator().manual_seed(0)
        model = create_model("tsfmicro_early", 2, seed=0)
        return learn(model, lambda number: exclusive_or(stripes, number, generator), 3, seed=seed)

    before = losses(0)
    torch.rand(1)
    state = torch.get_rng_state()
    assert losses(0) == before != losses(1)
    assert torch.equal(torch.get_rng_state(), state)
