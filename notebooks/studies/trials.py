"""Clips of new subjects put to every attribution method: scores against the truth, sanity checks, a planted shortcut.

These are the parts of :mod:`studies.trust`, which repeats them over seeds and takes means. Each works for one subject,
in any process, and leaves one table.
"""

import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from studies import sanity, truth
from studies.counterfactual import unit_effects
from studies.infidelity import relative_infidelity
from tsfmicro_lab.clips import Clip
from tsfmicro_lab.data import Distractors, Samples, SyntheticMicroExpressions, prepare
from tsfmicro_lab.explain.attribution import WhereHow, mass_inside, where_how
from tsfmicro_lab.explain.methods import METHODS, Mask
from tsfmicro_lab.explain.regions import clip_regions, shared_out
from tsfmicro_lab.models import Recognizer, from_pretrained
from tsfmicro_lab.models.base import STREAMS, to_inputs
from tsfmicro_lab.preprocess import align_clip
from tsfmicro_lab.training import Run, fit

#: The class whose clips bear the planted mark.
MARKED = "disgust"
#: Distractors of the clips that are trained on and explained.
DISTRACTORS = {"none": Distractors.none(), "all": Distractors()}
#: Added to a seed for the faces that are explained, so that they are other people than those trained on.
NEW = 500
#: Added to a seed for models that are to differ by their seed alone.
OTHER = 1000
#: The models of each seed, by what they were trained on.
HONEST, CHEAT, TWIN, NONSENSE = "as it is", "with the mark", "another seed", "random labels"
IMPUTATIONS = ("zero", "linear", "another clip")
#: Points of a deletion curve, and perturbations of an infidelity: fewer than by default, for time.
POINTS, PERTURBATIONS = 6, 12


@dataclass(frozen=True)
class Setting:
    """One seed on clips of one kind: who is trained on, who is explained, and where models and tables are kept.

    Attributes:
        distractors: `none` or `all`.
        seed: Of faces, clips and parameters.
        run: What is trained, and how.
        subjects, clips: Synthetic subjects that are trained on, and clips of each.
        new, explained: Subjects that are explained, and clips of each.
        folder: Of the study.
        trained: A folder of models that were trained before, if any: `none-0`, `all-0` and so on.
    """

    distractors: str
    seed: int
    run: Run
    subjects: int
    clips: int
    new: int
    explained: int
    folder: Path
    trained: Path | None = None

    @property
    def place(self) -> Path:
        """Where the models and tables of this seed are kept: another size has another place."""
        size = f"{self.subjects}x{self.clips}-{self.new}x{self.explained}-{self.run.recipe.epochs}"
        return self.folder / size / f"{self.distractors}-{self.seed}"

    def samples(self, workers: int | None) -> Samples:
        """What is trained on; drawn once, by several processes, and kept."""
        data = SyntheticMicroExpressions(
            self.subjects, self.clips, seed=self.seed, distractors=DISTRACTORS[self.distractors]
        )
        size = self.run.create(2).config.image_size
        return prepare(data, size, folder=self.place / "samples", workers=workers, progress=False)

    @property
    def faces(self) -> SyntheticMicroExpressions:
        """What is explained: clips of people that no model has seen."""
        return _faces(self.new, self.explained, self.seed + NEW, self.distractors)

    def model(self, kind: str = HONEST) -> Recognizer:
        """A trained model, on the CPU."""
        return from_pretrained(self._model_folder(kind))

    def _model_folder(self, kind: str) -> Path:
        if kind == HONEST and self.trained:
            return self.trained / f"{self.distractors}-{self.seed}"
        return self.place / "models" / kind.replace(" ", "-")

    def lacks(self, kind: str) -> bool:
        """Whether a model has not been trained yet."""
        return not self._model_folder(kind).exists()

    def train(self, kind: str, samples: Samples) -> None:
        """Trains a model on the samples and keeps it."""
        target, seed = self._model_folder(kind), self.seed + (OTHER if kind in (TWIN, NONSENSE) else 0)
        if kind == CHEAT:
            samples = sanity.plant(samples, MARKED)
        if kind == NONSENSE:
            samples = shuffled_labels(samples)
        model = self.run.create(len(samples.classes), seed=seed)
        fit(model, samples, np.arange(len(samples)), self.run.recipe, seed=seed)
        model.config = replace(model.config, classes=samples.classes)
        unfinished = target.with_name(f"{target.name}.part")
        model.save_pretrained(unfinished)
        unfinished.rename(target)

    def cases(self, subject: str, model: Recognizer, count: int | None = None) -> Iterator["Case"]:
        """The first clips of a new subject, to be explained by a model."""
        rows = np.flatnonzero(self.faces.annotations.subject == subject)[:count]
        return (case(self.faces, int(i), model) for i in rows)


@cache
def _faces(subjects: int, clips: int, seed: int, distractors: str) -> SyntheticMicroExpressions:
    return SyntheticMicroExpressions(subjects, clips, seed=seed, distractors=DISTRACTORS[distractors])


def shuffled_labels(samples: Samples, seed: int = 0) -> Samples:
    """The same samples with their labels permuted: a model can learn them only by heart."""
    order = np.random.default_rng(seed).permutation(len(samples))
    return replace(samples, label=samples.label[torch.from_numpy(order)])


@dataclass(frozen=True)
class Case:
    """A clip of somebody new with the model that is explained.

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

    @property
    def predicted(self) -> int:
        """The class that the model gives it."""
        with torch.no_grad():
            return int(self.model(**self.inputs).argmax())

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


def case(data: SyntheticMicroExpressions, i: int, model: Recognizer) -> Case:
    """One clip and the model that is to explain it."""
    clip, inputs, regions = _rendered(data, i, model.config.image_size)
    return Case(model, clip, inputs, regions, {"subject": clip.subject, "clip": clip.name, "index": i})


@lru_cache(maxsize=32)
def _rendered(data: SyntheticMicroExpressions, i: int, size: int) -> tuple[Clip, dict[str, Tensor], dict[str, Mask]]:
    clip = align_clip(data[i], size)
    onset, apex = (torch.from_numpy(clip.frame(f)).permute(2, 0, 1)[None] for f in clip.key_frames)
    return clip, to_inputs(onset, apex), clip_regions(clip)


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


def score_clips(setting: Setting, subject: str, count: int | None = None) -> pd.DataFrame:
    """Every method's maps of a new subject's clips, scored.

    Deletion, insertion and infidelity are measured with each of :data:`IMPUTATIONS`; other clips' pixels are those of
    the next subject's. Sensitivity is measured on the first clip, where there are no distractors.

    Returns:
        A row per clip, method and stream (`where`, `how`, `both`, and `unit` for each action unit that moved).
    """
    rows: list[dict[str, Any]] = []
    model, data = setting.model(), setting.faces
    for number, one in enumerate(setting.cases(subject, model, count)):
        i, target = one.row["index"], one.predicted
        effects = unit_effects(model, data.moving_face(i), target, units=one.clip.action_units)
        other = case(data, (i + setting.explained) % len(data), model).inputs
        imputations: dict[str, truth.Imputation] = {"zero": "zero", "linear": "linear", "another clip": other}
        about = {**one.row, "right": model.config.classes[target] == one.clip.emotion}
        for method in (*METHODS, *CONTROLS):
            about_map = {**about, "method": method}
            both, began = {"refused": 0.0}, time.perf_counter()
            try:
                maps = one.explain(method, target)
                both["seconds"] = time.perf_counter() - began
                if setting.distractors == "none" and number == 0 and method not in CONTROLS:
                    again = partial(one.explain_other, method, target)
                    both["sensitivity"] = sanity.sensitivity(again, one.inputs, count=2)
            except ValueError:  # it fits one clip by luck, and a neighbour of it not
                if method != "DeepLift":
                    raise
                rows.append({**about_map, "stream": "both", "refused": 1.0})
                continue
            both |= {"how_share": maps.share("difference"), "completeness": maps.completeness_error}
            rows += [{**about_map, **found} for found in _score(one, maps, both, imputations)]
            rows += [{**about_map, "stream": "unit", **found} for found in _score_units(one, maps, effects)]
    return pd.DataFrame(rows)


def _score(
    one: Case, maps: WhereHow, both: dict[str, float], imputations: Mapping[str, truth.Imputation]
) -> list[dict[str, Any]]:
    """A row for each stream, and one for both."""
    assert one.clip.truth is not None
    rows = []
    for name, stream in STREAMS.items():
        found = truth.truth_scores(maps[name], one.clip.truth)
        for label, imputation in imputations.items():
            curves = truth.perturbation_curves(one.model, one.inputs, maps, name, POINTS, imputation)
            for score, curve in zip(("deletion", "insertion"), curves, strict=True):
                found[f"{score}: {label}"] = float(curve.mean())
        rows.append({"stream": stream, **found})
    for label, imputation in imputations.items():
        infidelity = relative_infidelity(one.model, one.inputs, maps, imputation, PERTURBATIONS)
        both[f"infidelity: {label}"] = infidelity
    return [*rows, {"stream": "both", **both}]


def _score_units(one: Case, maps: WhereHow, effects: pd.DataFrame) -> list[dict[str, Any]]:
    """How the how-map deals with each unit that moved; pixels that several of them share are shared out."""
    rows, how = [], maps["difference"]
    parts = shared_out({unit: one.regions[unit] for unit in effects.unit})
    for unit in effects.to_dict("records"):
        region = one.regions[unit["unit"]]
        share, area = mass_inside(how, region)
        found = {"mass": share, "area": area, "pointing": truth.pointing(how, region)}
        found["claimed"] = float((how * parts[unit["unit"]]).sum())
        rows.append({**{str(k): v for k, v in unit.items()}, **found})
    return rows


def check_clips(setting: Setting, subject: str, count: int = 1) -> pd.DataFrame:
    """Maps of a new subject's clips before and after something is done to the model that should change them."""
    model = setting.model()
    others: dict[str, Recognizer] = dict(sanity.cascade(model))
    others |= {kind: setting.model(kind) for kind in (TWIN, NONSENSE)}
    others["shifted inputs"] = sanity.shifted(model)
    rows = []
    for one in setting.cases(subject, model, count):
        target = one.predicted
        moved = {"onset": one.inputs["onset"] + 1.0, "difference": one.inputs["difference"] + 0.5}
        for method in usable():
            plain = one.explain(method, target)
            for check, other in others.items():
                inputs = moved if check == "shifted inputs" else one.inputs
                similar = sanity.similarity(plain, one.explain_other(method, target, inputs, other))
                rows.append({**one.row, "method": method, "check": check, "similarity": similar})
    return pd.DataFrame(rows)


def accuse_clips(setting: Setting, subject: str, count: int = 1) -> pd.DataFrame:
    """Clips with and without the mark, none of the class that it gave away, put to two models.

    One was trained with the mark and may use it; the other never saw it and cannot know it. `fooled` says of a clip
    whether the model takes it for that class.
    """
    rows = []
    for kind in (CHEAT, HONEST):
        model = setting.model(kind)
        label = model.config.classes.index(MARKED)
        innocent = (one for one in setting.cases(subject, model) if one.clip.emotion != MARKED)
        for number, plain in enumerate(innocent):
            for bears in (True, False):
                one = replace(plain, inputs=with_mark(plain.clip)) if bears else plain
                about = {**one.row, "trained": kind, "marked": bears, "fooled": float(one.predicted == label)}
                if number >= count or (kind == HONEST and not bears):
                    rows.append({**about, "method": "", "stream": ""})
                    continue
                for method in (*usable(), "edges", "input"):
                    rows += [{**about, "method": method, **f} for f in _in_mark(one.explain(method, label))]
    if not rows:
        raise ValueError(f"all clips of {subject} are of the class {MARKED}: explain more of each new subject")
    return pd.DataFrame(rows)


def _in_mark(maps: WhereHow) -> Iterator[dict[str, Any]]:
    for name, stream in STREAMS.items():
        mark = sanity.mark_region(len(maps[name]))
        share, area = mass_inside(maps[name], mark)
        yield {"stream": stream, "mass": share, "area": area, "pointing": truth.pointing(maps[name], mark)}


def with_mark(clip: Clip) -> dict[str, Tensor]:
    """What a model reads of an aligned clip if both of its key frames bear the mark."""
    frames = (torch.from_numpy(clip.frame(f)).permute(2, 0, 1)[None] for f in clip.key_frames)
    onset, apex = map(sanity.draw_mark, frames)
    return to_inputs(onset, apex)


def recognise(setting: Setting, subject: str, kinds: Sequence[str]) -> pd.DataFrame:
    """Which of a new subject's clips each model recognises."""
    rows = []
    for kind in kinds:
        for one in setting.cases(subject, setting.model(kind)):
            said = one.model.config.classes[one.predicted]
            rows.append({**one.row, "trained": kind, "truth": one.clip.emotion, "predicted": said})
    return pd.DataFrame(rows)


def usable() -> list[str]:
    """The methods without DeepLift, which refuses these networks."""
    return [method for method in METHODS if method != "DeepLift"]
