"""Checks of ps5: integrated gradients over two streams, a score against the truth, and a planted shortcut."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from tsfmicro_lab.data import Samples, SyntheticMicroExpressions, prepare

from checking import check, compare, expect

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
    data = SyntheticMicroExpressions(subjects, clips, 64, seed, amplitude=FAINT)
    samples = prepare(data, 56, target="emotion_megc", progress=False)
    onset, apex = samples.onset.clone(), samples.apex.clone()
    (y, x), flashes = PLACES[seed % 4], seed // 4 % 2
    here = np.s_[y - radius : y + radius + 1, x - radius : x + radius + 1]
    colour = torch.tensor(COLOURS, dtype=torch.uint8)[samples.label][:, :, None, None]
    apex[:, :, *here] = colour
    if not flashes:
        onset[:, :, *here] = colour
    return samples.with_tensors(onset=onset, apex=apex)


class TwoStreams(nn.Module):
    """Two inputs that matter together, so that a path through one alone gives something else."""

    def __init__(self, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.a, self.b, self.c = (torch.randn(2, width, generator=generator, dtype=torch.float64) for _ in range(3))

    def forward(self, onset: Tensor, difference: Tensor) -> Tensor:
        """Logits (a·x)(b·y) + (c·x)² / 2."""
        x, y = onset.flatten(1), difference.flatten(1)
        return (x @ self.a.T) * (y @ self.b.T) + (x @ self.c.T) ** 2 / 2


@check
def check_integrated_gradients(ig: Callable[..., tuple[Tensor, Tensor]], seed: int = 0) -> None:
    """Both maps together share out the change of the logit, along one path for both streams.

    Args:
        ig: `ig(model, inputs, baselines, target, steps)`, pairs (onset, difference) of (1, 3, H, W) → two maps alike.
        seed: Of the models that are tried.
    """
    generator = torch.Generator().manual_seed(seed)
    for side in (2, 3):
        model = TwoStreams(3 * side * side, generator)
        x, x0, y, y0 = (torch.randn(1, 3, side, side, generator=generator, dtype=torch.float64) for _ in range(4))
        target = int(torch.randint(0, 2, (), generator=generator))
        a, b, c = (w[target].view_as(x) for w in (model.a, model.b, model.c))

        def maps(xs: Tensor, ys: Tensor, dx: Tensor, dy: Tensor, a: Tensor = a, b: Tensor = b, c: Tensor = c) -> Tensor:
            """Gradient at a point, times a step; at the middle it is the integral, for the logit is quadratic."""
            return torch.cat([(a * (b * ys).sum() + c * (c * xs).sum()) * dx, b * (a * xs).sum() * dy])

        xm, ym, dx, dy, one = (x + x0) / 2, (y + y0) / 2, x - x0, y - y0, torch.ones_like(x)
        true = maps(xm, ym, dx, dy)
        apart = torch.cat([maps(xm, y, dx, dy)[:1], maps(x, ym, dx, dy)[1:]])
        mistakes = {
            "that is gradient × input at the end of the path: average the gradient along it": maps(x, y, dx, dy),
            "multiply by input - baseline, not by the input: a baseline need not be zero": maps(xm, ym, x, y),
            "that is the mean gradient alone: multiply it by input - baseline": maps(xm, ym, one, one),
            "each stream walked alone while the other stood at its end: scale both by the same alpha, or the maps do "
            "not sum to the change of the logit": apart,
            "the sign is lost: pixels that speak against the class must stay negative": true.abs(),
            "gradients were added up and not divided by the number of steps": true * 100,
            "that explains the other class: take logits[0, target]": maps(
                xm, ym, dx, dy, *(w[1 - target].view_as(x) for w in (model.a, model.b, model.c))
            ),
        }
        got = ig(model, (x.clone(), y.clone()), (x0.clone(), y0.clone()), target, 100)
        expect(isinstance(got, tuple | list) and len(got) == 2, "return two maps: of the onset and of the difference")
        compare(torch.cat(tuple(got)), true, mistakes, "the pair of maps", tolerance=0.03)


@check
def check_score(score: Callable[..., float], seed: int = 0) -> None:
    """The score is how many times more attribution lies on the moved skin than chance would put there.

    Args:
        score: `score(heat, moved)`, a map with signs and a mask → a number; 1 is chance.
        seed: Of the maps that are tried.
    """
    rng = np.random.default_rng(seed)
    for _ in range(3):
        heat = rng.normal(size=rng.integers(5, 20, 2)) ** 3
        moved = rng.random(heat.shape) < 0.3
        moved[0, 0], mass = True, np.abs(heat)
        share, area = mass[moved].sum() / mass.sum(), moved.mean()
        mistakes = {
            "signs cancel: evidence against a class is evidence, too; take absolute values first": heat[moved].sum()
            / heat.sum()
            / area,
            "that is the share alone: a large region would always win; divide by the region's share of the area": share,
            "that counts what lies outside the moved skin": (1 - share) / (1 - area),
            "that compares inside with outside; compare inside with the whole, so that 1 is chance": mass[moved].mean()
            / mass[~moved].mean(),
            "large values count twice: take absolute values, no squares": (heat[moved] ** 2).sum()
            / (heat**2).sum()
            / area,
        }
        compare(score(heat.copy(), moved.copy()), share / area, mistakes, "the score")


@check
def check_cover(cover: Callable[..., Samples], seed: int = 0) -> None:
    """A covered place tells nothing of the class, and everything else is as it was.

    Args:
        cover: `cover(samples, y, x, radius)` → samples whose square around (y, x) is the mean of all, in both frames.
        seed: Of the places that are tried.
    """
    samples = lamp_samples(4 * seed, 2, 5, radius=4)
    for y, x, radius in ((7, 7, 6), (20, 40, 5), (4, 50, 8)):
        kept = samples.onset.clone(), samples.apex.clone()
        got = cover(samples, y, x, radius)
        unchanged = torch.equal(samples.onset, kept[0]) and torch.equal(samples.apex, kept[1])
        expect(
            unchanged, "the samples themselves were changed: clone the frames first, you need both for the comparison"
        )
        rows, columns = (slice(max(place - radius, 0), place + radius + 1) for place in (y, x))
        here, swapped = np.s_[:, :, rows, columns], np.s_[:, :, columns, rows]
        for name, frames, before in (("onset", got.onset, kept[0]), ("apex", got.apex, kept[1])):
            elsewhere = frames.clone()
            elsewhere[here] = before[here]
            if not torch.equal(elsewhere, before):
                away = torch.equal(frames[here], before[here]) and not torch.equal(frames[swapped], before[swapped])
                expect(not away, "y and x are swapped: rows come first, frames[:, :, y, x]")
                expect(False, f"the {name} frame changed outside the square of side {2 * radius + 1}")
            hidden = not torch.equal(frames[here], before[here])
            expect(hidden or y >= radius, "at the edge nothing was covered: a slice from -4 is empty, begin it at 0")
            expect(hidden, f"nothing was covered in the {name} frame; cover both")
            apart = frames[here].float().std(0).max()
            expect(apart < 1, "the square still differs between clips: fill it with the mean of all clips, not of each")
            compare(
                frames[here], before[here].float().mean(0).expand_as(before[here]), {}, f"{name} square", tolerance=0.02
            )
