"""Does the onset frame help where it is needed? What comparison.json holds of it, as a table and as a chart."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from studies.compare import Comparison
from studies.plots import intervals_chart

STORED = Path(__file__).parents[1] / "results" / "comparison.json"
#: Settings of the comparison, by what the stream of the motion reads in them.
SETTINGS = {"needed": "difference of frames", "needed, flow": "optical flow"}
#: Floors and a ceiling beside the networks.
BESIDE = ("chance", "linear_flow", "linear_difference", "oracle: true displacement")


def where_needed(path: Path = STORED, models: Sequence[str] | None = None) -> pd.DataFrame:
    """UF1 on new heads where the onset frame is needed.

    Args:
        path: Of the stored comparison.
        models: Which ones; all fusions, both single streams and :data:`BESIDE` by default.

    Returns:
        One row per setting and model, best first: `motion` (what its stream reads), `model`, `seeds`, `uf1`, `low`,
        `high`.

    Example:
        >>> where_needed(models=["tsfmicro_early"]).motion.tolist()
        ['difference of frames', 'optical flow']
    """
    rows = Comparison.load(path).intervals.query("setting in @SETTINGS")
    kept = rows.model.isin(models) if models else rows.model.str.startswith("tsfmicro") | rows.model.isin(BESIDE)
    rows = rows[kept].assign(motion=rows.setting.map(SETTINGS)).sort_values(["setting", "uf1"], ascending=[True, False])
    return rows[["motion", "model", "seeds", "uf1", "low", "high"]].reset_index(drop=True)


def where_needed_chart(table: pd.DataFrame) -> go.Figure:
    """UF1 with 95 % intervals, what the motion is read as in colour, the best where the face must be known on top."""
    harder = table.sort_values(["motion", "uf1"], ascending=False).drop_duplicates("model").model
    table = table.set_index("model").loc[harder].reset_index()
    return intervals_chart(table, "uf1", "model", "low", "high", "motion", title="UF1 on new heads")
