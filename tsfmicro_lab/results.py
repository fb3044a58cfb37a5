"""Stored measurements: a few long tables and how they were made, in one small file that a notebook reads."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from tsfmicro_lab.training import Run


def save_tables(path: Path, made: dict[str, Any], tables: dict[str, pd.DataFrame]) -> None:
    """Writes everything as one JSON file, a line per row.

    Args:
        path: The file; its folder is created.
        made: How the tables were made.
        tables: By name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = {name: json.loads(table.round(4).to_json(orient="records")) for name, table in tables.items()}
    lines = [f'"{name}": [\n' + ",\n".join(map(json.dumps, content)) + "\n]" for name, content in rows.items()]
    path.write_text("{\n" + ",\n".join([f'"made": {json.dumps(made, indent=1)}', *lines]) + "\n}\n")


def load_tables(
    path: Path | str, names: Sequence[str], kind: str, command: str
) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
    """Reads what `save_tables` wrote.

    Args:
        path: The file.
        names: Tables that must be there.
        kind: What the file should hold, for the message.
        command: What makes such a file, for the message.

    Returns:
        How they were made, and the tables.

    Raises:
        ValueError: The file does not hold these tables.
    """
    try:
        content = json.loads(Path(path).read_text())
        return content["made"], {name: pd.DataFrame(content[name]) for name in names}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} holds no {kind} ({error}): make one with `tsfmicro-lab {command}`") from error


def provenance(run: Run, **size: Any) -> dict[str, Any]:
    """What a reader needs to make a measurement again: command, commit, date, device, protocol, recipe, size.

    Args:
        run: What was evaluated.
        **size: Numbers of seeds, subjects, clips.
    """

    def git(*arguments: str) -> str:
        done = subprocess.run(("git", *arguments), cwd=Path(__file__).parent, capture_output=True, text=True)
        return done.stdout.strip()

    changed = " with changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    return {
        "command": " ".join(["tsfmicro-lab", *sys.argv[1:]]),
        "commit": (git("rev-parse", "HEAD") or "unknown") + changed,
        "date": date.today().isoformat(),
        "device": f"{os.cpu_count()} CPU cores ({platform.machine()}), torch {torch.__version__.split('+')[0]}",
        "protocol": f"leave one subject out, preset {run.preset}, selection {run.selection}",
        "recipe": asdict(run.recipe),
        **size,
    }
