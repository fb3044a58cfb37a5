"""Long films of recorded data sets: what moves in each, as a spotter is to find it.

Of `load("samm", FOLDER, "long")`, as of `casmesq` and `casme3` with labels `long`, and `casme3` with labels `c`.
"""

from bisect import bisect_left

import pandas as pd

from tsfmicro_lab.data import Recordings
from tsfmicro_lab.data.annotations import list_frames

COLUMNS = ["film", "onset", "offset", "kind", "fps"]


def movements(data: Recordings) -> pd.DataFrame:
    """What moves in the long films of a data set.

    Returns:
        A row per movement in a film that is there: `film`, a folder of frames as `analyze` reads it, `onset` and
        `offset` as indices of these frames, `kind` (micro or macro) and `fps`. Empty if no clip is part of a film.
    """
    rows = []
    for row in data.annotations.to_dict("records") if "film" in data.annotations else ():
        folder = data.root / row["film"]
        if numbers := [number for number, _ in list_frames(folder, data.files.number)]:
            ends = {name: min(bisect_left(numbers, row[name]), len(numbers) - 1) for name in ("onset", "offset")}
            rows.append({"film": str(folder), **ends, "kind": row.get("kind", "micro"), "fps": row["fps"]})
    return pd.DataFrame(rows, columns=COLUMNS)
