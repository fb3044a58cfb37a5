"""TSFmicro Lab: learn, explore and check micro-expression recognition.

The way of the data: a data set gives clips (`data`), `preprocess` aligns them, `models` read them, `training`
evaluates honestly, and `explain` shows what a prediction rests on.
"""

from importlib.metadata import version

__version__ = version("tsfmicro-lab")
