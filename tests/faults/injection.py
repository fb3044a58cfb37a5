"""Faults put in on purpose, at moments and places that a seed draws: kills, full disks, flipped bits, two at once.

`make faults` tries each many times and prints how many were survived (`injection.py --times 40 --seed 0`):
what was finished stays as it was, nothing wrong is read as right, and what is started again ends with the same bytes.
"""

import argparse
import hashlib
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from tsfmicro_lab.data import SyntheticMicroExpressions
from tsfmicro_lab.processes import process_pool

#: Children of a server that has imported everything start in milliseconds.
CONTEXT: Any = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["torch", "tsfmicro_lab.training", "tsfmicro_lab.data", "tsfmicro_lab.results"])
ERRORS = (OSError, ValueError, RuntimeError, MemoryError)
REFUSED = "refused: "
#: Mebibytes that a process of a pool may take besides what it has, and seconds after which it is ended.
Hunger = tuple[()] | tuple[float, float]
#: Files in which nothing is measured: what a person reads, and what a lock or a checkpoint under way needs.
UNREAD = ("README.md", "environment.json", ".lock")


class Clips(SyntheticMicroExpressions):
    """Synthetic clips; a process that asks for one is starved."""

    hunger: Hunger = ()

    def __getitem__(self, i: int) -> Any:
        if self.hunger:
            starve(*self.hunger)
            self.hunger = ()
        return super().__getitem__(i)


def starve(mebibytes: float, seconds: float) -> None:
    """Gives this process so much address space beyond what it has; after some seconds it is ended, as by a system."""
    used = int(Path("/proc/self/statm").read_text("utf-8").split()[0]) * resource.getpagesize()
    end = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
    end.daemon = True
    end.start()
    resource.setrlimit(resource.RLIMIT_AS, (used + int(mebibytes * 2**20), resource.RLIM_INFINITY))


def train(folder: Path, hunger: Hunger = ()) -> str:
    """Leave-one-subject-out with models and checkpoints."""
    from tsfmicro_lab.data import SyntheticMicroExpressions, prepare
    from tsfmicro_lab.training import Recipe, Run, cross_validate

    samples = prepare(SyntheticMicroExpressions(3, 5, image_size=64, seed=3), 28, progress=False)
    run = Run("tsfmicro_temporal", settings={"image_size": 28}, recipe=Recipe(epochs=3))
    keep: dict[str, Any] = {"folder": folder, "keep_models": True, "checkpoints": True, "progress": False}
    with process_pool(2, starve, hunger) if hunger else nullcontext() as pool:
        return cross_validate(samples, run, executor=pool, **keep).to_csv()


def store(folder: Path, hunger: Hunger = ()) -> str:
    """Aligned tensors on disk."""
    from tsfmicro_lab.data import prepare

    data = Clips(2, 20, image_size=64, seed=3)
    data.hunger = hunger
    return _content(prepare(data, 32, folder=folder, workers=2 if hunger else 1, progress=False))


def read_run(folder: Path) -> str:
    """What a run's folder says that it holds."""
    from tsfmicro_lab.models import from_pretrained
    from tsfmicro_lab.results import read_results

    [result] = read_results(folder)
    models = [str(sum(p.double().sum() for p in from_pretrained(m).parameters())) for m in _models(folder)]
    return " ".join([*models, *map(str, result.missing), result.predictions.to_csv()])


def read_store(folder: Path) -> str:
    """What a store says that it holds."""
    from tsfmicro_lab.data import open_store

    [place] = folder.iterdir()
    return _content(open_store(place))


def _content(samples: Any) -> str:
    tensors = b"".join(samples[name].numpy().tobytes() for name in sorted(samples.tensors))
    return hashlib.sha256(tensors).hexdigest() + samples.table.to_csv()


def _models(folder: Path) -> list[Path]:
    return sorted((folder / "models").iterdir())


#: How it is made, how it is read, where each part that is finished is noted, and how many parts there are.
WORKS: dict[str, tuple[Callable[[Path], str], Callable[[Path], str], str, int]] = {
    "run": (train, read_run, "folds.jsonl", 3),
    "store": (store, read_store, "done.jsonl", 40),
}


def _child(function: Callable[[Path], str], folder: Path, limit: int, end: Any) -> None:
    import torch

    torch.set_num_threads(1)
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        end.send(function(folder))
    except ERRORS as error:
        end.send(f"{REFUSED}{error}")


@contextmanager
def started(function: Callable[[Path], str], folder: Path, limit: int = 0) -> Iterator[tuple[Any, Any]]:
    """A process at work, and the pipe at whose end its result comes."""
    result, end = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_child, args=(function, folder, limit, end))
    process.start()
    end.close()
    try:
        yield process, result
    finally:
        process.kill()
        process.join()


def said(result: Any) -> str:
    """What a process gave or refused; how it died if it did."""
    try:
        return result.recv() if result.poll(300) else "it hangs"
    except EOFError:
        return "it died without a word"


def ask(function: Callable[[Path], str], folder: Path, limit: int = 0) -> str:
    """Result of a function in a process of its own."""
    with started(function, folder, limit) as (_, result):
        return said(result)


def killed(work: str, folder: Path, rng: np.random.Generator, whole: str, seconds: float) -> str:
    """Killed at a moment; started again it makes what was lacking, and nothing twice but what was under way."""
    make = WORKS[work][0]
    with started(make, folder) as (process, _):
        time.sleep(rng.uniform(0, seconds))
        process.kill()
        process.join()
    if (again := ask(make, folder)) != whole:
        return f"another result: {again[:200]}"
    [log] = folder.rglob(WORKS[work][2])
    made, wanted = log.read_text().count("\n"), WORKS[work][3]
    return "" if made <= wanted + 1 else f"{made} parts were made, {wanted} are there"


def full(work: str, folder: Path, rng: np.random.Generator, whole: str, seconds: float) -> str:
    """A disk that takes no file beyond a size: one sentence; with room again it goes on."""
    make = WORKS[work][0]
    first = ask(make, folder, limit=int(2 ** rng.uniform(6, 20)))
    if first != whole and not first.startswith(REFUSED):
        return f"no sentence: {first[:200]}"
    if len(first) > 1000 and first.startswith(REFUSED):
        return f"a long story: {first[:200]}"
    again = ask(make, folder)
    return "" if again == whole else f"another result: {again[:200]}"


def harmed(work: str, folder: Path, rng: np.random.Generator, whole: str, seconds: float) -> str:
    """A bit turned or an end cut off in one file: told, or without effect; never another result."""
    make, read, *_ = WORKS[work]
    ask(make, folder)
    truth = ask(read, folder)
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in UNREAD and p.stat().st_size)
    path = files[rng.integers(len(files))]
    content = bytearray(path.read_bytes())
    if rng.random() < 0.3:
        content = content[: rng.integers(len(content))]
    else:
        content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
    path.write_bytes(content)
    seen = ask(read, folder)
    if seen != truth and not seen.startswith(REFUSED):
        return f"{path.name} was read as if nothing had happened"
    again = ask(make, folder)
    return "" if again == whole or again.startswith(REFUSED) else f"{path.name}: another result: {again[:200]}"


def twice(work: str, folder: Path, rng: np.random.Generator, whole: str, seconds: float) -> str:
    """Two at once on one folder: one does the work, the other does the same later or is told."""
    make = WORKS[work][0]
    with started(make, folder) as (_, first):
        time.sleep(rng.uniform(0, seconds / 2))
        results = [ask(make, folder), said(first)]
    wrong = [r for r in results if r != whole and "another run is writing" not in r]
    return "".join(r[:200] for r in wrong) if wrong or whole not in results else ""


def starved(work: str, folder: Path, rng: np.random.Generator, whole: str, seconds: float) -> str:
    """Processes of a pool that run out of memory, or that the system ends for it: one sentence, and it goes on."""
    make = WORKS[work][0]
    limited = rng.random() < 0.5
    hunger = (2 ** rng.uniform(0, 9), 1e6) if limited else (2**20, rng.uniform(0, seconds))
    first = ask(partial(make, hunger=hunger), folder)
    if first != whole and not first.startswith(REFUSED):
        return f"{hunger}, no sentence: {first[:200]}"
    if first != whole and (len(first) > 1000 or "\n" in first):
        return f"{hunger}, a long story: {first[:200]}"
    again = ask(make, folder)
    return "" if again == whole else f"{hunger}, another result: {again[:200]}"


def no_room(work: str, folder: Path, rng: np.random.Generator, whole: str, seconds: float) -> str:
    """A disk that is really full, in memory: bubblewrap makes one of a size."""
    size = int(2 ** rng.uniform(13, 17.5))
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import injection, pathlib\n"
        f"try: injection.WORKS[{work!r}][0](pathlib.Path({str(folder)!r}))\n"
        "except injection.ERRORS as error: print('refused:', error)\n"
    )
    disk = ["bwrap", "--dev-bind", "/", "/", "--size", str(size), "--tmpfs", str(folder)]
    done = subprocess.run([*disk, sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    told = done.returncode == 0 and "refused:" in done.stdout and len(done.stdout) < 1000
    return "" if told else f"{size} bytes: exit {done.returncode}, {done.stdout[-300:]}{done.stderr[-300:]}"


FAULTS: dict[str, Callable[[str, Path, np.random.Generator, str, float], str]] = {
    "killed": killed,
    "no file beyond a size": full,
    "a bit turned, an end cut off": harmed,
    "two at once": twice,
    "a worker out of memory": starved,
    "no room on the disk": no_room,
}


@lru_cache
def undisturbed(work: str) -> tuple[str, float]:
    """The result that is to come, and how long it takes."""
    with TemporaryDirectory() as folder:
        began = time.monotonic()
        whole = ask(WORKS[work][0], Path(folder))
        assert not whole.startswith(REFUSED), whole
        return whole, time.monotonic() - began


def attempts(work: str, fault: str, times: int, seed: int = 0) -> list[str]:
    """What went wrong in each of so many attempts; empty where it was survived."""
    rng, found = np.random.default_rng([seed, *f"{work} {fault}".encode()]), []
    for _ in range(times):
        with TemporaryDirectory() as folder:
            found.append(FAULTS[fault](work, Path(folder), rng, *undisturbed(work)))
    return found


def main() -> None:
    """Prints how often each fault was tried and survived; exits with 1 if one was not."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--times", type=int, default=40)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    rows, wrong = [], []
    for work in WORKS:
        for fault in FAULTS:
            if fault == "no room on the disk" and not shutil.which("bwrap"):
                print(f"not tried: {fault} (it needs bubblewrap)")
                continue
            found = attempts(work, fault, given.times, given.seed)
            rows.append((work, fault, given.times, found.count("")))
            wrong += [f"{work}, {fault}: {text}" for text in found if text]
            print(*rows[-1], flush=True)
    print(pd.DataFrame(rows, columns=["what", "fault", "tried", "survived"]).to_string(index=False), *wrong, sep="\n")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
