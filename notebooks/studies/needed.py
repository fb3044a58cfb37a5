"""Is the onset frame needed? An oracle that has it against all that sees the displacement only, filmed and aligned."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar

import cv2
import numpy as np
import pandas as pd
import typer

if not __package__:  # run as a script, it finds its neighbours
    sys.path.insert(0, str(Path(__file__).parents[1]))

from tqdm.auto import tqdm

from studies.needed_models import MODELS, everything
from studies.script import Save, Seeds, Workers, one_sentence
from studies.stored import Stored, provenance_of, writable
from tsfmicro_lab.cli.output import print_table
from tsfmicro_lab.clips import Clip, Truth
from tsfmicro_lab.data import SyntheticMicroExpressions
from tsfmicro_lab.data.heads import Person
from tsfmicro_lab.data.mesh import head_mesh
from tsfmicro_lab.data.rendering import Surface
from tsfmicro_lab.explain.figures import Picture
from tsfmicro_lab.preprocess import align_clip, estimate_alignment, flow_colours
from tsfmicro_lab.training import Run, fold_processes
from tsfmicro_lab.training.metrics import scores

#: Side of the displacement fields, and of the picture to which errors refer, pixels.
SIDE, REFERENCE = 48, 224
#: Standard deviation of the error with which a displacement is known, pixels at 224 px; DIS flow errs by 0.13 to 0.21.
#: Without any, models find in many clips what no camera shows, probably the kinks of the mesh.
ERROR = 0.1
#: Whether the fields are aligned.
CONDITIONS = {"filmed": False, "aligned": True}
ORACLE, _LINEAR = "oracle: onset and displacement", "logistic regression, pooled"


class Unpainted(SyntheticMicroExpressions):
    """The same clips with heads that are not painted, for those who want their motion only."""

    def face(self, subject: int) -> Surface:
        """The subject's shape."""
        return _shape(1000 * self.seed + subject, self.layout_variation)


@lru_cache(maxsize=16)
def _shape(seed: int, variation: float) -> Surface:
    mesh, blank = head_mesh(), np.zeros((4, 4, 3), np.float32)
    rest = Person.draw(seed, variation).vertices()
    return Surface(rest, mesh.triangles, mesh.uv, blank, mesh.open_sky, mesh.open_sky, blank[0, 0])


def clips(subjects: int, clips_per_subject: int, seed: int) -> SyntheticMicroExpressions:
    """Clips that need the onset frame, every class equally often, with the usual distractors."""
    return Unpainted(subjects, clips_per_subject, SIDE, seed, balance="uniform", where="needed")


def with_error(clip: Clip, error: float, rng: np.random.Generator) -> Clip:
    """The clip with a true motion that was measured with an error, pixels at 224 px, in every pixel."""
    truth = clip.truth
    assert truth is not None
    noise = error * SIDE / REFERENCE * rng.standard_normal(truth.field.shape, np.float32)
    measured = {name: getattr(truth, name) for name in Truth.__annotations__} | {"field": truth.field + noise}
    return replace(clip, truth=Truth(lambda: measured))


def displacement(clip: Clip, aligned: bool) -> np.ndarray:
    """All motion from onset to apex, (2, S, S) pixels: as filmed, or in the aligned picture."""
    truth = (align_clip(clip, SIDE) if aligned else clip).truth
    assert truth is not None
    return np.asarray(truth.field, np.float32)


def seen_by_oracle(clip: Clip) -> np.ndarray:
    """The filmed displacement at the 478 places of the onset frame's face, turned upright; 0 outside the picture."""
    assert clip.landmarks is not None
    assert clip.truth is not None
    x, y = np.rint(clip.truth.mesh).astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < SIDE) & (y < SIDE)
    upright = estimate_alignment(clip.landmarks, SIDE)[:, :2]
    at = inside * clip.truth.field[:, y.clip(0, SIDE - 1), x.clip(0, SIDE - 1)]
    return np.r_[(upright @ at).ravel(), inside].astype(np.float32)


@dataclass(frozen=True)
class Gap(Stored):
    """How well emotions are recognised with and without the onset frame; one row per condition, seed and model.

    Attributes:
        scores: `condition` (a name of :data:`CONDITIONS`), `seed`, `model`, and `uf1` on new subjects.
    """

    script: ClassVar = "needed"
    scores: pd.DataFrame

    def table(self) -> pd.DataFrame:
        """Mean UF1 ± standard deviation over seeds of each model (rows) under each condition (columns)."""
        grouped = self.scores.groupby(["model", "condition"], sort=False).uf1
        cells = {key: f"{uf1.mean():.2f} ± {uf1.std():.2f}" for key, uf1 in grouped}
        names = self.scores.model.unique()
        return pd.DataFrame({c: [cells[m, c] for m in names] for c in CONDITIONS}, index=pd.Index(names))

    def gaps(self) -> pd.DataFrame:
        """The oracle's UF1 minus that of the best model in each seed: one row per seed, one column per condition.

        The best is chosen by the scores themselves, so the gap is rather too small.
        """
        oracle = self.scores.model == ORACLE
        known, best = (self.scores[rows].groupby(["seed", "condition"]).uf1.max() for rows in (oracle, ~oracle))
        return (known - best).reset_index().pivot_table("uf1", "seed", "condition")[list(CONDITIONS)]


def measure(
    *,
    subjects: int = 40,
    clips_per_subject: int = 50,
    seeds: int = 10,
    error: float = ERROR,
    models: Sequence[str] = tuple(MODELS),
    workers: int | None = None,
) -> Gap:
    """Trains everything on some subjects and tests it on new ones.

    Args:
        subjects: That train; a quarter as many others test.
        clips_per_subject: Clips of each.
        seeds: Number of seeds.
        error: With which displacements are known to all, the oracle too; pixels at 224 px.
        models: Names of :data:`~studies.needed_models.MODELS`.
        workers: Processes; one per core by default.
    """
    provenance = provenance_of(Run(), seeds=seeds, subjects=subjects, clips_per_subject=clips_per_subject)
    del provenance["recipe"]
    provenance["protocol"] = (
        f"UF1 of five equal classes on {max(1, subjects // 4)} new subjects; "
        f"displacements of {SIDE} px, their error {error} px at {REFERENCE} px"
    )
    with fold_processes(workers) as pool:
        jobs = [pool.submit(one_seed, subjects, clips_per_subject, seed, error, models) for seed in range(seeds)]
        rows = [row for job in tqdm(jobs, "seeds") for row in job.result()]
    return Gap(provenance, pd.DataFrame(rows))


def one_seed(subjects: int, number: int, seed: int, error: float, models: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of one seed."""
    parts = clips(subjects, number, 2 * seed), clips(max(1, subjects // 4), number, 2 * seed + 1)
    seen = [_seen(data, error) for data in parts]
    label, truth = (np.array([data.classes.index(e) for e in data.annotations.emotion]) for data in parts)
    classes, rows = parts[0].classes, []
    for condition in CONDITIONS:
        features = [everything(fields[condition]) for fields in seen]
        for name in (ORACLE, *models):
            reads, learn = MODELS[_LINEAR if name == ORACLE else name]
            old, new = (x[ORACLE] for x in seen) if name == ORACLE else (x[reads] for x in features)
            predicted = [classes[i] for i in learn(old, label, new)]
            uf1 = scores([classes[i] for i in truth], predicted, classes)["uf1"]
            rows.append({"condition": condition, "seed": seed, "model": name, "uf1": uf1})
    return rows


def _seen(data: SyntheticMicroExpressions, error: float) -> dict[str, np.ndarray]:
    """What the oracle sees of the clips, and the fields under each condition, of one and the same measurement."""
    rng, found = np.random.default_rng(data.seed), []
    for clip in (data[i] for i in range(len(data))):
        measured = with_error(clip, error, rng)
        found.append([seen_by_oracle(measured), *(displacement(measured, aligned) for aligned in CONDITIONS.values())])
    return {name: np.stack(x) for name, x in zip((ORACLE, *CONDITIONS), zip(*found, strict=True), strict=True)}


def needed_figure(count: int = 10, size: int = 160, seed: int = 0) -> Picture:
    """Clips that need the onset frame, one a column: onset and displacement as filmed, and both aligned."""
    data = SyntheticMicroExpressions(count, 1, size, seed, balance="uniform", where="needed")
    figure = Picture(figsize=(1.5 * count, 6.6), layout="constrained")
    axes = figure.subplots(4, count)
    for column, clip in enumerate(data[i] for i in range(count)):
        assert clip.landmarks is not None
        matrix = estimate_alignment(clip.landmarks, size)
        seen = cv2.warpAffine(np.ones((size, size), np.uint8), matrix, (size, size))[..., None]  # the rest is mirrored
        for view, shown in enumerate((clip, align_clip(clip, size))):
            assert shown.truth is not None
            onset = shown.frame(shown.onset)
            axes[2 * view, column].imshow(np.where(seen, onset, 255) if view else onset)
            limit = float(np.hypot(*shown.truth.field).max())
            axes[2 * view + 1, column].imshow(flow_colours(shown.truth.field.astype(np.float32), limit))
        axes[0, column].set_title(f"{clip.emotion}\n{'+'.join(clip.action_units)}", fontsize=9)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    for axis, name in zip(axes[:, 0], ("onset, filmed", "displacement", "onset, aligned", "displacement"), strict=True):
        axis.set_ylabel(name, fontsize=9)
    return figure


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    out: Annotated[Path, typer.Option(help="Where figure and table go.")] = Path("build/needed"),
    save: Save = None,
    subjects: Annotated[int, typer.Option(min=2, help="Subjects that train; a quarter as many others test.")] = 40,
    clips: Annotated[int, typer.Option(min=1, help="Clips of each subject.")] = 50,
    seeds: Seeds = 10,
    error: Annotated[float, typer.Option(min=0, help="Of the displacements, pixels at 224 px.")] = ERROR,
    workers: Workers = None,
) -> None:
    """Compare an oracle that has the onset frame with models that see the displacement only. 11 min on two cores."""
    with one_sentence():
        path, picture = writable(save or out / "needed.json"), writable(out / "needed.png")
        needed_figure().savefig(picture, dpi=75)
        result = measure(subjects=subjects, clips_per_subject=clips, seeds=seeds, error=error, workers=workers)
        result.save(path)
    print_table(result.table().rename_axis("model").reset_index(), "UF1 on new subjects, mean ± sd over seeds")
    gaps = result.gaps()
    print_table(gaps.agg(["mean", "min", "max"]).T.rename_axis("gap").reset_index(), "oracle minus the best model")
    print(f"everything: {path}; ten clips: {picture}")


if __name__ == "__main__":
    app()
