"""`tsfmicro-lab data`: the cards, and what a loader thinks of your copy.

Beside the package `data`, not in it, so that `tsfmicro-lab --help` need not import it.
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.markdown import Markdown
from rich.markup import escape
from rich.table import Table

from tsfmicro_lab.commands import console, plain_errors

app = typer.Typer(help="Data sets: their cards and your copies.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of a data set, as `data list` shows it.")]


@app.command("list")
def list_data() -> None:
    """List the data sets that have a card."""
    from tsfmicro_lab.data.cards import list_cards, read_card

    table = Table("name", "data set", "clips", "subjects", "fps", "labels", "licence")
    for card in map(read_card, list_cards()):
        counts = next(iter(card.labels.values())).expected if card.labels else card.expected
        numbers = [str(n) if n else "–" for n in (counts.clips, counts.subjects)]
        fps = f"{card.fps:g}" if card.fps else "–"
        table.add_row(card.name, card.pretty_name, *numbers, fps, ", ".join(card.labels) or "–", card.license)
    console.print(table)


@app.command()
def show(name: Name) -> None:
    """Show a data card: what is in the set, what its labels do not mean, how to apply, where not to use it."""
    from tsfmicro_lab.data.cards import read_card

    with plain_errors():
        card = read_card(name)
    console.print(Markdown(card.prose))
    console.print(f"\nAccess: {escape(card.access)}")


@app.command()
def report(
    name: Name,
    root: Annotated[Path, typer.Argument(help="Folder of your copy.")],
    labels: Annotated[str | None, typer.Option(help="Release of the labels, where there are several.")] = None,
    save: Annotated[Path | None, typer.Option(help="Write the report to this CSV file as well.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="How many rows to print.")] = 50,
) -> None:
    """Say what the loader thinks of your copy: what it corrected, dropped or doubts, and why."""
    from tsfmicro_lab.data.recordings import load

    with plain_errors():
        data = load(name, root, labels)
        if save:
            data.report.to_csv(save, index=False)
    console.print(escape(repr(data)), soft_wrap=True)
    table = Table("subject", "clip", "onset", "what", "why")
    for row in data.report.head(rows).astype(object).fillna("").to_dict("records"):
        table.add_row(*(escape(str(row[column])) for column in ("subject", "clip", "onset", "what", "why")))
    console.print(table)
    if len(data.report) > rows:
        console.print(f"{len(data.report) - rows} rows more: give --rows or --save")


@app.command()
def prepare(
    name: Name,
    root: Annotated[Path | None, typer.Argument(help="Folder of your copy; none for synthetic clips.")] = None,
    labels: Annotated[str | None, typer.Option(help="Release of the labels, where there are several.")] = None,
    out: Annotated[Path, typer.Option("--out", help="Where stores lie.")] = Path("build/stores"),
    size: Annotated[int, typer.Option(min=16, max=1024, help="Side of the aligned frames, pixels.")] = 224,
    target: Annotated[str, typer.Option(help="Labels: emotion, emotion_megc, ….")] = "emotion",
    tensors: Annotated[
        list[str], typer.Option(help="What to keep: onset, apex, landmarks, long_flow, … (a model's `prepared`).")
    ] = ["onset", "apex"],  # noqa: B006
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one per core by default.")] = None,
) -> None:
    """Align a data set once into memory-mapped files; goes on where it was interrupted."""
    from tsfmicro_lab.data.recordings import load
    from tsfmicro_lab.data.store import prepare_store
    from tsfmicro_lab.data.synthetic import SyntheticMicroExpressions

    with plain_errors():
        if root is None:
            if name != "synthetic":
                raise ValueError(f"give the folder of your copy of {name}")
            place = prepare_store(
                SyntheticMicroExpressions(), size, out, target=target, tensors=tensors, workers=workers
            )
        else:
            data = load(name, root, labels)
            readable = data.select(data.annotations["frames"] > 0)
            if left := len(data) - len(readable):
                console.print(f"{left} clips have no frames and are left out: tsfmicro-lab data report says which")
            place = prepare_store(readable, size, out, target=target, tensors=tensors, workers=workers)
    console.print(f"store: {escape(str(place))}", soft_wrap=True)
