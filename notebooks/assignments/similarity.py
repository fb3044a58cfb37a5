"""Whose answers are the same but for names: `python similarity.py ps1`. A number to read by, never a verdict."""

import ast
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path

import nbformat
import pandas as pd
from nbgrader.utils import is_solution


def shape(code: str, size: int = 4) -> Counter[tuple[str, ...]]:
    """How often each run of `size` nodes of the syntax tree occurs; names, numbers, texts and comments do not count.

    Example:
        >>> shape("def f(a):\\n    return a + 1") == shape("def other(x):  # mine\\n    return x + 2")
        True
    """
    try:
        nodes = [type(node).__name__ for node in walk(ast.parse(code))]
    except SyntaxError:
        nodes = []
    return Counter(tuple(nodes[i : i + size]) for i in range(len(nodes) - size + 1))


def walk(node: ast.AST) -> list[ast.AST]:
    """The nodes of a tree, each before its children."""
    return [node, *(below for child in ast.iter_child_nodes(node) for below in walk(child))]


def common(a: Counter[tuple[str, ...]], b: Counter[tuple[str, ...]]) -> float:
    """Share of two shapes that is the same, 0 to 1."""
    return sum((a & b).values()) / max(sum((a | b).values()), 1)


def answers(path: Path) -> dict[str, str]:
    """A notebook's answers in code."""
    cells = nbformat.read(path, 4).cells
    return {c.metadata.nbgrader.grade_id: c.source for c in cells if is_solution(c) and c.cell_type == "code"}


def pairs(course: Path, name: str) -> pd.DataFrame:
    """Pairs of students, the most alike first; what most of the class has in common counts less.

    A run of nodes that half of the class has (the obvious way, or the given first lines) is left out.
    """
    handed = {p.parts[-3]: answers(p) for p in sorted(course.glob(f"autograded/*/{name}/{name}.ipynb"))}
    shapes = {(s, q): shape(code) for s, codes in handed.items() for q, code in codes.items()}
    rows = []
    for question in dict.fromkeys(q for _, q in shapes):
        own = {s: shapes[s, question] for s in handed if (s, question) in shapes}
        seen = Counter(run for counts in own.values() for run in counts)
        rare = {s: Counter({r: n for r, n in c.items() if seen[r] <= max(2, len(own) / 2)}) for s, c in own.items()}
        for a, b in combinations(own, 2):
            if sum((rare[a] & rare[b]).values()) >= 8:
                rows.append((question, a, b, round(common(rare[a], rare[b]), 2)))
    table = pd.DataFrame(rows, columns=["question", "one", "other", "alike"])
    return table.sort_values("alike", ascending=False, ignore_index=True)


if __name__ == "__main__":
    print(pairs(Path.cwd(), sys.argv[1]).head(30).to_string(index=False))
