"""How honest are the intervals? Experiments whose truth is known, drawn many times: how often does 95 % hold it?

Nothing is trained. A drawn model is right with a probability that depends on clip, subject and seed:

    logit P(right) = level + subject + clip + class + seed,

normally distributed but for the class (the rarer three are harder). Where it is wrong, it says some class by the
classes' shares. Two models share half of the variance of the seeds and most of the subjects' and the clips'.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
import pandas as pd
import typer
from jaxtyping import Float
from scipy.special import expit
from scipy.stats import norm
from tqdm.auto import tqdm

if not __package__:  # run as a script, it finds its neighbours
    sys.path.insert(0, str(Path(__file__).parents[1]))

from studies.script import Save, one_sentence
from studies.stored import Stored, provenance_of, writable
from tsfmicro_lab.cli.output import print_table
from tsfmicro_lab.training import Run
from tsfmicro_lab.training.metrics import Counts, uf1_of_counts
from tsfmicro_lab.training.statistics import ends, uf1_errors

#: How often each of five classes occurs, about as on synthetic clips.
SHARES = (0.40, 0.26, 0.13, 0.11, 0.10)
#: Clips of each subject, and standard deviations in logits: of subjects for all models and for each, and of clips.
CLIPS, SUBJECT_SD, OWN_SD, CLIP_SD = 12, 0.7, 0.35, 1.0
#: By how much, in logits, the third drawn model is better than the other two.
BETTER = 0.5
#: Confusion matrices (experiments, subjects, classes, classes) of each seed.
Seeds = list[np.ndarray]
WHAT = ("score", "gain", "gain of nothing")
CONSTRUCTIONS = ("seeds and subjects", "former")


class Setting(NamedTuple):
    """One kind of experiment.

    Attributes:
        subjects: In every seed.
        seeds: Their number.
        seed_sd: Standard deviation of their effect, in logits.
        level: Logit of being right on an average clip of a frequent class.
        same_people: Whether all seeds test the same clips of the same subjects, as on recordings.
    """

    subjects: int
    seeds: int = 1
    seed_sd: float = 0.0
    level: float = 1.2
    same_people: bool = False


@dataclass(frozen=True)
class Coverage(Stored):
    """What was measured.

    Attributes:
        rates: One row per setting, `what` (a score, a gain that is one, and a gain of nothing) and `construction`: the
            fields of `Setting`, `true`, `spread` (standard deviation of the score or gain of one seed), `coverage`,
            `width` (mean), `outside` (how often the value itself is not in its interval), `experiments`.
    """

    script: ClassVar = "coverage"
    rates: pd.DataFrame

    def table(self, subjects: Sequence[int] = (8, 26), seed_sd: Sequence[float] = (0.0, 0.4)) -> pd.DataFrame:
        """Coverage, false alarms and mean width, each the worst (lowest, highest, widest) over the levels.

        Args:
            subjects: Rows with these numbers of subjects.
            seed_sd: Rows with these sizes of the seeds' effect.

        Returns:
            Texts, one row per kind of experiment: what it is, and `now (formerly)` for each number.
        """
        rows = self.rates[self.rates.subjects.isin(subjects) & self.rates.seed_sd.isin(seed_sd)]
        keys = ["same_people", "subjects", "seeds", "seed_sd"]
        found = []
        for key, group in rows.groupby(keys, sort=False):
            row = dict(zip(("subjects of the seeds", "subjects", "seeds", "seed effect"), key, strict=True))
            row["subjects of the seeds"] = "the same" if row["subjects of the seeds"] else "others"
            row["seed effect"] = f"{row['seed effect']:g}"
            by = group.groupby(["what", "construction"])
            lowest, widest = 100 * by.coverage.min(), by.width.max()
            numbers = {
                "score": lowest["score"],
                "gain": lowest["gain"],
                "false alarms": 100 - lowest["gain of nothing"],
            }
            row |= {name: "{:.1f} % ({:.1f} %)".format(*own[list(CONSTRUCTIONS)]) for name, own in numbers.items()}
            row["width"] = "{:.2f} ({:.2f})".format(*widest["score"][list(CONSTRUCTIONS)])
            found.append(row)
        return pd.DataFrame(found)


def draw(setting: Setting, experiments: int, rng: np.random.Generator) -> list[Seeds]:
    """Confusion matrices of three models on the same clips: two that are equally good, and a better one."""
    seeds = rng.normal(0, setting.seed_sd * 0.5**0.5, (4, experiments, setting.seeds, 1, 1))
    people = (experiments, 1 if setting.same_people else setting.seeds, setting.subjects)
    truth = rng.choice(len(SHARES), (*people, CLIPS), p=SHARES)
    clips = rng.normal(0, SUBJECT_SD, (*people, 1)) + rng.normal(0, CLIP_SD, truth.shape)
    models = []
    for own, shift in zip(seeds[1:], (0, 0, BETTER), strict=True):
        logit = setting.level + shift + clips + seeds[0] + own + rng.normal(0, OWN_SD, (*people, 1))
        models.append(list(_answers(truth, logit, rng).swapaxes(0, 1)))
    return models


def _answers(truth: np.ndarray, logit: np.ndarray, rng: np.random.Generator) -> Counts:
    """Confusion matrices of clips along the last axis that are recognised with these logits."""
    classes, shape = len(SHARES), np.broadcast_shapes(truth.shape, logit.shape)
    right = rng.random(shape) < expit(logit - 0.5 * (truth > 1))
    said = np.where(right, truth, rng.choice(classes, shape, p=SHARES))
    who = np.arange(np.prod(shape[:-1])).reshape(*shape[:-1], 1)
    cells = np.bincount(((who * classes + truth) * classes + said).ravel(), minlength=who.size * classes**2)
    return cells.reshape(*shape[:-1], classes, classes)


@cache
def true_uf1(level: float, seed_sd: float, subjects: int = 2000, seeds: int = 101) -> float:
    """UF1 on endless subjects, mean over endless seeds: the quantiles of the seeds' effect, many subjects each."""
    rng = np.random.default_rng(0)
    scores = []
    for effect in seed_sd * norm.ppf((np.arange(seeds) + 0.5) / seeds):
        truth = rng.choice(len(SHARES), (subjects, CLIPS), p=SHARES)
        people = rng.normal(0, np.hypot(SUBJECT_SD, OWN_SD), (subjects, 1))
        counts = _answers(truth, level + effect + people + rng.normal(0, CLIP_SD, truth.shape), rng)
        scores.append(float(uf1_of_counts(counts.sum(0))))
    return float(np.mean(scores))


def percentile_interval(
    models: list[Seeds], same_people: bool, resamples: int = 1000, seed: int = 0
) -> Float[np.ndarray, "2 experiments"]:
    """The lab's former interval: whole subjects drawn again within each seed, 2.5 and 97.5 % of the pooled UF1 or gain.

    All experiments share the draws, which changes none of the intervals' properties but saves time.
    """
    rng = np.random.default_rng(seed)
    n = models[0][0].shape[1]
    drawn: Float[np.ndarray, "resamples experiments"] = np.zeros((resamples, len(models[0][0])))
    for s in range(len(models[0])):
        if s == 0 or not same_people:
            times = rng.multinomial(n, np.full(n, 1 / n), resamples).astype(np.float32)
        for sign, seeds in zip((1, -1), models, strict=False):
            own = seeds[s].astype(np.float32)
            parts = np.stack([np.diagonal(own, axis1=-2, axis2=-1), own.sum(-1) + own.sum(-2)], -1)
            hits, both = np.moveaxis(np.tensordot(times, parts, (1, 1)), -1, 0)
            f1 = np.where(both > 0, 2 * hits / np.maximum(both, 1), np.nan)  # it left an absent class out
            drawn += sign * np.nanmean(f1, -1) / len(models[0])
    return np.quantile(drawn, [0.025, 0.975], axis=0)


def rates(setting: Setting, experiments: int, seed: int = 0, former: int = 0) -> pd.DataFrame:
    """How often intervals hold the truth in many experiments of one kind.

    Args:
        setting: The kind.
        experiments: Their number.
        seed: Of the draws.
        former: In how many of them the former interval is computed as well.

    Returns:
        Rows as of `Coverage.rates`.
    """
    models = draw(setting, experiments, np.random.default_rng([seed, *map(int, np.array(setting) * 1000 + 10**6)]))
    good, better = (true_uf1(setting.level + shift, setting.seed_sd) for shift in (0, BETTER))
    clips = CLIPS * setting.subjects * setting.seeds
    found = []
    cases = zip(WHAT, (models[:1], models[:0:-1], models[:2]), (good, better - good, 0.0), strict=True)
    for what, pair, truth in cases:
        value, errors = uf1_errors(pair, setting.same_people)
        now = ends(value, errors, clips=clips if len(pair) == 1 else None)
        of_seeds = [np.array([uf1_of_counts(counts.sum(1), 0) for counts in seeds]) for seeds in pair]
        spread = np.std(of_seeds[0] - of_seeds[1] if len(pair) > 1 else of_seeds[0])
        constructions = {CONSTRUCTIONS[0]: (now, value)}
        if former:
            few = [[s[:former] for s in seeds] for seeds in pair]
            constructions[CONSTRUCTIONS[1]] = percentile_interval(few, setting.same_people), np.asarray(value)[:former]
        for name, ((low, high), values) in constructions.items():
            row = {**setting._asdict(), "what": what, "construction": name, "true": truth, "spread": spread}
            row |= {"coverage": np.mean((low <= truth) & (truth <= high)), "width": np.mean(high - low)}
            row |= {"outside": np.mean((values < low) | (values > high)), "experiments": len(values)}
            found.append(row)
    return pd.DataFrame(found)


def settings() -> list[Setting]:
    """The grid: 4, 8, 26 and 68 subjects, 1, 3 and 10 seeds, three sizes of the seeds' effect, three levels."""
    grid = product((False, True), (4, 8, 26, 68), (1, 3, 10), (0.0, 0.4, 0.8), (-0.5, 1.2, 3.5))
    return [Setting(n, s, sd, level, same) for same, n, s, sd, level in grid if not (same and s == 1)]


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    out: Annotated[Path, typer.Option(help="Where the table goes.")] = Path("build/coverage"),
    save: Save = None,
    experiments: Annotated[int, typer.Option(min=10, help="Of each kind.")] = 2000,
    former: Annotated[int, typer.Option(min=1, help="Of these, with the former interval, too.")] = 500,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
) -> None:
    """Measure how often 95 % intervals hold the truth, now and formerly. About ten minutes on one core."""
    with one_sentence():
        path = writable(save or out / "coverage.json")
        provenance = provenance_of(Run("tsfmicro_late"), experiments=experiments, former=former, seed=seed)
        provenance |= {"protocol": "confusion matrices are drawn, nothing is trained", "clips_per_subject": CLIPS}
        for name in ("recipe", "faces"):
            del provenance[name]
        found = [rates(setting, experiments, seed, min(former, experiments)) for setting in tqdm(settings())]
        result = Coverage(provenance, pd.concat(found, ignore_index=True))
        result.save(path)
    print_table(result.table(), "95 % intervals: coverage, false alarms and mean width")
    print(f"everything: {path}")


if __name__ == "__main__":
    app()
