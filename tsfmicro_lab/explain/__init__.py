"""What a prediction rests on, and whether that can be believed."""

from tsfmicro_lab.explain.attribution import WhereHow, explain_all, mass_inside, where_how
from tsfmicro_lab.explain.figures import clips_figure, where_how_figure
from tsfmicro_lab.explain.methods import METHODS
