"""Models of the lab: created by name, saved as safetensors, loaded back."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from tsfmicro_lab.models import frl_dgt, htnet, mmnet, shallow, slstt, tsfmicro
from tsfmicro_lab.models.base import STREAMS, WEIGHTS, Recognizer, check_word, frozen
from tsfmicro_lab.models.tsfmicro import TSFmicro
from tsfmicro_lab.models.weights import MAX_BYTES, fill, read_weights
from tsfmicro_lab.seeds import seeded

#: Models that ship with the lab, trained on synthetic faces alone; each lies in a folder of its name with a card.
SHIPPED, _CHECKPOINTS = ("emotions", "action_units", "where_how"), Path(__file__).parents[1] / "checkpoints"
_OF_STREAMS: tuple[type[Recognizer], ...] = (*tsfmicro.MODELS, mmnet.MMNet)
_OTHERS: tuple[type[Recognizer], ...] = (*slstt.MODELS, frl_dgt.FRLDGT, htnet.HTNet, *shallow.MODELS)
MODELS = {kind.name: kind for kind in _OF_STREAMS + _OTHERS}


def list_models() -> pd.DataFrame:
    """The models that :func:`create_model` builds, a row each by its name.

    Returns:
        `idea`; `year` of the paper; `inputs`, the tensors that are prepared for it; `checked`, whether the logits of
        its public code are met. What `origin` says more is in the card of a saved model.

    Example:
        >>> list_models().loc[["tsfmicro_late", "mmnet", "frl_dgt"], ["year", "inputs", "checked"]]
                       year                         inputs  checked
        tsfmicro_late  2025                    onset, apex     True
        mmnet          2022                    onset, apex     True
        frl_dgt        2023  onset, apex, landmarks, pairs    False
    """
    rows = {
        name: (str(kind.__doc__).partition("\n")[0], kind.year, ", ".join(create_model(name).prepared), kind.checked)
        for name, kind in MODELS.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["idea", "year", "inputs", "checked"])


def create_model(
    name: str, num_classes: int = 5, preset: str = "tiny", *, seed: int | None = None, **overrides: Any
) -> Recognizer:
    """Builds a model with fresh weights.

    Args:
        name: One of those that :func:`list_models` shows.
        num_classes: Emotions to tell apart.
        preset: `base` (the paper's size; 224 px for TSFmicro), `small` (112 px) or `tiny` (56 px, trains on a laptop).
        seed: Makes the weights reproducible without touching the global random state.
        **overrides: Fields of the model's configuration (:class:`~tsfmicro_lab.models.tsfmicro.TSFmicroConfig`, …)
            that differ from the preset.

    Raises:
        ValueError: The name, preset or an override is unknown.

    Example:
        >>> create_model("tsfmicro_late", num_classes=3, seed=0).input_names
        ('onset', 'difference')
    """
    check_word("model", name, MODELS)
    with nullcontext() if seed is None else seeded(seed):
        return MODELS[name].from_preset(preset, num_classes=num_classes, **overrides)


def checkpoint_folder(name: Path | str) -> Path:
    """Where a model lies: one of :data:`SHIPPED` by its name, any other by its folder.

    The name comes first; give a folder that is called so as `./emotions`, or as a `Path`.
    """
    return _CHECKPOINTS / name if name in SHIPPED else Path(name)


def from_pretrained(name: Path | str) -> Recognizer:
    """Loads a model that ships with the lab, `emotions` or `action_units`, or the folder of a `save_pretrained`.

    It is in evaluation mode. Nothing in the folder is executed. Read the card, README.md in :func:`checkpoint_folder`,
    for what a shipped model has seen, how far it is right, and where it must not be used.

    Raises:
        ValueError: There is no model of this lab, or its weights do not fit its configuration.

    Example:
        >>> from_pretrained("emotions").config.classes
        ('disgust', 'happiness', 'others', 'repression', 'surprise')
    """
    folder = checkpoint_folder(name)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kind = MODELS[config.pop("name")]
        config = type(kind.presets["base"])(**frozen(config))
        with torch.device("meta"):  # sizes without memory: the file decides how much is asked for
            plan = kind(config)
        if (needed := sum(x.nbytes for x in plan.buffers())) > MAX_BYTES:
            raise ValueError(f"its tables would take {needed >> 30} GiB")
    except (OSError, AttributeError, LookupError, TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        why, remedy = str(error).partition("\n")[0], f"give a folder of save_pretrained, or one of {', '.join(SHIPPED)}"
        raise ValueError(f"{folder} holds no model of this lab ({why}): {remedy}") from error
    fill(plan, read_weights(folder / WEIGHTS), f"the weights in {folder} do not fit its config.json: save it again")
    (model := kind(config)).load_state_dict(plan.state_dict())
    return model.eval()
