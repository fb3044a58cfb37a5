"""`tsfmicro-lab data`: the cards of the data sets, what a loader thinks of your copy, and its preparation."""

from pathlib import Path
from typing import Annotated

import typer

from tsfmicro_lab.cli.output import print_table

app = typer.Typer(help="Data sets: their cards and your copies.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of a data set, as `data list` shows it.")]
Labels = Annotated[str | None, typer.Option(help="Release of the labels, where there are several.")]


@app.command("list")
def list_data() -> None:
    """List the data sets that have a card."""
    import pandas as pd

    from tsfmicro_lab.data.cards import list_cards, read_card

    rows = []
    for card in map(read_card, list_cards()):
        held, fps = next(iter(card.labels.values()), card).expected, card.fps and f"{card.fps:g}"
        row = card.name, card.pretty_name, held.clips, held.subjects, fps, ", ".join(card.labels), card.license
        rows.append([value or "–" for value in row])
    columns = ["name", "data set", "clips", "subjects", "fps", "labels", "licence"]
    print_table(pd.DataFrame(rows, columns=columns))


@app.command()
def show(name: Name) -> None:
    """Show a data card: what is in the set, what its labels do not mean, how to apply, where not to use it."""
    from tsfmicro_lab.data.cards import read_card

    card = read_card(name)
    print(f"{card.prose}\n\nAccess: {card.access}")


@app.command()
def report(
    name: Name,
    root: Annotated[Path, typer.Argument(help="Folder of your copy.")],
    labels: Labels = None,
    save: Annotated[Path | None, typer.Option(help="Write the report to this CSV file as well.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="How many rows to print.")] = 50,
) -> None:
    """Say what the loader thinks of your copy: what it corrected, dropped or doubts, and why."""
    from tsfmicro_lab.data.recordings import load

    data = load(name, root, labels)
    if save:
        data.report.to_csv(save, index=False)
    print(data)
    print_table(data.report.head(rows).astype(object).fillna(""))
    if len(data.report) > rows:
        print(f"{len(data.report) - rows} rows more: give --rows or --save")


@app.command()
def prepare(
    name: Name,
    root: Annotated[
        Path | None, typer.Argument(help="Folder of your copy or pictures; none for synthetic clips.")
    ] = None,
    labels: Labels = None,
    out: Annotated[Path, typer.Option("--out", help="Where stores lie.")] = Path("build/stores"),
    size: Annotated[int, typer.Option(min=16, max=1024, help="Side of the aligned frames, pixels.")] = 224,
    target: Annotated[str, typer.Option(help="Labels: emotion, emotion_megc, ….")] = "emotion",
    tensors: Annotated[list[str], typer.Option(help="As a model lists in `prepared`.")] = ["onset", "apex"],  # noqa: B006
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one per core by default.")] = None,
) -> None:
    """Align a data set once into memory-mapped files; goes on where it was interrupted."""
    from tsfmicro_lab.data import samples
    from tsfmicro_lab.data.photographs import PhotographMicroExpressions
    from tsfmicro_lab.data.recordings import load
    from tsfmicro_lab.data.schema import Dataset
    from tsfmicro_lab.data.synthetic import SyntheticMicroExpressions

    data: Dataset
    if name == "photographs":
        data = PhotographMicroExpressions(root)
        for left_out, why in data.report[["subject", "what"]].itertuples(index=False):
            print(f"left out: {left_out}: {why}")
    elif root is not None:
        copy = load(name, root, labels)
        data = copy.select(copy.annotations["frames"] > 0)
        if left := len(copy) - len(data):
            print(f"{left} clips have no frames and are left out: tsfmicro-lab data report says which")
    elif name == "synthetic":
        data = SyntheticMicroExpressions()
    else:
        raise ValueError(f"give the folder of your copy of {name}")
    prepared = samples.prepare(data, size, target=target, tensors=tensors, folder=out, workers=workers)
    print(f"store: {prepared.folder}")
