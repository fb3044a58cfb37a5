"""`tsfmicro-lab doctor`: what is there, what is missing, and how to get it, said without waiting for PyTorch."""

import json
import os
import platform
import shutil
import subprocess
import textwrap
from collections.abc import Callable
from importlib.metadata import packages_distributions, version
from typing import Annotated

import typer


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False) -> None:
    """Say what is there, what is missing, and how to get it; the exit code is 1 where something is missing."""
    states, missing = dict[str, str](), dict[str, str]()
    for name, check in CHECKS.items():
        try:
            states[name] = check()
        except Exception as error:
            # Whatever goes wrong in a check is what it has to report.
            states[name], missing[name] = "missing", str(error)
    lines = [f"{name:16}{state}" for name, state in states.items()] + [f"• {n}: {how}" for n, how in missing.items()]
    width = shutil.get_terminal_size().columns
    wrapped = [textwrap.fill(line, width, subsequent_indent="  ", break_on_hyphens=False) for line in lines]
    print(json.dumps({"states": states, "missing": missing}, indent=2) if as_json else "\n".join(wrapped))
    raise typer.Exit(1 if missing else 0)


def _gpu() -> str:
    """What the driver lists; whether PyTorch can use it is told by PyTorch's version."""
    tool = shutil.which("nvidia-smi")
    listed = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=20).stdout if tool else ""
    names = [line.split(" (UUID")[0] for line in listed.splitlines() if line.startswith("GPU")]
    if not names:
        return "none; fine for tiny, while base wants one and a CUDA build of torch"
    unused = "; torch is built for the CPU alone: install a CUDA build to use it" if "+cpu" in version("torch") else ""
    return ", ".join(names) + unused


def _opencv() -> str:
    if others := sorted({*packages_distributions().get("cv2", [])} - {"opencv-contrib-python"}):
        remedy = f"pip uninstall {' '.join(others)}, then pip install --force-reinstall opencv-contrib-python"
        raise RuntimeError(f"{', '.join(others)} overwrites the same cv2 folder: {remedy}")
    import cv2

    return f"{cv2.__version__} (contrib)"


def _landmarker() -> str:
    from skimage.data import astronaut

    from tsfmicro_lab.preprocess.landmarks import MediaPipeLandmarker, find_model

    model = find_model(download=False)
    points = MediaPipeLandmarker(model)(astronaut())
    return f"works ({len(points)} named points on a test photograph), {model}"


CHECKS: dict[str, Callable[[], str]] = {
    "Python": platform.python_version,
    "PyTorch": lambda: f"{version('torch')}, {os.cpu_count()} CPU cores",
    "GPU": _gpu,
    "OpenCV": _opencv,
    "JupyterLab": lambda: version("jupyterlab"),
    "landmarker model": _landmarker,
}
