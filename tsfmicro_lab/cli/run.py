"""`tsfmicro-lab demo`, `evaluate` and `analyze`: from clips or a video to predictions and what they rest on."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from tsfmicro_lab.cli.output import Force, may_write, print_table, refuse, study
from tsfmicro_lab.processes import usable_cores

PROTOCOLS = "loso, nested, kfold, hold-out; of a composite, megc2019 (each subject of all sets) or data-set-out."
#: Options that say what is drawn where there is no store.
DRAWN = ("subjects", "clips", "target", "layout_variation", "distractors", "where")
MODELS = ["tsfmicro_late", "tsfmicro_temporal", "tsfmicro_spatial"]
Folder = Annotated[Path, typer.Option("--out", help="Where the results go; an unfinished run goes on from there.")]
Subjects = Annotated[int, typer.Option(min=2, help="Synthetic subjects.")]
Clips = Annotated[int, typer.Option(min=1, help="Clips of each subject.")]
Epochs = Annotated[int | None, typer.Option(min=1, help="Epochs; those of the preset's recipe by default.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Training processes; one per core by default.")]


def demo(
    out: Annotated[Path, typer.Option("--out", help="Where the page goes.")] = Path("build/demo"),
    subjects: Subjects = 6,
    clips: Clips = 12,
    epochs: Epochs = None,
    train: Annotated[str, typer.Option(help="Model to train at the end; empty for none.")] = "tsfmicro_late",
    seed: int = 0,
    workers: Workers = None,
) -> None:
    """Draw heads, recognise and explain them with the models that ship, train one, and write a page about it all."""
    from tsfmicro_lab.demo import run_demo
    from tsfmicro_lab.training import RECIPES

    if not train:
        refuse(demo, locals(), "where nothing is trained", "epochs")
    recipe = replace(RECIPES["tiny"], epochs=epochs) if epochs else RECIPES["tiny"]
    how: dict[str, Any] = {"seed": seed, "recipe": recipe, "train": train, "workers": workers}
    page = run_demo(out, subjects=subjects, clips_per_subject=clips, **how)
    print(f"the report: {page}")


def evaluate(
    model: Annotated[list[str], typer.Option(help="Model to evaluate; may be given again.")] = MODELS,
    store: Annotated[Path | None, typer.Option(help="Store of `data prepare`; synthetic clips by default.")] = None,
    preset: Annotated[str, typer.Option(help="Size: tiny, small or base.")] = "tiny",
    out: Folder = Path("build/evaluate"),
    subjects: Subjects = 8,
    clips: Clips = 12,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds; each draws its own data and weights.")] = 3,
    epochs: Epochs = None,
    target: Annotated[str, typer.Option(help="emotion (5 classes), emotion_megc (3) or action_units.")] = "emotion",
    selection: Annotated[str, typer.Option(help="Epoch kept: last, validation, or oracle (leaky).")] = "last",
    leaky: Annotated[bool, typer.Option(help="As much public code does: selection oracle.")] = False,
    protocol: Annotated[str, typer.Option(help=PROTOCOLS)] = "loso",
    recipe: Annotated[str, typer.Option(help="tiny, small or base (the public code's); else the preset's.")] = "",
    layout_variation: Annotated[float, typer.Option(min=0, help="How much faces differ; adults: about 1.")] = 1.0,
    distractors: Annotated[str, typer.Option(help="Strengths such as drift=0,noise=2; none switches all off.")] = "",
    where: Annotated[str, typer.Option(help="free, or needed: close-ups that nobody aligned, nor does this.")] = "free",
    accelerator: Annotated[str, typer.Option(help="cpu, cuda, mps or auto.")] = "cpu",
    workers: Workers = None,
) -> None:
    """Evaluate models on a store or on synthetic clips, one subject left out; print mean and spread over seeds.

    It says first how long it will take; what costs less is told by `tsfmicro-lab plan`.
    """
    from tsfmicro_lab.data.motion import Distractors
    from tsfmicro_lab.data.samples import open_store
    from tsfmicro_lab.data.synthetic import SyntheticMicroExpressions
    from tsfmicro_lab.training import RECIPES, Run, cross_validation, protocols, summary

    if store:
        refuse(evaluate, locals(), "beside --store", *DRAWN)
    if leaky:
        refuse(evaluate, locals(), "beside --leaky", "selection")
    drawing: dict[str, Any] = {"where": where, "distractors": Distractors.parse(distractors)}

    def draw(seed: int) -> SyntheticMicroExpressions:
        return SyntheticMicroExpressions(subjects, clips, seed=seed, layout_variation=layout_variation, **drawing)

    plan = RECIPES.get(recipe or preset, RECIPES["tiny"])  # an unknown preset is told with the models
    plan, selection = replace(plan, epochs=epochs or plan.epochs), "oracle" if leaky else selection
    runs = [Run(name, preset, plan, selection, accelerator=accelerator) for name in model]
    options: dict[str, Any] = {"seeds": seeds, "target": target, "protocol": protocol, "workers": workers}
    options |= {"align": where == "free", "keep_frames": not store}

    def tell(run: Run, samples: Any, folds: Any, pool: Any) -> None:
        costs = study("plan")
        each = seeds * costs.measure(run, samples, pool).seconds(run, folds)
        several = 1 if accelerator == "cuda" else workers or usable_cores()
        told = costs.in_words(max(each.sum() / several, each.max()))
        print(f"{run.label}: {seeds * len(folds)} trainings take about {told}; for less: tsfmicro-lab plan", flush=True)

    data = open_store(store) if store else draw
    _, scores = cross_validation.evaluate(runs, data, out, **options, before=tell)
    table = summary(scores)
    for name in ("uf1", "uar", "accuracy"):
        pairs = zip(table.pop(f"{name}_mean"), table.pop(f"{name}_std"), strict=True)
        table[name] = [f"{mean:.3f}" + (f" ± {std:.3f}" if std == std else "") for mean, std in pairs]
    mark = f", {protocols.LEAKY}" if selection == "oracle" else ""
    print_table(table, f"{protocol}, {preset}, {scores.clips.iloc[0]} clips a seed{mark}")
    print(f"every prediction: {out / 'predictions.csv'}; more: tsfmicro-lab results {out} --html")


def analyze_video(
    path: Annotated[Path, typer.Argument(help="A video file, or a folder of frames.")],
    model: Annotated[str, typer.Option(help="emotions, action_units, the folder of your own, or none.")] = "emotions",
    classes: Annotated[str | None, typer.Option(help="Its classes, with commas, where its folder has none.")] = None,
    fps: Annotated[float | None, typer.Option(help="True frames per second, where the file does not tell.")] = None,
    strictness: Annotated[float, typer.Option(min=1, help="Less finds more, and more that is nothing.")] = 6.0,
    truth: Annotated[Path | None, typer.Option(exists=True, help="Table of true moments, to score the found.")] = None,
    out: Annotated[Path, typer.Option("--out", help="Where the page goes.")] = Path("build/analysis"),
    force: Force = False,
) -> None:
    """Spot quick movements of a face in your own video, and say what a model makes of them, on one page.

    Of a truth, columns are onset, offset, perhaps apex and emotion: seconds or, all whole, frames counted from 1.
    """
    import pandas as pd

    from tsfmicro_lab.analyze import analyze
    from tsfmicro_lab.models import card, checkpoint_folder, from_pretrained
    from tsfmicro_lab.reports import analysis_report

    for name in ("index.html", "moments.csv", "clips.png", "maps.png"):
        may_write(out / name, force)
    names = tuple(name.strip() for name in classes.split(",")) if classes else ()
    given = None if model == "none" else from_pretrained(model)
    true = study("film_truth").read_truth(truth) if truth else None
    if model == "none":
        refuse(analyze_video, locals(), "without a model", "classes")
    found = analyze(path, given, names, fps=fps, strictness=strictness, most=8 if true is None else 1000)
    print_table(found.table, "Moments: times in seconds, duration in ms, head motion in pixels at 224 px")
    for note in found.notes:
        print(f"• {note}")
    page = analysis_report(found, out, card.training_data(checkpoint_folder(model)))
    print(f"the page: {page} (it shows the face: handle it like the recording)")
    if true is not None:
        scored = pd.DataFrame([study("film_truth").score_truth(found, true)])
        print_table(scored, f"Against {len(true)} true moments, hit where intersection over union is 0.5 or more")
