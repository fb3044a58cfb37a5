"""Does what was learned on heads hold on photographs? Trained on heads, tested on new heads and on two portraits."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
import typer

if not __package__:  # run as a script, it finds its neighbours
    sys.path.insert(0, str(Path(__file__).parents[1]))

from tqdm.auto import tqdm

from studies.script import Clips, Epochs, Save, Seeds, Subjects, Workers, one_sentence
from studies.stored import Stored, provenance_of, writable
from tsfmicro_lab.cli.output import print_table
from tsfmicro_lab.data import Distractors, PhotographMicroExpressions, Samples, SyntheticMicroExpressions, prepare
from tsfmicro_lab.data.tensors import KEY_FRAMES
from tsfmicro_lab.training import RECIPES, Run, decide, fit, fold_processes, predict
from tsfmicro_lab.training.metrics import scores

MODELS = ("tsfmicro_spatial", "tsfmicro_temporal", "tsfmicro_late")
FLOW = "flow_dis"
#: A linear model sees the mean of each of 7 × 7 fields.
FIELDS = 7


@dataclass(frozen=True)
class Transfer(Stored):
    """UF1 and UAR on new heads and on photographs; one row per condition, model, seed and kind of test face."""

    script: ClassVar = "transfer"
    scores: pd.DataFrame

    def table(self) -> pd.DataFrame:
        """Mean UF1 over seeds and its standard deviation, models (rows) by condition and test faces (columns)."""

        def cell(uf1: "pd.Series[float]") -> str:
            return f"{uf1.mean():.2f} ± {uf1.std():.2f}"

        return self.scores.pivot_table("uf1", "model", ["distractors", "faces"], aggfunc=cell, sort=False)


def measure(
    *, subjects: int = 16, clips_per_subject: int = 12, seeds: int = 5, epochs: int = 24, workers: int | None = None
) -> Transfer:
    """Trains on heads and tests on half as many new heads and on the two portraits that come with packages.

    Nothing is chosen by a tested clip. The seed changes heads, clips, parameters and the motion of the portraits; the
    portraits stay the same two, so the spread on photographs says nothing about other people.
    """
    run = Run(MODELS[-1], "tiny", replace(RECIPES["tiny"], epochs=epochs))
    provenance = provenance_of(run, seeds=seeds, subjects=subjects, clips_per_subject=clips_per_subject)
    provenance["protocol"] = "trained on heads; tested on half as many new heads, and on two photographed people"
    with fold_processes(workers) as pool:
        jobs = [
            pool.submit(_scores, name, subjects, clips_per_subject, replace(run, seed=seed))
            for name in ("none", "all")
            for seed in range(seeds)
        ]
        return Transfer(provenance, pd.concat([job.result() for job in tqdm(jobs, "seeds")], ignore_index=True))


def _scores(distractors: str, subjects: int, clips: int, run: Run) -> pd.DataFrame:
    strength = {"none": Distractors.none(), "all": Distractors()}[distractors]

    def samples(data: SyntheticMicroExpressions) -> Samples:
        return prepare(data, 56, tensors=(*KEY_FRAMES, FLOW), progress=False)

    train = samples(SyntheticMicroExpressions(subjects, clips, seed=2 * run.seed, distractors=strength))
    others = {
        "new heads": SyntheticMicroExpressions(subjects // 2, clips, seed=2 * run.seed + 1, distractors=strength),
        "photographs": PhotographMicroExpressions(None, subjects // 4 * clips, seed=run.seed, distractors=strength),
    }
    tests = {name: samples(data) for name, data in others.items()}
    rows = []
    for name in ("majority", "linear_difference", "linear_flow", *MODELS):
        said = _linear(name, train, tests) if name not in MODELS else _network(replace(run, model=name), train, tests)
        for faces, numbers in said.items():
            truth, predicted = (tests[faces].names(x) for x in (tests[faces].label, numbers))
            row = {"distractors": distractors, "model": name, "seed": run.seed, "faces": faces}
            rows.append(row | scores(list(truth), list(predicted), train.classes))
    return pd.DataFrame(rows)


def _network(run: Run, train: Samples, tests: dict[str, Samples]) -> dict[str, np.ndarray]:
    model = run.create(len(train.classes), run.seed)
    fit(model, train, np.arange(len(train)), run.recipe, seed=run.seed)
    return {name: decide(predict(model, samples, np.arange(len(samples)))) for name, samples in tests.items()}


def _linear(name: str, train: Samples, tests: dict[str, Samples]) -> dict[str, np.ndarray]:
    """A floor that every network should pass: logistic regression on pooled motion, or the commonest class."""
    from sklearn.dummy import DummyClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def pooled(samples: Samples) -> np.ndarray:
        if name == "linear_flow":
            fields = samples[FLOW].float().numpy()
        else:
            fields = (samples["apex"].float() - samples["onset"].float()).mean(1, keepdim=True).numpy()
        side = fields.shape[-1] // FIELDS
        parts = fields.reshape(len(fields), fields.shape[1], FIELDS, side, FIELDS, side)
        return np.asarray(parts.mean((3, 5)).reshape(len(fields), -1))

    kinds = {"majority": DummyClassifier(), "linear_flow": LogisticRegression(C=0.3, max_iter=2000)}
    kinds["linear_difference"] = LogisticRegression(C=0.3, max_iter=2000)
    model = make_pipeline(StandardScaler(), kinds[name]).fit(pooled(train), train.label.numpy())
    return {faces: model.predict(pooled(samples)) for faces, samples in tests.items()}


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    out: Annotated[Path, typer.Option(help="Where the result goes, if --save names no file.")] = Path("build/transfer"),
    save: Save = None,
    subjects: Subjects = 16,
    clips: Clips = 12,
    seeds: Seeds = 5,
    epochs: Epochs = 24,
    workers: Workers = None,
) -> None:
    """Train on heads, test on new heads and on photographs. A quarter of an hour on one core for three seeds."""
    with one_sentence():
        path = writable(save or out / "transfer.json")
        size: dict[str, Any] = {"subjects": subjects, "clips_per_subject": clips, "seeds": seeds, "workers": workers}
        result = measure(**size, epochs=epochs or 24)
        result.save(path)
    print_table(result.table().reset_index(), "UF1: mean and standard deviation over seeds")
    print(f"everything: {path}")


if __name__ == "__main__":
    app()
