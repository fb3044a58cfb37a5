"""Where clips come from, and samples prepared from them. A name is imported when it is first used."""

from importlib import import_module
from typing import Any

_NAMES = {
    "action_units": "action_unit_table parse_action_units",
    "cards": "list_cards read_card",
    "composite": "Composite challenge class_set megc2018 megc2019 read_log",
    "motion": "Distractors",
    "photographs": "PhotographMicroExpressions photograph",
    "recordings": "Recordings load",
    "samples": "Samples open_store prepare",
    "schema": "Dataset check_annotations",
    "synthetic": "SyntheticMicroExpressions",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}
__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
