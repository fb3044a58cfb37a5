import json
import resource
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from tsfmicro_lab.data import SyntheticMicroExpressions, prepare
from tsfmicro_lab.models import MODELS, TSFmicro, create_model, from_pretrained, list_models
from tsfmicro_lab.models.base import MEAN, STD
from tsfmicro_lab.models.tsfmicro import TSFmicroConfig
from tsfmicro_lab.models.vit import SelfAttention, ThumbnailViT, TransformerBlock
from tsfmicro_lab.preprocess import align_clip

#: Every model of the library in the sizes that are quick; the ideas of studies are models as well, once imported.
OURS = {name: model for name, model in MODELS.items() if model.__module__.startswith("tsfmicro_lab.")}
SMALL = [(name, preset) for name, model in OURS.items() for preset in ("tiny", "small") if preset in model.presets]


def inputs(model, batch=2):
    return [torch.randn(batch, *shape) for shape in model.input_shapes.values()]


@pytest.mark.parametrize(("name", "preset"), SMALL)
@pytest.mark.parametrize("classes", [2, 7])
def test_every_model_gives_logits_and_every_weight_learns(name, preset, classes):
    chance = {"drop_path", "dropout"} & vars(create_model(name).config).keys()  # what it drops does not learn
    model = create_model(name, classes, preset, **dict.fromkeys(chance, 0.0))
    logits = model(*inputs(model))
    assert logits.shape == (2, classes)
    logits.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    still = {n for n, p in model.named_parameters() if not p.grad.any()}
    # HTNet adds one number to all channels of a token; in its last level every norm subtracts that, up to rounding
    assert still <= ({f"levels.{len(model.config.depths) - 1}.position"} if name == "htnet" else set())


def test_the_last_grid_is_fourteen_in_every_preset():
    assert [create_model("tsfmicro_spatial", 2, p).config.grid for p in TSFmicro.presets] == [14, 14, 14]


def test_base_has_the_papers_size():
    assert sum(p.numel() for p in create_model("tsfmicro_late", 5, "base").parameters()) == 12_789_413


@torch.no_grad()
def test_late_fusion_is_the_sum_of_its_branches():
    late = create_model("tsfmicro_late", 3, seed=1).eval()
    temporal, spatial = (create_model(f"tsfmicro_{b}", 3, seed=2).eval() for b in ("temporal", "spatial"))
    for part in (temporal, spatial):
        part.load_state_dict({k: v for k, v in late.state_dict().items() if k in part.state_dict()})
    onset, difference = inputs(late)
    how, where = temporal.temporal(temporal.stem(difference)), spatial.spatial(onset)
    assert torch.allclose(late(onset, difference), late.classifier(how + where))
    assert not torch.allclose(late(onset, difference), temporal(difference))


@torch.no_grad()
def test_a_sample_is_judged_by_itself_in_evaluation():
    model = create_model("tsfmicro_late", 3, seed=1).eval()
    onset, difference = inputs(model, 4)
    assert torch.allclose(model(onset, difference)[1:2], model(onset[1:2], difference[1:2]), atol=1e-5)


def test_a_seed_gives_the_same_weights_and_leaves_the_global_state():
    torch.manual_seed(5)
    before = torch.rand(1)
    torch.manual_seed(5)
    first, again, other = (create_model("tsfmicro_late", seed=s).state_dict() for s in (1, 1, 2))
    assert torch.rand(1) == before
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert any(not torch.equal(first[k], other[k]) for k in first)


@torch.no_grad()
def test_attention_equals_the_textbook():
    layer, x = SelfAttention(8, 2), torch.randn(3, 5, 8)
    q, k, v = layer.qkv(x).chunk(3, -1)
    heads = []
    for h in range(2):
        part = slice(4 * h, 4 * h + 4)
        weights = (q[..., part] @ k[..., part].mT / 2).softmax(-1)
        heads.append(weights @ v[..., part])
    assert torch.allclose(layer(x), layer.proj(torch.cat(heads, -1)), atol=1e-6)
    block = TransformerBlock(8, 2)
    y = x + block.attention(F.layer_norm(x, (8,), eps=1e-6))
    assert torch.allclose(block(x), y + block.mlp(F.layer_norm(y, (8,), eps=1e-6)), atol=1e-5)


@torch.no_grad()
def test_the_thumbnail_hides_what_is_fine():
    """A checkerboard of single pixels cannot reach the spatial branch; a shift of the face can."""
    branch = ThumbnailViT(14, 32, 2, 4).eval()
    face = torch.rand(1, 3, 14, 14).repeat_interleave(16, -1).repeat_interleave(16, -2)
    board = 0.5 * (-1.0) ** (torch.arange(224)[:, None] + torch.arange(224))
    plain = branch(face)
    assert (branch(face + board) - plain).abs().max() < 0.02 * (branch(face.roll(16, -1)) - plain).abs().max()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: create_model("tsfmicro_middle"), "unknown model 'tsfmicro_middle': choose from tsfmicro_late"),
        (lambda: create_model("tsfmicro_late", 3, "huge"), "unknown preset 'huge': choose from base, small, tiny"),
        (lambda: create_model("tsfmicro_late", 3, width=3), r"unknown settings \['width'\]"),
        (lambda: TSFmicro(TSFmicroConfig()), "TSFmicro is no model by itself: use create_model"),
    ],
)
def test_wrong_names_are_answered_with_the_right_ones(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (
            [torch.zeros(1, 3, 56, 56)],
            "TSFmicroLate reads onset and difference, but 'difference' is missing: call it as",
        ),
        ([torch.zeros(1, 3, 56, 56)] * 3, "reads onset and difference, but more tensors are given"),
        (
            [torch.zeros(1, 3, 64, 64)] * 2,
            r"'onset' must be .*3, 56, 56\), got torch.float32 \(1, 3, 64, 64\): .* 56 px",
        ),
        ([torch.zeros(1, 1, 56, 56)] * 2, r"'onset' must be .*\(1, 1, 56, 56\)"),
        ([torch.zeros(3, 56, 56)] * 2, r"'onset' must be .*, got torch.float32 \(3, 56, 56\)"),
        ([torch.zeros(1, 3, 56, 56, dtype=torch.uint8)] * 2, "normalised floating-point numbers .*, got torch.uint8"),
    ],
)
def test_wrong_inputs_are_named(tensors, message):
    with pytest.raises(ValueError, match=message):
        create_model("tsfmicro_late")(*tensors)


@pytest.mark.parametrize(
    ("positional", "names", "message"),
    [
        ([], ["onset"], "'difference' is missing"),
        ([], ["apex"], "'onset' is missing, 'difference' is missing, 'apex' is superfluous"),
        ([], ["onset", "difference", "flow"], "'flow' is superfluous: call it as"),
        (["onset"], ["onset", "difference"], "more tensors are given"),
    ],
)
def test_inputs_missing_and_superfluous_are_named(positional, names, message):
    x = torch.zeros(1, 3, 56, 56)
    with pytest.raises(ValueError, match=f"TSFmicroLate reads onset and difference, but {message}"):
        create_model("tsfmicro_late")(*[x for _ in positional], **dict.fromkeys(names, x))


def test_the_table_of_models_tells_what_each_is():
    table = list_models()
    assert list(table.index) == list(MODELS)
    assert table.idea.str.endswith(".").all()
    assert table.idea.is_unique
    assert table.year.between(2018, 2026).all()
    assert set(table.index[table.checked]) == {
        *("tsfmicro_late", "tsfmicro_early", "mmnet", "slstt_mean", "htnet", "ststnet")
    }, "those whose logits a test compares"


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_a_model_answers_by_name_by_position_and_for_clips(name):
    model, data = create_model(name, 5, seed=0).eval(), SyntheticMicroExpressions(2, 2, image_size=96, seed=3)
    samples = prepare(data, model.config.image_size, tensors=model.prepared, progress=False)
    inputs = model.inputs(samples.pick(torch.arange(3), model.prepared))
    assert tuple(inputs) == model.input_names == tuple(model.input_shapes)
    logits = model(**inputs)
    assert torch.equal(logits, model(*inputs.values()))
    assert torch.allclose(model.train().logits(samples, [0, 1, 2], batch_size=2), logits, atol=1e-5)
    assert not model.training
    assert torch.allclose(model.logits(data[1]), logits[1:2], atol=1e-5), "a clip is prepared as samples are"
    assert model.logits(samples).shape == (len(samples), 5)
    assert model.loss(samples.label[:3], **inputs).isfinite()


def test_an_aligned_clip_is_answered_as_the_clip_that_was_recorded(data):
    model = create_model("tsfmicro_late", 5, seed=0)
    assert torch.allclose(model.logits(align_clip(data[0], 56)), model.logits(data[0]), atol=1e-4)


def test_samples_without_what_a_model_reads_are_refused(samples):
    with pytest.raises(ValueError, match=r"the samples hold onset, apex, but no 'landmarks': prepare"):
        create_model("frl_dgt").logits(samples)


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_the_baseline_moves_nothing_and_leaves_auxiliary_inputs(name):
    model = create_model(name, 5, imagenet=True) if "slstt" in name else create_model(name)
    drawn = dict(zip(model.input_names, inputs(model), strict=True))
    baseline = model.baseline(drawn)
    for key, x in baseline.items():
        assert x.shape == drawn[key].shape
        black = -torch.tensor(MEAN) / torch.tensor(STD) if "slstt" in name else torch.zeros(())
        expected = drawn[key] if key in model.auxiliary_names else black.view(-1, 1, 1).expand_as(x)
        assert torch.allclose(x, expected)


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_a_saved_model_comes_back(name, tmp_path):
    settings = {"frl_dgt": {"fusion": "after"}, "slstt_mean": {"scale": "frame"}, "slstt_lstm": {"flow": "short"}}
    model = create_model(name, 4, seed=3, **{"dims": (16, 24)} if "tsfmicro" in name else settings.get(name, {})).eval()
    model.save_pretrained(tmp_path)
    again = from_pretrained(tmp_path)
    assert type(again) is type(model)
    assert again.config == model.config
    assert not again.training
    x = inputs(model)
    assert torch.equal(model(*x), again(*x))


def test_weights_that_do_not_fit_are_refused(tmp_path):
    create_model("tsfmicro_late", 4).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_classes": 5}))
    with pytest.raises(ValueError, match=r"config\.json.*\n  classifier\.head\.bias is \(4,\), expected \(5,\)"):
        from_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file({k: v for k, v in weights.items() if "stem" not in k}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="do not fit"):
        from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"no weights can be read from .*model\.safetensors .*: give a whole"):
        from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("tsfmicro_late", "depths", [10**9, 1]),
        ("tsfmicro_late", "init_std", 0),
        ("tsfmicro_late", "spatial_depth", 10**30),
        ("tsfmicro_late", "heads", 0),
        ("tsfmicro_late", "dims", [16, 24] * 1000),
        ("tsfmicro_temporal", "image_size", 4096),  # a table of all pairs of its tokens fits nowhere
        ("mmnet", "image_size", 10**6),
        ("slstt_mean", "temperature", 0),
    ],
)
def test_a_configuration_cannot_ask_for_all_memory(name, setting, value, tmp_path):
    create_model(name, 4).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert setting in config
    (tmp_path / "config.json").write_text(json.dumps({**config, setting: value}))
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**29, limits[1]))
    try:
        with pytest.raises(ValueError, match=r"holds no model of this lab \(.+\): give a folder"):
            from_pretrained(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"holds no model of this lab .*give a folder of save_pretrained"):
        from_pretrained(tmp_path)
