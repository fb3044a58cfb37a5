"""How true is a learned displacement? FRL-DGT's network against optical flow, on clips whose motion is known."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
import torch
import typer

if not __package__:  # run as a script, it finds its neighbours
    sys.path.insert(0, str(Path(__file__).parents[1]))

from tqdm.auto import tqdm

from studies.intervals import group_interval, over_seeds
from studies.script import Clips, Save, Seeds, one_sentence
from studies.stored import Stored, provenance_of, writable
from tsfmicro_lab.cli.output import print_table
from tsfmicro_lab.clips import Clip
from tsfmicro_lab.data import Distractors, Samples, SyntheticMicroExpressions, prepare
from tsfmicro_lab.explain.figures import Picture
from tsfmicro_lab.models.frl_dgt import FRLDGT
from tsfmicro_lab.preprocess import align_clip, endpoint_error, flow_colours
from tsfmicro_lab.training import RECIPES, Run, fit, fold_processes
from tsfmicro_lab.training.statistics import corrected

#: What disturbs the clips; strength 2, so that it can be told from nothing.
CONDITIONS: dict[str, Distractors] = {
    "none": Distractors.none(),
    "noise": replace(Distractors.none(), noise=2.0),
    "flicker": replace(Distractors.none(), flicker=2.0),
    "head drift": replace(Distractors.none(), drift=2.0),
    "head turn": replace(Distractors.none(), turn=2.0),
    "light": replace(Distractors.none(), light=2.0),
}
FLOWS = ("farneback", "dis", "tvl1")
#: The longer self-supervision lasts so many times as long as the preset's.
LONGER = 30
#: Displacements in the tables are in pixels of a face this wide, as the data set's amplitudes are.
REFERENCE = 224


@dataclass(frozen=True)
class Displacements(Stored):
    """How far displacements are from the truth; one row per condition, seed, method and held-out clip.

    Attributes:
        errors: `condition`, `seed`, `subject`, `method`, and mean end-point errors in pixels of a 224 px face: `all`
            motion over the image, and `expression`, without the head's motion, where the face truly moved.
    """

    script: ClassVar = "displacement"
    errors: pd.DataFrame

    def table(self, what: str = "expression") -> pd.DataFrame:
        """Mean error of each method (rows) under each condition (columns), 95 % intervals over seeds and subjects."""

        def cell(rows: pd.DataFrame) -> str:
            means = rows.groupby(["seed", "subject"])[what].mean()
            mean, low, high = group_interval([np.split(own.to_numpy(), len(own)) for _, own in means.groupby("seed")])
            return f"{mean:.2f} ({low:.2f} to {high:.2f})"

        cells = {key: cell(rows) for key, rows in self.errors.groupby(["method", "condition"])}
        methods, conditions = (self.errors[column].unique() for column in ("method", "condition"))
        return pd.DataFrame({c: [cells[m, c] for m in methods] for c in conditions}, index=pd.Index(methods))

    def compared(self, what: str = "expression") -> pd.DataFrame:
        """How much closer to the truth each stage of the network is, over seeds, corrected by Holm.

        Self-supervision is compared with saying that nothing moved, learning the classes with what was there before.

        Returns:
            One row for each `stage`, what it is closer `than`, and `condition`: `gain` (pixels of a 224 px face),
            `low`, `high`, `p` and `p_holm`.
        """
        seeds = self.errors.pivot_table(what, "seed", ["method", "condition"])
        still, short, classes = "nothing moved", "DGM, self-supervised", "DGM, with the classes"
        [longer] = [method for method in self.errors.method.unique() if "× as long" in method]
        pairs = [(longer, still), (short, still), (classes, short)]
        rows = [(stage, than, where) for stage, than in pairs for where in self.errors.condition.unique()]
        found = corrected([over_seeds(seeds[than, where] - seeds[stage, where]) for stage, than, where in rows])
        return pd.DataFrame(rows, columns=["stage", "than", "condition"]).join(found)


def displacements(model: FRLDGT, samples: Samples, index: Sequence[int]) -> np.ndarray:
    """Displacements that a model's network estimates for some samples, (N, 2, S, S) pixels."""
    inputs = model.inputs(samples.pick(torch.tensor(index), ("onset", "apex", "landmarks")))
    with torch.no_grad():
        return np.asarray(model.eval().displacement(inputs["onset"], inputs["difference"]).numpy())


def measure(
    *,
    subjects: int = 6,
    clips_per_subject: int = 10,
    seeds: int = 10,
    preset: str = "tiny",
    epochs: int = 16,
    longer: int = LONGER,
    workers: int | None = None,
) -> Displacements:
    """Trains FRL-DGT on half of the subjects and compares its displacement on the others with the truth and with flow.

    The network is looked at three times: after the self-supervision that the preset has, after the classes were learnt
    as well, and, for what more time would bring, after `longer` times that self-supervision alone. It is trained under
    each condition afresh.

    Args:
        subjects: Synthetic subjects of each seed; half of them are held out.
        clips_per_subject: Clips of each.
        seeds: Number of seeds.
        preset: Size of the model.
        epochs: Of the training.
        longer: How many times as long the longer self-supervision is.
        workers: Processes; one per core by default.
    """
    run = Run("frl_dgt", preset, replace(RECIPES[preset], epochs=epochs))
    provenance = provenance_of(run, seeds=seeds, subjects=subjects, clips_per_subject=clips_per_subject)
    provenance["protocol"] = f"preset {preset}; half of the subjects train, the errors are those of the other half"
    with fold_processes(workers) as pool:
        jobs = [
            pool.submit(_errors, name, subjects, clips_per_subject, replace(run, seed=seed), longer)
            for name in CONDITIONS
            for seed in range(seeds)
        ]
        tables = [job.result() for job in tqdm(jobs, "conditions")]
    return Displacements(provenance, pd.concat(tables, ignore_index=True))


def _errors(condition: str, subjects: int, clips: int, run: Run, longer: int) -> pd.DataFrame:
    data = SyntheticMicroExpressions(subjects, clips, seed=run.seed, distractors=CONDITIONS[condition])
    samples = _samples(data, run)
    held = np.isin(samples.subjects, np.unique(samples.subjects)[1::2])
    test = np.flatnonzero(held).tolist()
    train = torch.from_numpy(np.flatnonzero(~held))
    estimates = {"nothing moved": np.zeros((len(test), 2, 1, 1)), **_estimates(run, samples, train, test, longer)}
    side = samples.onset.shape[-1]
    truths = [align_clip(data[i], side).truth for i in test]
    unit = REFERENCE / side
    rows = []
    for method, fields in estimates.items():
        for i, field, truth in zip(test, fields, truths, strict=True):
            assert truth is not None
            row = {"condition": condition, "seed": run.seed, "subject": samples.subjects[i], "method": method}
            row["all"] = unit * float(endpoint_error(field, truth.field).mean())
            row["expression"] = unit * float(endpoint_error(field, truth.expression)[truth.moved].mean())
            rows.append(row)
    return pd.DataFrame(rows)


def _samples(data: SyntheticMicroExpressions, run: Run) -> Samples:
    model = run.create(5)
    tensors = (*model.prepared, *(f"flow_{m}" for m in FLOWS))
    return prepare(data, model.config.image_size, tensors=tensors, progress=False)


def _estimates(
    run: Run, samples: Samples, train: torch.Tensor, test: Sequence[int], longer: int
) -> dict[str, np.ndarray]:
    """Displacements by optical flow and by the network's three stages, of the samples `test`."""
    estimates = {m: samples[f"flow_{m}"][test].float().numpy() for m in FLOWS}
    for name, times in ((f"DGM, self-supervised {longer} × as long", longer), ("DGM, self-supervised", 1)):
        model = _supervised_by_itself(run, samples, train, times)
        estimates[name] = displacements(model, samples, test)
    model.config = replace(model.config, pretrain_epochs=0)
    fit(model, samples, train.numpy(), run.recipe, seed=run.seed)
    return estimates | {"DGM, with the classes": displacements(model, samples, test)}


def _supervised_by_itself(run: Run, samples: Samples, train: torch.Tensor, times: int) -> FRLDGT:
    model = run.create(5, run.seed)
    assert isinstance(model, FRLDGT)
    model.config = replace(model.config, pretrain_epochs=times * model.config.pretrain_epochs)
    torch.manual_seed(run.seed)
    model.pretrain(train, lambda rows, names: {n: samples[n][rows].float() for n in names}, run.recipe.lr)
    return model


def displacement_figure(clip: Clip, fields: Mapping[str, np.ndarray]) -> Picture:
    """The truth and what methods say of one aligned clip, as colours of one scale, with end-point errors.

    Args:
        clip: Aligned, rendered.
        fields: Displacements by method, (2, S, S) pixels of the clip's frames.

    Returns:
        The hue is the direction (right red, down yellow-green), the strength of the colour the length.

    Example:
        >>> clip = align_clip(SyntheticMicroExpressions(1, 1, image_size=64)[0], 56)
        >>> len(displacement_figure(clip, {"nothing": np.zeros((2, 56, 56))}).axes)
        3
    """
    if clip.truth is None:
        raise ValueError(f"clip {clip.id} was recorded, so its true motion is unknown: give a rendered one")
    truth = clip.truth.field
    shown: dict[str, np.ndarray] = {"truth": truth, **fields}
    figure = Picture(figsize=(2.1 * (len(shown) + 1), 2.6), layout="constrained")
    axes = figure.subplots(1, len(shown) + 1)
    axes[0].imshow(clip.frame(clip.onset))
    axes[0].set_title("onset", fontsize=9)
    limit = float(np.hypot(*truth).max())
    for axis, (name, field) in zip(axes[1:], shown.items(), strict=True):
        axis.imshow(flow_colours(np.asarray(field, np.float32), limit))
        error = float(endpoint_error(field, truth).mean()) * REFERENCE / field.shape[-1]
        axis.set_title(name if name == "truth" else f"{name}\n{error:.2f} px off", fontsize=9)
    for axis in axes:
        axis.set_axis_off()
    return figure


def example(subjects: int, clips: int, epochs: int, longer: int = LONGER) -> Picture:
    """A held-out clip without distractors, seen by the network at its three stages and by flow."""
    data = SyntheticMicroExpressions(subjects, clips, distractors=CONDITIONS["none"])
    run = Run("frl_dgt", recipe=replace(RECIPES["tiny"], epochs=epochs))
    samples = _samples(data, run)
    first = samples.subjects == samples.subjects[0]
    lengths = [float(np.hypot(*data[i].truth.field).max()) for i in np.flatnonzero(first).tolist()]  # type: ignore[union-attr]
    i = int(np.argmax(lengths))
    fields = _estimates(run, samples, torch.from_numpy(np.flatnonzero(~first)), [i], longer)
    return displacement_figure(align_clip(data[i], samples.onset.shape[-1]), {m: f[0] for m, f in fields.items()})


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    out: Annotated[Path, typer.Option(help="Where figure and table go.")] = Path("build/displacement"),
    save: Save = None,
    subjects: Annotated[int, typer.Option(min=2, help="Synthetic subjects of each seed; half train.")] = 6,
    clips: Clips = 10,
    seeds: Seeds = 10,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of the training.")] = 16,
) -> None:
    """Compare FRL-DGT's learned displacement and optical flow with the true motion. An hour on two cores."""
    with one_sentence():
        path, picture = writable(save or out / "displacement.json"), writable(out / "displacement.png")
        result = measure(subjects=subjects, clips_per_subject=clips, seeds=seeds, epochs=epochs)
        result.save(path)
        example(subjects, clips, epochs).savefig(picture, dpi=150)
    for what, where in (("expression", "expression, where the face moved"), ("all", "all motion, whole image")):
        means = result.table(what).rename_axis("method").reset_index()
        print_table(means, f"end-point error, pixels at {REFERENCE}: {where}")
    print(f"everything: {path}; one clip: {picture}")


if __name__ == "__main__":
    app()
