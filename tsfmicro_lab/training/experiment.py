"""A whole experiment: several models, evaluated on data that are drawn anew for each seed, and scored."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from tsfmicro_lab.data.samples import prepare
from tsfmicro_lab.data.schema import Dataset
from tsfmicro_lab.data.tensors import KEY_FRAMES, in_order
from tsfmicro_lab.training.cross_validation import cross_validate, fold_processes, run_name
from tsfmicro_lab.training.metrics import score_table
from tsfmicro_lab.training.predictions import write_table
from tsfmicro_lab.training.protocols import Run
from tsfmicro_lab.training.splits import PROTOCOLS


def evaluate(
    runs: Sequence[Run],
    data: Callable[[int], Dataset],
    folder: Path | str,
    *,
    seeds: int = 3,
    target: str = "emotion",
    protocol: str = "loso",
    workers: int | None = None,
    keep_frames: bool = False,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Evaluates runs with several seeds, each of which draws its own data and parameters; resumable.

    Args:
        runs: What to evaluate.
        data: Gives the data set of a seed.
        folder: Where `predictions.csv`, `scores.csv` and a folder for each run go.
        seeds: Number of seeds, from 0.
        target: Column that is recognised.
        protocol: A name of `training.splits.PROTOCOLS`.
        workers: Training processes; one per core by default, and one where there is a GPU.
        keep_frames: Whether each run keeps its clips (`results.load_frames`). Not for licensed recordings.

    Returns:
        (Predictions of all runs; scores of every model in each seed, as `training.summary` takes them.)

    Raises:
        ValueError: A model, preset, protocol or target is unknown, or the folder holds other runs.

    Example:
        >>> import tempfile
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions
        >>> from tsfmicro_lab.training import Recipe
        >>> run = Run("tsfmicro_spatial", recipe=Recipe(epochs=1))
        >>> data = lambda seed: SyntheticMicroExpressions(2, 10, image_size=64, seed=seed)
        >>> predictions, scores = evaluate([run], data, tempfile.mkdtemp(), seeds=1, workers=1)
        >>> scores.model.tolist()
        ['tsfmicro_spatial', 'majority', 'random']
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"unknown protocol '{protocol}': choose from {', '.join(PROTOCOLS)}")
    networks = [run.create(2) for run in runs]  # an unknown name is told before anything is drawn
    tables, scores = [], []
    with fold_processes(1 if any(run.accelerator == "cuda" for run in runs) else workers) as pool:
        for seed in range(seeds):
            dataset = data(seed)
            for run, network in zip(runs, networks, strict=True):
                names = in_order([*network.prepared, *KEY_FRAMES])
                run = replace(run, seed=seed)
                place = Path(folder) / run_name(run)
                kept = place / "frames" if keep_frames else None
                samples = prepare(dataset, network.config.image_size, target=target, tensors=names, folder=kept)
                folds = PROTOCOLS[protocol](samples.annotations)
                tables.append(cross_validate(samples, run, folds, folder=place, executor=pool, keep_models=True))
            scores.append(score_table(pd.concat(tables[-len(runs) :]), samples.classes))
    found = pd.concat(tables, ignore_index=True), pd.concat(scores, ignore_index=True)
    for table, name in zip(found, ("predictions", "scores"), strict=True):
        write_table(table, Path(folder) / f"{name}.csv")
    return found
