"""Where clips come from, and samples prepared from them."""

from tsfmicro_lab.data.action_units import parse_action_units
from tsfmicro_lab.data.cards import list_cards, read_card
from tsfmicro_lab.data.composite import (
    Composite,
    action_unit_table,
    class_set,
    megc2018,
    megc2019,
)
from tsfmicro_lab.data.megc_log import read_log, write_log
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
from tsfmicro_lab.data.store import open_store, prepare_store
from tsfmicro_lab.data.synthetic import SyntheticMicroExpressions

__all__ = [
    "ANNOTATIONS",
    "Casme",
    "Casme2",
    "Casme3",
    "CasmeSquared",
    "Composite",
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
    "action_unit_table",
    "class_set",
    "list_cards",
    "load",
    "megc2018",
    "megc2019",
    "open_store",
    "parse_action_units",
    "photograph",
    "prepare",
    "prepare_store",
    "read_card",
    "read_log",
    "write_log",
]
