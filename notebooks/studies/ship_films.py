"""False alarms: films of new heads that speak and turn but show no expression, and films with some, analysed."""

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from studies.film import LongTake, pauses, write_video
from tsfmicro_lab.analyze import analyze
from tsfmicro_lab.data import Distractors, SyntheticMicroExpressions
from tsfmicro_lab.models import Recognizer
from tsfmicro_lab.models.base import UNSURE
from tsfmicro_lab.preprocess.landmarks import MediaPipeLandmarker
from tsfmicro_lab.preprocess.spotting import FaceFinder, spot
from tsfmicro_lab.training.predictions import read_predictions, write_predictions

#: What happens in a film besides: strengths of the distractors, or expressions among the usual ones.
KINDS = {
    "at rest": Distractors(),
    "speech": Distractors(speech=1.0),
    "speech with pauses": Distractors(speech=1.0),
    "turning head": Distractors(turn=15.0, drift=5.0),
    "turning head with pauses": Distractors(turn=15.0, drift=5.0),
    "speech and turning head": Distractors(speech=1.0, turn=15.0, drift=5.0),
    "expressions": Distractors(),
}
#: What comes and goes by the second where there are pauses.
COMING = ("speech", "turn", "drift")
#: Every second frame of a film is kept.
STEP = 2
#: How strictly moments are spotted: as `analyze` does by default, and so little that it finds what is nothing.
STRICTNESS = (6.0, 2.0)


def measure_films(models: Mapping[str, Recognizer], count: int, seconds: float, keep: Path) -> pd.DataFrame:
    """Analyses `count` films of each kind, each of another new head; what is in the folder `keep` is not done again.

    Returns:
        A row per film, strictness and model: `kind`, `seconds`, `spotted` moments, those that the model says something
        about (`told`), those of them at which nothing was shown (`alarms`), true expressions (`shown`), those of them
        that were spotted (`found`), and told right (`right`).
    """
    films = [(kind, 70_000 + i) for i, kind in enumerate(kind for kind in KINDS for _ in range(count))]
    for kind, seed in tqdm(films, "films"):
        if not (path := keep / f"{seed}.csv").exists():
            write_predictions(pd.DataFrame(_film_rows(models, kind, seed, seconds)), path)
    return pd.concat([read_predictions(keep / f"{seed}.csv", "target", "kind") for _, seed in films], ignore_index=True)


def _film_rows(models: Mapping[str, Recognizer], kind: str, seed: int, seconds: float) -> list[dict[str, Any]]:
    shows = kind == "expressions"
    # A movement of a thousandth of a pixel is none.
    size = (0.5, 3.0) if shows else (1e-3, 1e-3)
    data = SyntheticMicroExpressions(1, 5 if shows else 1, 160, seed, amplitude=size, balance="uniform")
    takes = [data.moving_face(k) for k in range(len(data))]
    film = LongTake(takes, 0.8 if shows else seconds / 2, KINDS[kind], seed)
    if "pauses" in kind:
        share = pauses(film.motion.frames, np.random.default_rng([seed, 9]))
        film.motion = replace(film.motion, **{name: share * getattr(film.motion, name) for name in COMING})
    fps = 200 / STEP
    frames = [film.frames[k] for k in range(0, len(film.frames), STEP)]
    with TemporaryDirectory() as folder:
        path = write_video(frames, Path(folder) / "film.mkv", fps)
        found = analyze(
            path, None, fps=fps, strictness=min(STRICTNESS), find_faces=_finder(film), progress=False, most=999
        )
    keys = film.table[["onset", "offset"]].to_numpy() if shows else np.empty((0, 2))
    truths = {"action_units": [re.sub("[LR]", "", units) for units in film.table.action_units]}
    rows = []
    for (target, model), strictness in product(models.items(), STRICTNESS):
        seen = found.table.apex.isin(spot(found.trace, strictness, 999).time).to_numpy()
        told = [model.tell(model.logits(clip))[0] for clip, yes in zip(found.clips, seen, strict=True) if yes]
        times = found.table.apex.to_numpy()[seen] * 200
        inside = [np.flatnonzero((times >= onset - 8) & (times <= offset + 8)) for onset, offset in keys]
        truth = truths.get(target, list(data.annotations.emotion))[: len(keys)]
        right = [
            any({*told[k].split("+")} <= {*t.split("+")} for k in own) for t, own in zip(truth, inside, strict=True)
        ]
        spoken = {k for k, text in enumerate(told) if text != UNSURE}
        row = {"target": target, "kind": kind, "film": seed, "strictness": strictness, "seconds": len(frames) / fps}
        row |= {"spotted": len(told), "told": len(spoken), "shown": len(truth)}
        row |= {"alarms": len(spoken - {k for own in inside for k in own.tolist()})}
        rows.append(row | {"found": sum(len(own) > 0 for own in inside), "right": sum(right)})
    return rows


def _finder(film: LongTake) -> FaceFinder:
    """MediaPipe; without it the head tells where its landmarks were at rest, and the result does not hold for turns."""
    try:
        return MediaPipeLandmarker(faces=4).find_all
    except (FileNotFoundError, ImportError) as missing:
        print(f"no landmarker, so the head's own landmarks at rest are taken: {missing}")
        return lambda image: [film.landmarks]
