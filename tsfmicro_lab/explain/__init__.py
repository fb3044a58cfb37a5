"""What a prediction rests on, and whether that can be believed."""

from tsfmicro_lab.explain.attribution import WhereHow, share_inside, where_how, where_how_batch
from tsfmicro_lab.explain.figures import clips_figure, where_how_figure

__all__ = ["WhereHow", "clips_figure", "share_inside", "where_how", "where_how_batch", "where_how_figure"]
