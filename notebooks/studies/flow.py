"""What light does to optical flow: three methods against the true motion of heads, shading and turn on and off."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
import typer
from jaxtyping import Float32
from tqdm.auto import tqdm

if not __package__:  # run as a script, it finds its neighbours
    sys.path.insert(0, str(Path(__file__).parents[1]))

from studies.script import Clips, Save, one_sentence
from studies.stored import Stored, provenance_of, writable
from tsfmicro_lab.cli.output import print_table
from tsfmicro_lab.data import Distractors, SyntheticMicroExpressions
from tsfmicro_lab.data.moving_face import MovingFace
from tsfmicro_lab.data.rendering import draw, encode
from tsfmicro_lab.preprocess import FLOWS, endpoint_error, optical_flow
from tsfmicro_lab.training import Run, fold_processes

NONE = Distractors.none()
#: Condition → whether the shade goes along with the skin as if it were painted on it, and what else disturbs.
CONDITIONS: dict[str, tuple[bool, Distractors]] = {
    "texture alone": (True, NONE),
    "shading": (False, NONE),
    "shading, lamp wanders": (False, replace(NONE, light=2.0)),
    "texture alone, head turns": (True, replace(NONE, turn=2.0)),
    "shading, head turns": (False, replace(NONE, turn=2.0)),
    "all distractors": (False, Distractors()),
}
#: Classes of the largest displacement, pixels of a face 224 px wide.
AMPLITUDES = (0.5, 1.0, 2.0, 3.0)
SIZE = 224


class Painted(MovingFace):
    """A face whose shade is that of the onset, wherever its skin goes: only texture moves."""

    def noise_free(self, frame: int) -> Float32[np.ndarray, "height width 3"]:
        """A frame whose light does not see that slopes have changed."""
        onset = self.vertices(self.motion.onset)
        return encode(draw(self.face, self.vertices(frame), self.camera, self.light, onset))


@dataclass(frozen=True)
class Flows(Stored):
    """How far flow is from the truth; one row per condition, clip and method.

    Attributes:
        errors: `condition`, `subject`, `clip`, `amplitude` (largest displacement of an action unit), `method`, and mean
            end-point errors, pixels: `moved` where the expression moved the face, `face` over the whole head.
    """

    script: ClassVar = "flow"
    errors: pd.DataFrame

    def table(self, what: str = "moved") -> pd.DataFrame:
        """Mean error of each method (columns) under each condition (rows); clips count alike."""
        order = {name: self.errors[name].unique() for name in ("condition", "method")}
        means = self.errors.pivot_table(what, "condition", "method")
        return means.loc[order["condition"], order["method"]].round(3)

    def by_amplitude(self, method: str = "dis") -> pd.DataFrame:
        """Mean error of a method where the face moved, per condition (rows) and class of amplitude (columns)."""
        rows = self.errors[self.errors.method == method]
        classes = pd.cut(rows.amplitude, list(AMPLITUDES), include_lowest=True).astype(str)
        means = rows.assign(amplitude=classes).pivot_table("moved", "condition", "amplitude")
        return means.loc[rows.condition.unique()].round(3)


def measure(*, subjects: int = 8, clips_per_subject: int = 5, seed: int = 0, workers: int | None = None) -> Flows:
    """Compares flow from the onset to the apex with the true motion, under each condition on the same clips.

    Args:
        subjects: Synthetic subjects.
        clips_per_subject: Clips of each.
        seed: Of the data.
        workers: Processes; one per core by default.
    """
    provenance = provenance_of(Run("frl_dgt"), subjects=subjects, clips_per_subject=clips_per_subject, seed=seed)
    provenance["protocol"] = f"nothing is trained; frames of {SIZE} px as they were drawn, not aligned"
    del provenance["recipe"]
    with fold_processes(workers) as pool:
        jobs = [pool.submit(_errors, subjects, clips_per_subject, seed, s) for s in range(subjects)]
        tables = [job.result() for job in tqdm(jobs, "subjects")]
    errors = pd.concat(tables, ignore_index=True)
    order = pd.Categorical(errors.condition, list(CONDITIONS), ordered=True)
    return Flows(provenance, errors.iloc[np.argsort(order.codes, kind="stable")].reset_index(drop=True))


def _errors(subjects: int, clips: int, seed: int, subject: int) -> pd.DataFrame:
    rows = []
    for condition, (painted, distractors) in CONDITIONS.items():
        data = SyntheticMicroExpressions(subjects, clips, SIZE, seed, distractors=distractors)
        for i in np.flatnonzero(data.annotations.subject == data.annotations.subject.unique()[subject]).tolist():
            moving = data.moving_face(i)
            if painted:
                moving = Painted(moving.face, moving.motion, moving.camera, moving.light)
            motion, truth, note = moving.motion, moving.truth(), data.annotations.iloc[i]
            onset, apex = moving.render(motion.onset), moving.render(motion.apex)
            rest, triangles = moving.vertices(motion.onset), moving.face.triangles
            face = np.isfinite(moving.camera.rasterize(rest, triangles, rest, SIZE)[1]) & truth.visible
            estimates = {"nothing moved": np.zeros_like(truth.field)}
            estimates |= {method: optical_flow(onset, apex, method) for method in FLOWS}
            for method, flow in estimates.items():
                error = endpoint_error(flow, truth.field)
                row = {"condition": condition, "subject": note["subject"], "clip": note["clip"], "method": method}
                row |= {"amplitude": float(note.amplitude) * 224 / SIZE, "moved": float(error[truth.moved].mean())}
                rows.append(row | {"face": float(error[face].mean())})
    return pd.DataFrame(rows)


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    out: Annotated[Path, typer.Option(help="Where the table goes.")] = Path("build/flow"),
    save: Save = None,
    subjects: Annotated[int, typer.Option(min=1, help="Synthetic subjects.")] = 8,
    clips: Clips = 5,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one per core by default.")] = None,
) -> None:
    """Compare optical flow with the true motion, shading and head turn on and off. Five minutes on two cores."""
    with one_sentence():
        path = writable(save or out / "flow.json")
        result = measure(subjects=subjects, clips_per_subject=clips, workers=workers)
        result.save(path)
    for what, where in (("moved", "where the expression moved the face"), ("face", "over the whole head")):
        print_table(result.table(what).reset_index(), f"end-point error, pixels at {SIZE}: {where}")
    print_table(result.by_amplitude().reset_index(), "DIS, where the face moved, by amplitude")
    print(f"everything: {path}")


if __name__ == "__main__":
    app()
