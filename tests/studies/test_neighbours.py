"""Three ideas of papers whose abstracts alone were read, dynamic images, and LBP-TOP."""

import numpy as np
import pytest
import torch

from studies.compare import SEQUENCES, trials
from studies.dynamic_images import dynamic_image, rank_weights
from studies.floors import FLOORS, lbp_top
from studies.neighbours import IDEAS, family, family_tree, parts
from studies.new_subjects import FLOW, SETTINGS, shrunk
from tsfmicro_lab.clips import Clip, ClipError
from tsfmicro_lab.data import Distractors, SyntheticMicroExpressions, prepare
from tsfmicro_lab.explain import where_how
from tsfmicro_lab.models import create_model, from_pretrained, list_models
from tsfmicro_lab.training import Recipe, Run, cross_validate, fit

NAMES = [model.name for model in IDEAS]


@pytest.fixture(scope="module")
def clips():
    return SyntheticMicroExpressions(3, 5, image_size=96, seed=3, distractors=Distractors.none(), amplitude=(3, 3))


@pytest.fixture(scope="module")
def samples(clips):
    models = [create_model(name) for name in NAMES]
    sizes = {m.config.image_size for m in models}
    wanted = {s: {n for m in models if m.config.image_size == s for n in m.prepared} for s in sizes}
    wanted[28] = {FLOW}  # faster than TV-L1
    return {size: prepare(clips, size, tensors=tuple(names), progress=False) for size, names in wanted.items()}


def small(name):
    return create_model(name, 5, seed=0, **({"flow": "dis"} if name == "expression_proposal" else {}))


@pytest.mark.parametrize("name", NAMES)
def test_an_idea_is_a_model_like_any_other(name, samples, tmp_path):
    model = small(name)
    own = samples[model.config.image_size]
    rows = np.arange(len(own))
    losses = fit(model, own, rows, Recipe(epochs=16), seed=0)
    assert losses[-1] < 0.75 * losses[0]
    inputs = model.inputs_of(own, [0, 1])
    model.zero_grad()
    model.loss(own.label[:2], **inputs).backward()
    assert not [n for n, p in model.named_parameters() if p.grad is None], "every weight is used"
    maps = where_how(model, model.inputs_of(own, [0]), steps=8)
    assert set(maps) == set(model.input_names)
    model.save_pretrained(tmp_path)
    assert torch.equal(from_pretrained(tmp_path)(**inputs), model(**inputs))
    assert "no reproduction, and no score is claimed" in (tmp_path / "README.md").read_text()
    run = Run(name, recipe=Recipe(epochs=1), settings={"flow": "dis"} if model.config.image_size == 28 else {})
    assert len(cross_validate(own, run, progress=False)) == len(own)
    assert not list_models().checked[name]


def test_a_tensor_that_was_not_prepared_is_named(samples):
    with pytest.raises(ValueError, match="but no 'dynamic_time': prepare"):
        small("dynamic_fusion").logits(samples[28])


@pytest.mark.parametrize("count", [1, 3, 5, 8, 40])
def test_rank_weights_are_those_of_the_sum(count):
    by_hand = [sum((2 * t - count - 1) / t for t in range(i, count + 1)) for i in range(1, count + 1)]
    assert np.allclose(rank_weights(count), by_hand)
    assert abs(rank_weights(count).sum()) < 1e-9
    assert np.allclose(rank_weights(count, running_mean=False), [2 * i - count - 1 for i in range(1, count + 1)])


def movie(values, apex):
    frames = [np.full((4, 4, 3), 100 + v, np.uint8) for v in values]
    return Clip("EP01", "sub01", frames, 0, apex, len(frames) - 1)


def test_a_rise_and_fall_pools_to_nothing_in_the_order_of_time():
    up_and_down, up = movie((0, 5, 10, 5, 0), 2), movie((0, 3, 5, 8, 10), 4)
    assert np.allclose(dynamic_image(up_and_down, "time", False), 0)
    assert dynamic_image(up_and_down, "motion", False).mean() > 5
    assert dynamic_image(up, "time", False).mean() > 5
    assert np.allclose(dynamic_image(up, "time"), dynamic_image(up, "motion"))
    assert not dynamic_image(movie((7, 7, 7), 1)).any()


def test_stretching_throws_strength_away():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 20, (6, 6, 3))
    weak, strong = ([np.uint8(100 + k * t * picture) for t in range(4)] for k in (1, 2))
    weak, strong = (Clip("EP01", "sub01", frames, 0, 3, 3) for frames in (weak, strong))
    assert np.allclose(dynamic_image(strong), 2 * dynamic_image(weak), rtol=1e-4)
    stretched = [dynamic_image(clip, stretched=True) for clip in (weak, strong)]
    assert np.allclose(*stretched, atol=0.1)
    assert stretched[0].min() == 0
    assert stretched[0].max() == pytest.approx(255)


def test_one_frame_is_no_sequence():
    with pytest.raises(ClipError, match="sub01/EP01 has one frame from onset to offset where a sequence is needed"):
        dynamic_image(Clip("EP01", "sub01", [np.zeros((4, 4, 3), np.uint8)] * 2, 0, 0, 0))


def test_adaptive_weights_sum_to_one_and_answer_to_both(samples):
    model = small("dynamic_fusion").eval()
    inputs = model.inputs_of(samples[56])
    weights = model.weights(**inputs)
    assert torch.allclose(weights.sum(1), torch.ones(len(weights)))
    for name in inputs:
        assert not torch.allclose(model.weights(**{**inputs, name: 3 * inputs[name]}), weights)


def test_proposals_look_at_places_and_answer_their_own_question(samples):
    model = small("expression_proposal")
    inputs = model.inputs_of(samples[28])
    where, proposals = model.attended(**inputs)
    assert where.shape == (15, 5, 14, 14)
    assert torch.allclose(where.sum((2, 3)), torch.ones(15, 5), atol=1e-5)
    label = samples[28].label
    both, alone = model.loss(label, **inputs), torch.nn.functional.cross_entropy(model(**inputs), label)
    asked = torch.nn.functional.one_hot(label, 5).float()
    own = torch.nn.functional.binary_cross_entropy_with_logits(model.questions(proposals), asked)
    assert torch.allclose(both, alone + own, atol=1e-5)


def test_the_family_is_read_off_the_code():
    table = family()
    assert table.after["tsfmicro_late"] == "mmnet", "whose where-branch and fusion it took over"
    assert {"ThumbnailViT", "StreamSum"} <= {*table.shared["tsfmicro_late"].split(", ")}
    assert table.after["htnet"] == "ststnet", "whose flow it reads"
    assert table.after["dynamic_fusion"] == ""
    assert "AttendedBlock" in parts("dual_branch") & parts("mmnet")
    assert "ManhattanRetention" not in parts("mmnet")
    for name, row in table.iterrows():
        assert not row.after or table.year[row.after] <= row.year, name
    assert family_tree(table)._repr_png_()


def test_lbp_top_counts_patterns_in_three_planes():
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (3, 11, 3, 16, 16), dtype=np.uint8)
    shares = lbp_top(frames, cells=2)
    assert shares.shape == (3, 3 * 16 * 4)
    assert np.allclose(shares.reshape(3, 3, 16, 4).sum(2), 1), "in each plane and field the patterns are all there is"
    still = np.repeat(frames[:, :1], 11, axis=1)
    planes = lbp_top(still, cells=2).reshape(3, 3, 16, 4)
    assert np.allclose(planes[:, 0], lbp_top(np.repeat(still, 2, 1), cells=2).reshape(3, 3, 16, 4)[:, 0])
    ties = [p for p in range(16) if p & 0b0101 == 0b0101]  # both neighbours in time are as bright
    assert np.allclose(planes[:, 1][:, ties].sum(1), 1)
    assert not np.allclose(shares.reshape(3, 3, 16, 4)[:, 1][:, ties].sum(1), 1)
    brighter = np.clip(frames.astype(int) // 2 + 40, 0, 255).astype(np.uint8)
    assert np.allclose(lbp_top(frames // 2, cells=2), lbp_top(brighter, cells=2)), "how bright it is does not count"


def test_every_neighbour_has_its_row():
    rows = {
        trial.run.label for name in ("clean", "distractors", "needed") for trial in trials(SETTINGS[name], 0, 1, "cpu")
    }
    for name in ("mmnet", "htnet", "ststnet", *NAMES):
        assert any(label.startswith(name) for label in rows), name
    assert {"mmnet", "mmnet temporal=retention"} <= rows
    assert "lbp_top" in FLOORS
    assert SEQUENCES in SETTINGS


def test_landmarks_shrink_with_the_flow(clips):
    large, little = (prepare(clips, size, tensors=("landmarks", FLOW), progress=False) for size in (56, 28))
    assert torch.allclose(shrunk(large, 28)["landmarks"], little["landmarks"], atol=0.3)
