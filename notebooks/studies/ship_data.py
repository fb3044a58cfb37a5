"""Clips for the models that ship: heads and photographs, with everything that a recording may add drawn anew."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from tsfmicro_lab.clips import Clip, Points
from tsfmicro_lab.data import Distractors, Samples, SyntheticMicroExpressions
from tsfmicro_lab.data.action_units import action_unit_table
from tsfmicro_lab.data.heads import Person
from tsfmicro_lab.data.mesh import places_of
from tsfmicro_lab.data.moving_face import MovingFace, _jpeg
from tsfmicro_lab.data.photographs import Portrait, photographed
from tsfmicro_lab.data.rendering import Light, Surface
from tsfmicro_lab.data.synthetic import PROTOTYPES
from tsfmicro_lab.data.tensors import prepare_clip
from tsfmicro_lab.files import write_whole
from tsfmicro_lab.preprocess.alignment import ANCHORS, estimate_alignment
from tsfmicro_lab.preprocess.landmarks import POINT_INDEX, POINT_NAMES
from tsfmicro_lab.processes import process_pool

#: What is kept of a clip: name, tensor and side of its frames.
KEPT = (("onset", "onset", 56), ("apex", "apex", 56), ("flow28", "flow_dis", 28), ("flow56", "flow_dis", 56))
CLASSES = tuple(sorted(PROTOTYPES))
#: Every unit that a prototype shows, sides left aside.
UNITS = tuple(sorted({u.lstrip("LR") for ways in PROTOTYPES.values() for way in ways for u in way}, key=int))
#: Heads of one part of the data, which share their strengths.
PEOPLE = 4
#: Kinds of clips without an expression and how many of them there are: what a spotted moment may be instead of one.
NOTHING = {"rest": 0.3, "speech": 0.2, "turn": 0.2, "still": 0.1, "cut": 0.1, "noise": 0.1}


@dataclass(frozen=True)
class Part:
    """Some people and how they are filmed; a part is drawn at once and cached.

    Attributes:
        name: Of the file that keeps it.
        seed: Of everything.
        clips: Of each person.
        randomised: Whether strengths, pose, key frames and landmarks are drawn; else as the other studies film.
        nothing: Share of clips in which there is no expression.
        distractors: Strengths, instead of drawn or usual ones.
        balance: How emotions are dealt.
        portrait: Image and landmarks of a photograph, instead of heads, and who is seen.
        pose: Constant yaw of the head, degrees.
    """

    name: str
    seed: int
    clips: int = 20
    randomised: bool = True
    nothing: float = 0.0
    distractors: Distractors | None = None
    balance: str = "uniform"
    portrait: tuple[np.ndarray, Points, str] | None = None
    pose: float = 0.0


class _Photograph(SyntheticMicroExpressions):
    """Clips of one photographed person whose landmarks are known, so that no landmarker is needed."""

    def __init__(self, portrait: Portrait, *given: Any, **settings: Any) -> None:
        self._portrait = portrait
        super().__init__(1, *given, **settings)

    def face(self, subject: int) -> Surface:
        return photographed(self._portrait, self.image_size)

    def light(self, subject: int) -> Light:
        return Light()


def draw_distractors(rng: np.random.Generator) -> Distractors:
    """Strengths of a recording: from none to about twice the usual, now and then speech and compression."""
    usual = dict.fromkeys(("drift", "turn", "flicker", "light", "noise", "blinks", "gaze"), 1.0)
    strengths = {name: float(rng.uniform(0, 2)) for name in usual}
    strengths["speech"] = float(rng.uniform(0, 0.3)) if rng.uniform() < 0.2 else 0.0
    return Distractors(**strengths, jpeg=float(rng.uniform(0, 3)) if rng.uniform() < 0.4 else 0.0)


def open_part(part: Part) -> SyntheticMicroExpressions:
    """The data set that a part moves."""
    rng = np.random.default_rng([part.seed, 71])
    size = int(rng.choice([112, 128, 160, 224], p=[0.2, 0.4, 0.2, 0.2])) if part.randomised else 128
    layout = float(rng.uniform(0.6, 1.4)) if part.randomised else 1.0
    drawn = draw_distractors(rng) if part.randomised else Distractors()
    settings: dict[str, Any] = {"distractors": part.distractors or drawn, "balance": part.balance}
    if part.portrait:
        image, points, name = part.portrait
        return _Photograph(Portrait(image, points, name), part.clips, size, part.seed, **settings)
    return SyntheticMicroExpressions(PEOPLE, part.clips, size, part.seed, layout_variation=layout, **settings)


def draw_part(part: Part) -> dict[str, np.ndarray]:
    """Tensors and labels of all clips of a part."""
    data, rows, tensors, oracle = open_part(part), [], [], []
    for i, row in enumerate(data.annotations.itertuples()):
        rng = np.random.default_rng([part.seed, 73, i])
        kind = (
            str(rng.choice(list(NOTHING), p=list(NOTHING.values()))) if rng.uniform() < part.nothing else "expression"
        )
        moving = data.moving_face(i)
        clip = _key_frames(_filmed(moving, kind, part, rng), kind, part, rng)
        sides = sorted({side for _, _, side in KEPT})
        made = {side: prepare_clip(clip, side, [t for _, t, s in KEPT if s == side]) for side in sides}
        tensors.append([made[side][tensor] for _, tensor, side in KEPT])
        oracle.append(mesh_motion(moving, clip))
        shown = kind == "expression"
        person = int(row.subject.removeprefix("sub")) - 1
        melanin = Person.draw(1000 * part.seed + person, data.layout_variation).melanin
        emotion = row.emotion if shown else CLASSES[0]
        rows.append(
            {
                "subject": part.portrait[2] if part.portrait else f"{part.name}-{row.subject}",
                "clip": row.clip,
                "onset": 0,
                "emotion": emotion,
                "action_units": row.action_units if shown else "",
                "kind": kind,
                "amplitude": row.amplitude * 224 / data.image_size if shown else 0.0,
                "melanin": np.nan if part.portrait else melanin,
                "size": data.image_size,
                "part": part.name,
            }
        )
    arrays = {name: np.stack(kept) for (name, _, _), kept in zip(KEPT, zip(*tensors, strict=True), strict=True)}
    table, arrays["oracle"] = pd.DataFrame(rows), np.stack(oracle)
    return arrays | {f"table_{name}": np.array(table[name].tolist()) for name in table}


def mesh_motion(moving: MovingFace, clip: Clip) -> np.ndarray:
    """What an oracle sees: the whole expression's displacement at 478 places of the face, upright, pixels of 56.

    From the moving mesh itself, since a clip of two key frames holds no field of the true motion, which
    :func:`~studies.new_subjects.true_motion` reads.
    """
    assert clip.landmarks is not None
    rest, end = (
        places_of(moving.camera.project(moving.vertices(moving.motion.onset, expression=share))) for share in (0, 1)
    )
    return (estimate_alignment(clip.landmarks, 56)[:, :2] @ (end - rest).T).ravel().astype(np.float32)


def _filmed(moving: MovingFace, kind: str, part: Part, rng: np.random.Generator) -> MovingFace:
    """The face in its pose; without its expression, where none is to be seen."""
    motion = moving.motion
    pose = np.radians(rng.uniform(-1, 1, 3) * (18, 9, 8)) if part.randomised and rng.uniform() < 0.5 else np.zeros(3)
    pose = pose + np.radians((part.pose, 0, 0))
    more = {"speech": (1.0, 2.0), "turn": (4.0, 20.0)}.get(kind, (1.0, 1.0))
    turn = motion.turn * (rng.uniform(*more) if kind == "turn" else 1.0)
    if kind != "expression":
        motion = replace(motion, units={})
    if kind == "speech":
        strength = replace(motion.distractors, speech=float(rng.uniform(0.2, 1.5)))
        speech = type(motion).still(motion.frames, strength, rng, rest=motion.onset).speech
        motion = replace(motion, speech=speech, distractors=strength)
    motion = replace(motion, turn=(turn + pose).astype(np.float32))
    return MovingFace(moving.face, motion, moving.camera, moving.light)


def _key_frames(moving: MovingFace, kind: str, part: Part, rng: np.random.Generator) -> Clip:
    """Onset and apex alone, a little off as a coder's or a spotter's are, at the frame rate of some camera."""
    motion, off = moving.motion, float(part.randomised)
    step = 200 / rng.choice([200, 100, 60, 30], p=[0.5, 0.2, 0.2, 0.1]) if part.randomised else 1.0
    onset = motion.onset + off * rng.normal(0, 2)
    apex = motion.apex + off * rng.normal(0, 0.12) * (motion.apex - motion.onset)
    phase = rng.uniform(0, step)
    grid = np.arange(phase if off else 0, motion.frames - 1e-6, step)
    first, last = (int(grid[np.abs(grid - at).argmin()]) for at in (onset, apex))
    frames = [moving.render(first), moving.render(max(last, min(first + 1, motion.frames - 1)))]
    side = len(frames[0])
    points = moving.mesh_points(first)[list(_named())]
    if kind == "still":
        frames[1] = frames[0].copy() if rng.uniform() < 0.5 else _noisy(frames[0], rng)
    if kind == "cut":  # another picture altogether: the camera moved, or the film was cut
        frames[1] = np.roll(frames[1][:, :: int(rng.choice([1, -1]))], rng.integers(-side // 6, side // 6, 2), (0, 1))
    if kind == "noise":
        frames = [_noise(side, rng) for _ in frames]
        points = np.full((len(POINT_NAMES), 2), side / 2, np.float32)
        points[[POINT_INDEX[name] for name in ANCHORS]] = np.array(list(ANCHORS.values())) * side
    if part.randomised:
        centre = points.mean(0)
        points = centre + (points - centre) * rng.uniform(0.95, 1.05) + rng.normal(0, 0.006 * side, points.shape)
        if np.random.default_rng([part.seed, 79]).uniform() < 0.2:
            frames = _as_video(frames, rng)
    return Clip("clip", "subject", frames, 0, 1, 1, landmarks=points.astype(np.float32))


def _as_video(frames: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """A key frame, and a later frame that stores what it adds to it: a codec's predictions, cut to one step."""
    first = _jpeg(frames[0], strength := float(rng.uniform(0, 3)))
    rest = _jpeg((frames[1].astype(np.int16) - first + 128).clip(0, 255).astype(np.uint8), strength)
    return [first, (first.astype(np.int16) + rest - 128).clip(0, 255).astype(np.uint8)]


def _named() -> Sequence[int]:
    from tsfmicro_lab.preprocess.landmarks import FACE_POINTS

    return list(FACE_POINTS.values())


def _noisy(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same picture with the camera's noise."""
    return (frame + rng.normal(0, rng.uniform(0.5, 4), frame.shape)).clip(0, 255).astype(np.uint8)


def _noise(side: int, rng: np.random.Generator) -> np.ndarray:
    """A picture of nothing: smooth to rough noise."""
    import cv2

    few = int(rng.integers(3, side))
    small = rng.uniform(0, 255, (few, few, 3)).astype(np.float32)
    return cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def _keep(folder: Path, part: Part) -> Path:
    """Draws a part, unless it is there, and gives the file that keeps it."""
    path = folder / f"{part.name}-{zlib.crc32(repr(replace(part, portrait=None)).encode()):08x}.npz"
    if not path.exists():
        arrays: dict[str, Any] = draw_part(part)

        def write(target: Path) -> None:
            with target.open("wb") as file:
                np.savez(file, **arrays)

        write_whole(path, write)
    return path


def draw(
    parts: Sequence[Part],
    folder: Path,
    workers: int | None = None,
    what: str = "",
    *,
    read: Sequence[str] = (),
) -> dict[str, Any]:
    """Draws parts side by side, each kept in a file; what is there is not drawn again.

    Args:
        parts: Who is drawn.
        folder: Where files are kept.
        workers: Number of processes.
        what: What a progress bar says; there is none without it.
        read: Names of the arrays to read, of KEPT or `oracle`.

    Returns:
        These arrays by name, and a `table` of all clips; nothing if none is to be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    keep = partial(_keep, folder)
    if workers == 1:
        paths = list(map(keep, tqdm(parts, what, mininterval=5, disable=not what)))
    else:
        with process_pool(workers) as pool:  # one part at a time: they are long
            paths = list(tqdm(pool.map(keep, parts), what, len(parts), mininterval=5, disable=not what))
    if not read:
        return {}
    loaded = [np.load(path) for path in paths]
    arrays: dict[str, Any] = {name: np.concatenate([part[name] for part in loaded]) for name in read}
    columns = [name for name in loaded[0].files if name.startswith("table_")]
    table = pd.DataFrame({c.removeprefix("table_"): np.concatenate([part[c] for part in loaded]) for c in columns})
    return arrays | {"table": table}


def arrays_for(flow: int | None) -> tuple[str, ...]:
    """What a network reads: flow of a side, or the key frames."""
    return (f"flow{flow}",) if flow else ("onset", "apex")


def as_samples(drawn: dict[str, Any], target: str, flow: int | None, *, to_train: bool = False) -> Samples:
    """What a model reads of drawn clips: key frames, or flow of a side, with emotions or action units to recognise.

    To train on, a clip without an expression counts once for each emotion: so a network learns that it cannot know.
    """
    table = drawn["table"]
    names = ("flow_dis",) if flow else ("onset", "apex")
    arrays = [drawn[name] for name in arrays_for(flow)]
    if target == "action_units":
        units = action_unit_table(table).reindex(columns=list(UNITS), fill_value=False)
        label, classes = torch.tensor(units.to_numpy(np.int64)), UNITS
    else:
        label, classes = torch.tensor([CLASSES.index(emotion) for emotion in table.emotion]), CLASSES
        if to_train:
            nothing = (table.kind != "expression").to_numpy()
            rows = np.concatenate([np.flatnonzero(~nothing), *[np.flatnonzero(nothing)] * len(CLASSES)])
            label = torch.cat([label[~nothing], torch.arange(len(CLASSES)).repeat_interleave(int(nothing.sum()))])
            arrays, table = [array[rows] for array in arrays], table.iloc[rows].reset_index(drop=True)
    tensors = {name: torch.from_numpy(array) for name, array in zip(names, arrays, strict=True)}
    return Samples(tensors, label, classes, table)
