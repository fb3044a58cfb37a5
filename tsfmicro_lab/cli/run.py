"""`tsfmicro-lab demo`, `evaluate` and `analyze`: from clips or a video to predictions and what they rest on."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from tsfmicro_lab.cli.output import print_table

Folder = Annotated[Path, typer.Option("--out", help="Where the results go; an unfinished run goes on from there.")]
Subjects = Annotated[int, typer.Option(min=2, help="Synthetic subjects.")]
Clips = Annotated[int, typer.Option(min=1, help="Clips of each subject.")]
Epochs = Annotated[int | None, typer.Option(min=1, help="Epochs; those of the preset's recipe by default.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Training processes; one per core by default.")]


def demo(
    out: Folder = Path("build/demo"),
    subjects: Subjects = 8,
    clips: Clips = 12,
    epochs: Epochs = None,
    seed: int = 0,
    workers: Workers = None,
) -> None:
    """Draw faces, train three models, explain them, and write one page about it all."""
    from tsfmicro_lab.demo import run_demo
    from tsfmicro_lab.training import RECIPES

    recipe = replace(RECIPES["tiny"], epochs=epochs) if epochs else RECIPES["tiny"]
    page = run_demo(out, subjects=subjects, clips_per_subject=clips, seed=seed, recipe=recipe, workers=workers)
    print(f"the report: {page}")


def evaluate(
    model: Annotated[list[str] | None, typer.Option(help="Model to evaluate; may be given again.")] = None,
    preset: Annotated[str, typer.Option(help="Size: tiny, small or base.")] = "tiny",
    out: Folder = Path("build/evaluate"),
    subjects: Subjects = 8,
    clips: Clips = 12,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds; each draws its own data and weights.")] = 3,
    epochs: Epochs = None,
    target: Annotated[
        str, typer.Option(help="Labels: emotion (five classes), emotion_megc (three) or action_units.")
    ] = "emotion",
    selection: Annotated[
        str, typer.Option(help="last epoch; validation, best on subjects set aside; oracle, the leak of many papers.")
    ] = "last",
    protocol: Annotated[str, typer.Option(help="loso, nested, kfold or hold-out.")] = "loso",
    layout_variation: Annotated[
        float, typer.Option(min=0, help="How much faces differ; 1 is about as adults do.")
    ] = 1.0,
    drift: Annotated[float, typer.Option(min=0, help="Strength of head drift.")] = 1.0,
    flicker: Annotated[float, typer.Option(min=0, help="Strength of flicker.")] = 1.0,
    noise: Annotated[float, typer.Option(min=0, help="Strength of camera noise.")] = 1.0,
    blinks: Annotated[float, typer.Option(min=0, help="Strength of blinks.")] = 1.0,
    accelerator: Annotated[str, typer.Option(help="cpu, cuda, mps or auto.")] = "cpu",
    workers: Workers = None,
) -> None:
    """Evaluate models on synthetic clips, by default leaving one subject out; print mean and spread over seeds."""
    from tsfmicro_lab.data.moving_face import Distractors
    from tsfmicro_lab.data.synthetic import SyntheticMicroExpressions
    from tsfmicro_lab.training import RECIPES, summary
    from tsfmicro_lab.training import evaluate as run_experiment
    from tsfmicro_lab.training.protocols import LEAKY

    def data(seed: int) -> SyntheticMicroExpressions:
        distractors = Distractors(drift, flicker, noise, blinks)
        return SyntheticMicroExpressions(
            subjects, clips, seed=seed, layout_variation=layout_variation, distractors=distractors
        )

    _, scores = run_experiment(
        model or ["tsfmicro_late", "tsfmicro_temporal", "tsfmicro_spatial"],
        data,
        out,
        preset=preset,
        recipe=replace(RECIPES[preset], epochs=epochs) if epochs and preset in RECIPES else None,
        seeds=seeds,
        target=target,
        protocol=protocol,
        selection=selection,
        accelerator=accelerator,
        workers=workers,
        keep_frames=True,
    )
    table = summary(scores)
    shown = table[["model", "seeds"]].copy()
    for name, title in {"uf1": "UF1", "uar": "UAR", "accuracy": "accuracy"}.items():
        spread = [f" ± {s:.3f}" if s == s else "" for s in table[f"{name}_std"]]
        shown[title] = [f"{mean:.3f}{s}" for mean, s in zip(table[f"{name}_mean"], spread, strict=True)]
    leaky = f", {LEAKY}" if selection == "oracle" else ""
    print_table(shown, f"{protocol}, {preset}, {scores.clips.iloc[0]} clips a seed{leaky}")
    print(f"every prediction: {out / 'predictions.csv'}; more: tsfmicro-lab results {out} --html")


def analyze_video(
    path: Annotated[Path, typer.Argument(help="A video file, or a folder of frames.")],
    model: Annotated[
        Path | None, typer.Option(help="Folder of a trained model, such as a demo or evaluation saves.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="Names of its classes, with commas, where its folder has none.")
    ] = None,
    fps: Annotated[float | None, typer.Option(help="True frames per second, where the file does not tell.")] = None,
    strictness: Annotated[float, typer.Option(min=1, help="Less finds more, and more that is nothing.")] = 6.0,
    out: Annotated[Path, typer.Option("--out", help="Where the page goes.")] = Path("build/analysis"),
) -> None:
    """Spot quick movements of a face in your own video, and say what a model makes of them, on one page."""
    from tsfmicro_lab.analyze import analyze
    from tsfmicro_lab.models import from_pretrained
    from tsfmicro_lab.models.card import training_data
    from tsfmicro_lab.reports import analysis_report

    names = tuple(name.strip() for name in classes.split(",")) if classes else ()
    found = analyze(path, from_pretrained(model) if model else None, names, fps=fps, strictness=strictness)
    print_table(found.table, "Moments: times in seconds, duration in ms, head motion in pixels at 224 px")
    for note in found.notes:
        print(f"• {note}")
    page = analysis_report(found, out, training_data(model) if model else "")
    print(f"the page: {page} (it shows the face: handle it like the recording)")
