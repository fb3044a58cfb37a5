"""The pages of the site: links of every text, formulas, drawings, guides whose code runs; the site, if built."""

import ast
import os
import re
import sys
from pathlib import Path

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "docs" / "site"))
import architecture
import drawing
import links

TEXTS = sorted(
    path
    for pattern in (
        "*.md",
        "docs/*.md",
        "data_cards/*.md",
        "notebooks/assignments/*.md",
        "tsfmicro_lab/checkpoints/*/*.md",
    )
    for path in ROOT.glob(pattern)
)
BUILT = ROOT / "build" / "site" / "html"


def anchors(path):
    """Anchors that GitHub and the site give to the headings of a text."""
    heads = re.findall(r"^#+ (.+)", path.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def test_a_list_stands_apart_from_the_line_before():
    text = "You will\n- read\n  it,\n- write\n\n1. one\n2. two\n```\nx\n- 1\n```"
    assert links.lists_apart(text) == text.replace("will\n", "will\n\n")


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_of_a_text_leads_somewhere(path):
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", path.read_text("utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)|(?:src|href)=\"(?!https?:)([^\"]+)\"", text):
        file, _, anchor = "".join(target).partition("#")
        there = path.parent / file if file else path
        assert there.exists(), f"{target} is not there"
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there), f"{there.name} has no heading for #{anchor}"


def test_the_readme_is_short_and_sells_with_a_picture():
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert len(lines) <= 120
    assert any(line.startswith("![") for line in lines[:10])


def write(folder, **pages):
    for name, text in pages.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    links.read.cache_clear()


def test_dead_and_foreign_links_are_found(tmp_path):
    good = '<a href="b.html#there">b</a><a href="https://example.org">a reader may follow it</a><img src="data:x">'
    write(tmp_path, a=good, b='<h2 id="there">b</h2><a href="#there">up</a><a href="a.html">a</a>')
    assert links.wrong(tmp_path) == []
    bad = '<a href="c.html">c</a><a href="b.html#gone">b</a><script src="https://x.org/y.js"></script>'
    bad += '<img src="../z.png">'
    write(tmp_path, a=bad)
    (tmp_path / "s.css").write_text("@font-face { src: url(https://fonts.example/f.woff2) }", encoding="utf-8")
    told = "\n".join(links.wrong(tmp_path))
    for part in (
        "c.html, which is not",
        "no such place",
        "fetches https://x.org",
        "z.png, which is not",
        "fetches https://fonts",
    ):
        assert part in told
    assert len(links.wrong(tmp_path)) == 5


def test_a_drawing_holds_every_box_and_arrow_and_no_circle():
    page = drawing.svg(
        'flowchart TD\n  a["<b>A</b><br>first & last"]\n  b["B"]\n  c["C"]\n  a --> b --> c\n  a --> c', "t"
    )
    assert page.count("<rect") == 3
    assert page.count("marker-end") == 3
    assert "first &amp; last" in page
    rows = drawing.layers(["a", "b", "c"], [("a", "b"), ("b", "c"), ("a", "c")])
    assert rows == [["a"], ["b"], ["c"]]
    with pytest.raises(ValueError, match="in a circle"):
        drawing.layers(["a", "b"], [("a", "b"), ("b", "a")])


def test_the_architecture_is_drawn_from_the_imports():
    text = architecture.PAGE.read_text("utf-8")
    assert text == architecture.written(text), "python docs/site/architecture.py draws it anew"
    edges = architecture.graph()
    assert "data" in edges["training"]
    names, _, arrows = drawing.read(architecture.mermaid().removeprefix("```mermaid\n"))
    assert {name.replace(" ", "_") for name in edges} == set(names)
    drawing.layers(list(names), arrows)  # raises if imports of rooms run in a circle
    assert architecture.reduced({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == {"a": {"b"}, "b": {"c"}, "c": set()}


@pytest.mark.parametrize("name", ["model", "check"])
def test_the_code_of_a_guide_runs(name):
    scope = {}
    from tsfmicro_lab.models import MODELS

    before = dict(MODELS)
    try:
        for piece in re.findall(
            r"^```python\n(.*?)^```", (ROOT / "docs" / f"{name}.md").read_text("utf-8"), re.M | re.S
        ):
            exec(compile(piece, f"docs/{name}.md", "exec"), scope)
    finally:
        MODELS.clear()
        MODELS.update(before)
    assert scope


def docstrings():
    for folder in ("tsfmicro_lab", "notebooks/studies"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
                    yield path, text


def test_no_docstring_holds_a_control_character():
    """A form feed was once shown in the place of a fraction, since its docstring was not raw."""
    found = [f"{path.name}: {text[:60]}" for path, text in docstrings() if re.search(r"[\x00-\x08\x0b-\x1f]", text)]
    assert not found


def test_every_formula_can_be_drawn():
    pytest.importorskip("latex2mathml", reason="pip install -e '.[site]' brings it")
    import hooks

    texts = [hooks.markdown(text, {}) for _, text in docstrings()]
    formulas = [
        f for text in texts for pair in re.findall(r"\$\$(.*?)\$\$|\$([^$\n]+)\$", text, re.S) for f in pair if f
    ]
    assert len(formulas) > 15
    for formula in formulas:
        assert "<math" in hooks.mathml(formula.strip(), block=True)
    with pytest.raises(ValueError, match="is its docstring raw"):
        hooks.mathml("\frac{1}{2}", block=True)
    with pytest.raises(ValueError, match="nothing here can draw"):
        hooks.mathml(r"\notacommand{x}", block=False)
    assert hooks.markdown(".. math:: a\n    b\n\nnext", {}).startswith("$$\na\nb\n$$\n")


@pytest.mark.skipif(not (BUILT / "index.html").exists(), reason="`make site` builds it")
def test_the_built_site_is_whole():
    links.read.cache_clear()
    assert links.wrong(BUILT) == []
    pages = {path.relative_to(BUILT).as_posix() for path in BUILT.rglob("*.html")}
    assert {f"course/{path.stem}.html" for path in (ROOT / "notebooks").glob("[0-9]*.ipynb")} <= pages
    assert {f"data/{path.stem}.html" for path in (ROOT / "data_cards").glob("*.md")} <= pages
    modules = {
        ".".join(p.relative_to(ROOT / "tsfmicro_lab").with_suffix("").parts)
        for p in (ROOT / "tsfmicro_lab").rglob("*.py")
    }
    assert {f"api/{name}.html" for name in modules if not name.endswith("__init__")} <= pages
    dead = re.compile(r'class="arithmatex"|class="mermaid"|<merror')
    for page in pages:
        assert not dead.search((BUILT / page).read_text("utf-8")), (
            f"{page} shows what no browser draws without a script"
        )


@pytest.mark.skipif(not (BUILT / "index.html").exists(), reason="`make site` builds it")
def test_a_browser_asks_no_network_and_nothing_is_wider_than_a_telephone():
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = next((p for p in map(Path, ("/usr/bin/chromium", "/usr/bin/google-chrome")) if p.exists()), None)
    if not chromium:
        pytest.skip("no Chromium here")
    shown = os.environ.get(
        "TSFMICRO_PAGES",
        "index results architecture course/00_tour course/02_retention_and_attention "
        "data/casme2 models/emotions api/training.metrics api/index glossary",
    ).split()
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=str(chromium), args=["--no-sandbox", "--disable-gpu"])
        for width, scheme in ((1280, "light"), (390, "dark")):
            page = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()
            asked, errors = [], []
            page.on("request", lambda r, asked=asked: r.url.startswith("http") and asked.append(r.url))
            page.on("pageerror", lambda e, errors=errors: errors.append(str(e)))
            for name in shown:
                page.goto((BUILT / f"{name}.html").as_uri())
                assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} scrolls sideways"
            page.goto((BUILT / "index.html").as_uri())
            page.fill("[data-md-component=search-query]", "retention", force=True)
            page.wait_for_selector(".md-search-result__item", state="attached", timeout=20_000)
            assert not asked
            assert not errors
        browser.close()
