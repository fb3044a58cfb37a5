"""Widgets for notebooks: sliders over models and clips. They show what the library computes and hold no science."""

from tsfmicro_lab.widgets.fusion import FusionExplorer
from tsfmicro_lab.widgets.retention import RetentionExplorer

__all__ = ["FusionExplorer", "RetentionExplorer"]
