"""How large the library is, what it depends on, and that it has no circle of imports; `python tests/test_budget.py`."""

import ast
import io
import re
import tokenize
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
LIMITS = {"lines": 12_500, "code lines": 7_300, "runtime dependencies": 24, "circles of imports": 0}
QUIET = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def modules(root=ROOT / "tsfmicro_lab"):
    """Source of each module by its dotted name."""
    names = {path: path.relative_to(root.parent).with_suffix("").parts for path in sorted(root.rglob("*.py"))}
    return {".".join(parts).removesuffix(".__init__"): path.read_text("utf-8") for path, parts in names.items()}


def docstring_lines(source):
    """Line numbers of docstrings, and of strings that stand alone."""
    texts = (
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    )
    return {line for node in texts for line in range(node.lineno, node.end_lineno + 1)}


def code_lines(source):
    """Number of lines that are not blank, comment or docstring."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {line for t in tokens if t.type not in QUIET for line in range(t.start[0], t.end[0] + 1)}
    return len(lines - docstring_lines(source))


def public_names(source):
    """Functions, classes and constants at the top level whose name does not begin with an underscore."""
    names = []
    for node in ast.parse(source).body:
        if isinstance(node, DEFINITIONS):
            names.append(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names += [leaf.id for target in targets for leaf in ast.walk(target) if isinstance(leaf, ast.Name)]
    return [name for name in names if not name.startswith("_")]


def top_level(body):
    """Statements that run when a module is imported: those in functions and below TYPE_CHECKING do not."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from top_level(node.orelse)
            continue
        yield node
        for part in ("body", "orelse", "handlers", "finalbody"):
            yield from top_level(getattr(node, part, []))


def import_graph(sources):
    """Which modules of the library a module imports when it is itself imported."""
    graph = {}
    for name, source in sources.items():
        found = set()
        for node in top_level(ast.parse(source).body):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
                # `from package import name` runs the package's own file, unless the name is a module of it.
                found |= {node.module for alias in node.names if f"{node.module}.{alias.name}" not in sources}
        graph[name] = found & set(sources) - {name}
    return graph


def circles(graph):
    """Groups of modules that import one another: the strongly connected components of the graph."""

    def reachable(start):
        seen, todo = set(), [start]
        while todo:
            todo += graph[todo.pop()] - seen
            seen |= set(todo)
        return seen

    reach = {name: reachable(name) for name in graph}
    together = {frozenset(other for other in graph if other in reach[name] and name in reach[other]) for name in graph}
    return sorted(sorted(group) for group in together if len(group) > 1)


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def dependencies():
    return [Requirement(line).name for line in project()["project"]["dependencies"]]


def measure():
    sources = modules()
    return {
        "lines": sum(source.count("\n") for source in sources.values()),
        "code lines": sum(map(code_lines, sources.values())),
        "files": len(sources),
        "public names": sum(len(public_names(source)) for source in sources.values()),
        "runtime dependencies": len(dependencies()),
        "circles of imports": len(circles(import_graph(sources))),
    }


def table():
    """Every measure with its limit, and the largest files."""
    rows = [f"{'':24}{'now':>8}{'limit':>8}"]
    rows += [f"{name:24}{value:8}{LIMITS.get(name, '–'):>8}" for name, value in measure().items()]
    sources = modules()
    largest = sorted(sources, key=lambda name: -code_lines(sources[name]))[:10]
    rows += ["", f"{'the largest files':44}{'lines':>8}{'code':>8}"]
    rows += [f"{name:44}{sources[name].count(chr(10)):8}{code_lines(sources[name]):8}" for name in largest]
    rows += [" → ".join(group) for group in circles(import_graph(sources))]
    return "\n".join(rows)


@pytest.mark.parametrize("name", LIMITS)
def test_the_library_stays_small(name):
    print(table())
    assert measure()[name] <= LIMITS[name]


def test_each_runtime_dependency_is_imported_or_there_for_a_reason():
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    ignored = project()["tool"]["deptry"]["per_rule_ignores"].get("DEP002", [])
    for name in ignored:
        assert re.search(rf'"{name}",? *# \w', text), f"say in a comment why {name} is there"
    modules_of = {}
    for module, owners in packages_distributions().items():
        for owner in owners:
            modules_of.setdefault(owner.lower().replace("_", "-"), set()).add(module)
    imported = set(re.findall(r"^\s*(?:from|import) (\w+)", "\n".join(modules().values()), re.MULTILINE))
    unused = [name for name in dependencies() if name not in ignored and not modules_of.get(name, set()) & imported]
    assert not unused, f"imported nowhere: {unused}"


def test_the_counts_are_right():
    body = 'X, _Y = 1, 2\n\n\ndef f():\n    """Doc."""\n    return """a\nb"""\n'
    source = f'"""Doc."""\n\nimport os  # why\n\n# a comment\n{body}'
    assert code_lines(source) == 5
    assert public_names(source) == ["X", "f"]


def test_circles_are_found():
    sources = {
        "p": "",
        "p.a": "from p.b import x\nfrom p import c",
        "p.b": "def f():\n    import p.a\nif TYPE_CHECKING:\n    import p.a",
        "p.c": "try:\n    import p.d\nexcept ImportError:\n    pass",
        "p.d": "from p import c",
    }
    assert import_graph(sources)["p.a"] == {"p.b", "p.c"}
    assert circles(import_graph(sources)) == [["p.c", "p.d"]]


if __name__ == "__main__":
    print(table())
