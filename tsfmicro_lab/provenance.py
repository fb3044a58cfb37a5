"""What made a result: command, commit, versions and device."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from datetime import date
from pathlib import Path

import torch

#: Packages whose version can change a number.
PACKAGES = ("tsfmicro-lab", "torch", "numpy", "opencv-contrib-python")


def environment() -> dict[str, str]:
    """Command, commit, date, device and versions, so that a stored number can be made again.

    Example:
        >>> sorted(environment())[:3]
        ['command', 'commit', 'date']
    """
    changed = " with changes" if _git("status", "--porcelain", "--untracked-files=no") else ""
    return {
        "command": " ".join([Path(sys.argv[0]).name or "python", *sys.argv[1:]]),
        "commit": (_git("rev-parse", "HEAD") or "unknown") + changed,
        "date": date.today().isoformat(),
        "device": device_name(),
        "versions": ", ".join(["python " + platform.python_version(), *map(_version, PACKAGES)]),
    }


def device_name(device: torch.device | str = "cpu") -> str:
    """A device in words.

    Args:
        device: `cpu`, `cuda:0`, …

    Example:
        >>> "CPU cores" in device_name("cpu")
        True
    """
    if torch.device(device).type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    return f"{os.cpu_count()} CPU cores ({platform.machine()}), torch {torch.__version__.split('+')[0]}"


def _version(name: str) -> str:
    try:
        return f"{name} {importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{name} not installed"


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(("git", *arguments), cwd=Path(__file__).parent, capture_output=True, text=True)
    except OSError:
        return ""  # no git here
    return done.stdout.strip()
