import numpy as np
import pytest
import torch
from toy_models import Linear

from studies.sanity import cascade, mark_region, plant, sensitivity, shifted, similarity
from tsfmicro_lab.explain import WhereHow, where_how
from tsfmicro_lab.models import create_model
from tsfmicro_lab.training import Recipe, fit, predict


def pair(where, how):
    return WhereHow({"onset": where, "difference": how}, 0, "x")


@pytest.mark.parametrize("name", ["late", "early", "t2s", "s2t"])
def test_the_cascade_ends_with_a_fresh_model_and_leaves_the_trained_one(name):
    model = create_model(f"tsfmicro_{name}", 3, seed=1).eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    parts, models = zip(*cascade(model, seed=7), strict=True)
    assert parts[0] == "classifier"
    assert len(set(parts)) == len(parts)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    changed = [sum(not torch.equal(v, before[k]) for k, v in m.state_dict().items()) for m in models]
    assert changed == sorted(changed)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        fresh = type(model)(model.config).state_dict()
    assert all(torch.equal(value, fresh[key]) for key, value in models[-1].state_dict().items())
    assert torch.equal(models[0].state_dict()["stem.0.weight"], before["stem.0.weight"])


def test_similarity_follows_ranks_not_units():
    rng = np.random.default_rng(0)
    where, how = rng.normal(size=(2, 20, 20))
    first = pair(where, how)
    assert similarity(first, pair(3 * where, -(how**3))) == pytest.approx(1)
    assert abs(similarity(first, pair(*rng.normal(size=(2, 20, 20))))) < 0.2


def test_slopes_do_not_mind_a_shift_and_products_do():
    model = create_model("tsfmicro_late", 3, seed=0).eval()
    x = {name: torch.randn(1, 3, 56, 56) for name in model.input_names}
    moved = {"onset": x["onset"] + 1.0, "difference": x["difference"] + 0.5}
    other = shifted(model)
    assert torch.allclose(other(*moved.values()), model(*x.values()), atol=1e-5)
    for method, stays in (("saliency", True), ("token Grad-CAM", True), ("input × gradient", False)):
        pairs = where_how(model, x, 0, method), where_how(other, moved, 0, method)
        assert (similarity(*pairs) > 0.99) == stays


def test_the_mark_is_on_one_class_in_both_frames_and_nothing_moves_there(samples):
    planted, label = plant(samples, "disgust"), samples.classes.index("disgust")
    region = torch.from_numpy(mark_region(56))
    for before, after in ((samples.onset, planted.onset), (samples.apex, planted.apex)):
        bears = (after != before).flatten(1).any(1)
        assert set(samples.label[bears].tolist()) == {label}
        assert torch.equal(after[..., ~region], before[..., ~region])
    own = planted.label == label
    assert torch.equal(planted.onset[own][..., region], planted.apex[own][..., region])
    with pytest.raises(ValueError, match="'anger' is none of the classes: choose from disgust"):
        plant(samples, "anger")


def test_a_model_with_nothing_else_to_learn_takes_the_shortcut_and_the_where_map_shows_it(samples):
    still = samples.with_tensors(apex=samples.onset)  # nobody moves
    planted, label = plant(still, "disgust"), samples.classes.index("disgust")
    train, test = (np.flatnonzero((samples.subjects == "sub04") == held) for held in (False, True))
    model = create_model("tsfmicro_late", len(samples.classes), seed=1)
    fit(model, planted, train, Recipe(epochs=24, lr=4e-3, decay=0.98, schedule="exponential"))
    own = samples.label.numpy()[test] == label
    p = predict(model, planted, test)[:, label]
    assert p[own].min() > p[~own].max()
    from tsfmicro_lab.training import to_inputs

    i = int(test[own][0])
    maps = where_how(model, to_inputs(planted.onset[[i]], planted.apex[[i]]), label)
    region = mark_region(56)
    assert np.abs(maps["onset"])[region].mean() > 3 * np.abs(maps["onset"])[~region].mean()


def test_sensitivity_is_that_of_the_maps():
    model = Linear.from_preset("tiny").eval()
    x = {name: torch.randn(1, 3, 56, 56) for name in model.input_names}
    assert sensitivity(lambda s: where_how(model, s, 0, "saliency"), x) < 1e-6, "a linear slope is the same everywhere"
    little, more = (sensitivity(lambda s: where_how(model, s, 0, "input × gradient"), x, radius=r) for r in (0.02, 0.2))
    assert 0 < 5 * little < more
