"""FusionExplorer: what a fusion variant makes of a clip when its streams are weakened, exchanged or look further."""

import copy
from collections.abc import Mapping

import ipywidgets as widgets
import numpy as np
import torch

from tsfmicro_lab.clips import Frame
from tsfmicro_lab.data.samples import Samples
from tsfmicro_lab.explain.streams import StreamActivations, fuse_of, stream_activations, stream_weights
from tsfmicro_lab.models import Recognizer, from_pretrained
from tsfmicro_lab.models.retention import ManhattanRetention
from tsfmicro_lab.widgets.explorer import Explorer, button, menu, slider
from tsfmicro_lab.widgets.tiles import Bars, Tile, over_face, show_all, signed, strength

TILES = ("onset", "difference", "stream of how", "stream of where", "evidence")


class FusionExplorer(Explorer):
    """Sliders over the streams of fusion variants; logits and maps follow.

    Maps show how much each token stands out in each stream where they are added (one scale for both), and, at the end
    of the network, the evidence of each position for a class: orange for, purple against. Models, one or several by
    name, or None for `where_how` that ships, are copied: the sliders do not touch yours.

    Attributes:
        clip, onset_from: The sample, and whose onset frame is read; below 0 its own.
        how_weight, where_weight: Factors of the difference's and the onset frame's stream, 1 in training.
        penalty: How fast retention forgets with distance, × what it was trained with; at 0 it does not.
        target: The class whose evidence is shown; the predicted one by default.
        activations: What the pictures show, by model.

    Raises:
        ValueError: A model has one stream only, or the samples are of another size.
    """

    legend = "orange brighter, purple darker; streams: bright stands out; evidence: orange for, purple against"

    def __init__(self, models: Recognizer | Mapping[str, Recognizer] | None, samples: Samples, index: int = 0) -> None:
        models = models or from_pretrained("where_how")
        if not isinstance(models, Mapping):
            models = {models.name.removeprefix("tsfmicro_"): models}
        for model in models.values():
            fuse_of(model)
        self.models = {name: copy.deepcopy(model).cpu().eval() for name, model in models.items()}
        self.samples, self.activations = samples, dict[str, StreamActivations]()
        layers = (layer for model in self.models.values() for layer in model.modules())
        self._decays = {layer: layer.gamma for layer in layers if isinstance(layer, ManhattanRetention)}
        last = len(samples) - 1
        self.clip = slider("clip", index, 0, last)
        self.onset_from = slider("onset of clip", -1, -1, last)
        self.how_weight = slider("weight of how", 1, 0, 2, 0.05)
        self.where_weight = slider("weight of where", 1, 0, 2, 0.05)
        self.penalty = slider("distance penalty ×", 1, 0, 5, 0.1)
        self.target = menu("evidence for", ["predicted", *samples.classes])
        self.tiles = {name: [Tile(f"{name}: {t}" if t == TILES[0] else t) for t in TILES] for name in self.models}
        self.bars = {name: Bars(samples.classes) for name in self.models}
        controls = (self.clip, self.onset_from, self.how_weight, self.where_weight, self.penalty, self.target)
        rows = [row for n in self.models for row in ([widgets.HTML(f"<b>{n}</b>")], [*self.tiles[n], self.bars[n]])]
        super().__init__([[controls[:3], controls[3:], [button("as trained", "undo", self.reset)]]], rows)
        self.when(controls, self._update)
        self._update()

    def reset(self) -> None:
        """Brings streams and decay back to what the model was trained with."""
        self.onset_from.value, self.how_weight.value, self.where_weight.value, self.penalty.value = -1, 1, 1, 1

    def _update(self) -> None:
        i = self.clip.value
        donor = self.onset_from.value if self.onset_from.value >= 0 else i
        for layer, gamma in self._decays.items():
            layer.set_decay(gamma**self.penalty.value)
        truth = self.samples.classes[int(self.samples.label[i])]
        borrowed = "" if donor == i else f", onset frame of {self.samples.subjects[donor]}"
        self.story.value = f"subject {self.samples.subjects[i]}{borrowed}, label <b>{truth}</b>"
        for name, model in self.models.items():
            inputs = model.inputs_of(self.samples, [i])
            inputs["onset"] = model.inputs_of(self.samples, [donor])["onset"]
            as_trained = stream_activations(model, inputs)
            with stream_weights(model, onset=self.where_weight.value, difference=self.how_weight.value):
                self.activations[name] = stream_activations(model, inputs)
            self._show(name, donor, signed(inputs["difference"][0].mean(0).numpy()), as_trained)

    def _show(self, name: str, donor: int, moved: Frame, as_trained: StreamActivations) -> None:
        now, classes = self.activations[name], self.samples.classes
        chosen = int(now.logits.argmax()) if self.target.value == "predicted" else classes.index(self.target.value)
        face = self.samples.onset[donor].permute(1, 2, 0).numpy()
        largest = max(float(stream.max()) for stream in as_trained.streams.values())
        evidence, most = now.evidence[chosen], float(np.abs(as_trained.evidence).max())
        onset, *tiles = self.tiles[name]
        onset.show(face, smooth=True)
        streams = (strength(now.streams[name], largest) for name in ("difference", "onset"))
        end = over_face(face, signed(evidence, most), np.sqrt(np.abs(evidence) / max(most, 1e-12)))
        show_all(tiles, moved, *streams, end)
        self.bars[name].show(self.models[name], torch.as_tensor(now.logits))
