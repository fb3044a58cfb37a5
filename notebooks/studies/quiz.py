"""Five minutes on a notebook: `quiz("03")` in a cell; `python notebooks/studies/quiz.py > quiz.html` shows all."""

import html
import random
import re
from pathlib import Path
from typing import NamedTuple


class Question(NamedTuple):
    """A question and its choices: what one reads, why it is right or wrong, and whether it is right."""

    lesson: str
    ask: str
    choices: list[tuple[str, str, bool]]


def questions(text: str | None = None) -> list[Question]:
    r"""All questions of quiz.txt; the choices of each in an order that stays.

    Example:
        >>> questions("## 00\n? 1 + 1\n+ 2 // count\n- 3 // too many\n")[0].ask
        '1 + 1'
    """
    found: list[Question] = []
    lesson = ""
    for line in (text or Path(__file__).with_name("quiz.txt").read_text("utf-8")).splitlines():
        sign, _, rest = line.partition(" ")
        if sign == "##":
            lesson = rest
        elif sign == "?":
            found.append(Question(lesson, rest, []))
        elif sign in ("+", "-"):
            said, _, reason = rest.partition(" // ")
            found[-1].choices.append((said, reason, sign == "+"))
    for question in found:
        random.Random(question.ask).shuffle(question.choices)
    return found


def page(lesson: str) -> str:
    """The quiz of a notebook; a click on a choice shows whether it is right, and why. It needs no kernel."""
    parts = []
    for number, question in enumerate((q for q in questions() if q.lesson == lesson), 1):
        parts.append(f"<p><b>{number}.</b> {shown(question.ask)}</p>")
        for said, reason, right in question.choices:
            mark = "✓" if right else "✗"
            parts.append(f"<details><summary>{shown(said)}</summary><p>{mark} {shown(reason)}</p></details>")
    return f'<div style="max-width: 48em">{"".join(parts)}</div>'


def shown(text: str) -> str:
    """Text as HTML; what stands between stars is emphasised."""
    return re.sub(r"\*(.+?)\*", r"<em>\1</em>", html.escape(text))


def quiz(lesson: str) -> object:
    """Shows the quiz of a notebook, "00" to "15", in a cell."""
    from IPython.display import HTML

    return HTML(page(lesson))


if __name__ == "__main__":
    numbers = sorted({q.lesson for q in questions()})
    print("<!doctype html><meta charset='utf-8'><title>Quiz</title><body style='font-family: sans-serif; margin: 2em'>")
    print(*(f"<h2>Notebook {number}</h2>{page(number)}" for number in numbers), sep="\n")
