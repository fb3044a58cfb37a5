"""`tsfmicro-lab score` and `results`: what predictions are worth, and what there is.

Beside `cli`, which registers them, so that a file holds one idea.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from tsfmicro_lab.commands import console, plain_errors

if TYPE_CHECKING:
    import pandas as pd


def score(
    files: Annotated[list[Path], typer.Argument(help="Folders of runs, parquet tables, or logs of MEGC2019.")],
    details: Annotated[bool, typer.Option(help="Also score each class, and each part of a composite.")] = False,
) -> None:
    """Score predictions anew: of a run, or of somebody else's model from its MEGC2019 log; pooled over all folds."""
    import pandas as pd

    from tsfmicro_lab.results import read_result, run_table
    from tsfmicro_lab.training import class_table, fold_table, score_table

    with plain_errors():
        results = [result for path in files for result in read_result(path)]
        frame(_short(run_table(results)), "all folds pooled; 95 % intervals over subjects")
        first = results[0]
        if not first.units:
            guess = score_table(first.predictions, first.classes).iloc[1:]
            frame(guess.drop(columns="seed"), f"guessing on the clips of {first.name}")
        for result in results if details else ():
            frame(class_table(result.predictions, result.classes), f"{result.name}: each class")
            if "data" in result.predictions:
                frame(fold_table(result.predictions, result.classes, "data"), f"{result.name}: each data set")
        _compare(pd.concat([r.predictions.assign(model=r.name, seed=0) for r in results]), first.name, first.classes)


def results(
    folder: Annotated[Path, typer.Argument(help="Where runs lie, at any depth.")],
    model: Annotated[str, typer.Option(help="Only models whose name holds this.")] = "",
    selection: Annotated[str, typer.Option(help="Only this selection: last, inner or leaky.")] = "",
    csv: Annotated[Path | None, typer.Option(help="Write the table to this CSV file.")] = None,
    latex: Annotated[Path | None, typer.Option(help="Write the table to this LaTeX file.")] = None,
    html: Annotated[bool, typer.Option(help="Write report.html into the folder of each run.")] = False,
) -> None:
    """Show every run below a folder as a table; export it, or write a page about each run."""
    from tsfmicro_lab.progress import track
    from tsfmicro_lab.results import find_results, run_table
    from tsfmicro_lab.run_report import load_frames, write_report

    with plain_errors():
        found = find_results(folder)
        table = run_table(found)
        keep = table.model.str.contains(model, regex=False) & table.selection.str.contains(selection, regex=False)
        found, table = [r for r, kept in zip(found, keep, strict=True) if kept], table[keep]
        frame(_short(table), f"{len(table)} of {len(keep)} runs")
        if csv:
            table.to_csv(csv, index=False)
        if latex:
            latex.write_text(table.to_latex(index=False, float_format="%.3f", escape=True), encoding="utf-8")
        pages = [write_report(r, samples=load_frames(r)) for r in track(found, "pages")] if html else []
        for page in pages:
            console.print(escape(str(page)), soft_wrap=True)


def frame(table: "pd.DataFrame", title: str) -> None:
    """Prints a table."""
    shown = Table(*(Column(str(name), overflow="fold") for name in table), title=escape(title))
    for row in table.itertuples(index=False):
        shown.add_row(*(f"{v:.3f}" if isinstance(v, float) else escape(str(v)) for v in row))
    console.print(shown)


def _short(table: "pd.DataFrame") -> "pd.DataFrame":
    """What fits a terminal; everything is in the CSV file."""
    shown = table[["run", "selection", "clips", "uar", "accuracy"]].copy()
    rows = zip(table.uf1, table.low, table.high, strict=True)
    shown.insert(2, "UF1", [f"{u:.3f}" + (f" ({a:.2f} to {b:.2f})" if a == a else "") for u, a, b in rows])
    return shown


def _compare(predictions: "pd.DataFrame", first: str, classes: tuple[str, ...]) -> None:
    """Models on the same subjects, paired; others cannot be compared so."""
    from tsfmicro_lab.training import compare_models, detectable_gain

    people = predictions.groupby("model").subject.agg(frozenset)
    alike = predictions[predictions.model.map(people) == people[first]]
    if alike.model.nunique() < 2 or len(people[first]) < 2 or not {*alike.predicted, *alike.truth} <= {*classes}:
        return
    frame(compare_models(alike, first, classes), f"gain in UF1 over {first}, p by swapping subjects, Holm's correction")
    models = dict(list(alike.groupby("model", sort=False)))
    least = [detectable_gain(m, models[first], classes, len(people[first])) for n, m in models.items() if n != first]
    console.print(f"{len(people[first])} subjects show a true gain of about {max(least):.3f} four times in five.")
