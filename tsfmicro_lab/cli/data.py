"""`tsfmicro-lab data`: the cards of the data sets, what a loader thinks of your copy, and its preparation."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tsfmicro_lab.cli.output import Force, may_write, print_table, refuse
from tsfmicro_lab.files import bundled, write_text

if TYPE_CHECKING:
    from tsfmicro_lab.data.schema import Dataset

app = typer.Typer(help="Data sets: their cards and your copies.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of a data set, as `data list` shows it.")]
Labels = Annotated[str | None, typer.Option(help="Release of the labels, where there are several.")]
Frames = Annotated[str, typer.Option(help="A part of their folder's name, such as Cropped, where there are several.")]
AsReleased = Annotated[bool, typer.Option("--as-released", help="Leave the known mistakes of the release in.")]
Copy = Annotated[Path, typer.Argument(help="Folder of your copy of any data set.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes; one per core by default.")]


def notebooks(out: Annotated[Path, typer.Argument(help="A new folder.")]) -> None:
    """Copy the course to a folder of yours: lessons, what they read, results, and the pages that they link to."""
    if out.exists():
        raise FileExistsError(f"{out} is there already: name a new folder, so that nothing of yours is overwritten")
    for name in ("notebooks", "docs", "data_cards"):
        leave = shutil.ignore_patterns("__pycache__", ".*", "site", "assignments")  # the hidden checks are a teacher's
        shutil.copytree(bundled(name), out / name, ignore=leave)
    print(f"next: jupyter lab --notebook-dir {out}, and open notebooks/README.ipynb")


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
def check(
    root: Copy,
    labels: Labels = None,
    frames: Frames = "",
    as_released: AsReleased = False,
    pictures: Annotated[bool, typer.Option(help="Open key frames and look for faces; else read tables alone.")] = True,
    save: Annotated[Path | None, typer.Option(help="Write every row of the report to this CSV file.")] = None,
    workers: Workers = None,
    force: Force = False,
) -> None:
    """Say which data set lies in a folder, what of it can be used, what is wrong and how to put it right.

    The exit code is 1 where a clip cannot be used.
    """
    from tsfmicro_lab.data.annotations import grouped
    from tsfmicro_lab.data.recordings import open_copy, recognise, unused, usable

    may_write(save, force)
    data = open_copy(root, labels, frames=frames, as_released=as_released)
    kept = usable(data, strict=not pictures, workers=workers)
    if save:
        write_text(save, kept.report.to_csv(index=False))
    found = [f"{card.name} {name}" for card, name in recognise(root)]
    others = ", ".join(name for name in found if name != f"{data.name} {data.labels}") or "no other release"
    print(f"{data}\nalso there: {others}; not read: {', '.join(unused(data.card, root)) or 'nothing'}")
    print_table(grouped(kept.report), "What was found, a row for each kind, with its first clip")
    print(f"\n{len(kept)} of {len(data)} clips can be used", "" if pictures else "if their pictures can")
    if len(kept):
        flag = " --as-released" * as_released
        print(f"next: tsfmicro-lab data prepare {data.name} {root} --labels {data.labels}{flag}")
    raise typer.Exit(0 if len(kept) == len(data) else 1)


@app.command()
def diff(one: Copy, other: Copy, labels: Labels = None) -> None:
    """Say where two copies of a data set differ: clips, labels, key frames, files; the exit code is 1 if they do."""
    from tsfmicro_lab.data.recordings import differences, open_copy

    table = differences(*(copies := [open_copy(root, labels) for root in (one, other)]))
    print(*copies, sep="\n")
    print_table(table, f"{len(table)} kinds of differences, each with the first of its rows")
    raise typer.Exit(1 if len(table) else 0)


@app.command()
def prepare(
    name: Name,
    roots: Annotated[list[Path] | None, typer.Argument(help="Your folder, or one for each part; else drawn.")] = None,
    labels: Labels = None,
    frames: Frames = "",
    as_released: AsReleased = False,
    out: Annotated[Path, typer.Option("--out", help="Where stores lie.")] = Path("build/stores"),
    size: Annotated[int, typer.Option(min=16, max=1024, help="Side of the aligned frames, pixels.")] = 224,
    target: Annotated[str, typer.Option(help="Labels: emotion, emotion_megc, ….")] = "emotion",
    tensors: Annotated[list[str], typer.Option(help="As a model lists in `prepared`.")] = ["onset", "apex"],  # noqa: B006
    model: Annotated[str, typer.Option(help="Instead of size and tensors: what it is for, such as mmnet/base.")] = "",
    without: Annotated[list[str], typer.Option(help="A clip to leave out, as subject/clip.")] = [],  # noqa: B006
    strict: Annotated[bool, typer.Option(help="Stop at a clip that cannot be used, rather than leave it out.")] = False,
    workers: Workers = None,
) -> None:
    """Align a data set once into memory-mapped files; goes on where it was interrupted."""
    from tsfmicro_lab.data import samples
    from tsfmicro_lab.models import create_model

    if name in ("synthetic", "photographs"):
        refuse(prepare, locals(), f"for {name} clips", "labels", "frames", "as_released", "without", "strict")
    keep: dict[str, Any] = {"without": without, "strict": strict, "workers": workers}
    data = open_clips(name, roots or [], labels, keep, frames=frames, as_released=as_released)
    if model:
        refuse(prepare, locals(), "beside --model", "size", "tensors")
        kind, _, preset = model.partition("/")
        network = create_model(kind, preset=preset or "tiny")
        size, tensors = network.config.image_size, [*network.prepared, "onset", "apex"]
    prepared = samples.prepare(data, size, target=target, tensors=tensors, folder=out, workers=workers)
    assert prepared.folder
    write_text(prepared.folder / "report.csv", data.report.to_csv(index=False))
    print(f"store: {prepared.folder}, with report.csv of what was corrected, dropped or left out")
    print(f"next: tsfmicro-lab evaluate --store {prepared.folder}; in Python: data.open_store('{prepared.folder}')")


def open_clips(name: str, roots: list[Path], labels: str | None, keep: dict[str, Any], **options: Any) -> "Dataset":
    """The clips that can be used, loaded with `options`; what is left out is printed."""
    from tsfmicro_lab.data import PhotographMicroExpressions, SyntheticMicroExpressions
    from tsfmicro_lab.data.annotations import grouped
    from tsfmicro_lab.data.cards import read_card
    from tsfmicro_lab.data.composite import challenge
    from tsfmicro_lab.data.recordings import load, usable

    if name == "photographs":
        return PhotographMicroExpressions(roots[0] if roots else None)
    if name == "synthetic" and not roots:
        return SyntheticMicroExpressions()
    card = read_card(name)
    asked = [(part.name, part.labels) for part in card.parts] or [(name, labels)]
    if len(roots) != len(asked):
        raise ValueError(f"give the folder of your copy of {', then of '.join(part for part, _ in asked)}")
    parts = []
    for (part, release), root in zip(asked, roots, strict=True):
        copy = load(part, root, release, **options)
        kept = usable(copy, **keep)
        if left := len(copy) - len(kept):
            print_table(grouped(kept.report), f"{part}: {left} of {len(copy)} clips cannot be used and are left out")
        parts.append(kept)
    return challenge(name, *parts) if card.parts else parts[0]
