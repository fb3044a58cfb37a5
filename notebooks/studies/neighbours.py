"""Three more models, each an idea of a paper whose abstract alone was read; and who is related to whom, by the code.

Importing this module adds them to the models that `create_model` builds. Their sizes are ours: no reproductions.
"""

from collections.abc import Sequence

import pandas as pd

from studies.dual_branch import DualBranch
from studies.dynamic_fusion import DynamicFusion
from studies.expression_proposal import ExpressionProposal
from tsfmicro_lab.explain.figures import Picture
from tsfmicro_lab.models import MODELS, create_model

IDEAS = (DynamicFusion, ExpressionProposal, DualBranch)
MODELS.update({model.name: model for model in IDEAS})
#: Parts that are too common to make relatives.
COMMON = {"SelfAttention", "ViT", "PatchEmbedding", "TransformerBlock", "DropPath", "DepthwiseConv", "Thumbnail"}
COMMON |= {"Recognizer", "ConvStem", "Classifier", "TSFmicroLate"}


def parts(name: str) -> set[str]:
    """The lab's own building blocks that a model consists of, read off its modules and its class.

    Example:
        >>> sorted(parts("mmnet") & parts("tsfmicro_late"))
        ['StreamSum', 'ThumbnailViT']
    """
    model = create_model(name)
    kinds = {*map(type, list(model.modules())[1:]), *type(model).__mro__[1:]}
    return {kind.__name__ for kind in kinds if kind.__module__.split(".")[0] in ("tsfmicro_lab", "studies")} - COMMON


def family(names: Sequence[str] = tuple(MODELS)) -> pd.DataFrame:
    """Models by year, each with the earlier one that shares most building blocks with it.

    Returns:
        By name: `year`, `after` (empty where nobody before has a block of it), `shared`, `new` (blocks nobody had).
    """
    names = sorted(names, key=lambda name: (MODELS[name].year, list(MODELS).index(name)))
    of, rows = {name: parts(name) for name in names}, []
    for i, name in enumerate(names):
        before = names[:i]
        closest = max(before, key=lambda other: len(of[name] & of[other]), default="")
        shared = of[name] & of[closest] if closest else set()
        new = of[name] - set().union(*(of[other] for other in before))
        known = [closest if shared else "", ", ".join(sorted(shared)), ", ".join(sorted(new))]
        rows.append([name, MODELS[name].year, *known])
    return pd.DataFrame(rows, columns=["model", "year", "after", "shared", "new"]).set_index("model")


def family_tree(table: pd.DataFrame) -> Picture:
    """The family as a picture: years from left to right, a line from the model that shares most, and what is new."""
    years = sorted({*table.year})
    figure = Picture(figsize=(10, 0.42 * len(table) + 0.6), layout="constrained")
    axis = figure.subplots()
    place = {name: (years.index(row.year), -i) for i, (name, row) in enumerate(table.iterrows())}
    parents = [name for name in table.index if name in set(table.after)]
    for name, row in table.iterrows():
        x, y = place[name]
        if row.after:
            from_x, from_y = place[row.after]
            beside = from_x - 0.08 * (1 + sum(place[p][0] == from_x for p in parents[: parents.index(row.after)]))
            axis.plot([from_x, beside, beside, x], [from_y, from_y, y, y], color="#0072B2", linewidth=1, zorder=0)
        new = row.new if len(row.new) < 60 else row.new[:60].rpartition(",")[0] + ", …"
        axis.plot(x, y, "o", color="#D55E00", markersize=5)
        axis.text(x + 0.1, y, f"{name}  + {new}" if new else str(name), va="center", fontsize=8)
    axis.set(yticks=[], xticks=range(len(years)), xticklabels=years, xlim=(-0.5, len(years) + 2.5))
    axis.spines[["top", "left", "right"]].set_visible(False)
    return figure
