"""Subjects to train on and others to test on: drawn in parts, kept, and joined; and the same test on photographs."""

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

from studies import dynamic_images
from tsfmicro_lab.clips import Clip
from tsfmicro_lab.data import Distractors, PhotographMicroExpressions, Samples, SyntheticMicroExpressions, prepare
from tsfmicro_lab.data.tensors import KEY_FRAMES
from tsfmicro_lab.files import write_whole
from tsfmicro_lab.preprocess import estimate_alignment
from tsfmicro_lab.preprocess.flow import resize_flow
from tsfmicro_lab.processes import process_pool
from tsfmicro_lab.training import RECIPES, Recipe

#: Side of the prepared frames, pixels.
SIDE = 56
FLOW, WHOLE = "flow_dis", dynamic_images.WHOLE
#: What a model may be tested on.
HEADS, PHOTOGRAPHS = "new heads", "photographs"


@dataclass(frozen=True)
class Setting:
    """What disturbs the clips, how many there are to learn from, and with which recipe.

    Attributes:
        name: Of the setting.
        distractors: Of all clips.
        parts: Groups of subjects that are trained on; each is drawn with a seed of its own.
        recipe: Of every network.
        where: `free`, or `needed` for close-ups that nobody aligned, in which the onset frame is needed.
        motion: What the stream of the motion reads: the `difference` of the frames, or DIS `flow` in its place.
        tested: Groups of new subjects that are tested.
        subjects: In each group.
        clips: Of each subject, and four times as many of each photograph.
    """

    name: str
    distractors: Distractors
    parts: int
    recipe: Recipe
    where: str = "free"
    motion: str = "difference"
    tested: int = 2
    subjects: int = 8
    clips: int = 12

    @property
    def faces(self) -> tuple[str, ...]:
        """Kinds of faces that are tested; a photograph shows too little to be filmed from near."""
        return (HEADS, PHOTOGRAPHS) if self.where == "free" else (HEADS,)

    def groups(self) -> list[str]:
        """All groups: `train 0`, `new heads 1`, `photographs 0`."""
        numbers = {"train": self.parts, HEADS: self.tested, PHOTOGRAPHS: 1}
        return [f"{kind} {i}" for kind in ("train", *self.faces) for i in range(numbers[kind])]


HALF, FAST = "clean, half the epochs", "clean, half the epochs, twice the rate"
#: The trainings of half the epochs as they came out before, in part on a GPU: in the stored file alone.
ELSEWHERE = "clean, half the epochs, other devices"
LONG = replace(RECIPES["tiny"], epochs=72, batch_size=32, lr=3e-3)
#: A few clips without distractors, and the same by the preset's own recipe and at another rate; many more with
#: all distractors; and close-ups that need the onset frame: a difference of frames holds some of it, and flow nothing.
SETTINGS = {
    "clean": Setting("clean", Distractors.none(), 1, replace(RECIPES["tiny"], epochs=2 * RECIPES["tiny"].epochs)),
    HALF: Setting(HALF, Distractors.none(), 1, RECIPES["tiny"]),
    FAST: Setting(FAST, Distractors.none(), 1, replace(RECIPES["tiny"], lr=2 * RECIPES["tiny"].lr)),
    "distractors": Setting("distractors", Distractors(), 8, LONG),
    "needed": Setting("needed", Distractors.none(), 6, LONG, "needed"),
    "needed, flow": Setting("needed, flow", Distractors.none(), 6, replace(LONG, epochs=36), "needed", "flow"),
}


@dataclass(frozen=True)
class Drawn:
    """Clips that were drawn and prepared, and what only an oracle knows of them.

    Attributes:
        samples: Key frames and DIS flow of 56 px, and whatever else was asked for.
        oracle: The expression's true displacement at 478 places of the face, (N, 956), turned upright as alignment
            would turn it, in pixels of the aligned face.
    """

    samples: Samples
    oracle: np.ndarray = field(repr=False)


def draw_all(folder: Path, setting: Setting, seeds: Sequence[int], workers: int | None, also: Sequence[str]) -> None:
    """Draws the groups of a setting that are missing, side by side; `also` are tensors besides the usual ones."""
    jobs = [(folder, setting, seed, group) for seed in seeds for group in setting.groups()]
    jobs = [job for job in jobs if not _holds(_path(*job), also if setting.where == "free" else ())]
    with process_pool(workers) as pool:
        done = [pool.submit(_draw, *job, tuple(also)) for job in jobs]
        for future in tqdm(done, f"drawing groups of clips, {setting.name}", disable=not jobs):
            future.result()


def drawn(folder: Path, setting: Setting, seed: int, faces: str = "train", parts: int | None = None) -> Drawn:
    """The clips of a setting and seed to train on, or of some faces to test on; the first parts only, if said."""
    chosen = [group for group in setting.groups() if group.rpartition(" ")[0] == faces][:parts]
    found = [pickle.loads(_path(folder, setting, seed, group).read_bytes()) for group in chosen]
    samples = joined([d.samples for d in found])
    if setting.motion == "flow":
        samples = samples.with_tensors(apex=as_difference(samples))
    return Drawn(samples, np.concatenate([d.oracle for d in found]))


def as_difference(samples: Samples) -> Tensor:
    """Apex frames of which the onset frames can be subtracted, and DIS flow is left, 40 grey levels a pixel."""
    flow = samples[FLOW].float()
    return samples["onset"].float() + 40 * torch.cat([flow, torch.zeros_like(flow[:, :1])], 1)


def joined(several: Sequence[Samples]) -> Samples:
    """Samples of several data sets as one; their subjects are told apart by the number of the set."""
    classes = several[0].classes
    if any(samples.classes != classes for samples in several):
        raise ValueError("data sets with other classes cannot be joined")
    tables = [s.table.assign(subject=[f"{i}-{name}" for name in s.subjects]) for i, s in enumerate(several)]
    tensors = {name: torch.cat([s[name] for s in several]) for name in several[0].tensors}
    label = torch.cat([s.label for s in several])
    return replace(several[0], tensors=tensors, label=label, table=pd.concat(tables, ignore_index=True))


def shrunk(samples: Samples, size: int) -> Samples:
    """The same samples with DIS flow, and landmarks if there are any, at another size: for networks without frames."""
    flow = np.stack([resize_flow(f.astype(np.float32), size) for f in samples[FLOW].numpy()])
    tensors, side = {FLOW: torch.from_numpy(flow).half()}, samples[FLOW].shape[-1]
    if "landmarks" in samples.tensors:
        tensors["landmarks"] = (samples["landmarks"] + 0.5) * (size / side) - 0.5
    return replace(samples, tensors=tensors)


def data_of(setting: Setting, seed: int, group: str) -> SyntheticMicroExpressions:
    """The data set behind a group."""
    settings: dict[str, Any] = {"distractors": setting.distractors, "where": setting.where}
    if setting.where == "needed":
        settings["balance"] = "uniform"
    own = seed_of(seed, group)
    if group.startswith(PHOTOGRAPHS):
        return PhotographMicroExpressions(None, 4 * setting.clips, seed=own, **settings)
    return SyntheticMicroExpressions(setting.subjects, setting.clips, seed=own, **settings)


def seed_of(seed: int, group: str) -> int:
    """The seed of a group's clips: `train 0`, `new heads 1`, …; none has the seed of another."""
    kind, _, number = group.rpartition(" ")
    return 100 * seed + int(number) + {"train": 0, HEADS: 90, PHOTOGRAPHS: 99}[kind]


def true_motion(clip: Clip) -> np.ndarray:
    """What an oracle sees: the expression's displacement at 478 places of the face, upright; 0 outside the picture."""
    assert clip.truth is not None
    assert clip.landmarks is not None
    size = clip.truth.expression.shape[-1]
    x, y = np.rint(clip.truth.mesh).astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < size) & (y < size)
    at = inside * clip.truth.expression[:, y.clip(0, size - 1), x.clip(0, size - 1)]
    return (estimate_alignment(clip.landmarks, SIDE)[:, :2] @ at).ravel().astype(np.float32)


def _path(folder: Path, setting: Setting, seed: int, group: str) -> Path:
    return folder / "clips" / f"{setting.name.partition(',')[0]}-{seed}-{group.replace(' ', '-')}.pickle"


def _holds(path: Path, also: Sequence[str]) -> bool:
    """Whether a group was drawn, and with these tensors: models that came later may want more."""
    return path.exists() and (not also or {*also} <= {*pickle.loads(path.read_bytes()).samples.tensors})


def _draw(folder: Path, setting: Setting, seed: int, group: str, also: Sequence[str]) -> None:
    data, aligned = data_of(setting, seed, group), setting.where == "free"
    tensors = (*KEY_FRAMES, FLOW, *(also if aligned else ()))
    samples = prepare(data, SIDE, tensors=tensors, align=aligned, progress=False)
    content = pickle.dumps(Drawn(samples, np.stack([true_motion(data[i]) for i in range(len(data))])))
    write_whole(_path(folder, setting, seed, group), lambda path: path.write_bytes(content))
