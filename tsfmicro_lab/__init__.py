"""TSFmicro Lab: learn, explore and check micro-expression recognition.

The way of the data: a data set gives clips (`data`), `preprocess` aligns them, `models` read them, `training`
evaluates honestly, and `explain` shows what a prediction rests on.
"""

import os
from importlib.metadata import version

__version__ = version("tsfmicro-lab")

# Read when torch is first imported: its idle threads then sleep instead of spinning, so that several kernels on one
# machine do not slow one another down tenfold.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
