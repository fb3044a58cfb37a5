"""Writes the first page of the course and the README's list of lessons, both from the first cells of its lessons."""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat

if not __package__:  # run as a script, it finds its neighbours
    sys.path.insert(0, str(Path(__file__).parents[1]))

FOLDER = Path(__file__).parents[1]
README = FOLDER.parent / "README.md"
#: Parts of the course, by the number of their first lesson, in the order in which they are best read.
PARTS = {
    0: "First look",
    2: "The model",
    7: "Its numbers",
    9: "Its maps",
    11: "Its neighbours",
    13: "Your own work",
    15: "More neighbours",
}
INTRODUCTION = """# The course

A **micro-expression** lasts less than half a second and moves the skin by a pixel or two. In this course you see how a
computer recognises it, open the model that does so, and find out how far its answers and its maps can be trusted. You
need some Python; what a neural network is, in rough words; and no graphics processor, no data set and no network.

Every lesson has a question, an idea, code that runs, something to move with the mouse, and exercises. An exercise says
whether your answer is right, and if not, why; hints and a solution unfold. A box that begins with *claim* is a sentence
that the notebook has just measured, beside a control that could have refuted it; [all of them](../docs/claims.md) were
measured over five seeds. Words are explained in the [glossary](../docs/glossary.md).

Start with [00](00_tour.ipynb). If something does not run, `tsfmicro-lab doctor` in a terminal says what is missing.

**What this is not for.** A face shows movements, not what somebody feels or plans. Do not use such models to judge
people: not at work, at school, at a border or in court."""


@dataclass(frozen=True)
class Lesson:
    """What the first cell of a lesson says.

    Attributes:
        part: Of the course.
        name: Of its file, without ending.
        question: Its title.
        able, time: What the reader will be able to do, and how long it takes.
        before: Names of the lessons that it builds on.
    """

    part: str
    name: str
    question: str
    able: str
    time: str
    before: tuple[str, ...]


def lessons(folder: Path = FOLDER) -> list[Lesson]:
    """The lessons of the course, in order."""
    found = []
    for path in sorted(folder.glob("[0-9]*.ipynb")):
        first = nbformat.read(path, as_version=4).cells[0].source
        part = PARTS[max(start for start in PARTS if start <= int(path.stem[:2]))]
        able, time, before = (_promise(first, name) for name in ("You will be able to", "Time", "Before"))
        needed = tuple(sorted({*re.findall(r"\((\d\d_\w+)\.ipynb\)", before)}))
        found.append(Lesson(part, path.stem, first.partition("\n")[0].removeprefix("# "), able, time, needed))
    return found


def page(course: Sequence[Lesson]) -> nbformat.NotebookNode:
    """The first page: what the course is, which lesson needs which, and what each is for."""
    parts = {part: [lesson for lesson in course if lesson.part == part] for part in PARTS.values()}
    lines = ["```mermaid", "flowchart LR"]
    for part, own in parts.items():
        lines += [f'  subgraph "{part}"', *(f'    n{n.name[:2]}["{n.name.replace("_", " ")}"]' for n in own), "  end"]
    lines += [f"  n{before[:2]} --> n{lesson.name[:2]}" for lesson in course for before in lesson.before]
    texts = [INTRODUCTION, "## Which lesson needs which\n\n" + "\n".join([*lines, "```"])]
    for part, own in parts.items():
        rows = [f"| [{n.question}]({n.name}.ipynb) | {n.able} | {n.time} |" for n in own]
        texts.append("\n".join([f"## {part}", "", "| lesson | you will be able to | time |", "|---|---|---|", *rows]))
    cells = [nbformat.v4.new_markdown_cell(text, id=f"course-{i}") for i, text in enumerate(texts)]
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def _promise(text: str, name: str) -> str:
    """What follows a bold name, up to the next bold name, on one line."""
    end = r"(?=\n\s*\n|\*\*(?:You will be able to|Time|Before)\*\*|\Z)"
    found = re.search(rf"\*\*{name}\*\*:?(.*?){end}", text, re.DOTALL)
    said = re.sub(r"[,;]?\s*\n- ", "; ", found[1].strip().removeprefix("- ")) if found else ""
    return re.sub(r"\s+", " ", said).replace("|", "\\|").replace("**", "")


def listed(readme: str, course: Sequence[Lesson]) -> str:
    """The project's README with the questions of all lessons."""
    rows = [
        f"| {n.name[:2]} | [{n.question[5:]}](notebooks/{n.name}.ipynb) | {n.time.partition('.')[0]} |" for n in course
    ]
    block = "\n".join(["| | question | time |", "|---|---|---|", *rows])
    before, _, rest = readme.partition("<!-- lessons -->\n")
    return f"{before}<!-- lessons -->\n{block}\n<!-- /lessons -->{rest.partition('<!-- /lessons -->')[2]}"


if __name__ == "__main__":
    nbformat.write(page(lessons()), FOLDER / "README.ipynb")
    README.write_text(listed(README.read_text(encoding="utf-8"), lessons()), encoding="utf-8")
