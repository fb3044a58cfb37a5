"""The explorers as still pictures for README: the shipped model, a portrait, a drawn head, a stored measurement."""

import sys
from pathlib import Path
from typing import Annotated

import typer

if not __package__:  # run as a script, it finds its neighbours
    sys.path.insert(0, str(Path(__file__).parents[1]))

from studies.leakage_explorer import LeakageExplorer
from studies.leakage_scores import Leakage
from studies.script import one_sentence
from tsfmicro_lab.data import Distractors, PhotographMicroExpressions, SyntheticMicroExpressions, prepare
from tsfmicro_lab.models import from_pretrained
from tsfmicro_lab.widgets import FusionExplorer, OnsetApexExplorer, WhereHowExplorer
from tsfmicro_lab.widgets.explorer import Explorer

ROOT = Path(__file__).parents[2]


def explorers() -> dict[str, Explorer]:
    """The four of README's table, by the names of their pictures."""
    model, heads = from_pretrained("where_how"), SyntheticMicroExpressions(4, 6, seed=30_000)
    samples = prepare(heads, model.config.image_size, progress=False)
    portraits = PhotographMicroExpressions(clips_per_subject=8, distractors=Distractors.none())
    right = [i for i, told in enumerate(model.tell(model.logits(samples))) if told == heads.annotations.emotion[i]]
    return {
        "explorer_frames": OnsetApexExplorer(portraits, index=7),
        "explorer_maps": WhereHowExplorer(model, heads, model.config.classes, index=right[0]),
        "explorer_fusion": FusionExplorer({"late": model}, samples, right[0]),
        "explorer_leaks": LeakageExplorer(Leakage.load(ROOT / "notebooks" / "results" / "leakage.json")),
    }


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(out: Annotated[Path, typer.Option(help="Where the pictures go.")] = ROOT / ".github") -> None:
    """Draw the explorers that README shows. Half a minute; needs the face landmarker for the portrait."""
    with one_sentence():
        out.mkdir(parents=True, exist_ok=True)
        for name, explorer in explorers().items():
            (out / f"{name}.png").write_bytes(explorer.snapshot().data)
            print(out / f"{name}.png")


if __name__ == "__main__":
    app()
