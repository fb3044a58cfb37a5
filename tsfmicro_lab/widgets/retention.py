"""RetentionExplorer: from where on the face a place gathers what it knows."""

import copy

import ipywidgets as widgets
import numpy as np
import torch
from IPython.display import Image

from tsfmicro_lab.data.samples import Samples
from tsfmicro_lab.models import Recognizer
from tsfmicro_lab.models.retention import ManhattanRetention, manhattan_bias
from tsfmicro_lab.widgets.tiles import Bars, Message, Tile, labelled, over_face, snapshot, strength


class RetentionExplorer(widgets.VBox):
    """Sliders over layer, head, decay and query place of a model's retention.

    Three pictures: the decay mask alone (what distance does), the attention of the query place alone (without distance,
    what content does), and both together, as the layer uses them. Each row of weights sums to 1.

    Args:
        model: Has a retention pyramid. It is copied: the sliders do not touch yours.
        samples: Clips to choose from.
        index: The clip shown first.

    Attributes:
        clip: Slider over the samples.
        layer: Dropdown over the retention layers, first stage first.
        head: Slider over the heads of a layer.
        decay: Slider: decay of the chosen head; 1 means that distance does not count.
        row: Slider: row of the query place; a click on a picture sets it, too.
        column: Slider: column of the query place.
        inputs: What the model reads of the chosen clip.
        weights: The weights of the query place over the grid, as last shown.

    Example:
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions, prepare
        >>> from tsfmicro_lab.models import create_model
        >>> samples = prepare(SyntheticMicroExpressions(1, 5, image_size=64), 56, progress=False)
        >>> explorer = RetentionExplorer(create_model("tsfmicro_temporal", 5, seed=0), samples)
        >>> explorer.decay.value = 0.5
        >>> bool(explorer.weights.sum().round(4) == 1)
        True
    """

    def __init__(self, model: Recognizer, samples: Samples, index: int = 0) -> None:
        self.model, self.samples = copy.deepcopy(model).cpu().eval(), samples
        layers = {n: m for n, m in self.model.named_modules() if isinstance(m, ManhattanRetention)}
        if not layers:
            raise ValueError(f"{model.name} has no retention: choose a variant with a temporal branch")
        first = next(iter(layers.values()))
        self.clip = labelled(widgets.IntSlider(index, 0, len(samples) - 1), "clip")
        named = [(f"{name.removesuffix('.retention')} ({m.grid}×{m.grid})", m) for name, m in layers.items()]
        self.layer = labelled(widgets.Dropdown(options=named, value=first), "layer")
        self.head = labelled(widgets.IntSlider(0, 0, first.heads - 1), "head")
        self.decay = labelled(widgets.FloatSlider(float(first.gamma[0]), min=0.05, max=1, step=0.005), "decay")
        self.decay.readout_format = ".3f"
        self.row, self.column = (
            labelled(widgets.IntSlider(first.grid // 2, 0, first.grid - 1), n) for n in ("query row", "query column")
        )
        self.story, self.message, self.bars = widgets.HTML(), Message(), Bars(samples.classes)
        titles = ("distance alone", "content alone", "both: the layer's weights")
        self.tiles = [Tile(title, 240, self._click) for title in titles]
        self.weights: np.ndarray = np.zeros((first.grid, first.grid))
        controls = (self.clip, self.layer, self.head, self.decay, self.row, self.column)
        super().__init__(
            [
                widgets.HBox([widgets.VBox(controls[:3]), widgets.VBox(controls[3:])]),
                self.message,
                self.story,
                widgets.HBox([*self.tiles, self.bars], layout={"flex_flow": "row wrap"}),
            ]
        )
        self.layer.observe(self._new_layer, names="value")
        self.head.observe(self._new_head, names="value")
        for control in (self.clip, self.decay, self.row, self.column):
            control.observe(self._update, names="value")
        self._update()

    def snapshot(self) -> Image:
        """The three pictures as a still one."""
        return snapshot([self.tiles])

    def _click(self, x: float, y: float) -> None:
        side = self.layer.value.grid
        self.column.value, self.row.value = int(x * side), int(y * side)

    def _new_layer(self, change: object) -> None:
        layer = self.layer.value
        self.head.max = layer.heads - 1
        for place in (self.row, self.column):
            place.max = layer.grid - 1
            place.value = layer.grid // 2
        self._new_head(change)

    def _new_head(self, change: object) -> None:
        self.decay.value = float(self.layer.value.gamma[self.head.value])
        self._update()

    def _update(self, change: object = None) -> None:
        with self.message.telling():
            self._look()

    @torch.no_grad()
    def _look(self) -> None:
        layer, i = self.layer.value, self.clip.value
        # While the layer changes, the sliders are still those of a finer grid.
        side, head = layer.grid, min(self.head.value, layer.heads - 1)
        place = (min(self.row.value, side - 1), min(self.column.value, side - 1))
        three = _weights(layer, self.decay.value, self._reads(i, head), place)
        face = self.samples.onset[i].permute(1, 2, 0).numpy()
        for tile, weights in zip(self.tiles, three, strict=True):
            self.weights = weights[head].numpy()
            share = np.sqrt(self.weights / self.weights.max())
            picture = over_face(face, strength(share, 1), 0.15 + 0.85 * share)
            _mark(picture, side, place)
            tile.show(picture)
        reach = float((self.weights * _steps(side, place)).sum())
        form = "rows, then columns" if layer.decomposed else "all pairs"
        self.story.value = f"{form}; the query place gathers from {reach:.1f} steps away on average, over {side}×{side}"

    def _reads(self, i: int, head: int) -> torch.Tensor:
        """What the chosen layer reads when the model sees a clip; on the way, what the model says with the decay."""
        layer = self.layer.value
        self.inputs = self.model.inputs_of(self.samples, [i])
        seen: list[torch.Tensor] = []
        hook = layer.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
        trained = layer.gamma
        gamma = trained.clone()
        gamma[head] = self.decay.value
        try:
            layer.set_decay(gamma)
            logits = self.model(**self.inputs)
        finally:
            layer.set_decay(trained)
            hook.remove()
        self.bars.show(logits[0].numpy())
        return seen[0]


def _weights(layer: ManhattanRetention, decay: float, x: torch.Tensor, place: tuple[int, int]) -> list[torch.Tensor]:
    """Weights of one query (heads, side, side): distance alone, content alone, both."""
    trained, side, row = layer.gamma, layer.grid, place[0] * layer.grid + place[1]
    gamma = torch.full((layer.heads,), decay)
    line = manhattan_bias(gamma, 1, side).softmax(-1)
    try:
        layer.set_decay(gamma)
        both = layer.weights(x)[0, :, row]
        layer.set_decay(torch.ones_like(gamma))
        content = layer.weights(x)[0, :, row]
    finally:
        layer.set_decay(trained)
    # Without content the weights of both forms are a product: so much up or down, so much left or right.
    distance = line[:, place[0], :, None] * line[:, place[1], None, :]
    return [distance, *(t.unflatten(-1, (side, side)) for t in (content, both))]


def _steps(side: int, place: tuple[int, int]) -> np.ndarray:
    y, x = np.mgrid[:side, :side]
    return np.asarray(np.abs(y - place[0]) + np.abs(x - place[1]))


def _mark(picture: np.ndarray, side: int, place: tuple[int, int]) -> None:
    row, column = (int((p + 0.5) / side * len(picture)) for p in place)
    picture[max(row - 1, 0) : row + 1, max(column - 1, 0) : column + 1] = (214, 94, 0)
