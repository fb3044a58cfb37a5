"""How well models bear wrong key frames, and whether the error reaches what they read."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
import typer

if not __package__:  # run as a script, it finds its neighbours
    sys.path.insert(0, str(Path(__file__).parents[1]))

from torch import Tensor
from tqdm.auto import tqdm

from studies.new_subjects import HALF, HEADS, SETTINGS, Setting, data_of
from studies.script import Clips, Epochs, Save, Seeds, Subjects, Workers, one_sentence
from studies.stored import Stored, provenance_of, writable
from tsfmicro_lab.cli.output import print_table
from tsfmicro_lab.clips import Clip
from tsfmicro_lab.data import Dataset, prepare
from tsfmicro_lab.training import Run, decide, fit, fold_processes, predict
from tsfmicro_lab.training.metrics import scores

RUNS = (
    Run("tsfmicro_late"),
    Run("tsfmicro_temporal"),
    Run("off_apexnet", settings={"flow": "dis"}),
    Run("slstt_mean"),
    Run("frl_dgt"),
)
#: By how many frames onset and apex are wrong; a frame lasts 5 ms.
OFF = (0, 4, 16)


@dataclass(frozen=True)
class KeyFrames(Stored):
    """What wrong key frames cost; one row per model, seed and error.

    Attributes:
        scores: `model`, `seed`, `off` (frames), `uf1` on new heads, and `changed`: the mean absolute change of what the
            model reads, as a share of its standard deviation.
    """

    script: ClassVar = "key_frames"
    scores: pd.DataFrame

    def table(self) -> pd.DataFrame:
        """UF1 of each model (rows) by the error in frames, mean over seeds; how much its inputs change at the end."""
        means = self.scores.pivot_table("uf1", "model", "off", sort=False).map(lambda uf1: f"{uf1:.2f}")
        last = self.scores[self.scores.off == self.scores.off.max()].groupby("model").changed.mean()
        return means.assign(inputs=[f"{last[model]:.2f}" for model in means.index])


class WrongKeyFrames:
    """The clips of a data set with onset and apex each wrong by so many frames, early or late as a coin falls.

    They stay in order and within the clip.

    Args:
        dataset: The clips.
        off: By how many frames.
        seed: Of the coin.

    Example:
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions
        >>> data = SyntheticMicroExpressions(1, 3, image_size=64)
        >>> [WrongKeyFrames(data, 2)[i].apex - data[i].apex for i in range(3)]
        [2, -2, -2]
    """

    def __init__(self, dataset: Dataset, off: int, seed: int = 0) -> None:
        self.dataset, self.off = dataset, off
        self.name, self.annotations = dataset.name, dataset.annotations
        self.classes, self.report = dataset.classes, dataset.report
        self.signs = np.random.default_rng(seed).choice([-1, 1], (len(dataset), 2))

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Clip:
        clip = self.dataset[index]
        onset, apex = clip.key_frames
        first, second = (self.off * self.signs[index]).tolist()
        onset = min(max(onset + first, 0), apex)
        return replace(clip, onset=onset, apex=min(max(apex + second, onset + 1), clip.offset))


def measure(
    setting: Setting, *, seeds: int = 5, epochs: int | None = None, off: Sequence[int] = OFF, workers: int | None = None
) -> KeyFrames:
    """Trains on the clips of a setting, and tests on new heads whose key frames are wrong."""
    recipe = replace(setting.recipe, epochs=epochs or setting.recipe.epochs)
    runs = [replace(run, seed=seed, recipe=recipe) for run in RUNS for seed in range(seeds)]
    with fold_processes(workers) as pool:
        jobs = [pool.submit(_measure, setting, run, off) for run in runs]
        found = pd.concat([job.result() for job in tqdm(jobs, "networks")], ignore_index=True)
    known = {"seeds": seeds, "subjects": setting.subjects, "clips_per_subject": setting.clips}
    protocol = (
        f"trained on {setting.subjects * setting.clips} clips, tested on as many of new heads; setting {setting.name}"
    )
    return KeyFrames(provenance_of(runs[0], **known) | {"protocol": protocol}, found)


def _measure(setting: Setting, run: Run, off: Sequence[int]) -> pd.DataFrame:
    model = run.create(5, run.seed)
    options: dict[str, Any] = {"tensors": model.prepared, "progress": False}
    train = prepare(data_of(setting, run.seed, "train 0"), model.config.image_size, **options)
    fit(model, train, np.arange(len(train)), run.recipe, seed=run.seed)
    rows: list[dict[str, Any]] = []
    right: dict[str, Tensor] = {}
    for frames in off:
        wrong = WrongKeyFrames(data_of(setting, run.seed, f"{HEADS} 0"), frames)
        samples = prepare(wrong, model.config.image_size, **options)
        inputs = {name: x.float() for name, x in model.inputs_of(samples).items() if name not in model.auxiliary_names}
        right = right or inputs
        changed = [float((inputs[n] - x).abs().mean() / x.std()) for n, x in right.items()]
        said = decide(predict(model, samples, np.arange(len(samples))))
        uf1 = scores(samples.names(samples.label), [samples.classes[i] for i in said], samples.classes)["uf1"]
        rows.append(
            {"model": run.label, "seed": run.seed, "off": frames, "uf1": uf1, "changed": float(np.mean(changed))}
        )
    return pd.DataFrame(rows)


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    out: Annotated[Path, typer.Option(help="Where the result goes, if --save names no file.")] = Path("build/keys"),
    save: Save = None,
    subjects: Subjects = 8,
    clips: Clips = 12,
    seeds: Seeds = 5,
    epochs: Epochs = None,
    workers: Workers = None,
) -> None:
    """Test models on clips whose key frames are wrong. Forty minutes on two cores."""
    with one_sentence():
        path = writable(save or out / "key_frames.json")
        setting = replace(SETTINGS[HALF], subjects=subjects, clips=clips)
        result = measure(setting, seeds=seeds, epochs=epochs, workers=workers)
        result.save(path)
    print_table(result.table().reset_index(), "UF1 on new heads by the error of onset and apex, frames")
    print(f"everything: {path}")


if __name__ == "__main__":
    app()
