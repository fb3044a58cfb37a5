"""RetentionExplorer: from which positions of the face a token gathers what it knows."""

import copy

import numpy as np
import torch
import traitlets

from tsfmicro_lab.data.samples import Samples
from tsfmicro_lab.explain.streams import inputs_seen
from tsfmicro_lab.models.base import Recognizer
from tsfmicro_lab.models.retention import ManhattanRetention, manhattan_bias
from tsfmicro_lab.widgets.explorer import Explorer, clip_menu, menu, model_and_classes, slider
from tsfmicro_lab.widgets.tiles import Bars, Pane, Pictures

TITLES = ("distance alone", "content alone", "both: the layer's weights")


class RetentionExplorer(Explorer):
    """Sliders over layer, head, decay and query position of a model's retention.

    Three pictures: the decay mask alone (what distance does), the query's attention alone (without distance, what
    content does), and both together, as the layer uses them. The weights of a query sum to 1. The model is copied: the
    sliders do not touch yours.

    Attributes:
        clip, layer, head: Number of the sample; name of the retention layer, first stage first; its head.
        decay: Of the chosen head; 1 means that distance does not count.
        row, column: Of the query; a click on a picture sets them, too.
        inputs: What the model reads of the chosen clip.
        weights: The query's weights over the grid, as last shown.
    """

    legend = "orange: positions of which the query (blue) takes most; square-root scale, each picture to its largest"
    clip, head, row, column = (traitlets.Int() for _ in range(4))
    layer, decay = traitlets.Unicode(), traitlets.Float()

    def __init__(self, model: Recognizer, samples: Samples, index: int = 0) -> None:
        self.model, self.samples = copy.deepcopy(model).cpu().eval(), samples
        self.layers = {n: m for n, m in self.model.named_modules() if isinstance(m, ManhattanRetention)}
        if not self.layers:
            raise ValueError(f"{model.name} has no retention: choose a variant with a temporal branch")
        self._trained, first = {m: m.gamma for m in self.layers.values()}, next(iter(self.layers.values()))
        named = [(f"{n[:-10].replace('stages.', '')} ({m.grid}×{m.grid})", n) for n, m in self.layers.items()]
        last, decay = first.grid - 1, float(first.gamma[0])
        controls = {"clip": clip_menu(samples, index), "layer": menu("layer", named)}
        controls |= {"head": slider("head", 0, 0, first.heads - 1), "decay": slider("decay", decay, 0.05, 1, 0.005)}
        controls |= {name: slider(f"query {name}", first.grid // 2, 0, last) for name in ("row", "column")}
        controls["decay"].readout_format = ".3f"
        self.pictures, self.bars = Pictures(self._click), Bars(model_and_classes(model, samples.classes)[1])
        super().__init__(controls, [[self.pictures], [self.bars]])
        self.when(["layer"], self._new_layer)
        self.when(["head"], self._new_head)
        self.when(["clip", "decay", "row", "column"], self._update)
        self._update()

    def _click(self, x: float, y: float) -> None:
        side = self.layers[self.layer].grid
        self.column, self.row = int(x * side), int(y * side)

    def _new_layer(self) -> None:
        layer = self.layers[self.layer]
        for name, last in (("head", layer.heads - 1), ("row", layer.grid - 1), ("column", layer.grid - 1)):
            self.controls[name][0].max = last
        self.row = self.column = layer.grid // 2
        self._new_head()

    def _new_head(self) -> None:
        self.decay = float(self._trained[self.layers[self.layer]][self.head])
        self._update()

    @torch.no_grad()
    def _update(self) -> None:
        layer, i = self.layers[self.layer], self.clip
        # While the layer changes, the sliders are still those of a finer grid.
        side, head = layer.grid, min(self.head, layer.heads - 1)
        position = (min(self.row, side - 1), min(self.column, side - 1))
        face = self.samples.onset[i].permute(1, 2, 0).numpy()
        query = np.arange(side**2).reshape(side, side) == position[0] * side + position[1]
        outlines = [("#00a3b4", query.repeat(4, 0).repeat(4, 1))]
        panes = []
        for title, weights in zip(TITLES, self._weights(i, head, *position), strict=True):
            self.weights = weights[head].numpy()
            panes.append(Pane(title, face, self.weights, float(self.weights.max()), outlines=outlines))
        self.pictures.show(*panes)
        y, x = np.mgrid[:side, :side]
        reach = float((self.weights * (np.abs(y - position[0]) + np.abs(x - position[1]))).sum())
        form = "rows, then columns" if layer.decomposed else "all pairs"
        self.story.value = f"{form}; the query gathers from {reach:.1f} steps away on average, over {side}×{side}"

    def _weights(self, i: int, head: int, row: int, column: int) -> list[torch.Tensor]:
        """Weights of one query (heads, side, side): distance alone, content alone, both. The bars follow the decay."""
        layer, self.inputs = self.layers[self.layer], self.model.inputs_of(self.samples, [i])
        gamma, given = torch.full((layer.heads,), self.decay), []
        layer.set_decay(torch.where(torch.arange(layer.heads) == head, gamma, self._trained[layer]))
        with inputs_seen(layer) as seen:
            self.bars.show(self.model, self.model(**self.inputs)[0])
        for decay in (torch.ones_like(gamma), gamma):
            layer.set_decay(decay)
            given.append(layer.weights(*seen[layer])[0, :, row * layer.grid + column].unflatten(-1, [layer.grid] * 2))
        layer.set_decay(self._trained[layer])
        # Without content the weights of both forms are a product: so much up or down, so much left or right.
        line = manhattan_bias(gamma, 1, layer.grid).softmax(-1)
        return [line[:, row, :, None] * line[:, column, None, :], *given]
