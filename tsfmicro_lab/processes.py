"""Processes that share a machine without getting in each other's way."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def usable_cores() -> int:
    """Cores that this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def process_pool(
    workers: int | None = None, start: Callable[..., None] | None = None, arguments: tuple[Any, ...] = ()
) -> ProcessPoolExecutor:
    """Processes of one torch thread each: on many cores, many small jobs side by side beat one job on all cores.

    They end when the program that started them is killed, and at once when an error, or Ctrl-C, leaves the `with`.

    Args:
        workers: Number of processes; one per usable core by default.
        start: Called once in each process, with the arguments; both must be picklable.
        arguments: Of `start`.
    """
    return _Pool(workers or usable_cores(), multiprocessing.get_context("spawn"), _start, (start, arguments))


class _Pool(ProcessPoolExecutor):
    """Its processes do not hear Ctrl-C, which a terminal sends to all: else they tell it, and begin what comes next."""

    def submit(self, *given: Any, **named: Any) -> Future[Any]:
        if os.name == "nt":
            return super().submit(*given, **named)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # those that it starts inherit it
        try:
            return super().submit(*given, **named)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        running = [*(self._processes or {}).values()] if kind else []
        self.shutdown(wait=not kind, cancel_futures=bool(kind))  # first, or their end is taken for a broken pool
        for process in running:
            process.terminate()


@contextmanager
def whole_pool() -> Iterator[None]:
    """Says in one sentence that a process of a pool was lost, which most often the system ends for its memory."""
    try:
        yield
    except BrokenExecutor as error:
        remedy = "what is finished is kept, and the same call goes on there; fewer processes need less memory"
        raise RuntimeError(f"a worker process was lost, as one is that takes too much memory: {remedy}") from error


def spread(function: Callable[[T], R], items: Sequence[T], workers: int | None = 1) -> Iterator[R]:
    """`map` on several processes: results in order, with a few items per process under way at a time.

    Args:
        function: Sent to the processes with all that it holds; it must be picklable.
        items: What it is called with.
        workers: Number of processes; one works in this process, None stands for one per usable core.

    Example:
        >>> list(spread(len, ["a", "bb"]))
        [1, 2]
    """
    workers = workers or usable_cores()
    if workers == 1:
        yield from map(function, items)
        return
    with process_pool(workers) as pool, whole_pool():
        for begin in range(0, len(items), 8 * workers):
            yield from pool.map(function, items[begin : begin + 8 * workers], chunksize=4)


def _start(start: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    import torch

    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    if start:
        start(*arguments)


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)
