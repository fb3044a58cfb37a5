"""The demo: the whole way from clips to a where-how map, on data that need no licence, told on one page."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from rich.markup import escape

from tsfmicro_lab.data.moving_face import photograph
from tsfmicro_lab.data.samples import Samples, prepare
from tsfmicro_lab.data.synthetic import SyntheticMicroExpressions
from tsfmicro_lab.explain import WhereHow, clips_figure, mass_inside, where_how, where_how_figure
from tsfmicro_lab.explain.charts import confusion_chart, scores_chart, shares_chart
from tsfmicro_lab.models import from_pretrained
from tsfmicro_lab.models.base import STREAMS
from tsfmicro_lab.page import Page
from tsfmicro_lab.preprocess import MediaPipeLandmarker, align_clip
from tsfmicro_lab.progress import track
from tsfmicro_lab.training import RECIPES, Recipe, Run, cross_validate, fold_processes, score_table

MODELS = ("tsfmicro_late", "tsfmicro_temporal", "tsfmicro_spatial")
SHOWN = 4


def run_demo(
    folder: Path | str = "build/demo",
    *,
    subjects: int = 8,
    clips_per_subject: int = 12,
    seed: int = 0,
    recipe: Recipe | None = None,
    workers: int | None = None,
) -> Path:
    """Runs the demo and writes its page.

    Killed and started again, it goes on with the next fold. Started again after it finished, it begins anew.

    Args:
        folder: Where page, pictures and folds go.
        subjects: Synthetic subjects.
        clips_per_subject: Clips of each.
        seed: Of data and training.
        recipe: Training recipe; that of the tiny preset by default.
        workers: Processes that train; one per core by default.

    Returns:
        Path of `index.html`.
    """
    page = Page(Path(folder), "demo")
    if (page.folder / "index.html").exists():
        shutil.rmtree(page.folder / "runs", ignore_errors=True)
        (page.folder / "index.html").unlink()
    recipe = recipe or RECIPES["tiny"]
    with page.step("1 · Draw faces and move them"):
        data = SyntheticMicroExpressions(subjects, clips_per_subject, seed=seed)
        _show_clips(page, seed)
        samples = prepare(data, 56)
    with page.step("2 · Leave one subject out, three models"):
        predictions = _evaluate(page, samples, recipe, seed, workers)
    with page.step("3 · Where and how, against the truth"):
        _explain(page, data, samples, predictions)
    with page.step("4 · The same on a real photograph"):
        _photograph(page, samples.classes)
    page.content.update(
        data=str(data),
        recipe=recipe,
        seed=seed,
        device=f"{os.cpu_count()} CPU cores, torch {torch.__version__}",
    )
    path = page.write()
    for title, seconds in page.times.items():
        page.console.print(f"  {title}: {seconds:.0f} s")
    page.console.print(f"[bold green]The report is at {path}[/]")
    return path


def _show_clips(page: Page, seed: int) -> None:
    """One clip of each clear emotion, from a subject of its own, without a blink."""
    data = SyntheticMicroExpressions(SHOWN, 12, image_size=224, seed=seed)
    table = data.annotations[~data.annotations.blink & (data.annotations.emotion != "others")]
    chosen: list[int] = []
    for _, rows in table.groupby("subject"):
        fresh = rows[~rows.emotion.isin(table.emotion[chosen])]
        chosen.append(int((fresh if len(fresh) else rows).sort_values("amplitude").index.to_numpy()[-1]))
    page.picture("clips", clips_figure([align_clip(data[i], 224) for i in chosen]))


def _evaluate(page: Page, samples: Samples, recipe: Recipe, seed: int, workers: int | None) -> pd.DataFrame:
    tables = []
    with fold_processes(workers) as pool:
        for model in MODELS:
            run = Run(model, "tiny", recipe, "last", seed)
            place = page.folder / "runs" / model
            tables.append(cross_validate(samples, run, folder=place, executor=pool, keep_models=model == MODELS[0]))
    predictions = pd.concat(tables, ignore_index=True)
    predictions.to_parquet(page.folder / "predictions.parquet")
    table = score_table(predictions, samples.classes)
    page.chart("scores", scores_chart(table))
    page.chart("confusion", confusion_chart(predictions[predictions.model == MODELS[0]], samples.classes))
    page.content["table"] = table.to_dict("records")
    return predictions


def _explain(page: Page, data: SyntheticMicroExpressions, samples: Samples, predictions: pd.DataFrame) -> None:
    late = predictions[predictions.model == MODELS[0]].reset_index(drop=True)
    maps: list[WhereHow] = []
    rows = []
    for i in track(range(len(samples)), "attributing held-out clips"):
        clip = align_clip(data[i], samples.onset.shape[-1])
        assert clip.truth is not None
        attribution = _held_out_map(page.folder, samples, i)
        maps.append(attribution)
        inside = {stream: mass_inside(attribution[name], clip.truth.moved) for name, stream in STREAMS.items()}
        rows.append(
            {
                "clip": clip.id,
                "truth": late.truth[i],
                "predicted": late.predicted[i],
                "where": inside["where"][0],
                "how": inside["how"][0],
                "chance": inside["how"][1],
                "how_share": attribution.share("difference"),
                "completeness_error": attribution.completeness_error,
            }
        )
    shares = pd.DataFrame(rows)
    shares.to_csv(page.folder / "shares.csv", index=False)
    page.content["shares_mean"] = shares[["where", "how", "chance", "how_share", "completeness_error"]].mean().to_dict()
    page.content["correct"] = int((late.truth == late.predicted).sum())
    page.chart("shares", shares_chart(shares))
    shown = _shown_clips(shares)
    large = [align_clip(data[i], 224) for i in shown]
    page.picture("where_how", where_how_figure(large, [maps[i] for i in shown], samples.classes))


def _shown_clips(shares: pd.DataFrame) -> list[int]:
    """Three recognised clips and a missed one, of different subjects and emotions: the first that fit, not the best."""
    shown: list[int] = []
    subject = shares["clip"].str.split("/").str[0]
    for right in [True] * (SHOWN - 1) + [False]:
        fits = ((shares.truth == shares.predicted) == right) & ~subject.isin(subject[shown])
        fresh = fits & ~shares.truth.isin(shares.truth[shown])
        shown += [int(i) for i in shares.index[fresh if fresh.any() else fits][:1]]
    return shown


def _held_out_map(folder: Path, samples: Samples, i: int) -> WhereHow:
    """Explains a clip with the model of the fold that held its subject out."""
    model = from_pretrained(folder / "runs" / MODELS[0] / "models" / str(samples.subjects[i]))
    return where_how(model, model.inputs_of(samples, [i]))


def _photograph(page: Page, classes: tuple[str, ...]) -> None:
    """Moves NASA's portrait of the astronaut Eileen Collins (public domain) by a known action unit."""
    from skimage.data import astronaut

    try:
        landmarker = MediaPipeLandmarker()
        image = astronaut()
        moving = photograph(image, landmarker(image), {"6": 2.0, "12": 3.0}, size=224)
    except (OSError, ImportError, ValueError) as error:
        page.content["photograph_missing"] = str(error)
        page.console.print(f"  no photograph: {escape(str(error))}")
        return
    # The landmarks are found anew on the rendered onset frame, as they would be on a real recording.
    clip = moving.clip("EP01", "photograph", "happiness")
    clip = replace(clip, landmarks=landmarker(clip.frame(clip.onset)))
    page.picture("photograph", clips_figure([align_clip(clip, 224)]))
    model = from_pretrained(sorted((page.folder / "runs" / MODELS[0] / "models").iterdir())[0])
    maps = where_how(model, model.inputs_of(clip))
    page.content["photograph_prediction"] = classes[maps.target]
    page.picture("photograph_map", where_how_figure([align_clip(clip, 224)], [maps], classes))
