"""What all checks share: a failure that teaches, comparison with known mistakes, and a student's own seed."""

import contextlib
import functools
import hashlib
import io
import os
import traceback
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch


class CheckFailed(AssertionError):
    """A check failed; its message says what was wrong, what was expected and what to do."""

    def _render_traceback_(self) -> list[str]:
        """What Jupyter shows: the sentence, and no code of the check."""
        return [f"✗ {self}"]


def check(function: Callable[..., None]) -> Callable[..., None]:
    """Makes a check of a function: it prints ✓ and its first line, or raises :class:`CheckFailed` alone.

    Whatever the student's code prints or warns of is kept off the page: nbgrader gives no points to a graded cell that
    writes to standard error. The random state is fixed for the check and restored afterwards.

    Example:
        >>> @check
        ... def answer(value):
        ...     '''Knows the answer.'''
        ...     expect(value == 42, "think again")
        >>> answer(42)
        ✓ Knows the answer.
        >>> answer(41)
        Traceback (most recent call last):
        ...
        checking.CheckFailed: think again
    """

    @functools.wraps(function)
    def run(*arguments: Any, **settings: Any) -> None:
        quiet = io.StringIO()
        try:
            with (
                contextlib.redirect_stderr(quiet),
                contextlib.redirect_stdout(quiet),
                warnings.catch_warnings(action="ignore"),
                torch.random.fork_rng(),
            ):
                torch.manual_seed(0)
                function(*arguments, **settings)
        except CheckFailed as failure:
            raise failure.with_traceback(None) from None
        except NotImplementedError:
            raise CheckFailed("there is nothing here yet: replace `raise NotImplementedError()` by your code") from None
        except Exception as error:
            raise CheckFailed(f"your code stopped with {type(error).__name__}: {error}{_where(error)}") from None
        print(f"✓ {(function.__doc__ or '').splitlines()[0]}")

    return run


def expect(condition: object, message: str) -> None:
    """Fails with the message unless the condition holds.

    Example:
        >>> expect(1 + 1 == 2, "never seen")
    """
    if not condition:
        raise CheckFailed(message)


def compare(
    got: Any, expected: Any, mistakes: Mapping[str, Any], what: str, *, tolerance: float = 1e-4, hint: str = ""
) -> None:
    """Compares a result with the right one, and a wrong one with the results of known mistakes.

    Args:
        got: What the student's function returned: a number, an array or a tensor.
        expected: The right result.
        mistakes: What each mistake would have given, by the message it deserves.
        what: Name of the result.
        tolerance: Largest error, relative to the largest expected value.
        hint: Ends the message when no mistake is recognised.

    Raises:
        CheckFailed: The result is not the right one.

    Example:
        >>> compare(2.0, 2.0, {}, "the sum")
        >>> compare(-2.0, 2.0, {"the sign is turned": -2.0}, "the sum")
        Traceback (most recent call last):
        ...
        checking.CheckFailed: the sign is turned
    """
    result, right = _array(got, what), _array(expected, what)
    if result.shape == right.shape and _close(result, right, tolerance):
        return
    for message, value in mistakes.items():
        wrong = _array(value, what)
        if result.shape == wrong.shape and _close(result, wrong, tolerance) and not _close(wrong, right, tolerance):
            raise CheckFailed(message)
    expect(result.shape == right.shape, f"{what} must have shape {right.shape}, got {result.shape}")
    expect(np.isfinite(result).all(), f"{what} holds NaN or infinity")
    error = np.abs(result - right).max()
    raise CheckFailed(f"{what} is wrong: off by up to {error:.3g}, where values go up to {_size(right):.3g}. {hint}")


def variant(student: str, course: int = 1) -> int:
    """The seed of a student's own data, from the name they hand in under and the course's seed.

    While a submission is graded, the name is the one it was handed in under, whatever the notebook says.

    Args:
        student: Name; case, spaces and signs do not count.
        course: Seed of the course, which `course.py release --seed` sets.

    Returns:
        A number below 100 000.

    Example:
        >>> variant("Ada Lovelace") == variant("ada.lovelace") != variant("Ada Lovelace", course=2)
        True
    """
    name = plain(os.environ.get("TSFMICRO_STUDENT", student))
    return int.from_bytes(hashlib.sha256(f"{course}/{name}".encode()).digest()[:4], "big") % 100_000


def plain(name: str) -> str:
    """A name without case, spaces and signs.

    Example:
        >>> plain("Ada_Lovelace") == plain("ada lovelace")
        True
    """
    return "".join(filter(str.isalnum, name.lower()))


def _array(value: Any, what: str) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    expect(value is not None, f"{what} is None: does the function end with `return`?")
    try:
        return np.asarray(value, float)
    except (TypeError, ValueError):
        raise CheckFailed(f"{what} must be a number or an array, got {type(value).__name__}") from None


def _size(values: np.ndarray) -> float:
    return max(float(np.abs(values).max(initial=0)), 1e-12)


def _close(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    return bool(np.allclose(a, b, rtol=0, atol=tolerance * _size(b)))


def _where(error: Exception) -> str:
    """The line of the student's own cell where it happened; nothing of the check's."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "ipykernel" in f.filename]
    return f" (line {frames[-1].lineno} of the cell that defines {frames[-1].name})" if frames else ""
