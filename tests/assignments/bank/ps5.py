"""ps5: integrated gradients, a score against the truth, the shortcut, a cover, what the cover does."""

import functools

import captum.attr
import numpy as np
import torch
from sklearn.metrics import balanced_accuracy_score
from torch import nn

from assignments.solutions import checks
from tsfmicro_lab.explain.attribution import mass_inside
from tsfmicro_lab.models.tsfmicro import TSFmicro, TSFmicroConfig
from tsfmicro_lab.training import predict

p = functools.partial


def at_alphas(model, inputs, baselines, target, alphas, apart=False):
    """Mean gradients over some places of the path, one after another."""
    sums = [torch.zeros_like(x) for x in inputs]
    for a in alphas:
        for which in range(2):
            at = [
                (b + (a if not apart or i == which else 1.0) * (x - b)).requires_grad_()
                for i, (x, b) in enumerate(zip(inputs, baselines, strict=True))
            ]
            sums[which] += torch.autograd.grad(model(*at)[0, target], at)[which] / len(alphas)
    return sums


def middles(steps):
    return [(i + 0.5) / steps for i in range(steps)]


def ig(alphas=middles, times=lambda x, b: x - b, change=lambda m, steps: m, apart=False, target=lambda t: t):
    """Integrated gradients, or one mistake."""

    def integrated(model, inputs, baselines, wanted, steps):
        means = at_alphas(model, inputs, baselines, target(wanted), alphas(steps), apart)
        return tuple(change(m * times(x, b), steps) for m, x, b in zip(means, inputs, baselines, strict=True))

    return integrated


def batched(model, inputs, baselines, target, steps):
    """All steps at once."""
    a = ((torch.arange(steps) + 0.5) / steps).view(-1, 1, 1, 1)
    at = [(b + a * (x - b)).detach().requires_grad_() for x, b in zip(inputs, baselines, strict=True)]
    model(*at)[:, target].sum().backward()
    return [(x - b) * t.grad.mean(0, keepdim=True) for x, b, t in zip(inputs, baselines, at, strict=True)]


def backward(model, inputs, baselines, target, steps):
    """Gradients gathered by backward."""
    at = [torch.zeros_like(x).requires_grad_() for x in inputs]
    for a in middles(steps):
        moved = [b + a * (x - b) + zero for x, b, zero in zip(inputs, baselines, at, strict=True)]
        (model(*moved)[0, target] / steps).backward()
    return tuple(t.grad * (x - b) for t, x, b in zip(at, inputs, baselines, strict=True))


def in_place(model, inputs, baselines, target, steps):
    maps = [torch.zeros_like(x) for x in inputs]
    for a in middles(steps):
        at = [b.lerp(x, a).requires_grad_() for x, b in zip(inputs, baselines, strict=True)]
        for out, slope in zip(maps, torch.autograd.grad(model(*at)[0, target], at), strict=True):
            out.add_(slope)
    for out, x, b in zip(maps, inputs, baselines, strict=True):
        out.mul_(x - b).div_(steps)
    return maps


def trapezoid(steps):
    """Ends count half: the places are doubled in between."""
    inner = [i / steps for i in range(1, steps)]
    return [0.0, 1.0, *inner, *inner]


def by_captum(model, inputs, baselines, target, steps):
    return captum.attr.IntegratedGradients(model).attribute(inputs, baselines, target=target, n_steps=steps)


def by_captums_saliency(model, inputs, baselines, target, steps):
    return captum.attr.InputXGradient(model).attribute(inputs, target=target)


def differences(model, inputs, baselines, target, steps):
    """Each pixel switched on alone."""
    maps = [torch.zeros_like(x) for x in inputs]
    for which, out in enumerate(maps):
        for i in range(out.numel()):
            at = [b.clone() for b in baselines]
            at[which].view(-1)[i] = inputs[which].view(-1)[i]
            out.view(-1)[i] = model(*at)[0, target] - model(*baselines)[0, target]
    return maps


def shared_evenly(model, inputs, baselines, target, steps):
    """Sums to the change of the logit, and says nothing of pixels."""
    change = (model(*inputs) - model(*baselines))[0, target].detach()
    return tuple(torch.full_like(x, float(change) / 2 / x.numel()) for x in inputs)


def with_random_path(model, inputs, baselines, target, steps):
    g = torch.Generator().manual_seed(0)
    return ig(lambda n: torch.rand(n, generator=g).tolist())(model, inputs, baselines, target, steps)


IG = [
    ("trivial", "nothing", lambda m, x, b, t, s: None, "got None"),
    ("trivial", "zero", lambda m, x, b, t, s: [0 * i for i in x], "is wrong"),
    ("trivial", "the inputs", lambda m, x, b, t, s: x, "is wrong"),
    ("trivial", "input - baseline", lambda m, x, b, t, s: [i - j for i, j in zip(x, b, strict=True)], "is wrong"),
    ("trivial", "noise", lambda m, x, b, t, s: [torch.randn(i.shape) for i in x], "is wrong"),
    ("trivial", "one map", lambda m, x, b, t, s: ig()(m, x, b, t, s)[0], "return two maps|shape of its input"),
    ("trivial", "one map of three", lambda m, x, b, t, s: [*ig()(m, x, b, t, s), x[0]], "return two maps"),
    ("shortcut", "one gradient in the middle", ig(lambda n: [0.5]), "one gradient, in the middle"),
    ("shortcut", "three gradients", ig(lambda n: middles(3)), "is wrong"),
    ("shortcut", "gradients at both ends", ig(lambda n: [0.0, 1.0]), "is wrong"),
    ("shortcut", "captum", by_captum, "calls captum.*walk the path yourself"),
    ("shortcut", "another method of captum", by_captums_saliency, "calls captum"),
    ("shortcut", "the change shared out evenly", shared_evenly, "is wrong"),
    ("shortcut", "pixel by pixel, without a gradient", differences, "is wrong"),
    ("shortcut", "ten random places", ig(lambda n: np.random.default_rng(0).random(10).tolist()), "is wrong"),
    ("typical", "the end alone", ig(lambda n: [1.0]), "gradient × input at the end of the path"),
    ("typical", "the baseline alone", ig(lambda n: [0.0]), "at the baseline alone"),
    ("typical", "times the input", ig(times=lambda x, b: x), "multiply by input - baseline"),
    ("typical", "times nothing", ig(times=lambda x, b: 1), "the mean gradient alone"),
    ("typical", "each stream alone", ig(apart=True), "each stream walked alone"),
    ("typical", "a sum", ig(change=lambda m, s: m * s), "not divided by the number of steps"),
    ("typical", "absolute", ig(change=lambda m, s: m.abs()), "the sign is lost"),
    ("typical", "turned", ig(times=lambda x, b: b - x), "the sign is turned"),
    ("typical", "swapped", lambda *a: ig()(*a)[::-1], "the two maps have changed places"),
    ("typical", "the other class", ig(target=lambda t: 1 - t), "explains the other class"),
    ("typical", "class 0, always", ig(target=lambda t: 0), "explains the other class|is wrong"),
    ("typical", "summed over colours", ig(change=lambda m, s: m.sum(1)), "shape of its input"),
    ("typical", "squared", ig(change=lambda m, s: m**2), "is wrong"),
    ("typical", "half the way", ig(lambda n: [a / 2 for a in middles(n)]), "is wrong"),
    ("typical", "a stop", lambda m, x, b, t, s: m(*x)[0, t].backward(), "stopped with RuntimeError"),
    ("right", "a loop", ig()),
    ("right", "all at once", batched),
    ("right", "backward", backward),
    ("right", "in place", in_place),
    ("right", "trapezoids", ig(trapezoid)),
    ("right", "right ends", ig(lambda n: [i / 200 for i in range(1, 201)])),
    ("right", "twice as many steps", ig(lambda n: middles(2 * n))),
    ("right", "numpy", lambda *a: [m.numpy() for m in ig()(*a)]),
    ("right", "stacked", lambda *a: torch.stack(ig()(*a))),
]


def share(power_of=1, signed=False, region=lambda m: m, divide=lambda mass, m: m.mean()):
    def score(heat, moved):
        mass = heat if signed else np.abs(heat) ** power_of
        inside = region(moved)
        return float(mass[inside].sum() / mass.sum() / divide(mass, inside))

    return score


def in_loops(heat, moved):
    inside = total = count = 0.0
    for value, m in zip(heat.ravel(), moved.ravel(), strict=True):
        total += abs(value)
        inside += abs(value) * m
        count += m
    return inside / total / (count / heat.size)


def normalised(heat, moved):
    heat /= np.abs(heat).sum()
    return np.abs(heat)[moved].sum() * moved.size / np.count_nonzero(moved)


def positive(heat, moved):
    return share()(heat.clip(0), moved)


SCORE = [
    ("trivial", "nothing", lambda h, m: None, "got None"),
    ("trivial", "one", lambda h, m: 1.0, "is wrong"),
    ("trivial", "zero", lambda h, m: 0.0, "is wrong"),
    ("trivial", "the map", lambda h, m: h * m, "must return one number"),
    ("trivial", "a truth value", lambda h, m: True, "is wrong"),
    ("shortcut", "the lab's", lambda h, m: mass_inside(h, m)[0] / m.mean(), "calls tsfmicro_lab.explain"),
    ("shortcut", "the largest pixel alone", lambda h, m: m.ravel()[abs(h).argmax()] / m.mean(), "is wrong"),
    ("shortcut", "top tenth", lambda h, m: m[abs(h) > np.quantile(abs(h), 0.9)].mean() / m.mean(), "is wrong"),
    ("shortcut", "correlation", lambda h, m: np.corrcoef(abs(h).ravel(), m.ravel())[0, 1], "is wrong"),
    ("shortcut", "no more than 3", lambda h, m: min(share()(h, m), 1.0), "is wrong"),
    ("typical", "signs", share(signed=True), "signs cancel"),
    ("typical", "share alone", share(divide=lambda mass, m: 1), "the share alone"),
    ("typical", "outside", share(region=lambda m: ~m), "outside the moved skin"),
    ("typical", "inside by outside", lambda h, m: abs(h)[m].mean() / abs(h)[~m].mean(), "compares inside with outside"),
    ("typical", "squares", share(2), "large values count twice"),
    ("typical", "positive alone", positive, "only what speaks for the class|is wrong"),
    ("typical", "multiplied", lambda h, m: share()(h, m) * m.mean() ** 2, "multiplied by the region's share"),
    ("typical", "by pixels", lambda h, m: abs(h)[m].sum() / abs(h).sum() / m.sum(), "by the number of pixels"),
    ("typical", "the mean inside", lambda h, m: abs(h)[m].mean(), "is wrong"),
    ("typical", "the sum inside", lambda h, m: abs(h)[m].sum(), "is wrong"),
    (
        "typical",
        "absolute after the sum",
        lambda h, m: abs(h[m].sum()) / abs(h.sum()) / m.mean(),
        "is wrong|signs cancel",
    ),
    ("typical", "turned over", lambda h, m: 1 / share()(h, m), "is wrong"),
    ("typical", "difference", lambda h, m: share()(h, m) - 1, "is wrong"),
    ("typical", "by the largest", lambda h, m: abs(h)[m].max() / abs(h).max() / m.mean(), "is wrong"),
    ("right", "shares", share()),
    ("right", "means", lambda h, m: abs(h)[m].mean() / abs(h).mean()),
    ("right", "a loop", in_loops),
    ("right", "in place", normalised),
    ("right", "torch", lambda h, m: torch.tensor(h).abs()[torch.tensor(m)].mean() / torch.tensor(h).abs().mean()),
    ("right", "weights", lambda h, m: np.average(m, weights=abs(h)) / m.mean()),
    ("right", "32 bit", lambda h, m: share()(h.astype(np.float32), m)),
    ("right", "where", lambda h, m: np.where(m, abs(h), 0).sum() / abs(h).sum() * m.size / m.sum()),
]
PLACES = checks("ps5").PLACES


def found(kind, what, seed, message="", stream=None, move=(0, 0), turn=False, **bound):
    y, x = PLACES[seed % 4]
    y, x = y + move[0], x + move[1]
    own = {"stream": ("onset", "difference")[seed // 4 % 2], "y": x if turn else y, "x": y if turn else x}
    own |= {"own_seed": seed} | ({"stream": stream} if stream else {}) | bound
    return (kind, what, own, *([message] if message else []))


FIND = [
    found("trivial", "no place", 1, "y must be a number", y=None),
    found("trivial", "the apex", 1, "the stream is 'onset' or 'difference'", "apex"),
    found("trivial", "both streams", 1, "the stream is 'onset' or 'difference'", ("onset", "difference")),
    found("trivial", "the middle", 1, "nothing special at y = 28, x = 28", y=28, x=28),
    found("trivial", "the corner", 1, "nothing special", y=0, x=0),
    found("trivial", "text", 1, "x must be a number, got str", x="48"),
    found("trivial", "all rows", 1, "y must be one number", y=[7, 8]),
    found("shortcut", "the mouth", 2, "nothing special", y=42, x=28),
    found("shortcut", "place of another student", 0, "nothing special", y=48, x=48),
    found("shortcut", "stream of another student", 5, "from another stream than the onset frame", "onset"),
    found("shortcut", "a row alone", 3, "nothing special", x=7),
    found("shortcut", "in pixels of 224", 3, "nothing special", y=192, x=192),
    found("typical", "the other stream", 1, "from another stream than the difference frame", "difference"),
    found("typical", "the other stream, a flash", 6, "from another stream than the onset frame", "onset"),
    found("typical", "swapped", 1, "y and x are swapped", turn=True),
    found("typical", "swapped, below", 2, "y and x are swapped", turn=True),
    found("typical", "8 pixels off", 0, "nothing special", move=(8, 0)),
    found("typical", "9 pixels off", 3, "nothing special", move=(0, -9)),
    found("typical", "from below", 0, "nothing special", y=48),
    found("typical", "a share of the side", 0, "nothing special", y=0.125, x=0.125),
    found("typical", "capital letters", 1, "the stream is", "Onset"),
    *(found("right", f"student {seed}", seed) for seed in range(8)),
    found("right", "6 pixels off", 2, move=(6, -6)),
    found("right", "numpy", 2, y=np.int64(48), x=np.int64(7)),
    found("right", "floats", 4, y=7.4, x=6.6),
]


def covered(
    samples, y, x, radius, *, of=lambda s: s.float().mean(0), frames=("onset", "apex"), clone=True, edge=0, more=0
):
    changed = {}
    for name in ("onset", "apex"):
        all_frames = getattr(samples, name)
        changed[name] = all_frames.clone() if clone else all_frames
        here = np.s_[:, :, max(y - radius, edge) : y + radius + 1 + more, max(x - radius, edge) : x + radius + 1 + more]
        if name in frames:
            changed[name][here] = of(changed[name][here]).round().to(torch.uint8)
    return samples.with_tensors(onset=changed["onset"], apex=changed["apex"])


def own_frames(samples, y, x, radius):
    """Every clip's mean over its own square."""
    return covered(samples, y, x, radius, of=lambda s: s.float().mean((2, 3), keepdim=True).expand_as(s))


def pixel_by_pixel(samples, y, x, radius):
    out = {}
    for name in ("onset", "apex"):
        f = samples[name].clone()
        for i in range(max(y - radius, 0), min(y + radius + 1, f.shape[2])):
            for j in range(max(x - radius, 0), min(x + radius + 1, f.shape[3])):
                f[:, :, i, j] = f[:, :, i, j].double().mean(0).round().byte()
        out[name] = f
    return samples.with_tensors(**out)


def by_mask(samples, y, x, radius):
    side = samples.onset.shape[-1]
    i = torch.arange(side)
    mask = ((i - y).abs() <= radius)[:, None] & ((i - x).abs() <= radius)
    mean = {n: samples[n].float().mean(0, keepdim=True).byte() for n in ("onset", "apex")}
    return samples.with_tensors(**{n: torch.where(mask, mean[n], samples[n]) for n in mean})


def by_numpy(samples, y, x, radius):
    out = {}
    for name in ("onset", "apex"):
        f = samples[name].numpy().copy()
        rows, columns = np.clip([y - radius, y + radius + 1], 0, None), np.clip([x - radius, x + radius + 1], 0, None)
        part = f[:, :, slice(*rows), slice(*columns)]
        part[:] = part.mean(0, keepdims=True).astype(np.uint8)
        out[name] = torch.from_numpy(f)
    return samples.with_tensors(**out)


def relabelled(samples, y, x, radius):
    from dataclasses import replace

    return replace(covered(samples, y, x, radius), label=samples.label.flip(0))


COVER = [
    ("trivial", "nothing", lambda s, y, x, r: None, "must return Samples, got None"),
    ("trivial", "as they were", lambda s, y, x, r: s, "nothing was covered in the onset frame|at the edge"),
    ("trivial", "frames alone", lambda s, y, x, r: s.onset, "must return Samples, got Tensor"),
    ("trivial", "a pair", lambda s, y, x, r: (s.onset, s.apex), "must return Samples, got tuple"),
    ("trivial", "everything grey", lambda s, y, x, r: covered(s, 28, 28, 28), "changed outside the square"),
    ("shortcut", "the middle, always", lambda s, y, x, r: covered(s, 28, 28, r), "changed outside the square"),
    ("shortcut", "radius 6, always", lambda s, y, x, r: covered(s, y, x, 6), "changed outside the square"),
    ("shortcut", "black", p(covered, of=lambda s: torch.zeros_like(s).float()), "the square is black"),
    ("shortcut", "white", p(covered, of=lambda s: torch.full_like(s, 255).float()), "is wrong"),
    ("shortcut", "grey", p(covered, of=lambda s: torch.full_like(s, 128).float()), "is wrong"),
    ("shortcut", "noise alike in all clips", p(covered, of=lambda s: torch.rand(s.shape[1:]) * 255), "is wrong"),
    ("shortcut", "the first clip's", p(covered, of=lambda s: s[0].float()), "frames of the first clip"),
    ("typical", "in place", p(covered, clone=False), "the samples themselves were changed"),
    ("typical", "swapped", lambda s, y, x, r: covered(s, x, y, r), "y and x are swapped"),
    ("typical", "onset alone", p(covered, frames=("onset",)), "nothing was covered in the apex frame"),
    ("typical", "apex alone", p(covered, frames=("apex",)), "nothing was covered in the onset frame"),
    ("typical", "negative slices", p(covered, edge=-99), "a slice from -4 is empty"),
    ("typical", "each clip's own mean", own_frames, "still differs between clips"),
    (
        "typical",
        "one colour of all",
        p(covered, of=lambda s: s.float().mean((0, 2, 3), keepdim=True).expand_as(s)),
        "that is one colour",
    ),
    ("typical", "one pixel short", lambda s, y, x, r: covered(s, y, x, r, more=-1), "still differs between clips"),
    ("typical", "one pixel too many", lambda s, y, x, r: covered(s, y, x, r, more=1), "changed outside the square"),
    ("typical", "half the mean", p(covered, of=lambda s: s.float().mean(0) / 2), "is wrong"),
    ("typical", "labels turned round", relabelled, "labels and table must stay"),
    ("typical", "floats", lambda s, y, x, r: s.with_tensors(onset=s.onset / 255, apex=s.apex / 255), "uint8, got"),
    ("typical", "shuffled, not covered", p(covered, of=lambda s: s.flip(0).float()), "still differs between clips"),
    ("right", "slices", covered),
    ("right", "pixel by pixel", pixel_by_pixel),
    ("right", "a mask, rounded down", by_mask),
    ("right", "numpy", by_numpy),
    ("right", "median, nearly the mean", p(covered, of=lambda s: s.double().mean(0) + 0.4)),
    ("right", "64 bit", p(covered, of=lambda s: s.double().mean(0))),
]


class Lamp(TSFmicro):
    """Sees the lamp of a student, and guesses by the mean grey where it is covered."""

    name, input_names = "lamp", ("onset",)

    def __init__(self, seed, certain=True):
        super().__init__(TSFmicroConfig(3, image_size=56))
        self.place, self.weight = PLACES[seed % 4], nn.Parameter(torch.tensor(30.0))
        self.certain = certain

    def forward(self, onset):
        y, x = self.place
        colour = onset[:, :, y, x] - onset[:, :, y, x].mean(1, keepdim=True)
        other = torch.nn.functional.one_hot((onset.mean((1, 2, 3)) * 1000).long() % 3, 3)
        sees = (onset[:, 0, 30, 30] * 1000).long() % 3 > 0  # and overlooks it now and then
        return self.weight * colour * self.certain * sees[:, None] + other


checks("ps5").create_model = lambda *a: Lamp(0)  # stands for the network, whose training takes too long here


@functools.cache
def accuracies(seed, y=None, x=None, radius=10, everybody=False):
    """Of the model that sees the lamp: open and covered."""
    s = checks("ps5").lamp_samples(seed)
    test = np.arange(len(s)) if everybody else np.flatnonzero(s.subjects == s.subjects[-1])
    place = PLACES[seed % 4] if y is None else (y, x)
    both = (s, covered(s, *place, radius))
    return tuple(balanced_accuracy_score(t.label[test], predict(Lamp(seed), t, test).argmax(1)) for t in both)


def effect(kind, what, answer, message="", seed=1, **bound):
    y, x = PLACES[seed % 4]
    before, after = answer(*accuracies(seed)) if callable(answer) else answer
    own = {"before": before, "after": after, "y": y, "x": x, "model": Lamp(seed), "own_seed": seed} | bound
    return (kind, what, own, *([message] if message else []))


EFFECT = [
    effect("trivial", "nothing", (None, None), "before must be a number"),
    effect("trivial", "one and zero", (1.0, 0.0), "not the accuracies of your model"),
    effect("trivial", "typed", (0.95, 0.35), "not the accuracies|is wrong"),
    effect("trivial", "chance", (1 / 3, 1 / 3), "not the accuracies"),
    effect("trivial", "per cent", (90, 40), "lie between 0 and 1"),
    effect("trivial", "negative", (0.9, -0.1), "lie between 0 and 1"),
    effect("trivial", "text", ("90 %", "40 %"), "before must be a number, got str"),
    effect("trivial", "one and a third", (1.0, 0.34), "not the accuracies"),
    effect("shortcut", "of another student", accuracies(2), "not the accuracies"),
    effect("shortcut", "another place covered", accuracies(1, 28, 28), "nothing was covered|not the accuracies"),
    effect("shortcut", "no place", accuracies(1), "y and x must be a number", y=None),
    effect("shortcut", "a place by chance", accuracies(1), "is not where the shortcut lies", y=28, x=28),
    effect("shortcut", "a model of one's own", accuracies(1), "is no longer the model", model=nn.Linear(1, 1)),
    effect("shortcut", "no model", accuracies(1), "is no longer the model", model=None),
    effect("shortcut", "an untrained model", accuracies(1), "is right in", model=Lamp(1, certain=False)),
    effect("typical", "swapped", lambda a, b: (b, a), "before and after are swapped"),
    effect("typical", "covered nothing", lambda a, b: (a, a), "nothing was covered before the second"),
    effect("typical", "of all people", accuracies(1, everybody=True), "of the held-out person"),
    effect("typical", "errors", lambda a, b: (1 - a, 1 - b), "not the accuracies"),
    effect("typical", "the drop", lambda a, b: (a, a - b), "not the accuracies"),
    effect("typical", "two of each", lambda a, b: ([a, a], b), "before must be one number"),
    effect("right", "measured", accuracies(1)),
    effect("right", "another student", accuracies(2), seed=2),
    effect("right", "numpy", lambda a, b: (np.float32(a), np.float64(b))),
    effect("right", "tensors", lambda a, b: tuple(torch.tensor([a, b]))),
    effect("right", "rounded", lambda a, b: (round(a, 2), round(b, 2))),
    effect("right", "4 pixels off", accuracies(1, 10, 46), y=10, x=46),
]
ENTRIES = [
    (question, *row)
    for question, rows in (("ig", IG), ("score", SCORE), ("find", FIND), ("cover", COVER), ("effect", EFFECT))
    for row in rows
]
