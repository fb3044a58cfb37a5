"""The site, from what the repository holds: `make site`; nothing that it shows comes from a network.

Every page is a text of the repository; its links are followed from where the text lies and written anew for where the
page lies. Lessons are executed with their own parameters, as a reader gets them, and again only if something that they
could read has changed. With `--quick` none is: a page shows the last execution, or the bare lesson, and says so.
"""

import argparse
import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import nbformat
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "notebooks"), str(ROOT), str(Path(__file__).parent)]

import links

from studies.compare import Comparison
from studies.course_map import PARTS, lessons
from studies.pages import PRIORITY, still
from studies.tables import STORED, written

BUILD = ROOT / "build" / "site"
PAGES, EXECUTED, OUT = BUILD / "pages", BUILD / "executed", BUILD / "html"
ASSETS = Path(__file__).parent / "assets"
LESSONS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
GUIDES = {
    "datasets": "Your data set",
    "video": "Your video",
    "scaling": "Fast, and on many machines",
    "teaching": "Teaching",
    "model": "Writing a model",
    "check": "Writing a check",
}
MEASURED = {"results": "Results", "claims": "Claims", "recipes": "How others trained", "assignments": "Checks, tried"}
ABOUT = {"architecture": "How it is built", "glossary": "Words", "ethics": "Ethics"}
CARDS = sorted((ROOT / "data_cards").glob("*.md"))
MODELS = sorted((ROOT / "tsfmicro_lab" / "checkpoints").glob("*/README.md"))


def places() -> dict[Path, str]:
    """Where each page of the site comes from, and where it lies."""
    docs = {ROOT / "docs" / f"{name}.md": f"{name}.md" for name in ["index", *GUIDES, *MEASURED, *ABOUT]}
    course = {lesson: f"course/{lesson.stem}.md" for lesson in LESSONS}
    others = {
        ROOT / "notebooks" / "README.ipynb": "course/index.md",
        ROOT / "README.md": "index.md",
        ROOT / "CONTRIBUTING.md": "contributing.md",
        ROOT / "CHANGELOG.md": "changelog.md",
        ROOT / "CODE_OF_CONDUCT.md": "conduct.md",
        ROOT / "data_cards": "data/index.md",
    }
    assignments = {
        ROOT / "notebooks" / "assignments" / f"{name}.md": f"course/{name.lower()}.md"
        for name in ("STUDENT", "TEACHER", "PROJECT")
    }
    cards = {card: f"data/{card.name}" for card in CARDS}
    models = {card: f"models/{card.parent.name}.md" for card in MODELS}
    return others | docs | course | assignments | cards | models


class Stage:
    """Pages as they are staged: their links are followed, and what they lead to is copied where it is no page."""

    def __init__(self) -> None:
        self.places = places()

    def write(self, source: Path, text: str) -> None:
        """A page whose text lies, or would lie, at a place of the repository."""
        path = PAGES / self.places[source]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.followed(text, source), encoding="utf-8")

    def followed(self, text: str, source: Path) -> str:
        """A text with its links as they are on the site; those within code stay."""

        def link(found: re.Match[str]) -> str:
            return f"{found[1]}{self.target(found[2], source)}{found[3]}"

        parts = re.split(r"(^```.*?^```|`[^`\n]*`)", links.lists_apart(text), flags=re.M | re.S)
        for i in range(0, len(parts), 2):
            parts[i] = re.sub(r"(\]\()([^)\s]+)(\))", link, parts[i])
            parts[i] = re.sub(r'((?:src|href)=")([^"]+)(")', link, parts[i])
        return "".join(parts)

    def target(self, link: str, source: Path) -> str:
        """Where a link of the repository leads on the site."""
        if re.match(r"https?:|mailto:|data:|#", link):
            return link
        file, _, anchor = link.partition("#")
        there = ((source if source.is_dir() else source.parent) / file).resolve()
        if there.is_relative_to(ASSETS):
            return os.path.relpath(PAGES / "assets" / there.name, (PAGES / self.places[source]).parent) + f"#{anchor}"
        if not there.exists():
            raise ValueError(f"{source.relative_to(ROOT)} links to {link}, which is not there")
        place = self.places.get(there) or self._copied(there)
        relative = os.path.relpath(PAGES / place, (PAGES / self.places[source]).parent)
        return relative + (f"#{anchor}" if anchor else "")

    def _copied(self, there: Path) -> str:
        """A file of the repository that is no page; of a folder its list of files."""
        inside = there.relative_to(ROOT).as_posix()
        place = f"files/{inside.lstrip('.')}"
        path = PAGES / place
        if there.is_dir():
            place, path = f"{place}/index.md", path / "index.md"
            path.parent.mkdir(parents=True, exist_ok=True)
            files = [p for p in sorted(there.iterdir()) if p.is_file() and p.suffix != ".pyc"]
            self.places[there] = place
            rows = "\n".join(f"- [{p.name}]({p.name})" for p in files)
            text = self.followed(rows, there)
            path.write_text(f"# {inside}\n\n{text}\n", encoding="utf-8")
            return place
        path.parent.mkdir(parents=True, exist_ok=True)
        if there.suffix == ".md":  # told as it is written: no page is made of it
            place, path = f"{place}.txt", path.with_name(f"{path.name}.txt")
        shutil.copyfile(there, path)
        return place


def state_of_the_library() -> bytes:
    """A hash of all that a lesson could read besides itself."""
    folders = [ROOT / "tsfmicro_lab", ROOT / "notebooks" / "studies", ROOT / "notebooks" / "results"]
    files = sorted(p for f in folders for p in f.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return hashlib.sha256(b"".join(str(p.relative_to(ROOT)).encode() + p.read_bytes() for p in files)).digest()


def executed(lesson: Path, state: bytes, quick: bool) -> tuple[nbformat.NotebookNode, str]:
    """A lesson with its outputs, and what a reader should know of them."""
    stored = EXECUTED / f"{lesson.stem}-{hashlib.sha256(lesson.read_bytes() + state).hexdigest()[:16]}.ipynb"
    if not stored.exists() and not quick:
        execute(lesson, stored)
    if stored.exists():
        return nbformat.read(stored, as_version=4), ""
    older = sorted(EXECUTED.glob(f"{lesson.stem}-*.ipynb"), key=lambda path: path.stat().st_mtime)
    if older:
        return nbformat.read(older[-1], as_version=4), "The library has changed since this lesson was executed."
    return nbformat.read(lesson, as_version=4), "This lesson was not executed for this page: it shows no results."


def execute(lesson: Path, out: Path) -> None:
    """Runs a lesson with its own parameters, draws a still picture of each chart, and forgets older executions."""
    import papermill

    from studies.pages import draw_charts, one_chrome

    print(f"executing {lesson.name}", flush=True)
    os.environ["PLOTLY_RENDERER"] = "plotly_mimetype"
    settings = {"kernel_name": "python3", "progress_bar": False, "cwd": str(lesson.parent)}
    notebook = papermill.execute_notebook(str(lesson), None, **settings)
    with one_chrome():
        draw_charts(notebook)
    out.parent.mkdir(parents=True, exist_ok=True)
    for older in EXECUTED.glob(f"{lesson.stem}-*.ipynb"):
        older.unlink()
    nbformat.write(notebook, out)


def lesson_page(stage: Stage, lesson: Path, notebook: nbformat.NotebookNode, note: str) -> str:
    """A notebook as Markdown; its pictures lie beside the page."""
    folder = PAGES / "course" / lesson.stem
    folder.mkdir(parents=True, exist_ok=True)
    notebook = still(notebook)
    texts = []
    for cell in notebook.cells:
        source = "".join(cell.source)
        if cell.cell_type == "markdown":
            texts.append(stage.followed(source.replace("<details>", '<details markdown="1">'), lesson))
        elif cell.cell_type == "code" and source.strip():
            texts.append(f"```python\n{source}\n```")
            texts += (text if text.startswith("![") else stage.followed(text, lesson) for text in outputs(cell, folder))
    about = f'!!! warning "{note}"\n' if note else ""
    shutil.copyfile(lesson, folder / lesson.name)
    get = f"[Get this notebook]({lesson.stem}/{lesson.name}){{ download }} and open it with `make lab`."
    head, _, rest = "\n\n".join(texts).partition("\n")
    return f"{head}\n\n{about}\n{get}\n{rest}\n"


def outputs(cell: nbformat.NotebookNode, folder: Path) -> Iterator[str]:
    """What a cell has shown, best form first."""
    for i, output in enumerate(cell.get("outputs", [])):
        if output["output_type"] == "stream":
            text = output["text"].rstrip()
            yield f"```text\n{text}\n```"
            continue
        data = output.get("data", {})
        kind = next((kind for kind in PRIORITY if kind in data), None)
        if kind and kind.startswith("image/"):
            suffix = kind.partition("/")[2].partition("+")[0]
            picture = folder / f"{cell.id}-{i}.{suffix}"
            content = "".join(data[kind])
            picture.write_bytes(content.encode() if suffix == "svg" else b64decode(content))
            yield f"![What the cell above has drawn]({folder.name}/{picture.name})"
        elif kind == "text/html":
            page = re.sub(r"<style.*?</style>|<script.*?</script>", "", "".join(data[kind]), flags=re.S)
            page = re.sub(r"\n\s*\n", "\n", page)
            yield f'<div class="output">{page}</div>'
        elif kind == "text/plain":
            yield f"```text\n{''.join(data[kind])}\n```"
        elif kind:
            yield "".join(data[kind])


def card_page(text: str) -> str:
    """A data card or model card: what people read, then what programs read."""
    _, facts, prose = text.split("---\n", 2)
    known = yaml.safe_load(facts)
    shown = {"access": "Access", "license": "Licence", "fps": "Frames a second"}
    table = "\n".join(f"- **{word}**: {known[name]}" for name, word in shown.items() if known.get(name))
    head, _, rest = prose.strip().partition("\n")
    folded = "\n".join(f"    {line}" for line in facts.splitlines())
    return f'{head}\n\n{table}\n{rest}\n\n??? note "What programs read"\n\n    ```yaml\n{folded}\n    ```\n'


def cards_page() -> str:
    """The first page of the data cards."""
    rows = []
    for card in CARDS:
        known = yaml.safe_load(card.read_text("utf-8").split("---\n", 2)[1])
        held = next(iter(known.get("labels", {}).values()), known).get("expected", {})
        numbers = [str(held.get(name, "–")) for name in ("clips", "subjects")]
        rows.append(f"| [{known['pretty_name']}]({card.name}) | {' | '.join(numbers)} | {known.get('fps') or '–'} |")
    head = "# Data cards\n\nWhat is in each data set, what its labels do not mean, how to apply, where not to use it."
    heads = "![Synthetic heads](heads.jpg)"
    return "\n".join([head, "", heads, "", "| | clips | subjects | frames a second |", "|---|---|---|---|", *rows])


def api_pages() -> dict[str, list[dict[str, str]]]:
    """A page for each module, and for each part of the library a list of what it offers; returns the navigation."""
    parts: dict[str, list[dict[str, str]]] = {}
    for path in sorted((ROOT / "tsfmicro_lab").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if path.name == "__init__.py":
            continue
        part = module.split(".")[1] if module.count(".") > 1 else "tsfmicro_lab"
        page = PAGES / "api" / f"{module.removeprefix('tsfmicro_lab.')}.md"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(f"# {module}\n\n::: {module}\n", encoding="utf-8")
        parts.setdefault(part, []).append({module.rpartition(".")[2]: f"api/{page.name}"})
    rows = []
    for part in parts:
        init = ROOT / "tsfmicro_lab" / ("" if part == "tsfmicro_lab" else part) / "__init__.py"
        tree = ast.parse(init.read_text("utf-8"))
        rows += ["", f"## {part}", "", *(ast.get_docstring(tree) or "").splitlines()[:1], ""]
        offered = [
            (node.module or "", a.name) for node in tree.body if isinstance(node, ast.ImportFrom) for a in node.names
        ]
        for module, name in sorted(offered, key=lambda pair: pair[1].lower()):
            if line := first_line(module, name):
                rows.append(f"- [`{name}`]({module.removeprefix('tsfmicro_lab.')}.md#{module}.{name}): {line}")
    head = "# Reference\n\nWhat each part of the library offers; `from tsfmicro_lab.data import prepare`, and so on."
    (PAGES / "api" / "index.md").write_text("\n".join([head, *rows]), encoding="utf-8")
    return parts


def first_line(module: str, name: str) -> str:
    """The first line of the docstring of a function or class, without roles."""
    path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    for node in ast.parse(path.read_text("utf-8")).body if path.exists() else ():
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            line = (ast.get_docstring(node) or "").partition("\n")[0]
            line = re.sub(r":math:`([^`]+)`", r"$\1$", line)
            return re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", line)
    return ""


def navigation(api: dict[str, list[dict[str, str]]]) -> list[object]:
    """The pages in the order in which they are offered."""
    course = lessons()
    parts: list[object] = ["course/index.md"]
    for part in PARTS.values():
        own = [n for n in course if n.part == part]
        parts.append({part: [{n.name.replace("_", " "): f"course/{n.name}.md"} for n in own]})
    papers = {"Assignments": "course/student.md", "For teachers": "course/teacher.md", "Projects": "course/project.md"}
    parts.append({"Assignments": [{k: v} for k, v in papers.items()]})
    cards: list[object] = ["data/index.md"]
    cards += [
        {yaml.safe_load(c.read_text("utf-8").split("---\n", 2)[1])["pretty_name"]: f"data/{c.name}"} for c in CARDS
    ]
    models = [{c.parent.name: f"models/{c.parent.name}.md"} for c in MODELS]
    about = {name: f"{page}.md" for page, name in ABOUT.items()}
    about |= {"Joining": "contributing.md", "Changes": "changelog.md", "Conduct": "conduct.md"}
    return [
        {"Home": "index.md"},
        {"Course": parts},
        {"Guides": [{name: f"{page}.md"} for page, name in GUIDES.items()]},
        {"Results": [{name: f"{page}.md"} for page, name in MEASURED.items()]},
        {"Cards": [{"Data": cards}, {"Models": models}]},
        {"Reference": ["api/index.md", *({part: pages} for part, pages in api.items())]},
        {"About": [{name: page} for name, page in about.items()]},
    ]


def with_curves(text: str) -> str:
    """The page of results with a chart of the learning curves below their table, in both colours of the site."""
    from matplotlib.figure import Figure

    rows = Comparison.load(STORED / "comparison.json").curves
    colour = {model: f"C{i % 10}" for i, model in enumerate(rows.model.unique())}
    for scheme, ink in (("light", "#333333"), ("dark", "#dddddd")):
        figure = Figure((9, 4.2), layout="constrained")
        axes = figure.subplots(1, 2, sharey=True)
        for axis, setting in zip(axes, ("clean", "distractors"), strict=True):
            own = rows[rows.setting == setting]
            own = own[own.clips == own.clips.max()]
            for model, part in own.groupby("model", sort=False):
                means = part.groupby("epoch").uf1.mean()
                if len(means) > 1:
                    axis.plot(means.index, means, colour[model], label=model.removeprefix("tsfmicro_"))
            axis.set_title(f"{setting}: {own.clips.max()} clips", color=ink)
            axis.set_xlabel("epoch", color=ink)
            axis.tick_params(colors=ink)
            axis.spines[:].set_color(ink)
            axis.patch.set_alpha(0)
        axes[0].set_ylabel("UF1 on new heads", color=ink)
        lines = {line.get_label(): line for axis in axes for line in axis.lines}
        figure.legend(
            lines.values(), lines.keys(), loc="outside right center", frameon=False, labelcolor=ink, fontsize=8
        )
        figure.savefig(PAGES / "assets" / f"curves-{scheme}.svg", transparent=True)
    about = "Learning curves: mean UF1 over seeds, epoch by epoch"
    both = "\n".join(f"![{about}](site/assets/curves-{s}.svg#only-{s}){{ .plain }}" for s in ("light", "dark"))
    return text.replace("<!-- /curves -->", f"<!-- /curves -->\n\nEpoch by epoch, with the most clips:\n\n{both}\n")


def stage_all(quick: bool) -> None:
    """All pages, and the settings that name them."""
    shutil.rmtree(PAGES, ignore_errors=True)
    stage, state = Stage(), state_of_the_library()
    shutil.copytree(ASSETS, PAGES / "assets")
    shutil.copyfile(ROOT / "data_cards" / "heads.jpg", PAGES / "assets" / "heads.jpg")
    for source, place in stage.places.copy().items():
        if source.suffix == ".md" and source != ROOT / "README.md":
            text = source.read_text("utf-8")
            if place == "results.md":
                text = with_curves(written(text))
            stage.write(source, card_page(text) if text.startswith("---\n") else text)
    for lesson in LESSONS:
        page = PAGES / stage.places[lesson]
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(lesson_page(stage, lesson, *executed(lesson, state, quick)), encoding="utf-8")
    first = nbformat.read(ROOT / "notebooks" / "README.ipynb", as_version=4)
    stage.write(ROOT / "notebooks" / "README.ipynb", "\n\n".join(cell.source for cell in first.cells))
    stage.write(ROOT / "data_cards", cards_page())
    settings = {"docs_dir": str(PAGES), "site_dir": str(OUT), "nav": navigation(api_pages())}
    fixed = (ROOT / "mkdocs.yml").read_text("utf-8").replace("ROOT", str(ROOT))
    (BUILD / "mkdocs.yml").write_text(fixed + yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")


def main() -> int:
    """Stages the pages, makes the site of them and checks its links."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="execute no lesson")
    stage_all(parser.parse_args().quick)
    make = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-f", str(BUILD / "mkdocs.yml")]
    if code := subprocess.run(make, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}).returncode:
        return code
    (OUT / "404.html").unlink()  # it would ask a server's root for what it shows
    wrong = links.wrong(OUT)
    print(*wrong, f"{len(wrong)} dead or foreign links; the site: {OUT / 'index.html'}", sep="\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
