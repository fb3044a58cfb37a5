"""WhereHowExplorer: a browser of predictions, and which pixels each of them rests on."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from html import escape
from typing import Any

import ipywidgets as widgets
import numpy as np
import pandas as pd
import torch
import traitlets

from tsfmicro_lab.clips import Clip
from tsfmicro_lab.data.motion import ACTION_UNITS
from tsfmicro_lab.data.schema import Dataset
from tsfmicro_lab.explain.attribution import WhereHow, where_how
from tsfmicro_lab.explain.figures import MAP_LABEL, shared_limit, stream_title
from tsfmicro_lab.explain.methods import METHODS, Masks
from tsfmicro_lab.explain.regions import clip_regions, region_table, without_motion
from tsfmicro_lab.models.base import STREAMS, UNSURE, Recognizer, to_inputs
from tsfmicro_lab.preprocess import Landmarker, align_clip, difference_frame, onset_landmarks, with_apex
from tsfmicro_lab.widgets.explorer import Explorer, button, clip_menu, clip_table, menu, model_and_classes, slider
from tsfmicro_lab.widgets.tiles import Bars, Pane, Pictures, checked_size

#: Which inputs a switched-off region is taken from.
TAKEN_FROM = {"how: it holds still": ("difference",), "where: it is blotted out": ("onset",), "both": tuple(STREAMS)}
#: A clip aligned to be seen; what the model reads of it; regions at the model's size.
Prepared = tuple[Clip, dict[str, torch.Tensor], Masks]
#: Onset frames from which attribution starts, as grey levels; the difference starts at zero.
GREYS = {"black": 0.0, "white": 255.0}


class WhereHowExplorer(Explorer):
    """Maps of one prediction over the face, beside those of a second method or model, and a switch for each region.

    Click into a picture, or use the buttons, to take a region out: it holds still (the difference there becomes zero),
    or the onset frame there gets the mean colour, or both; logits and maps are computed again. Where the truth is
    known, the truly moved region is outlined. All maps share one scale; those of two methods are drawn as shares of all
    attribution. The models, one or several by name, are copied; None stands for `where_how`, which ships. Where clips
    bring no landmarks, `landmarker` finds them, MediaPipe by default; pictures are `size` pixels wide.

    Attributes:
        answer, sure, emotion, subject: Only clips that are answered so, at least so surely, with such a label.
        clip, model, target, method: Whose prediction, which class (the predicted one by default), how it is explained.
        second: A method or model to compare with.
        baseline, steps: Onset frame from which attribution starts, and points on the way.
        still, stream: By action unit, whether its region is taken out, and from which input.
        blend: Strength of the colours over the face.
        maps, logits: What is shown; of a comparison the first.
        table: Share of each map in each region; each column sums to 1.
        instances: One row per clip: subject, clip, emotion; and once that is asked for, what the model says, how sure.

    Raises:
        ValueError: The model does not read onset and difference, or classes do not fit it.
    """

    legend = f"maps: {MAP_LABEL}; outlined: what truly moved; blue: regions taken out"
    clip, steps, sure, blend = traitlets.Int(allow_none=True), traitlets.Int(), traitlets.Float(), traitlets.Float()
    model, target, method, second, baseline, stream, answer, emotion, subject = (traitlets.Unicode() for _ in range(9))
    maps, logits, table = (traitlets.Any() for _ in range(3))

    def __init__(
        self,
        model: Recognizer | Mapping[str, Recognizer] | None,
        data: Dataset | Sequence[Clip],
        classes: Sequence[str] | None = None,
        *,
        landmarker: Landmarker | None = None,
        size: int = 240,
        index: int = 0,
    ) -> None:
        given: Mapping[str, Recognizer | None] = model if isinstance(model, Mapping) else {"the model": model}
        self.models = dict[str, Recognizer]()
        for name, one in given.items():
            one, classes = model_and_classes(one, classes, "where_how")
            if missing := [name for name in STREAMS if name not in one.input_names]:
                lacks = f"{type(one).__name__} does not read the {' and '.join(missing)} frame"
                raise ValueError(f"{lacks}: explore a model that reads onset and difference, such as tsfmicro_late")
            self.models[name] = copy.deepcopy(one).cpu().eval()
        self.data, self.classes, self.size = data, list(classes or ()), checked_size(size)
        self.instances = clip_table(data).assign(answer="", sure=1.0)
        compared = [f"method: {m}" for m in METHODS] + [f"model: {m}" for m in self.models if len(self.models) > 1]
        labels, people = (["all", *self.instances[name].dropna().unique()] for name in ("emotion", "subject"))
        answers, greys = ["all", "right", "wrong", UNSURE], ["mean colour", *GREYS, "another face"]
        controls = {"answer": menu("answer", answers), "sure": slider("at least so sure", 0, 0, 0.95, 0.05, wait=True)}
        controls |= {"emotion": menu("label", labels), "subject": menu("subject", people)}
        controls |= {"clip": clip_menu(data, index), "model": menu("model", list(self.models))}
        controls |= {"target": menu("explain", ["predicted", *self.classes]), "method": menu("method", list(METHODS))}
        controls |= {"second": menu("compare with", ["nothing", *compared]), "baseline": menu("baseline", greys)}
        controls |= {"steps": slider("steps", 32, 8, 128, 8, wait=True), "blend": slider("colours", 1, 0, 1, 0.05)}
        controls |= {"stream": menu("switched off", list(TAKEN_FROM))}
        self.still = {unit: _switch(unit, name) for unit, (name, *_) in ACTION_UNITS.items()}
        switches = [*self.still.values(), button("all regions on", "undo", self.reset)]
        self.pictures, self.bars = Pictures(self._click), Bars(self.classes)
        controls["model"].layout.display = None if len(self.models) > 1 else "none"
        super().__init__(controls, [[self.pictures], switches, [self.bars]])
        self.offer(**{f"AU {unit}": (switch, "value") for unit, switch in self.still.items()})
        self._read = lru_cache(maxsize=64)(lambda i, name: self._prepared(data[i], self.models[name], landmarker))
        self.when(["answer", "sure", "emotion", "subject"], self._filter, "looking through the clips")
        explained = ("clip", "model", "target", "method", "second", "baseline", "steps", "stream")
        self.when([*explained, *self.still.values()], self._explain, "explaining")
        traitlets.link((self, "blend"), (self.pictures, "blend"))
        self._explain()

    def reset(self) -> None:
        """Switches every region on again."""
        self.state = {f"AU {unit}": False for unit in self.still}

    def _click(self, x: float, y: float) -> None:
        hit = {u: m for u, m in self.regions.items() if u in self.still and m[int(y * len(m)), int(x * len(m))]}
        for unit in sorted(hit, key=lambda unit: int(hit[unit].sum()))[:1]:
            self.still[unit].value = not self.still[unit].value

    def _filter(self) -> None:
        """Leaves those clips in the menu that were asked for."""
        if self.answer != "all" or self.sure:
            self._ask()
        keep = self.chosen(self.instances, "answer", "emotion", "subject") & (self.instances.sure >= self.sure)
        if not keep.any():
            raise ValueError("no clip is answered, labelled and named so: ask for less")
        options = clip_menu(self.data, 0).options
        self.controls["clip"][0].options = [options[i] for i in np.flatnonzero(keep)]

    def _ask(self) -> None:
        """What the chosen model says of every clip, and how sure it is."""
        model = self.models[self.model]
        if model.config.units:
            raise ValueError("answers of action units are not right or wrong as a whole: filter by label or subject")
        if self.instances.attrs.get("model") != self.model:
            with torch.no_grad():
                logits = torch.cat([model(**self._read(i, self.model)[1]) for i in range(len(self.instances))])
            said, labels = np.array(model.tell(logits, self.classes)), self.instances.emotion.astype(str)
            answer = np.where(said == UNSURE, UNSURE, np.where(said == labels, "right", "wrong"))
            sure = model.probabilities(logits).amax(1).numpy()
            self.instances = self.instances.assign(said=said, answer=answer, sure=sure)
            self.instances.attrs["model"] = self.model

    def _prepared(self, clip: Clip, model: Recognizer, landmarker: Landmarker | None) -> Prepared:
        """The clip aligned to be seen; what the model reads of it; regions at the model's size."""
        clip = replace(clip, landmarks=onset_landmarks(clip, landmarker))
        small = with_apex(align_clip(clip, model.config.image_size))
        clip = replace(clip, apex=small.apex)
        return align_clip(clip, self.size), model.inputs_of(clip), clip_regions(small)

    def _maps(self, name: str, method: str) -> WhereHow:
        """Maps of a model, without the regions that are off."""
        model, (self.shown, inputs, self.regions) = self.models[name], self._read(self.clip, name)
        self.inputs = dict(inputs)
        for unit in self.still:
            for taken in TAKEN_FROM[self.stream] if self.still[unit].value else ():
                self.inputs[taken] = without_motion(self.inputs[taken], self.regions[unit])
        start = model.baseline(self.inputs)
        if self.baseline in GREYS:
            start["onset"] = to_inputs(*[torch.full_like(start["onset"], GREYS[self.baseline])] * 2)["onset"]
        elif self.baseline == "another face":
            if not (others := np.flatnonzero(self.instances.subject != self.instances.subject[self.clip])).size:
                raise ValueError("there is no other subject whose face could be the baseline: choose another one")
            start["onset"] = self._read(int(others[0]), name)[1]["onset"]
        target = None if self.target == "predicted" else self.classes.index(self.target)
        return where_how(model, self.inputs, target, method, steps=self.steps, baseline=start, regions=self.regions)

    def _explain(self) -> None:
        if self.clip is None:  # while the menu changes
            return
        kind, _, other = self.second.partition(": ")
        found = {self.model if kind == "model" else self.method: (self.model, self.method)}
        found |= {"nothing": {}, "model": {other: (other, self.method)}}.get(kind, {other: (self.model, other)})
        maps = {name: self._maps(*asked) for name, asked in reversed(found.items())}
        self.maps, self.table = maps[next(iter(found))], region_table(maps[next(iter(found))], self.regions)
        self.logits = self.models[self.model](**self.inputs)[0].detach()
        self._show({name: maps[name] for name in found})

    def _show(self, found: Mapping[str, WhereHow]) -> None:
        shares, several = len({maps.method for maps in found.values()}) > 1, len(found) > 1
        drawn = {name: maps.as_shares() if shares else maps for name, maps in found.items()}
        face, apex = map(self.shown.frame, self.shown.key_frames)
        lines = [("#0072b2", self.regions[unit]) for unit, switch in self.still.items() if switch.value]
        lines += [("ink", self.shown.truth.moved)] if self.shown.truth else []
        how: dict[str, Any] = {"unit": "of all" if shares else "logit", "smooth": True, "outlines": lines}
        limit = shared_limit([*drawn.values()])
        change = Pane("difference", None, difference_frame(face, apex).mean(-1), unit="grey levels", outlines=lines)
        panes = [Pane("onset", face, outlines=lines), change]
        for row, (name, maps) in enumerate(drawn.items()):
            titles = {n: stream_title(n) + f" ({name})" * several + ": all zero" * (not maps[n].any()) for n in STREAMS}
            at = 1 + 3 * row if several else 2
            panes[at:at] = [Pane(title, face, maps[n], limit, **how) for n, title in titles.items()]
        self.pictures.show(*panes, columns=len(panes) // len(drawn))
        self.bars.show(model := self.models[self.model], self.logits)
        tables = {name: region_table(maps, self.regions).set_index("region") for name, maps in found.items()}
        table = pd.concat(tables, axis=1).sort_values((next(iter(tables)), "difference"), ascending=False)
        table.loc["all"] = table.sum()
        rows = table.to_html(float_format="{:.1%}".format, index_names=False, border=0)
        self.bars.value = f"<div style='display: flex; gap: 3em'><div>{self.bars.value}</div>{rows}</div>"
        label, said = self.shown.emotion, self.bars.said
        open_question = not label or said == UNSURE or model.config.units
        right = "" if open_question else ": <b>right</b>" if said == label else ": <b>wrong</b>"
        answer = f"label <b>{escape(label or 'none')}</b>, the model says <b>{escape(said)}</b>{right}"
        share = f"<b>{escape(self.classes[self.maps.target])}</b>; {self.maps.share('difference'):.0%} of all"
        self.story.value = f"{escape(self.shown.id)}: {answer}; explained {share} attribution goes to the difference"


def _switch(unit: str, name: str) -> widgets.ToggleButton:
    tip = f"take out the region of action unit {unit}"
    return widgets.ToggleButton(description=f"{unit} {name}", tooltip=tip, layout={"width": "auto"})
