"""Films with several micro-expressions at known times, and with what is none: what the spotter makes of them."""

import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar

import cv2
import numpy as np
import pandas as pd
import typer
from tqdm.auto import tqdm

if not __package__:  # run as a script, it finds its neighbours
    sys.path.insert(0, str(Path(__file__).parents[1]))

from studies.film import LongTake, pauses
from studies.portraits import silent
from studies.script import Save, Seeds, one_sentence
from studies.stored import FACES, Stored, writable
from tsfmicro_lab.cli.output import print_table
from tsfmicro_lab.clips import Frame
from tsfmicro_lab.data import Distractors, SyntheticMicroExpressions
from tsfmicro_lab.data.motion import FPS, Motion
from tsfmicro_lab.models import from_pretrained
from tsfmicro_lab.preprocess import align_clip, spot_apex
from tsfmicro_lab.preprocess.landmarks import MediaPipeLandmarker
from tsfmicro_lab.preprocess.spotting import FaceFinder, cut, spot, trace_motion
from tsfmicro_lab.provenance import environment
from tsfmicro_lab.training.metrics import spotting_scores

#: Expressions of a film, seconds of rest around each, side of a frame (pixels); every second frame is kept.
SHOWN, REST, SIZE, STEP = 4, 1.2, 128, 2
#: What happens besides the expressions. Talk, held expressions and hands come and go.
CONDITIONS = {
    "rest": Distractors(blinks=0.0),
    "blinks": Distractors(blinks=4.0),
    "speech": Distractors(blinks=0.0, speech=1.0),
    "turns": Distractors(blinks=0.0, turn=15.0, drift=5.0),
    "steps": Distractors(blinks=0.0),
    "hands": Distractors(blinks=0.0),
}
#: Where a clip ends, by what is left of its expression there.
ENDS = {0.0: "at rest", 0.5: "half way to rest", 1.0: "at the apex"}


@dataclass(frozen=True)
class Held(Motion):
    """An expression that stays: neither its rise nor its fall is a moment."""

    def intensity(self, frame: float) -> float:
        """Up within a tenth of a second, down as quickly after `offset` frames."""
        return float(np.clip(min(frame, self.offset - frame) / (0.1 * FPS), 0, 1))


class Film(LongTake):
    """A film of a new head that shows expressions under a condition, of those in :data:`CONDITIONS`.

    Attributes:
        emotions: Of each expression.
    """

    def __init__(self, condition: str, seed: int) -> None:
        data = SyntheticMicroExpressions(1, SHOWN + 1, SIZE, seed, amplitude=(1.0, 3.0), balance="uniform")
        takes = [data.moving_face(k) for k in range(SHOWN + 1)]
        super().__init__(takes[:SHOWN], REST, CONDITIONS[condition], seed)
        self.condition, self.emotions = condition, list(data.annotations.emotion[:SHOWN])
        rng, count = np.random.default_rng([seed, 9]), len(self.frames)
        share = pauses(count, rng)
        if condition in ("speech", "turns"):
            tracks = ("speech",) if condition == "speech" else ("turn", "drift")
            self.motion = replace(self.motion, **{name: share * getattr(self.motion, name) for name in tracks})
        self.middles = (np.array([0, *self.table.offset]) + np.array([*self.table.onset, count])) / 2
        if condition == "steps":  # up in one rest, down in the next
            for up, down in zip(self.middles[::2], self.middles[1::2], strict=False):
                last = takes[SHOWN]
                last.motion = Held(**{**vars(last.motion), "offset": round(down - up)})
                self.takes.append((round(up), last))
        self.touches = [
            (middle, rng.uniform(0.2, 0.5), rng.uniform(0.35, 0.65, 2), rng.uniform(-1, 1)) for middle in self.middles
        ]

    def seen(self, frame: int) -> Frame:
        """A frame, with a hand before it where there is one."""
        image = self.frames[frame]
        if self.condition == "hands":
            for middle, hold, at, lean in self.touches:
                if share := np.clip((hold / 2 + 0.25 - abs(frame - middle) / FPS) / 0.25, 0, 1):
                    image = _hand(image, at, float(share * share * (3 - 2 * share)), lean)
        return image


def _hand(image: Frame, at: np.ndarray, near: float, lean: float) -> Frame:
    """A hand in the colour of the face, that comes from below and touches the face at a place, shares of the side."""
    side = image.shape[0]
    skin = np.median(image[int(0.45 * side) : int(0.6 * side), int(0.35 * side) : int(0.65 * side)], axis=(0, 1))
    tip = np.array([at[0] + 0.3 * lean * (1 - near), 0.5 + at[1] * 0.4 + 0.7 * (1 - near)])
    mask = np.zeros((4 * side, 4 * side), np.uint8)

    def stroke(a: np.ndarray, b: np.ndarray, width: float) -> None:
        ends = [tuple(int(v) for v in 4 * side * p) for p in (a, b)]
        cv2.line(mask, ends[0], ends[1], 255, max(int(4 * side * width), 1), cv2.LINE_AA)

    away = np.array([0.25 * lean, 1.0])
    for k in range(4):
        base = tip + 0.16 * away + np.array([0.045 * (k - 1.5), 0.0])
        stroke(base, tip + np.array([0.05 * (k - 1.5), 0.02 * abs(k - 1.3)]), 0.04)
    stroke(tip + 0.22 * away, tip + 0.30 * away, 0.17)
    stroke(tip + 0.30 * away, tip + 0.9 * away, 0.12)
    soft = cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)[..., None] / 255
    shade = 0.85 + 0.25 * cv2.GaussianBlur(soft[..., 0], (0, 0), side / 40)[..., None]
    return np.rint(image * (1 - soft) + (skin * shade).clip(0, 255) * soft).astype(np.uint8)


@dataclass(frozen=True)
class Spotting(Stored):
    """What was shown in films and what was spotted; times in seconds.

    Attributes:
        films: One row per film: `film`, `condition`, `seed`, `seconds`.
        true: One row per expression: `film`, `onset`, `apex`, `offset`, `emotion`.
        found: One row per spotted moment, as in `true`.
        apexes: Errors in single clips: `guess` (:func:`~tsfmicro_lab.preprocess.spot_apex`, middle or last frame),
            `seed`, `ends` (what is left of the expression at the clip's last frame, a share), `error` (frames).
    """

    script: ClassVar = "spotting"
    films: pd.DataFrame
    true: pd.DataFrame
    found: pd.DataFrame
    apexes: pd.DataFrame

    def spotters(self) -> dict[str, pd.DataFrame]:
        """The spotter and three controls: its spans thrown at random, spans evenly spaced, and none."""
        own = self.found.merge(self.films, on="film")
        lengths, rng = own.offset - own.onset, np.random.default_rng(0)
        draws = []
        for k in range(100):
            begin = rng.uniform(0, own.seconds - lengths)
            draws.append(own.assign(film=own.film + f" {k}", onset=begin, offset=begin + lengths))
        lasting = zip(self.films.film, self.films.seconds.to_numpy(float), strict=True)
        every = [(film, t) for film, seconds in lasting for t in np.arange(0.0, seconds - 1)]
        fixed = pd.DataFrame(every, columns=["film", "onset"]).assign(emotion="")
        emotions = self.true.emotion.sample(len(fixed), replace=True, random_state=0)
        fixed = fixed.assign(offset=fixed.onset + 1 / 3, emotion=emotions.to_numpy())
        return {"spotter": own, "random": pd.concat(draws), "every second": fixed, "silent": own.iloc[:0]}

    def scores(self) -> pd.DataFrame:
        """Scores of the spotter and each control by condition, and of all conditions together."""
        rows: list[dict[str, Any]] = []
        conditions = [*self.films.condition.unique(), "all"]
        for spotter, found in self.spotters().items():
            for condition in conditions:
                films = self.films if condition == "all" else self.films.query("condition == @condition")
                true, minutes = self.true[self.true.film.isin(films.film)], films.seconds.sum() / 60
                if spotter == "random":  # each draw is a film of its own
                    true = pd.concat([true.assign(film=true.film + f" {k}") for k in range(100)])
                    minutes *= 100
                own = found[found.film.str.replace(r" \d+$", "", regex=True).isin(films.film)]
                found_scores = spotting_scores(true, own)
                rows.append({"spotter": spotter, "condition": condition, **found_scores})
                rows[-1]["alarms a minute"] = found_scores["alarms"] / minutes
        return pd.DataFrame(rows)

    def table(self) -> pd.DataFrame:
        """F1 and false alarms a minute by condition, recall and STRS of all."""
        rows, scores = [], self.scores()
        for spotter, group in scores.groupby("spotter", sort=False):
            by = group.set_index("condition")
            cells = {c: f"{r['f1']:.2f} ({r['alarms a minute']:.0f})" for c, r in by.iterrows()}
            total = by.loc["all"]
            rows.append({"spotter": spotter, **cells, "recall": f"{total.recall:.2f}", "STRS": f"{total.strs:.2f}"})
        return pd.DataFrame(rows)

    def apex_table(self) -> pd.DataFrame:
        """Mean (median) error of the apex in frames, by where the clip ends."""

        def cell(error: pd.Series) -> str:
            return f"{error.mean():.1f} ({error.median():.0f})"

        table = self.apexes.pivot_table("error", "guess", "ends", aggfunc=cell, sort=False)
        return table.rename(columns=ENDS).reset_index()


def measure(seeds: int, keep: Path, clips: int = 8) -> Spotting:
    """Spots in films of each condition, a new head for each seed; rendered films are kept in a folder."""
    finder, model = _finder(), from_pretrained("emotions")
    films, true, found, apexes = [], [], [], []
    for seed, condition in tqdm([(s, c) for s in range(seeds) for c in CONDITIONS], "films"):
        name, frames, table, faces = f"{condition}-{seed}", *_frames(condition, seed, keep, finder)
        fps, known = FPS / STEP, iter(faces)

        def stream(frames: np.ndarray = frames, fps: float = fps) -> Any:
            return ((i / fps, lambda i=i: frames[i]) for i in range(len(frames)))

        trace = trace_motion(stream(), lambda image, known=known: next(known))  # type: ignore[misc]
        spots = spot(trace, most=999)
        films.append({"film": name, "condition": condition, "seed": seed, "seconds": len(frames) / fps})
        true.append(table.assign(film=name))
        for clip, apex in zip(cut(stream(), trace, spots), spots.apex, strict=True):
            keys = np.array([clip.onset, clip.apex, clip.offset]) + int(apex) - (clip.apex or 0)
            emotion = model.config.classes[int(model.probabilities(model.logits(clip)).argmax())]
            moment = dict(zip(("onset", "apex", "offset"), keys / fps, strict=True))
            found.append({"film": name, **moment, "emotion": emotion})
    for seed in range(seeds):
        apexes += _apex_errors(seed, clips)
    known_facts = {name: environment()[name] for name in ("commit", "date", "device")}
    provenance = {**known_facts, "faces": FACES, "seeds": seeds, "expressions_per_film": SHOWN, "size": SIZE}
    tables = pd.DataFrame(films), pd.concat(true, ignore_index=True), pd.DataFrame(found), pd.DataFrame(apexes)
    return Spotting(
        {"command": " ".join(["python notebooks/studies/spotting.py", *sys.argv[1:]]), **provenance}, *tables
    )


def _frames(condition: str, seed: int, keep: Path, find: FaceFinder) -> tuple[np.ndarray, pd.DataFrame, list[Any]]:
    """A film, its table in seconds and the faces in every tenth frame: kept, as they take most of the time."""
    path = keep / f"{condition}-{seed}.npz"
    if not path.is_file():
        film = Film(condition, seed)
        frames = np.stack([film.seen(k) for k in range(0, len(film.frames), STEP)])
        faces = [np.stack([*find(frame), np.zeros_like(film.landmarks)]) for frame in frames[::10]]
        keep.mkdir(parents=True, exist_ok=True)
        keys = film.table[["onset", "apex", "offset"]].to_numpy() / FPS
        points, counts = np.concatenate(faces), [len(face) - 1 for face in faces]
        np.savez(path, frames=frames, keys=keys, emotions=film.emotions, points=points, counts=counts)
    stored = np.load(path)
    table = pd.DataFrame(stored["keys"], columns=["onset", "apex", "offset"]).assign(emotion=stored["emotions"])
    parts = np.split(stored["points"], np.cumsum(stored["counts"] + 1)[:-1])
    return stored["frames"], table, [[*part[:-1]] for part in parts]


@cache
def _finder() -> FaceFinder:
    with silent():
        finder = MediaPipeLandmarker(faces=4)
        finder.find_all(np.zeros((64, 64, 3), np.uint8))
    return finder.find_all


def _apex_errors(seed: int, clips: int) -> list[dict[str, Any]]:
    """Errors in clips that end at the offset, half way to it, and at the apex; those of the middle beside them."""
    data, rows = SyntheticMicroExpressions(clips // 2, 2, image_size=SIZE, seed=seed), []
    for index in range(len(data)):
        clip = align_clip(data[index], 112)
        apex = clip.apex or 0
        for ends, offset in ((0.0, clip.offset), (0.5, (apex + clip.offset) // 2), (1.0, apex)):
            spotted, middle = spot_apex(replace(clip, offset=offset)), (clip.onset + offset) // 2
            guesses = {"spot_apex": spotted, "middle": middle, "last frame": offset}
            rows += [{"guess": name, "seed": seed, "ends": ends, "error": abs(g - apex)} for name, g in guesses.items()]
    return rows


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    save: Save = None,
    out: Annotated[Path, typer.Option(help="Where rendered films are kept.")] = Path("build/spotting"),
    seeds: Seeds = 10,
) -> None:
    """Spot in films with known truth. A quarter of an hour on one core."""
    with one_sentence():
        path = writable(save or out / "spotting.json")
        result = measure(seeds, out)
        result.save(path)
    print_table(result.table(), "F1 (false alarms a minute); IoU of half or more")
    print_table(result.apex_table(), "mean (median) error of a clip's apex, frames")
    print(f"everything: {path}")


if __name__ == "__main__":
    app()
