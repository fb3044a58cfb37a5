"""Measurements that take long are stored: one JSON file of long tables, with their provenance."""

import json
import sys
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pandas as pd

from tsfmicro_lab.files import write_text
from tsfmicro_lab.provenance import environment
from tsfmicro_lab.training.protocols import Run

#: What the synthetic clips of a result show; older results, measured on flat drawings, say so in the same entry.
FACES = "3-D heads"
#: Largest file that is read.
MAX_BYTES = 64 * 2**20

S = TypeVar("S", bound="Stored")


@dataclass(frozen=True)
class Stored:
    """What a study measured: each field of a subclass but `provenance` is a long table, one row per fact.

    Attributes:
        script: Name of the script in this folder that makes it.
        provenance: The command as it was called, commit, date, device, recipe, size of the data.
    """

    script: ClassVar[str]
    provenance: dict[str, Any]

    def save(self, path: Path) -> None:
        """Writes one JSON file, a row a line, so that versions can be compared."""
        writable(path)
        parts = [f'"provenance": {json.dumps(self.provenance, indent=1)}']
        for name in self.tables():
            rows = getattr(self, name).round(4).to_json(orient="records", lines=True).splitlines()
            parts.append(f'"{name}": [\n' + ",\n".join(rows) + "\n]")
        write_text(path, "{\n" + ",\n".join(parts) + "\n}\n")

    @classmethod
    def load(cls: type[S], path: Path | str) -> S:
        """Reads what `save` wrote.

        Raises:
            ValueError: The file lacks a table, or is no such file; the message names the script.
        """
        try:
            if Path(path).stat().st_size > MAX_BYTES:
                raise ValueError(f"larger than {MAX_BYTES >> 20} MiB")
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            return cls(content["provenance"], **{name: pd.DataFrame(content[name]) for name in cls.tables()})
        except (OSError, KeyError, ValueError, TypeError, RecursionError) as error:
            raise ValueError(
                f"{path} holds no result of {cls.script} ({error}): "
                f"make one with `python notebooks/studies/{cls.script}.py`"
            ) from error

    @classmethod
    def tables(cls) -> tuple[str, ...]:
        """Names of the tables."""
        return tuple(field.name for field in fields(cls) if field.name != "provenance")


def writable(path: Path) -> Path:
    """The path itself, once it is sure that a result can be written there: better asked before hours of work.

    Raises:
        OSError: It cannot.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8"):
        pass
    if not path.stat().st_size:
        path.unlink()
    return path


def provenance_of(run: Run, **size: int) -> dict[str, Any]:
    """Command, commit, date, device, protocol, recipe and kind of faces, so that a stored number can be reproduced.

    Args:
        run: One of the runs, for what they share.
        **size: Of the data.
    """
    found = environment()
    return {
        **{name: found[name] for name in ("commit", "date", "device")},
        "command": " ".join([f"python notebooks/studies/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        "protocol": f"leave one subject out, preset {run.preset}, selection {run.selection}",
        "recipe": asdict(run.recipe),
        "faces": FACES,
        **size,
    }
