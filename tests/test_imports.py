"""What an import and a command load: heavy libraries wait until something needs them."""

import subprocess
import sys

import pytest

#: Each costs a good part of a second, some as much as torch itself.
HEAVY = (
    "IPython",
    "captum",
    "lightning_fabric",
    "matplotlib",
    "mediapipe",
    "plotly",
    "scipy.signal",
    "scipy.stats",
    "skimage",
    "sklearn",
    "torch._dynamo",
)


def loaded(code: str, names: tuple[str, ...]) -> list[str]:
    """Which of some modules a fresh process has loaded after it ran a piece of code."""
    code = f"import sys\n{code}\nprint('\\n' + ' '.join(name for name in {names!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()[-1].split()


def test_training_loads_nothing_that_it_does_not_need_at_once():
    assert loaded("import tsfmicro_lab.training", HEAVY) == []
    assert "sklearn" in loaded("import sklearn", HEAVY), "the check sees what is there"


@pytest.mark.parametrize("command", [["data", "list"], ["doctor"]])
def test_commands_that_train_nothing_need_no_torch(command):
    run = f"sys.argv[1:] = {command!r}\nfrom tsfmicro_lab.cli import app\ntry:\n    app()\nexcept SystemExit:\n    pass"
    assert loaded(run, ("torch",)) == []
