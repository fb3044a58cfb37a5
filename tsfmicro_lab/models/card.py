"""The card that every saved model carries, written from what the program knows."""

import importlib.metadata
import re
from pathlib import Path
from typing import Any

from torch import nn

#: Characters of a card that are read.
MAX_CARD = 2**16


def model_card(model: nn.Module, **facts: Any) -> str:
    """What a model is, how it came about, what it is worth, and where it must not be used: YAML and Markdown.

    The model is a `Recognizer`. Facts are `data`, `protocol`, `selection`, `leaky`, `recipe`, `seed`, `device` and
    `scores`, as `training.cross_validate` knows them. What is not given the card calls unknown.
    """
    from jinja2 import Environment, PackageLoader

    loader = PackageLoader("tsfmicro_lab", package_path="templates")
    template = Environment(loader=loader, trim_blocks=True, autoescape=False).get_template("model_card.md.jinja")
    version, parameters = importlib.metadata.version("tsfmicro-lab"), sum(p.numel() for p in model.parameters())
    return template.render(facts, model=model, parameters=parameters, version=version)


def training_data(folder: Path | str) -> str:
    """What the card of a saved model says of the data that it was trained on; nothing if it has no card."""
    try:
        with (Path(folder) / "README.md").open(encoding="utf-8", errors="replace") as card:
            found = re.search(r"^- Data: (.{1,400})", card.read(MAX_CARD), re.MULTILINE)
    except OSError:
        return ""
    return "" if found is None or found[1] == "unknown" else found[1]
