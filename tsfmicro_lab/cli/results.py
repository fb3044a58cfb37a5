"""`tsfmicro-lab score`, `results` and `verify`: what predictions are worth, what runs there are, and whether whole."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tsfmicro_lab.cli.output import Force, may_write, print_table
from tsfmicro_lab.files import write_text

if TYPE_CHECKING:
    import pandas as pd

    from tsfmicro_lab.results import Result


def score(
    files: Annotated[list[Path], typer.Argument(help="Folders of runs, CSV tables, or logs of MEGC2019.")],
    details: Annotated[bool, typer.Option(help="Also score each class, and each part of a composite.")] = False,
) -> None:
    """Score predictions anew: of a run, or of somebody else's model from its MEGC2019 log; pooled over all folds."""
    from tsfmicro_lab.results import compare, read_results, run_table
    from tsfmicro_lab.training.metrics import class_table, fold_table, score_table

    results = read_results(*files)
    print_table(_short(run_table(results)), "folds pooled; 95 % intervals over subjects")
    _warn(results)
    first = results[0]
    if not first.units:
        guess = score_table(first.predictions, first.classes).iloc[1:]
        print_table(guess.drop(columns="seed"), f"guessing on the clips of {first.name}")
    for r in results if details else ():
        print_table(class_table(r.predictions, r.classes), f"{r.name}: each class")
        if "data" in r.predictions:
            print_table(fold_table(r.predictions, r.classes, "data"), f"{r.name}: each data set")
    if compared := compare(results):
        table, least = compared
        print_table(table, f"gain in UF1 over {first.name}: intervals and p_holm by Holm for all of them")
        subjects = first.predictions.subject.nunique()
        print(f"{subjects} subjects show a true gain of about {least:.3f} four times in five.")


def results(
    folder: Annotated[Path, typer.Argument(help="Where runs lie, at any depth.")],
    model: Annotated[str, typer.Option(help="Only models whose name holds this.")] = "",
    selection: Annotated[str, typer.Option(help="Only this selection: last, validation or leaky.")] = "",
    csv: Annotated[Path | None, typer.Option(help="Write the table to this CSV file.")] = None,
    latex: Annotated[Path | None, typer.Option(help="Write the table to this LaTeX file.")] = None,
    html: Annotated[bool, typer.Option(help="Write report.html into the folder of each run.")] = False,
    force: Force = False,
) -> None:
    """Show every run below a folder as a table; export it, or write a page about each run."""
    from tsfmicro_lab.reports import run_report
    from tsfmicro_lab.results import find_results, load_frames, run_table

    for path in (csv, latex):
        may_write(path, force)
    found = find_results(folder, lambda text: typer.secho(text, fg="red", err=True))
    table = run_table(found)
    table = table[table.model.str.contains(model, regex=False) & table.selection.str.contains(selection, regex=False)]
    for path in [found[i].folder / name for i in table.index for name in ("report.html", "maps.png")] if html else ():
        may_write(path, force)
    print_table(_short(table), f"{len(table)} of {len(found)} runs")
    _warn(found)
    if csv:
        write_text(csv, table.to_csv(index=False))
    if latex:
        write_text(latex, table.to_latex(index=False, float_format="%.3f", escape=True))
    for i in table.index if html else ():
        print(run_report(found[i], load_frames(found[i])))


def verify(folder: Annotated[Path, typer.Argument(help="Folder of one run.")]) -> None:
    """Compare a run with its manifest: expected folds, and the hash of every file; the exit code tells."""
    from tsfmicro_lab.results import verify as verify_run

    state = verify_run(folder)
    wrong = state[(state.table != "whole") | state.model.isin(("missing", "altered"))]
    if not wrong.empty:
        print_table(wrong, "Folds that are not whole: started again, the run trains them")
    print(f"{len(state) - len(wrong)} of {len(state)} folds are whole, {sum(state.model == 'whole')} with their model")
    raise typer.Exit(0 if wrong.empty else 1)


def _warn(results: "list[Result]") -> None:
    """Says which runs are not finished."""
    for r in results:
        if folds := r.missing:
            few = ", ".join(folds[:3]) + " …" * (len(folds) > 3)
            typer.secho(f"{r.name} lacks {len(folds)} folds ({few}): its scores are not final", fg="red", err=True)


def _short(table: "pd.DataFrame") -> "pd.DataFrame":
    """What fits a terminal; everything is in the CSV file."""
    shown = table[["run", "selection", "clips", "uar", "accuracy"]].copy()
    rows = zip(table.uf1, table.low, table.high, strict=True)
    shown.insert(2, "UF1", [f"{u:.3f}" + (f" ({a:.2f} to {b:.2f})" if a == a else "") for u, a, b in rows])
    return shown
