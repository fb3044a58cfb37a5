"""The demo: the whole way from clips to maps of where and how, on data that need no licence, told on one page."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from tsfmicro_lab.data.samples import Samples, prepare
from tsfmicro_lab.data.synthetic import SyntheticMicroExpressions
from tsfmicro_lab.explain import clips_figure, mass_inside, where_how, where_how_figure
from tsfmicro_lab.explain.charts import confusion_chart, scores_chart, shares_chart
from tsfmicro_lab.models import Recognizer, from_pretrained
from tsfmicro_lab.preprocess import MediaPipeLandmarker, align_clip
from tsfmicro_lab.reports import Report
from tsfmicro_lab.training import RECIPES, Recipe, Run, cross_validate, fold_processes, score_table
from tsfmicro_lab.training.predictions import write_predictions
from tsfmicro_lab.training.protocols import prediction_table


def run_demo(
    folder: Path | str = "build/demo",
    *,
    subjects: int = 6,
    clips_per_subject: int = 12,
    seed: int = 0,
    recipe: Recipe | None = None,
    workers: int | None = None,
) -> Path:
    """Runs the demo and writes its page, `index.html`, whose path it gives.

    The recipe is that of the tiny preset by default; of the workers, which train, there is one per core.

    Raises:
        ValueError: The folder holds an `index.html` that is not a demo's.
    """
    page, recipe = Path(folder) / "index.html", recipe or RECIPES["tiny"]
    if page.exists() and "<title>TSFmicro Lab: demo</title>" not in page.read_text("utf-8", errors="replace"):
        raise ValueError(f"{page} is not the page of a demo: give another folder")
    report = Report(page, "demo")
    with report.section("1 · Draw heads and move them"):
        data = SyntheticMicroExpressions(subjects, clips_per_subject, seed=seed)
        _show_clips(report, seed)
    with report.section("2 · Recognise people that no model has seen"):
        shipped = _shipped(data, from_pretrained("emotions"), seed)
        samples = prepare(data, 56)
        with fold_processes(workers) as pool:
            trained = cross_validate(samples, Run(recipe=recipe, seed=seed), executor=pool)
        predictions = pd.concat([shipped, trained], ignore_index=True)
        write_predictions(predictions, page.with_name("predictions.csv"))
        table = score_table(predictions, samples.classes)
        report.put(scores=scores_chart(table), confusion=confusion_chart(shipped, samples.classes))
        report.put(table=table.drop(columns="seed").rename(columns={"uf1": "UF1", "uar": "UAR"}))
    with report.section("3 · Where and how, against the truth"):
        _explain(report, data, samples, model := from_pretrained("where_how"))
    with report.section("4 · The same on a real photograph"):
        _photograph(report, samples, model)
    report.put(data=str(data), recipe=recipe)
    return report.write()


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


def _explain(report: Report, data: SyntheticMicroExpressions, samples: Samples, model: Recognizer) -> None:
    """Explains each clip; shows some that were recognised."""
    maps, rows = [], []
    for i in tqdm(range(len(samples)), "attributing clips"):
        clip = align_clip(data[i], samples.onset.shape[-1])
        assert clip.truth is not None
        maps.append(heat := where_how(model, model.inputs_of(samples, [i])))
        where, _ = mass_inside(heat["onset"], clip.truth.moved)
        how, chance = mass_inside(heat["difference"], clip.truth.moved)
        said = [samples.names(samples.label[[i]])[0], samples.classes[heat.target]]
        found = [where, how, chance, heat.share("difference"), heat.completeness_error]
        rows.append([clip.subject, clip.name, *said, *found])
    columns = ["where", "how", "chance", "how_share", "completeness_error"]
    shares = pd.DataFrame(rows, columns=["subject", "clip", "truth", "predicted", *columns])
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
