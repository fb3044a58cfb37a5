"""What made a result: command, commit, versions and device."""

import os
import platform
import subprocess
import sys
from datetime import date
from pathlib import Path

import cv2
import numpy as np
import torch

from tsfmicro_lab import __version__


def environment() -> dict[str, str]:
    """Command, commit, date, device and versions, so that a stored number can be made again."""
    changed = " with changes" if _git("status", "--porcelain", "--untracked-files=no") else ""
    versions = {"python": platform.python_version(), "tsfmicro-lab": __version__, "torch": torch.__version__}
    versions |= {"numpy": np.__version__, "opencv": cv2.__version__}
    command = " ".join([Path(sys.argv[0]).name or "python", *sys.argv[1:]])
    made = {"command": command, "commit": (_git("rev-parse", "HEAD") or "unknown") + changed}
    made |= {"date": date.today().isoformat(), "device": device_name()}
    return made | {"versions": ", ".join(f"{name} {number}" for name, number in versions.items())}


def device_name(device: torch.device | str = "cpu") -> str:
    """A device in words: the GPU's name or the number of cores, and the version of torch."""
    if torch.device(device).type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    return f"{os.cpu_count()} CPU cores ({platform.machine()}), torch {torch.__version__.split('+')[0]}"


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(("git", *arguments), cwd=Path(__file__).parent, capture_output=True, text=True)
    except OSError:  # no git here
        return ""
    return done.stdout.strip()
