"""What pyproject.toml cannot say: the folder data_cards/ is installed as tsfmicro_lab/data_cards."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["tsfmicro_lab*"]), "tsfmicro_lab.data_cards"],
    package_dir={"tsfmicro_lab.data_cards": "data_cards"},
)
