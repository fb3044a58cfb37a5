"""Questions for ten minutes of talk, drawn from a student's own code: `python oral.py ps1 STUDENT`."""

import ast
import random
import sys
from pathlib import Path

from similarity import answers, walk

#: What to ask about a piece of code; the answer is in the code, not in a book.
ASK: dict[type[ast.AST], tuple[str, ...]] = {
    ast.Subscript: (
        "Which shape has `{code}`, and which axis is which?",
        "What would change with another index in `{code}`?",
    ),
    ast.For: ("How often does the loop `{code}` run, and could it go without a loop?",),
    ast.ListComp: ("How long is the list `{code}`?", "Write `{code}` as a loop."),
    ast.BinOp: ("What happens in `{code}` if one side is zero, or a byte?", "Which shapes meet in `{code}`?"),
    ast.Compare: ("What if both sides of `{code}` are equal?",),
    ast.If: ("Give me an input for which `{code}` goes the other way.",),
    ast.Call: ("What does `{code}` return: type, shape, range?", "What breaks if you leave `{code}` out?"),
}


def questions(codes: dict[str, str], seed: str, count: int = 5) -> list[str]:
    """Draws questions about a student's own lines, of different kinds; the same for the same seed.

    Example:
        >>> questions({"uf1": "def uf1(a):\\n    return a[0] == 1"}, "ada")[0].startswith("uf1, line 2: ")
        True
    """
    draw, found = random.Random(seed), []
    for name, code in codes.items():
        try:
            nodes = walk(ast.parse(code))
        except SyntaxError:
            continue
        for node in nodes:
            text = (ast.get_source_segment(code, node) or "").splitlines()
            if type(node) in ASK and text and 4 <= len(text[0]) <= 70:
                ask = draw.choice(ASK[type(node)]).format(code=text[0].rstrip(":"))
                found.append((type(node).__name__, f"{name}, line {node.lineno}: {ask}"))
    draw.shuffle(found)
    kinds = [kind for kind, _ in found]
    found = [found[i] for i in sorted(range(len(found)), key=lambda i: kinds[:i].count(kinds[i]))]
    return [question for _, question in found[:count]]


if __name__ == "__main__":
    assignment, person = sys.argv[1:]
    path = Path.cwd() / "submitted" / person / assignment / f"{assignment}.ipynb"
    print("\n".join(questions(answers(path), f"{assignment}/{person}")))
