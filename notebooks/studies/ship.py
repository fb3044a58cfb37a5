"""The models that ship: trained on many heads, chosen and calibrated on others, tested once on others again.

Landmark two portraits (once), train (an hour on one core), analyse films, put models, cards and result in their places:

    python notebooks/studies/ship.py portraits
    python notebooks/studies/ship.py train
    python notebooks/studies/ship.py films
    python notebooks/studies/ship.py install

One of the models alone is trained anew, and put beside the others, so (an hour on one core):

    python notebooks/studies/ship.py train --size medium --only where_how --candidates late
    python notebooks/studies/ship.py install

Floors alone are measured anew, beside the models as they are:

    python notebooks/studies/ship.py floors

The maps of `where_how` are scored anew, as it ships, in a minute or two:

    python notebooks/studies/ship.py maps
    python notebooks/studies/ship.py cards

When the spotter has changed, films are measured anew, weights as they are: 56 films, about 20 minutes on one core:

    python notebooks/studies/ship.py films --shipped
    python notebooks/studies/ship.py cards
"""

import copy
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
import torch
import typer
from torch import Tensor, nn

if not __package__:  # run as a script, it finds its neighbours
    sys.path.insert(0, str(Path(__file__).parents[1]))

from studies.floors import FLOORS, floor
from studies.new_subjects import Drawn
from studies.script import Accelerator, Save, Workers, one_sentence
from studies.ship_data import Part, arrays_for, as_samples, draw
from studies.stored import FACES, Stored, writable
from tsfmicro_lab.cli.output import print_table
from tsfmicro_lab.data.samples import Samples
from tsfmicro_lab.models import SHIPPED, Recognizer, checkpoint_folder, create_model, from_pretrained
from tsfmicro_lab.models.base import STREAMS, UNSURE, cross_entropy
from tsfmicro_lab.processes import process_pool
from tsfmicro_lab.provenance import device_name, environment
from tsfmicro_lab.training import Recipe, fit
from tsfmicro_lab.training.metrics import f1
from tsfmicro_lab.training.statistics import ends, two_levels

Out = Annotated[Path, typer.Option(help="Where clips, models and tables are kept; started again, it goes on.")]
#: What is recognised, by the name of the model that ships.
TARGETS = {"emotions": "emotion", "action_units": "action_units", "where_how": "emotion"}
#: Whose networks a model is chosen from: maps of where and how need one that reads onset and difference.
SOURCE = {"emotions": "emotions", "action_units": "action_units", "where_how": "emotions"}
#: How often what is told must be right on validation people, clips without an expression included.
RIGHT = 0.95
#: Skin tones by melanin, from the lightest (0) to the darkest (1).
TONES = {"light": (-1.0, 0.25), "medium": (0.25, 0.55), "dark": (0.55, 2.0)}
#: Poses that are tested, degrees of yaw.
POSES = (0, 10, 20, 30)
#: What was measured of the models in the package.
RESULT = Path(__file__).parents[1] / "results" / "ship.json"


@dataclass(frozen=True)
class Candidate:
    """A network that may ship, and how it is trained; `flow` is the side of the flow that it reads, None for frames."""

    model: str
    epochs: int
    flow: int | None = None
    lr: float = 2e-3
    batch_size: int = 128
    weight_decay: float = 0.1
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe:
        """AdamW, whose learning rate rises over an epoch and falls like a cosine."""
        return Recipe(
            self.epochs, self.batch_size, self.lr, self.weight_decay, schedule="cosine", warmup=1, clip_norm=1
        )

    def create(self, classes: Sequence[str], seed: int) -> Recognizer:
        """The untrained network."""
        flow: dict[str, Any] = {"image_size": self.flow, "flow": "dis"} if self.flow else {}
        return create_model(self.model, len(classes), classes=tuple(classes), seed=seed, **flow, **self.settings)


#: Networks that read frames are compared on emotions alone; slstt_mean, which reads eleven frames, is left out.
CANDIDATES = {
    "late": Candidate("tsfmicro_late", 18, batch_size=32),
    "off_apexnet, 28 px": Candidate("off_apexnet", 30, 28, settings={"hidden": 128}),
    "ststnet, 28 px": Candidate("ststnet", 30, 28, lr=4e-3),
}
#: How many parts of four people each are drawn, and how many of the candidates are trained.
SIZES = {"large": (200, 32, 24), "medium": (80, 8, 6), "small": (40, 8, 6), "tiny": (2, 2, 2)}


@dataclass(frozen=True)
class Ship(Stored):
    """What the shipped models are worth; every table has a column `target`, the name of the model.

    Attributes:
        candidates: UF1 of each network on validation people: `candidate`, `uf1`, `parameters`, `seconds`.
        scores: `faces`, `what` (the model or a floor), `uf1`, `low`, `high`, `uar`, `accuracy`, `clips`, `people`.
        groups: The same of `tone` and `pose`: `group`, `value`.
        units: F1 of each class or unit on new heads: `name`, `f1`, `clips`.
        told: `faces`, `kind` (with an expression or without which), share of clips that are `told` something about, and
            share `right` among those.
        calibrated: `faces`, `ece` and `nll`, with the temperature and without (`ece_before`, `nll_before`).
        films: A row per film without an expression (`kind`), or with some, and strictness: `seconds`, `spotted`,
            `told`, `alarms`, `shown`, `found`, `right`.
        maps: Whether maps of `where_how` lie on what moved, see :func:`~studies.ship_maps.measure_maps`.
    """

    script: ClassVar = "ship"
    candidates: pd.DataFrame
    scores: pd.DataFrame
    groups: pd.DataFrame
    units: pd.DataFrame
    told: pd.DataFrame
    calibrated: pd.DataFrame
    films: pd.DataFrame
    maps: pd.DataFrame


def parts_of(size: str, portraits: dict[str, Any]) -> dict[str, list[Part]]:
    """Who is drawn: to train, to choose and calibrate, to test. Nobody is in two of them."""
    if size not in SIZES:
        raise ValueError(f"unknown size '{size}': choose from {', '.join(SIZES)}")
    train, validation, test = SIZES[size]
    plain: dict[str, Any] = {"clips": 12, "randomised": False, "balance": "casme2"}
    sets = {
        "train": [Part(f"train{i:04d}", 10_000 + i, 25, nothing=0.12) for i in range(train)],
        "validation": [
            Part(f"val{i:04d}", 20_000 + i, 15, randomised=bool(i % 2), nothing=0.2) for i in range(validation)
        ],
        "new heads": [Part(f"std{i:04d}", 30_000 + i, **plain) for i in range(test)],
        "new heads, all varied": [Part(f"varied{i:04d}", 40_000 + i, 15, nothing=0.2) for i in range(test // 2)],
    }
    for pose in POSES[1:]:
        signed = [(1 if i % 2 else -1) * float(pose) for i in range(max(test // 4, 1))]
        sets[f"pose {pose}"] = [Part(f"pose{pose}-{i}", 50_000 + i, pose=p, **plain) for i, p in enumerate(signed)]
    for i, (name, (image, points)) in enumerate(portraits.items()):
        few = plain | {"clips": 60 if size == "large" else 12, "portrait": (image, points, name)}
        sets[name] = [Part(f"portrait{i}", 60_000 + i, **few)]
    return sets


def read_portraits(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Portraits and their 478 landmarks by the names of who is seen; none where there is no such file."""
    if not path.exists():
        print(f"no {path}: photographs are left out")
        return {}
    with np.load(path) as held:
        return {name: (held[f"image {name}"], held[f"points {name}"]) for name in held["names"].tolist()}


def train_one(candidate: Candidate, train: Samples, accelerator: str, seed: int, told: str = "") -> Recognizer:
    """A trained network, on the CPU; prints how far it is under the name that is told."""
    model, began = candidate.create(train.classes, seed), time.perf_counter()

    def tell(epoch: int, loss: float) -> None:
        spent = time.perf_counter() - began
        print(f"{told}: epoch {epoch} of {candidate.epochs} after {spent:.0f} s, loss {loss:.3f}", flush=True)

    every = np.arange(len(train))
    fit(model, train, every, candidate.recipe, seed=seed, accelerator=accelerator, after_epoch=tell)
    return model.cpu()


def calibrate(model: Recognizer, validation: Samples, right: float) -> tuple[Recognizer, pd.DataFrame]:
    """The model with its last layer divided by a temperature; the threshold from which on it tells is in its config.

    The temperature makes the log loss on validation people least, of clips that show an expression; for action units,
    there is a bias each besides, and all clips count. They go into the last layer, so whoever asks the model gets them.

    Returns:
        (The model; what it tells on validation people, as :func:`told_table` has it.)
    """
    several = validation.label.ndim == 2
    rows = np.flatnonzero(np.full(len(validation), several) | (validation.table.kind == "expression"))
    logits, label = model.logits(validation, rows), validation.label[rows]
    log_t, bias = torch.zeros(1, requires_grad=True), torch.zeros(logits.shape[1], requires_grad=True)
    steps: Any = torch.optim.LBFGS([log_t, bias] if several else [log_t], max_iter=200)

    def loss() -> Tensor:
        steps.zero_grad()
        value: Any = cross_entropy(logits / log_t.exp() + bias, label) + 1e-4 * bias.square().sum()
        value.backward()
        return value

    steps.step(loss)
    temperature = float(log_t.detach().exp())
    model = copy.deepcopy(model)
    last = [layer for layer in model.modules() if isinstance(layer, nn.Linear)][-1]
    with torch.no_grad():
        last.weight.div_(temperature)
        last.bias.div_(temperature).add_(bias)
    model.config = replace(model.config, temperature=round(temperature, 4))
    model.config = replace(model.config, certain=least_certain(model, validation, right))
    return model, told_table(predict_table(model, validation))


def least_certain(model: Recognizer, samples: Samples, wanted: float) -> float:
    """The least probability from which on what is told is right in so many cases as is wanted."""
    p = model.probabilities(model.logits(samples)).numpy()
    if samples.label.ndim == 2:
        hit, p = samples.label.numpy().ravel() > 0, p.ravel()
    else:
        shown = (samples.table.kind == "expression").to_numpy()
        hit, p = (p.argmax(1) == samples.label.numpy()) & shown, p.max(1)
    order = np.argsort(-p)
    right = np.cumsum(hit[order]) / np.arange(1, len(p) + 1)
    enough = np.flatnonzero((right >= wanted) & (np.arange(len(p)) >= 20))
    return round(float(p[order[enough[-1]]]) if len(enough) else 0.99, 3)


def predict_table(model: Recognizer, samples: Samples) -> pd.DataFrame:
    """One row per clip: who, kind, truth, what is predicted, what is told, the probability of each class."""
    logits = model.logits(samples)
    p = model.probabilities(logits).numpy()
    names = np.array(samples.classes)
    several = samples.label.ndim == 2
    predicted = ["+".join(names[row >= 0.5]) for row in p] if several else names[p.argmax(1)].tolist()
    table = samples.table[["subject", "clip", "kind", "melanin", "amplitude"]].assign(seed=0)
    table = table.assign(truth=samples.names(samples.label), predicted=predicted, told=model.tell(logits))
    return table.assign(**{f"p_{name}": p[:, i] for i, name in enumerate(names)})


def score(table: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """UF1 with a 95 % interval, UAR and accuracy of the clips with an expression; each person is left out once.

    Classes and units that none of the clips shows are left out of the means.
    """
    table = table[table.kind == "expression"]
    truth, said = (_which(table[column], classes) for column in ("truth", "predicted"))
    people = pd.factorize(table.subject)[0]
    counts = np.stack([pd.DataFrame(x.astype(int)).groupby(people).sum() for x in (truth & said, truth, said)])
    many = counts.shape[1]
    hits, clips, all_said = counts.sum(1)[:, there := counts.sum(1)[1] > 0]
    uar, uf1 = float((hits / clips).mean()), float(f1(hits, clips, all_said).mean())
    right, low, high = float((table.truth == table.predicted).mean()), np.nan, np.nan
    if many > 1:
        without = f1(*(counts.sum(1, keepdims=True) - counts)[..., there]).mean(-1)
        errors = two_levels(np.array([uf1]), [many * uf1 - (many - 1) * without])
        low, high = map(float, ends(uf1, errors, clips=len(table)))
    return {"uf1": uf1, "low": low, "high": high, "uar": uar, "accuracy": right, "clips": len(table), "people": many}


def _which(labels: "pd.Series[str]", classes: Sequence[str]) -> np.ndarray:
    """Which classes or units each label names."""
    named = [{text, *text.split("+")} for text in labels]
    return np.array([[name in own for name in classes] for own in named])


def class_scores(table: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """F1 and number of clips of each class or unit."""
    table = table[table.kind == "expression"]
    truth, said = (_which(table[column], classes) for column in ("truth", "predicted"))
    parts = (truth & said).sum(0), truth.sum(0), said.sum(0)
    return pd.DataFrame({"name": list(classes), "f1": f1(*parts), "clips": parts[1]})


def told_table(table: pd.DataFrame) -> pd.DataFrame:
    """By kind of clip, how often something is told, and how often it is right: every unit that is told is there."""

    def row(own: pd.DataFrame) -> dict[str, Any]:
        told = own[own.told != UNSURE]
        good = [{*t.split("+")} <= {*x.split("+")} for t, x in zip(told.told, told.truth, strict=True)]
        right = np.array(good, bool) & (told.kind == "expression").to_numpy()
        return {"clips": len(own), "told": len(told) / len(own), "right": right.mean() if len(told) else np.nan}

    rows = [{"kind": kind, **row(own)} for kind, own in table.groupby("kind", sort=False)]
    return pd.DataFrame([*rows, {"kind": "all", **row(table)}])


def calibration_errors(logits: Tensor, label: Tensor) -> tuple[float, float]:
    """Expected calibration error, in ten bins, and log loss; each unit of each clip is a question of its own."""
    nll = float(cross_entropy(logits, label))
    if label.ndim == 2:
        p, hit = logits.sigmoid().flatten().numpy(), label.flatten().numpy()
    else:
        p, hit = logits.softmax(1).amax(1).numpy(), (logits.argmax(1) == label).numpy()
    bins = pd.DataFrame({"p": p, "hit": hit.astype(float)}).groupby((p * 10).astype(int).clip(0, 9))
    return float(sum(len(b) * abs(b.p.mean() - b.hit.mean()) for _, b in bins) / len(p)), nll


def floors(folder: Path, parts: dict[str, list[Part]], target: str) -> pd.DataFrame:
    """Scores of chance, the commonest label, linear models, MDMO and the oracle, on the clips of all tests.

    They learn from the training clips with an expression, of at most 60 parts of the data.
    """

    def drawn(name: str) -> Drawn:
        read = ("onset", "apex", "flow28", "oracle")
        held = draw(parts[name][:60], folder / "clips", 1, read=read)
        flow, frames = (as_samples(held, TARGETS[target], side) for side in (28, None))
        rows = np.flatnonzero(frames.table.kind == "expression")
        tensors = {name: tensor[rows] for name, tensor in (frames.tensors | flow.tensors).items()}
        table = frames.table.iloc[rows].reset_index(drop=True)
        return Drawn(Samples(tensors, frames.label[rows], frames.classes, table), held["oracle"][rows])

    train, tests, rows = drawn("train"), {name: drawn(name) for name in parts if tested(name)}, []
    for what in FLOORS:
        if what == "lbp_top":  # reads whole clips, of which two frames are kept
            continue
        for name, said in floor(what, train, tests).items():
            samples = tests[name].samples
            table = samples.table.assign(
                truth=samples.names(samples.label), predicted=samples.names(torch.tensor(said))
            )
            rows.append({"faces": name, "what": what, **score(table, samples.classes)})
    return pd.DataFrame(rows)


def tested(name: str) -> bool:
    """Whether a set of people is one that models and floors are tested on as it is."""
    return name not in ("train", "validation") and "pose" not in name


def _place(folder: Path, target: str, name: str) -> Path:
    return folder / "candidates" / target / name.replace(", ", "-").replace(" ", "")


def _job(item: tuple[str, str], folder: Path, size: str, accelerator: str, seed: int) -> float:
    """Trains a candidate for a target in a process of its own, unless it is there; gives the seconds that it took."""
    target, name = item
    place = _place(folder, target, name)
    if (place / "seconds.txt").exists():
        return float((place / "seconds.txt").read_text("utf-8"))
    candidate, began = CANDIDATES[name], time.perf_counter()
    drawn = draw(parts_of(size, {})["train"], folder / "clips", 1, read=arrays_for(candidate.flow))
    samples = as_samples(drawn, TARGETS[target], candidate.flow, to_train=True)
    told = f"{target}, {name}"
    train_one(candidate, samples, accelerator, seed, told).save_pretrained(place)
    (place / "seconds.txt").write_text(f"{time.perf_counter() - began:.1f}", "utf-8")
    return time.perf_counter() - began


def make(
    folder: Path,
    size: str,
    accelerator: str,
    workers: int | None,
    portraits: Path,
    names: Sequence[str],
    targets: Sequence[str],
    seed: int,
) -> None:
    """Draws everybody, trains all candidates side by side, chooses, calibrates, tests; models and tables are kept."""
    parts, began = parts_of(size, read_portraits(portraits)), time.perf_counter()
    every = [part for own in parts.values() for part in own]
    draw(every, folder / "clips", workers, "drawing people")
    print(f"drawn after {time.perf_counter() - began:.0f} s", flush=True)
    sources = dict.fromkeys(SOURCE[target] for target in targets)
    jobs = [(source, n) for source in sources for n in names if source == "emotions" or CANDIDATES[n].flow]
    train = partial(_job, folder=folder, size=size, accelerator=accelerator, seed=seed)
    tables: dict[str, list[pd.DataFrame]] = {name: [] for name in Ship.tables()}
    with process_pool(len(jobs) if accelerator == "cuda" else workers) as pool:
        took = dict(zip(jobs, pool.map(train, jobs), strict=True))
        print(f"trained after {time.perf_counter() - began:.0f} s", flush=True)
        own = [{n: s for (source, n), s in took.items() if source == SOURCE[target]} for target in targets]
        for target, found in zip(targets, pool.map(partial(test, folder, parts), targets, own), strict=True):
            for name, table in found.items():
                tables[name].append(table.assign(target=target))
    people: dict[str, int] = {
        name: 4 * len(own) for name, own in parts.items() if name not in read_portraits(portraits)
    }
    provenance: dict[str, Any] = environment() | {"device": device_name(accelerator)}
    provenance["command"] = " ".join(["python notebooks/studies/ship.py", *sys.argv[1:]])
    provenance |= {"faces": FACES, "seed": seed, "size": size, "people": people}
    provenance["networks"] = {name: asdict(CANDIDATES[name]) for name in names}
    provenance["portraits"] = [name for name in parts if name in read_portraits(portraits)]
    joined = {name: pd.concat(rows, ignore_index=True) if rows else pd.DataFrame() for name, rows in tables.items()}
    Ship(provenance, **joined).save(folder / "ship.json")
    print_table(joined["candidates"].drop(columns="seconds"), "UF1 on validation people")
    print_table(joined["scores"], "UF1 on people that nothing was chosen on")
    print(f"all after {time.perf_counter() - began:.0f} s: {folder}/ship.json, {', '.join(targets)}", flush=True)


def test(folder: Path, parts: dict[str, list[Part]], target: str, seconds: dict[str, float]) -> dict[str, pd.DataFrame]:
    """Chooses among the candidates of a target, saves the model that ships in half precision, and tests that one."""
    cache: dict[tuple[str, int | None], Samples] = {}

    def samples(name: str, flow: int | None) -> Samples:
        if (name, flow) not in cache:
            held = draw(parts[name], folder / "clips", 1, read=arrays_for(flow))
            cache[name, flow] = as_samples(held, TARGETS[target], flow)
        return cache[name, flow]

    trained, rows = {}, []
    for name in seconds:
        trained[name] = from_pretrained(_place(folder, SOURCE[target], name))
        if target == "where_how" and not STREAMS.keys() <= {*trained[name].input_names}:
            continue
        found = score(
            predict_table(trained[name], samples("validation", CANDIDATES[name].flow)), trained[name].config.classes
        )
        size = sum(p.numel() for p in trained[name].parameters())
        rows.append({"candidate": name, "uf1": found["uf1"], "parameters": size, "seconds": seconds[name]})
    candidates = pd.DataFrame(rows)
    chosen = str(candidates.candidate.iloc[int(candidates.uf1.argmax())])
    flow, classes = CANDIDATES[chosen].flow, trained[chosen].config.classes
    exact, told = calibrate(trained[chosen], samples("validation", flow), RIGHT)
    copy.deepcopy(exact).half().save_pretrained(folder / target)
    model = from_pretrained(folder / target)  # as it ships: parameters that went through half precision
    tests = list(filter(tested, parts))
    tables = {name: predict_table(model, samples(name, flow)) for name in tests}
    scores = [{"faces": name, "what": "model", **score(table, classes)} for name, table in tables.items()]
    plain, groups = tables["new heads"], []
    for tone, (low, high) in TONES.items():
        own = plain[plain.melanin.between(low, high, inclusive="left")]
        groups.append({"group": "tone", "value": tone, **score(own, classes)} if len(own) else {})
    for pose in POSES:
        own = predict_table(model, samples(f"pose {pose}", flow)) if pose else plain
        groups.append({"group": "pose", "value": f"{pose}°", **score(own, classes)})
    speaks = [told.assign(faces="validation"), *(told_table(table).assign(faces=n) for n, table in tables.items())]
    calibrated = []
    for name in ("validation", *tests):
        shown = np.flatnonzero(samples(name, flow).table.kind == "expression")
        label = samples(name, flow).label[shown]
        before, after = (
            calibration_errors(m.logits(samples(name, flow), shown), label) for m in (trained[chosen], model)
        )
        row = {"faces": name, "ece": after[0], "nll": after[1], "ece_before": before[0], "nll_before": before[1]}
        calibrated.append(row | {"temperature": model.config.temperature, "certain": model.config.certain})
    return {
        "candidates": candidates.assign(chosen=candidates.candidate == chosen),
        "scores": pd.concat([pd.DataFrame(scores), floors(folder, parts, target)]),
        "groups": pd.DataFrame(list(filter(None, groups))),
        "units": class_scores(plain, classes),
        "told": pd.concat(speaks, ignore_index=True),
        "calibrated": pd.DataFrame(calibrated),
    }


def beside(old: Ship, new: Ship) -> Ship:
    """The old result with the tables of those models that the new one has, and where these come from."""
    own = new.scores.target.unique()
    joined = {}
    for name in Ship.tables():
        before, now = getattr(old, name), getattr(new, name)
        kept = before[~before.target.isin(own)] if len(before) else before
        joined[name] = pd.concat([kept, now], ignore_index=True)
    return Ship(old.provenance | dict.fromkeys(own, new.provenance), **joined)


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def portraits(save: Annotated[Path, typer.Option(help="Where they go.")] = Path("build/ship/portraits.npz")) -> None:
    """Landmark the two portraits in the public domain, for machines that have no landmarker."""
    from tsfmicro_lab.data.photographs import find_portrait, packaged_portraits

    with one_sentence():
        found = {name: find_portrait(picture, name) for name, picture in packaged_portraits().items()}
        arrays: dict[str, Any] = {f"image {name}": p.image for name, p in found.items()}
        arrays |= {f"points {name}": p.points for name, p in found.items()}
        writable(save)
        np.savez_compressed(save, names=np.array(list(found)), **arrays)
    print(f"{', '.join(found)}: {save}")


@app.command()
def train(
    out: Out = Path("build/ship"),
    size: Annotated[str, typer.Option(help=f"How many people: {', '.join(SIZES)}.")] = "small",
    accelerator: Accelerator = "cpu",
    workers: Workers = None,
    candidates: Annotated[str, typer.Option(help="Some of the networks, with semicolons; all by default.")] = "",
    portraits: Annotated[Path, typer.Option(help="What that command wrote.")] = Path("build/ship/portraits.npz"),
    only: Annotated[str, typer.Option(help=f"One of the models, {', '.join(SHIPPED)}; all by default.")] = "",
    seed: int = 0,
) -> None:
    """Draw people, train, choose, calibrate and test; everything that is kept lies in --out."""
    with one_sentence():
        if only and only not in SHIPPED:
            raise ValueError(f"unknown model '{only}': choose from {', '.join(SHIPPED)}")
        names = [name.strip() for name in candidates.split(";")] if candidates else list(CANDIDATES)
        if unknown := [name for name in names if name not in CANDIDATES]:
            raise ValueError(f"unknown networks {unknown}: choose from {'; '.join(CANDIDATES)}")
        make(out, size, accelerator, workers, portraits, names, [only] if only else SHIPPED, seed)


@app.command("floors")
def floors_again(
    out: Out = Path("build/ship"),
    size: Annotated[str, typer.Option(help="How many people the models learned from.")] = "small",
    models: Annotated[str, typer.Option(help="Whose floors, with semicolons.")] = "emotions;action_units",
    portraits: Annotated[Path, typer.Option(help="Landmarked portraits.")] = Path("build/ship/portraits.npz"),
) -> None:
    """Measure floors and ceiling anew, on the clips that train left in --out, beside the models in the package."""
    with one_sentence():
        found, parts, targets = Ship.load(RESULT), parts_of(size, read_portraits(portraits)), models.split(";")
        scores = found.scores[(found.scores.what == "model") | ~found.scores.target.isin(targets)]
        measured = [floors(out, parts, target).assign(target=target) for target in targets]
        known = environment() | {"command": " ".join(["python notebooks/studies/ship.py", *sys.argv[1:]])}
        scores = pd.concat([scores, *measured], ignore_index=True)
        replace(found, scores=scores, provenance=found.provenance | {"floors": known}).save(RESULT)
        print_table(scores[["target", "faces", "what", "uf1", "low", "high"]])


@app.command()
def films(
    out: Out = Path("build/ship"),
    count: Annotated[int, typer.Option(min=1, help="Films of each kind.")] = 8,
    seconds: Annotated[float, typer.Option(min=2, help="Length of a film without an expression.")] = 6.0,
    shipped: Annotated[
        bool, typer.Option("--shipped", help="Of the models in the package, into their result.")
    ] = False,
) -> None:
    """Analyse films of new heads with the models in --out: false alarms a minute. Started again, it goes on."""
    from studies.ship_films import measure_films

    with one_sentence():
        result = RESULT if shipped else out / "ship.json"
        found = Ship.load(result)
        models = {name: from_pretrained(name if shipped else out / name) for name in ("emotions", "action_units")}
        known = environment() | {"command": " ".join(["python notebooks/studies/ship.py", *sys.argv[1:]])}
        keep = out / f"films-{known['commit'].replace(' ', '-')}-{seconds:g}s"
        table = measure_films(models, count, seconds, keep)
        found = replace(found, films=table, provenance=found.provenance | {"films": known})
        found.save(result)
    print(f"films: {result}")


@app.command()
def maps(
    clips: Annotated[int, typer.Option(min=1, help="Clips of each new head; of portraits all.")] = 3,
    size: Annotated[str, typer.Option(help="How many people the models learned from.")] = "small",
    portraits: Annotated[Path, typer.Option(help="Landmarked portraits.")] = Path("build/ship/portraits.npz"),
) -> None:
    """Score the maps of `where_how`, as it ships, on new heads and portraits, into its result. A minute or two."""
    from studies.ship_maps import measure_maps

    with one_sentence():
        found, every = Ship.load(RESULT), parts_of(size, read_portraits(portraits))
        parts = {name: own for name, own in every.items() if name == "new heads" or own[0].portrait}
        table = measure_maps(from_pretrained("where_how"), parts, clips).assign(target="where_how")
        known = environment() | {"command": " ".join(["python notebooks/studies/ship.py", *sys.argv[1:]])}
        replace(found, maps=table, provenance=found.provenance | {"maps": known}).save(RESULT)
        print_table(table.drop(columns="target"))


@app.command()
def cards() -> None:
    """Write the cards of the models in the package, and what docs/results.md says of them, from their result."""
    from studies.ship_card import with_words, write_card

    with one_sentence():
        found, page = Ship.load(RESULT), Path(__file__).parents[2] / "docs" / "results.md"
        for name in SHIPPED:
            write_card(found, name, checkpoint_folder(name))
        page.write_text(with_words(page.read_text(encoding="utf-8"), found), encoding="utf-8")


@app.command()
def install(
    out: Out = Path("build/ship"),
    save: Save = None,
    into: Annotated[Path | None, typer.Option(help="Folder of the checkpoints; the package's by default.")] = None,
) -> None:
    """Write the cards, and put models and result, films included, where they belong."""
    from studies.ship_card import write_card

    with one_sentence():
        result, found = writable(save or RESULT), Ship.load(out / "ship.json")
        trained = found.scores.target.unique().tolist()
        if trained != list(SHIPPED):
            found = beside(Ship.load(RESULT), found)
        for name in trained:
            place = into / name if into else checkpoint_folder(name)
            place.mkdir(parents=True, exist_ok=True)
            for file in ("config.json", "model.safetensors"):
                shutil.copyfile(out / name / file, place / file)
            write_card(found, name, place)
        found.save(result)
    print(f"models, cards and {result} are in place")


if __name__ == "__main__":
    app()
