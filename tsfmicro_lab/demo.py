"""The demo: the whole way from clips to maps of where and how, on data that need no licence, told on one page."""

from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from tsfmicro_lab.data.samples import Samples, prepare
from tsfmicro_lab.data.schema import Dataset
from tsfmicro_lab.data.synthetic import SyntheticMicroExpressions
from tsfmicro_lab.explain import clips_figure, explain_all, mass_inside, where_how, where_how_figure
from tsfmicro_lab.explain.charts import confusion_chart, scores_chart, shares_chart
from tsfmicro_lab.files import check_own, write_text
from tsfmicro_lab.models import Recognizer, from_pretrained
from tsfmicro_lab.preprocess import MediaPipeLandmarker, align_clip
from tsfmicro_lab.reports import Report
from tsfmicro_lab.training import RECIPES, Recipe, Run, cross_validate, fold_processes, score_table
from tsfmicro_lab.training.predictions import write_predictions
from tsfmicro_lab.training.protocols import prediction_table
from tsfmicro_lab.training.splits import subject_k_fold

#: What tells the page of a demo, and so its folder.
TITLE = "<title>TSFmicro Lab: demo</title>"


def run_demo(
    folder: Path | str = "build/demo",
    *,
    subjects: int = 6,
    clips_per_subject: int = 12,
    seed: int = 0,
    recipe: Recipe | None = None,
    train: str = "tsfmicro_late",
    workers: int | None = None,
) -> Path:
    """Runs the demo and writes its page, `index.html`, whose path it gives.

    What the shipped models do is on the page before a model is trained, which takes longest.

    Args:
        folder: Of the page.
        subjects: Synthetic subjects.
        clips_per_subject: Clips of each.
        seed: Of the heads and of the training.
        recipe: Of the training; that of the tiny preset by default.
        train: Name of the model that is trained, on two thirds of the subjects at a time; empty for none.
        workers: Processes that explain and train; one per core by default.

    Raises:
        ValueError: The folder holds files and no page of a demo, or no model has that name.
    """
    page, run = Path(folder) / "index.html", Run(train or "tsfmicro_late", recipe=recipe or RECIPES["tiny"], seed=seed)
    run.create(2)  # an unknown name is told before anything is drawn
    if not page.is_file() or TITLE not in page.read_text("utf-8", errors="replace"):
        check_own(page.parent, "a demo", False, *(path.name for path in sorted(page.parent.glob("[!.]*"))))
        write_text(page, TITLE)
    report, model = Report(page, "demo"), from_pretrained("where_how")
    with report.section("1 · Draw heads and move them"):
        data = SyntheticMicroExpressions(subjects, clips_per_subject, seed=seed)
        _show_clips(report, seed)
    with fold_processes(workers) as pool:
        with report.section("2 · Recognise people that no model has seen"):
            samples = prepare(data, model.config.image_size)
            if samples.classes != model.config.classes:
                raise ValueError("not every emotion was drawn: give more subjects or clips")
            tables = [_shipped(data, from_pretrained("emotions"), seed)]
            _score(report, tables, samples.classes)
        with report.section("3 · Where and how, against the truth"):
            _explain(report, data, samples, model, pool)
        with report.section("4 · The same on a real photograph"):
            _photograph(report, samples, model)
        print(f"  the page so far: {report.put(data=str(data), recipe=run.recipe).write()}")
        if train:
            with report.section(f"5 · Train {train} on these clips"):
                folds = subject_k_fold(samples.annotations, folds=min(3, subjects))
                tables.append(cross_validate(samples, run, folds, executor=pool))
                _score(report.put(trained=train, folds=len(folds)), tables, samples.classes)
    return report.write()


def _score(report: Report, tables: list[pd.DataFrame], classes: tuple[str, ...]) -> None:
    """Puts the scores of all models into the page, and what the first takes for what."""
    write_predictions(predictions := pd.concat(tables, ignore_index=True), report.path.with_name("predictions.csv"))
    table = score_table(predictions, classes)
    report.put(scores=scores_chart(table), confusion=confusion_chart(tables[0], classes))
    report.put(table=table.drop(columns="seed").rename(columns={"uf1": "UF1", "uar": "UAR"}))


def _show_clips(report: Report, seed: int) -> None:
    """The strongest clip of each clear emotion, without a blink."""
    data = SyntheticMicroExpressions(4, 12, image_size=224, seed=seed)
    table = data.annotations[~data.annotations.blink & (data.annotations.emotion != "others")]
    chosen = table.sort_values("amplitude").drop_duplicates("emotion", keep="last").index
    report.put(clips=clips_figure([align_clip(data[i], 224) for i in chosen]))


def _shipped(data: SyntheticMicroExpressions, model: Recognizer, seed: int) -> pd.DataFrame:
    """What a shipped model predicts."""
    samples = prepare(data, model.config.image_size, tensors=model.prepared)
    return prediction_table(model, samples, np.arange(len(samples))).assign(model="emotions, as shipped", seed=seed)


def _explain(report: Report, data: Dataset, samples: Samples, model: Recognizer, pool: Executor) -> None:
    """Explains each clip; shows some that were recognised."""
    explained, rows = explain_all(model, samples, range(len(samples)), executor=pool), []
    for i, heat in enumerate(maps := list(tqdm(explained, "attributing clips", len(samples)))):
        clip = align_clip(data[i], samples.onset.shape[-1])
        assert clip.truth is not None
        where, _ = mass_inside(heat["onset"], clip.truth.moved)
        how, chance = mass_inside(heat["difference"], clip.truth.moved)
        said = [samples.names(samples.label[[i]])[0], samples.classes[heat.target]]
        found = [where, how, chance, heat.share("difference"), heat.completeness_error]
        rows.append([clip.subject, clip.name, *said, *found])
    columns = ["where", "how", "chance", "how_share", "completeness_error"]
    shares = pd.DataFrame(rows, columns=["subject", "clip", "truth", "predicted", *columns])
    write_text(report.path.with_name("shares.csv"), shares.to_csv(index=False))
    right = shares.truth == shares.predicted
    report.put(mean=shares[columns].mean().to_dict(), count=len(shares), correct=right.sum())
    # The first that fit, not the best: up to three recognised clips and a missed one, of other subjects and emotions.
    hits = shares[right].drop_duplicates("subject").drop_duplicates("truth").index[:3]
    subject, truth = (shares[key].isin(shares[key][hits]).astype(int) for key in ("subject", "truth"))
    shown = [*hits, *(subject + truth)[~right].sort_values(kind="stable").index[:1]]
    figure = where_how_figure([align_clip(data[i], 224) for i in shown], [maps[i] for i in shown], samples.classes)
    report.put(shares=shares_chart(shares), where_how=figure)


def _photograph(report: Report, samples: Samples, model: Recognizer) -> None:
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
    large, maps, emotions = align_clip(clip, 224), where_how(model, model.inputs_of(clip)), from_pretrained("emotions")
    report.put(photograph_prediction=emotions.tell(emotions.logits(clip))[0], photograph=clips_figure([large]))
    report.put(photograph_map=where_how_figure([large], [maps], samples.classes))
