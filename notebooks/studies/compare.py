"""Every model beside floors and a ceiling, on subjects that nobody trained on; what each stream gives; curves."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
import torch
import typer

if not __package__:  # run as a script, it finds its neighbours
    sys.path.insert(0, str(Path(__file__).parents[1]))

from tqdm.auto import tqdm

from studies.anatomy import cost
from studies.floors import FLOORS, floor
from studies.graphed import fit_graphed
from studies.intervals import p_told
from studies.interventions import intervene, intervention_scores
from studies.neighbours import IDEAS
from studies.new_subjects import (
    FLOW,
    HALF,
    HEADS,
    PHOTOGRAPHS,
    SETTINGS,
    SIDE,
    WHOLE,
    Drawn,
    Setting,
    draw_all,
    drawn,
    shrunk,
)
from studies.script import Accelerator, Clips, Epochs, Out, Save, Seeds, Subjects, Workers, one_sentence
from studies.stored import Stored, provenance_of, writable
from tsfmicro_lab.cli.output import print_table
from tsfmicro_lab.data import Samples, SyntheticMicroExpressions, prepare
from tsfmicro_lab.models import Recognizer
from tsfmicro_lab.provenance import device_name
from tsfmicro_lab.training import (
    Run,
    compare_models,
    cross_validate,
    decide,
    fit,
    fold_processes,
    predict,
    subject_interval,
)
from tsfmicro_lab.training.metrics import scores
from tsfmicro_lab.training.predictions import read_predictions, write_predictions
from tsfmicro_lab.training.protocols import training_score

TEMPORAL, LATE, SPATIAL = "tsfmicro_temporal", "tsfmicro_late", "tsfmicro_spatial"
FUSIONS = (
    Run(LATE),
    Run("tsfmicro_early"),
    Run("tsfmicro_t2s", settings={"inject": "before"}),
    Run("tsfmicro_t2s", settings={"inject": "after"}),
    Run("tsfmicro_s2t"),
)
VARIANTS = (*FUSIONS, Run(TEMPORAL), Run(SPATIAL))
#: Two small networks on DIS flow, which is at hand; their papers have TV-L1.
SHALLOW = (Run("ststnet", settings={"flow": "dis"}), Run("off_apexnet", settings={"flow": "dis"}))
#: Neighbours: MMNet with its attention and, in the same body, with retention; and ideas whose papers were not read.
FUSING, PROPOSING, TWO_BRANCHES = (model.name for model in IDEAS)
NEIGHBOURS = (
    Run("mmnet"),
    Run("mmnet", settings={"temporal": "retention"}),
    Run("ststnet", settings={"flow": "dis", "form": "public"}),
    Run(PROPOSING, settings={"flow": "dis"}),
    Run(TWO_BRANCHES),
)
#: Models whose inputs take longer to prepare than to learn from: on the few clean clips only. FRL-DGT is a
#: reimplementation from its description.
OTHERS = (
    Run("htnet", settings={"flow": "dis"}),
    Run("htnet", settings={"flow": "dis", "depths": (1, 3)}),
    Run(FUSING),
    Run("slstt_mean"),
    Run("slstt_mean", settings={"flow": "short"}),
    Run("slstt_lstm"),
    Run("frl_dgt"),
    Run("frl_dgt", settings={"displacement": "dis"}),
)
#: The setting in which whole clips are prepared, for LBP-TOP.
SEQUENCES = "clean"
#: A second protocol on the clips that are trained on, to be compared with new subjects.
LOSO = "leave one subject out"
#: Models whose learning curves are drawn, over epochs and over so many parts of the clips, with so many seeds.
CURVES, SHARES, CURVE_SEEDS = (LATE, TEMPORAL), (1, 4), 3
#: How often a learning curve looks at the tested subjects, by whom nothing is chosen.
LOOKS = 8
KEYS = ["setting", "faces", "model"]
#: What nobody needs to be compared with.
GUESSES = ("chance", "majority")


@dataclass(frozen=True)
class Comparison(Stored):
    """What a comparison found; every table is long, one row per fact.

    Attributes:
        scores: `setting`, `faces`, `model`, `seed`, `uf1`, `uar`, `accuracy`, `clips`; the faces are new heads,
            photographs, or of leave-one-subject-out over the training clips.
        intervals: Of new heads: `setting`, `faces`, `model`, `seeds`, `uf1`, `low`, `high`, and the gain over the
            temporal branch alone: `gain`, `gain_low`, `gain_high`, `p`, `p_holm`.
        curves: `setting`, `model`, `clips`, `seed`, `epoch`, `loss`, `uf1`.
        streams: `setting`, `model`, `seed`, `intervention`, `uf1`, `lost`, `p_truth`.
        cost: `model`, `parameters`, `mflops` (one sample forward), `ms` (one training step per clip).
    """

    script: ClassVar = "compare"
    scores: pd.DataFrame
    intervals: pd.DataFrame
    curves: pd.DataFrame
    streams: pd.DataFrame
    cost: pd.DataFrame

    def table(self, setting: str) -> pd.DataFrame:
        """Models by UF1 on new heads, best first: interval, spread over seeds, photographs, gain, size, as text."""
        rows = self.intervals.query("setting == @setting").sort_values("uf1", ascending=False)
        own = self.scores.query("setting == @setting")
        sizes = self.cost.set_index("model")

        def over_seeds(model: str, faces: str) -> str:
            uf1 = own[(own.model == model) & (own.faces == faces)].uf1
            spread = f" ± {uf1.std():.2f}" if len(uf1) > 1 else ""
            return f"{uf1.mean():.2f}{spread}" if len(uf1) else ""

        def spans(*columns: str, form: str, ends: str) -> list[str]:
            numbers = rows[[*columns]].to_numpy(float)
            between = [f" ({a:{ends}} to {b:{ends}})" if np.isfinite(a) else "" for _, a, b in numbers]
            return [f"{v:{form}}{e}" if np.isfinite(v) else "" for (v, *_), e in zip(numbers, between, strict=True)]

        known = {m: (f"{sizes.parameters[m]:,}", f"{sizes.ms[m]:.1f}") for m in sizes.index}
        return pd.DataFrame(
            {
                "model": rows.model,
                "UF1": spans("uf1", "low", "high", form=".3f", ends=".2f"),
                "seeds": rows.seeds,
                "over seeds": [over_seeds(m, HEADS) for m in rows.model],
                "photographs": [over_seeds(m, PHOTOGRAPHS) for m in rows.model],
                "gain over temporal": spans("gain", "gain_low", "gain_high", form="+.3f", ends="+.2f"),
                "p (Holm)": [*map(p_told, rows.p_holm.to_numpy(float))],
                "parameters": [known.get(m, ("", ""))[0] for m in rows.model],
                "ms": [known.get(m, ("", ""))[1] for m in rows.model],
            }
        ).reset_index(drop=True)


def put_into(stored: Comparison, found: Comparison, models: Sequence[str]) -> Comparison:
    """A stored comparison with what another run found of some models, in place of what was known of them.

    Their gains stay those of that run: over its own temporal branch, corrected for its own models. Costs that are known
    stay, too, since all were measured in turns. Where a run came from is in the provenance, under `put into`, with its
    temporal branch, `over` which the gains are.

    Raises:
        ValueError: A model was not run, or a setting has another recipe than networks that stay.
    """
    if lacking := {*models} - {*_names(found.scores)}:
        raise ValueError(f"not run: {', '.join(sorted(lacking))}")
    settings = {*found.scores.setting}
    about, now = (own.provenance.get("settings", {}) for own in (stored, found))
    for setting in settings & {*about}:
        stay = {*_names(stored.scores[stored.scores.setting == setting])} - {*models, *FLOORS}
        if about[setting] != now.get(setting) and stay:
            raise ValueError(f"{setting}: another recipe than that of {', '.join(sorted(stay))}: put them in, too")

    def meant(table: pd.DataFrame) -> pd.Series:
        return _names(table).isin(models)

    def joined(name: str) -> pd.DataFrame:
        old, new = (getattr(own, name) for own in (stored, found))
        if name == "cost":
            return pd.concat([old, new[meant(new) & ~new.model.isin(old.model)]], ignore_index=True)
        kept = old[~(meant(old) & old.setting.isin(settings))]
        return pd.concat([kept, new[meant(new)] if len(new) else new], ignore_index=True)

    own = {
        "models": [*models],
        "of": sorted(settings),
        **{k: v for k, v in found.provenance.items() if k not in ("recipe", "settings")},
    }
    base = found.intervals.query("model == @TEMPORAL").set_index("setting")
    own["over"] = {setting: {"uf1": round(row.uf1, 4), "seeds": int(row.seeds)} for setting, row in base.iterrows()}
    before = [run for run in stored.provenance.get("put into", []) if not _replaced(run, own)]
    provenance = stored.provenance | {"settings": about | now, "put into": [*before, own]}
    return Comparison(provenance, **{name: joined(name) for name in Comparison.tables()})


def _replaced(run: dict[str, Any], by: dict[str, Any]) -> bool:
    """Whether nothing is left of a run that was put in, after another."""
    return all({*run[what]} <= {*by[what]} for what in ("models", "of"))


def _names(table: pd.DataFrame) -> pd.Series:
    """What rows are called where some are chosen: their model, or the second protocol."""
    return table.model.mask(table.faces == LOSO, LOSO) if "faces" in table else table.model


@dataclass(frozen=True)
class Trial:
    """One network to be trained on a setting and tested on new subjects, or leaving out one subject after the other."""

    setting: Setting
    run: Run
    faces: str = HEADS
    parts: int | None = None  #: of the clips; all by default

    @property
    def name(self) -> str:
        """What it is called where some are chosen: its model, or the second protocol."""
        return LOSO if self.faces == LOSO else self.run.label

    def path(self, folder: Path, kind: str = "csv") -> Path:
        """Where its predictions are kept; what it tells besides lies next to them."""
        name = f"{self.setting.name}-{self.faces}-{self.run.label}-{self.parts or self.setting.parts}-{self.run.seed}"
        return folder / "trials" / f"{name.replace(' ', '_')}.{kind}"


def compare(
    folder: Path,
    *,
    seeds: int = 10,
    epochs: int | None = None,
    accelerator: str = "cpu",
    workers: int | None = None,
    settings: Sequence[Setting] = tuple(SETTINGS.values()),
    only: Sequence[str] = (),
    minutes: float = float("inf"),
    graphs: bool = False,
) -> Comparison:
    """Trains every model on some subjects and tests it on new ones; each seed draws its own of both; resumable.

    Nothing is chosen on a tested clip: recipes were chosen on subjects who are not tested here.

    Args:
        folder: Where clips and predictions are kept.
        seeds: Number of seeds.
        epochs: Epochs; those of each setting's recipe by default.
        accelerator: `cpu`, `cuda`, …
        workers: Processes; one per core by default.
        settings: What to learn from.
        only: Labels of the networks to train, or `leave one subject out`; all by default. What was trained before is in
            the result, too.
        minutes: No training starts later; started again, the study goes on. With 0 it only gathers what is there.
        graphs: Whether training steps are replayed as CUDA graphs, see `fit_graphed`.
    """
    end = time.monotonic() + 60 * minutes
    every = [t for seed in range(seeds) for own in settings for t in trials(own, seed, epochs, accelerator)]
    if unknown := {*only} - {trial.name for trial in every}:
        raise ValueError(f"unknown {sorted(unknown)}: choose from {sorted({t.name for t in every})}")
    todo = [t for t in every if minutes and not t.path(folder).exists() and (not only or t.name in only)]
    for own in settings:
        mine = [trial for trial in todo if trial.setting == own]
        missing = {s for s in range(seeds) if _lacking(folder, own, s)}
        also = {name for trial in mine for name in trial.run.create(2).prepared} - {"onset", "apex", FLOW}
        also |= {WHOLE} if missing and _few(own) else set()
        draw_all(folder, own, sorted(missing | {trial.run.seed for trial in mine}), workers, sorted(also))
    with fold_processes(workers, gpus=accelerator == "cuda") as pool:
        jobs = [pool.submit(_floors, folder, own, seed) for seed in range(seeds) for own in settings]
        jobs += [pool.submit(_train, folder, trial, end, graphs) for trial in todo]
        for job in tqdm(jobs, "networks"):
            job.result()
    return _collect(folder, every)


def trials(setting: Setting, seed: int, epochs: int | None, accelerator: str) -> list[Trial]:
    """Everything that is trained with one seed, so that a study which is stopped early is whole for some."""
    recipe = replace(setting.recipe, epochs=epochs or setting.recipe.epochs)
    known: dict[str, Any] = {"recipe": recipe, "seed": seed, "accelerator": accelerator}
    runs = (*VARIANTS, *SHALLOW, *NEIGHBOURS, *(OTHERS if _few(setting) else ()))
    if setting.motion == "flow":  # only whether the onset frame helps
        runs = (*FUSIONS, Run(TEMPORAL))
    found = [Trial(setting, replace(run, **known)) for run in runs]
    if setting.name == HALF:
        found.append(Trial(setting, replace(Run(LATE), **known), LOSO))
    if setting.name == "distractors" and seed < CURVE_SEEDS:
        for parts in SHARES:
            few = known | {"recipe": replace(recipe, batch_size=min(recipe.batch_size, 8 * parts))}
            found += [Trial(setting, replace(Run(model), **few), parts=parts) for model in CURVES]
    return found


def _few(setting: Setting) -> bool:
    """Whether a setting has the few clean clips."""
    return setting.name.partition(",")[0] == SEQUENCES


def _train(folder: Path, trial: Trial, end: float, graphs: bool = False) -> None:
    """Trains and tests, and keeps what came of it, unless it is too late."""
    if time.monotonic() > end:
        return
    run, setting = trial.run, trial.setting
    train = drawn(folder, setting, run.seed, parts=trial.parts).samples
    if trial.faces == LOSO:
        rows = cross_validate(train, run, progress=False)
        write_predictions(rows.assign(device=device_name(run.accelerator)), trial.path(folder))
        return
    model = run.create(len(train.classes), run.seed)
    tests = {faces: _as_read(model, drawn(folder, setting, run.seed, faces).samples) for faces in setting.faces}
    curve: list[dict[str, Any]] = []
    look = _look(model, tests[HEADS], curve, run.recipe.epochs) if run.model in CURVES else None
    train, index = _as_read(model, train), np.arange(len(train))
    learn = fit_graphed if graphs else fit
    losses = learn(model, train, index, run.recipe, seed=run.seed, accelerator=run.accelerator, after_epoch=look)
    about: dict[str, Any] = {"device": device_name(next(model.parameters()).device)}
    about |= training_score(model, train, index, run.recipe, losses[-1], f"{trial.name}, seed {run.seed}")
    if curve:
        write_predictions(pd.DataFrame(curve).assign(clips=len(train)), trial.path(folder, "curve"))
    if run.model in {r.model for r in (*FUSIONS, NEIGHBOURS[0])} and trial.parts is None:
        heads = tests[HEADS].to(next(model.parameters()).device)
        streams = intervention_scores(intervene(model, heads, np.arange(len(heads)), seed=run.seed), heads.classes)
        write_predictions(streams, trial.path(folder, "streams"))
    found = {faces: decide(predict(model, samples, np.arange(len(samples)))) for faces, samples in tests.items()}
    write_predictions(_rows(found, tests, run.label, run.seed).assign(**about), trial.path(folder))


def _as_read(model: Recognizer, samples: Samples) -> Samples:
    """What a network reads: DIS flow of another size is made of that which is at hand."""
    size = model.config.image_size
    return shrunk(samples, size) if size != SIDE and FLOW in model.prepared else samples


def _look(model: Recognizer, tests: Samples, curve: list[dict[str, Any]], epochs: int) -> Callable[[int, float], None]:
    """Writes down UF1 on new heads a few times."""

    def after_epoch(epoch: int, loss: float) -> None:
        if epoch * LOOKS // epochs > (epoch - 1) * LOOKS // epochs:
            said = decide(predict(model, tests, np.arange(len(tests))))
            uf1 = scores(tests.names(tests.label), tests.names(torch.from_numpy(said)), tests.classes)["uf1"]
            curve.append({"epoch": epoch, "loss": loss, "uf1": uf1})

    return after_epoch


def _rows(found: dict[str, np.ndarray], tests: dict[str, Samples], model: str, seed: int) -> pd.DataFrame:
    tables = []
    for faces, said in found.items():
        samples = tests[faces]
        rows = samples.table[["subject", "clip"]].assign(truth=samples.names(samples.label), model=model, seed=seed)
        tables.append(rows.assign(predicted=samples.names(torch.from_numpy(np.asarray(said))), faces=faces))
    return pd.concat(tables, ignore_index=True)


def _floors_path(folder: Path, setting: Setting, seed: int) -> Path:
    return folder / "trials" / f"{setting.name.partition(',')[0]}-floors-{seed}.csv"


def _lacking(folder: Path, setting: Setting, seed: int) -> list[str]:
    """Floors that were not computed yet: one of them reads whole clips, which only one setting prepares."""
    path = _floors_path(folder, setting, seed)
    there = {*read_predictions(path, "faces").model} if path.exists() else set[str]()
    return [name for name in FLOORS if name not in there and (name != "lbp_top" or _few(setting))]


def _floors(folder: Path, setting: Setting, seed: int) -> None:
    """Floors and ceiling of a setting and seed, and of fewer clips for the learning curve."""
    path, lacking = _floors_path(folder, setting, seed), _lacking(folder, setting, seed)
    if not lacking:
        return
    tests: dict[str, Drawn] = {faces: drawn(folder, setting, seed, faces) for faces in setting.faces}
    samples = {faces: d.samples for faces, d in tests.items()}
    tables = [read_predictions(path, "faces")] if path.exists() else []
    for parts in (*(SHARES if setting.name == "distractors" else ()), setting.parts):
        train = drawn(folder, setting, seed, parts=parts)
        for model in lacking:
            rows = _rows(floor(model, train, tests), samples, model, seed)
            tables.append(rows.assign(parts=parts, learnt=len(train.samples), device=device_name()))
    write_predictions(pd.concat(tables, ignore_index=True), path)


def _collect(folder: Path, every: Sequence[Trial]) -> Comparison:
    """Tables of everything that is there."""
    classes = sorted(SyntheticMicroExpressions.classes)
    there = [trial for trial in every if trial.path(folder).exists()]
    predictions: list[pd.DataFrame] = []
    curves: list[pd.DataFrame] = []
    streams: list[pd.DataFrame] = []
    for trial in there:
        about: dict[str, Any] = {"setting": trial.setting.name, "model": trial.run.label, "seed": trial.run.seed}
        rows = read_predictions(trial.path(folder), "faces").assign(**about)
        if trial.parts is None:
            predictions.append(rows.assign(faces=LOSO) if trial.faces == LOSO else rows)
        for kind, tables in (("curve", curves), ("streams", streams)):
            if (path := trial.path(folder, kind)).exists():
                tables.append(read_predictions(path, "intervention").assign(**about))
    for setting, seed in {(trial.setting, trial.run.seed): None for trial in every}:
        rows = read_predictions(_floors_path(folder, setting, seed), "faces").assign(setting=setting.name)
        predictions.append(rows[rows.parts == setting.parts])
        for (model, clips), own in rows[rows.faces == HEADS].groupby(["model", "learnt"]):
            point = {"setting": setting.name, "model": model, "clips": clips, "seed": seed, "epoch": 0, "loss": np.nan}
            curves.append(pd.DataFrame([point | {"uf1": scores(list(own.truth), list(own.predicted), classes)["uf1"]}]))
    table = pd.concat(predictions, ignore_index=True)
    found = [
        dict(zip([*KEYS, "seed"], key, strict=True))
        | scores(list(own.truth), list(own.predicted), classes)
        | {"clips": len(own)}
        for key, own in table.groupby([*KEYS, "seed"], sort=False)
    ]
    return Comparison(
        provenance=_provenance(every) | {"device": "; ".join(sorted({*table.device.dropna()}))},
        scores=pd.DataFrame(found),
        intervals=_intervals(table[table.faces == HEADS], classes),
        curves=pd.concat(curves, ignore_index=True),
        streams=pd.concat(streams, ignore_index=True) if streams else pd.DataFrame(),
        cost=measure_cost([*{trial.run.label: trial.run for trial in there}.values()]),
    )


def _provenance(every: Sequence[Trial]) -> dict[str, Any]:
    about: dict[str, Any] = {}
    for trial in every:
        own, recipe = trial.setting, trial.run.recipe
        learnt, tested = own.parts * own.subjects * own.clips, own.tested * own.subjects
        about.setdefault(own.name, {"clips": learnt, "tested heads": tested, "where": own.where, **asdict(recipe)})
    known = provenance_of(every[0].run, seeds=len({trial.run.seed for trial in every}))
    protocol = "trained on some synthetic subjects, tested on new ones; networks of size tiny, last epoch"
    return {**known, "protocol": protocol, "settings": about}


def _intervals(table: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """UF1 of each model, and its gain over the temporal branch in the seeds of that; no test of one seed."""
    rows = []
    for setting, group in table.groupby("setting", sort=False):
        found = [
            {"setting": setting, "faces": HEADS, "model": model, "seeds": own.seed.nunique()}
            | dict(zip(("uf1", "low", "high"), subject_interval(own, classes), strict=True))
            for model, own in group.groupby("model", sort=False)
        ]
        seeds = {*group.seed[group.model == TEMPORAL]}
        common = group[group.seed.isin(seeds) & ~group.model.isin(GUESSES)]
        counts = common.groupby("model").seed.nunique()
        common = common[common.model.isin(counts.index[counts == len(seeds)])]
        gains = pd.DataFrame(columns=["model", "gain", "low", "high", "p", "p_holm"], dtype=float)
        if seeds:
            gains = compare_models(common, TEMPORAL, classes)
        if len(seeds) == 1:  # whose subjects say nothing about another training
            gains = gains.assign(low=np.nan, high=np.nan, p=np.nan, p_holm=np.nan)
        gains = gains.rename(columns={"low": "gain_low", "high": "gain_high"})
        rows.append(pd.DataFrame(found).merge(gains, on="model", how="left"))
    return pd.concat(rows, ignore_index=True)


def measure_cost(runs: Sequence[Run]) -> pd.DataFrame:
    """Size and speed. The models take turns on one thread, and the fastest of five turns counts: noise only adds.

    Returns:
        Rows `model`, `parameters`, `mflops` (one clip forward, prepared), `ms` (one training step per clip).
    """
    clips, threads = SyntheticMicroExpressions(2, 8), torch.get_num_threads()
    torch.set_num_threads(1)
    best = dict.fromkeys((run.label for run in runs), np.inf)
    own = {}
    for run in runs:
        model = run.create(2)
        own[run.label] = prepare(clips, model.config.image_size, tensors=model.prepared, progress=False)
    for run in [*runs] * 6:  # the first turn warms up
        samples = own[run.label]
        model = run.create(len(samples.classes), seed=0)
        model.pretrain = lambda *_: None  # type: ignore[method-assign]  # a step of the training proper
        began = time.perf_counter()
        fit(model, samples, np.arange(len(samples)), replace(run.recipe, epochs=1, batch_size=8))
        best[run.label] = min(best[run.label], (time.perf_counter() - began) / len(samples) * 1e3)
    torch.set_num_threads(threads)
    rows = []
    for run in runs:
        parameters, flops = cost(run.create(len(own[run.label].classes)))
        rows.append({"model": run.label, "parameters": parameters, "mflops": flops / 1e6, "ms": best[run.label]})
    return pd.DataFrame(rows)


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    out: Out = Path("build/compare"),
    save: Save = None,
    seeds: Seeds = 10,
    subjects: Subjects = 8,
    clips: Clips = 12,
    epochs: Epochs = None,
    accelerator: Accelerator = "cpu",
    workers: Workers = None,
    setting: Annotated[list[str] | None, typer.Option(help="One of the settings, all by default; again.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="A label, or 'leave one subject out'; again.")] = None,
    minutes: Annotated[float, typer.Option(help="Start no training later; call again to go on.")] = float("inf"),
    into: Annotated[
        list[str] | None, typer.Option(help="Put only this into the saved file, or 'all' that was run; again.")
    ] = None,
    graphs: Annotated[bool, typer.Option(help="Replay training steps as CUDA graphs; on a GPU alone.")] = False,
) -> None:
    """Compare all models on new subjects, with floors and a ceiling. Minutes on a large GPU, a day on two cores."""
    with one_sentence():
        path = writable(save or out / "comparison.json")
        names = setting or [*SETTINGS]
        if unknown := {*names} - {*SETTINGS}:
            raise ValueError(f"unknown setting {sorted(unknown)}: choose from {[*SETTINGS]}")
        chosen = [replace(SETTINGS[name], subjects=subjects, clips=clips) for name in names]
        size: dict[str, Any] = {
            "seeds": seeds,
            "epochs": epochs,
            "workers": workers,
            "settings": chosen,
            "graphs": graphs,
        }
        stored = Comparison.load(path) if into else None
        found = compare(out, accelerator=accelerator, only=only or (), minutes=minutes, **size)
        if stored and into:
            found = put_into(stored, found, [*_names(found.scores).unique()] if "all" in into else into)
        found.save(path)
    for name in names:
        print_table(found.table(name), f"{name}: UF1 on new heads, 95 % intervals")
    print(f"everything: {path}")


if __name__ == "__main__":
    app()
