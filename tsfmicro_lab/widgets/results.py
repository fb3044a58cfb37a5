"""ResultsExplorer: runs as a table, who is hard, what is taken for what, and the clips that were missed."""

from collections.abc import Hashable, Sequence
from pathlib import Path

import ipywidgets as widgets
from IPython.display import Image

from tsfmicro_lab.data.samples import Samples
from tsfmicro_lab.explain.figures import run_figure, where_how_figure
from tsfmicro_lab.results import Result, explain_clip, find_results, load_frames, run_table
from tsfmicro_lab.widgets.explorer import Explorer, menu


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

    def __init__(self, folder: Path | str | Sequence[Result], samples: Samples | None = None) -> None:
        self.results = find_results(folder) if isinstance(folder, Path | str) else list(folder)
        self.samples, self._all = samples, run_table(self.results)
        self.model = menu("model", ["all", *self._all.model.unique()])
        self.selection = menu("selection", ["all", *self._all.selection.unique()])
        self.run, self.missed, self.rows = menu("run", []), menu("missed clip", []), widgets.HTML()
        self.picture, self.clip = widgets.Image(format="png"), widgets.Image(format="png")
        controls = [[[self.model], [self.selection]], [[self.rows, self.run, self.picture, self.missed]]]
        super().__init__(controls, [[self.clip]])
        self.when([self.model, self.selection], self._filter)
        self.when([self.run], self._show)
        self.when([self.missed], self._explain, "explaining")
        self._filter()

    def snapshot(self) -> Image:
        """The chosen run's picture as a still one."""
        return Image(data=bytes(self.picture.value), format="png")

    def _filter(self) -> None:
        keep = self._all.model.notna()
        for control, column in ((self.model, "model"), (self.selection, "selection")):
            if control.value != "all":
                keep &= self._all[column] == control.value
        self.table = self._all[keep].reset_index(drop=True)
        self.rows.value = self.table.round(3).to_html(index=False, border=0, na_rep="")
        _fill(self.run, [(f"{row.run}: {row.model}", i) for i, row in self._all[keep].iterrows()])

    def _show(self) -> None:
        if self.run.value is None:
            self.picture.value = b""
            _fill(self.missed, [])
            return
        result = self.results[self.run.value]
        self.picture.value = run_figure(result.predictions, result.classes)._repr_png_()
        names = [f"{r.subject}/{r['clip']}: {r.truth} taken for {r.predicted}" for _, r in result.missed.iterrows()]
        _fill(self.missed, [(name, i) for i, name in enumerate(names)])

    def _explain(self) -> None:
        self.clip.value, self.story.value = b"", ""
        if self.run.value is None or self.missed.value is None:
            return
        result = self.results[self.run.value]
        samples = self.samples or load_frames(result)
        if samples is None:
            self.story.value = "No frames were kept with this run: give samples= to see the clip."
            return
        clip, heat = explain_clip(result, samples, result.missed.iloc[self.missed.value])
        if heat is None:
            self.story.value = "No model of two streams was kept with this run, so there is no map."
        else:
            self.clip.value = where_how_figure([clip], [heat], result.classes)._repr_png_()


def _fill(menu: widgets.Dropdown, options: list[tuple[str, Hashable]]) -> None:
    """Gives a menu other options and chooses the first: always a change, also where the number stays the same."""
    menu.value = None
    menu.options = options
    menu.value = options[0][1] if options else None
