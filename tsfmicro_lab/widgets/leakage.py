"""LeakageExplorer: what each leak adds, as more epochs are looked at, fewer subjects scored, more labels are noise."""

import ipywidgets as widgets
from IPython.display import Image

from tsfmicro_lab.explain.evaluation import leaks_figure
from tsfmicro_lab.explain.figures import Picture
from tsfmicro_lab.studies.leakage import Leakage, gains
from tsfmicro_lab.widgets.tiles import Message, labelled


class LeakageExplorer(widgets.VBox):
    """Three sliders over stored training runs, which are scored anew at every move.

    Args:
        leakage: What was measured.

    Attributes:
        noise: Slider: which share of the labels is noise.
        epochs: Slider: how many epochs are looked at.
        subjects: Slider: how many subjects are scored.
        table: The gains that are shown.

    Example:
        >>> from tsfmicro_lab.studies.leakage import Leakage
        >>> explorer = LeakageExplorer(Leakage.load("notebooks/results/leakage.json"))
        >>> explorer.epochs.value = 2
        >>> explorer.table.labels.unique().tolist()
        ['noise']
    """

    def __init__(self, leakage: Leakage) -> None:
        self.leakage = leakage
        epochs, people = len(leakage.clips.epochs[0]), leakage.clips.subject.nunique()
        names = [("none", "true"), ("half", "half noise"), ("all", "noise")]
        self.noise = labelled(widgets.SelectionSlider(options=names, value="noise"), "labels that are noise")
        self.epochs = labelled(
            widgets.IntSlider(epochs, min=1, max=epochs, continuous_update=False), "epochs looked at"
        )
        self.subjects = labelled(
            widgets.IntSlider(people, min=2, max=people, continuous_update=False), "subjects scored"
        )
        self.picture, self.message = widgets.Image(format="png"), Message()
        super().__init__([self.noise, self.epochs, self.subjects, self.message, self.picture])
        for control in (self.noise, self.epochs, self.subjects):
            control.observe(self._show, names="value")
        self._show()

    def snapshot(self) -> Image:
        """The picture as a still one."""
        return Image(data=bytes(self.picture.value), format="png")

    def _show(self, change: object = None) -> None:
        with self.message.telling("scoring"):
            chosen = self.noise.value
            self.table = gains(self.leakage.scores(self.epochs.value, self.subjects.value, chosen))
            figure = leaks_figure(self.table, [chosen])
            assert isinstance(figure, Picture)
            self.picture.value = figure._repr_png_()
