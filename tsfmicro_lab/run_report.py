"""One page about a run, with the clips that it missed."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from tsfmicro_lab.clips import Clip
from tsfmicro_lab.data.samples import Samples
from tsfmicro_lab.data.tensors import PREPARED
from tsfmicro_lab.explain import WhereHow, where_how, where_how_figure
from tsfmicro_lab.explain.charts import confusion_chart, folds_chart, reliability_chart
from tsfmicro_lab.models import from_pretrained
from tsfmicro_lab.page import Page
from tsfmicro_lab.results import MAX_BYTES, Result
from tsfmicro_lab.training import calibration, class_table
from tsfmicro_lab.training.protocols import KEY, LEAKY, samples_digest
from tsfmicro_lab.training.statistics import card_scores


def explain_clip(result: Result, samples: Samples, row: pd.Series) -> tuple[Clip, WhereHow | None]:
    """A clip of a run with the map of the model that never saw its subject.

    Args:
        result: The run.
        samples: The clips it was evaluated on.
        row: Of its predictions.

    Returns:
        (Onset and apex as a clip; the map, or None where no model was kept or it has one stream only.)

    Raises:
        ValueError: The samples are not those of the run.
    """
    digest = result.about.get("samples")
    if digest != samples_digest(samples):
        raise ValueError(f"{result.name} was evaluated on other samples than these")
    i = int(np.flatnonzero((samples.table[KEY] == row[KEY]).all(axis=1))[0])
    frames = [x[i].permute(1, 2, 0).numpy() for x in (samples.onset, samples.apex)]
    clip = Clip(str(row["clip"]), row.subject, frames, 0, 1, 1, emotion=row.truth)
    folder = result.folder / "models" / str(row.fold)
    if not folder.is_dir():
        return clip, None
    model = from_pretrained(folder)
    if not {"onset", "difference"} <= set(model.input_names):
        return clip, None
    return clip, where_how(model, model.inputs_of(samples, [i]))


def missed_figure(result: Result, samples: Samples, most: int = 4) -> Figure | None:
    """The surest mistakes of a run with their maps, or None where there are none.

    Args:
        result: The run.
        samples: The clips it was evaluated on.
        most: How many to draw.
    """
    pairs = [explain_clip(result, samples, row) for _, row in result.missed.head(most).iterrows()]
    shown = [(clip, heat) for clip, heat in pairs if heat is not None]
    return where_how_figure([c for c, _ in shown], [h for _, h in shown], result.classes) if shown else None


def write_report(result: Result, folder: Path | None = None, samples: Samples | None = None) -> Path:
    """One page about a run that opens offline.

    Args:
        result: The run.
        folder: Where the page goes; beside the run by default.
        samples: Its clips, to show those that were missed. Faces of licensed recordings would then be in the page.

    Returns:
        Path of `report.html`.
    """
    page = Page(folder or result.folder, "run", name="report")
    table, run = result.predictions, result.about.get("run", {})
    facts = {
        name: run.get(name) for name in ("model", "preset", "settings", "selection", "seed", "recipe") if run.get(name)
    }
    facts["selection"] = LEAKY if result.leaky else facts.get("selection", "not told")
    facts |= {"data": result.about.get("data") or "not told", "clips": len(table), "subjects": len(set(table.subject))}
    page.content.update(title=result.name, leaky=result.leaky, facts=facts, scores=card_scores(table, result.classes))
    page.content["classes"] = class_table(table, result.classes).round(3).to_html(index=False, border=0)
    missed = result.missed.round(2).drop(columns=["model", "seed", "selection", "candidate", "fold"], errors="ignore")
    page.content["missed"] = missed.to_html(index=False, border=0)
    if not result.units:
        page.chart("folds", folds_chart(table, result.classes))
        page.chart("confusion", confusion_chart(table, result.classes))
    if not result.units and table.columns.str.startswith("p_").any():
        bins, page.content["ece"] = calibration(table)
        page.chart("reliability", reliability_chart(bins))
    if samples is not None and (figure := missed_figure(result, samples)):
        page.picture("maps", figure)
    return page.write()


def save_frames(samples: Samples, folder: Path) -> None:
    """Keeps what models read beside runs, so that missed clips can be shown later. Not for licensed recordings."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {name: x.numpy() for name, x in samples.tensors.items()}
    np.savez_compressed(folder / "frames.npz", **arrays)


def load_frames(result: Result) -> Samples | None:
    """What :func:`save_frames` kept beside a run, or None."""
    path = result.folder / "frames.npz"
    if not path.is_file() or path.stat().st_size > 16 * MAX_BYTES:
        return None
    with np.load(path, allow_pickle=False) as kept:
        tensors = {name: torch.from_numpy(kept[name]) for name in PREPARED if name in kept}
    table = result.predictions.drop_duplicates(KEY).reset_index(drop=True)
    if not tensors or any(len(x) != len(table) for x in tensors.values()):
        return None
    return Samples(tensors, torch.zeros(len(table), dtype=torch.int64), result.classes, table[KEY])
