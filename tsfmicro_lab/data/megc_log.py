"""The log format of MEGC2019: `casme2 sub01` for a subject, then `EP02_01f 1 1` (clip, truth, prediction) a clip."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

MAX_BYTES = 8 * 2**20
CLASSES = ("negative", "positive", "surprise")


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
