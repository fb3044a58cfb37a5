"""Held-out clips put to every attribution method: scores against the truth, sanity checks, a planted shortcut.

These are the parts of :mod:`studies.trust`, which repeats them over seeds and takes means.
"""

import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

from studies import sanity
from studies.counterfactual import unit_effects
from tsfmicro_lab.clips import Clip
from tsfmicro_lab.data import Samples, SyntheticMicroExpressions
from tsfmicro_lab.explain import truth
from tsfmicro_lab.explain.attribution import WhereHow, mass_inside, where_how
from tsfmicro_lab.explain.methods import METHODS, Mask
from tsfmicro_lab.explain.regions import clip_regions
from tsfmicro_lab.models import Recognizer, from_pretrained
from tsfmicro_lab.models.base import STREAMS
from tsfmicro_lab.preprocess import align_clip
from tsfmicro_lab.training import Run, fit, leave_one_subject_out, predict
from tsfmicro_lab.training.cross_validation import model_folder

#: The class whose clips bear the planted mark.
MARKED = "disgust"


@dataclass(frozen=True)
class Case:
    """A held-out clip with the model that never saw its subject.

    Attributes:
        model: The model.
        clip: Aligned.
        inputs: Normalised onset and difference.
        regions: Of its action units.
        row: What tells it from others in the tables.
    """

    model: Recognizer
    clip: Clip
    inputs: dict[str, Tensor]
    regions: Mapping[str, Mask]
    row: dict[str, Any]

    def explain(self, method: str, target: int, model: Recognizer | None = None) -> WhereHow:
        """The maps of one method, or of a control that does not look at the model."""
        if method in CONTROLS:
            return WhereHow(dict(zip(STREAMS, CONTROLS[method](self.inputs), strict=True)), target, method)
        return self.explain_other(method, target, self.inputs, model)

    def explain_other(
        self, method: str, target: int, inputs: Mapping[str, Tensor], model: Recognizer | None = None
    ) -> WhereHow:
        """The maps of one method for other inputs."""
        return where_how(model or self.model, inputs, target, method, regions=self.regions)


def _random(inputs: Mapping[str, Tensor]) -> tuple[np.ndarray, np.ndarray]:
    seed = zlib.crc32(inputs["onset"].numpy().tobytes())  # other noise for each clip
    noise = np.random.default_rng(seed).normal(size=(2, *inputs["onset"].shape[-2:])).astype(np.float32)
    return noise[0], noise[1]


def _edges(inputs: Mapping[str, Tensor]) -> tuple[np.ndarray, np.ndarray]:
    face = inputs["onset"][0].mean(0).numpy()
    edges = np.hypot(cv2.Sobel(face, cv2.CV_32F, 1, 0), cv2.Sobel(face, cv2.CV_32F, 0, 1))
    return edges, edges


def _input(inputs: Mapping[str, Tensor]) -> tuple[np.ndarray, np.ndarray]:
    return inputs["onset"][0].abs().sum(0).numpy(), inputs["difference"][0].abs().sum(0).numpy()


#: Maps that never saw a model: a method that scores no higher has shown nothing.
CONTROLS: dict[str, Callable[[Mapping[str, Tensor]], tuple[np.ndarray, np.ndarray]]] = {
    "random": _random,
    "edges": _edges,
    "input": _input,
}


def cases(data: SyntheticMicroExpressions, samples: Samples, place: Path, explained: int) -> Iterator[Case]:
    """The first clips of every subject, each with the model of the fold that held the subject out."""
    for subject in np.unique(samples.subjects):
        model = from_pretrained(model_folder(place, subject))
        for i in np.flatnonzero(samples.subjects == subject)[:explained].tolist():
            yield case(data, samples, i, model)


def case(data: SyntheticMicroExpressions, samples: Samples, i: int, model: Recognizer) -> Case:
    """One clip and the model that is to explain it."""
    clip = align_clip(data[i], samples.onset.shape[-1])
    about = {"subject": clip.subject, "clip": clip.name, "index": i}
    return Case(model, clip, model.inputs_of(samples, [i]), clip_regions(clip), about)


def score_clips(
    data: SyntheticMicroExpressions, samples: Samples, place: Path, explained: int, fully: bool
) -> pd.DataFrame:
    """Every method's maps of held-out clips, scored.

    Args:
        data: The clips.
        samples: Prepared from them.
        place: Folder of `cross_validate`, with models.
        explained: Clips of each subject.
        fully: Also deletion, insertion, infidelity and, for one clip of each subject, sensitivity.

    Returns:
        A row per clip, method and stream (`where`, `how`, `both`, and `unit` for each action unit that moved).
    """
    rows: list[dict[str, Any]] = []
    everyone = list(cases(data, samples, place, explained))
    for number, one in enumerate(tqdm(everyone, "scoring maps")):
        target = int(predict(one.model, samples, np.array([one.row["index"]])).argmax())
        effects = unit_effects(one.model, data.moving_face(one.row["index"]), target, units=one.clip.action_units)
        about = {**one.row, "right": target == int(samples.label[one.row["index"]])}
        for method in (*METHODS, *CONTROLS):
            about_map = {**about, "method": method}
            began = time.perf_counter()
            try:
                maps = one.explain(method, target)
            except ValueError:
                if method != "DeepLift":
                    raise
                rows.append({**about_map, "stream": "both", "refused": 1.0})
                continue
            both = {"seconds": time.perf_counter() - began, "refused": 0.0, "how_share": maps.share("difference")}
            both["completeness"] = maps.completeness_error
            if fully and number % explained == 0 and method not in CONTROLS:
                both["sensitivity"] = sanity.sensitivity(
                    partial(one.explain_other, method, target), one.inputs, count=2
                )
            rows += [{**about_map, "stream": "both", **both}, *_score(one, maps, about_map, fully)]
            how = maps["difference"]
            for unit in effects.to_dict("records"):
                region = one.regions[unit["unit"]]
                share, area = mass_inside(how, region)
                found = {"mass": share, "area": area, "pointing": truth.pointing(how, region)}
                found["claimed"] = float(how[region].sum())
                rows.append({**about_map, "stream": "unit", **{str(k): v for k, v in unit.items()}, **found})
    return pd.DataFrame(rows)


def _score(one: Case, maps: WhereHow, about: dict[str, Any], fully: bool) -> list[dict[str, Any]]:
    """A row for each stream, and one for both."""
    assert one.clip.truth is not None
    rows = []
    for name, stream in STREAMS.items():
        found = truth.truth_scores(maps[name], one.clip.truth)
        if fully:
            deletion, insertion = truth.perturbation_curves(one.model, one.inputs, maps, name, points=11)
            found |= {"deletion": float(deletion.mean()), "insertion": float(insertion.mean())}
        rows.append({**about, "stream": stream, **found})
    if fully:
        infidelity = truth.relative_infidelity(one.model, one.inputs, maps, count=16)
        rows.append({**about, "stream": "both", "infidelity": infidelity})
    return rows


def shuffled_labels(samples: Samples, seed: int = 0) -> Samples:
    """The same samples with their labels permuted: a model can learn them only by heart."""
    order = np.random.default_rng(seed).permutation(len(samples))
    return replace(samples, label=samples.label[torch.from_numpy(order)])


def randomise(data: SyntheticMicroExpressions, samples: Samples, place: Path, run: Run, clips: int = 3) -> pd.DataFrame:
    """Maps of the first subject's clips before and after something is done to the model that should change them."""
    fold = leave_one_subject_out(samples.annotations)[0]
    model = from_pretrained(model_folder(place, fold.name))
    others = dict(sanity.cascade(model))
    for name, labels in (("another seed", samples), ("random labels", shuffled_labels(samples))):
        others[name] = run.create(len(samples.classes), seed=run.seed + 1000)
        fit(others[name], labels, fold.train, run.recipe, seed=run.seed + 1000)
    others["shifted inputs"] = sanity.shifted(model)
    rows = []
    for i in fold.test[:clips].tolist():
        one = case(data, samples, i, model)
        target = int(predict(model, samples, np.array([i])).argmax())
        moved = {"onset": one.inputs["onset"] + 1.0, "difference": one.inputs["difference"] + 0.5}
        for method in METHODS:
            if method == "DeepLift":
                continue
            plain = one.explain(method, target)
            for check, other in others.items():
                inputs = moved if check == "shifted inputs" else one.inputs
                similar = sanity.similarity(plain, one.explain_other(method, target, inputs, other))
                rows.append({**one.row, "method": method, "check": check, "similarity": similar})
    return pd.DataFrame(rows)


def shortcut(data: SyntheticMicroExpressions, samples: Samples, run: Run, clips: int = 4) -> pd.DataFrame:
    """A model trained with the mark, asked about clips that do not show the class: with the mark and without."""
    fold, label = leave_one_subject_out(samples.annotations)[0], samples.classes.index(MARKED)
    model = run.create(len(samples.classes), seed=run.seed)
    fit(model, sanity.plant(samples, MARKED), fold.train, run.recipe, seed=run.seed)
    marked = samples.with_tensors(**{name: sanity.draw_mark(samples[name]) for name in ("onset", "apex")})
    innocent = fold.test[samples.label.numpy()[fold.test] != label]
    mark, rows = sanity.mark_region(samples.onset.shape[-1]), []
    for bears, pixels in ((True, marked), (False, samples)):
        p = predict(model, pixels, innocent)
        fooled = float((p.argmax(1) == label).mean())
        for i in innocent[:clips].tolist():
            one = case(data, pixels, i, model)
            for method in (*METHODS, "edges", "input"):
                if method == "DeepLift":
                    continue
                maps = one.explain(method, label)
                for name, stream in STREAMS.items():
                    heat = maps[name]
                    share, area = mass_inside(heat, mark)
                    found = {"mass": share, "area": area, "pointing": truth.pointing(heat, mark), "fooled": fooled}
                    rows.append({**one.row, "method": method, "stream": stream, "marked": bears, **found})
    return pd.DataFrame(rows)
