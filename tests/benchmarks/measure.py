"""Measures everything about speed in one go and writes one small file.

    python tests/benchmarks/measure.py --device cuda --save notebooks/results/speed_gpu.json --minutes 8.5
    python tests/benchmarks/measure.py --device cpu  --save notebooks/results/speed_cpu.json --minutes 12
    python tests/benchmarks/measure.py --docs notebooks/results/speed_cpu.json notebooks/results/speed_gpu.json

Sections run in the order of their worth; what no longer fits the minutes is left out and named in the file. Every ratio
is of two ways that took turns in this one run. The file says device, versions, commit and command.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "notebooks"))
from plain import encoded_clips, plain_loader, plain_of
from torch.utils.benchmark import timer

from studies.speed import energy, flops, machine, measure, memory, roofline, runner, seconds
from tsfmicro_lab.data import Samples
from tsfmicro_lab.models import create_model
from tsfmicro_lab.provenance import device_name, environment
from tsfmicro_lab.training import RECIPES, Recipe, Run, cross_validate, fit, fold_processes
from tsfmicro_lab.training.augmentation import Augmentation

#: Batches per preset; a CPU of two cores gets smaller ones.
BATCH = {"cuda": {"base": 32, "small": 32, "tiny": 32}, "cpu": {"base": 2, "small": 8, "tiny": 8}}
SUBJECTS, CLIPS, EPOCHS = 26, 247, 174  # CASME II and the paper's recipe


def random_samples(subjects, clips, side, seed=0):
    """Bytes of the right number: speed does not ask what they show."""
    generator = torch.Generator().manual_seed(seed)
    onset, apex = torch.randint(0, 256, (2, clips, 3, side, side), dtype=torch.uint8, generator=generator)
    who = [f"s{i * subjects // clips:02d}" for i in range(clips)]
    table = pd.DataFrame({"subject": who, "clip": [f"c{i}" for i in range(clips)], "onset": 0})
    return Samples({"onset": onset, "apex": apex}, torch.arange(clips) % 5, tuple("abcde"), table)


def ways(device):
    """How a model can be run: the plain twin, and ours with one thing more each time."""
    yield "plain float32", {"plain": True}
    yield "float32", {}
    yield "bf16", {"precision": "bf16-mixed"}
    if device == "cuda":
        yield "bf16, compiled", {"precision": "bf16-mixed", "compiled": "default"}
        yield "bf16, CUDA graphs", {"precision": "bf16-mixed", "compiled": "reduce-overhead"}
        yield "plain bf16", {"plain": True, "precision": "bf16-mixed"}


def models(device, presets, left):
    """Forward pass and training step of each way, per preset; ways take turns, the least of each counts."""
    rows, roofs = [], {p: machine(device, p) for p in ("32-true", "bf16-mixed")}
    for preset in presets:
        for what in ("training step", "forward pass"):
            train, batch = what == "training step", BATCH[device][preset]
            model = create_model("tsfmicro_late", 5, preset, seed=0)
            count, side = flops(model, batch, train=train), model.config.image_size
            inputs = [torch.randn(batch, 3, side, side, device=device) for _ in model.input_names]
            runs, best, needed, warm = {}, {}, {}, {}
            for name, way in ways(device):
                if left() < 0 or ("compiled" in way and what == "forward pass" and preset != "base"):
                    continue
                own = create_model("tsfmicro_late", 5, preset, seed=0)
                own = (plain_of(own) if way.get("plain") else own).to(device)
                options = {k: v for k, v in way.items() if k != "plain"}
                run = runner(own, inputs, train=train, fused=not way.get("plain"), **options)
                began = timer()  # it waits for a GPU
                with memory(device) as used:
                    run()
                    warm[name] = timer() - began
                runs[name], needed[name] = run, used.get("mb")
            for _ in range(3):  # turns
                for name, run in runs.items():
                    best[name] = min(best.get(name, 1e9), seconds(run))
            for name, took in best.items():
                roof = roofs["bf16-mixed" if "bf16" in name else "32-true"]
                row = {"preset": preset, "batch": batch, "what": what, "way": name, "ms": 1e3 * took}
                row |= {"ratio": best["plain float32"] / took, "gflops": count / took / 1e9}
                row |= {"of_gemm": count / took / 1e9 / roof.gflops, "mb": needed[name], "first_s": warm[name]}
                rows.append(row)
                print(row, flush=True)
    return rows


def scaling(device, left):
    """Time and memory of a training step over image side, batch, and both precisions; GPU only for large ones."""
    rows = []
    plan = [("tiny", b, None) for b in (1, 2, 4, 8, 16, 32, 64)] + [("tiny", 8, s) for s in (64, 112, 160, 224, 320)]
    plan += [("base", 1, s) for s in (64, 128, 192, 256, 320, 384)]
    if device == "cuda":
        plan = [("base", b, None) for b in (1, 2, 4, 8, 16, 32, 64, 128)]
        plan += [("base", 32, s) for s in (64, 96, 128, 160, 192, 256, 320, 384)]
        plan += [("tiny", b, None) for b in (8, 32, 128, 512)]
    roofs = {p: machine(device, p) for p in ("32-true", "bf16-mixed")}
    for preset, batch, side in plan:
        for precision in roofs if device == "cuda" else ["32-true"]:
            if left() < 0:
                return rows
            overrides = {"image_size": side} if side else {}
            try:
                model = create_model("tsfmicro_late", 5, preset, seed=0, **overrides)
                row = measure(model, batch, device=device, precision=precision, roof=roofs[precision])
                rows.append({"preset": preset, **row})
            except torch.OutOfMemoryError:
                rows.append({"preset": preset, "batch": batch, "side": side, "precision": precision, "ms": None})
            print(rows[-1], flush=True)
    return rows


def evaluations(device, left):
    """Time of evaluations of the tiny preset over clips and folds, one process and two; the clips' own memory."""
    rows, epochs = [], 4
    plan = [(4, clips, 1) for clips in (24, 48, 192, 384)]
    plan += [(folds, 96, processes) for folds in (2, 4, 8, 16) for processes in (1, 2)]
    for folds, clips, processes in plan:
        if left() < 0:
            break
        samples, run = random_samples(folds, clips, 56), Run("tsfmicro_late", recipe=Recipe(epochs=epochs))
        run = replace(run, accelerator=device)
        began = time.perf_counter()
        with fold_processes(processes) as pool:
            cross_validate(samples, run, executor=pool, progress=False)
        took = time.perf_counter() - began
        bytes_of = sum(tensor.nbytes for tensor in samples.tensors.values())
        row = {"folds": folds, "clips": clips, "epochs": epochs, "processes": processes}
        rows.append(row | {"seconds": took, "clips_mb": bytes_of / 2**20})
        print(rows[-1], flush=True)
    return rows


def layers(device, precision):
    preset = "base" if device == "cuda" else "tiny"
    model = create_model("tsfmicro_late", 5, preset, seed=0)
    return roofline(model, BATCH[device][preset], device=device, precision=precision).assign(preset=preset)


def data_path(device):
    """Batches a second: bytes on the device, augmented there, against a loader that decodes and seeks anew."""
    side, batch = (224, 32) if device == "cuda" else (112, 16)
    samples = random_samples(4, 64, side).to(device)
    augment, rows = Augmentation(side), torch.arange(batch, device=device)
    inputs = create_model("tsfmicro_late").inputs
    ours = seconds(lambda: inputs(augment(samples.pick(rows))))
    clips = encoded_clips(64, 61, side)
    found = []
    for workers in (0, 8) if device == "cuda" else (0,):
        began, count = time.perf_counter(), 0
        for onset, difference, label in plain_loader(clips, list(range(64)), side, batch, workers):
            _ = [x.to(device) for x in (onset, difference, label)]
            count += len(label)
        plain = (time.perf_counter() - began) / count * batch
        row = {"batch": batch, "side": side, "workers": workers, "plain_ms": 1e3 * plain}
        found.append(row | {"ms": 1e3 * ours, "ratio": plain / ours})
    print(found, flush=True)
    return found


def protocol(device, left):
    """Leave-one-subject-out of CASME II's size: whole where it fits, else epochs of one fold, told as what they are."""
    if device == "cpu":
        samples, recipe = random_samples(8, 96, 56), Recipe(epochs=30)
        began = time.perf_counter()
        with fold_processes(2) as pool:
            cross_validate(samples, Run("tsfmicro_late", recipe=recipe), executor=pool, progress=False)
        took = time.perf_counter() - began
        return [
            {"set": "tiny, 8 × 12 clips", "way": "2 processes", "folds": 8, "epochs": 30, "seconds": took, "share": 1}
        ]
    rows, samples = [], random_samples(SUBJECTS, CLIPS, 224)
    index = np.arange(CLIPS - CLIPS // SUBJECTS)
    for way, precision, compiled in (
        ("bf16, compiled", "bf16-mixed", "default"),
        ("bf16", "bf16-mixed", ""),
        ("bf16, CUDA graphs", "bf16-mixed", "reduce-overhead"),
        ("float32", "32-true", ""),
    ):
        if left() < 0:
            break
        marks = [timer()]

        def mark(*_, marks=marks):
            marks.append(timer())

        epochs = 8
        with energy() as used:
            fit(
                create_model("tsfmicro_late", 5, "base", seed=0),
                samples,
                index,
                Recipe(**{**vars(RECIPES["base"]), "epochs": epochs}),
                accelerator="cuda",
                precision=precision,
                compiled=compiled,
                after_epoch=mark,
            )
        epoch = float(np.median(np.diff(marks)[3:]))
        row = {"set": "CASME II-sized, base, batch 32", "way": way, "folds": SUBJECTS, "epochs": EPOCHS}
        row |= {"seconds_per_epoch": epoch, "seconds": epoch * EPOCHS * SUBJECTS, "share": epochs / EPOCHS / SUBJECTS}
        row |= {"joules_per_second": used.get("joules", 0) / used["seconds"], "first_epoch_s": marks[1] - marks[0]}
        rows.append(row)
        print(row, flush=True)
    return rows


WORKER = """
import sys, time, numpy as np, torch
sys.path.insert(0, "tests/benchmarks")
from measure import fold_rate
fold_rate(*sys.argv[1:])
"""


def fold_rate(preset, compiled, start, until):
    """One of several processes on one GPU: trains from one moment to another and prints clips per second."""
    side = {"base": 224, "tiny": 56}[preset]
    samples, done = random_samples(8, 96, side), []

    class Over(Exception):
        pass

    def look(*_):
        torch.cuda.synchronize()
        if float(start) < time.time():
            done.append(time.time())
        if time.time() > float(until):
            raise Over

    recipe = Recipe(**{**vars(RECIPES[preset]), "epochs": 100_000})
    model = create_model("tsfmicro_late", 5, preset, seed=0)
    try:
        device = {"accelerator": "cuda", "precision": "bf16-mixed"}
        fit(model, samples, np.arange(96), recipe, **device, compiled=compiled, after_epoch=look)
    except Over:
        print("rate", (len(done) - 1) * 96 / (done[-1] - done[0]))


def side_by_side(left):
    """Several trainings on one GPU, each a process; clips per second of all."""
    rows = []
    for preset, processes in (("tiny", 1), ("tiny", 8), ("base", 1), ("base", 2), ("tiny", 16), ("base", 4)):
        if left() < 25:
            break
        start = time.time() + 18
        command = [sys.executable, "-c", WORKER, preset, "", str(start), str(start + 5)]
        started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
        said = [p.communicate()[0] for p in started]
        rates = [float(m[1]) for text in said if (m := re.search(r"rate (\S+)", text))]
        rows.append({"preset": preset, "processes": processes, "clips_per_s": sum(rates), "answered": len(rates)})
        print(rows[-1], flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"])
    parser.add_argument("--save", type=Path, default=Path("build/speed.json"))
    parser.add_argument("--minutes", type=float, default=8.5)
    parser.add_argument("--only", nargs="*", help="data models protocol …: the file keeps its other sections")
    parser.add_argument("--commit", help="where the checkout is a copy without git")
    parser.add_argument(
        "--docs", nargs="*", type=Path, help="write the table of docs/scaling.md from files, measure nothing"
    )
    options = parser.parse_args()
    if options.docs:
        text = Path("docs/scaling.md").read_text(encoding="utf-8")
        before, _, rest = text.partition("<!-- speed -->")
        after = rest.partition("<!-- /speed -->")[2]
        table = docs_table([path for path in options.docs if path.exists()])
        Path("docs/scaling.md").write_text(f"{before}<!-- speed -->\n{table}\n<!-- /speed -->{after}", encoding="utf-8")
        return
    device, began = options.device, time.monotonic()
    if device == "cuda":
        torch.zeros(1, device=device)
    provenance = environment() | {"measured_on": device_name(device), "threads": torch.get_num_threads()}
    provenance["load_before"] = f"{os.getloadavg()[0]:.1f}"  # what else ran on this machine
    provenance["commit"] = options.commit or provenance["commit"]
    before = json.loads(options.save.read_text()) if options.only and options.save.exists() else {}
    result = before | {"provenance": provenance, "left_out": []}
    left = lambda: options.minutes * 60 - (time.monotonic() - began)  # noqa: E731

    def stacked():
        from stacked import compare_stacked

        return compare_stacked(device, left)

    presets = ["base", "tiny", "small"] if device == "cuda" else ["tiny", "small", "base"]
    precision = "bf16-mixed" if device == "cuda" else "32-true"
    sections = {
        "roofs": lambda: [{"precision": p, **vars(machine(device, p))} for p in ("32-true", "bf16-mixed")],
        "data": lambda: data_path(device),
        "protocol": lambda: protocol(device, lambda: left() - 90),
        "models": lambda: models(device, presets, lambda: left() - 60),
        "layers": lambda: json.loads(layers(device, precision).to_json(orient="records")),
        "stacked": stacked,
        "evaluations": lambda: evaluations(device, left),
        "scaling": lambda: scaling(device, left),
        "side": lambda: side_by_side(left) if device == "cuda" else [],
    }
    for name, section in sections.items():
        if options.only and name not in options.only and name != "roofs":
            continue
        if left() < 10:
            result["left_out"].append(name)
            continue
        print(f"== {name}, {left():.0f} s left", flush=True)
        try:
            result[name] = section()
        except Exception:
            traceback.print_exc()
            result["left_out"].append(f"{name}: {traceback.format_exc().splitlines()[-1]}")
        options.save.parent.mkdir(parents=True, exist_ok=True)
        options.save.write_text(dump(result))
    print(f"{time.monotonic() - began:.0f} s, {options.save}")


def dump(result):
    """JSON, a row a line, four digits."""
    short = json.loads(json.dumps(result), parse_float=lambda x: float(f"{float(x):.4g}"))
    parts = []
    for name, value in short.items():
        rows = value if isinstance(value, list) else None
        text = "[\n" + ",\n".join(map(json.dumps, rows)) + "\n]" if rows else json.dumps(value, indent=1)
        parts.append(f'"{name}": {text}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def docs_table(paths):
    """The table of docs/scaling.md: ratios to the plain way, of the files that exist."""
    lines = [
        "| device | preset, batch | what | way | time | plain ÷ this | of a matrix product |",
        "|---|---|---|---|---|---|---|",
    ]
    for path in paths:
        content = json.loads(path.read_text())
        where = content["provenance"]["measured_on"].split(", torch")[0]
        for r in content.get("models", []):
            cells = [where, f"{r['preset']}, {r['batch']}", r["what"], r["way"], f"{r['ms']:.1f} ms"]
            lines.append("| " + " | ".join([*cells, f"{r['ratio']:.2f}", f"{r['of_gemm']:.0%}"]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
