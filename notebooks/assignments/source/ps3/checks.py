"""Checks of ps3: a fusion module of one's own, put into late fusion, and compared with it on equal terms."""

import functools
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from tsfmicro_lab.data import Distractors, Samples, SyntheticMicroExpressions, prepare
from tsfmicro_lab.models import create_model
from tsfmicro_lab.models.tsfmicro import TSFmicro, TSFmicroConfig
from tsfmicro_lab.training import Recipe, fit, leave_one_subject_out, predict, subject_interval

from checking import CheckFailed, call, check, converted, expect

KEYS = ["subject", "clip", "onset"]
COLUMNS = {"model", "seed", *KEYS, "truth", "predicted"}


@check
def check_fusion(
    fusion: Callable[[int], nn.Module],
    seed: int = 0,
    shapes: Sequence[tuple[int, int, int]] = ((2, 8, 5), (3, 16, 7), (2, 24, 14)),
    scale: float = 1.0,
) -> None:
    """The module joins two maps, hears both, learns, and lets pass what hangs on what they say.

    It is asked with other parameters than its first ones, which may be zero.

    Args:
        fusion: Class of the module; `fusion(dim)(how, where)`, (B, dim, g, g) twice → (B, dim, g, g).
        seed: Of the maps that are tried.
        shapes: Their batch, dim and side.
        scale: Their standard deviation.
    """
    torch.manual_seed(seed)
    for batch, dim, grid in shapes:
        module = call(fusion, dim, returns=nn.Module).eval()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        how, where = ((scale * torch.randn(batch, dim, grid, grid)).requires_grad_() for _ in range(2))
        given = how * 1, where * 1
        out = call(module, *given, returns=Tensor)
        expect(
            out.shape == how.shape,
            f"the classifier reads {tuple(how.shape)}, the module gave {tuple(out.shape)}: streams that are "
            "concatenated need a projection back to dim channels",
        )
        expect(torch.isfinite(out).all(), "the output holds NaN or infinity")
        unchanged = torch.equal(given[0], how) and torch.equal(given[1], where)
        expect(unchanged, "the inputs were changed in place: `x = x + …` makes a new tensor, `x += …` does not")
        expect(
            torch.equal(out, call(module, how, where, returns=Tensor)),
            "the same input gives another output each time: create layers in __init__, not in forward, and switch off "
            "dropout in eval mode",
        )
        _learns(module, how, where, out)
        alone = torch.cat([module(how[i : i + 1], where[i : i + 1]) for i in range(batch)])
        size = float(out.detach().abs().max())
        expect(
            float((alone - out).abs().max()) < 1e-3 * size,
            "a sample's output depends on who else is in the batch: attention and softmax run over places or channels, "
            "never over dim 0",
        )
        with torch.no_grad():
            other, none = [scale * torch.randn_like(how) for _ in range(2)], torch.zeros_like(how)
            added = module(how + other[0], where + other[1]) + module(none, none)
            bend = float((added - out - module(*other)).abs().max())
            apart = module(how + other[0], where + other[1]) - module(how + other[0], where)
            together = float((apart - module(how, where + other[1]) + out).abs().max())
        expect(
            bend > 0.01 * size,
            "of two pairs of maps that are added, the output is the sum of both outputs: that is a weighted sum and no "
            "gate or attention; how much of a stream passes must depend on what the other says",
        )
        expect(
            together > 0.01 * size,
            "the output is a part of 'how' alone plus a part of 'where' alone: each stream may be bent by itself, but "
            "how much of it passes must depend on what the other says",
        )
    _hears_both(fusion)


def _hears_both(fusion: Callable[[int], nn.Module], dim: int = 8, grid: int = 3, points: int = 5) -> None:
    """Fails where the output hangs on one map alone that is as large as either: a sum, and what is done to it later.

    Such a module has the same blind directions (one stream up, the other down) wherever it stands; a gate has none.
    """
    module = call(fusion, dim, returns=nn.Module).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    slopes = []
    for _ in range(points):
        how, where = (torch.randn(1, dim, grid, grid).requires_grad_() for _ in range(2))
        for number in call(module, how, where, returns=Tensor).flatten():
            both = torch.autograd.grad(number, (how, where), retain_graph=True, materialize_grads=True)
            slopes.append(torch.cat([slope.flatten() for slope in both]))
    strengths = torch.linalg.svdvals(torch.stack(slopes))
    expect(
        int((strengths > 1e-4 * strengths[0]).sum()) > dim * grid * grid,
        "both maps are joined by one weighted sum, and what comes after it (activation, norm, layers) no longer knows "
        "which stream said what: a gate or attention must read both before they are added",
    )


def _learns(module: nn.Module, how: Tensor, where: Tensor, out: Tensor) -> None:
    learnt = list(module.parameters())
    expect(learnt, "it has no parameters to learn: layers kept in a plain list are not registered, use nn.ModuleList")
    try:
        slopes = torch.autograd.grad(out.square().sum(), [how, where, *learnt], allow_unused=True)
    except RuntimeError as error:
        raise CheckFailed(f"no gradient can be computed of the output: {error}") from None
    heard = [g is not None and float(g.abs().sum()) > 0 for g in slopes]
    for name, there in zip(("how", "where"), heard, strict=False):
        expect(there, f"no gradient reaches '{name}': the fusion does not hear it (detach, zero or left out?)")
    expect(any(heard[2:]), "no parameter gets a gradient: does forward use the layers of __init__?")


@check
def check_model(
    build: Callable[..., TSFmicro], fusion: type[nn.Module], seed: int = 0, classes: Sequence[int] = (3, 5)
) -> None:
    """It is late fusion but for the one part, from the same first weights.

    Args:
        build: `build(num_classes, seed)` → the model.
        fusion: Class of the fusion module.
        seed: Of the weights that are tried.
        classes: Numbers of classes.
    """
    expect(isinstance(fusion, type), f"Fusion must be a class, got {type(fusion).__name__}")
    for count in classes:
        model = call(build, count, seed + count, returns=nn.Module)
        late = create_model("tsfmicro_late", count, seed=seed + count)
        expect(type(model) is type(late), f"start from create_model('tsfmicro_late', …), not {type(model).__name__}")
        expect(isinstance(model.fuse, fusion), "the model still adds: put your module at model.fuse")
        here, there = ({n: t for n, t in m.state_dict().items() if not n.startswith("fuse.")} for m in (model, late))
        expect(here.keys() == there.keys(), "all other parts must be those of late fusion, in the tiny preset")
        shapes = [n for n, t in there.items() if here[n].shape != t.shape]
        expect(not shapes, f"it must tell {count} classes apart, in the tiny preset; other shapes in {shapes[:2]}")
        expect(
            all(torch.equal(here[n], t) for n, t in there.items()),
            "the other weights differ from those of late fusion with this seed: pass the seed on to create_model, or "
            "luck of the draw is compared as well",
        )
        frozen = [n for n, q in model.named_parameters() if not q.requires_grad]
        expect(not frozen, f"some parts cannot learn, which late fusion can: requires_grad is off in {frozen[:2]}")
        again = call(build, count, seed + count, returns=nn.Module)
        expect(again.fuse is not model.fuse, "two models share one fusion module: make a new one in every call")
        expect(
            "forward" not in vars(model.fuse),
            "forward of the module was replaced after it was made: the class `Fusion` says what it does",
        )
        pairs = zip(again.fuse.state_dict().values(), model.fuse.state_dict().values(), strict=True)
        expect(
            all(torch.equal(a, b) for a, b in pairs),
            "the same seed gives other fusion weights: call torch.manual_seed(seed) before you create the module",
        )
        other = call(build, count, seed + count + 1, returns=nn.Module).fuse.state_dict().values()
        drawn = [a for a in model.fuse.state_dict().values() if a.is_floating_point() and float(a.float().std()) > 0]
        same = all(any(torch.equal(a, b) for b in other if a.shape == b.shape) for a in drawn)
        expect(
            not (drawn and same), "another seed gives the same fusion weights: torch.manual_seed(seed), not a number"
        )
        maps = torch.randn(2, 2, 3, model.config.image_size, model.config.image_size)
        logits = call(model.eval(), *maps, returns=Tensor)
        expect(tuple(logits.shape) == (2, count), f"two clips must give (2, {count}) logits, got {tuple(logits.shape)}")


class Probe(TSFmicro):
    """A tiny model that writes down on what it was trained.

    Red and green of a frame tell person and clip, blue rises from left to right unless the frame was moved.
    """

    name, input_names = "probe", ("onset",)

    def __init__(self, classes: int, name: str, seed: int, diary: list[dict[str, Any]]) -> None:
        super().__init__(TSFmicroConfig(classes, image_size=8))
        self.layer = nn.Linear(3, classes)
        self.page: dict[str, Any] = {
            "model": name,
            "seed": seed,
            "seen": [],
            "states": [],
            "moved": False,
            "probe": self,
        }
        diary.append(self.page)

    def forward(self, onset: Tensor) -> Tensor:
        """Logits from the mean colour; of a trained model other ones, which nobody can guess."""
        mean = onset.mean((2, 3)) * torch.tensor([1.0, 1.0, 0.0])
        red, green = ((mean[:, i] * s + m) * 255 for i, s, m in ((0, 0.229, 0.485), (1, 0.224, 0.456)))
        clips = [
            (round((r - 40) / 20), round((g - 40) / 10)) for r, g in zip(red.tolist(), green.tolist(), strict=True)
        ]
        logits: Tensor = self.layer(mean)
        if self.training:
            self.page["seen"].append(clips)
            self.page["states"].append({n: t.clone() for n, t in self.state_dict().items()})
            self.page["moved"] |= bool((onset[:, 2] - onset[:1, 2]).abs().max() > 0.05)
            return logits
        steps = [*self.page["model"].encode(), self.page["seed"], len(self.page["seen"])]
        drawn = [np.random.default_rng([*steps, *clip]).normal(size=logits.shape[1]) for clip in clips]
        return logits * 0 + torch.tensor(np.array(drawn), dtype=torch.float32)


@check
def check_comparison(
    run: Callable[..., pd.DataFrame],
    seed: int = 0,
    clips: Sequence[int] = (3, 3, 3),
    classes: tuple[str, ...] = ("a", "b"),
    recipe: Mapping[str, Any] | None = None,
) -> None:
    """Both models get the same folds, seeds and epochs, start fresh in each, and never see who is tested.

    Args:
        run: `run(samples, models, recipe, seeds)` → one row per model, seed and clip: model, seed, subject, clip,
            onset, truth, predicted; `models` maps a name to `build(num_classes, seed)`.
        seed: Of the samples that are tried.
        clips: How many clips each person has.
        classes: Names of the classes.
        recipe: Epochs, batch size, learning rate and what else differs from the default recipe.
    """
    samples = _coloured(seed, clips, classes)
    diary: list[dict[str, Any]] = []
    told = Recipe(**(recipe or {"epochs": 3, "batch_size": 4, "lr": 0.013}))
    seeds = [seed + 5, seed + 6]
    models = {n: functools.partial(_probe, diary, n) for n in ("late", "mine")}
    table = call(run, samples, models, told, seeds, returns=pd.DataFrame)
    missing = COLUMNS - set(table)
    expect(not missing, f"columns are missing: {sorted(missing)}")
    _trained_alike(diary, samples, told, 2 * len(seeds) * len(clips))
    _same_start_and_order(diary, seeds)
    _predicted(table, diary, samples, seeds)


def _probe(diary: list[dict[str, Any]], name: str, num_classes: int, seed: int) -> Probe:
    return Probe(num_classes, name, seed, diary)


def _coloured(seed: int, clips: Sequence[int], classes: tuple[str, ...]) -> Samples:
    """One colour per clip, in any order; labels that no colour tells."""
    rng = np.random.default_rng(seed)
    keys = rng.permutation([(person, clip) for person, count in enumerate(clips) for clip in range(count)])
    colour = torch.tensor([[40 + 20 * person, 40 + 10 * clip, 90] for person, clip in keys], dtype=torch.uint8)
    frames = colour[:, :, None, None].expand(-1, -1, 8, 8).clone()
    frames[:, 2] += 10 * torch.arange(8, dtype=torch.uint8)
    label = torch.from_numpy(rng.permutation(np.arange(len(keys)) % (len(classes) + 1) % len(classes)))
    table = pd.DataFrame([{"subject": f"s{p}", "clip": f"c{c}", "onset": 0} for p, c in keys])
    return Samples({"onset": frames, "apex": frames.clone()}, label, classes, table)


def _trained_alike(diary: Sequence[Mapping[str, Any]], samples: Samples, recipe: Recipe, wanted: int) -> None:
    trained = [page for page in diary if page["seen"]]
    people = samples.table.groupby("subject").size().to_dict()
    expect(
        len(trained) == wanted,
        f"{len(trained)} models were trained, and {wanted} are needed, one for every model, seed and fold: build a "
        "fresh one for each, or it still knows the person whom it is tested on",
    )
    for page in trained:
        page["people"] = {f"s{person}" for batch in page["seen"] for person, _ in batch}
    everybody = any(page["people"] == {*people} for page in trained)
    expect(not everybody, "a model was trained on every subject, the tested one among them: train on fold.train alone")
    steps = {name: sorted({len(p["seen"]) for p in trained if p["model"] == name}) for name in ("late", "mine")}
    expect(steps["late"] == steps["mine"], f"the models were not trained for as long: steps {steps}")
    for page in trained:
        seen = {clip for batch in page["seen"] for clip in batch}
        all_of_them = sum(people.values()) - sum(people[s] for s in {*people} - page["people"])
        fewer = f"a model was trained on {len(page['people'])} people and {len(seen)} clips: fold.train holds all clips"
        expect(len(page["people"]) == len(people) - 1 and len(seen) == all_of_them, f"{fewer} of all people but one")
        count = recipe.epochs * math.ceil(all_of_them / recipe.batch_size)
        followed = "the recipe was not followed, pass `recipe` on to fit as it is:"
        expect(len(page["seen"]) == count, f"{followed} {len(page['seen'])} steps of training, {count} are meant")
        step = float((page["states"][1]["layer.weight"] - page["states"][0]["layer.weight"]).abs().max())
        expect(0.8 < step / recipe.lr < 1.25, f"{followed} a first step of {step:.3g}, where lr is {recipe.lr:g}")
        expect(page["moved"], f"{followed} the frames were neither turned, shifted nor mirrored")
        given = page["probe"].config.num_classes
        expect(
            given == len(samples.classes), f"a model was built for {given} classes; there are {len(samples.classes)}"
        )
        if recipe.batch_size >= all_of_them:  # then the order of the clips is of no weight
            again = Probe(given, "again", 0, [])
            again.load_state_dict(page["states"][0])
            fit(again, samples, np.flatnonzero(samples.table.subject.isin(page["people"])), recipe)
            off = max(
                float((a - b).abs().max()) for a, b in zip(again.parameters(), page["probe"].parameters(), strict=True)
            )
            expect(off < 0.1 * recipe.lr, f"{followed} weight decay, schedule or optimizer are others")


def _same_start_and_order(diary: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> None:
    trained = [page for page in diary if page["seen"]]
    used = {name: sorted({p["seed"] for p in trained if p["model"] == name}) for name in ("late", "mine")}
    expect(used["late"] == used["mine"], f"the models were built from other seeds: {used}; use the same for both")
    expect(used["late"] == [*seeds], f"the models were built from the seeds {used['late']}; {[*seeds]} were given")
    orders = {(p["model"], p["seed"], *sorted(p["people"])): p["seen"] for p in trained}
    for (name, seed, *people), order in orders.items():
        others = [o for (n, s, *q), o in orders.items() if n == name and s != seed and q == people]
        expect(order not in others, "every seed trains in the same order: fit(model, …, seed=seed), or little differs")
        alike = all(o == order for (_, s, *q), o in orders.items() if s == seed and q == people)
        expect(alike, "both models must see the clips in one order: give fit the same seed for both")


def _predicted(table: pd.DataFrame, diary: Sequence[Mapping[str, Any]], samples: Samples, seeds: Sequence[int]) -> None:
    """Every row is what the model of its fold says of its clip."""
    counts = table.groupby(["model", "seed"]).size()
    whole = {(n, s) for n in ("late", "mine") for s in seeds} == set(counts.index) and set(counts) == {len(samples)}
    expect(whole, f"every model and seed needs all {len(samples)} clips, none chosen: got {counts.to_dict()}")
    expect(
        not any(map(callable, table["clip"])),
        "the column clip holds functions: `row.clip` is a method of pandas, write `row['clip']`",
    )
    keys = list(zip(samples.table.subject, samples.table["clip"], strict=True))
    rows = list(zip(table.subject, table["clip"], strict=True))
    twice = table.duplicated(["model", "seed", "subject", "clip"]).any() or not {*rows} <= {*keys}
    expect(not twice, "a clip stands twice in the table, or is none of the samples: each is tested once")
    for column in ("truth", "predicted"):
        known = {*table[column]} <= {*samples.classes}
        expect(
            known, f"{column} holds names of classes, {samples.classes}; got {sorted(map(str, {*table[column]}))[:4]}"
        )
    truth = [samples.classes[samples.label[keys.index(row)]] for row in rows]
    expect(
        list(table.truth) == truth, "the column truth is not the label of the clip: take names and labels of one row"
    )
    said = {}
    for page in diary:
        tested = [i for i, (subject, _) in enumerate(keys) if subject not in page.get("people", {subject})]
        if tested:
            for i, row in zip(tested, predict(page["probe"], samples, np.array(tested)).tolist(), strict=True):
                said[page["model"], page["seed"], *keys[i]] = row
    probabilities = np.array([said[m, s, *row] for m, s, row in zip(table.model, table.seed, rows, strict=True)])
    right, got = probabilities.argmax(1), np.array([samples.classes.index(p) for p in table.predicted])
    mistakes = {
        "the column predicted holds the truth: take what the model says, predict(…).argmax(1)": [
            samples.classes.index(t) for t in truth
        ],
        "the least likely class was taken: predict(…).argmax(1) is the likeliest": probabilities.argmin(1),
        "predicted is one class everywhere: take what the model says, predict(…).argmax(1)": np.full_like(got, got[0]),
    }
    for message, wrong in mistakes.items():
        expect((got == right).all() or not (got == np.array(wrong)).all(), message)
    off = f"{(got != right).sum()} of {len(got)} rows"
    expect(
        (got == right).all(),
        f"{off} do not hold what the model says that was trained without this person: predict(model, samples, "
        "fold.test).argmax(1), after fit",
    )


@check
def check_result(
    table: pd.DataFrame,
    gain: tuple[float, float, float],
    run: Callable[..., pd.DataFrame],
    builds: Mapping[str, Callable[..., TSFmicro]],
    seed: int,
) -> None:
    """Your comparison is whole, made by your own `run`, and the gain is its own.

    Args:
        table: The student's predictions.
        gain: Value, low and high.
        run: The student's function.
        builds: The students' models by name.
        seed: Of the student's samples.
    """
    samples, recipe = _own_samples(seed), Recipe(epochs=3, lr=4e-3, decay=0.97, schedule="exponential")
    expect(isinstance(table, pd.DataFrame), f"table must be a DataFrame, got {type(table).__name__}")
    expect(not COLUMNS - set(table), f"table lacks the columns {sorted(COLUMNS - set(table))}")
    groups = dict(list(table.groupby("model")))
    expect(set(groups) == {"late", "mine"}, f"the table must hold the models 'late' and 'mine', got {sorted(groups)}")
    seeds = sorted({*table.seed})
    expect(len(seeds) >= 2, f"at least 2 seeds are needed, got {len(seeds)}")
    truth = samples.table[KEYS].assign(truth=samples.names(samples.label))
    for (name, one), rows in table.groupby(["model", "seed"]):
        whole = len(rows) == len(samples) == len(rows.merge(truth, on=[*KEYS, "truth"]).drop_duplicates(KEYS))
        expect(whole, f"'{name}' with seed {one} does not hold each of your {len(samples)} clips once, with its truth")
    expect(all(len(rows) == len(seeds) * len(samples) for rows in groups.values()), "both models need the same seeds")
    numbers = converted(gain, "array", "gain must be")
    true = subject_interval(groups["mine"], sorted({*table.truth}), against=groups["late"], same_people=True)
    expect(numbers.shape == (3,), f"gain is a value and two ends of an interval, got {numbers.shape}")
    expect(
        (abs(numbers - np.array(true)) < 0.006).all(),
        "the gain is that of 'mine' over 'late', with its interval: "
        "subject_interval(mine, classes, against=late, same_people=True)",
    )
    for (name, one), rows in table.groupby(["model", "seed"]):
        said, build = _in_order(rows, samples), builds[name]
        expect(
            _trained_so(build, one, said, samples, recipe) or _made_by(run, name, build, one, said, samples, recipe),
            f"of '{name}' and seed {one} the table holds other predictions than your `run` gives: fill it by "
            "run(samples, …, recipe, …) alone",
        )


def _trained_so(build: Callable[..., TSFmicro], seed: int, said: np.ndarray, samples: Samples, recipe: Recipe) -> bool:
    """Whether one fold, which nobody can foresee, says what the table says: a training instead of all of them."""
    folds = leave_one_subject_out(samples.annotations)
    fold = folds[hashlib.sha256("/".join(map(str, said)).encode()).digest()[0] % len(folds)]
    model = call(build, len(samples.classes), seed, returns=TSFmicro)
    fit(model, samples, fold.train, recipe, seed=seed)
    return _agree(model, samples, fold.test, said)


def _agree(model: TSFmicro, samples: Samples, rows: np.ndarray, said: np.ndarray) -> bool:
    names = np.array(samples.classes)[predict(model, samples, rows).argmax(1)]
    return bool((names == said[rows]).mean() > 0.9)


def _made_by(
    run: Callable[..., pd.DataFrame],
    name: str,
    build: Callable[..., TSFmicro],
    seed: int,
    said: np.ndarray,
    samples: Samples,
    recipe: Recipe,
) -> bool:
    """Whether models that `run` trains say what the table says: it may draw its order otherwise than usual."""
    made: list[TSFmicro] = []

    def keeping(*arguments: Any, **settings: Any) -> TSFmicro:
        made.append(build(*arguments, **settings))
        return made[-1]

    table = call(run, samples, {name: keeping}, recipe, [seed], returns=pd.DataFrame)
    again = _in_order(table, samples)
    people = [np.flatnonzero(samples.subjects == person) for person in np.unique(samples.subjects)]
    trained = all(any(_agree(model, samples, rows, said) for model in made) for rows in people)
    return trained and all((again[rows] == said[rows]).mean() > 0.9 for rows in people)


def _in_order(table: pd.DataFrame, samples: Samples) -> np.ndarray:
    if {*KEYS, "predicted"} - {*table} or table.duplicated(KEYS).any():
        return np.full(len(samples), None)
    return np.asarray(table.set_index(KEYS).predicted.reindex(pd.MultiIndex.from_frame(samples.table[KEYS])), object)


@functools.cache
def _own_samples(seed: int) -> Samples:
    data = SyntheticMicroExpressions(3, 10, image_size=64, seed=seed, amplitude=(2, 4), distractors=Distractors.none())
    return prepare(data, 56, target="emotion_megc", progress=False)
