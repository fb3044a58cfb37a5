"""Cards of the models that ship, written from what was measured."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from tsfmicro_lab.data.synthetic import PROTOTYPES
from tsfmicro_lab.models import Recognizer, from_pretrained
from tsfmicro_lab.models.base import UNSURE
from tsfmicro_lab.models.card import model_card

if TYPE_CHECKING:
    from studies.ship import Ship


def write_card(found: "Ship", target: str, place: Path) -> None:
    """Writes README.md into the folder of a model that ships."""
    model, people, faces = from_pretrained(place), found.provenance["people"], found.provenance["portraits"]
    candidates = found.candidates[found.candidates.target == target]
    chosen = candidates.candidate[candidates.chosen].iloc[0]
    compared = ", ".join(f"{row.candidate} {row.uf1:.3f}" for row in candidates.itertuples())
    data = (
        f"{people['train']:,} synthetic 3-D heads, no photograph and no recording; {people['validation']} other heads "
        "chose and calibrated it. A class is a pattern of action units in synthetic faces, not a feeling"
    )
    rows = found.scores[found.scores.target == target]
    scores = [
        {
            "what": f"{row['faces']}: {row['what']}",
            "uf1": f"{row['uf1']:.3f}" + (f" ({row['low']:.2f} to {row['high']:.2f})" if row["people"] > 1 else ""),
            "uar": f"{row['uar']:.3f}",
            "accuracy": f"{row['accuracy']:.3f}",
            "clips": row["clips"],
        }
        for row in rows.to_dict("records")
    ]
    facts: dict[str, Any] = {
        "data": data,
        "protocol": "nobody of the tests was trained on or chosen on",
        "selection": f"{chosen}, by UF1 on validation people ({compared}); the last epoch",
        "recipe": found.provenance["networks"][chosen],
        "seed": found.provenance["seed"],
        "device": found.provenance["device"],
        "scores": scores,
        "name": target,
        "sections": list(_sections(found, target, model, faces)),
    }
    (place / "README.md").write_text(model_card(model, **facts), encoding="utf-8")


def _sections(found: "Ship", target: str, model: Recognizer, portraits: list[str]) -> Iterator[tuple[str, str]]:
    """Title and text of what a shipped model's card adds."""
    own = {name: getattr(found, name) for name in found.tables()}
    own = {name: table[table.target == target].drop(columns="target") for name, table in own.items() if len(table)}
    c, told = model.config, own["told"]
    if c.units:
        meaning = "Units of FACS: " + ", ".join(c.classes) + ". Sides are left aside; intensity is not told."
    else:
        patterns = (f"- **{name}**: {', '.join(dict.fromkeys(map('+'.join, PROTOTYPES[name])))}" for name in c.classes)
        meaning = "Each is a pattern of action units of the lab's own table (L, R: one side):\n\n" + "\n".join(patterns)
    meaning += "\n\nA label names what moved in a synthetic face. Nobody felt anything."
    yield "What its labels mean", meaning
    every = told[(told.faces == "validation") & (told.kind == "all")].iloc[0]
    rule = f"Below a probability of {c.certain:.3f} the model says *{UNSURE}* (`model.tell`). On validation people, a "
    rule += f"fifth of whose clips show no expression, it then spoke of {every.told:.0%} of the clips and was right in "
    rule += f"{every.right:.0%} of those. Where nothing is shown, whatever it tells is wrong:\n\n"
    yield "When it cannot tell", rule + _table(told[told.kind != "all"][["faces", "kind", "clips", "told", "right"]])
    text = f"Temperature {c.temperature:.3f}, folded into the last layer. ECE is the expected calibration error.\n\n"
    yield "Calibration", text + _table(own["calibrated"][["faces", "ece_before", "ece", "nll_before", "nll"]])
    yield "By unit" if c.units else "By class", _table(own["units"])
    groups = own["groups"][["group", "value", "uf1", "low", "high", "clips", "people"]]
    text = "New heads. Tone is the melanin of the drawn skin, pose a constant yaw.\n\n"
    yield "By skin tone and pose", text + _table(groups)
    if len(own.get("films", ())):
        films = own["films"].drop(columns="film").groupby(["kind", "strictness"], sort=False).sum().reset_index()
        films = films.assign(alarms_per_minute=films.alarms / films.seconds * 60)
        text = (
            "`analyze` on films of new heads, by its strictness (6 is the default). What is told where nothing is shown"
        )
        yield "In films", f"{text} is a false alarm.\n\n{_table(films)}"
    text = "No licensed recording, no real micro-expression and no photograph of a person was used to train, choose or "
    text += (
        f"calibrate it. {' and '.join(portraits) or 'No portrait'} (public domain) were used to test it, moved by the "
    )
    yield "What it has never seen", text + "lab's own motion model. How it does on real micro-expressions is not known."


def _table(table: pd.DataFrame) -> str:
    """A table in Markdown."""
    cells = table.map(lambda x: f"{x:.3f}" if isinstance(x, float) else str(x)).replace("nan", "–")
    lines = [list(map(str, table.columns)), ["---"] * len(table.columns), *cells.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
