"""ps3: a fusion module, the model around it, a fair comparison, and what it gave."""

import copy
import functools
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import nn

from assignments.solutions import checks
from tsfmicro_lab.models import create_model
from tsfmicro_lab.models.tsfmicro import StreamSum, TSFmicro, TSFmicroConfig
from tsfmicro_lab.training import Recipe, fit, leave_one_subject_out, predict, subject_interval

p = functools.partial


class Gate(nn.Module):
    """A right answer, of which wrong ones are made."""

    def __init__(self, dim):
        super().__init__()
        self.gate = nn.Conv2d(2 * dim, dim, 1)

    def opened(self, how, where):
        return self.gate(torch.cat([how, where], 1)).sigmoid()

    def forward(self, how, where):
        gate = self.opened(how, where)
        return gate * how + (1 - gate) * where


def module(forward, *, base=Gate, **layers):
    """A module with some layers, by name a function of dim, and a forward."""

    class Fusion(base):
        def __init__(self, dim):
            super().__init__(dim) if base is Gate else super().__init__()
            for name, layer in layers.items():
                setattr(self, name, layer(dim))

        def forward(self, how, where):
            return forward(self, how, where)

    return Fusion


def other(forward, **layers):
    return module(forward, base=nn.Module, **layers)


def conv(size=1, streams=2):
    return lambda dim: nn.Conv2d(streams * dim, dim, size, padding=size // 2)


def zeroed(make):
    def zero(dim):
        layer = make(dim)
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)
        return layer

    return zero


def both(how, where):
    return torch.cat([how, where], 1)


def number(shape=lambda dim: (), start=0.0):
    return lambda dim: nn.Parameter(torch.full(shape(dim), start))


def attended(self, how, where):
    """Places of the motion ask places of the face."""
    b, c, h, w = how.shape
    q, k = (t.flatten(2).transpose(1, 2) for t in (how, where))
    return how + self.attention(q, k, k)[0].transpose(1, 2).reshape(b, c, h, w)


def normalised_attention(self, how, where):
    """Queries and keys of length 1: of twice the input the output is twice as large, and no sum for all that."""
    q, k, v = (t.flatten(2).transpose(1, 2) for t in (self.q(how), self.k(where), self.v(where)))
    q, k = nn.functional.normalize(q, dim=-1), nn.functional.normalize(k, dim=-1)
    return how + ((q @ k.mT * 3).softmax(-1) @ v).transpose(1, 2).view_as(how)


def by_loops(self, how, where):
    maps = []
    for a, b in zip(how, where, strict=True):
        g = self.gate(torch.cat([a, b])[None])[0].sigmoid()
        maps.append(g * a + (1 - g) * b)
    return torch.stack(maps)


def channel_attention(self, how, where):
    weights = self.squeeze(both(how, where).mean((2, 3))).unflatten(1, (2, -1)).softmax(1)
    return weights[:, 0, :, None, None] * how + weights[:, 1, :, None, None] * where


def across(self, how, where):
    return self.opened(how, where) * how * how.softmax(0) + where


def made_in_forward(self, how, where):
    return nn.Conv2d(2 * how.shape[1], how.shape[1], 1)(both(how, where)).relu() + self.gate.weight.sum()


def in_place(self, how, where):
    how += where
    return Gate.forward(self, how, where)


def written_over(self, how, where):
    where.data.mul_(0.5)
    return Gate.forward(self, how, where)


def of_a_number(self, how, where):
    return self.a.sigmoid() * how + (1 - self.a.sigmoid()) * where


def dropped(self, how, where):
    return nn.functional.dropout(Gate.forward(self, how, where), 0.3)


FUSION = [
    ("trivial", "nothing", module(lambda s, h, w: None), "must return Tensor, got None"),
    ("trivial", "how alone", module(lambda s, h, w: h), "no gradient reaches 'where'"),
    ("trivial", "zero", module(lambda s, h, w: h * 0 + w * 0), "no gradient reaches"),
    ("trivial", "noise", module(lambda s, h, w: torch.randn_like(h) + h + w), "another output each time"),
    ("trivial", "both, concatenated", module(lambda s, h, w: both(h, w)), "need a projection"),
    ("trivial", "no module", lambda dim: lambda how, where: how + where, "must return Module, got function"),
    ("trivial", "NaN", module(lambda s, h, w: (h - h) / (w - w)), "NaN or infinity"),
    ("shortcut", "the lab's sum", lambda dim: StreamSum(), "it has no parameters to learn"),
    ("shortcut", "a sum, and layers nobody uses", module(lambda s, h, w: h + w), "no parameter gets a gradient"),
    ("shortcut", "a convolution of both", other(lambda s, h, w: s.c(both(h, w)), c=conv()), "that is a weighted sum"),
    ("shortcut", "a wide convolution", other(lambda s, h, w: s.c(both(h, w)), c=conv(3)), "that is a weighted sum"),
    (
        "shortcut",
        "two convolutions",
        other(lambda s, h, w: s.b(s.a(both(h, w))), a=conv(), b=conv(1, 1)),
        "weighted sum",
    ),
    ("shortcut", "one learnt weight", other(of_a_number, a=number()), "that is a weighted sum"),
    (
        "shortcut",
        "a weight per channel",
        other(
            lambda s, h, w: s.a * h + s.b * w, a=number(lambda d: (d, 1, 1), 1.0), b=number(lambda d: (d, 1, 1), 1.0)
        ),
        "that is a weighted sum",
    ),
    ("shortcut", "a sum and batch norm", other(lambda s, h, w: s.n(h + w), n=nn.BatchNorm2d), "that is a weighted sum"),
    (
        "shortcut",
        "a sum that hardly bends",
        other(lambda s, h, w: s.a * (h + w) + 1e-5 * h * w, a=number(start=1.0)),
        "sum",
    ),
    ("typical", "layers made in forward", module(made_in_forward), "create layers in __init__"),
    (
        "typical",
        "a plain list",
        other(lambda s, h, w: s.c[0](both(h, w)).relu(), c=lambda d: [conv()(d)]),
        "use nn.ModuleList",
    ),
    (
        "typical",
        "where detached",
        module(lambda s, h, w: Gate.forward(s, h, w.detach())),
        "no gradient reaches 'where'",
    ),
    (
        "typical",
        "gate detached",
        module(lambda s, h, w: s.opened(h, w).detach() * h + w),
        "no parameter gets a gradient",
    ),
    ("typical", "all detached", module(lambda s, h, w: Gate.forward(s, h, w).detach()), "no gradient can be computed"),
    ("typical", "in place", module(in_place), "changed in place"),
    ("typical", "data written over", module(written_over), "changed in place"),
    ("typical", "across people", module(across), "who else is in the batch"),
    ("typical", "dropout always", module(dropped), "switch off dropout"),
    ("typical", "a tuple", other(lambda s, h, w: (h, w)), "must return Tensor, got tuple"),
    ("typical", "tokens", module(lambda s, h, w: Gate.forward(s, h, w).flatten(2)), "the classifier reads"),
    (
        "typical",
        "channels fixed at 8",
        module(Gate.forward, gate=lambda d: nn.Conv2d(16, 8, 1)),
        "stopped with RuntimeError",
    ),
    (
        "typical",
        "no dim",
        type("F", (nn.Module,), {"__init__": lambda self: None}),
        "cannot be called as the text above says|TypeError",
    ),
    ("right", "a gate", Gate),
    ("right", "a gate that is zero at first", module(Gate.forward, gate=zeroed(conv()))),
    (
        "right",
        "two gates",
        other(lambda s, h, w: s.a(h).sigmoid() * w + s.b(w).sigmoid() * h, a=conv(1, 1), b=conv(1, 1)),
    ),
    ("right", "a wide gate", module(Gate.forward, gate=conv(3))),
    ("right", "cross-attention", other(attended, attention=lambda d: nn.MultiheadAttention(d, 4, batch_first=True))),
    ("right", "attention, normalised", other(normalised_attention, q=conv(1, 1), k=conv(1, 1), v=conv(1, 1))),
    (
        "right",
        "attention that begins with nothing",
        other(normalised_attention, q=conv(1, 1), k=conv(1, 1), v=zeroed(conv(1, 1))),
    ),
    ("right", "weights per channel", other(channel_attention, squeeze=lambda d: nn.Linear(2 * d, 2 * d))),
    ("right", "a product", other(lambda s, h, w: h * s.a(w) + w, a=conv(1, 1))),
    (
        "right",
        "two layers with an activation",
        other(lambda s, h, w: s.b(s.a(both(h, w)).relu()) + h, a=conv(), b=conv(1, 1)),
    ),
    ("right", "a loop over clips", module(by_loops)),
    (
        "right",
        "dropout in training alone",
        module(lambda s, h, w: s.d(Gate.forward(s, h, w)), d=lambda d: nn.Dropout(0.3)),
    ),
    ("right", "a function that makes it", lambda dim: Gate(dim)),
    (
        "right",
        "scaled by a number that is zero",
        other(lambda s, h, w: h + w + s.a * s.g(both(h, w)).tanh() * w, a=number(), g=conv()),
    ),
]


def mine(classes, seed, *, late=None, fusion="seed", name="tsfmicro_late", make=Gate, **settings):
    model = create_model(name, classes, seed=seed if late is None else late, **settings)
    if fusion is not None:
        torch.manual_seed(seed if fusion == "seed" else fusion)
    model.fuse = make(model.config.dims[-1])
    return model


class Bigger(Gate):
    """A fusion of one's own that builds on the other."""


SHARED = {dim: Gate(dim) for dim in (8, 16, 24, 32, 48, 64, 96, 128)}


def shared(classes, seed):
    model = create_model("tsfmicro_late", classes, seed=seed)
    model.fuse = SHARED.setdefault(model.config.dims[-1], Gate(model.config.dims[-1]))
    return model


def beside(classes, seed):
    model = mine(classes, seed)
    model.fusion, model.fuse = model.fuse, StreamSum()
    return model


def drawn_before(classes, seed):
    torch.manual_seed(seed)
    module = Gate(create_model("tsfmicro_late", classes, seed=seed).config.dims[-1])
    model = create_model("tsfmicro_late", classes, seed=seed)
    model.fuse = module
    return model


def forked(classes, seed):
    model = create_model("tsfmicro_late", classes, seed=seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed + 1000)
        setattr(model, "fuse", Gate(model.config.dims[-1]))  # noqa: B010
    return model


def copied(classes, seed):
    return copy.deepcopy(mine(classes, seed))


def by_class(classes, seed):
    model = mine(classes, seed)
    model.fuse.__class__ = Bigger
    return model


def frozen(classes, seed):
    model = mine(classes, seed)
    with torch.no_grad():
        next(model.branches.parameters() if hasattr(model, "branches") else model.parameters()).mul_(0.5)
    return model


def loaded(classes, seed):
    model = mine(classes, seed + 1)
    old = create_model("tsfmicro_late", classes, seed=seed)
    torch.manual_seed(seed)
    fuse = Gate(model.config.dims[-1])
    model.load_state_dict(old.state_dict() | {f"fuse.{k}": v for k, v in fuse.state_dict().items()})
    return model


def zero_gate(dim):
    gate = Gate(dim)
    nn.init.zeros_(gate.gate.weight)
    nn.init.zeros_(gate.gate.bias)
    return gate


def with_more(classes, seed):
    model = mine(classes, seed)
    model.more = nn.Linear(3, 3)
    return model


class Wrapped(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model


def model(kind, what, build, message="", fusion=Gate):
    return (kind, what, {"build_mine": build, "Fusion": fusion}, *([message] if message else []))


MODEL = [
    model("trivial", "nothing", lambda c, s: None, "must return Module, got None"),
    model("trivial", "late itself", lambda c, s: create_model("tsfmicro_late", c, seed=s), "the model still adds"),
    model("trivial", "the module alone", lambda c, s: Gate(8), "start from create_model"),
    model("trivial", "three classes, always", lambda c, s: mine(3, s), "tell 5 classes apart"),
    model("trivial", "a name", lambda c, s: "tsfmicro_late", "must return Module, got str"),
    model("trivial", "seed 0, always", lambda c, s: mine(c, 0), "the other weights differ"),
    model("shortcut", "one module for all", shared, "two models share one fusion module"),
    model("shortcut", "another attribute", beside, "the model still adds"),
    model("shortcut", "one seed for every module", p(mine, fusion=0), "another seed gives the same fusion weights"),
    model(
        "shortcut",
        "early fusion",
        lambda c, s: mine(c, s, name="tsfmicro_early"),
        "start from create_model|AttributeError",
    ),
    model(
        "shortcut",
        "the spatial branch alone",
        lambda c, s: create_model("tsfmicro_spatial", c, seed=s),
        "start from create_model",
    ),
    model("shortcut", "wrapped", lambda c, s: Wrapped(mine(c, s)), "start from create_model"),
    model("shortcut", "another sum", p(mine, make=lambda d: StreamSum()), "the model still adds"),
    model("typical", "one layer more", with_more, "all other parts must be those of late fusion"),
    model("typical", "no seed passed on", p(mine, late=0), "the other weights differ"),
    model("typical", "no seed at all", lambda c, s: mine(c, int(torch.randint(9999, ()))), "the other weights differ"),
    model("typical", "no seed for the module", p(mine, fusion=None), "other fusion weights"),
    model("typical", "seed + 1", p(mine, late=1234), "the other weights differ"),
    model("typical", "one layer scaled", frozen, "the other weights differ"),
    model("typical", "a wrong dim", lambda c, s: mine(c, s, make=lambda d: Gate(d + 1)), "stopped with RuntimeError"),
    model("typical", "of 5 channels", p(mine, make=lambda d: Gate(5)), "stopped with RuntimeError"),
    model("typical", "classes and seed swapped", lambda c, s: mine(s + 2, c), "classes apart|weights differ"),
    model("typical", "the class, no module", p(mine, make=lambda d: Gate), "stopped with TypeError"),
    model("typical", "arguments forgotten", lambda: mine(3, 0), "cannot be called as the text above says"),
    model("typical", "Fusion is no class", mine, "Fusion must be a class, got Gate", Gate(8)),
    model("right", "seeded in between", mine),
    model("right", "drawn before the model", drawn_before),
    model("right", "in a fork, from another seed", forked),
    model("right", "a deep copy", copied),
    model("right", "a subclass", by_class),
    model("right", "zero at first", p(mine, make=zero_gate)),
    model("right", "loaded", loaded),
    model("right", "with attention", p(mine, make=FUSION[-10][2]), fusion=FUSION[-10][2]),
]


def everybody(fold):
    return np.sort(np.concatenate([fold.train, fold.test]))


def compared(
    samples,
    models,
    recipe,
    seeds,
    *,
    index=lambda f: f.train,
    fresh=True,
    change=lambda recipe, name: recipe,
    own=lambda seeds, name: seeds,
    say=lambda samples, fold, probabilities: [samples.classes[i] for i in probabilities.argmax(1)],
    when="after",
    keep=lambda table: table,
    classes=None,
):
    """A comparison, or one mistake."""
    tables = []
    for name, build in models.items():
        for seed in own(seeds, name):
            count = classes or len(samples.classes)
            model = build(count, seed)
            for fold in leave_one_subject_out(samples.annotations):
                model = build(count, seed) if fresh else model
                before = predict(model, samples, fold.test)
                fit(model, samples, index(fold), change(recipe, name), seed=seed)
                p = before if when == "before" else predict(model, samples, fold.test)
                rows = samples.table.loc[fold.test].reset_index(drop=True).assign(model=name, seed=seed)
                rows["truth"] = samples.names(samples.label[fold.test])
                tables.append(rows.assign(predicted=say(samples, fold, p)))
    return keep(pd.concat(tables, ignore_index=True))


def untrained(samples, models, recipe, seeds):
    table = samples.table.assign(truth=samples.names(samples.label), predicted=samples.classes[0])
    return pd.concat([table.assign(model=m, seed=s) for m in models for s in seeds])


def written_first(samples, models, recipe, seeds):
    """The other loops outside, rows in a dict, predictions one by one."""
    rows = []
    for fold in leave_one_subject_out(samples.annotations):
        for seed in seeds:
            for name in models:
                model = models[name](len(samples.classes), seed)
                fit(model, samples, fold.train, recipe, seed=seed)
                for i in fold.test:
                    logits = model.logits(samples, [int(i)])
                    key = samples.table.loc[i, ["subject", "clip", "onset"]].to_dict()
                    truth = samples.classes[int(samples.label[i])]
                    said = {"truth": truth, "predicted": samples.classes[int(logits.argmax())]}
                    rows.append({"model": name, "seed": seed} | key | said)
    return pd.DataFrame(rows)


def own_folds(samples, models, recipe, seeds):
    """Folds by hand, a table filled in place."""
    subjects, n = samples.subjects, len(samples)
    tables = []
    for name, build in models.items():
        for seed in seeds:
            table = samples.table[["subject", "clip", "onset"]].assign(model=name, seed=seed, truth="", predicted="")
            for person in sorted(set(subjects)):
                train, test = (np.flatnonzero(mask) for mask in (subjects != person, subjects == person))
                model = build(len(samples.classes), seed)
                fit(model, samples, np.random.default_rng(seed).permutation(train), recipe, seed=seed)
                table.loc[test, "predicted"] = model.tell(model.logits(samples, test), samples.classes)
            table["truth"] = [samples.classes[int(samples.label[i])] for i in range(n)]
            tables.append(table)
    return pd.concat(tables)


def to_all(samples, fold, p):
    return [samples.classes[0]] * len(p)


RUN = [
    ("trivial", "nothing", lambda *a: None, "must return DataFrame, got None"),
    ("trivial", "an empty table", lambda *a: pd.DataFrame(), "columns are missing"),
    ("trivial", "nobody trained", untrained, "0 models were trained, and 12 are needed"),
    ("trivial", "a list", lambda *a: [compared(*a)], "must return DataFrame, got list"),
    ("trivial", "a constant class", p(compared, say=to_all), "one class everywhere"),
    ("shortcut", "the truth", p(compared, say=lambda s, f, p: s.names(s.label[f.test])), "holds the truth"),
    (
        "shortcut",
        "at random",
        p(compared, say=lambda s, f, p: np.random.default_rng(0).choice(s.classes, len(p))),
        "what the model says",
    ),
    ("shortcut", "half of the clips", p(compared, index=lambda f: f.train[::2]), "fold.train holds all clips"),
    (
        "shortcut",
        "half of the people",
        p(compared, index=lambda f: f.train[: len(f.train) // 2]),
        "fold.train holds all clips",
    ),
    (
        "shortcut",
        "one epoch",
        p(compared, change=lambda r, n: replace(r, epochs=1)),
        "the recipe was not followed.* steps of training",
    ),
    (
        "shortcut",
        "another batch size",
        p(compared, change=lambda r, n: replace(r, batch_size=8)),
        "the recipe was not followed",
    ),
    ("shortcut", "another learning rate", p(compared, change=lambda r, n: replace(r, lr=2e-3)), "a first step of"),
    (
        "shortcut",
        "a recipe of one's own",
        p(compared, change=lambda r, n: Recipe(epochs=r.epochs)),
        "the recipe was not followed",
    ),
    (
        "shortcut",
        "mine trains longer",
        p(compared, change=lambda r, n: replace(r, epochs=r.epochs * (1 + (n == "mine")))),
        "not trained for as long",
    ),
    (
        "shortcut",
        "mine gets better seeds",
        p(compared, own=lambda s, n: [x + 9 for x in s] if n == "mine" else s),
        "from other seeds",
    ),
    ("shortcut", "the better seed", p(compared, keep=lambda t: t[t.seed == t.seed.min()]), "none chosen"),
    ("shortcut", "one seed twice", p(compared, own=lambda s, n: [s[0]] * 2, keep=lambda t: t), "were given"),
    ("shortcut", "two classes, always", p(compared, classes=2), "there are 3|stopped with"),
    ("typical", "trained on all", p(compared, index=everybody), "trained on every subject"),
    ("typical", "trained on the test", p(compared, index=lambda f: f.test), "fold.train holds all clips"),
    ("typical", "one model for all folds", p(compared, fresh=False), "4 models were trained|build a fresh one"),
    ("typical", "predicted before training", p(compared, when="before"), "do not hold what the model says"),
    ("typical", "argmin", p(compared, say=lambda s, f, p: [s.classes[i] for i in p.argmin(1)]), "least likely class"),
    ("typical", "numbers for names", p(compared, say=lambda s, f, p: p.argmax(1)), "predicted holds names of classes"),
    (
        "typical",
        "truth and names of other rows",
        p(compared, keep=lambda t: t.assign(truth=t.truth.to_numpy()[::-1])),
        "truth is not the label",
    ),
    ("typical", "a clip lost", p(compared, keep=lambda t: t.iloc[1:]), "none chosen"),
    (
        "typical",
        "a clip twice",
        p(compared, keep=lambda t: t.assign(clip=t["clip"].where(t["clip"] != "c1", "c0"))),
        "a clip stands twice",
    ),
    (
        "typical",
        "a column lost",
        p(compared, keep=lambda t: t.drop(columns="onset")),
        r"columns are missing: \['onset'\]",
    ),
    ("typical", "no late", lambda s, m, r, q: compared(s, {"mine": m["mine"]}, r, q), "6 models were trained"),
    (
        "typical",
        "predictions in another order",
        p(compared, say=lambda s, f, p: [s.classes[i] for i in p.argmax(1)[::-1]]),
        "do not hold what",
    ),
    (
        "typical",
        "likeliest class of the fold",
        p(compared, say=lambda s, f, p: [s.classes[p.mean(0).argmax()]] * len(p)),
        "do not hold what|one class",
    ),
    ("right", "loops", compared),
    ("right", "other loops outside", written_first),
    ("right", "folds by hand", own_folds),
    ("right", "rows in another order", p(compared, keep=lambda t: t.sample(frac=1, random_state=0))),
    ("right", "more columns", p(compared, keep=lambda t: t.assign(right=t.truth == t.predicted))),
    ("right", "categories", p(compared, keep=lambda t: t.assign(truth=t.truth.astype("category")))),
]


class Quick(TSFmicro):
    """Something small to fill a table with, in place of networks that take a quarter of a minute."""

    name, input_names = "quick", ("difference",)

    def __init__(self, classes, seed, mine):
        super().__init__(TSFmicroConfig(classes, image_size=56))
        torch.manual_seed(seed)
        self.layer, self.mine = nn.Linear(3 * 49, classes), mine

    def forward(self, difference):
        small = 50 * nn.functional.adaptive_avg_pool2d(difference, 7).flatten(1)
        if not self.training:  # varied, and of this training alone
            return (400 * small[:, : self.config.num_classes] + 9 * self.layer.weight.sum() + self.mine).sin()
        return self.layer(small)


BUILDS = {"late": lambda c, s: Quick(c, s, False), "mine": lambda c, s: Quick(c, s, True)}


@functools.cache
def own_table(seed=3, seeds=(0, 1)):
    recipe = Recipe(epochs=3, lr=4e-3, decay=0.97, schedule="exponential")
    return compared(checks("ps3")._own_samples(seed), BUILDS, recipe, list(seeds))


def gain_of(table, **settings):
    mine, late = (table[table.model == name] for name in ("mine", "late"))
    return subject_interval(mine, sorted({*table.truth}), **{"against": late, "same_people": True} | settings)


def gain(kind, what, message="", change=lambda t: t, of=gain_of, seed=3, **bound):
    table = change(own_table(seed))
    try:
        value = of(table)
    except (ValueError, TypeError, KeyError, AttributeError):
        value = (0.0, -0.1, 0.1)
    run = {"run": compared, "build_late": BUILDS["late"], "build_mine": BUILDS["mine"]}
    return (
        kind,
        what,
        {"table": table, "gain": value, "own_seed": seed} | run | bound,
        *([message] if message else []),
    )


def typed(share=1.0, model="mine"):
    """Predictions that nobody made: the truth, mostly."""

    def change(t):
        right = (np.random.default_rng(0).random(len(t)) < share) & ((t.model == model) | (model == "both"))
        return t.assign(predicted=t.truth.where(right, t.predicted))

    return change


def constant(t):
    return t.assign(predicted=t.truth.mode()[0])


def turned(table):
    return tuple(-g for g in gain_of(table))


SEEDS = (0, 1, 5, 7, 9)


def bad(of):
    return lambda table: of(gain_of(table))


GAIN = [
    gain("trivial", "no table", "table must be a DataFrame, got NoneType", table=None),
    gain("trivial", "no gain", "gain must be an array, got None", of=lambda t: None),
    gain("trivial", "an empty table", "table lacks the columns", change=lambda t: t[[]]),
    gain("trivial", "no difference", "the gain is that of 'mine' over 'late'", of=lambda t: (0.0, -0.1, 0.1)),
    gain("trivial", "one number", "a value and two ends", of=bad(lambda g: g[0])),
    gain("trivial", "text", "gain must be an array, got str", of=lambda t: "+0.1"),
    gain("shortcut", "typed: mine is always right", "other predictions than your `run` gives", change=typed()),
    gain("shortcut", "typed: both mostly right", "other predictions than your `run` gives", change=typed(0.8, "both")),
    gain("shortcut", "typed: late is always right", "than your `run` gives", change=typed(1.0, "late"), seed=4),
    gain("shortcut", "typed: one class", "other predictions than your `run` gives", change=constant),
    gain("shortcut", "another student's table", "does not hold each of your", table=own_table(4)),
    gain("shortcut", "one seed", "at least 2 seeds", change=lambda t: t[t.seed == 0]),
    gain(
        "shortcut",
        "one seed copied",
        "other predictions|does not hold",
        change=lambda t: pd.concat([t[t.seed == 0], t[t.seed == 0].assign(seed=1, predicted=t.truth.mode()[0])]),
    ),
    gain("shortcut", "two subjects", "does not hold each of your", change=lambda t: t[t.subject != t.subject.iloc[0]]),
    gain(
        "shortcut",
        "a `run` that reads the table",
        "stopped with|than your `run` gives",
        change=typed(),
        run=lambda s, m, r, q: own_table().merge(s.table),
    ),
    gain(
        "typical",
        "other names",
        "must hold the models 'late' and 'mine'",
        change=lambda t: t.assign(model=t.model.replace("mine", "ours")),
    ),
    gain("typical", "turned", "the gain is that of 'mine' over 'late'", of=turned),
    gain("typical", "mine alone", "the gain is that of 'mine' over 'late'", of=p(gain_of, against=None)),
    gain(
        "typical",
        "own people",
        "same_people=True",
        seed=4,
        change=lambda t: own_table(4, SEEDS),
        of=p(gain_of, same_people=False),
    ),
    gain("typical", "another level", "the gain is that", of=p(gain_of, level=0.5)),
    gain("typical", "truth changed", "with its truth", change=lambda t: t.assign(truth=t.truth.to_numpy()[::-1])),
    gain(
        "typical",
        "mine with another seed",
        "need the same seeds|does not hold",
        change=lambda t: t[(t.model == "late") | (t.seed == 0)],
    ),
    gain(
        "typical", "a clip twice", "each of your 30 clips once|clips once", change=lambda t: pd.concat([t, t.iloc[:1]])
    ),
    gain("typical", "a column lost", r"lacks the columns \['onset'\]", change=lambda t: t.drop(columns="onset")),
    gain("right", "from run"),
    gain("right", "another student", seed=4),
    gain("right", "a list", of=bad(list)),
    gain("right", "an array", of=bad(np.array)),
    gain("right", "rounded", of=bad(lambda g: tuple(round(x, 2) for x in g))),
    gain("right", "three seeds", table=own_table(3, (0, 1, 7)), of=lambda t: gain_of(own_table(3, (0, 1, 7)))),
]
ENTRIES = [
    (question, *row)
    for question, rows in (("fusion", FUSION), ("model", MODEL), ("run", RUN), ("gain", GAIN))
    for row in rows
]
