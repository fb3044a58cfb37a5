"""What the course's notebooks share: exercises that answer back, and claims that must hold."""

import html
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NoReturn
from unittest import mock

from IPython.display import HTML, display

_COLOURS = {"right": "#009E73", "not yet": "#D55E00", "not answered": "#7a7a7a", "claim": "#0072B2"}


class NotAnswered(Exception):
    """Nobody has answered the exercise yet."""


def check(exercise: Callable[[], str]) -> None:
    """Runs the check of an exercise at once and shows what it found; it never stops the notebook.

    The check calls `need` for what the student should have made, asserts with a message that says what is wrong and
    why, and returns what a right answer has shown.

    Example:
        >>> answer = 7
        >>> @check
        ... def exercise_1():
        ...     need(answer)
        ...     assert answer != 7, "seven is the number of frames, not of intervals between them"
        ...     return "six intervals"
        exercise 1: not yet: seven is the number of frames, not of intervals between them
    """
    try:
        found, text = "right", exercise()
    except NotAnswered:
        found, text = "not answered", "change the cell above and run both cells"
    except AssertionError as error:
        found, text = "not yet", str(error)
    except Exception as error:  # of the student's code
        found, text = "not yet", f"your cell raises {type(error).__name__}: {error}"
    _show(found, exercise.__name__.replace("_", " "), text)


def need(*answers: object) -> None:
    """Ends a check if one of the student's answers is still missing: `None` or `...`."""
    if any(answer is None or answer is ... for answer in answers):
        _unanswered()


def by_hand(scope: dict[str, Any], *names: str) -> AbstractContextManager[Any]:
    """While it lasts, the notebook's functions of these names refuse: the student is to write what they do.

    It decorates a check. What the check itself needs of them it takes as defaults of its parameters.

    Example:
        >>> answer = lambda: sum([1, 2])
        >>> @check
        ... @by_hand(globals(), "sum")
        ... def exercise_2():
        ...     assert answer() == 3, "one and two are three"
        exercise 2: not yet: you call sum, which is there already: write what it does
    """

    def refused(name: str) -> Callable[..., NoReturn]:
        def refuse(*_: object, **__: object) -> NoReturn:
            raise AssertionError(f"you call {name}, which is there already: write what it does")

        return refuse

    return mock.patch.dict(scope, {name: refused(name) for name in names})


def claim(sentence: str, effect: float, control: float, margin: float) -> None:
    """Shows a sentence of the course if its effect exceeds its control by a margin, and stops the notebook if not.

    Args:
        sentence: What is claimed, with `{effect}` and `{control}`, formatted as in `{effect:.2f}`.
        effect: What was measured.
        control: The same measure where the claim's reason is absent; it could have been as large.
        margin: Least difference, more than what chance does over seeds.

    Raises:
        AssertionError: If the effect does not exceed the control by the margin.

    Example:
        >>> claim("{effect:.0f} px move where unit 12 acts, {control:.0f} px elsewhere", 3.2, 0.4, margin=1)
        claim: 3 px move where unit 12 acts, 0 px elsewhere (difference 2.8, at least 1)
    """
    text = sentence.format(effect=effect, control=control)
    difference = effect - control
    measured = {"claim": sentence, "effect": float(effect), "control": float(control), "margin": float(margin)}
    assert difference >= margin, f"this claim does not hold here: {text} (difference {difference:.3g}, not {margin:g})"
    _show("claim", "", f"{text} (difference {difference:.3g}, at least {margin:g})", **measured)


def _unanswered() -> NoReturn:
    raise NotAnswered


class _Told(HTML):
    """A line that a page shows in a frame, and a terminal as it is."""

    def __init__(self, page: str, line: str) -> None:
        super().__init__(page)
        self.line = line

    def __repr__(self) -> str:
        return self.line


def _show(found: str, name: str, text: str, **about: object) -> None:
    head = ": ".join(filter(None, (name, found)))
    style = f"border-left: 4px solid {_COLOURS[found]}; padding: 0.2em 0.8em"
    page = f'<div style="{style}"><b>{html.escape(head)}</b>: {html.escape(text)}</div>'
    about = {"found": found, "name": name, "text": text, **about}
    display(_Told(page, f"{head}: {text}"), metadata={"tsfmicro": about})
