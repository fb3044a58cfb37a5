"""What an evaluation will cost: time, memory and disk, told from one measured batch before anything runs.

`tsfmicro-lab plan --data dfme --model tsfmicro_late --preset base --protocol loso`. A batch is trained in a process
like those that train folds; the clips to come are counted. A GPU is told of where tests/benchmarks/measure.py has
stored what one does, and is "not measured" else.
"""

import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import typer

from studies.script import Preset, Workers, one_sentence
from tsfmicro_lab.cli.output import print_table
from tsfmicro_lab.data.cards import read_card
from tsfmicro_lab.data.samples import Samples
from tsfmicro_lab.data.tensors import KEY_FRAMES, PREPARED, in_order
from tsfmicro_lab.models.base import check_word
from tsfmicro_lab.processes import usable_cores
from tsfmicro_lab.training import RECIPES, Fold, Run, fit, fold_processes
from tsfmicro_lab.training.splits import PROTOCOLS

#: Clips of the measured batch at most, fewer of large frames: a batch of the base preset takes half a minute on a CPU.
CLIPS = 16


#: Fewer subjects have no 5-fold split that would cost less.
FOLDS = 5


class Rate(NamedTuple):
    """What was measured: seconds to learn from a clip and to look at one, and bytes of memory of the process."""

    step: float
    look: float
    memory: float

    def seconds(self, run: Run, folds: Sequence[Fold]) -> np.ndarray:
        """What each fold takes in one process: steps, looks at those who choose, recalibration, scores."""
        learnt, tested = np.array([(len(fold.train), len(fold.test)) for fold in folds]).T
        chosen = {"last": 0 * tested, "validation": 0.2 * learnt, "oracle": tested}[run.selection]
        epochs = sum(recipe.epochs for recipe in run.candidates or (run.recipe,))
        norms = run.recipe.recalibrate * (1 if run.selection == "last" else epochs)
        return epochs * learnt * self.step + (epochs * chosen + (2 + norms) * learnt + tested) * self.look


def measure(run: Run, samples: Samples, executor: Executor | None = None) -> Rate:
    """Trains on a batch for two seconds or two steps, where the folds are to be trained.

    What a model learns before its first epoch (`Recognizer.pretrain`) is not counted.
    """
    few = replace(samples, table=samples.table[:CLIPS], label=samples.label[:CLIPS], folder=None)
    few = few.with_tensors(**{name: x[:CLIPS] for name, x in samples.tensors.items()})
    return executor.submit(_measure, run, few).result() if executor else _measure(run, few)


def in_words(seconds: float) -> str:
    """A time as people say it.

    Example:
        >>> in_words(40), in_words(4000), in_words(6e5)
        ('40 s', '67 min', '6.9 days')
    """
    units = [("days", 86_400), ("h", 3600), ("min", 60), ("s", 1)]
    name, size = next((unit for unit in units if seconds >= 1.5 * unit[1]), units[-1])
    return f"{seconds / size:,.{int(1 < seconds / size < 9.95)}f} {name}"


def disk_bytes(run: Run, clips: int, folds: int) -> float:
    """Bytes of a store with what the model reads, and of a model for each fold."""
    model = run.create(2)
    each = [
        prod(PREPARED[n].shape(model.config.image_size)) * np.dtype(PREPARED[n].dtype).itemsize for n in _names(run)
    ]
    return clips * sum(each) + folds * 4.0 * sum(p.numel() for p in model.parameters())


def stand_in(run: Run, clips: int, subjects: int) -> Samples:
    """Noise in place of a data set: its table in full, tensors of the first few clips only."""
    size, number, rng = run.create(2).config.image_size, np.arange(clips), np.random.default_rng(0)
    drawn = {n: rng.integers(0, size, (CLIPS, *PREPARED[n].shape(size))).astype(PREPARED[n].dtype) for n in _names(run)}
    table = pd.DataFrame({"subject": [f"s{i:04d}" for i in number % subjects], "clip": number.astype(str), "onset": 0})
    label = torch.from_numpy(number // subjects % 5)
    return Samples({n: torch.from_numpy(x) for n, x in drawn.items()}, label, tuple("abcde"), table)


def _measure(run: Run, samples: Samples) -> Rate:
    model, marks = run.create(len(samples.classes), 0), list[float]()
    rows = np.arange(min(len(samples), run.recipe.batch_size, max(4, 10**5 // model.config.image_size**2)))
    how: dict[str, Any] = {name: getattr(run, name) for name in ("accelerator", "precision", "compiled")}
    how |= {"looks": False, "after_epoch": lambda *_: marks.append(time.perf_counter())}
    recipe = replace(run.recipe, epochs=1000, recalibrate=False, patience=0)
    fit(model, samples, rows[:2], recipe, stop=lambda: bool(marks), **how)
    first, marks[:] = _memory(), []
    fit(model, samples, rows, recipe, stop=lambda: len(marks) > 1 and marks[-1] - marks[0] > 2, **how)
    step = float(np.median(np.diff(marks)))
    memory = first + (_memory() - first) * (run.recipe.batch_size - 2) / max(len(rows) - 2, 1)
    began = time.perf_counter()
    model.logits(samples, rows)
    return Rate(step / len(rows), (time.perf_counter() - began) / len(rows), memory)


def _names(run: Run) -> tuple[str, ...]:
    return in_order([*run.create(2).prepared, *KEY_FRAMES])


def _memory() -> float:
    """Most memory that this process has used until now."""
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * (1 if sys.platform == "darwin" else 1024)


def gpu_step(preset: str, results: Path = Path(__file__).parents[1] / "results") -> tuple[float, str] | None:
    """Seconds that a GPU takes to learn from a clip, and its name, where they were measured."""
    for path in sorted(results.glob("speed_*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        ways = [r["ms"] / r["batch"] for r in found["models"] if (r["preset"], r["what"]) == (preset, "training step")]
        if "CPU" not in (device := found["provenance"]["measured_on"]) and ways:
            return min(ways) / 1000, device
    return None


def plan(run: Run, samples: Samples, protocols: Sequence[str], workers: int) -> pd.DataFrame:
    """What one seed needs by some protocols: a row each, with the time here, on a cluster (a fold a process), on a GPU.

    `memory` is that of each process; the rate is measured in a fresh one.
    """
    with fold_processes(1) as pool:
        rate = measure(run, samples, pool)
    rows, gpu = [], gpu_step(run.preset)
    for protocol in protocols:
        each = rate.seconds(run, folds := PROTOCOLS[protocol](samples.annotations))
        here, cluster = in_words(max(each.sum() / workers, each.max())), in_words(each.max())
        there = in_words(each.sum() * gpu[0] / rate.step) if gpu else "not measured"
        sizes = [f"{n / 1e9:.2g} GB" for n in (rate.memory, disk_bytes(run, len(samples), len(folds)))]
        rows.append((run.preset, protocol, len(folds), here, cluster, there, *sizes))
    columns = ["preset", "protocol", "folds", f"here, {workers} processes", "a cluster", "a GPU", "memory", "disk"]
    return pd.DataFrame(rows, columns=columns)


app = typer.Typer(add_completion=False)


@app.command()
def main(
    data: Annotated[str, typer.Option(help="Data set, as `tsfmicro-lab data list` shows it.")] = "synthetic",
    clips: Annotated[int | None, typer.Option(min=2, help="Clips, where you have others than its card says.")] = None,
    subjects: Annotated[int | None, typer.Option(min=2, help="Subjects, likewise.")] = None,
    model: Annotated[str, typer.Option(help="Model to evaluate.")] = "tsfmicro_late",
    preset: Preset = "tiny",
    protocol: Annotated[str, typer.Option(help=f"One of {', '.join(PROTOCOLS)}.")] = "loso",
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs; those of the preset's recipe by default.")] = None,
    workers: Workers = None,
) -> None:
    """Tell what an evaluation will cost in time, memory and disk, and what would cost less, before it runs."""
    with one_sentence():
        card = read_card(data)
        held = next(iter(card.labels.values()), card).expected
        clips, subjects = clips or held.clips, subjects or held.subjects
        if not clips or not subjects:
            raise ValueError(f"the card of {data} does not say how much it holds: give --clips and --subjects")
        check_word("protocol", protocol, PROTOCOLS)
        tables, protocols = [], [protocol, *["kfold"] * (protocol != "kfold" and subjects >= FOLDS)]
        for size in dict.fromkeys([preset, "tiny"]):
            recipe = RECIPES.get(size, RECIPES["tiny"])
            run = Run(model, size, replace(recipe, epochs=epochs or recipe.epochs))
            samples = stand_in(run, clips, subjects)
            tables.append(plan(run, samples, protocols, workers or usable_cores()))
        print_table(
            pd.concat(tables), f"{model}, {clips} clips of {subjects} subjects, one seed; what is asked for first"
        )


if __name__ == "__main__":
    app()
