"""The command line: each command is a function here or in `commands`."""

import importlib.metadata
import platform
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from tsfmicro_lab.commands import console, plain_errors
from tsfmicro_lab.commands.data import app as data_app
from tsfmicro_lab.commands.results import results, score

if TYPE_CHECKING:
    import pandas as pd

app = typer.Typer(
    help="Learn, explore and check micro-expression recognition.", no_args_is_help=True, pretty_exceptions_enable=False
)
app.add_typer(data_app, name="data")
for command in (score, results):
    app.command()(command)

Folder = Annotated[Path, typer.Option("--out", help="Where the results go; an unfinished run goes on from there.")]
Subjects = Annotated[int, typer.Option(min=2, help="Synthetic subjects.")]
Clips = Annotated[int, typer.Option(min=1, help="Clips of each subject.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Training processes; one per core by default.")]


@app.command()
def demo(
    out: Folder = Path("build/demo"),
    subjects: Subjects = 8,
    clips: Clips = 12,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs; those of the tiny recipe by default.")] = None,
    seed: int = 0,
    workers: Workers = None,
) -> None:
    """Draw faces, train three models, explain them, and write one page about it all."""
    from tsfmicro_lab.demo import run_demo
    from tsfmicro_lab.training import RECIPES

    recipe = replace(RECIPES["tiny"], epochs=epochs) if epochs else RECIPES["tiny"]
    with plain_errors():
        run_demo(out, subjects=subjects, clips_per_subject=clips, seed=seed, recipe=recipe, workers=workers)


@app.command()
def evaluate(
    model: Annotated[list[str] | None, typer.Option(help="Model to evaluate; may be given again.")] = None,
    preset: Annotated[str, typer.Option(help="Size: tiny, small or base.")] = "tiny",
    out: Folder = Path("build/evaluate"),
    subjects: Subjects = 8,
    clips: Clips = 12,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds; each draws its own data and weights.")] = 3,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs; those of the preset's recipe by default.")] = None,
    target: Annotated[
        str, typer.Option(help="Labels: emotion (five classes), emotion_megc (three) or action_units.")
    ] = "emotion",
    selection: Annotated[
        str, typer.Option(help="last epoch; inner, best on subjects set aside; oracle, the leak of many papers.")
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
    import pandas as pd

    from tsfmicro_lab.data.moving_face import Distractors
    from tsfmicro_lab.data.samples import prepare
    from tsfmicro_lab.data.synthetic import SyntheticMicroExpressions
    from tsfmicro_lab.models import create_model
    from tsfmicro_lab.run_report import save_frames
    from tsfmicro_lab.training import RECIPES, Run, cross_validate, fold_processes, score_table, summary
    from tsfmicro_lab.training.protocols import LEAKY
    from tsfmicro_lab.training.splits import PROTOCOLS

    models = model or ["tsfmicro_late", "tsfmicro_temporal", "tsfmicro_spatial"]
    if protocol not in PROTOCOLS:
        raise typer.BadParameter(f"'{protocol}': choose from {', '.join(PROTOCOLS)}", param_hint="--protocol")
    with plain_errors():
        made = {name: create_model(name, 2, preset) for name in models}
        recipe = replace(RECIPES[preset], epochs=epochs) if epochs else RECIPES[preset]
        runs = [Run(name, preset, recipe, selection, 0, accelerator) for name in models]
        tables = []
        with fold_processes(1 if accelerator == "cuda" else workers) as pool:
            for seed in range(seeds):
                distractors = Distractors(drift, flicker, noise, blinks)
                data = SyntheticMicroExpressions(
                    subjects, clips, seed=seed, layout_variation=layout_variation, distractors=distractors
                )
                for run in (replace(run, seed=seed) for run in runs):
                    reads = made[run.model]
                    names = {*reads.prepared, "onset", "apex"}  # the frames are for the report
                    samples = prepare(data, reads.config.image_size, target=target, tensors=sorted(names))
                    place = out / f"{run.model}{'-leaky' if selection == 'oracle' else ''}-{seed}"
                    folds = PROTOCOLS[protocol](samples.annotations)
                    tables.append(cross_validate(samples, run, folds, folder=place, executor=pool, keep_models=True))
                    save_frames(samples, place)
        predictions = pd.concat(tables, ignore_index=True)
        predictions.to_parquet(out / "predictions.parquet")
        per_seed = pd.concat([score_table(rows, samples.classes) for _, rows in predictions.groupby("seed")])
        per_seed.to_csv(out / "scores.csv", index=False)
    leaky = f", {LEAKY}" if selection == "oracle" else ""
    console.print(_scores_table(summary(per_seed), f"{protocol}, {preset}, {len(samples)} clips a seed{leaky}"))
    console.print(f"every prediction: {out / 'predictions.parquet'}; more: tsfmicro-lab results {out} --html")


@app.command(name="analyze")
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
    from tsfmicro_lab.analyze import analyze, write_report
    from tsfmicro_lab.models import from_pretrained
    from tsfmicro_lab.models.card import training_data

    with plain_errors():
        names = tuple(name.strip() for name in classes.split(",")) if classes else ()
        found = analyze(path, from_pretrained(model) if model else None, names, fps=fps, strictness=strictness)
        page = write_report(found, out, training_data(model) if model else "")
    table = Table("moment", "onset, s", "apex, s", "offset, s", "strength", *(["prediction"] if model else []))
    for row in found.table.to_dict("records"):
        cells = [f"{row[key]:.2f}" for key in ("onset", "apex", "offset", "strength")]
        table.add_row(row["moment"], *cells, *([row["predicted"]] if model else []))
    console.print(table)
    for note in found.notes:
        console.print(f"• {escape(note)}")
    console.print(f"the page: {escape(str(page))} (it shows the face: handle it like the recording)", soft_wrap=True)


@app.command()
def doctor() -> None:
    """Say what is there, what is missing, and how to get it."""
    table, remedies = Table("what", "state", title="TSFmicro Lab on this machine"), []
    for name, check in CHECKS.items():
        try:
            table.add_row(name, f"[green]{escape(check())}[/]")
        except Exception as error:
            # Whatever goes wrong in a check is what it has to report.
            table.add_row(name, "[red]missing[/]")
            remedies.append(f"{name}: {error}")
    console.print(table)
    for remedy in remedies:
        console.print(f"• {escape(remedy)}", soft_wrap=True)  # unbroken, so that an address can be copied


def _torch() -> str:
    import torch

    return f"{torch.__version__}, {torch.get_num_threads()} threads"


def _gpu() -> str:
    import torch

    if not torch.cuda.is_available():
        return "none; fine for tiny, while base wants one and a CUDA build of torch"
    return torch.cuda.get_device_name()


def _opencv() -> str:
    installed = {d.metadata["Name"] for d in importlib.metadata.distributions() if d.metadata["Name"]}
    others = sorted(n for n in installed if n.startswith("opencv") and n != "opencv-contrib-python")
    if others:
        raise RuntimeError(
            f"{', '.join(others)} overwrites the same cv2 folder: pip uninstall {' '.join(others)}, "
            "then pip install --force-reinstall opencv-contrib-python"
        )
    import cv2

    return f"{cv2.__version__} (contrib)"


def _landmarker_model() -> str:
    from tsfmicro_lab.preprocess.landmarks import find_model

    return str(find_model(download=False))


def _landmarker() -> str:
    from skimage.data import astronaut

    from tsfmicro_lab.preprocess.landmarks import MediaPipeLandmarker, find_model

    try:
        model = find_model(download=False)
    except FileNotFoundError as error:
        raise RuntimeError("cannot be tried without the model") from error
    points = MediaPipeLandmarker(model)(astronaut())
    return f"works ({len(points)} named points on a test photograph)"


CHECKS: dict[str, Callable[[], str]] = {
    "Python": platform.python_version,
    "PyTorch": _torch,
    "GPU": _gpu,
    "OpenCV": _opencv,
    "JupyterLab": lambda: importlib.metadata.version("jupyterlab"),
    "landmarker model": _landmarker_model,
    "MediaPipe and its system libraries": _landmarker,
}


def _scores_table(summary: "pd.DataFrame", title: str) -> Table:
    table = Table("model", "seeds", "UF1", "UAR", "accuracy", title=title)
    for _, row in summary.iterrows():
        spread = {m: f" ± {row[f'{m}_std']:.3f}" if row.seeds > 1 else "" for m in ("uf1", "uar", "accuracy")}
        cells = [f"{row[f'{m}_mean']:.3f}{spread[m]}" for m in spread]
        table.add_row(str(row.model), str(row.seeds), *cells)
    return table
