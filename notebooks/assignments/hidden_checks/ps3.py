"""Hidden checks of ps3: other maps, weights and samples."""

from collections.abc import Callable
from typing import Any

import pandas as pd
import torch
from torch import nn

import checks
from checking import check, expect


@check
def fusion(module: type[nn.Module]) -> None:
    """The fusion module, on other maps."""
    for seed in (911, 922):
        checks.check_fusion(module, seed)
    how, where = torch.randn(2, 1, 8, 5, 5)
    own = module(8).eval()
    ratio = own(2 * how, 2 * where) / own(how, where)
    expect(
        not torch.allclose(ratio, torch.full_like(ratio, 2.0), rtol=1e-3),
        "twice the input gives exactly twice the output: that is a weighted sum and no gate or attention; how much of "
        "a stream passes must depend on what the streams say",
    )


@check
def model(build: Callable[..., Any], module: type[nn.Module]) -> None:
    """The model, with other seeds."""
    checks.check_model(build, module, 931)


@check
def comparison(run: Callable[..., Any]) -> None:
    """The comparison, with other seeds and labels."""
    checks.check_comparison(run, 941)


@check
def result(table: pd.DataFrame, gain: tuple[float, float, float]) -> None:
    """Your comparison is whole, and the gain is its own."""
    from tsfmicro_lab.training import subject_interval

    groups = dict(list(table.groupby("model")))
    expect(set(groups) == {"late", "mine"}, f"the table must hold the models 'late' and 'mine', got {sorted(groups)}")
    expect(table.seed.nunique() >= 2 and table.subject.nunique() >= 3, "at least 2 seeds and 3 subjects are needed")
    classes = sorted({*table.truth})
    true = subject_interval(groups["mine"], classes, against=groups["late"], same_people=True)
    near = all(abs(a - b) < 0.02 for a, b in zip(gain, true, strict=True))
    expect(
        near,
        "the gain is that of 'mine' over 'late', with its interval: "
        "subject_interval(mine, classes, against=late, same_people=True)",
    )
