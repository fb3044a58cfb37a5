"""Checks of ps3: a fusion module of one's own, put into late fusion, and compared with it on equal terms."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from tsfmicro_lab.data import Samples
from tsfmicro_lab.models import create_model
from tsfmicro_lab.models.tsfmicro import TSFmicro, TSFmicroConfig
from tsfmicro_lab.training import Recipe

from checking import check, compare, expect


@check
def check_fusion(fusion: Callable[[int], nn.Module], seed: int = 0) -> None:
    """The module joins two maps, hears both, learns, and treats every sample by itself.

    Args:
        fusion: Class of the module; `fusion(dim)(how, where)`, (B, dim, g, g) twice → (B, dim, g, g).
        seed: Of the maps that are tried.
    """
    torch.manual_seed(seed)
    for batch, dim, grid in ((2, 8, 5), (3, 16, 7), (2, 24, 14)):
        module = fusion(dim).eval()
        how, where = (torch.randn(batch, dim, grid, grid, requires_grad=True) for _ in range(2))
        kept = how.detach().clone(), where.detach().clone()
        out = module(how, where)
        expect(
            out.shape == how.shape,
            f"the classifier reads {tuple(how.shape)}, the module gave {tuple(out.shape)}: streams that are "
            "concatenated need a projection back to dim channels",
        )
        expect(torch.isfinite(out).all(), "the output holds NaN or infinity")
        unchanged = torch.equal(how, kept[0]) and torch.equal(where, kept[1])
        expect(unchanged, "the inputs were changed in place: `x = x + …` makes a new tensor, `x += …` does not")
        expect(
            torch.equal(out, module(how, where)),
            "the same input gives another output each time: create layers in __init__, not in forward, and switch off "
            "dropout in eval mode",
        )
        learnt = list(module.parameters())
        expect(
            learnt, "it has no parameters to learn: layers kept in a plain list are not registered, use nn.ModuleList"
        )
        out.square().sum().backward()
        for name, stream in (("how", how), ("where", where)):
            silent = stream.grad is None or not stream.grad.abs().sum() > 0
            expect(not silent, f"no gradient reaches '{name}': the fusion does not hear it (detach, zero or left out?)")
        reached = [p for p in learnt if p.grad is not None and p.grad.abs().sum() > 0]
        expect(reached, "no parameter gets a gradient: does forward use the layers of __init__?")
        alone = torch.cat([module(how[i : i + 1], where[i : i + 1]) for i in range(batch)])
        expect(
            torch.allclose(alone, out, atol=1e-4),
            "a sample's output depends on who else is in the batch: attention and softmax run over places or channels, "
            "never over dim 0",
        )


@check
def check_model(build: Callable[..., TSFmicro], fusion: type[nn.Module], seed: int = 0) -> None:
    """It is late fusion but for the one part, from the same first weights.

    Args:
        build: `build(num_classes, seed)` → the model.
        fusion: Class of the fusion module.
        seed: Of the weights that are tried.
    """
    for classes in (3, 5):
        model, late = build(classes, seed + classes), create_model("tsfmicro_late", classes, seed=seed + classes)
        expect(model.input_names == late.input_names, "start from create_model('tsfmicro_late', …)")
        expect(isinstance(model.fuse, fusion), "the model still adds: put your module at model.fuse")
        here, there = ({n: t for n, t in m.state_dict().items() if not n.startswith("fuse.")} for m in (model, late))
        expect(here.keys() == there.keys(), "all other parts must be those of late fusion, in the tiny preset")
        expect(all(here[n].shape == t.shape for n, t in there.items()), f"it must tell {classes} classes apart")
        expect(
            all(torch.equal(here[n], t) for n, t in there.items()),
            "the other weights differ from those of late fusion with this seed: pass the seed on to create_model, or "
            "luck of the draw is compared as well",
        )
        again = build(classes, seed + classes).get_submodule("fuse").state_dict()
        same = all(torch.equal(again[n], t) for n, t in model.get_submodule("fuse").state_dict().items())
        expect(
            same, "the same seed gives other fusion weights: call torch.manual_seed(seed) before you create the module"
        )


class Probe(TSFmicro):
    """A tiny model that writes down whom it was trained on; people are told by the grey of their frames."""

    name, input_names = "probe", ("onset",)

    def __init__(self, name: str, seed: int, diary: list[dict[str, Any]]) -> None:
        super().__init__(TSFmicroConfig(2, image_size=8))
        self.layer = nn.Linear(3, 2)
        self.apply(self._init_weights)
        self.page: dict[str, Any] = {"model": name, "seed": seed, "seen": set(), "steps": 0}
        diary.append(self.page)

    def forward(self, onset: Tensor) -> Tensor:
        """Logits from the mean colour."""
        mean = onset.mean((2, 3))
        people = {round(v) for v in ((mean[:, 0] * 0.229 + 0.485) * 255 / 20).tolist()}
        if self.training:
            self.page["seen"] |= people
            self.page["steps"] += 1
        elif people & self.page["seen"]:
            self.page["leak"] = True
        logits: Tensor = self.layer(mean)
        return logits


@check
def check_comparison(run: Callable[..., pd.DataFrame], seed: int = 0) -> None:
    """Both models get the same folds, seeds and epochs, start fresh in each, and never see who is tested.

    Args:
        run: `run(samples, models, recipe, seeds)` → one row per model, seed and clip: model, seed, subject, clip,
            onset, truth, predicted; `models` maps a name to `build(num_classes, seed)`.
        seed: Of the samples that are tried.
    """
    people, clips = 4, 3
    grey = torch.arange(people).repeat_interleave(clips)[:, None, None, None] * 20 + 40
    frames = grey.expand(-1, 3, 8, 8).to(torch.uint8).contiguous()
    label = torch.from_numpy(
        np.random.default_rng(seed).permuted(np.tile([0, 1, 1], people).reshape(people, 3), axis=1)
    )
    rows = [{"subject": f"s{i // clips}", "clip": f"c{i % clips}", "onset": 0} for i in range(people * clips)]
    samples = Samples({"onset": frames, "apex": frames.clone()}, label.flatten(), ("a", "b"), pd.DataFrame(rows))
    diary: list[dict[str, Any]] = []
    seeds = [seed + 5, seed + 6]
    models: Mapping[str, Any] = {n: lambda _, s, n=n: Probe(n, s, diary) for n in ("late", "mine")}  # type: ignore[misc]
    table = run(samples, models, Recipe(epochs=3, batch_size=4), seeds)
    expect(isinstance(table, pd.DataFrame), "return one DataFrame")
    missing = {"model", "seed", "subject", "clip", "onset", "truth", "predicted"} - set(table)
    expect(not missing, f"columns are missing: {sorted(missing)}")
    trained = [page for page in diary if page["steps"]]
    expect(
        len(trained) == 2 * len(seeds) * people,
        f"{len(trained)} models were trained for 2 models, {len(seeds)} seeds and {people} folds: build a fresh one "
        "for every model, seed and fold, or it still knows the person whom it is tested on",
    )
    everybody = max(len(page["seen"]) for page in trained) == people
    expect(not everybody, "a model was trained on every subject, the tested one among them: train on fold.train alone")
    expect(not any("leak" in page for page in trained), "a model is tested on people whom it was trained on")
    steps = {name: {page["steps"] for page in trained if page["model"] == name} for name in models}
    expect(len(set().union(*steps.values())) == 1, f"the models were not trained for as long: steps {steps}")
    used = {name: sorted({page["seed"] for page in trained if page["model"] == name}) for name in models}
    expect(used["late"] == used["mine"], f"the models were built from other seeds: {used}; use the same for both")
    counts = table.groupby(["model", "seed"]).size()
    whole = len(counts) == 4 and set(counts) == {people * clips}
    expect(whole, f"every model and seed needs all {people * clips} clips, none chosen: got {counts.to_dict()}")
    named = dict(
        zip(zip(samples.table.subject, samples.table["clip"], strict=True), label.flatten().tolist(), strict=True)
    )
    truth = [samples.classes[named[key]] for key in zip(table.subject, table["clip"], strict=True)]
    compare(table.truth.map(samples.classes.index), [samples.classes.index(t) for t in truth], {}, "the column truth")
