"""The card that every saved model carries, written from what the program knows."""

import re
from pathlib import Path
from typing import Any

from torch import nn

from tsfmicro_lab import __version__

#: Characters of a card that are read.
MAX_CARD = 2**16


def model_card(model: nn.Module, **facts: Any) -> str:
    """What a model is, how it came about, what it is worth, and where it must not be used: YAML and Markdown.

    The model is a `Recognizer`. Facts are `data`, `protocol`, `selection`, `leaky`, `recipe`, `seed`, `device` and
    `scores`, as `training.cross_validate` knows them. What is not given the card calls unknown, but for `version`: the
    present one of the lab.
    """
    from jinja2 import Environment, PackageLoader

    template = Environment(loader=PackageLoader("tsfmicro_lab"), trim_blocks=True).get_template("model_card.md.jinja")
    parameters = sum(p.numel() for p in model.parameters())
    return template.render({"version": __version__} | facts, model=model, parameters=parameters)


def training_data(folder: Path | str) -> str:
    """What the card of a saved model says of the data that it was trained on; nothing if it has no card."""
    try:
        with (Path(folder) / "README.md").open(encoding="utf-8", errors="replace") as card:
            found = re.search(r"^- Data: (.{1,400})", card.read(MAX_CARD), re.MULTILINE)
    except OSError:
        return ""
    return "" if found is None or found[1] == "unknown" else found[1]
