"""`tsfmicro-lab score` and `results`: what predictions are worth, and what runs there are."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tsfmicro_lab.cli.output import print_table

if TYPE_CHECKING:
    import pandas as pd

    from tsfmicro_lab.results import Result


def score(
    files: Annotated[list[Path], typer.Argument(help="Folders of runs, CSV tables, or logs of MEGC2019.")],
    details: Annotated[bool, typer.Option(help="Also score each class, and each part of a composite.")] = False,
) -> None:
    """Score predictions anew: of a run, or of somebody else's model from its MEGC2019 log; pooled over all folds."""
    from tsfmicro_lab.results import read_result, run_table
    from tsfmicro_lab.training.metrics import class_table, fold_table, score_table

    results = [result for path in files for result in read_result(path)]
    print_table(_short(run_table(results)), "all folds pooled; 95 % intervals over subjects")
    first = results[0]
    if not first.units:
        guess = score_table(first.predictions, first.classes).iloc[1:]
        print_table(guess.drop(columns="seed"), f"guessing on the clips of {first.name}")
    for r in results if details else ():
        print_table(class_table(r.predictions, r.classes), f"{r.name}: each class")
        if "data" in r.predictions:
            print_table(fold_table(r.predictions, r.classes, "data"), f"{r.name}: each data set")
    _compare(results)


def results(
    folder: Annotated[Path, typer.Argument(help="Where runs lie, at any depth.")],
    model: Annotated[str, typer.Option(help="Only models whose name holds this.")] = "",
    selection: Annotated[str, typer.Option(help="Only this selection: last, validation or leaky.")] = "",
    csv: Annotated[Path | None, typer.Option(help="Write the table to this CSV file.")] = None,
    latex: Annotated[Path | None, typer.Option(help="Write the table to this LaTeX file.")] = None,
    html: Annotated[bool, typer.Option(help="Write report.html into the folder of each run.")] = False,
) -> None:
    """Show every run below a folder as a table; export it, or write a page about each run."""
    from tqdm.auto import tqdm

    from tsfmicro_lab.reports import run_report
    from tsfmicro_lab.results import find_results, load_frames, run_table

    found = find_results(folder)
    table = run_table(found)
    keep = table.model.str.contains(model, regex=False) & table.selection.str.contains(selection, regex=False)
    table = table[keep]
    print_table(_short(table), f"{len(table)} of {len(keep)} runs")
    if csv:
        table.to_csv(csv, index=False)
    if latex:
        latex.write_text(table.to_latex(index=False, float_format="%.3f", escape=True), encoding="utf-8")
    chosen = [found[i] for i in table.index]
    for page in [run_report(r, samples=load_frames(r)) for r in tqdm(chosen, "pages")] if html else []:
        print(page)


def _short(table: "pd.DataFrame") -> "pd.DataFrame":
    """What fits a terminal; everything is in the CSV file."""
    shown = table[["run", "selection", "clips", "uar", "accuracy"]].copy()
    rows = zip(table.uf1, table.low, table.high, strict=True)
    shown.insert(2, "UF1", [f"{u:.3f}" + (f" ({a:.2f} to {b:.2f})" if a == a else "") for u, a, b in rows])
    return shown


def _compare(results: "list[Result]") -> None:
    """Models on the same subjects as the first, paired; others cannot be compared so."""
    import pandas as pd

    from tsfmicro_lab.training.statistics import compare_models, detectable_gain

    first, people = results[0], set(results[0].predictions.subject)
    alike = [r for r in results if set(r.predictions.subject) == people]
    models = {r.name: r.predictions.assign(model=r.name, seed=0) for r in alike}
    table = pd.concat(models.values())
    if len(models) < 2 or len(people) < 2 or not {*table.predicted, *table.truth} <= {*first.classes}:
        return
    title = f"gain in UF1 over {first.name}, p by swapping subjects, Holm's correction"
    print_table(compare_models(table, first.name, first.classes), title)
    others = [rows for name, rows in models.items() if name != first.name]
    least = max(detectable_gain(rows, models[first.name], first.classes, len(people)) for rows in others)
    print(f"{len(people)} subjects show a true gain of about {least:.3f} four times in five.")
