"""Checks of ps5: integrated gradients over two streams, a score against the truth, and a planted shortcut."""

import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import balanced_accuracy_score
from torch import Tensor, nn

from tsfmicro_lab.data import Samples, SyntheticMicroExpressions, prepare
from tsfmicro_lab.models import create_model
from tsfmicro_lab.models.base import Recognizer
from tsfmicro_lab.training import predict

from checking import call, check, compare, converted, expect

OWN = {
    "captum": "walk the path yourself; captum's function is what this exercise builds",
    "tsfmicro_lab.explain": "write it yourself; the lab's own function is what this exercise builds",
}

#: Where a lamp may hang in the picture, (y, x) pixels of 56, and its colour for each of three classes.
PLACES = ((7, 7), (7, 48), (48, 7), (48, 48))
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
#: Largest displacement of an expression in this laboratory, pixels at 224 px.
FAINT = (0.2, 0.4)


def lamp_samples(seed: int, subjects: int = 6, clips: int = 12, radius: int = 6) -> Samples:
    """Samples from a laboratory where a lamp in the picture has another colour for each class.

    The expressions are faint and the heads drift, so that the lamp is by far the easiest thing to learn.

    Args:
        seed: Decides where the lamp hangs, and whether it burns in both frames or flashes up at the apex.
        subjects: Number of subjects.
        clips: Clips of each.
        radius: Half the side of the lamp, pixels.

    Example:
        >>> samples = lamp_samples(0, 2, 5)
        >>> tuple(samples.onset.shape[1:]), len(samples.classes)
        ((3, 56, 56), 3)
    """
    samples = _plain_samples(seed, subjects, clips)
    onset, apex = samples.onset.clone(), samples.apex.clone()
    (y, x), flashes = PLACES[seed % 4], seed // 4 % 2
    here = np.s_[y - radius : y + radius + 1, x - radius : x + radius + 1]
    colour = torch.tensor(COLOURS, dtype=torch.uint8)[samples.label][:, :, None, None]
    apex[:, :, *here] = colour
    if not flashes:
        onset[:, :, *here] = colour
    return samples.with_tensors(onset=onset, apex=apex)


@functools.cache
def _plain_samples(seed: int, subjects: int, clips: int) -> Samples:
    data = SyntheticMicroExpressions(subjects, clips, 64, seed, amplitude=FAINT)
    return prepare(data, 56, target="emotion_megc", progress=False)


class TwoStreams(nn.Module):
    """Two inputs that matter together and bend the logit, so that no single gradient tells the whole way.

    Args:
        width: Numbers in one input.
        classes: How many logits there are.
        waves: Whether logits are waves and kinks; else of third order.
        generator: What the model is drawn from.
    """

    def __init__(self, width: int, classes: int, waves: bool, generator: torch.Generator) -> None:
        super().__init__()
        size = (classes, width)
        self.a, self.b, self.c = (torch.randn(size, generator=generator, dtype=torch.float64) for _ in range(3))
        self.waves, self.scale = waves, width**-0.5

    def forward(self, onset: Tensor, difference: Tensor) -> Tensor:
        """Logits (a·x)(b·y) + (c·x)³, or sin(2 a·x)(b·y) + |c·y| (c·x)²."""
        x, y = onset.flatten(1) * self.scale, difference.flatten(1) * self.scale
        if self.waves:
            return (2 * x @ self.a.T).sin() * (y @ self.b.T) + (y @ self.c.T).abs() * (x @ self.c.T) ** 2
        return (x @ self.a.T) * (y @ self.b.T) + (x @ self.c.T) ** 3


@check
def check_integrated_gradients(
    ig: Callable[..., tuple[Tensor, Tensor]],
    seed: int = 0,
    shapes: Sequence[tuple[int, int]] = ((2, 2), (3, 3)),
    classes: int = 2,
    waves: bool = False,
    steps: int = 100,
) -> None:
    """Both maps together share out the change of the logit, along one path for both streams.

    Args:
        ig: `ig(model, inputs, baselines, target, steps)`, pairs (onset, difference) of (1, 3, H, W) → two maps alike.
        seed: Of the models that are tried.
        shapes: Heights and widths that are tried.
        classes: Number of logits.
        waves: Which logits, see :class:`TwoStreams`.
        steps: Pieces of the path.
    """
    generator = torch.Generator().manual_seed(seed)
    for shape in shapes:
        model = TwoStreams(3 * shape[0] * shape[1], classes, waves, generator)
        x, y, x0, y0 = torch.randn(4, 1, 3, *shape, generator=generator, dtype=torch.float64) * 2
        target = int(torch.randint(0, classes, (), generator=generator))
        got = call(ig, model, (x, y), (x0, y0), target, steps, returns="items", forbids=OWN)
        expect(len(got) == 2, f"return two maps, of the onset and of the difference; got {len(got)}")
        maps = [converted(m, "array", "a map must be") for m in got]
        expect(
            all(m.shape == tuple(x.shape) for m in maps),
            f"each map has the shape of its input, {tuple(x.shape)}; got {[m.shape for m in maps]}",
        )
        way = torch.linspace(0, 1, 401, dtype=torch.float64)[1:] - 1 / 800
        true, mistakes = _paths(model, (x, y), (x0, y0), target, way, steps)
        compare(np.concatenate(maps), true, mistakes, "the pair of maps", tolerance=0.03)


def _paths(
    model: nn.Module, ends: Sequence[Tensor], starts: Sequence[Tensor], target: int, way: Tensor, steps: int
) -> tuple[Tensor, Mapping[str, Tensor]]:
    """The maps, and those of each mistake."""

    def slope(alphas: Tensor, target: int = target, still: int | None = None) -> Tensor:
        """Mean gradients at some places of the way; one stream may stand still at its end."""
        places = [
            (s + (alphas if i != still else torch.ones_like(alphas))[:, None, None, None] * (e - s)).requires_grad_()
            for i, (e, s) in enumerate(zip(ends, starts, strict=True))
        ]
        return torch.cat(
            [g.mean(0, keepdim=True) for g in torch.autograd.grad(model(*places)[:, target].sum(), places)]
        )

    one, end, start = way.new_ones(1), torch.cat(tuple(ends)), torch.cat(tuple(starts))
    true = slope(way) * (end - start)
    alone = torch.cat([slope(way, still=1)[:1], slope(way, still=0)[1:]]) * (end - start)
    return true, {
        "that is gradient × input at the end of the path: average the gradient along it": slope(one) * (end - start),
        "that is the gradient at the baseline alone: average it along the path": slope(0 * one) * (end - start),
        "that is one gradient, in the middle of the path: the slope changes on the way, so average it over all steps": (
            slope(one / 2) * (end - start)
        ),
        "multiply by input - baseline, not by the input: a baseline need not be zero": slope(way) * end,
        "that is the mean gradient alone: multiply it by input - baseline": slope(way),
        "each stream walked alone while the other stood at its end: scale both by the same alpha, or the maps do not "
        "sum to the change of the logit": alone,
        "the sign is lost: pixels that speak against the class must stay negative": true.abs(),
        "the sign is turned: input - baseline, not baseline - input": -true,
        "gradients were added up and not divided by the number of steps": true * steps,
        "the two maps have changed places: the onset's comes first": true.flip(0),
        "that explains the other class: take logits[0, target]": slope(way, 1 - min(target, 1)) * (end - start),
    }


@check
def check_score(score: Callable[..., float], seed: int = 0, uneven: bool = False) -> None:
    """The score is how many times more attribution lies on the moved skin than chance would put there.

    Args:
        score: `score(heat, moved)`, a map with signs and a mask → a number; 1 is chance.
        seed: Of the maps that are tried.
        uneven: Whether nearly all or hardly any skin moved, and maps have one sign or few large values.
    """
    rng = np.random.default_rng(seed)
    for case in range(3):
        heat = rng.normal(size=rng.integers(5, 20, 2)) ** 3
        moved = rng.random(heat.shape) < 0.3
        if uneven:
            moved = rng.random(heat.shape) < (0.02, 0.95, 0.5)[case]
            heat = (-(abs(heat) + 1) * np.where(moved, 20, 1), heat**3, np.where(moved, 0.01 * heat, heat))[case]
        moved[0, 0], moved[0, 1] = True, False
        got = call(score, heat, moved, returns="number", forbids=OWN)
        mass, area = np.abs(heat), moved.mean()
        share = mass[moved].sum() / mass.sum()
        mistakes = {
            "signs cancel: evidence against a class is evidence, too; take absolute values first": heat[moved].sum()
            / heat.sum()
            / area,
            "only what speaks for the class was counted; take absolute values": heat[moved].clip(0).sum()
            / max(heat.clip(0).sum(), 1e-9)
            / area,
            "that is the share alone: a large region would always win; divide by the region's share of the area": share,
            "that counts what lies outside the moved skin": (1 - share) / (1 - area),
            "that compares inside with outside; compare inside with the whole, so that 1 is chance": mass[moved].mean()
            / mass[~moved].mean(),
            "large values count twice: take absolute values, no squares": (heat[moved] ** 2).sum()
            / (heat**2).sum()
            / area,
            "multiplied by the region's share of the area, not divided": share * area,
            "divided by the number of pixels, not by their share of the area": share / moved.sum(),
        }
        compare(got, share / area, mistakes, "the score")


@check
def check_cover(
    cover: Callable[..., Samples],
    seed: int = 0,
    places: Sequence[tuple[int, int, int]] = ((7, 7, 6), (20, 40, 5), (4, 50, 8)),
) -> None:
    """A covered place tells nothing of the class, and everything else is as it was.

    Args:
        cover: `cover(samples, y, x, radius)` → samples whose square around (y, x) is the mean of all, in both frames.
        seed: Of the samples that are tried.
        places: Row, column and radius of each square.
    """
    samples = _drawn_samples(seed)
    kept = {name: samples[name].clone() for name in ("onset", "apex")}
    for y, x, radius in places:
        got = call(cover, samples, y, x, radius, returns=Samples)
        unchanged = all(torch.equal(samples[name], frames) for name, frames in kept.items())
        expect(unchanged, "the samples themselves were changed: clone the frames first, you need both to compare them")
        rows, columns = (slice(max(place - radius, 0), place + radius + 1) for place in (y, x))
        here, swapped = np.s_[:, :, rows, columns], np.s_[:, :, columns, rows]
        for name, before in kept.items():
            frames = got[name]
            same = frames.shape == before.shape and frames.dtype == before.dtype
            expect(
                same,
                f"{name} frames are {tuple(before.shape)} {before.dtype}, got {tuple(frames.shape)} {frames.dtype}",
            )
            elsewhere = frames.clone()
            elsewhere[here] = before[here]
            if not torch.equal(elsewhere, before):
                away = torch.equal(frames[here], before[here]) and not torch.equal(frames[swapped], before[swapped])
                expect(not away, "y and x are swapped: rows come first, frames[:, :, y, x]")
                expect(False, f"the {name} frame changed outside the square of side {2 * radius + 1} around y, x")
            hidden = not torch.equal(frames[here], before[here])
            expect(
                hidden or min(y, x) >= radius,
                "at the edge nothing was covered: a slice from -4 is empty, begin it at 0",
            )
            expect(hidden, f"nothing was covered in the {name} frame; cover both")
            apart = frames[here].float().std(0).max()
            expect(apart < 1, "the square still differs between clips: fill it with the mean of all clips, not of each")
            mean = before[here].float().mean(0)
            mistakes = {
                "that is one colour; the mean over the clips keeps every pixel of the square its own": mean.mean(
                    (1, 2), keepdim=True
                ).expand_as(before[here]),
                "the square is black: fill it with the mean of all clips": torch.zeros_like(before[here]),
                "the frames of the first clip stand everywhere: fill the square with the mean of all clips": (
                    before[here][:1].expand_as(before[here])
                ),
            }
            compare(frames[here], mean.expand_as(before[here]), mistakes, f"the {name} square", tolerance=0.02)
        other = torch.equal(got.label, samples.label) and got.table.equals(samples.table)
        expect(other, "labels and table must stay as they are: samples.with_tensors(onset=…, apex=…)")


def _drawn_samples(seed: int, clips: int = 12, size: int = 56) -> Samples:
    """Frames of noise that differ between clips, and between onset and apex."""
    rng = np.random.default_rng(seed)
    onset, apex = (torch.from_numpy(rng.integers(0, 256, (clips, 3, size, size)).astype(np.uint8)) for _ in range(2))
    label = torch.from_numpy(rng.integers(0, 3, clips))
    table = pd.DataFrame({"subject": [f"s{i % 3}" for i in range(clips)], "clip": [f"c{i}" for i in range(clips)]})
    return Samples({"onset": onset, "apex": apex}, label, ("a", "b", "c"), table.assign(onset=0))


@check
def check_shortcut(stream: str, y: int, x: int, seed: int) -> None:
    """The shortcut that was planted for you.

    Args:
        stream: The stream that the model reads.
        y: Row of the place.
        x: Its column.
        seed: Of the student's samples.
    """
    true_y, true_x = PLACES[seed % 4]
    stream = str.__str__(stream) if isinstance(stream, str) else stream  # no text of a class of one's own
    expect(stream in ("onset", "difference"), f"the stream is 'onset' or 'difference', got {stream!r}")
    row, column = converted(y, "number", "y must be"), converted(x, "number", "x must be")
    near = max(abs(row - true_y), abs(column - true_x)) <= 6
    swapped = max(abs(row - true_x), abs(column - true_y)) <= 6
    expect(near or not swapped, "y and x are swapped: y counts rows from the top")
    place = f"there is nothing special at y = {row:g}, x = {column:g}: average the maps of several clips"
    expect(near, f"{place}. Was `me` changed afterwards?")
    right = stream == ("difference" if seed // 4 % 2 else "onset")
    expect(right, f"the place is right, but the model reads it from another stream than the {stream} frame")


@check
def check_effect(before: float, after: float, model: Recognizer, place: tuple[int, int], seed: int) -> None:
    """The shortcut carries the accuracy.

    Args:
        before: Accuracy on the held-out person.
        after: The same with the place covered.
        model: The student's trained model.
        place: Row and column that were covered.
        seed: Of the student's samples.
    """
    accuracies = [converted(a, "number", f"{name} must be") for name, a in (("before", before), ("after", after))]
    expect(all(0 <= a <= 1 for a in accuracies), f"accuracies lie between 0 and 1, got {accuracies}")
    lost = "`model` is no longer the model that was trained above: run that cell again"
    expect(type(model) is type(create_model("tsfmicro_late", 3)) and "forward" not in vars(model), lost)
    y, x = (int(converted(i, "number", "y and x must be")) for i in place)
    apart = max(abs(y - PLACES[seed % 4][0]), abs(x - PLACES[seed % 4][1]))
    expect(apart <= 6, f"y = {y}, x = {x} is not where the shortcut lies: find the place first")
    samples = lamp_samples(seed)
    test = np.flatnonzero(samples.subjects == samples.subjects[-1])
    own = [
        balanced_accuracy_score(s.label[test].numpy(), predict(model, s, test).argmax(1))
        for s in (samples, _covered(samples, y, x, 10))
    ]
    expect(own[0] > 0.6, f"{lost}; this one is right in {own[0]:.0%} with the place open")
    mistakes = {
        "before and after are swapped": own[::-1],
        "nothing was covered before the second accuracy was taken": [own[0], own[0]],
        "take the accuracies of the held-out person: the function `accuracy` above": [
            balanced_accuracy_score(s.label.numpy(), predict(model, s, np.arange(len(s))).argmax(1))
            for s in (samples, _covered(samples, y, x, 10))
        ],
    }
    hint = "These are not the accuracies of your model on your samples, with the place open and covered with radius 10."
    compare(accuracies, own, mistakes, "(before, after)", tolerance=0.05, hint=hint)


def _covered(samples: Samples, y: int, x: int, radius: int) -> Samples:
    here, frames = np.s_[:, :, max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1], {}
    for name in ("onset", "apex"):
        frames[name] = samples[name].clone()
        frames[name][here] = frames[name][here].float().mean(0).round().to(torch.uint8)
    return samples.with_tensors(**frames)
