"""Every check passes the reference solution and answers each mistake that students make with its own message."""

import doctest
import functools
import re
import sys
from itertools import pairwise

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from assignments.solutions import ASSIGNMENTS, checks, hidden_checks, solutions
from tsfmicro_lab.data import SyntheticMicroExpressions
from tsfmicro_lab.models import create_model
from tsfmicro_lab.preprocess import FLOWS, align_clip, apply_alignment, estimate_alignment, optical_flow
from tsfmicro_lab.training import fit, leave_one_subject_out, predict, subject_interval

from checking import CheckFailed, check, compare, expect, variant

reference = functools.cache(solutions)
ps1, ps2, ps3, ps4, ps5 = (checks(f"ps{n}") for n in range(1, 6))
CHECKS = {
    "ps1": {
        "align": "align",
        "difference": "difference",
        "spot_apex": "spot_apex",
        "endpoint_error": "end_point_error",
    },
    "ps2": {name: name for name in ("parallel", "recurrent", "chunkwise", "cost")} | {"manhattan": "manhattan_bias"},
    "ps3": {"fusion": "Fusion", "comparison": "run"},
    "ps4": {"uf1": "uf1", "pooled": "score", "folds": "folds", "honest": "evaluate"},
    "ps5": {"integrated_gradients": "integrated_gradients", "score": "times_chance", "cover": "cover"},
}


@pytest.mark.parametrize(("name", "what"), [(n, w) for n, whats in CHECKS.items() for w in whats])
def test_the_reference_solution_passes_visible_and_hidden_checks(name, what, capsys):
    function = reference(name)[CHECKS[name][what]]
    getattr(checks(name), f"check_{what}")(function)
    getattr(hidden_checks(name), {"endpoint_error": "endpoint"}.get(what, what))(function)
    out = capsys.readouterr()
    assert out.out.count("✓") == 2
    assert not out.err, "nbgrader gives no points to a graded cell that writes to standard error"


def aligned(frames, landmarks, size):
    return np.stack(
        [apply_alignment(f, estimate_alignment(p, size), size) for f, p in zip(frames, landmarks, strict=True)]
    )


def farthest(frames, onset, offset, start=None, normalise=True):
    """Where a frame is farthest from the onset frame; `start` is what the index counts from."""
    grey = [f.astype(float).mean(-1) / (f.mean() if normalise else 1) for f in frames]
    distance = [np.abs(g - grey[onset]).mean() for g in grey]
    return (onset if start is None else start) + int(np.argmax(distance[onset : offset + 1]))


def by_speed(frames, onset, offset):
    speed = [np.abs(b.astype(float) - a).mean() for a, b in pairwise(frames)]
    return onset + 1 + int(np.argmax(speed[onset:offset]))


def anywhere(frames, onset, offset):
    return int(np.argmax([np.abs(f.astype(float) - frames[onset]).mean() for f in frames]))


def region_mean(of):
    return lambda flow, truth, region: float(of(flow, truth)[region].mean())


PS1 = [
    ("align", aligned, r"aligned on its own: a still face now moves by 0\.\d px; estimate the transform once"),
    ("align", lambda f, p, s: np.stack([cv2.resize(i, (s, s)) for i in f]), "were resized, not aligned"),
    ("align", lambda f, p, s: aligned([f[0]] * len(f), [p[0]] * len(f), s), "the movement is gone"),
    ("align", lambda f, p, s: aligned(f, [p.mean(0)] * len(f), s), "the mean of all landmarks"),
    ("align", lambda f, p, s: aligned(f, [p[-1]] * len(f), s), "the last frame's landmarks"),
    ("align", lambda f, p, s: aligned(f, [p[0]] * len(f), s) / 255, "frames are uint8, 0 to 255, got float64"),
    ("difference", lambda a, b: b - a, "bytes wrapped"),
    ("difference", lambda a, b: a.astype(float) - b, "the sign is turned"),
    ("difference", lambda a, b: cv2.absdiff(a, b), "the sign is lost"),
    ("difference", lambda a, b: cv2.subtract(b, a), "cut to 0"),
    ("difference", lambda a, b: (b.astype(float) - a).mean(-1), "must have shape"),
    ("spot_apex", functools.partial(farthest, start=0), "counts from the onset"),
    ("spot_apex", functools.partial(farthest, normalise=False), "the light flickered"),
    ("spot_apex", by_speed, "moves fastest"),
    ("spot_apex", anywhere, "search between onset and offset"),
    ("spot_apex", lambda f, onset, offset: offset, "farthest from the onset frame"),
    ("endpoint_error", lambda f, t, r: float(np.hypot(*(f - t)).mean()), "the whole picture"),
    ("endpoint_error", region_mean(lambda f, t: np.abs(np.hypot(*f) - np.hypot(*t))), "lengths were compared"),
    ("endpoint_error", region_mean(lambda f, t: ((f - t) ** 2).sum(0)), "squared error"),
    ("endpoint_error", lambda f, t, r: float(((f - t) ** 2).sum(0)[r].mean() ** 0.5), "root was taken after the mean"),
    ("endpoint_error", region_mean(lambda f, t: np.abs(f - t).sum(0)), r"\|dx\| \+ \|dy\| is no distance"),
]


def power(q, gamma, shift=0, tril=True):
    n = torch.arange(len(q))
    mask = gamma ** ((n[:, None] - n).abs() + shift).to(q.dtype)
    return mask.tril() if tril else mask


def stepwise(q, k, v, gamma, order="decay add read"):
    state, outputs = torch.zeros(q.shape[1], v.shape[1], dtype=q.dtype), []
    for n in range(len(q)):
        for step in order.split():
            if step == "decay":
                state = gamma * state
            elif step == "add":
                state = state + torch.outer(k[n], v[n])
            elif step == "overwrite":
                state = torch.outer(k[n], v[n])
            else:
                outputs.append(q[n] @ state)
    return torch.stack(outputs)


def in_chunks(q, k, v, gamma, chunk, age=1, forget=None, hand_over=True):
    state, outputs = torch.zeros(q.shape[1], v.shape[1], dtype=q.dtype), []
    for qc, kc, vc in zip(q.split(chunk), k.split(chunk), v.split(chunk), strict=True):
        ages = gamma ** torch.arange(len(qc), dtype=q.dtype)
        inside = (qc @ kc.T * power(qc, gamma)) @ vc
        outputs.append(inside + hand_over * gamma**age * ages[:, None] * (qc @ state))
        state = gamma ** (len(qc) if forget is None else forget) * state + (kc * ages.flip(0)[:, None]).T @ vc
    return torch.cat(outputs)


def grid(distance, sign=1.0, log=True):
    def bias(gamma, height, width):
        y, x = (i.flatten() for i in torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))
        d = distance((y[:, None] - y).abs(), (x[:, None] - x).abs(), height, width)
        return sign * np.log(gamma) * d if log else gamma**d

    return bias


def raster(dy, dx, height, width):
    place = torch.arange(height * width)
    return (place[:, None] - place).abs()


def columns_first(dy, dx, height, width):
    places = torch.cartesian_prod(torch.arange(width), torch.arange(height))
    return (places[:, None] - places).abs().sum(-1)


def costs(**changes):
    def cost(n, d, chunk):
        true = {"parallel": 2 * n * n * d, "recurrent": 2 * n * d * d, "chunkwise": 2 * n * chunk * d + 2 * n * d * d}
        return true | {form: change(n, d, chunk) for form, change in changes.items()}

    return cost


PS2 = [
    ("parallel", lambda q, k, v, g: (q @ k.T * power(q, g, tril=False)) @ v, "looks into the future"),
    ("parallel", lambda q, k, v, g: (q @ k.T).tril() @ v, "no decay"),
    ("parallel", lambda q, k, v, g: (q @ k.T * power(q, g, 1)) @ v, "one step too early"),
    ("parallel", lambda q, k, v, g: (q @ k.T / q.shape[1] ** 0.5 * power(q, g)) @ v, "no scaling"),
    (
        "parallel",
        lambda q, k, v, g: (q @ k.T).masked_fill(torch.ones(len(q), len(q)).triu(1).bool(), -torch.inf).softmax(-1) @ v,
        "no softmax in retention",
    ),
    ("recurrent", functools.partial(stepwise, order="add read"), "never forgets"),
    ("recurrent", functools.partial(stepwise, order="add decay read"), "the new product decays at once"),
    ("recurrent", functools.partial(stepwise, order="read decay add"), "read before the state knows position n"),
    ("recurrent", functools.partial(stepwise, order="decay read add"), "read from the decayed state"),
    ("recurrent", functools.partial(stepwise, order="overwrite read"), "overwritten, not added"),
    ("chunkwise", functools.partial(in_chunks, hand_over=False), "know nothing of each other"),
    ("chunkwise", functools.partial(in_chunks, age=0), "one step too young"),
    ("chunkwise", functools.partial(in_chunks, age=2), "one step too much"),
    ("chunkwise", functools.partial(in_chunks, forget=1), r"forgets gamma, not gamma\^B"),
    ("chunkwise", lambda q, k, v, g, c: (q @ k.T).tril() @ v, "no decay"),
    ("manhattan", grid(lambda dy, dx, h, w: dy + dx, log=False), "its logarithm"),
    ("manhattan", grid(lambda dy, dx, h, w: dy + dx, sign=-1), "the sign is turned"),
    ("manhattan", grid(lambda dy, dx, h, w: (dy**2 + dx**2) ** 0.5), "Euclidean"),
    ("manhattan", grid(lambda dy, dx, h, w: torch.maximum(dy, dx)), "the larger of"),
    ("manhattan", grid(raster), "raster order"),
    ("manhattan", grid(columns_first), "rows and columns are swapped"),
    ("cost", costs(parallel=lambda n, d, c: n * n * d), "parallel: half is missing"),
    ("cost", costs(parallel=lambda n, d, c: 4 * n * n * d), "additions are not counted"),
    ("cost", costs(chunkwise=lambda n, d, c: 2 * n * c * d), "what chunks hand to each other is missing"),
    ("cost", costs(recurrent=lambda n, d, c: 2 * d * d), "that is one step; there are n"),
]


class Gate(nn.Module):
    """A right answer, of which wrong ones are made."""

    def __init__(self, dim):
        super().__init__()
        self.gate = nn.Conv2d(2 * dim, dim, 1)

    def forward(self, how, where):
        gate = self.gate(torch.cat([how, where], 1)).sigmoid()
        return gate * how + (1 - gate) * where


class Concatenated(Gate):
    def forward(self, how, where):
        return torch.cat([how, where], 1)


class MadeInForward(Gate):
    def forward(self, how, where):
        return nn.Conv2d(2 * how.shape[1], how.shape[1], 1)(torch.cat([how, where], 1)) + self.gate.weight.sum()


class PlainList(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.layers = [nn.Conv2d(2 * dim, dim, 1)]

    def forward(self, how, where):
        return self.layers[0](torch.cat([how, where], 1))


class Deaf(Gate):
    def forward(self, how, where):
        return super().forward(how, where.detach())


class InPlace(Gate):
    def forward(self, how, where):
        how.data += where.data
        return super().forward(how, where)


class AcrossPeople(Gate):
    def forward(self, how, where):
        return super().forward(how, where) * how.softmax(0)


class Unused(Gate):
    def forward(self, how, where):
        return how + where


def compare_models(
    samples, models, recipe, seeds, *, index=lambda f: f.train, fresh=True, epochs=None, ours=None, keep=None
):
    tables = []
    for name, build in models.items():
        for seed in (ours or seeds) if name == "mine" else seeds:
            shared = build(2, seed)
            for fold in leave_one_subject_out(samples.annotations):
                model = build(2, seed) if fresh else shared
                longer = recipe if name == "late" or not epochs else type(recipe)(epochs=epochs, batch_size=4)
                fit(model, samples, index(fold), longer, seed=seed)
                rows = samples.table.loc[fold.test].reset_index(drop=True).assign(model=name, seed=seed)
                rows["truth"] = [samples.classes[i] for i in samples.label[fold.test]]
                rows["predicted"] = [samples.classes[i] for i in predict(model, samples, fold.test).argmax(1)]
                tables.append(rows)
    table = pd.concat(tables, ignore_index=True)
    return table if keep is None else keep(table)


def everybody(fold):
    return np.sort(np.concatenate([fold.train, fold.test]))


PS3 = [
    ("fusion", Concatenated, "need a projection"),
    ("fusion", MadeInForward, "create layers in __init__"),
    ("fusion", PlainList, "use nn.ModuleList"),
    ("fusion", Deaf, "no gradient reaches 'where'"),
    ("fusion", InPlace, "changed in place"),
    ("fusion", AcrossPeople, "who else is in the batch"),
    ("fusion", Unused, "no parameter gets a gradient"),
    ("comparison", functools.partial(compare_models, index=everybody), "trained on every subject"),
    ("comparison", functools.partial(compare_models, fresh=False), "build a fresh one"),
    ("comparison", functools.partial(compare_models, epochs=6), "not trained for as long"),
    ("comparison", functools.partial(compare_models, ours=[90, 91]), "from other seeds"),
    ("comparison", functools.partial(compare_models, keep=lambda t: t[t.seed == t.seed.min()]), "none chosen"),
]


def f1_of(truth, predicted, name):
    t, p = np.array(truth) == name, np.array(predicted) == name
    return 2 * (t & p).sum() / max(t.sum() + p.sum(), 1)


def recall_of(truth, predicted, name):
    t, p = np.array(truth) == name, np.array(predicted) == name
    return (t & p).sum() / max(t.sum(), 1)


def mean_over_folds(labels):
    def score(table, classes):
        groups = [rows for _, rows in table.groupby("subject")]
        return float(np.mean([np.mean([f1_of(r.truth, r.predicted, c) for c in labels(r)]) for r in groups]))

    return score


def pairs(test_sets):
    def folds(subjects):
        n = np.arange(len(subjects))
        return [(np.setdiff1d(n, test), test) for test in test_sets(np.asarray(subjects))]

    return folds


def blocks(subjects):
    return np.array_split(np.arange(len(subjects)), len(set(subjects)))


def program(number):
    scope = {}
    exec((ASSIGNMENTS / "source" / "ps4" / f"program_{number}.py").read_text(), scope)
    return scope["evaluate"]


def constant(features, labels, subjects):
    return np.tile([0.6, 0.4], (len(labels), 1))


def trained_on_all(features, labels, subjects):
    return LogisticRegression(C=1e4, max_iter=3000).fit(features, labels).predict_proba(features)


PS4 = [
    ("uf1", lambda t, p, c: np.mean(np.array(t) == np.array(p)), "that is the accuracy"),
    ("uf1", lambda t, p, c: np.mean([recall_of(t, p, k) for k in c]), "that is UAR"),
    ("uf1", lambda t, p, c: np.mean([recall_of(p, t, k) for k in c]), "the mean precision"),
    ("uf1", lambda t, p, c: sum(t.count(k) / len(t) * f1_of(t, p, k) for k in c), "weighted by their size"),
    ("uf1", lambda t, p, c: np.mean([f1_of(t, p, k) for k in c if k in t]), "was left out of the mean"),
    ("pooled", mean_over_folds(lambda r: "abc"), "a class that a subject does not show counts 0"),
    ("pooled", mean_over_folds(lambda r: sorted({*r.truth})), "each over its own classes"),
    ("pooled", mean_over_folds(lambda r: sorted({*r.truth, *r.predicted})), "every class present or guessed"),
    ("folds", pairs(lambda s: [[i] for i in range(len(s))]), "is on both sides"),
    ("folds", pairs(blocks), "is on both sides"),
    ("folds", lambda s: [(np.arange(len(s)), np.flatnonzero(s == n)) for n in set(s)], "in train and test at once"),
    (
        "folds",
        pairs(lambda s: [np.flatnonzero(np.isin(s, sorted({*s})[i : i + 2])) for i in (0, 2)]),
        "one subject is left",
    ),
    ("folds", pairs(lambda s: [np.flatnonzero(s == n) for n in sorted({*s})[1:]]), "make [36] folds"),
    ("honest", program(1), "a statistic .* was fitted on the person who is tested"),
    ("honest", program(2), "something was chosen by the labels"),
    ("honest", program(3), "or copies of them, are in its training set"),
    ("honest", program(4), "something was chosen by the labels"),
    ("honest", constant, "it no longer learns"),
    ("honest", trained_on_all, "or copies of them, are in its training set"),
]


def path(
    model, inputs, baselines, target, steps, *, end=False, plain=False, times="difference", apart=False, total=False
):
    """Integrated gradients with one mistake."""
    maps = []
    for which in range(2):
        slope = torch.zeros_like(inputs[which])
        for step in range(steps):
            a = 1.0 if end else (step + 0.5) / steps
            at = [
                (b + (a if not apart or i == which else 1.0) * (x - b)).requires_grad_()
                for i, (x, b) in pairs_of(inputs, baselines)
            ]
            slope += torch.autograd.grad(model(*at)[0, target], at)[which] / (1 if total else steps)
        x, b = inputs[which], baselines[which]
        maps.append(slope * {"difference": x - b, "input": x, "nothing": torch.ones_like(x)}[times])
    return tuple(maps)


def pairs_of(inputs, baselines):
    return list(enumerate(zip(inputs, baselines, strict=True)))


def share(power_of=1, signed=False, region=lambda m: m, divide=lambda mass, m: m.mean()):
    def score(heat, moved):
        mass = heat if signed else np.abs(heat) ** power_of
        inside = region(moved)
        return float(mass[inside].sum() / mass.sum() / divide(mass, inside))

    return score


def covered(samples, y, x, radius, *, of=lambda s: s.float().mean(0), frames=("onset", "apex"), clone=True, edge=0):
    changed = {}
    for name in ("onset", "apex"):
        all_frames = getattr(samples, name)
        changed[name] = all_frames.clone() if clone else all_frames
        here = np.s_[:, :, max(y - radius, edge) : y + radius + 1, max(x - radius, edge) : x + radius + 1]
        if name in frames:
            changed[name][here] = of(changed[name][here]).round().to(torch.uint8)
    return samples.with_tensors(onset=changed["onset"], apex=changed["apex"])


def p(function, **settings):
    return functools.partial(function, **settings)


PS5 = [
    ("integrated_gradients", p(path, end=True), "gradient × input at the end of the path"),
    ("integrated_gradients", p(path, times="input"), "multiply by input - baseline"),
    ("integrated_gradients", p(path, times="nothing"), "the mean gradient alone"),
    ("integrated_gradients", p(path, apart=True), "each stream walked alone"),
    ("integrated_gradients", p(path, total=True), "not divided by the number of steps"),
    ("integrated_gradients", lambda *a: tuple(m.abs() for m in path(*a)), "the sign is lost"),
    ("integrated_gradients", lambda m, i, b, t, s: path(m, i, b, 1 - t, s), "explains the other class"),
    ("score", share(signed=True), "signs cancel"),
    ("score", share(divide=lambda mass, m: 1), "the share alone"),
    ("score", share(region=lambda m: ~m), "outside the moved skin"),
    ("score", share(divide=lambda mass, m: m.sum() * mass[~m].mean() / mass.sum()), "compares inside with outside"),
    ("score", share(2), "large values count twice"),
    ("cover", p(covered, clone=False), "the samples themselves were changed"),
    ("cover", lambda s, y, x, r: covered(s, x, y, r), "y and x are swapped"),
    ("cover", p(covered, frames=("onset",)), "nothing was covered in the apex frame"),
    ("cover", p(covered, edge=-99), "a slice from -4 is empty"),
    (
        "cover",
        p(covered, of=lambda s: s.float().mean((2, 3), keepdim=True).expand_as(s)),
        "still differs between clips",
    ),
    ("cover", p(covered, of=lambda s: torch.zeros_like(s).float()), "is wrong"),
]
WRONG = [(m, *row) for m, rows in ((ps1, PS1), (ps2, PS2), (ps3, PS3), (ps4, PS4), (ps5, PS5)) for row in rows]


@pytest.mark.parametrize(("module", "what", "wrong", "message"), WRONG, ids=lambda v: v if isinstance(v, str) else "")
def test_a_mistake_gets_its_own_message(module, what, wrong, message):
    with pytest.raises(CheckFailed, match=message) as failure:
        getattr(module, f"check_{what}")(wrong)
    own = [rows for other, name, _, rows in WRONG if other is module and name == what and rows != message]
    assert sum(bool(re.search(pattern, str(failure.value))) for pattern in own) == 0, (
        "the message fits another mistake, too"
    )


@pytest.mark.parametrize("name", CHECKS)
def test_examples_of_the_checks_are_right(name):
    assert doctest.testmod(checks(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE).failed == 0


def test_every_check_knows_three_mistakes_or_more():
    for name, whats in CHECKS.items():
        for what in whats:
            assert sum(m.__name__.endswith(name) and w == what for m, w, *_ in WRONG) >= 3, f"{name} {what}"


MODELS = [
    (lambda c, s: create_model("tsfmicro_late", c, seed=s), "the model still adds"),
    (lambda c, s: mine(c, s, late=0), "the other weights differ"),
    (lambda c, s: mine(5, s), "tell 3 classes apart"),
    (lambda c, s: mine(c, s, fusion=None), "other fusion weights"),
]


def mine(classes, seed, late=None, fusion=0):
    model = create_model("tsfmicro_late", classes, seed=seed if late is None else late)
    if fusion is not None:
        torch.manual_seed(seed)
    model.fuse = Gate(model.config.dims[-1])
    return model


def test_the_model_is_late_fusion_but_for_one_part():
    ps3.check_model(mine, Gate)
    for build, message in MODELS:
        with pytest.raises(CheckFailed, match=message):
            ps3.check_model(build, Gate)


def test_what_is_not_written_or_raises_is_told_without_a_trace(capsys):
    def empty(onset, apex):
        raise NotImplementedError

    with pytest.raises(CheckFailed, match="there is nothing here yet"):
        ps1.check_difference(empty)
    with pytest.raises(CheckFailed, match="stopped with ZeroDivisionError") as failure:
        ps1.check_difference(lambda onset, apex: 1 / 0)
    assert failure.value._render_traceback_() == [f"✗ {failure.value}"]
    for value, message in (
        (None, "end with `return`"),
        ("text", "must be a number"),
        (np.nan, "NaN"),
    ):
        with pytest.raises(CheckFailed, match=message):
            compare(value, 1.0, {}, "the result")

    @check
    def noisy(function):
        """Is quiet."""
        function()
        expect(True, "")

    noisy(lambda: print("much", file=sys.stderr))
    assert capsys.readouterr() == ("✓ Is quiet.\n", "")


def test_data_hang_on_name_and_course_and_a_grader_knows_the_name(monkeypatch):
    names = [f"student {i}" for i in range(200)]
    assert len({variant(n) for n in names}) > 195
    assert {variant(n) % 8 for n in names} == set(range(8)), "every leak and every lamp occurs"
    assert variant("Ada") == variant(" ada ") != variant("ada", 2)
    monkeypatch.setenv("TSFMICRO_STUDENT", "ben")
    assert variant("ada") == variant("ben")


def answered(people=3, seeds=(0, 1), same_people=True):
    """A comparison in which `mine` is better than `late`, and the gain."""
    keys = [(m, s, f"s{p}", f"c{c}") for m in ("late", "mine") for s in seeds for p in range(people) for c in range(4)]
    table = pd.DataFrame(keys, columns=["model", "seed", "subject", "clip"]).assign(onset=0)
    table["truth"] = ["ab"[int(clip[1]) % 2] for clip in table["clip"]]
    wrong = (table["clip"] == "c0") | ((table.model == "late") & (table["clip"] == "c1") & (table.subject != "s0"))
    table["predicted"] = table.truth.where(~wrong, table.truth.map({"a": "b", "b": "a"}))
    mine, late = (table[table.model == name] for name in ("mine", "late"))
    return table, subject_interval(mine, ["a", "b"], against=late, same_people=same_people)


@functools.cache
def flows():
    """Errors of all flows on the clip of seed 4, inside what moved and over the whole picture."""
    clip = align_clip(SyntheticMicroExpressions(1, 1, 128, 4, amplitude=(2.0, 3.0))[0], 112)
    fields = {m: optical_flow(clip.frame(clip.onset), clip.frame(clip.apex), m) for m in FLOWS}
    error = reference("ps1")["end_point_error"]
    regions = (clip.truth.moved, np.ones_like(clip.truth.moved))
    return [{m: error(f, clip.truth.field, region) for m, f in fields.items()} for region in regions]


def flow_answer(kind):
    inside, whole = flows()
    best, worst = min(inside, key=inside.get), max(inside, key=inside.get)
    answers = {"right": (best, inside[best]), "name": ("raft", 0.1), "worst": (worst, inside[worst])}
    return *(answers | {"whole": (best, whole[best]), "error": (best, 2 * inside[best])})[kind], 4


def comparison_answer(kind):
    table, gain = answered()
    renamed = table.assign(model=table.model.replace("mine", "ours"))
    wrong = {"names": (renamed, gain), "seeds": answered(seeds=(0,)), "sign": (table, tuple(-g for g in gain))}
    wrong |= {"people": answered(people=2), "right": (table, gain), "own people": answered(same_people=False)}
    return wrong[kind]


PLACE = ps5.PLACES[1]  # of seed 1, whose lamp burns in both frames
ANSWERS = [
    ("ps1", "best_flow", lambda: flow_answer("right"), None),
    ("ps1", "best_flow", lambda: flow_answer("name"), "the flow is one of"),
    ("ps1", "best_flow", lambda: flow_answer("worst"), "another flow is better than"),
    ("ps1", "best_flow", lambda: flow_answer("whole"), "over the whole picture"),
    ("ps1", "best_flow", lambda: flow_answer("error"), "Is `me` the name you hand in under"),
    ("ps2", "crossing", lambda: (21, 20), None),
    ("ps2", "crossing", lambda: (20, 20), "both cost the same"),
    ("ps2", "crossing", lambda: (40, 20), "Compare 2 n² d with 2 n d²"),
    ("ps2", "crossing", lambda: (None, 20), "does the function end with"),
    ("ps3", "result", lambda: comparison_answer("right"), None),
    ("ps3", "result", lambda: comparison_answer("names"), "must hold the models 'late' and 'mine'"),
    ("ps3", "result", lambda: comparison_answer("seeds"), "at least 2 seeds"),
    ("ps3", "result", lambda: comparison_answer("people"), "and 3 subjects"),
    ("ps3", "result", lambda: comparison_answer("sign"), "the gain is that of 'mine' over 'late'"),
    ("ps3", "result", lambda: comparison_answer("own people"), "same_people=True"),
    ("ps4", "leak", lambda: ("choice", 1), None),
    ("ps4", "leak", lambda: ("epoch", 1), "the answer is one of"),
    ("ps4", "leak", lambda: ("copies", 1), "another leak was planted"),
    ("ps5", "shortcut", lambda: ("onset", *PLACE, 1), None),
    ("ps5", "shortcut", lambda: ("apex", *PLACE, 1), "the stream is 'onset' or 'difference'"),
    ("ps5", "shortcut", lambda: ("difference", *PLACE, 1), "reads it from another stream"),
    ("ps5", "shortcut", lambda: ("onset", *PLACE[::-1], 1), "y and x are swapped"),
    ("ps5", "shortcut", lambda: ("onset", 28, 28, 1), "nothing special at y = 28"),
    ("ps5", "effect", lambda: (0.9, 0.4), None),
    ("ps5", "effect", lambda: (90, 40), "between 0 and 1"),
    ("ps5", "effect", lambda: (0.5, 0.2), "train it as the notebook says"),
    ("ps5", "effect", lambda: (0.9, 0.85), "hardly changes the accuracy"),
]


@pytest.mark.parametrize(("name", "what", "answer", "message"), ANSWERS)
def test_a_wrong_number_is_told_what_is_wrong_with_it(name, what, answer, message):
    hidden = getattr(hidden_checks(name), what)
    if message is None:
        hidden(*answer())
    else:
        with pytest.raises(CheckFailed, match=message):
            hidden(*answer())
