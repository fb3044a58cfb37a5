"""RetentionExplorer: from which positions of the face a token gathers what it knows."""

import copy

import numpy as np
import torch

from tsfmicro_lab.data.samples import Samples
from tsfmicro_lab.explain.streams import inputs_seen
from tsfmicro_lab.models.base import Recognizer
from tsfmicro_lab.models.retention import ManhattanRetention, manhattan_bias
from tsfmicro_lab.widgets.explorer import Explorer, menu, slider
from tsfmicro_lab.widgets.tiles import Bars, Tile, over_face, strength


class RetentionExplorer(Explorer):
    """Sliders over layer, head, decay and query position of a model's retention.

    Three pictures: the decay mask alone (what distance does), the query's attention alone (without distance, what
    content does), and both together, as the layer uses them. The weights of a query sum to 1. The model is copied: the
    sliders do not touch yours.

    Attributes:
        clip, layer, head: The sample; the retention layer, first stage first; its head.
        decay: Of the chosen head; 1 means that distance does not count.
        row, column: Of the query; a click on a picture sets them, too.
        inputs: What the model reads of the chosen clip.
        weights: The query's weights over the grid, as last shown.
    """

    legend = "bright: positions of which the query (orange) takes most; square-root scale, each picture to its largest"

    def __init__(self, model: Recognizer, samples: Samples, index: int = 0) -> None:
        self.model, self.samples = copy.deepcopy(model).cpu().eval(), samples
        layers = {n: m for n, m in self.model.named_modules() if isinstance(m, ManhattanRetention)}
        if not layers:
            raise ValueError(f"{model.name} has no retention: choose a variant with a temporal branch")
        self._trained, first = {m: m.gamma for m in layers.values()}, next(iter(layers.values()))
        self.clip = slider("clip", index, 0, len(samples) - 1)
        named = [(f"{name.removesuffix('.retention')} ({m.grid}×{m.grid})", m) for name, m in layers.items()]
        self.layer = menu("layer", named, value=first)
        self.head = slider("head", 0, 0, first.heads - 1)
        self.decay = slider("decay", float(first.gamma[0]), 0.05, 1, 0.005)
        self.decay.readout_format = ".3f"
        self.row = slider("query row", first.grid // 2, 0, first.grid - 1)
        self.column = slider("query column", first.grid // 2, 0, first.grid - 1)
        titles = ("distance alone", "content alone", "both: the layer's weights")
        self.tiles, self.bars = [Tile(title, 240, self._click) for title in titles], Bars(samples.classes)
        controls = [[self.clip, self.layer, self.head], [self.decay, self.row, self.column]]
        super().__init__([controls], [[*self.tiles, self.bars]])
        self.when([self.layer], self._new_layer)
        self.when([self.head], self._new_head)
        self.when([self.clip, self.decay, self.row, self.column], self._update)
        self._update()

    def _click(self, x: float, y: float) -> None:
        side = self.layer.value.grid
        self.column.value, self.row.value = int(x * side), int(y * side)

    def _new_layer(self) -> None:
        layer = self.layer.value
        self.head.max, self.row.max, self.column.max = layer.heads - 1, layer.grid - 1, layer.grid - 1
        self.row.value = self.column.value = layer.grid // 2
        self._new_head()

    def _new_head(self) -> None:
        self.decay.value = float(self._trained[self.layer.value][self.head.value])
        self._update()

    @torch.no_grad()
    def _update(self) -> None:
        layer, i = self.layer.value, self.clip.value
        # While the layer changes, the sliders are still those of a finer grid.
        side, head = layer.grid, min(self.head.value, layer.heads - 1)
        position = (min(self.row.value, side - 1), min(self.column.value, side - 1))
        face = self.samples.onset[i].permute(1, 2, 0).numpy()
        for tile, weights in zip(self.tiles, self._weights(i, head, *position), strict=True):
            self.weights = weights[head].numpy()
            share = np.sqrt(self.weights / self.weights.max())
            picture = over_face(face, strength(share, 1), 0.15 + 0.85 * share)
            row, column = (int((p + 0.5) / side * len(picture)) for p in position)
            picture[max(row - 1, 0) : row + 1, max(column - 1, 0) : column + 1] = (214, 94, 0)
            tile.show(picture)
        y, x = np.mgrid[:side, :side]
        reach = float((self.weights * (np.abs(y - position[0]) + np.abs(x - position[1]))).sum())
        form = "rows, then columns" if layer.decomposed else "all pairs"
        self.story.value = f"{form}; the query gathers from {reach:.1f} steps away on average, over {side}×{side}"

    def _weights(self, i: int, head: int, row: int, column: int) -> list[torch.Tensor]:
        """Weights of one query (heads, side, side): distance alone, content alone, both. The bars follow the decay."""
        layer, self.inputs = self.layer.value, self.model.inputs_of(self.samples, [i])
        gamma, given = torch.full((layer.heads,), self.decay.value), []
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
