"""Measurements that take long are stored: one JSON file of long tables, with what made them."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from tsfmicro_lab.training.protocols import Run

#: Largest file that is read.
MAX_BYTES = 64 * 2**20


def save_tables(path: Path, made: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> None:
    """Writes tables as JSON, a row a line, so that versions can be compared.

    Args:
        path: The file.
        made: What made them.
        tables: Tables by name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = {name: table.round(4).to_json(orient="records", lines=True) for name, table in tables.items()}
    parts = [f'"{name}": [\n' + ",\n".join(text.splitlines()) + "\n]" for name, text in rows.items()]
    path.write_text("{\n" + ",\n".join([f'"made": {json.dumps(made, indent=1)}', *parts]) + "\n}\n")


def load_tables(path: Path | str, names: Iterable[str], command: str) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
    """Reads what :func:`save_tables` wrote.

    Args:
        path: The file.
        names: The tables that are wanted.
        command: What makes such a file, told if this is none.

    Returns:
        (What made them, tables by name.)

    Raises:
        ValueError: The file lacks a table, or is no such file.
    """
    try:
        if Path(path).stat().st_size > MAX_BYTES:
            raise ValueError(f"larger than {MAX_BYTES >> 20} MiB")
        content = json.loads(Path(path).read_text())
        return content["made"], {name: pd.DataFrame(content[name]) for name in names}
    except (OSError, KeyError, ValueError, TypeError) as error:
        what = command.split()[-1]
        raise ValueError(f"{path} holds no result of {what} ({error}): make one with `{command}`") from error


def provenance(run: Run, **size: int) -> dict[str, Any]:
    """Command, commit, date, device, protocol and recipe, so that a stored number can be made again.

    Args:
        run: One of the runs, for what they share.
        **size: Of the data.
    """
    changed = " with changes" if _git("status", "--porcelain", "--untracked-files=no") else ""
    return {
        "command": " ".join(["tsfmicro-lab", *sys.argv[1:]]),
        "commit": (_git("rev-parse", "HEAD") or "unknown") + changed,
        "date": date.today().isoformat(),
        "device": f"{os.cpu_count()} CPU cores ({platform.machine()}), torch {torch.__version__.split('+')[0]}",
        "protocol": f"leave one subject out, preset {run.preset}, selection {run.selection}",
        "recipe": asdict(run.recipe),
        **size,
    }


def _git(*arguments: str) -> str:
    done = subprocess.run(("git", *arguments), cwd=Path(__file__).parent, capture_output=True, text=True)
    return done.stdout.strip()
