"""A whole experiment: several models, evaluated on data that are drawn anew for each seed, and scored."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tsfmicro_lab.data.samples import Samples, prepare
from tsfmicro_lab.data.schema import Dataset
from tsfmicro_lab.data.tensors import KEY_FRAMES
from tsfmicro_lab.training.cross_validation import cross_validate, fold_processes, run_name
from tsfmicro_lab.training.loop import RECIPES, Recipe
from tsfmicro_lab.training.metrics import score_table
from tsfmicro_lab.training.predictions import write_table
from tsfmicro_lab.training.protocols import Run
from tsfmicro_lab.training.splits import PROTOCOLS


def evaluate(
    models: Sequence[str],
    data: Callable[[int], Dataset],
    folder: Path | str,
    *,
    preset: str = "tiny",
    recipe: Recipe | None = None,
    seeds: int = 3,
    target: str = "emotion",
    protocol: str = "loso",
    selection: str = "last",
    accelerator: str = "cpu",
    workers: int | None = None,
    keep_frames: bool = False,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Evaluates models with several seeds, each of which draws its own data and parameters; resumable.

    Args:
        models: Names of models.
        data: Gives the data set of a seed.
        folder: Where `predictions.csv`, `scores.csv` and a folder for each run go.
        preset: Size of all models.
        recipe: How they are trained; that of the preset by default.
        seeds: Number of seeds.
        target: Column that is recognised.
        protocol: A name of `training.splits.PROTOCOLS`.
        selection: How the epoch is chosen (see :class:`~tsfmicro_lab.training.Run`).
        accelerator: `cpu`, `cuda`, `mps` or `auto`.
        workers: Training processes; one per core by default.
        keep_frames: Whether each run keeps its clips (:func:`save_frames`). Not for licensed recordings.

    Returns:
        (Predictions of all runs; scores of every model in each seed, as `training.summary` takes them.)

    Raises:
        ValueError: A model, preset, protocol, selection or target is unknown, or the folder holds other runs.

    Example:
        >>> import tempfile
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions
        >>> predictions, scores = evaluate(
        ...     ["tsfmicro_spatial"],
        ...     lambda seed: SyntheticMicroExpressions(2, 10, image_size=64, seed=seed),
        ...     tempfile.mkdtemp(), recipe=Recipe(epochs=1), seeds=1, workers=1,
        ... )
        >>> scores.model.tolist()
        ['tsfmicro_spatial', 'majority', 'random']
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"unknown protocol '{protocol}': choose from {', '.join(PROTOCOLS)}")
    runs = [Run(name, preset, selection=selection, accelerator=accelerator) for name in models]
    networks = [run.create(2) for run in runs]  # an unknown name is told before anything is drawn
    tables, scored = [], []
    with fold_processes(1 if accelerator == "cuda" else workers) as pool:
        for seed in range(seeds):
            dataset = data(seed)
            for run, network in zip(runs, networks, strict=True):
                run = replace(run, recipe=recipe or RECIPES[preset], seed=seed)
                names = {*network.prepared, *KEY_FRAMES}
                samples = prepare(dataset, network.config.image_size, target=target, tensors=sorted(names))
                place, folds = Path(folder) / run_name(run), PROTOCOLS[protocol](samples.annotations)
                tables.append(cross_validate(samples, run, folds, folder=place, executor=pool, keep_models=True))
                if keep_frames:
                    save_frames(samples, place)
            scored.append(score_table(pd.concat(tables[-len(runs) :]), samples.classes))
    predictions, scores = pd.concat(tables, ignore_index=True), pd.concat(scored, ignore_index=True)
    write_table(predictions, Path(folder) / "predictions.csv")
    write_table(scores, Path(folder) / "scores.csv")
    return predictions, scores


def save_frames(samples: Samples, folder: Path) -> None:
    """Keeps what models read beside a run, so that missed clips can be shown later. Not for licensed recordings."""
    arrays: dict[str, Any] = {name: x.numpy() for name, x in samples.tensors.items()}
    np.savez_compressed(folder / "frames.npz", **arrays)
