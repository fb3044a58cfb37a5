"""Sliders beside a picture that follows them, and that stays when a notebook is read without a kernel."""

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
import numpy as np

from tsfmicro_lab.explain.figures import Picture
from tsfmicro_lab.widgets.tiles import png


class Sliders(widgets.VBox):  # type: ignore[misc]
    """Controls and what is drawn from their values.

    Args:
        draw: Called with the value of each control by its name; returns a figure, or an RGB picture.
        controls: Sliders, menus, switches.

    Example:
        >>> grey = lambda level: np.full((20, 20, 3), level, np.uint8)
        >>> Sliders(grey, level=widgets.IntSlider(128, max=255)).picture[1:4]
        b'PNG'
    """

    def __init__(self, draw: Callable[..., Picture | np.ndarray], **controls: widgets.Widget) -> None:
        self.draw, self.controls = draw, controls
        self.image, self.message = widgets.Image(format="png"), widgets.HTML()
        for name, control in controls.items():
            control.description = control.description or name.replace("_", " ")
            control.style.description_width = "initial"
            control.observe(self._show, names="value")
        row = widgets.HBox([*controls.values()], layout={"flex_flow": "row wrap"})
        super().__init__([row, self.message, self.image])
        self.image.value = self._drawn()

    @property
    def picture(self) -> bytes:
        """What is shown, as a PNG."""
        return bytes(self.image.value)

    def _drawn(self) -> bytes:
        drawn = self.draw(**{name: control.value for name, control in self.controls.items()})
        return png(drawn) if isinstance(drawn, np.ndarray) else drawn._repr_png_()

    def _show(self, _: object) -> None:
        try:
            self.image.value, self.message.value = self._drawn(), ""
        except (ValueError, OSError) as error:
            self.message.value = f"<b>⚠ {error}</b>"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle: dict[str, Any] = super()._repr_mimebundle_(**kwargs)
        return bundle | {"image/png": self.picture}
