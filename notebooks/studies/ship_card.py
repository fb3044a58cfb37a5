"""Cards of the models that ship, written from what was measured."""

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import pandas as pd

from studies.floors import ORACLE
from tsfmicro_lab.data.synthetic import PROTOTYPES
from tsfmicro_lab.models import SHIPPED, Recognizer, from_pretrained
from tsfmicro_lab.models.base import UNSURE
from tsfmicro_lab.models.card import model_card

if TYPE_CHECKING:
    from studies.ship import Ship


def write_card(found: "Ship", target: str, place: Path) -> None:
    """Writes README.md into the folder of a model that ships."""
    made = _made(found, target)
    model, people, faces = from_pretrained(place), made["people"], made["portraits"]
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
        "protocol": f"nobody of the tests was trained on or chosen on. {_by(made, 'Trained and tested')}",
        "selection": f"{chosen}, by UF1 on validation people ({compared}); the last epoch",
        "recipe": made["networks"][chosen],
        "seed": made["seed"],
        "device": made["device"],
        "scores": scores,
        "version": _version(made),
        "name": target,
        "sections": list(_sections(found, target, model, faces)),
    }
    (place / "README.md").write_text(model_card(model, **facts), encoding="utf-8")


def _made(found: "Ship", target: str) -> dict[str, Any]:
    """How a model was made: with the others, or alone and later."""
    return found.provenance.get(target, found.provenance)  # type: ignore[no-any-return]


def _sections(found: "Ship", target: str, model: Recognizer, portraits: list[str]) -> Iterator[tuple[str, str]]:
    """Title and text of what a shipped model's card adds."""
    own = {name: getattr(found, name) for name in found.tables()}
    own = {name: table[table.target == target].drop(columns="target") for name, table in own.items() if len(table)}
    c, told, people = model.config, own["told"], _made(found, target)["people"]["train"]
    if c.units:
        meaning = "Units of FACS: " + ", ".join(c.classes) + ". Sides are left aside; intensity is not told."
    else:
        patterns = (f"- **{name}**: {', '.join(dict.fromkeys(map('+'.join, PROTOTYPES[name])))}" for name in c.classes)
        meaning = "Each is a pattern of action units of the lab's own table (L, R: one side):\n\n" + "\n".join(patterns)
    meaning += "\n\nA label names what moved in a synthetic face. Nobody felt anything."
    yield "What its labels mean", meaning
    text = (
        "*Chance* draws labels as often as they occur; *mdmo* is the main directional mean optical flow (Liu et al., "
    )
    text += (
        "2016) with a support vector machine; the *oracle* is a linear model on the true displacement of 478 points. "
    )
    text += f"All of them, the linear models too, learned from clips of {min(people, 240)} of the {people} people."
    yield "What it is compared with", text
    every = told[(told.faces == "validation") & (told.kind == "all")].iloc[0]
    rule = f"Below a probability of {c.certain:.3f} the model says *{UNSURE}* (`model.tell`). On validation people, a "
    rule += f"fifth of whose clips show no expression, it then spoke of {every.told:.0%} of the clips and was right in "
    rule += f"{every.right:.0%} of those. Where nothing is shown, whatever it tells is wrong:\n\n"
    yield "When it cannot tell", rule + _table(told[told.kind != "all"][["faces", "kind", "clips", "told", "right"]])
    calibrated = own["calibrated"]
    text = f"Temperature {c.temperature:.3f}, folded into the last layer; it makes the log loss on validation people "
    text += "least. ECE is the expected calibration error. "
    text += f"**The temperature makes it larger on {worse}.**\n\n" if (worse := _worse(calibrated)) else "\n\n"
    yield "Calibration", text + _table(calibrated[["faces", "ece_before", "ece", "nll_before", "nll"]])
    yield "By unit" if c.units else "By class", _table(own["units"])
    groups = own["groups"][["group", "value", "uf1", "low", "high", "clips", "people"]]
    text = "New heads. Tone is the melanin of the drawn skin, pose a constant yaw.\n\n"
    yield "By skin tone and pose", text + _table(groups)
    if len(own.get("maps", ())):
        text = (
            f"{map_words(own['maps'])}\n{_by(found.provenance['maps'], 'Measured')}. *Untrained* is the same network "
        )
        text += "before it learned; *input* is the difference frame itself. An interval is over people.\n\n"
        yield "Its maps", text + _table(own["maps"])
    if len(own.get("films", ())):
        table, made = film_table(own["films"]), found.provenance["films"]
        text = (
            "`analyze` on films of new heads, by its strictness (6 is the default). What is told where nothing is\n"
            "shown is a false alarm; `alarmed` films have any. Speech and turns last as long as the film or, *with\n"
            "pauses*, about a second each. Where none was seen, three in as many seconds are possible (rule of three,\n"
            "95 %, if alarms come one by one).\n"
            f"{_by(made, 'Measured')} and its spotter.\n\n"
        )
        yield "In films", text + _table(table)
    text = "No licensed recording, no real micro-expression and no photograph of a person was used to train, choose or "
    text += (
        f"calibrate it. {' and '.join(portraits) or 'No portrait'} (public domain) were used to test it, moved by the "
    )
    yield "What it has never seen", text + "lab's own motion model. How it does on real micro-expressions is not known."


def map_words(maps: pd.DataFrame) -> str:
    """How much of the how-maps lies on what moved, beside the difference itself, chance and an untrained network."""
    rows = maps[maps.faces == "new heads"].set_index("maps")
    model, others = rows.loc["model"], rows.drop("model")
    share = f"{model.moved:.0%} ({model.low:.0%} to {model.high:.0%})"
    text = f"Of the how-maps on new heads {share} lies where the face truly moved ({model.chance:.0%} by chance, "
    text += f"{others.moved['input']:.0%} of the difference itself, {others.moved['untrained']:.0%} untrained). "
    return text + f"The where-maps hold {1 - model.how:.1%} of the attribution, the how-maps the rest."


def film_table(films: pd.DataFrame) -> pd.DataFrame:
    """Films of a kind and strictness together, with false alarms a minute and the number of films that had any."""
    films = films.assign(films=1, alarmed=films.alarms > 0).drop(columns="film")
    table = films.groupby(["kind", "strictness"], sort=False).sum(numeric_only=True).reset_index()
    rate = [f"{rate:.1f}" for rate in table.alarms / table.seconds * 60]
    counts = table.round().astype(dict.fromkeys(table.columns.drop("kind"), int))
    order = ["kind", "strictness", "films", "seconds", "spotted", "told", "alarms", "a minute", "alarmed"]
    return counts.assign(**{"a minute": rate})[[*order, "shown", "found", "right"]]


def page_words(found: "Ship") -> str:
    """What the page of results says besides the table of scores."""
    facts = found.provenance
    later = {name: facts[name] for name in SHIPPED if name in facts}
    people = [f"{facts['people']['train']} of them", *(f"{m['people']['train']} (`{n}`)" for n, m in later.items())]
    text = f"**All three were trained on heads and on no photograph**, on {_names(people)}; "
    text += f"{facts['people']['validation']} other heads chose and calibrated them, {_names(facts['portraits'])} are "
    made = "; ".join([_by(facts, "Trained and tested"), *(_by(m, f"`{name}`") for name, m in later.items())])
    made += f"; {_by(facts['floors'], 'floors of the others')}" if "floors" in facts else ""
    text += f"for testing alone. {made}. `where_how` is there for its maps: its UF1 is "
    own = found.scores[found.scores.target == "where_how"]
    both = ("new heads", "new heads, all varied")
    text += "; ".join(f"{_beside(own[own.faces == faces].set_index('what'))} on {faces}" for faces in both)
    if len(found.maps):
        text += f". {map_words(found.maps).removesuffix('.')}"
    heads = found.calibrated[found.calibrated.faces.str.startswith("new heads")]
    errors = [f"of `{name}` on {worse}" for name, own in heads.groupby("target") if (worse := _worse(own))]
    text += ". The temperature was chosen on validation heads; **it makes the calibration error larger** "
    text += f"{'; '.join(errors) or 'nowhere'}."
    if len(films := found.films):
        own = film_table(films[(films.target == "emotions") & (films.strictness == 6) & (films.kind != "expressions")])
        alarms = [f"{row.kind} {row.alarms} of {row.spotted} in {row.seconds} s" for row in own.itertuples()]
        text += (
            " In films in which nothing is shown, all that `emotions` tells of the moments that `analyze` spots at its "
        )
        text += f"usual strictness is a false alarm. Alarms of spotted moments: {', '.join(alarms)}. "
        text += f"{_by(facts['films'], 'Measured')}."
    return fill(text, 130, break_on_hyphens=False)


def with_words(page: str, found: "Ship") -> str:
    """The page of results with what it says of the models that ship as the result has it."""
    begin, end = "<!-- shipped-words -->\n", "\n<!-- /shipped-words -->"
    return re.sub(f"{begin}.*?{end}", lambda _: begin + page_words(found) + end, page, flags=re.DOTALL)


def _beside(scores: pd.DataFrame) -> str:
    """A model's score, floors that are above it, and those which lie in its interval."""
    floors = scores.uf1.drop(["model", ORACLE], errors="ignore").sort_values(ascending=False)
    uf1, low = scores.uf1["model"], scores.low["model"]
    above, same = floors[floors > uf1], floors[floors.between(low, uf1)]
    told = [
        f"{words} {_names([f'{name} ({value:.2f})' for name, value in rows.items()])}"
        for words, rows in (("below", above), ("not to be told from", same))
        if len(rows)
    ]
    return f"{uf1:.2f}, {_names(told) or 'above all floors'}"


def _worse(calibrated: pd.DataFrame) -> str:
    """Where the temperature makes the calibration error larger, and by how much."""
    rows = calibrated[calibrated.ece > calibrated.ece_before].itertuples()
    return _names([f"{row.faces} ({row.ece_before:.3f} to {row.ece:.3f})" for row in rows])


def _names(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), *words[-1:]] if len(words) > 1 else words)


def _by(made: dict[str, str], what: str) -> str:
    """By which version something was done, and when."""
    return f"{what} with TSFmicro Lab {_version(made)} ({made['date']}, commit {made['commit'][:7]})"


def _version(made: dict[str, str]) -> str:
    return re.search(r"tsfmicro-lab ([^,]+)", made["versions"])[1]  # type: ignore[index]


def _table(table: pd.DataFrame) -> str:
    """A table in Markdown."""
    cells = table.map(lambda x: f"{x:.3f}" if isinstance(x, float) else str(x)).replace("nan", "–")
    lines = [list(map(str, table.columns)), ["---"] * len(table.columns), *cells.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
