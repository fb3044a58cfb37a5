"""One table of all models on the same folds with the same budget, and how well each bears wrong key frames."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
import typer

if not __package__:  # run as a script, it finds its neighbours
    sys.path.insert(0, str(Path(__file__).parents[1]))

from studies.compare import LATE, USUAL, VARIANTS, Comparison, measure_cost, with_majority
from studies.script import Accelerator, Clips, Epochs, Out, Preset, Save, Seeds, Subjects, Workers, one_sentence
from studies.stored import Stored, provenance_of, writable
from tsfmicro_lab.cli.output import print_table
from tsfmicro_lab.clips import Clip
from tsfmicro_lab.data import Dataset, Distractors, Samples, SyntheticMicroExpressions, prepare
from tsfmicro_lab.models import from_pretrained
from tsfmicro_lab.training import (
    RECIPES,
    Recipe,
    Run,
    cross_validate,
    decide,
    fold_processes,
    predict,
    score_table,
    subject_interval,
)
from tsfmicro_lab.training.cross_validation import model_folder
from tsfmicro_lab.training.predictions import write_predictions

#: The models beside TSFmicro's variants. FRL-DGT is a reimplementation from its description.
OTHERS = (
    Run("ststnet"),
    Run("off_apexnet"),
    Run("frl_dgt"),
    Run("frl_dgt", settings={"displacement": "dis"}),
    Run("slstt_mean"),
    Run("slstt_mean", settings={"flow": "short"}),
    Run("slstt_lstm"),
)
#: By how many frames onset and apex are wrong.
OFF = (0, 1, 2, 3, 4, 5)


@dataclass(frozen=True)
class ModelComparison(Stored):
    """What the comparison of all models found; every table is long.

    Attributes:
        provenance: Command, commit, date, device, recipe, size of the data; `variants` tells where the rows of TSFmicro
            come from.
        scores: `model`, `seed`, `uf1`, `uar`, `accuracy`, `clips`.
        intervals: `model`, `uf1`, `low`, `high`: 95 % bootstrap intervals over subjects, all seeds.
        cost: `model`, `parameters`, `mflops` (one clip forward, prepared), `ms` (one training step per clip).
        shifts: `model`, `off`, `uf1`, `low`, `high`: onset and apex wrong by so many frames in test, seed 0.
    """

    script: ClassVar = "compare_models"
    scores: pd.DataFrame
    intervals: pd.DataFrame
    cost: pd.DataFrame
    shifts: pd.DataFrame

    def table(self) -> pd.DataFrame:
        """One row per model, best first: UF1 with its interval, spread over seeds, UAR, size and speed, as text."""
        rows = self.intervals.merge(self.cost, on="model", how="left").sort_values("uf1", ascending=False)
        seeds = self.scores.groupby("model")
        return pd.DataFrame(
            {
                "model": rows["model"],
                "UF1": [f"{r.uf1:.3f} ({r.low:.2f} to {r.high:.2f})" for r in rows.itertuples()],
                "over seeds": [f"± {seeds['uf1'].std()[m]:.3f}" for m in rows["model"]],
                "UAR": [f"{seeds['uar'].mean()[m]:.3f}" for m in rows["model"]],
                "parameters": ["" if np.isnan(n) else f"{int(n):,}" for n in rows.parameters],
                "MFLOPs": ["" if np.isnan(n) else f"{n:.1f}" for n in rows.mflops],
                "ms": ["" if np.isnan(n) else f"{n:.1f}" for n in rows.ms],
            }
        ).reset_index(drop=True)


class WrongKeyFrames:
    """The clips of a data set with onset and apex each wrong by so many frames, early or late as a coin falls.

    They stay in order and within the clip.

    Args:
        dataset: The clips.
        off: By how many frames.
        seed: Of the coin.

    Example:
        >>> data = SyntheticMicroExpressions(1, 3, image_size=64)
        >>> [WrongKeyFrames(data, 2)[i].apex - data[i].apex for i in range(3)]
        [2, -2, -2]
    """

    def __init__(self, dataset: Dataset, off: int, seed: int = 0) -> None:
        self.dataset, self.off = dataset, off
        self.name, self.annotations = dataset.name, dataset.annotations
        self.classes, self.report = dataset.classes, dataset.report
        self.signs = np.random.default_rng(seed).choice([-1, 1], (len(dataset), 2))

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Clip:
        clip = self.dataset[index]
        onset, apex = clip.key_frames
        first, second = (self.off * self.signs[index]).tolist()
        onset = min(max(onset + first, 0), apex)
        return replace(clip, onset=onset, apex=min(max(apex + second, onset + 1), clip.offset))


def compare_models(
    folder: Path,
    *,
    subjects: int = 8,
    clips_per_subject: int = 12,
    seeds: int = 3,
    preset: str = "tiny",
    epochs: int | None = None,
    accelerator: str = "cpu",
    workers: int | None = None,
    variants: Path | None = None,
    only: Sequence[str] = (),
) -> ModelComparison:
    """Evaluates every model by leave-one-subject-out, last epoch, several seeds; resumable.

    The clips have no distractors, on which the small budget is too short for any model.

    Args:
        folder: Where folds and their models are kept.
        subjects: Synthetic subjects of each seed.
        clips_per_subject: Clips of each.
        seeds: Number of seeds.
        preset: Size of all models.
        epochs: Epochs; those of the preset's recipe by default.
        accelerator: `cpu`, `cuda`, …
        workers: Processes; one per core by default.
        variants: A stored comparison of TSFmicro's variants with the same clips, folds and recipe: its rows are taken
            instead of training them again, but for late fusion on seed 0, whose tolerance is wanted.
        only: Labels of the models to train; all by default. With `variants`, late fusion is among them.

    Returns:
        The comparison.

    Raises:
        ValueError: The preset or a label is unknown, or the stored comparison had another budget.
    """
    if preset not in RECIPES:
        raise ValueError(f"unknown preset '{preset}': choose from {', '.join(RECIPES)}")
    recipe = replace(RECIPES[preset], epochs=epochs or RECIPES[preset].epochs)
    settings: dict[str, Any] = {"preset": preset, "recipe": recipe, "accelerator": accelerator}
    if unknown := set(only) - {run.label for run in (*VARIANTS, *OTHERS)}:
        raise ValueError(f"unknown {sorted(unknown)}: choose from {[run.label for run in (*VARIANTS, *OTHERS)]}")
    runs = [replace(run, **settings) for run in (*VARIANTS, *OTHERS) if not only or run.label in only]
    provenance = provenance_of(runs[0], seeds=seeds, subjects=subjects, clips_per_subject=clips_per_subject)
    known = _stored(variants, provenance) if variants else None
    stored = set() if known is None else set(known[1]["model"])
    trained = [run for run in runs if run.label not in stored]
    predictions, shifts = [], []
    with fold_processes(1 if accelerator == "cuda" else workers) as pool:
        for seed in range(seeds):
            data = SyntheticMicroExpressions(
                subjects, clips_per_subject, seed=seed, layout_variation=USUAL, distractors=Distractors.none()
            )
            tolerated = [r for r in runs if r in trained or r.model == LATE] if seed == 0 else []
            for run in {id(r): r for r in (*trained, *tolerated)}.values():
                samples = _samples(data, run)
                place = folder / f"none-layout{USUAL:g}" / f"{run.label.replace(' ', '-')}-{seed}"
                rows = cross_validate(samples, replace(run, seed=seed), folder=place, executor=pool, keep_models=True)
                if run in trained:
                    predictions.append(rows)
                if run in tolerated:
                    shifts.append(tolerance(run, data, place))
    table = pd.concat(predictions, ignore_index=True)
    write_predictions(table, folder / "models.csv")
    intervals, scores = _scored(table, samples.classes)
    if known:
        scores, intervals = pd.concat([known[0], scores]), pd.concat([known[1], intervals])
        provenance["variants"] = known[2]
    clips = SyntheticMicroExpressions(2, 8)
    shown = [replace(r, **settings) for r in (*VARIANTS, *OTHERS) if r.label in set(intervals["model"])]
    return ModelComparison(
        provenance=provenance,
        scores=scores.drop_duplicates(["model", "seed"], ignore_index=True),
        intervals=intervals.drop_duplicates("model", ignore_index=True),
        cost=measure_cost(shown, lambda run: _samples(clips, run, progress=False)),
        shifts=pd.concat(shifts, ignore_index=True),
    )


def tolerance(run: Run, data: Dataset, folder: Path, off: Sequence[int] = OFF) -> pd.DataFrame:
    """Scores of a run's kept models on their held-out clips when the key frames of those are wrong.

    Args:
        run: The run.
        data: The clips on which it was evaluated.
        folder: Where `cross_validate` kept its models.
        off: By how many frames.

    Returns:
        Rows `model`, `off`, `uf1`, `low`, `high`.
    """
    rows = []
    for frames in off:
        samples = _samples(WrongKeyFrames(data, frames), run, progress=False)
        table = samples.table[["subject"]].assign(seed=run.seed, truth=samples.names(samples.label), predicted="")
        for subject in np.unique(samples.subjects):
            index = np.flatnonzero(samples.subjects == subject)
            decided = decide(predict(from_pretrained(model_folder(folder, subject)), samples, index))
            table.loc[index, "predicted"] = [samples.classes[i] for i in decided]
        uf1, low, high = subject_interval(table, samples.classes)
        rows.append({"model": run.label, "off": frames, "uf1": uf1, "low": low, "high": high})
    return pd.DataFrame(rows)


def _samples(data: Dataset, run: Run, progress: bool = True) -> Samples:
    model = run.create(2)
    return prepare(data, model.config.image_size, tensors=model.prepared, progress=progress)


def _scored(table: pd.DataFrame, classes: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Intervals over subjects of all seeds, and the scores of each seed; the majority class beside the models."""
    both = with_majority(table)
    intervals = [
        dict(zip(("model", "uf1", "low", "high"), (model, *subject_interval(own, classes)), strict=True))
        for model, own in both.groupby("model", sort=False)
    ]
    per_seed = [score_table(rows, classes).assign(seed=seed) for seed, rows in both.groupby("seed")]
    return pd.DataFrame(intervals), pd.concat(per_seed, ignore_index=True).drop_duplicates(["model", "seed"])


def _stored(path: Path, provenance: dict[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Scores, intervals and origin of TSFmicro's variants, if their budget was the same."""
    stored = Comparison.load(path)
    stored.provenance["recipe"] = asdict(Recipe(**stored.provenance["recipe"]))
    for name in ("faces", "recipe", "subjects", "clips_per_subject", "seeds", "protocol"):
        if (found := stored.provenance.get(name)) != provenance[name]:
            raise ValueError(f"{path} was made with {name} {found}, not {provenance[name]}: nothing to compare")
    chosen = f"distractors == 'none' and layout == {USUAL}"
    scores, intervals = (t.query(chosen) for t in (stored.scores, stored.intervals))
    origin = f"{stored.provenance['command']}, commit {stored.provenance['commit']}, {stored.provenance['date']}"
    columns = ["model", "uf1", "low", "high"]
    return scores.drop(columns=["distractors", "layout"]), intervals[columns], origin


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    out: Out = Path("build/compare"),
    save: Save = None,
    preset: Preset = "tiny",
    subjects: Subjects = 8,
    clips: Clips = 12,
    seeds: Seeds = 3,
    epochs: Epochs = None,
    accelerator: Accelerator = "cpu",
    workers: Workers = None,
    variants: Annotated[
        Path | None, typer.Option(help="A stored comparison of TSFmicro's variants, which are not trained again then.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="A model as the table calls it; may be given again.")] = None,
) -> None:
    """Compare all models on the same folds with the same budget. About an hour on two cores."""
    with one_sentence():
        path = writable(save or out / "models.json")
        found = compare_models(
            out,
            subjects=subjects,
            clips_per_subject=clips,
            seeds=seeds,
            preset=preset,
            epochs=epochs,
            accelerator=accelerator,
            workers=workers,
            variants=variants,
            only=only or (),
        )
        found.save(path)
    print_table(found.table())
    print(f"everything: {path}")


if __name__ == "__main__":
    app()
