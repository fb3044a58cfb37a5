"""Do the tests notice? Small changes to a module, one at a time, each tried on the module's own tests: `make mutants`.

cosmic-ray (`pip install cosmic-ray`) makes the changes (comparisons, signs, numbers, conditions) in a copy of the tree
below `build/mutants`; a seed draws some of each module. What no test noticed is printed with its difference, to be
looked at: a changed default may be a matter of taste, a changed formula is not.
"""

import argparse
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TREE = ROOT / "build" / "mutants"
#: Modules, and the tests that are to notice.
MODULES = {
    "files": "test_files.py",
    "clips": "test_clips.py",
    "results": "test_results.py",
    "data/motion": "data/test_motion.py",
    "preprocess/alignment": "preprocess/test_alignment.py",
    "preprocess/keyframes": "preprocess/test_keyframes.py",
    "preprocess/spotting": "preprocess/test_spotting.py",
    "models/retention": "models/test_retention.py",
    "training/augmentation": "training/test_augmentation.py",
    "training/metrics": "training/test_metrics.py studies/test_moments.py",
    "training/statistics": "training/test_statistics.py",
    "training/splits": "training/test_splits.py",
    "explain/regions": "explain/test_regions.py",
}
SETTINGS = """[cosmic-ray]
module-path = "{module}"
timeout = {timeout}
excluded-modules = []
test-command = "{python} -m pytest -x -q -p no:cacheprovider {tests}"
[cosmic-ray.distributor]
name = "local"
"""


def sample(session: Path, number: int, seed: int) -> int:
    """Keeps so many of the changes that are planned; `|` is left out, which mostly stands in a type."""
    with sqlite3.connect(session) as data:
        planned = "select job_id from mutation_specs where operator_name not like '%BitOr%' order by job_id"
        places = "select module_path, operator_name, occurrence, operator_args from mutation_specs where job_id = ?"
        jobs = sorted((str(data.execute(places, job).fetchone()), job[0]) for job in data.execute(planned).fetchall())
        kept = [job for _, job in random.Random(seed).sample(jobs, min(number, len(jobs)))]
        for table in ("mutation_specs", "work_items"):
            data.execute(f"delete from {table} where job_id not in ({','.join('?' * len(kept))})", kept)
        return len(kept)


def outcomes(session: Path) -> tuple[int, list[str]]:
    """How many changes were noticed, and the differences of those that were not."""
    with sqlite3.connect(session) as data:
        rows = data.execute("select test_outcome, diff from work_results").fetchall()
    survived = [diff for outcome, diff in rows if outcome == "SURVIVED"]
    return len(rows) - len(survived), survived


def copy_tree() -> None:
    """The files that git knows or would add."""
    shutil.rmtree(TREE, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (TREE / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, TREE / name)


def main() -> None:
    """Prints how many changes of each module were noticed; exits with 1 where it were too few."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("modules", nargs="*", help=f"some of {', '.join(MODULES)}; all by default")
    options.add_argument("--number", type=int, default=20, help="changes of each module")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--least", type=float, default=0.85, help="share that is to be noticed")
    given = options.parse_args()
    copy_tree()
    around = os.environ | {"PYTHONPATH": f"{TREE}:{TREE / 'notebooks'}"}
    lines, failed = [], False
    for name in given.modules or MODULES:
        module, session = f"tsfmicro_lab/{name}.py", TREE / f"{name.replace('/', '-')}.sqlite"
        tests = " ".join(f"tests/{test}" for test in MODULES[name].split())
        settings = session.with_suffix(".toml")
        settings.write_text(SETTINGS.format(module=module, timeout=300, python=sys.executable, tests=tests))

        def run(*arguments: str | Path) -> None:
            command = [sys.executable, "-m", *map(str, arguments)]
            subprocess.run(command, cwd=TREE, env=around, check=True)

        run("pytest", "-x", "-q", *tests.split())
        run("cosmic_ray.cli", "init", settings, session)
        number = sample(session, given.number, given.seed)
        run("cosmic_ray.cli", "exec", settings, session)
        noticed, survived = outcomes(session)
        lines.append(f"{name:24}{noticed:4} of {number} noticed")
        failed = failed or noticed < given.least * number
        print(lines[-1], *survived, sep="\n", flush=True)
    print(*lines, sep="\n")
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
