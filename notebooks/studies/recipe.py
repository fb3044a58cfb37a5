"""Whether the recipe of the preset `tiny` is a good one: recipes around it, on subjects whom no other table tests."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
import typer

if not __package__:  # run as a script, it finds its neighbours
    sys.path.insert(0, str(Path(__file__).parents[1]))

from tqdm.auto import tqdm

from studies.intervals import over_seeds, p_told
from studies.new_subjects import HALF, HEADS, SETTINGS, SIDE, Setting, data_of, joined
from studies.script import Clips, Out, Save, Seeds, Subjects, Workers, one_sentence
from studies.stored import Stored, provenance_of, writable
from tsfmicro_lab.cli.output import print_table
from tsfmicro_lab.data import Samples, prepare
from tsfmicro_lab.training import RECIPES, Run, decide, fit, fold_processes, predict
from tsfmicro_lab.training.metrics import scores
from tsfmicro_lab.training.predictions import read_predictions, write_predictions
from tsfmicro_lab.training.statistics import corrected

MODELS = ("tsfmicro_temporal", "tsfmicro_late")
AS_IT_IS = "as it is"
#: The recipe, and recipes that differ from it in one thing.
CHANGES: dict[str, dict[str, Any]] = {
    AS_IT_IS: {},
    "12 epochs": {"epochs": 12},
    "24 epochs": {"epochs": 24},
    "96 epochs": {"epochs": 96},
    "half the rate": {"lr": RECIPES["tiny"].lr / 2},
    "twice the rate": {"lr": RECIPES["tiny"].lr * 2},
}
#: Added to a seed, so that nobody is trained on or tested here whom another study draws.
OTHERS = 50


@dataclass(frozen=True)
class Recipes(Stored):
    """What recipes around that of `tiny` reach.

    Attributes:
        scores: `model`, `recipe`, `seed`, `uf1` on new heads, `loss` of the last epoch.
    """

    script: ClassVar = "recipe"
    scores: pd.DataFrame

    def gains(self) -> pd.DataFrame:
        """What each change adds to a model's UF1, over seeds; intervals and p are corrected for all rows (Holm).

        Returns:
            `model`, `recipe`, `uf1`, `sd` over seeds, `higher`: in how many seeds than with the recipe, and `gain`,
            `low`, `high`, `p`, `p_holm`; NaN of the recipe itself.
        """
        uf1 = self.scores.pivot_table("uf1", "seed", ["model", "recipe"], sort=False)
        found = uf1.agg(["mean", "std"]).T.set_axis(["uf1", "sd"], axis=1)
        found["higher"] = [int((uf1[model, name] > uf1[model, AS_IT_IS]).sum()) for model, name in found.index]
        changed = [(model, recipe) for model, recipe in found.index if recipe != AS_IT_IS]
        gains = corrected([over_seeds(uf1[model, recipe] - uf1[model, AS_IT_IS]) for model, recipe in changed])
        return found.join(gains.set_index(pd.MultiIndex.from_tuples(changed, names=found.index.names))).reset_index()

    def table(self) -> pd.DataFrame:
        """The gains as text."""
        rows = self.gains()
        ends = rows[["gain", "low", "high"]].to_numpy(float)
        told = [f"{g:+.3f} ({a:+.2f} to {b:+.2f})" if np.isfinite(g) else "" for g, a, b in ends]
        return pd.DataFrame(
            {
                "model": rows.model,
                "recipe": rows.recipe,
                "UF1": [f"{m:.3f} ± {s:.2f}" for m, s in rows[["uf1", "sd"]].to_numpy(float)],
                "gain": told,
                "higher": [
                    f"{n} of {self.scores.seed.nunique()}" if one else ""
                    for n, one in zip(rows.higher, told, strict=True)
                ],
                "p (Holm)": [*map(p_told, rows.p_holm.to_numpy(float))],
            }
        )


def measure(folder: Path, setting: Setting, *, seeds: int = 10, workers: int | None = None) -> Recipes:
    """Trains both models with every recipe on a setting's clips, and tests them on new heads; resumable."""
    trials = [(model, name, seed + OTHERS) for seed in range(seeds) for model in MODELS for name in CHANGES]
    paths = [folder / f"{model} {name} {seed}.csv".replace(" ", "-") for model, name, seed in trials]
    todo = [pair for pair in zip(trials, paths, strict=True) if not pair[1].exists()]
    lacking = sorted({seed for (*_, seed), _ in todo})
    clips = {seed: _clips(folder, setting, seed, workers) for seed in tqdm(lacking, "clips", disable=not todo)}
    with fold_processes(workers) as pool:
        jobs = [
            pool.submit(
                _train, name, Run(model, recipe=replace(setting.recipe, **CHANGES[name]), seed=seed), *clips[seed], path
            )
            for (model, name, seed), path in todo
        ]
        for job in tqdm(jobs, "networks"):
            job.result()
    found = pd.concat([read_predictions(path, "recipe") for path in paths], ignore_index=True)
    run = Run(MODELS[0], recipe=setting.recipe)
    known = {"seeds": seeds, "subjects": setting.subjects, "clips_per_subject": setting.clips}
    protocol = f"trained on {setting.subjects * setting.clips} clips, tested on {setting.tested} × as many of new heads"
    return Recipes(provenance_of(run, **known) | {"protocol": f"{protocol}; seeds from {OTHERS}, last epoch"}, found)


def _clips(folder: Path, setting: Setting, seed: int, workers: int | None) -> tuple[Samples, Samples]:
    """What is trained on, and what is tested; drawn once and kept."""
    groups = [group for group in setting.groups() if group.startswith(("train", HEADS))]
    options: dict[str, Any] = {"folder": folder / "samples", "workers": workers, "progress": False}
    parts = {group: prepare(data_of(setting, seed, group), SIDE, **options) for group in groups}
    kinds = ("train", HEADS)
    train, test = (joined([part for group, part in parts.items() if group.startswith(kind)]) for kind in kinds)
    return train, test


def _train(name: str, run: Run, train: Samples, test: Samples, path: Path) -> None:
    network = run.create(len(train.classes), run.seed)
    losses = fit(network, train, np.arange(len(train)), run.recipe, seed=run.seed, looks=False)
    said = torch.from_numpy(decide(predict(network, test, np.arange(len(test)))))
    uf1 = scores(test.names(test.label), test.names(said), test.classes)["uf1"]
    row = {"model": run.model, "recipe": name, "seed": run.seed, "uf1": uf1, "loss": losses[-1]}
    write_predictions(pd.DataFrame([row]), path)


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    out: Out = Path("build/recipe"),
    save: Save = None,
    subjects: Subjects = 8,
    clips: Clips = 12,
    seeds: Seeds = 10,
    workers: Workers = None,
) -> None:
    """Try recipes around that of `tiny` on subjects of their own. An hour on two cores."""
    with one_sentence():
        path = writable(save or out / "recipe.json")
        result = measure(out, replace(SETTINGS[HALF], subjects=subjects, clips=clips), seeds=seeds, workers=workers)
        result.save(path)
    print_table(result.table(), "UF1 on new heads")
    print(f"everything: {path}")


if __name__ == "__main__":
    app()
