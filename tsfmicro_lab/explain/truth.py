"""Maps against what is known, and against each other."""

import numpy as np
from scipy.stats import spearmanr

from tsfmicro_lab.explain.attribution import Heat
from tsfmicro_lab.explain.methods import Mask


def pointing(heat: Heat, region: Mask) -> float:
    """The pointing game: does the strongest pixel lie in the region (Zhang et al., arXiv 1608.00507)?

    1 or 0; of several pixels of equal absolute value the share that lies in it; 0 for a map of zeros.

    Example:
        >>> pointing(np.array([[3.0, -3.0, 0.0]]), np.array([[True, False, False]]))
        0.5
    """
    mass = np.abs(heat)
    return float(region[mass == mass.max()].mean()) if mass.any() else 0.0


def rank_correlation(first: Heat, second: Heat) -> float:
    """Spearman's correlation of two maps' absolute values, pixel by pixel; 0 where one of them is even."""
    first, second = np.abs(first), np.abs(second)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(round(spearmanr(first, second, axis=None).statistic, 12))
