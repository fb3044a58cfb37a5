"""Where clips come from, and samples prepared from them."""

from tsfmicro_lab.data.action_units import parse_action_units
from tsfmicro_lab.data.cards import list_cards, read_card
from tsfmicro_lab.data.lookalike import synthesize
from tsfmicro_lab.data.moving_face import Distractors, photograph
from tsfmicro_lab.data.recordings import (
    Casme,
    Casme2,
    Casme3,
    CasmeSquared,
    Dfme,
    FourDme,
    Mmew,
    Recordings,
    Samm,
    Smic,
    load,
)
from tsfmicro_lab.data.samples import Samples, prepare
from tsfmicro_lab.data.schema import ANNOTATIONS, Dataset
from tsfmicro_lab.data.synthetic import SyntheticMicroExpressions

__all__ = [
    "ANNOTATIONS",
    "Casme",
    "Casme2",
    "Casme3",
    "CasmeSquared",
    "Dataset",
    "Dfme",
    "Distractors",
    "FourDme",
    "Mmew",
    "Recordings",
    "Samm",
    "Samples",
    "Smic",
    "SyntheticMicroExpressions",
    "list_cards",
    "load",
    "parse_action_units",
    "photograph",
    "prepare",
    "read_card",
    "synthesize",
]
