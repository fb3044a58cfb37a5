"""Whether the maps of the model that ships for them lie on what truly moved, beside controls that learned nothing."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from studies.intervals import group_interval
from studies.ship_data import Part, open_part
from studies.trials import case
from studies.truth import pointing
from tsfmicro_lab.explain import mass_inside
from tsfmicro_lab.models import Recognizer
from tsfmicro_lab.seeds import seeded

#: What is scored: the model, the same network before it learned, and the difference itself, which is no map of a model.
MAPS = ("model", "untrained", "input")


def measure_maps(model: Recognizer, parts: Mapping[str, Sequence[Part]], clips: int) -> pd.DataFrame:
    """Maps by integrated gradients of what the model predicts, of a few clips of each person.

    Args:
        model: Reads onset and difference.
        parts: Who is shown, by the name of the faces.
        clips: Of each drawn head; of a portrait all.

    Returns:
        A row for the faces and each of :data:`MAPS`: `moved`, the share of the how-map's mass where the face moved,
        with `low` and `high`, a 95 % interval over people; `chance`, the share of the picture that moved; `pointing`,
        how often the strongest pixel lies there; `how`, the share of all attribution that is the difference's;
        `clips` and `people`.
    """
    with seeded(1):
        untrained = type(model)(model.config).eval()
    models = {"model": model, "untrained": untrained}
    jobs = [(faces, part) for faces, own in parts.items() for part in own]
    rows = [row for faces, part in tqdm(jobs, "maps") for row in _rows(faces, part, models, clips)]
    found = []
    for (faces, maps), own in pd.DataFrame(rows).groupby(["faces", "maps"], sort=False):
        people = [one.moved.to_numpy() for _, one in own.groupby("person")]
        moved, low, high = group_interval([people])
        means = own[["chance", "pointing", "how"]].mean()
        about = {"faces": faces, "maps": maps, "moved": moved, "low": low, "high": high, **means}
        found.append(about | {"clips": len(own), "people": len(people)})
    return pd.DataFrame(found)


def _rows(faces: str, part: Part, models: dict[str, Recognizer], clips: int) -> Iterator[dict[str, Any]]:
    data = open_part(part)
    own = data.annotations.subject
    few = np.arange(len(data)) if part.portrait else np.flatnonzero(own.groupby(own).cumcount() < clips)
    for i in few.tolist():
        for maps in MAPS:
            one = case(data, i, models.get(maps, models["model"]))
            assert one.clip.truth is not None
            found = one.explain("input" if maps == "input" else "integrated gradients", one.predicted)
            how, moved = found["difference"], one.clip.truth.moved
            share, area = mass_inside(how, moved)
            about = {"faces": faces, "maps": maps, "person": f"{part.name}-{one.clip.subject}"}
            scores = {
                "moved": share,
                "chance": area,
                "pointing": pointing(how, moved),
                "how": found.share("difference"),
            }
            yield about | scores
