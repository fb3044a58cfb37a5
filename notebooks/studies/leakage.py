"""How much a wrong protocol adds: small networks on true labels and on noise, and what they say every epoch."""

import json
import sys
from concurrent.futures import as_completed
from dataclasses import asdict, replace
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer
from sklearn.feature_selection import SelectKBest, VarianceThreshold, f_classif
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import LeaveOneGroupOut, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

if not __package__:  # run as a script, it finds its neighbours
    sys.path.insert(0, str(Path(__file__).parents[1]))

from tqdm.auto import tqdm

from studies.leakage_scores import BY_SUBJECT, COPIES, MODELS, Leakage, leak_table
from studies.script import Epochs, Out, Save, Workers, one_sentence
from studies.stored import provenance_of, writable
from tsfmicro_lab.cli.output import print_table
from tsfmicro_lab.data import Distractors, Samples, SyntheticMicroExpressions, prepare
from tsfmicro_lab.files import write_text
from tsfmicro_lab.training import Augmentation, Fold, Recipe, Run, fit, fold_processes, predict, scores
from tsfmicro_lab.training.splits import nested_leave_one_subject_out

#: Small enough for hundreds of folds on a laptop.
RUN = Run(
    settings={"image_size": 28, "dims": (16, 32), "spatial_heads": 4},
    recipe=Recipe(40, 12, 2e-3, 0.1, 0.97, degrees=0, shift=0, schedule="exponential"),
)
#: Share of the labels that is dealt anew.
LABELS = {"true": 0.0, "half noise": 0.5, "noise": 1.0}


def relabel(samples: Samples, share: float, seed: int = 0) -> Samples:
    """Deals the labels of a share of the clips anew among them; the counts of the classes stay.

    Args:
        samples: The clips.
        share: 0 changes nothing, 1 leaves nothing to be learnt.
        seed: Of the draw.
    """
    rng = np.random.default_rng([seed, 7])
    chosen = rng.permutation(len(samples))[: round(share * len(samples))]
    label = samples.label.clone()
    label[chosen] = label[rng.permutation(chosen)]
    return replace(samples, label=label)


def relabel_by_subject(samples: Samples, seed: int = 0, favourite: float = 0.7) -> Samples:
    """Noise that clings to people: every subject has a class of their own, which most of their clips get.

    Args:
        samples: The clips.
        seed: Of the draw.
        favourite: Share of clips with that class; the others get any.
    """
    rng = np.random.default_rng([seed, 8])
    classes = len(samples.classes)
    own = {s: i % classes for i, s in enumerate(rng.permutation(np.unique(samples.subjects)))}
    label = [own[s] if rng.random() < favourite else int(rng.integers(classes)) for s in samples.subjects]
    return replace(samples, label=torch.tensor(label))


def predictions_by_epoch(
    run: Run, samples: Samples, fold: Fold, copies: bool = False
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Trains once: predictions on the test subject and UF1 on the validation subjects, after every epoch.

    Args:
        run: Model, recipe, seed. Its selection is not used: every selection can be made from what is noted.
        samples: All samples.
        fold: From `nested_leave_one_subject_out`.
        copies: Whether moved copies of the test subject's clips are trained on as well, with their labels.

    Returns:
        (One row per test clip with `truth` and `epochs`, a digit per epoch; UF1 of the validation subjects per epoch.)
    """
    if copies:
        with torch.random.fork_rng():
            torch.manual_seed(run.seed)
            moved = Augmentation(samples.onset.shape[-1])({n: x[fold.test] for n, x in samples.tensors.items()})
        frames = {n: torch.cat((x, moved[n].round().clamp(0, 255).to(torch.uint8))) for n, x in samples.tensors.items()}
        label = torch.cat((samples.label, samples.label[fold.test]))
        samples = replace(samples, tensors=frames, label=label)
        fold = replace(fold, train=np.r_[fold.train, np.arange(len(label) - len(fold.test), len(label))])
    predicted: list[np.ndarray] = []
    validation: list[float] = []
    model = run.create(len(samples.classes), run.seed)

    def look(epoch: int, _: float) -> None:
        both = predict(model, samples, np.r_[fold.test, fold.validation]).argmax(1)
        predicted.append(both[: len(fold.test)])
        truth = samples.label[fold.validation].numpy()
        validation.append(float(f1_score(truth, both[len(fold.test) :], average="macro", zero_division=0)))

    fit(model, samples, fold.train, run.recipe, seed=run.seed, after_epoch=look)
    rows = pd.DataFrame({"subject": fold.name, "truth": samples.label[fold.test].numpy()})
    rows["epochs"] = ["".join(map(str, digits)) for digits in np.transpose(predicted)]
    return rows, {"subject": fold.name, "uf1": [round(value, 3) for value in validation]}


def linear_scores(samples: Samples, labels: str, seed: int) -> pd.DataFrame:
    """Leaks that need no network: logistic regression on grey onset and difference frames.

    Args:
        samples: The clips, with the labels to recognise.
        labels: Name of the labels.
        seed: Of the experiment.

    Returns:
        Rows `labels`, `seed`, `leak`, `uf1`, `accuracy`; `linear` is the honest one.
    """
    onset, apex = (x.float().mean(1).flatten(1).numpy() for x in (samples.onset, samples.apex))
    x, truth = np.concatenate((onset, apex - onset), 1), samples.label.numpy()
    best = VarianceThreshold(1e-6), StandardScaler(), SelectKBest(f_classif, k=60)
    plain = StandardScaler(), LogisticRegression(C=0.1, max_iter=2000)
    chosen = *best, plain[1]
    by_subject = list(LeaveOneGroupOut().split(x, groups=samples.subjects))
    mixed = list(StratifiedKFold(len(by_subject), shuffle=True, random_state=seed).split(x, truth))
    ways = {
        "linear": (x, plain, by_subject),
        "mean and spread of all subjects": (StandardScaler().fit_transform(x), plain[1:], by_subject),
        "linear, features chosen": (x, chosen, by_subject),
        "features chosen on all subjects": (make_pipeline(*best).fit_transform(x, truth), plain[1:], by_subject),
        "split by clip instead of subject": (x, plain, mixed),
        "linear, no resting face": (apex - onset, plain, by_subject),
        "split by clip, no resting face": (apex - onset, plain, mixed),
    }
    rows = []
    for leak, (features, steps, folds) in ways.items():
        predicted = np.empty_like(truth)
        for train, test in folds:
            predicted[test] = make_pipeline(*steps).fit(features[train], truth[train]).predict(features[test])
        names = [samples.names(torch.from_numpy(label)) for label in (truth, predicted)]
        result = scores(names[0], names[1], samples.classes)
        rows.append((labels, seed, leak, result["uf1"], result["accuracy"]))
    return pd.DataFrame(rows, columns=["labels", "seed", "leak", "uf1", "accuracy"])


def measure(
    folder: Path,
    *,
    subjects: int = 8,
    clips_per_subject: int = 12,
    seeds: int = 10,
    epochs: int | None = None,
    linear_seeds: int = 20,
    workers: int | None = None,
) -> Leakage:
    """Trains every model on true labels and on noise, and notes its predictions after every epoch; resumable.

    Args:
        folder: Where finished experiments are kept.
        subjects: Synthetic subjects of each seed.
        clips_per_subject: Clips of each, of which about three in five belong to one of the three classes.
        seeds: Number of seeds; each draws its own faces, clips, noise and weights.
        epochs: Epochs; 40 by default.
        linear_seeds: Number of seeds of the linear model.
        workers: Processes; one per core by default.

    Returns:
        What was measured.
    """
    run = replace(RUN, recipe=replace(RUN.recipe, epochs=epochs or RUN.recipe.epochs))
    jobs = [
        (labels, seed, model)
        for seed, labels, model in product(range(seeds), LABELS, (*MODELS, COPIES))
        if labels != "half noise" or model == MODELS[0]
    ]
    folder.mkdir(parents=True, exist_ok=True)
    size = subjects, clips_per_subject
    about, note = json.dumps([asdict(run), size]), folder / "settings.json"
    if note.exists() and note.read_text(encoding="utf-8") != about:
        raise ValueError(f"{folder} holds experiments of another size or recipe: give another folder, or delete this")
    write_text(note, about)
    with fold_processes(workers) as pool, tqdm(desc="experiments", total=len(jobs)) as bar:
        waiting = [pool.submit(_experiment, folder, run, size, *job) for job in jobs]
        for future in as_completed(waiting):
            future.result()
            bar.update()
    tables = [_experiment(folder, run, size, *job) for job in jobs]
    linear = [
        linear_scores(_labelled(_clips(*size, seed), labels, seed), labels, seed)
        for seed in tqdm(range(linear_seeds), "linear models")
        for labels in (*LABELS, BY_SUBJECT)
    ]
    return Leakage(
        provenance={
            **provenance_of(run, subjects=subjects, clips_per_subject=clips_per_subject, seeds=seeds),
            "linear_seeds": linear_seeds,
            "protocol": "leave one subject out, 2 of the others set aside to choose by; every epoch kept",
        },
        clips=pd.concat([clips for clips, _ in tables], ignore_index=True),
        validation=pd.concat([validation for _, validation in tables], ignore_index=True),
        linear=pd.concat(linear, ignore_index=True),
    )


@lru_cache(maxsize=4)
def _clips(subjects: int, clips_per_subject: int, seed: int) -> Samples:
    data = SyntheticMicroExpressions(subjects, clips_per_subject, 112, seed, distractors=Distractors.none())
    return prepare(data, RUN.settings["image_size"], target="emotion_megc", progress=False)


def _labelled(samples: Samples, labels: str, seed: int) -> Samples:
    return relabel_by_subject(samples, seed) if labels == BY_SUBJECT else relabel(samples, LABELS[labels], seed)


def _experiment(
    folder: Path, run: Run, size: tuple[int, int], labels: str, seed: int, model: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All folds of one model on one draw of faces and labels, from disk if they have been trained."""
    paths = [folder / f"{labels.replace(' ', '-')}-{seed}-{model}-{part}.json" for part in ("validation", "clips")]
    if not paths[1].exists():
        samples = _labelled(_clips(*size, seed), labels, seed)
        run = replace(run, model=MODELS[0] if model == COPIES else model, seed=seed)
        folds = nested_leave_one_subject_out(samples.annotations, seed=seed)
        clips, validation = zip(
            *(predictions_by_epoch(run, samples, fold, model == COPIES) for fold in folds), strict=True
        )
        about = {"labels": labels, "seed": seed, "model": model}
        for path, table in zip(paths, (pd.DataFrame(validation), pd.concat(clips)), strict=True):
            _write_rows(table.assign(**about), path)
    validation, clips = (pd.DataFrame(json.loads(path.read_text(encoding="utf-8"))) for path in paths)
    return clips, validation


def _write_rows(table: pd.DataFrame, path: Path) -> None:
    write_text(path, table.to_json(orient="records"))


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    out: Out = Path("build/leakage"),
    save: Save = None,
    subjects: Annotated[int, typer.Option(min=4, help="Synthetic subjects of each seed.")] = 8,
    clips: Annotated[int, typer.Option(min=6, help="Clips of each subject.")] = 12,
    seeds: Annotated[int, typer.Option(min=2, help="Seeds of the networks; each draws its own everything.")] = 10,
    linear_seeds: Annotated[int, typer.Option(min=2, help="Seeds of the linear model.")] = 20,
    epochs: Epochs = None,
    workers: Workers = None,
) -> None:
    """Measure what each leak adds to the score, on true labels and on noise. About an hour on two cores."""
    with one_sentence():
        path = writable(save or out / "leakage.json")
        result = measure(
            out,
            subjects=subjects,
            clips_per_subject=clips,
            seeds=seeds,
            epochs=epochs,
            linear_seeds=linear_seeds,
            workers=workers,
        )
        result.save(path)
    print_table(
        leak_table(result),
        "UF1 that each way to score adds to the last epoch's (leaky, but for last and validation)",
    )
    print(f"everything: {path}")


if __name__ == "__main__":
    app()
