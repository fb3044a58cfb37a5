"""What MkDocs does besides to a page: formulas become MathML, Mermaid a drawing, and docstrings Markdown."""

import ast
import html
import re
import sys
from pathlib import Path
from typing import Any

import griffe
from latex2mathml.converter import convert

sys.path.insert(0, str(Path(__file__).parent))

from drawing import svg

ROOT = Path(__file__).resolve().parents[2]
DEFINITIONS = (ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)


def mathml(latex: str, block: bool) -> str:
    r"""A formula that every browser draws without a script.

    Raises:
        ValueError: It holds a control character (`"\frac"` in a string that is not raw), or a command is unknown.
    """
    if re.search(r"[\x00-\x08\x0b-\x1f]", latex):
        raise ValueError(f"a control character in the formula {latex!r}: is its docstring raw?")
    made = convert(latex, display="block" if block else "inline")
    if unknown := re.search(r">\s*(\\\w+)", made):
        raise ValueError(f"the formula {latex!r} holds {unknown[1]}, which nothing here can draw")
    return made


def on_page_content(text: str, **_: Any) -> str:
    """Formulas and drawings of a page."""

    def formula(found: re.Match[str]) -> str:
        return mathml(html.unescape(found[2]), block=found[1] == "[")

    page = re.sub(r'<(?:span|div) class="arithmatex">\\([\[(])(.*?)\\[\])]</(?:span|div)>', formula, text, flags=re.S)

    def drawing(found: re.Match[str]) -> str:
        return svg(html.unescape(found[1]), "Drawing: what the text below or above lists")

    return re.sub(r'<pre class="mermaid"><code>(.*?)</code></pre>', drawing, page, flags=re.S)


def public_names() -> dict[str, str]:
    """Full name of each public function, class, method and constant of the library, by its full and its last name."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / "tsfmicro_lab").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.parse(path.read_text("utf-8")).body:
            for name in _names(node):
                found[name.rpartition(".")[2]] = found[f"{module}.{name}"] = f"{module}.{name}"
    return found


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef):
        own = [node.name]
    elif isinstance(node, ast.ClassDef):
        methods = [part.name for part in node.body if isinstance(part, ast.FunctionDef)]
        own = [node.name, *(f"{node.name}.{name}" for name in methods)]
    else:
        return []
    return [] if any(part.startswith("_") for name in own[:1] for part in name.split(".")) else own


class Docstrings(griffe.Extension):
    """Roles and formulas of docstrings, which are written for terminals and editors, as Markdown."""

    def __init__(self) -> None:
        self.known = public_names()

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for each thing that has a docstring."""
        if obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value, self.known)


def markdown(docstring: str, known: dict[str, str]) -> str:
    r"""A docstring with its formulas between dollars, and names as links where they lead to a page.

    >>> markdown("By :func:`~a.b.f`, :math:`x^2`; see :data:`N`.", {"a.b.f": "a.b.f"})
    'By [`f`][a.b.f], $x^2$; see `N`.'
    """

    def role(found: re.Match[str]) -> str:
        name = found[1].lstrip("~")
        target = known.get(name) or known.get(name.rpartition(".")[2])
        said = name.rpartition(".")[2]
        return f"[`{said}`][{target}]" if target and "._" not in target else f"`{said}`"

    def display(found: re.Match[str]) -> str:
        indent = found[1]
        lines = [line.strip() for line in f"{found[2]}\n{found[3]}".strip().splitlines()]
        return f"{indent}$$\n" + "".join(f"{indent}{line}\n" for line in lines) + f"{indent}$$\n"

    text = re.sub(r":(?:func|class|meth|data|attr|mod):`([^`]+)`", role, docstring)
    text = re.sub(r":math:`([^`]+)`", r"$\1$", text)
    return re.sub(r"^([ ]*)\.\. math::(.*)\n?((?:\1[ ]+\S.*\n?)*)", display, text, flags=re.M)
