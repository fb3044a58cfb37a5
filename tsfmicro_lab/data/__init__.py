"""Where clips come from, and samples prepared from them."""

from tsfmicro_lab.data.moving_face import Distractors, photograph
from tsfmicro_lab.data.samples import Samples, prepare
from tsfmicro_lab.data.schema import ANNOTATIONS, Dataset
from tsfmicro_lab.data.store import open_store, prepare_store
from tsfmicro_lab.data.synthetic import SyntheticMicroExpressions

__all__ = [
    "ANNOTATIONS",
    "Dataset",
    "Distractors",
    "Samples",
    "SyntheticMicroExpressions",
    "open_store",
    "photograph",
    "prepare",
    "prepare_store",
]
