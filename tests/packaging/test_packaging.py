"""The two ways to install end in the same packages, and what the README promises is there."""

import importlib.metadata
import re

import pytest
import yaml
from conftest import ROOT
from packaging.requirements import Requirement


def constraints():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def requirements():
    return [Requirement(r) for r in importlib.metadata.requires("tsfmicro-lab")]


def test_conda_ends_in_the_install_of_make():
    pip = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"][-1]["pip"]
    makefile = (ROOT / "Makefile").read_text()
    assert pip == ["-c constraints.txt", "-e .[recordings]"]
    assert "-c constraints.txt" in re.search(r"pip install .*", makefile)[0]
    assert re.findall(r'\$\(INSTALL\) -e "(.*)"', makefile) == [".[recordings]", ".[site]", ".[dev]"]


def test_the_demo_installs_no_developer_tools():
    makefile = (ROOT / "Makefile").read_text()
    assert "\ndemo: $(INSTALLED)" in makefile
    assert "\nlab: $(INSTALLED)" in makefile


def test_every_requirement_is_pinned_within_its_range():
    pinned = {name.lower().replace("_", "-"): version for name, version in constraints().items()}
    assert pinned["torch"] == "2.13.0"
    for requirement in requirements():
        assert requirement.specifier.contains(pinned[requirement.name.lower()]), requirement


def test_no_pin_names_a_local_version():
    assert not [line for line in (ROOT / "constraints.txt").read_text().splitlines() if "+" in line or "@" in line]


@pytest.mark.parametrize("name", ["torch", "numpy", "mediapipe", "captum", "opencv-contrib-python", "plotly"])
def test_what_is_installed_is_what_is_pinned(name):
    pinned = {k.lower(): v for k, v in constraints().items()}
    assert importlib.metadata.version(name).split("+")[0] == pinned[name]


def test_only_one_package_owns_cv2():
    owners = importlib.metadata.packages_distributions()["cv2"]
    assert set(owners) == {"opencv-contrib-python"}
    assert not {"torchvision", "timm"} & {r.name for r in requirements()}


def test_the_readmes_commands_are_make_targets():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test", "lab", "lint", "format", "bench", "site", "clean"} <= targets
    named = set(re.findall(r"^    make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert {"demo", "lab"} <= named <= targets
    for workflow in (".ci/run", ".github/workflows/ci.yml"):
        assert "make test" in (ROOT / workflow).read_text()


def test_importing_the_library_does_not_import_mediapipe():
    import subprocess
    import sys

    code = (
        "import sys, tsfmicro_lab.data, tsfmicro_lab.training, tsfmicro_lab.explain; print('mediapipe' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "False"
