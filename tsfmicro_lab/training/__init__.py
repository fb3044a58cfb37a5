"""Training and honest evaluation."""

from tsfmicro_lab.models.base import to_inputs
from tsfmicro_lab.training.augmentation import Augmentation
from tsfmicro_lab.training.checkpoint import Checkpoint
from tsfmicro_lab.training.cross_validation import cross_validate, evaluate, fold_processes
from tsfmicro_lab.training.loop import RECIPES, Recipe, decide, fit, predict
from tsfmicro_lab.training.metrics import calibration, class_table, confusion, fold_table, score_table, scores, summary
from tsfmicro_lab.training.protocols import Run, run_fold
from tsfmicro_lab.training.splits import Fold, leave_one_subject_out
from tsfmicro_lab.training.statistics import compare_models, detectable_gain, subject_interval
