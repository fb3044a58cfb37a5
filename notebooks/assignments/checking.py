"""What all checks share: a failure that teaches, one way to call a student's function, and a student's own seed."""

import contextlib
import copy
import functools
import hashlib
import inspect
import io
import random
import sys
import sysconfig
import traceback
import tracemalloc
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils._python_dispatch import TorchDispatchMode

#: What a grader writes here before a graded cell, and reads again from the output of a check that was passed.
receipt = ""
#: Where no student's code lies.
_NOT_THEIRS = (sysconfig.get_path("stdlib"), sysconfig.get_path("platlib"), str(Path(torch.__file__).parent))
#: Own names of what decides: whoever replaces numpy's changes nothing here.
_as_array = np.asarray
_asked = [0]


class CheckFailed(AssertionError):
    """A check failed; its message says what was wrong, what was expected and what to do."""

    def _render_traceback_(self) -> list[str]:
        """What Jupyter shows: the sentence, and no code of the check."""
        return [f"✗ {self}"]


class CheckBroken(RuntimeError):
    """A check itself has a mistake, which costs nobody a point."""


def check(function: Callable[..., None]) -> Callable[..., None]:
    """Makes a check of a function: it prints ✓ and its first line at its very end, or raises :class:`CheckFailed`.

    Whatever the student's code prints or warns of is kept off the page: nbgrader gives no points to a graded cell that
    writes to standard error. Random states are fixed for the check and restored afterwards.

    Raises:
        CheckFailed: The answer is not right.
        CheckBroken: The check is not right.

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
        >>> answer()
        Traceback (most recent call last):
        ...
        checking.CheckBroken: answer stopped with TypeError: answer() missing 1 required positional ...
    """

    @functools.wraps(function)
    def run(*arguments: Any, **settings: Any) -> None:
        _asked[0] = 0
        try:
            with _aside():
                function(*arguments, **settings)
            _untouched()
        except CheckFailed as failure:
            raise failure.with_traceback(None) from None
        except Exception as error:
            files = {frame.filename for frame in traceback.extract_tb(error.__traceback__)}
            if not _ours(error) and any(map(_theirs, files - {function.__code__.co_filename})):
                raise CheckFailed(_stopped(error, "your answer")) from None
            wrong = f"{function.__name__} stopped with {type(error).__name__}: {error}"
            raise CheckBroken(
                f"{wrong}. That is a mistake of the check and costs you nothing: tell your teacher"
            ) from error
        if not _asked[0]:
            raise CheckBroken(f"{function.__name__} asked nothing: tell your teacher")
        said = f"✓ {(function.__doc__ or '').splitlines()[0]}"
        print(said)
        if receipt:
            from IPython.display import publish_display_data

            publish_display_data({"text/plain": said}, metadata={"receipt": receipt})

    return run


@contextlib.contextmanager
def _aside() -> Iterator[None]:
    """Nothing that the student's code prints, draws or sets outlives it."""
    quiet, dtype = io.StringIO(), torch.get_default_dtype()
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    with (
        contextlib.redirect_stderr(quiet),
        contextlib.redirect_stdout(quiet),
        warnings.catch_warnings(action="ignore"),
        torch.random.fork_rng(devices=[]),
        torch.enable_grad(),
    ):
        torch.set_default_dtype(torch.float32)
        try:
            reseed()
            yield
        finally:
            torch.set_default_dtype(dtype)
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002


def reseed(seed: int = 0) -> None:
    """Sets the three global random states, for code that draws from them."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)


def expect(condition: object, message: str) -> None:
    """Fails with the message unless the condition holds.

    Example:
        >>> expect(1 + 1 == 2, "never seen")
    """
    _asked[0] += 1
    _need(condition, message)


def _need(condition: object, message: str) -> None:
    if not condition:
        raise CheckFailed(message)


def call(
    function: Any, *arguments: Any, returns: str | type, forbids: Mapping[str, str] | None = None, work: Any = None
) -> Any:
    """Calls what a student wrote, with copies of the arguments: an error inside is theirs, one outside ours.

    Args:
        function: The student's.
        arguments: Arrays, tensors, tables and lists of them are copied, so that nobody spoils what is compared later.
        returns: `number`, `whole` (a number), `array` (of floats), `items` (a list of them) or a type.
        forbids: What must not be called, by the beginning of its full name; the value says what to do instead.
        work: A :class:`Work` that measures the call.

    Returns:
        The result as `returns` says.

    Raises:
        CheckFailed: The code stopped, called what it must not, or returns something else.

    Example:
        >>> call(lambda a: a.sum(), np.ones(3), returns="number")
        3.0
        >>> call(lambda a: (a, a), 1.0, returns="number")
        Traceback (most recent call last):
        ...
        checking.CheckFailed: <lambda> must return one number, got 2 of them
    """
    name = getattr(function, "__name__", type(function).__name__)
    _need(callable(function), f"a function or class is wanted here, got {type(function).__name__}")
    with contextlib.ExitStack() as stack:
        used: list[str] = stack.enter_context(_watched(forbids)) if forbids else []
        given = [_copied(a) for a in arguments]
        if work:
            stack.enter_context(work)
        try:
            got = function(*given)
            got = list(got) if returns == "items" and not isinstance(got, type(None)) else got
        except CheckFailed:
            raise
        except (Exception, SystemExit) as error:
            if _ours(error):
                raise
            raise CheckFailed(_stopped(error, name)) from None
    for other in used:
        raise CheckFailed(
            f"{name} calls {other}: {next(text for begin, text in (forbids or {}).items() if other.startswith(begin))}"
        )
    return converted(got, returns, f"{name} must return")


def converted(got: Any, returns: str | type, must: str) -> Any:
    """A value as a number, an array or a type, or a failure that says what it is instead.

    Example:
        >>> converted(np.array([2]), "whole", "x must be")
        2
        >>> converted("2", "whole", "x must be")
        Traceback (most recent call last):
        ...
        checking.CheckFailed: x must be a number, got str
    """
    if isinstance(returns, type):
        _need(got is not None or returns is type(None), f"{must} {returns.__name__}, got None: is a `return` missing?")
        _need(isinstance(got, returns), f"{must} {returns.__name__}, got {type(got).__name__}")
        return got
    if returns == "items":
        _need(got is not None, f"{must} a list, got None: is a `return` missing?")
        return got
    values = _array(got, must, "an array" if returns == "array" else "a number")
    if returns == "array":
        return values
    _need(values.size == 1, f"{must} one number, got {values.size} of them")
    value = float(values.reshape(-1)[0])
    if returns == "number":
        return value
    _need(value == value // 1, f"{must} a whole number, got {value:g}")
    return int(value)


def compare(
    got: Any, expected: Any, mistakes: Mapping[str, Any], what: str, *, tolerance: float = 1e-4, hint: str = ""
) -> None:
    """Compares a result with the right one, and a wrong one with the results of known mistakes.

    Args:
        got: What the student's function returned: a number, an array or a tensor.
        expected: The right result.
        mistakes: What each mistake would have given, or a function that computes it, by the message it deserves.
        what: Name of the result.
        tolerance: Largest error, relative to the largest expected value.
        hint: Ends the message when no mistake is recognised.

    Raises:
        CheckFailed: The result is not the right one.

    Example:
        >>> compare(2.0, 2.0, {}, "the sum")
        >>> compare(-2.0, 2.0, {"the sign is turned": lambda: -2.0}, "the sum")
        Traceback (most recent call last):
        ...
        checking.CheckFailed: the sign is turned
    """
    _asked[0] += 1
    result, right = _array(got, f"{what} must be"), _array(expected, what)
    if _same(result, right, tolerance):
        return
    for message, value in mistakes.items():
        wrong = _array(value() if callable(value) else value, what)
        if _same(result, wrong, tolerance) and not _same(wrong, right, tolerance):
            raise CheckFailed(message)
    _need(result.shape == right.shape, f"{what} must have shape {right.shape}, got {result.shape}")
    _need((abs(result) < np.inf).all(), f"{what} holds NaN or infinity")
    error = abs(result - right).max()
    raise CheckFailed(
        f"{what} is wrong: off by up to {error:.3g}, where values go up to {_size(right):.3g}. {hint}".strip()
    )


class Work(TorchDispatchMode):
    """What a call computes, a context around it: its form, whatever its result.

    Attributes:
        largest: Most numbers in one result of torch; views are none.
        total: Numbers in all results of torch together, but for those that are only put side by side.
        products: How many results are products or sums.
        bytes: Most memory of numpy and Python at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.largest = self.total = self.products = self.bytes = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """One operation."""
        results = operation(*args, **(kwargs or {}))
        for result in results if isinstance(results, tuple | list) else [results]:
            views = [r.alias_info for r in operation._schema.returns if r.alias_info and not r.alias_info.is_write]
            if isinstance(result, torch.Tensor) and not views:
                name = operation.overloadpacket.__name__.rstrip("_")
                self.largest = max(self.largest, result.numel())
                self.total += 0 if name in ("cat", "stack") else result.numel()
                self.products += name in _PRODUCTS
        return results

    def __enter__(self) -> "Work":
        """Begins to count, after the first operation, for which torch loads what it needs."""
        mode = super().__enter__()
        torch.ones(1)
        self.largest = self.total = self.products = 0
        tracemalloc.start()
        return mode

    def __exit__(self, *error: Any) -> None:
        """Ends it."""
        self.bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        super().__exit__(*error)


_PRODUCTS = {"mm", "bmm", "mv", "dot", "vdot", "addmm", "addmv", "addr", "baddbmm", "sum", "mul", "linalg_vecdot"}


def variant(student: str, course: int = 1) -> int:
    """The seed of a student's own data, from the name in the notebook and the course's seed.

    Args:
        student: Name; case, spaces and signs do not count.
        course: Seed of the course.

    Returns:
        A number below 100 000.

    Example:
        >>> variant("Ada Lovelace") == variant("ada.lovelace") != variant("Ada Lovelace", course=2)
        True
    """
    return int.from_bytes(hashlib.sha256(f"{course}/{plain(student)}".encode()).digest()[:4], "big") % 100_000


def plain(name: str) -> str:
    """A name without case, spaces and signs.

    Example:
        >>> plain("Ada_Lovelace") == plain("ada lovelace")
        True
    """
    return "".join(filter(str.isalnum, name.lower()))


def _copied(value: Any) -> Any:
    if isinstance(value, np.ndarray | pd.DataFrame | pd.Series):
        return value.copy()
    if isinstance(value, torch.Tensor):
        return value if value.requires_grad else value.clone()
    if isinstance(value, torch.nn.Module):
        return value
    return type(value)(map(_copied, value)) if type(value) in (list, tuple) else copy.copy(value)


def _array(value: Any, must: str, kind: str = "a number or an array") -> np.ndarray:
    _need(value is not None, f"{must} {kind}, got None: is a `return` missing?")
    if isinstance(value, list | tuple) and any(isinstance(v, torch.Tensor) for v in value):
        _need(len({getattr(v, "shape", None) for v in value}) == 1, f"{must} {kind}, got rows of different shapes")
        value = [v.detach().cpu().numpy() if isinstance(v, torch.Tensor) else v for v in value]
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().to(torch.float64).numpy()
    if isinstance(value, str) or inspect.isroutine(value):
        raise CheckFailed(f"{must} {kind}, got {type(value).__name__}")
    try:
        return np.ndarray.view(_as_array(value, float), np.ndarray)
    except (TypeError, ValueError):
        raise CheckFailed(f"{must} {kind}, got {type(value).__name__}") from None


def _size(values: np.ndarray) -> float:
    return max(float(abs(values).max(initial=0)), 1e-12)


def _same(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    """By operators alone, which nobody can replace."""
    near = tolerance * _size(b[abs(b) < np.inf])
    with np.errstate(invalid="ignore"):
        return a.shape == b.shape and bool(((a == b) | (abs(a - b) <= near)).all())


def _stopped(error: BaseException, name: str) -> str:
    """What a student reads of an error in their own code: with their own line, and nothing of the check's."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _theirs(f.filename)]
    last = traceback.extract_tb(error.__traceback__)[-1].filename
    if isinstance(error, NotImplementedError) and not str(error) and _theirs(last):
        return "there is nothing here yet: replace `raise NotImplementedError()` by your code"
    where = f", in line {frames[-1].lineno} of the cell with {name}: `{frames[-1].line}`" if frames else ""
    if not frames and isinstance(error, TypeError):
        return f"{name} cannot be called as the text above says: {error}"
    return f"your code stopped with {type(error).__name__}: {error}{where}"


def _ours(error: BaseException) -> bool:
    """Whether a line of a check stopped that a student's code came to, such as a model that is lent to it."""
    files = [Path(frame.filename).name for frame in traceback.extract_tb(error.__traceback__)]
    theirs = [i for i, frame in enumerate(traceback.extract_tb(error.__traceback__)) if _theirs(frame.filename)]
    return bool(theirs) and any(name in ("checks.py", "checking.py") for name in files[theirs[-1] :])


def _theirs(file: str) -> bool:
    ours = Path(file).name in ("checking.py", "checks.py") or "tsfmicro_lab" in Path(file).parts
    return not ours and not file.startswith(_NOT_THEIRS) and not file.startswith("<frozen")


@contextlib.contextmanager
def _watched(forbids: Mapping[str, str]) -> Iterator[list[str]]:
    """Notes the functions that are called although they must not be."""
    used: list[str] = []
    prefixes = tuple(forbids)

    def look(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and not used and frame.f_code.co_name != "<module>":
            name = f"{frame.f_globals.get('__name__', '')}.{frame.f_code.co_name}"
            if name.startswith(prefixes):
                used.append(name)

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        yield used
    finally:
        sys.setprofile(before)


def _untouched(names: Sequence[str] = ("builtins", "numpy", "torch", "cv2", "pandas", "sklearn.metrics")) -> None:
    """Fails where a notebook replaced functions of the libraries by its own."""
    modules = {
        n: m for n, m in sys.modules.items() if n in names or n.split(".")[0] in ("checking", "checks", "tsfmicro_lab")
    }
    places = [*modules.items(), ("torch.Tensor", torch.Tensor), ("pandas.DataFrame", pd.DataFrame)]
    for place, holder in places:
        for what, value in list(getattr(holder, "__dict__", {}).items()):
            if inspect.isroutine(value) and getattr(value, "__module__", "") == "__main__":
                place_and_name = f"{place}.{what} was replaced by a function of the notebook"
                raise CheckFailed(f"{place_and_name}: take that line out and restart the kernel")
