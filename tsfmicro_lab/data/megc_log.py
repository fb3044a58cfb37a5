"""The log format of MEGC2019: `casme2 sub01` for a subject, then `EP02_01f 1 1` (clip, truth, prediction) a clip."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from tsfmicro_lab.data.schema import KEY, Dataset

MAX_BYTES = 8 * 2**20
CLASSES = ("negative", "positive", "surprise")


def write_log(path: Path | str, predictions: pd.DataFrame, data: Dataset) -> None:
    """Writes the predictions of one model and seed as the challenge wanted them, under its own names of clips.

    Raises:
        ValueError: A clip is predicted twice or not at all, or is not in the composite.
    """
    names = data.annotations[[*KEY, "data", "log_subject", "log_clip"]]
    table = names.merge(predictions, on=KEY, how="outer", indicator=True)
    missing, foreign = ((table["_merge"] == side).sum() for side in ("left_only", "right_only"))
    twice = len(table) - len(names) - foreign
    if missing or foreign or twice:
        found = f"{missing} are missing, {foreign} are of no clip of {data.name}, {twice} come twice"
        raise ValueError(f"give one model's and seed's prediction for each of {len(names)} clips: {found}")
    if wrong := sorted({*table["truth"], *table["predicted"]} - set(CLASSES)):
        raise ValueError(f"class '{wrong[0]}' is none of {', '.join(CLASSES)}: prepare samples with target='emotion'")
    truth, predicted = (table[name].map(CLASSES.index).astype(str) for name in ("truth", "predicted"))
    groups = (table["log_clip"] + " " + truth + " " + predicted).groupby([table["data"], table["log_subject"]])
    lines = [line for (part, subject), rows in groups for line in (f"{part} {subject}", *rows)]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_log(path: Path | str, classes: Sequence[str] = CLASSES) -> pd.DataFrame:
    """One row per clip of a log: `data`, `subject`, `clip` as the log writes them, `truth` and `predicted` as names.

    Raises:
        ValueError: A line is neither of the two kinds, names no class, or a clip comes twice; the line is named.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "log.txt"
        >>> _ = path.write_text("casme2 sub01" + chr(10) + "EP02_01f 1 0")
        >>> read_log(path).values.tolist()
        [['casme2', 'sub01', 'EP02_01f', 'positive', 'negative']]
    """
    path = Path(path)
    rows: dict[tuple[str, ...], tuple[str, str]] = {}
    who: tuple[str, ...] = ()
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} is larger than {MAX_BYTES >> 20} MiB, which no log is")
    codes = {str(i): name for i, name in enumerate(classes)}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        match line.split():
            case []:
                continue
            case [data, subject]:
                who = data, subject
            case [clip, truth, predicted] if who and {truth, predicted} <= set(codes):
                if (*who, clip) in rows:
                    raise ValueError(f"{path}, line {number}: {' '.join(who)} {clip} came before; it may come once")
                rows[*who, clip] = codes[truth], codes[predicted]
            case _:
                kinds = f"'casme2 sub01' nor, below it, 'EP02_01f 1 1' with numbers from 0 to {len(classes) - 1}"
                raise ValueError(f"{path}, line {number}: '{line[:80]}' is neither {kinds}")
    return pd.DataFrame(
        [key + values for key, values in rows.items()], columns=["data", "subject", "clip", "truth", "predicted"]
    )
