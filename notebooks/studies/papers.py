"""Reading papers: published scores and recipes, what is known of their protocol, and whether they can be true.

`python -m studies.papers` in notebooks/ writes docs/recipes.md and the reference scores of the data cards anew.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from jaxtyping import Float, Int

from tsfmicro_lab.data.cards import list_cards, read_card
from tsfmicro_lab.files import bundled
from tsfmicro_lab.training import Recipe
from tsfmicro_lab.training.metrics import uf1_of_counts

ROOT = Path(__file__).parents[2]
SCORES = ("uf1", "uar", "f1", "accuracy")
#: Where more than :data:`MOST` rows are known, a data card has these: baselines, methods that are rebuilt here, and the
#: two highest in the composite of MEGC2019.
NAMED = (
    "LBP-TOP",
    "MDMO",
    "Off-ApexNet",
    "STSTNet",
    "SLSTT",
    "FRL-DGT",
    "MMNet",
    "TSFmicro",
    "HTNet",
    "CausalNet",
    "D-FACE",
)
#: Rows of a data card that are all shown.
MOST = 20
#: What a number, a word or a setting is called that nobody here has read.
UNREAD = "not read"


def published() -> pd.DataFrame:
    """Scores that papers report: where they were read, who quotes them, how they were chosen, how that is known.

    All that were read on data sets that have a card are here. Numbers that several places quote stand once, under the
    name that their own paper gives them. Few of the papers could be read whole: most rows are what other papers, public
    code or pages quote, and rows of one list need not share a protocol.

    Returns:
        One row per method, data set, number of classes and protocol: `method`, `year`, `data`, `classes`, `protocol`
        (CDE: in the composite of MEGC2019; SDE: in the set alone; subjects left out one by one in both), `uf1`, `uar`,
        `f1`, `accuracy` (NaN: not read), `recomputed` (UF1 of the published confusion matrix), `selection` (leaky,
        honest or unknown), `evidence` for that, `quoted_by` (empty: the paper or its code itself), `source`.

    Example:
        >>> published().query("method == 'SLSTT-LSTM' and data == 'CASME II'")[["uf1", "recomputed"]].values.tolist()
        [[0.901, 0.893]]
    """
    table = pd.read_csv(Path(__file__).parents[1] / "results" / "published.csv", dtype={"year": str, "classes": str})
    return table.assign(
        **{name: table[name].fillna("") for name in map(str, table) if name not in (*SCORES, "recomputed")}
    )


SCORES_HEAD = """\
**Reference scores.** As printed, or as others quote them; nothing was run again here. *Leaky*: the epoch was chosen on
the test subject. CDE: within MEGC2019; SDE: this set alone; one subject is left out at a time. A dash: not read.
{shown}

| method | classes | protocol | UF1 | UAR | F1 | accuracy | chosen | read in |
|---|---|---|---|---|---|---|---|---|"""


def cards_of(data: str) -> set[str]:
    """The cards on which scores belong: one for each set of a composite without a card, whatever its camera or cut.

    Example:
        >>> sorted(cards_of("CASME + CASME II")), cards_of("SMIC-E-VIS"), cards_of("SAMM Long Videos")
        (['CASME', 'CASME II'], {'SMIC'}, {'SAMM'})
    """
    return {
        re.sub("^(SMIC|SAMM)[- ].*", r"\1", part).replace("MEGC2019", "MEGC2019 composite")
        for part in data.split(" + ")
    }


def reference_scores(card: str) -> str:
    """What papers report on the data set of a card, in Markdown; of many rows those of :data:`NAMED`."""
    table = published()
    table = table[[card in cards_of(data) for data in table.data]]
    if table.empty:
        return "**Reference scores.** None was read."
    known, shown = len(table), "All rows that were read."
    if known > MOST:
        table = table[table.method.str.startswith(NAMED) & ~table.method.str.contains("run again")]
        shown = (
            f"{len(table)} of the {known} rows that were read: baselines, methods that are rebuilt here, and the two\n"
        )
        shown += "highest in MEGC2019. All are in `notebooks/results/published.csv`."
    lines = [SCORES_HEAD.format(shown=shown)]
    for row in table.to_dict("records"):
        numbers = ["–" if pd.isna(row[name]) else f"{row[name]:.4f}".removesuffix("0") for name in SCORES]
        place = f"quoted in {row['quoted_by']}: {row['source']}" if row["quoted_by"] else row["source"]
        protocol = row["protocol"] + ("" if row["data"] in (card, "MEGC2019", "SMIC-HS") else f"; {row['data']}")
        cells = [row["method"], row["classes"], protocol, *numbers, row["selection"], place]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


@dataclass(frozen=True)
class PaperRecipe:
    """How others trained.

    Attributes:
        method, task: What, and on which data.
        size: Side of the input, pixels.
        settings: Fields of :class:`~tsfmicro_lab.training.Recipe`; None where nobody here has read them.
        reports: Which epoch is reported.
        besides: What a recipe cannot say.
        source: Where it was read.
        prepare: How its clips are prepared: name of the data set, release of its labels, target.
        first: Of a training in two stages, the settings in which the first one differs.
    """

    method: str
    task: str
    size: int | None
    settings: dict[str, Any]
    reports: str | None
    besides: str
    source: str
    prepare: dict[str, str] | None = None
    first: dict[str, Any] | None = None

    def recipe(self) -> Recipe:
        """The recipe, batch norm as published.

        Raises:
            ValueError: Something was not read; the message names it.

        Example:
            >>> paper_recipes()[0].recipe().lr
            0.0008
        """
        if unread := [name for name, value in self.settings.items() if value is None]:
            raise ValueError(f"{self.method}, {self.task}: {', '.join(unread)} was not read, so there is no recipe")
        return Recipe(**self.settings, recalibrate=False)


@cache
def paper_recipes() -> tuple[PaperRecipe, ...]:
    """Recipes of others, from recipes.yaml."""
    entries = yaml.safe_load(Path(__file__).with_name("recipes.yaml").read_text(encoding="utf-8"))
    return tuple(PaperRecipe(**{"settings" if k == "recipe" else k: v for k, v in entry.items()}) for entry in entries)


RECIPES_HEAD = """\
# How others trained

Read from code, at the commit that is named, or from what else is named; *not read* means that nobody here has read it,
not that the authors do not tell. No program that was read sets subjects aside to choose the epoch by. The numbers are
in `notebooks/studies/recipes.yaml`: `studies.papers.paper_recipes()[0].recipe()` is a `Recipe` to train with; one of
which something was not read is refused.

| method | data | optimiser | learning rate | epochs | batch | side | augmentation | loss | reports |
|---|---|---|---|---|---|---|---|---|---|"""


def recipes_page() -> str:
    """The page docs/recipes.md."""
    lines, notes = [RECIPES_HEAD], []
    for number, paper in enumerate(paper_recipes(), start=1):
        s = paper.settings
        optimiser = said("{optimizer}, weight decay {weight_decay}", s)
        optimiser += f", momentum {s['momentum']}" if "momentum" in s else ""
        stages = [s | paper.first, s] if paper.first else [s]
        rates, epochs = map(rate_in_words, stages), (said("{epochs}", stage) for stage in stages)
        cells = [f"{paper.method} [{number}]", paper.task, optimiser, "; then ".join(rates), " + ".join(epochs)]
        cells += [said("{batch_size}", s), said("{size}", {"size": paper.size}), augmentation_in_words(s)]
        lines.append(f"| {' | '.join([*cells, loss_in_words(s), paper.reports or UNREAD])} |")
        notes.append(f"{number}. {paper.source}." + (f" Besides: {paper.besides}." if paper.besides else ""))
    return "\n".join([*lines, "", *notes, ""])


def said(text: str, settings: dict[str, Any]) -> str:
    """A text with settings filled in, those that nobody has read in words."""
    return text.format(**{name: UNREAD if value is None else value for name, value in settings.items()})


def rate_in_words(s: dict[str, Any]) -> str:
    """Learning rate and schedule."""
    if s["schedule"] == "cosine":
        return said("{lr}, on a cosine to 0 every {decay_epochs} epochs", s)
    if s["schedule"] is None or s["decay"] is None:
        return said("{lr}, schedule not read", s)
    if s["decay"] == 1:
        return said("{lr}, constant", s)
    if s["schedule"] == "step":
        return said("{lr}, × {decay} every {decay_epochs} epochs", s)
    lasts = "" if s["epochs"] <= s["decay_epochs"] else said(" for {decay_epochs} epochs", s)
    return said("{lr}, × {decay} an epoch", s) + lasts


def augmentation_in_words(s: dict[str, Any]) -> str:
    """What is done to the frames."""
    if s["flip"] is None:
        return UNREAD
    if not any(s[name] for name in ("flip", "degrees", "shift", "strongest_pair")):
        return "none"
    return said("flip {flip}, ± {degrees}°, shift {shift}", s) + (", strongest pair" if s["strongest_pair"] else "")


def loss_in_words(s: dict[str, Any]) -> str:
    """The loss."""
    if s["class_weights"] is None:
        return UNREAD
    return (said("focal, {focal}", s) if s["focal"] else "cross-entropy") + (
        ", class weights" if s["class_weights"] else ""
    )


def with_scores(prose: str, scores: str) -> str:
    """The text of a card with its reference scores in place, before the licence."""
    bare = re.sub(r"\*\*Reference scores\.\*\*.*?\n\n(?=\*\*)", "", prose, flags=re.DOTALL)
    return bare.replace("**Licence and how to apply.**", f"{scores}\n\n**Licence and how to apply.**", 1)


def main() -> None:
    """Writes docs/recipes.md and the reference scores of the cards of recorded data sets."""
    (ROOT / "docs" / "recipes.md").write_text(recipes_page(), encoding="utf-8")
    for name in list_cards():
        if (card := read_card(name)).license == "other":
            path = bundled("data_cards") / f"{name}.md"
            text = with_scores(path.read_text(encoding="utf-8"), reference_scores(card.pretty_name))
            path.write_text(text, encoding="utf-8")


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


if __name__ == "__main__":
    main()
