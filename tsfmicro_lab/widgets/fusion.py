"""FusionExplorer: what a fusion variant makes of a clip when its streams are weakened, exchanged or look further."""

import copy
from collections.abc import Mapping
from html import escape

import torch
import traitlets

from tsfmicro_lab.data.samples import Samples
from tsfmicro_lab.explain.streams import StreamActivations, fuse_of, stream_activations, stream_weights
from tsfmicro_lab.models import STREAMS, Recognizer, from_pretrained
from tsfmicro_lab.models.retention import ManhattanRetention
from tsfmicro_lab.widgets.explorer import Explorer, button, clip_menu, menu, model_and_classes, slider
from tsfmicro_lab.widgets.tiles import Bars, Pane, Pictures

#: A menu whose value is None would show nothing.
OWN = "its own"


class FusionExplorer(Explorer):
    """Sliders over the streams of fusion variants; logits and maps follow.

    Maps show how much each token stands out in each stream where they are added (one scale for both), and, at the end
    of the network, the evidence of each position for a class: orange for, purple against. Models, one or several by
    name, or None for `where_how` that ships, are copied: the sliders do not touch yours.

    Attributes:
        clip, onset_from: Number of the sample, and of the one whose onset frame is read, or `its own`.
        how_weight, where_weight: Factors of the difference's and the onset frame's stream, 1 in training.
        penalty: How fast retention forgets with distance, × what it was trained with; at 0 it does not.
        target: The class whose evidence is shown; the predicted one by default.
        activations: What the pictures show, by model.

    Raises:
        ValueError: A model has one stream only, or the samples are of another size.
    """

    clip, onset_from, target = traitlets.Int(), traitlets.Any(OWN), traitlets.Unicode()
    how_weight, where_weight, penalty = (traitlets.Float(1) for _ in range(3))
    legend = "orange brighter, purple darker; streams: bright stands out; evidence: orange for, purple against"

    def __init__(self, models: Recognizer | Mapping[str, Recognizer] | None, samples: Samples, index: int = 0) -> None:
        models = models or from_pretrained("where_how")
        if not isinstance(models, Mapping):
            models = {models.name.removeprefix("tsfmicro_"): models}
        for model in models.values():
            fuse_of(model)
            model_and_classes(model, samples.classes)
        self.models = {name: copy.deepcopy(model).cpu().eval() for name, model in models.items()}
        self.samples, self.activations = samples, dict[str, StreamActivations]()
        layers = (layer for model in self.models.values() for layer in model.modules())
        self._decays = {layer: layer.gamma for layer in layers if isinstance(layer, ManhattanRetention)}
        donors = [(OWN, OWN), *clip_menu(samples, 0).options]
        controls = {"clip": clip_menu(samples, index), "onset_from": menu("onset frame of", donors)}
        controls |= {f"{name}_weight": slider(f"weight of {name}", 1, 0, 2, 0.05) for name in ("how", "where")}
        controls |= {"penalty": slider("distance penalty ×", 1, 0, 5, 0.1)}
        controls |= {"target": menu("evidence for", ["predicted", *samples.classes])}
        self.pictures = {name: Pictures() for name in self.models}
        self.bars = {name: Bars(samples.classes) for name in self.models}
        reset = button("as trained", "undo", self.reset)
        rows = [[part] for name in self.models for part in (self.pictures[name], self.bars[name])]
        super().__init__(controls, [*rows, [reset]])
        self.when(controls, self._update)
        self._update()

    def reset(self) -> None:
        """Brings streams and decay back to what the model was trained with."""
        self.onset_from, self.how_weight, self.where_weight, self.penalty = OWN, 1, 1, 1

    def _update(self) -> None:
        i, samples = self.clip, self.samples
        donor = i if self.onset_from == OWN else self.onset_from
        for layer, gamma in self._decays.items():
            layer.set_decay(gamma**self.penalty)
        borrowed = "" if donor == i else f", onset frame of {samples.subjects[donor]}"
        label = f"label <b>{escape(samples.names(samples.label[[i]])[0])}</b>"
        self.story.value = f"subject {escape(samples.subjects[i] + borrowed)}, {label}"
        face = samples.onset[donor].permute(1, 2, 0).numpy()
        for name, model in self.models.items():
            inputs = model.inputs_of(samples, [i])
            inputs["onset"] = model.inputs_of(samples, [donor])["onset"]
            before = stream_activations(model, inputs)
            with stream_weights(model, onset=self.where_weight, difference=self.how_weight):
                now = self.activations[name] = stream_activations(model, inputs)
            target = int(now.logits.argmax()) if self.target == "predicted" else samples.classes.index(self.target)
            most = max(float(stream.max()) for stream in before.streams.values())
            change = Pane("difference", None, inputs["difference"][0].mean(0).numpy(), unit="deviations", smooth=True)
            streams = [Pane(f"stream of {STREAMS[n]}", None, x, most, "strength") for n, x in now.streams.items()]
            evidence = Pane("evidence", face, now.evidence[target], float(abs(before.evidence).max()), unit="logit")
            self.pictures[name].show(Pane(f"{name}: onset", face), change, *streams, evidence)
            self.bars[name].show(model, torch.as_tensor(now.logits))
