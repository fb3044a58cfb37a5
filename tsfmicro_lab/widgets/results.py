"""ResultsExplorer: runs as a table, who is hard, what is taken for what, and the clips that were missed."""

from collections.abc import Hashable, Sequence
from pathlib import Path

import ipywidgets as widgets
import traitlets
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

    model, selection = traitlets.Unicode(), traitlets.Unicode()
    run, missed = traitlets.Any(), traitlets.Any()

    def __init__(self, folder: Path | str | Sequence[Result], samples: Samples | None = None) -> None:
        self.results = find_results(folder) if isinstance(folder, Path | str) else list(folder)
        self.samples, self._all = samples, run_table(self.results)
        columns = {name: menu(name, ["all", *self._all[name].unique()]) for name in ("model", "selection")}
        controls = columns | {"run": menu("run", []), "missed": menu("missed clip", [])}
        self.rows, self.picture, self.shown = widgets.HTML(), widgets.Image(format="png"), widgets.Image(format="png")
        super().__init__(controls, [[self.rows], [self.picture], [self.shown]])
        self.when(["model", "selection"], self._filter)
        self.when(["run"], self._show)
        self.when(["missed"], self._explain, "explaining")
        self._filter()

    def snapshot(self) -> Image:
        """The chosen run's picture as a still one."""
        return Image(data=bytes(self.picture.value), format="png")

    def _filter(self) -> None:
        keep = self._all.model.notna()
        for column in ("model", "selection"):
            keep &= (getattr(self, column) == "all") | (self._all[column] == getattr(self, column))
        self.table = self._all[keep].reset_index(drop=True)
        self.rows.value = self.table.round(3).to_html(index=False, border=0, na_rep="")
        _fill(self.controls["run"][0], [(f"{row.run}: {row.model}", i) for i, row in self._all[keep].iterrows()])

    def _show(self) -> None:
        if self.run is None:
            self.picture.value = b""
            _fill(self.controls["missed"][0], [])
            return
        result = self.results[self.run]
        self.picture.value = run_figure(result.predictions, result.classes)._repr_png_()
        names = [f"{r.subject}/{r['clip']}: {r.truth} taken for {r.predicted}" for _, r in result.missed.iterrows()]
        _fill(self.controls["missed"][0], [(name, i) for i, name in enumerate(names)])

    def _explain(self) -> None:
        self.shown.value, self.story.value = b"", ""
        if self.run is None or self.missed is None:
            return
        result = self.results[self.run]
        samples = self.samples or load_frames(result)
        if samples is None:
            self.story.value = "No frames were kept with this run: give samples= to see the clip."
            return
        clip, heat = explain_clip(result, samples, result.missed.iloc[self.missed])
        if heat is None:
            self.story.value = "No model of two streams was kept with this run, so there is no map."
        else:
            self.shown.value = where_how_figure([clip], [heat], result.classes)._repr_png_()


def _fill(menu: widgets.Dropdown, options: list[tuple[str, Hashable]]) -> None:
    """Gives a menu other options and chooses the first: always a change, also where the number stays the same."""
    menu.value = None
    menu.options = options
    menu.value = options[0][1] if options else None
