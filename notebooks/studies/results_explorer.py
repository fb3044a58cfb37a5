"""ResultsExplorer: runs as a table, who is hard, what is taken for what, and the clips that were missed."""

from collections.abc import Hashable, Sequence
from html import escape
from itertools import zip_longest
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import plotly.express as px
import traitlets
from IPython.display import Image
from plotly.io.base_renderers import PlotlyRenderer

from tsfmicro_lab.data.samples import Samples
from tsfmicro_lab.explain.charts import TEMPLATE, confusion_chart, folds_chart
from tsfmicro_lab.explain.figures import MAP_LABEL, Picture, shared_limit, stream_title
from tsfmicro_lab.preprocess.keyframes import difference_frame
from tsfmicro_lab.results import Result, explain_clip, find_results, load_frames, run_table
from tsfmicro_lab.training.metrics import class_table
from tsfmicro_lab.widgets.explorer import Explorer, menu
from tsfmicro_lab.widgets.tiles import Pane, Pictures

#: Charts without buttons, one of which would send the chart away; and their size.
BARE = PlotlyRenderer({"displayModeBar": False})
MARGINS = {"height": 300, "margin": {"t": 20, "b": 40, "l": 50, "r": 10}}


class ResultsExplorer(Explorer):
    """Browses finished runs, given or below a folder. One that chose by its test clips says leaky wherever it is named.

    Clips that were missed are shown where `samples` holds them, or frames were kept beside the run
    (`training.evaluate(keep_frames=True)`).

    Attributes:
        model, selection: Only these runs.
        run, missed: One of those that are left, and one of its mistakes, the surest first.
        table: The runs that are left, for export: `explorer.table.to_csv(...)`, `explorer.table.to_latex(...)`.

    Raises:
        ValueError: There is no run.
    """

    model, selection = traitlets.Unicode(), traitlets.Unicode()
    run, missed = traitlets.Any(), traitlets.Any()
    legend = f"maps: {MAP_LABEL}; difference: orange brighter, purple darker"

    def __init__(self, folder: Path | str | Sequence[Result], samples: Samples | None = None) -> None:
        self.results = find_results(folder) if isinstance(folder, Path | str) else list(folder)
        self.samples, self._all = samples, run_table(self.results)
        columns = {name: menu(name, ["all", *self._all[name].unique()]) for name in ("model", "selection")}
        wide = {"layout": {"width": "32em"}}
        controls = columns | {"run": menu("run", [], **wide), "missed": menu("missed clip", [], **wide)}
        self.rows, self.pictures = widgets.HTML(), Pictures()
        self.charts = [widgets.Output() for _ in range(2)]
        super().__init__(controls, [[self.rows], self.charts, [self.pictures]])
        self.when(["model", "selection"], self._filter)
        self.when(["run"], self._show)
        self.when(["missed"], self._explain, "explaining")
        self._filter()

    def snapshot(self) -> Image:
        """The chosen run as a still picture: accuracy of each subject and, of classes, what is taken for what."""
        from sklearn.metrics import ConfusionMatrixDisplay

        result = self.results[self.run or 0]
        rows, classes, figure = result.predictions, result.classes, Picture(figsize=(10, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        accuracy = (rows.truth == rows.predicted).groupby(rows.subject).mean().sort_values()
        accuracy.plot.bar(ax=left, title=result.name, ylabel="accuracy", ylim=(0, 1))
        if result.units:
            class_table(rows, classes).plot.bar("name", "f1", ax=right, xlabel="action unit", ylim=(0, 1))
        else:
            ConfusionMatrixDisplay.from_predictions(rows.truth, rows.predicted, labels=classes, cmap="Blues", ax=right)
        return Image(data=figure._repr_png_(), format="png")

    def _filter(self) -> None:
        keep = self.chosen(self._all, "model", "selection")
        self.table = self._all[keep].reset_index(drop=True)
        self.rows.value = self.table.round(3).to_html(index=False, border=0, na_rep="")
        _fill(self.controls["run"][0], [(f"{row.run}: {row.model}", i) for i, row in self._all[keep].iterrows()])

    def _show(self) -> None:
        names, figures = list[str](), list[Any]()
        if self.run is not None:
            result = self.results[self.run]
            table, classes = result.predictions, result.classes
            figures = [folds_chart(table, classes), confusion_chart(table, classes)]
            if result.units:
                figures = [px.bar(class_table(table, classes), x="name", y="f1", template=TEMPLATE, range_y=(0, 1))]
            names = [f"{r.subject}/{r['clip']}: {r.truth} taken for {r.predicted}" for _, r in result.missed.iterrows()]
        for place, figure in zip_longest(self.charts, figures):
            data = figure and BARE.to_mimebundle(figure.update_layout(MARGINS).to_dict())
            place.outputs = ({"output_type": "display_data", "metadata": {}, "data": data},) if data else ()
        _fill(self.controls["missed"][0], [(name, i) for i, name in enumerate(names)])

    def _explain(self) -> None:
        self.pictures.show()
        result, unseen = self.results[self.run or 0], "No frames were kept with this run: give samples= to see them."
        samples, self.story.value = self.samples or load_frames(result), "" if self.missed is None else unseen
        if samples is None or self.missed is None:
            return
        clip, heat = explain_clip(result, samples, result.missed.iloc[self.missed])
        face, apex = map(clip.frame, clip.key_frames)
        change = Pane("difference", None, difference_frame(face, apex).mean(-1), unit="grey levels", smooth=True)
        self.story.value = "No model of two streams was kept with this run, so there is no map."
        panes = [Pane("onset", face), change]
        if heat:
            limit = shared_limit([heat])
            panes += [Pane(stream_title(n), face, heat[n], limit, unit="logit", smooth=True) for n in heat]
            self.story.value = f"explained <b>{escape(result.classes[heat.target])}</b>"
        self.pictures.show(*panes)


def _fill(menu: widgets.Dropdown, options: list[tuple[str, Hashable]]) -> None:
    """Gives a menu other options and chooses the first: always a change, also where the number stays the same."""
    menu.value = None
    menu.options = options
    menu.value = options[0][1] if options else None
