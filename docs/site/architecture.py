"""Writes the drawing of docs/architecture.md from the imports of the library: `python docs/site/architecture.py`."""

import ast
import re
from pathlib import Path
from textwrap import wrap

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "architecture.md"
#: Modules that stand alone at the top and are drawn as one room.
ROOMS = dict.fromkeys(("demo", "analyze", "reports", "results"), "whole ways")
ROOMS |= dict.fromkeys(("clips", "files", "seeds", "processes", "provenance"), "ground")
SAID = {
    "whole ways": "demo, analyze, reports, results: from a command to an HTML page",
    "ground": "clips, files, seeds, processes, provenance: what all others stand on",
}


def room(module: str) -> str:
    """The room of a module: its folder, or those that stand alone together; empty for the library itself."""
    parts = module.split(".")
    return ROOMS.get(parts[1], parts[1]) if parts[0] == "tsfmicro_lab" and len(parts) > 1 else ""


def imports(source: str) -> set[str]:
    """Rooms that a module imports, when it is imported or when a function of it is called."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {room(f"{node.module}.{alias.name}") for alias in node.names}
    return names - {""}


def graph() -> dict[str, set[str]]:
    """Which room imports which."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "tsfmicro_lab").rglob("*.py")):
        own = room(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
        if own:
            found[own] = found.get(own, set()) | imports(path.read_text("utf-8")) - {own}
    return {name: {other for other in others if other in found} for name, others in found.items()}


def reduced(edges: dict[str, set[str]]) -> dict[str, set[str]]:
    """The same graph without arrows that a longer way already shows."""

    def below(name: str) -> set[str]:
        return {far for near in edges[name] for far in {near, *below(near)}}

    return {name: others - {far for near in others for far in below(near)} for name, others in edges.items()}


def mermaid() -> str:
    """The drawing, as Mermaid: a box for each room, with the first line that its code says of it."""
    edges = reduced(graph())
    lines = ["```mermaid", "flowchart TD"]
    for name in edges:
        said = SAID.get(name) or (
            ast.get_docstring(ast.parse((ROOT / "tsfmicro_lab" / name / "__init__.py").read_text("utf-8"))) or ""
        )
        first = "<br>".join(wrap(re.sub(r"[`\"]|\.$", "", said.partition("\n")[0]), 64))
        lines.append(f'    {name.replace(" ", "_")}["<b>{name}</b><br>{first}"]')
    ways = sorted((a, b) for a, others in edges.items() for b in others)
    lines += [f"    {a.replace(' ', '_')} --> {b.replace(' ', '_')}" for a, b in ways]
    return "\n".join([*lines, "```"])


def written(text: str) -> str:
    """A page with its drawing as the imports are."""
    return re.sub(
        r"(<!-- imports -->\n).*?(<!-- /imports -->)", lambda m: f"{m[1]}{mermaid()}\n{m[2]}", text, flags=re.S
    )


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text("utf-8")), encoding="utf-8")
