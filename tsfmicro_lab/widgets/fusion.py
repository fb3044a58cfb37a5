"""FusionExplorer: what a fusion variant makes of a clip when its streams are weakened, exchanged or look further."""

import copy
from collections.abc import Mapping

import ipywidgets as widgets
import numpy as np
import torch
from IPython.display import Image

from tsfmicro_lab.data.samples import Samples
from tsfmicro_lab.explain.streams import StreamActivations, stream_activations, stream_weights
from tsfmicro_lab.models import Recognizer
from tsfmicro_lab.models.retention import ManhattanRetention
from tsfmicro_lab.training import to_inputs
from tsfmicro_lab.widgets.tiles import Bars, Message, Tile, labelled, over_face, signed, snapshot, strength

TILES = ("onset", "difference", "stream of how", "stream of where", "evidence")


class FusionExplorer(widgets.VBox):
    """Sliders over the streams of fusion variants; logits and maps follow.

    Maps show how much each place stands out in each stream where they are added (one scale for both), and, at the end
    of the network, the evidence of each place for a class: orange for, purple against.

    Args:
        models: A trained fusion variant, or several by name. They are copied: the sliders do not touch yours.
        samples: Clips to choose from.
        index: The clip shown first.

    Attributes:
        clip: Slider over the samples.
        onset_from: Slider: whose onset frame is read; below 0 the clip's own.
        how_weight: Slider: factor of the difference's stream, 1 in training.
        where_weight: Slider: factor of the onset frame's stream, 1 in training.
        penalty: Slider: how fast retention forgets with distance, as a multiple of what it was trained with; at 0
            distance no longer counts.
        target: Dropdown: the class whose evidence is shown; the predicted one by default.
        inside: What the pictures show, by model.

    Raises:
        ValueError: A model has one stream only, or the samples are of another size.

    Example:
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions, prepare
        >>> from tsfmicro_lab.models import create_model
        >>> samples = prepare(SyntheticMicroExpressions(2, 5, image_size=64), 56, progress=False)
        >>> explorer = FusionExplorer(create_model("tsfmicro_late", 5), samples)
        >>> before = explorer.inside["late"].logits
        >>> explorer.where_weight.value = 0
        >>> bool((explorer.inside["late"].logits != before).any())
        True
    """

    def __init__(self, models: Recognizer | Mapping[str, Recognizer], samples: Samples, index: int = 0) -> None:
        if not isinstance(models, Mapping):
            models = {models.name.removeprefix("tsfmicro_"): models}
        self.models = {name: copy.deepcopy(model).cpu().eval() for name, model in models.items()}
        self.samples = samples
        self.inside: dict[str, StreamActivations] = {}
        self._decays = {
            layer: layer.gamma
            for model in self.models.values()
            for layer in model.modules()
            if isinstance(layer, ManhattanRetention)
        }
        last = len(samples) - 1
        self.clip = labelled(widgets.IntSlider(index, 0, last), "clip")
        self.onset_from = labelled(widgets.IntSlider(-1, -1, last), "onset of clip")
        self.how_weight = labelled(widgets.FloatSlider(1, min=0, max=2, step=0.05), "weight of how")
        self.where_weight = labelled(widgets.FloatSlider(1, min=0, max=2, step=0.05), "weight of where")
        self.penalty = labelled(widgets.FloatSlider(1, min=0, max=5, step=0.1), "distance penalty ×")
        self.target = labelled(widgets.Dropdown(options=["predicted", *samples.classes]), "evidence for")
        self.story, self.message = widgets.HTML(), Message()
        self.tiles = {name: [Tile(title) for title in TILES] for name in self.models}
        self.bars = {name: Bars(samples.classes) for name in self.models}
        controls = (self.clip, self.onset_from, self.how_weight, self.where_weight, self.penalty, self.target)
        reset = widgets.Button(description="as trained", icon="undo")
        reset.on_click(lambda _: self.reset())
        rows = []
        for name in self.models:
            rows.append(widgets.HTML(f"<b>{name}</b>"))
            rows.append(widgets.HBox([*self.tiles[name], self.bars[name]], layout={"flex_flow": "row wrap"}))
        left, right = widgets.VBox(controls[:3]), widgets.VBox(controls[3:])
        super().__init__([widgets.HBox([left, right, reset]), self.message, self.story, *rows])
        for control in controls:
            control.observe(self._update, names="value")
        self._update()

    def reset(self) -> None:
        """Brings streams and decay back to what the model was trained with."""
        self.onset_from.value, self.how_weight.value, self.where_weight.value, self.penalty.value = -1, 1, 1, 1

    def snapshot(self) -> Image:
        """The maps as a still picture."""
        return snapshot(list(self.tiles.values()))

    def _update(self, change: object = None) -> None:
        with self.message.telling():
            self._look()

    def _look(self) -> None:
        i = self.clip.value
        donor = self.onset_from.value if self.onset_from.value >= 0 else i
        inputs = to_inputs(self.samples.onset[[i]], self.samples.apex[[i]])
        inputs["onset"] = to_inputs(*[self.samples.onset[[donor]]] * 2)["onset"]
        for layer, gamma in self._decays.items():
            layer.set_decay(gamma**self.penalty.value)
        row = self.samples.table.iloc[i]
        truth = self.samples.classes[int(self.samples.label[i])]
        borrowed = "" if donor == i else f", onset frame of {self.samples.table.subject[donor]}"
        self.story.value = f"subject {row.subject}{borrowed}, label <b>{truth}</b>"
        for name, model in self.models.items():
            as_trained = stream_activations(model, inputs)
            with stream_weights(model, onset=self.where_weight.value, difference=self.how_weight.value):
                self.inside[name] = stream_activations(model, inputs)
            self._show(name, donor, inputs["difference"], as_trained)

    def _show(self, name: str, donor: int, difference: torch.Tensor, as_trained: StreamActivations) -> None:
        inside, classes = self.inside[name], self.samples.classes
        predicted = int(inside.logits.argmax())
        chosen = predicted if self.target.value == "predicted" else classes.index(self.target.value)
        face = self.samples.onset[donor].permute(1, 2, 0).numpy()
        moved = difference[0].mean(0).numpy()
        loudest = max(float(stream.max()) for stream in as_trained.streams.values())
        evidence, most = inside.evidence[chosen], float(np.abs(as_trained.evidence).max())
        onset, change, how, where, end = self.tiles[name]
        onset.show(face, smooth=True)
        change.show(signed(moved, float(np.quantile(np.abs(moved), 0.995))))
        how.show(strength(inside.streams["difference"], loudest))
        where.show(strength(inside.streams["onset"], loudest))
        end.show(over_face(face, signed(evidence, most), np.sqrt(np.abs(evidence) / max(most, 1e-12))))
        self.bars[name].show(inside.logits)
