"""Ours against the plain way, in one run: `make bench`. Without it each runs once and must give the same numbers."""

import copy
import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from measure import docs_table
from plain import encoded_clips, plain_loader, plain_of
from stacked import single_step, stacked_step, without_draws

from studies.speed import runner
from tsfmicro_lab.data import Samples
from tsfmicro_lab.models import create_model
from tsfmicro_lab.training.augmentation import Augmentation

ROOT = Path(__file__).parents[2]
STORED = ROOT / "notebooks" / "results" / "speed_cpu.json"
TABLE = pd.DataFrame({"subject": ["s"] * 16})
WAYS = ["plain", "ours"]


def pair(preset, **settings):
    model = create_model("tsfmicro_late", 5, preset, seed=0, drop_path=0.0, **settings)
    side = model.config.image_size
    return model, plain_of(model), [torch.randn(2, 3, side, side) for _ in range(2)]


def test_the_page_on_scaling_tells_what_is_stored():
    page = (ROOT / "docs" / "scaling.md").read_text()
    assert docs_table([path for path in (STORED, STORED.with_name("speed_gpu.json")) if path.exists()]) in page
    content, text = json.loads(STORED.read_text()), " ".join(page.split())
    steps = [r for r in content["models"] if (r["preset"], r["what"]) == ("base", "training step")]
    share = {r["way"]: f"{100 * r['of_gemm']:.0f} %" for r in steps}
    assert f"At base size *plain* reaches {share['plain float32']} of this rate, ours {share['float32']}" in text
    rates = [
        r["gflops"] / r["of_gemm"] for name in ("models", "scaling") for r in content[name] if "bf16" not in str(r)
    ]
    assert f"and {max(rates):.0f} · 10⁹ operations" in text
    assert f"on the device come {content['data'][0]['ratio']:.0f} times as fast" in text
    assert f"30 epochs, takes {content['protocol'][0]['seconds']:.0f} s in two processes" in text
    assert f"within {max(r['weights_apart_after_a_step'] for r in content['stacked']):.0e}".replace("e-0", "e-") in text


@pytest.mark.parametrize("preset", ["tiny", "small"])
def test_the_plain_twin_gives_the_same_logits_and_gradients(preset):
    ours, plain, x = pair(preset)
    for train in (False, True):
        logits, expected = ours.train(train)(*x), plain.train(train)(*x)
        assert torch.allclose(logits, expected, atol=1e-5 * float(expected.detach().abs().max()))
    logits.square().sum().backward()
    expected.square().sum().backward()
    gradients = {name: p.grad for name, p in plain.named_parameters()}
    largest = max(float(g.abs().max()) for g in gradients.values())
    assert all(torch.allclose(p.grad, gradients[n], atol=1e-4 * largest) for n, p in ours.named_parameters())


@pytest.mark.parametrize("what", ["forward pass", "training step"])
@pytest.mark.parametrize("preset", ["tiny", "small"])
@pytest.mark.parametrize("way", WAYS)
def test_model(benchmark, preset, what, way):
    benchmark.group = f"{what}, {preset}"
    ours, plain, x = pair(preset)
    train = what == "training step"
    benchmark(runner(plain if way == "plain" else ours, x, train=train, fused=way == "ours"))


@pytest.mark.benchmark(group="a batch of 16 clips to train on, 112 px")
@pytest.mark.parametrize("way", WAYS)
def test_data_path(benchmark, way):
    if way == "plain":
        loader = plain_loader(encoded_clips(16, 61, 112), [0] * 16, 112, 16)
        onset, difference, _ = benchmark(lambda: next(iter(loader)))
    else:
        frames = torch.randint(0, 256, (2, 16, 3, 112, 112), dtype=torch.uint8)
        samples = Samples({"onset": frames[0], "apex": frames[1]}, torch.zeros(16, dtype=torch.long), ("a",), TABLE)
        augment, rows = Augmentation(112), torch.arange(16)
        inputs = create_model("tsfmicro_late").inputs
        onset, difference = benchmark(lambda: inputs(augment(samples.pick(rows)))).values()
    assert onset.shape == difference.shape == (16, 3, 112, 112)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_stacked_folds_take_the_same_step():
    models = [without_draws(create_model("tsfmicro_late", 5, seed=seed, dims=(8, 24))) for seed in range(3)]
    onset, difference = torch.randn(2, 3, 4, 3, 56, 56)
    label = torch.arange(12).view(3, 4) % 5
    step, weights, buffers = stacked_step([copy.deepcopy(model) for model in models])
    losses = step(onset, difference, label)
    for i, model in enumerate(models):
        assert single_step(model)(onset[i], difference[i], label[i]) == pytest.approx(float(losses[i]), abs=1e-5)
        assert all(torch.allclose(weights[name][i], p, atol=1e-6) for name, p in model.named_parameters())
        running = model.classifier.norm.running_mean
        assert torch.allclose(buffers["classifier.norm.running_mean"][i], running, atol=1e-6)
