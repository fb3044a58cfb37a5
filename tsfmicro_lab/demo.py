"""The demo: the whole way from clips to maps of where and how, on data that need no licence, told on one page."""

import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from tsfmicro_lab.data.samples import Samples, prepare
from tsfmicro_lab.data.synthetic import SyntheticMicroExpressions
from tsfmicro_lab.explain.attribution import mass_inside, where_how
from tsfmicro_lab.explain.charts import confusion_chart, scores_chart, shares_chart
from tsfmicro_lab.explain.figures import clips_figure, where_how_figure
from tsfmicro_lab.models import from_pretrained
from tsfmicro_lab.preprocess.alignment import align_clip
from tsfmicro_lab.preprocess.landmarks import MediaPipeLandmarker
from tsfmicro_lab.reports import Report
from tsfmicro_lab.training import RECIPES, Recipe, Run, cross_validate, fold_processes, score_table
from tsfmicro_lab.training.cross_validation import model_folder, run_name
from tsfmicro_lab.training.predictions import write_predictions

MODELS = ("tsfmicro_late", "tsfmicro_temporal", "tsfmicro_spatial")


def run_demo(
    folder: Path | str = "build/demo",
    *,
    subjects: int = 8,
    clips_per_subject: int = 12,
    seed: int = 0,
    recipe: Recipe | None = None,
    workers: int | None = None,
) -> Path:
    """Runs the demo and writes its page, `index.html`, whose path it gives.

    Killed and started again, it goes on with the next fold. Started again after it finished, it begins anew. The recipe
    is that of the tiny preset by default; of the workers, which train, there is one per core.

    Raises:
        ValueError: The folder holds an `index.html` that is not a demo's.
    """
    page, recipe = Path(folder) / "index.html", recipe or RECIPES["tiny"]
    runs = [Run(model, "tiny", recipe, seed=seed) for model in MODELS]
    places = [page.parent / "runs" / run_name(run) for run in runs]
    if page.exists():
        _begin_anew(page, places)
    report = Report(page, "demo")
    with report.section("1 · Draw heads and move them"):
        data = SyntheticMicroExpressions(subjects, clips_per_subject, seed=seed)
        _show_clips(report, seed)
        samples = prepare(data, 56)
    with report.section("2 · Leave one subject out, three models"):
        late = _evaluate(report, samples, runs, workers)
    with report.section("3 · Where and how, against the truth"):
        _explain(report, data, samples, late, places[0])
    with report.section("4 · The same on a real photograph"):
        _photograph(report, samples, places[0])
    report.put(data=str(data), recipe=recipe)
    return report.write()


def _begin_anew(page: Path, runs: list[Path]) -> None:
    """Removes what a finished demo made, and nothing else: its page, and the folds and models of its runs."""
    if "<title>TSFmicro Lab: demo</title>" not in page.read_text(encoding="utf-8", errors="replace"):
        raise ValueError(f"{page} is not the page of a demo: give another folder")
    for run in runs:
        for fold in run.glob("folds/*.csv"):
            shutil.rmtree(model_folder(run, fold.stem), ignore_errors=True)
            fold.unlink()
        for name in ("run.json", "environment.json", "folds.jsonl"):
            (run / name).unlink(missing_ok=True)
    page.unlink()


def _show_clips(report: Report, seed: int) -> None:
    """The strongest clip of each clear emotion, without a blink."""
    data = SyntheticMicroExpressions(4, 12, image_size=224, seed=seed)
    table = data.annotations[~data.annotations.blink & (data.annotations.emotion != "others")]
    chosen = table.sort_values("amplitude").drop_duplicates("emotion", keep="last").index
    report.put(clips=clips_figure([align_clip(data[i], 224) for i in chosen]))


def _evaluate(report: Report, samples: Samples, runs: list[Run], workers: int | None) -> pd.DataFrame:
    """Predictions of the first run; those of all go to a file."""
    place = report.path.with_name("runs")
    with fold_processes(workers) as pool:
        predictions = cross_validate(samples, runs, folder=place, executor=pool, keep_models=True)
    write_predictions(predictions, report.path.with_name("predictions.csv"))
    table, first = score_table(predictions, samples.classes), predictions[predictions.model == runs[0].label]
    report.put(scores=scores_chart(table), confusion=confusion_chart(first, samples.classes))
    report.put(table=table.drop(columns="seed").rename(columns={"uf1": "UF1", "uar": "UAR"}))
    return first


def _explain(
    report: Report, data: SyntheticMicroExpressions, samples: Samples, predictions: pd.DataFrame, run: Path
) -> None:
    """Explains each clip with the model of the fold that held its subject out; shows some that were recognised."""
    maps, rows = [], []
    for i in tqdm(range(len(samples)), "attributing held-out clips"):
        clip = align_clip(data[i], samples.onset.shape[-1])
        assert clip.truth is not None
        model = from_pretrained(model_folder(run, samples.subjects[i]))
        heat = where_how(model, model.inputs_of(samples, [i]))
        maps.append(heat)
        where, _ = mass_inside(heat["onset"], clip.truth.moved)
        how, chance = mass_inside(heat["difference"], clip.truth.moved)
        rows.append([where, how, chance, heat.share("difference"), heat.completeness_error])
    columns = ["where", "how", "chance", "how_share", "completeness_error"]
    shares = predictions[["subject", "clip", "truth", "predicted"]].join(pd.DataFrame(rows, columns=columns))
    shares.to_csv(report.path.with_name("shares.csv"), index=False)
    right = shares.truth == shares.predicted
    mean = shares[columns].mean().to_dict()
    report.put(mean=mean, count=len(shares), correct=right.sum(), shares=shares_chart(shares))
    # The first that fit, not the best: up to three recognised clips and a missed one, of other subjects and emotions.
    hits = shares[right].drop_duplicates("subject").drop_duplicates("truth").index[:3]
    subject, truth = (shares[key].isin(shares[key][hits]).astype(int) for key in ("subject", "truth"))
    shown = [*hits, *(subject + truth)[~right].sort_values(kind="stable").index[:1]]
    large = [align_clip(data[i], 224) for i in shown]
    report.put(where_how=where_how_figure(large, [maps[i] for i in shown], samples.classes))


def _photograph(report: Report, samples: Samples, run: Path) -> None:
    """Moves NASA's portrait of the astronaut Eileen Collins (public domain) by a known action unit."""
    from skimage.data import astronaut

    from tsfmicro_lab.data.photographs import photograph

    try:
        landmarker, image = MediaPipeLandmarker(), astronaut()
        moving = photograph(image, landmarker(image), {"6": 2.0, "12": 3.0}, size=224)
    except (OSError, ImportError, ValueError) as error:
        report.put(photograph_missing=str(error))
        print(f"  no photograph: {error}")
        return
    # The landmarks are found anew on the rendered onset frame, as they would be on a real recording.
    clip = moving.clip("EP01", "photograph", "happiness")
    clip = replace(clip, landmarks=landmarker(clip.frame(clip.onset)))
    model, large = from_pretrained(model_folder(run, samples.subjects[0])), align_clip(clip, 224)
    maps = where_how(model, model.inputs_of(clip))
    report.put(photograph_prediction=samples.classes[maps.target], photograph=clips_figure([large]))
    report.put(photograph_map=where_how_figure([large], [maps], samples.classes))
