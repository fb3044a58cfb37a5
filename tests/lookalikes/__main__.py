"""python tests/lookalikes LAYOUT OUT: writes synthetic clips to disk as a recorded data set is released."""

import sys
from pathlib import Path
from typing import Annotated

import typer

if not __package__:  # run as a folder
    sys.path.insert(0, str(Path(__file__).parents[1]))

from lookalikes import synthesize
from tsfmicro_lab.data.synthetic import SyntheticMicroExpressions

app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    layout: Annotated[str, typer.Argument(help="Data set whose folders, names, sheets and faults are imitated.")],
    out: Annotated[Path, typer.Argument(help="Folder to write to; it must be new or empty.")],
    subjects: Annotated[int, typer.Option(min=1, help="Synthetic subjects.")] = 3,
    clips: Annotated[int, typer.Option(min=1, help="Clips of each subject.")] = 4,
    size: Annotated[int, typer.Option(min=64, max=512, help="Side of the frames, pixels.")] = 128,
    seed: int = 0,
    frames: Annotated[bool, typer.Option(help="Whether to write JPEG frames.")] = True,
    faults: Annotated[bool, typer.Option(help="Whether to add the known faults of the release.")] = True,
) -> None:
    """Write synthetic clips to disk as a recorded data set is released, to try loaders and scripts on."""
    data = SyntheticMicroExpressions(subjects, clips, size, seed)
    try:
        truth = synthesize(layout, out, data, frames=frames, faults=faults, progress=True)
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    print(f"{len(truth)} clips, {int(truth.faulty.sum())} of them with faults, in {out}")


if __name__ == "__main__":
    app()
