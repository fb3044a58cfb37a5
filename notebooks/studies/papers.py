"""Reading papers: published scores with what is known of their protocol, and whether they can be true."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from jaxtyping import Float, Int

from tsfmicro_lab.training.metrics import uf1_of_counts


def published() -> pd.DataFrame:
    """Scores that papers report, with their source, how they chose what to report, and how that is known.

    Returns:
        One row per score: `method`, `data`, `classes`, `uf1`, `uar`, `selection` (leaky, honest or unknown),
        `evidence`, `source`, `counts` (clips of each class), `recomputed` (UF1 of the published confusion matrix).

    Example:
        >>> published().query("method == 'SLSTT-LSTM' and data == 'CASME II'")[["uf1", "recomputed"]].values.tolist()
        [[0.901, 0.893]]
    """
    entries = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    rows = [
        {**score, **{k: v for k, v in entry.items() if k != "scores"}} for entry in entries for score in entry["scores"]
    ]
    columns = ["method", "data", "classes", "uf1", "uar", "selection", "evidence", "source", "counts", "recomputed"]
    return pd.DataFrame(rows)[columns]


def integer_confusion(
    shares: Float[np.ndarray, "classes classes"], totals: Sequence[int], decimals: int = 2
) -> Int[np.ndarray, "classes classes"]:
    """Turns a confusion matrix printed as shares back into counts of clips, so that its UF1 can be computed.

    Args:
        shares: Rows are the true classes, each printed with the given decimals; in percent, divide by 100 first.
        totals: Clips of each true class.
        decimals: Of the shares (of a matrix in percent with one decimal: 3).

    Returns:
        The counts.

    Raises:
        ValueError: No counts give the printed shares, or several do: the row is named.

    Example:
        >>> counts = integer_confusion(np.array([[0.91, 0.09], [0.2, 0.8]]), [11, 5])
        >>> counts.tolist()
        [[10, 1], [1, 4]]
        >>> round(float(uf1_of_counts(counts)), 3)
        0.855
    """
    if shares.shape != (len(totals), len(totals)):
        raise ValueError(f"{len(totals)} classes need a matrix of that side, got {shares.shape}")
    half = 0.5 * 10.0**-decimals + 1e-9
    rows = []
    for number, (row, total) in enumerate(zip(shares, totals, strict=True)):
        fits = [[k for k in range(total + 1) if abs(k / total - share) <= half] for share in row]
        found = [counts for counts in product(*fits) if sum(counts) == total]
        if len(found) != 1:
            raise ValueError(
                f"row {number}: {len(found) or 'no'} ways to share out {total} clips print as {row.tolist()}; "
                "check the number of clips and the decimals"
            )
        rows.append(found[0])
    return np.array(rows)


def can_be_true(uf1: float, uar: float, totals: Sequence[int], decimals: int = 3) -> bool:
    """Whether any confusion matrix of three classes has both scores, as they are printed.

    Every matrix is tried whose recalls have that mean. A pair that fails was computed in another way (averaged over
    folds, from different epochs), or misprinted; one that passes may still have been.

    Args:
        uf1: Printed UF1.
        uar: Printed UAR.
        totals: Clips of each of the three classes.
        decimals: Of both.

    Raises:
        ValueError: There are not three classes.

    Example:
        >>> can_be_true(0.9, 0.9, [4, 4, 4], decimals=2), can_be_true(1.0, 1.0, [4, 4, 4])
        (False, True)
    """
    if len(totals) != 3:
        raise ValueError(f"this check is for 3 classes, got {len(totals)}")
    half = 0.5 * 10.0**-decimals + 1e-9
    right = np.indices([n + 1 for n in totals]).reshape(3, -1).T
    right = right[np.abs((right / totals).mean(1) - uar) <= half]
    for hits in right:
        wrong = np.array(totals) - hits
        # Of each row's errors, how many fall on the first of the two other classes.
        to = np.indices([n + 1 for n in wrong]).reshape(3, -1).T
        counts = np.zeros((len(to), 3, 3))
        counts[:, range(3), range(3)] = hits
        for row, others in enumerate(((1, 2), (0, 2), (0, 1))):
            counts[:, row, others[0]], counts[:, row, others[1]] = to[:, row], wrong[row] - to[:, row]
        if (np.abs(uf1_of_counts(counts) - uf1) <= half).any():
            return True
    return False
