"""Are the drawn heads faces to a program that learnt from photographs? MediaPipe's landmarker against the truth."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
import typer
from tqdm.auto import tqdm

if not __package__:  # run as a script, it finds its neighbours
    sys.path.insert(0, str(Path(__file__).parents[1]))

from studies.script import Save, one_sentence
from studies.stored import Stored, provenance_of, writable
from tsfmicro_lab.cli.output import print_table
from tsfmicro_lab.data import Distractors
from tsfmicro_lab.data.heads import Person, draw_head
from tsfmicro_lab.data.motion import Motion
from tsfmicro_lab.data.moving_face import MovingFace
from tsfmicro_lab.data.rendering import Camera, Light
from tsfmicro_lab.preprocess import MediaPipeLandmarker
from tsfmicro_lab.preprocess.landmarks import FACE_POINTS, POINT_INDEX, FaceNotFoundError, find_model
from tsfmicro_lab.training import Run

SIZE = 224
#: Yaw and nod, degrees; the yaw goes left and right in turns.
POSES = {"frontal": (0.0, 0.0), "turned": (10.0, 5.0)}
PLACES = {"eye corners": ("eye_outer", "eye_inner"), "mouth corners": ("mouth_corner",), "nose tip": ("nose_tip",)}
TONES = ("light", "medium", "dark")


@dataclass(frozen=True)
class Landmarked(Stored):
    """Whether heads are found, and how far landmarks are from the truth; one row per head and pose.

    Attributes:
        faces: `person` (seed), `pose`, `melanin`, `tone` (tercile of it), `found`, and the mean error at `eye corners`,
            `mouth corners` and `nose tip` in % of the distance between the eyes' centres.
    """

    script: ClassVar = "landmarker"
    faces: pd.DataFrame

    def table(self) -> pd.DataFrame:
        """Share found, and median and 95 % quantile of the errors, per pose and tone of skin."""
        rows = {}
        for pose, of_pose in self.faces.groupby("pose", sort=False):
            for tone, some in {"all": of_pose, **{t: of_pose[of_pose.tone == t] for t in TONES}}.items():
                cells = {"heads": str(len(some)), "found": f"{some.found.mean():.1%}"}
                cells |= {p: f"{some[p].median():.1f} ({some[p].quantile(0.95):.1f})" for p in PLACES}
                rows[pose, tone] = cells
        return pd.DataFrame(rows).T.rename_axis(["pose", "skin"])


def measure(*, people: int = 200) -> Landmarked:
    """Draws people, frontal and turned, and asks the real landmarker where their faces are.

    Args:
        people: Number of heads; their seeds count from 0.
    """
    landmarker = MediaPipeLandmarker(find_model(download=False))
    provenance = provenance_of(Run("frl_dgt"), people=people)
    provenance["protocol"] = (
        f"MediaPipe's face landmarker, {SIZE} px, {POSES} degrees of yaw and nod; nothing is trained"
    )
    del provenance["recipe"]
    rows = [row for seed in tqdm(range(people), "heads") for row in _errors(seed, landmarker)]
    faces = pd.DataFrame(rows)
    faces["tone"] = pd.qcut(faces.melanin.rank(method="dense"), 3, labels=list(TONES)).astype(str)
    return Landmarked(provenance, faces)


def _errors(seed: int, landmarker: MediaPipeLandmarker) -> list[dict[str, object]]:
    person = Person.draw(seed)
    still = Motion.still(len(POSES), Distractors.none(), np.random.default_rng(seed))
    angles = [(yaw * (1 if seed % 2 else -1), nod, 0.0) for yaw, nod in POSES.values()]
    light = Light.draw(np.random.default_rng([seed, 6]))
    motion = replace(still, turn=np.radians(angles).astype(np.float32))
    moving = MovingFace(draw_head(person), motion, Camera(SIZE), light)
    rows: list[dict[str, object]] = []
    for frame, pose in enumerate(POSES):
        row: dict[str, object] = {"person": seed, "pose": pose, "melanin": person.melanin, "found": True}
        truth = moving.mesh_points(frame)[list(FACE_POINTS.values())]
        try:
            error = np.hypot(*(landmarker(moving.render(frame)) - truth).T)
        except FaceNotFoundError:
            rows.append(row | {"found": False} | dict.fromkeys(PLACES, np.nan))
            continue
        eyes = [truth[[POINT_INDEX[f"{s}_eye_{c}"] for c in ("outer", "inner")]].mean(0) for s in ("right", "left")]
        apart = np.hypot(*(eyes[0] - eyes[1]))
        for place, ends in PLACES.items():
            row[place] = 100 * float(
                error[[i for name, i in POINT_INDEX.items() if name.endswith(ends)]].mean() / apart
            )
        rows.append(row)
    return rows


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    out: Annotated[Path, typer.Option(help="Where the table goes.")] = Path("build/landmarker"),
    save: Save = None,
    people: Annotated[int, typer.Option(min=3, help="Number of heads.")] = 200,
) -> None:
    """Ask the real landmarker where the faces of drawn heads are. Three minutes on one core."""
    with one_sentence():
        path = writable(save or out / "landmarker.json")
        result = measure(people=people)
        result.save(path)
    print_table(result.table().reset_index(), "found; error in % of the distance of the eyes: median (95 %)")
    print(f"everything: {path}")


if __name__ == "__main__":
    app()
