"""What pyproject.toml cannot say: data_cards/, notebooks/ and docs/ are installed as folders of tsfmicro_lab/."""

from setuptools import find_packages, setup

BUNDLED = {f"tsfmicro_lab.{name}": name for name in ("data_cards", "notebooks", "docs")}

setup(packages=[*find_packages(include=["tsfmicro_lab*"]), *BUNDLED], package_dir=BUNDLED)
