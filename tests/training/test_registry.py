"""Every model predicts what it learned: on its own training clips the loss in evaluation mode is that of training."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from tsfmicro_lab.data import Distractors, SyntheticMicroExpressions, prepare
from tsfmicro_lab.data.tensors import in_order
from tsfmicro_lab.models import MODELS, create_model
from tsfmicro_lab.training import RECIPES, Fold, Run, run_fold

#: Those of the library: an idea of the studies may learn by more than what it predicts, and has tests of its own.
NAMES = [name for name, kind in MODELS.items() if kind.__module__.startswith("tsfmicro_lab")]
FOLD = Fold("sub01", np.arange(8, 32), np.arange(8))
RECIPE = replace(RECIPES["tiny"], epochs=4)


@pytest.fixture(scope="module")
def clean():
    """Clear movements of heads, nothing else, with all that any model reads: by size."""
    data = SyntheticMicroExpressions(4, 8, image_size=96, seed=1, distractors=Distractors.none(), amplitude=(3, 3))
    names: dict[int, set[str]] = {}
    for model in map(create_model, NAMES):
        names.setdefault(model.config.image_size, set()).update(model.prepared)
    return {size: prepare(data, size, tensors=in_order([*some]), progress=False) for size, some in names.items()}


def trained(name, clean, recipe, seed=0):
    samples = clean[create_model(name).config.image_size]
    return run_fold(Run(name, recipe=recipe, seed=seed), samples, FOLD).attrs


@pytest.mark.parametrize("name", NAMES)
def test_a_model_predicts_what_it_learned(name, clean):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "fold .* on its own training clips")
        found = trained(name, clean, RECIPE)
    # MMNet's last layer has thousands of inputs: its first steps go far, and the loss with them.
    assert abs(found["train_loss_predicting"] - found["train_loss"]) < 0.25 * max(found["train_loss"], 1)


def test_without_recalibration_it_does_not_and_that_is_told(clean):
    """The batch norm of the stem still holds what it gathered on the way: so the test above can fail."""
    ratios: dict[bool, list[float]] = {True: [], False: []}
    for recalibrate, found in ratios.items():
        recipe, told = replace(RECIPE, recalibrate=recalibrate), 0
        for seed in range(3):
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                facts = trained("tsfmicro_temporal", clean, recipe, seed)
            found.append(facts["train_loss_predicting"] / facts["train_loss"])
            told += any("on its own training clips the model has a loss of" in str(one.message) for one in said)
        assert (told > 0) != recalibrate
    assert np.mean(ratios[True]) < 1.1
    assert np.mean(ratios[False]) > 1.3
