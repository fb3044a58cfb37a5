"""Marks what is new, several students at once, and writes the pages that changed: `python mark.py ps1`.

It only calls `nbgrader autograde` and `nbgrader generate_feedback`, and says who is not marked and why.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from nbgrader.api import Gradebook


def main(course: Path, name: str, workers: int) -> list[str]:
    """Marks and writes pages; what a person has to know, one line each."""
    path = course / f"{name}-marked.json"
    known = json.loads(path.read_text("utf-8")) if path.exists() else {}
    handed = {p.parts[-3]: digest(p) for p in sorted(course.glob(f"submitted/*/{name}/{name}.ipynb"))}
    done = course / "autograded"
    new = [s for s in handed if known.get(s, [""])[0] != handed[s] or not (done / s / name / f"{name}.ipynb").exists()]
    for student in new:
        shutil.rmtree(done / student / name, ignore_errors=True)
    log = run(course, "autograde", name, new, [*handed], workers)
    state = states(course, name)
    pages = [s for s in state if s in new or known.get(s, ["", ""])[1] != state[s]]
    run(course, "generate_feedback", name, pages, [*state], workers)
    path.write_text(json.dumps({s: [handed.get(s, ""), state[s]] for s in state}), "utf-8")
    failed = [s for s in new if s not in state]
    lines = [f"{s}: NOT MARKED, nothing was written: {reason(log, s) or f'see {name}-autograde.log'}" for s in failed]
    return [*lines, f"{name}: {len(new) - len(failed)} marked, {len(failed)} not marked, {len(pages)} pages written"]


def digest(path: Path) -> str:
    """What a file holds; the time of a copy says nothing."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run(course: Path, command: str, name: str, chosen: list[str], everybody: list[str], workers: int) -> str:
    """Runs a command of nbgrader for some students, in several processes; what they wrote to standard error."""
    line = [sys.executable, "-W", "ignore", "-m", "nbgrader", command, name, "--force", "--log-level=WARN"]

    def start(share: list[str]) -> str:
        others = f"--CourseDirectory.student_id_exclude={','.join(sorted({*everybody} - {*share}))}"
        return subprocess.run([*line, others], cwd=course, stderr=subprocess.PIPE, text=True, check=False).stderr

    with ThreadPoolExecutor(workers) as pool:
        log = "".join(pool.map(start, filter(None, (chosen[i::workers] for i in range(workers)))))
    (course / f"{name}-{command}.log").write_text(log, "utf-8")
    return log


def reason(log: str, student: str) -> str:
    """The last error before nbgrader gave a submission up."""
    part = log.partition(f"/submitted/{student}/")[2].partition("Removing failed")[0]
    return (re.findall(r"^\s+(?:[\w.]+\.)?(\w+(?:Error|Exception): .*)", part, re.MULTILINE) or [""])[-1]


def states(course: Path, name: str) -> dict[str, str]:
    """Points and comments of everybody who is marked."""
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        return {
            handed.student.id: repr([[(g.name, g.score) for g in n.grades] for n in handed.notebooks])
            + repr([[c.comment for c in n.comments] for n in handed.notebooks])
            for handed in book.assignment_submissions(name)
            if (course / "autograded" / handed.student.id / name / f"{name}.ipynb").exists()
        }


if __name__ == "__main__":
    said = main(Path.cwd(), sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else max(1, (os.cpu_count() or 2) // 2))
    print("\n".join(said))
    sys.exit(len(said) > 1)
