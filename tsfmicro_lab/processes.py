"""Processes that share a machine without getting in each other's way."""

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any


def usable_cores() -> int:
    """Cores that this process may use, which can be fewer than the machine has.

    Example:
        >>> usable_cores() >= 1
        True
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def process_pool(
    workers: int | None = None, start: Callable[..., None] | None = None, arguments: tuple[Any, ...] = ()
) -> ProcessPoolExecutor:
    """Processes of one torch thread each: on many cores, many small jobs side by side beat one job on all cores.

    Args:
        workers: Number of processes; one per usable core by default.
        start: Called once in each process, with the arguments.
        arguments: What `start` is called with; it must be picklable.

    Example:
        >>> with process_pool(1) as pool:
        ...     pool.submit(sum, (1, 2)).result()
        3
    """
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers or usable_cores(), context, initializer=_start, initargs=(start, arguments))


def _start(start: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    import torch

    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    if start:
        start(*arguments)


def _end_with_parent() -> None:
    """Without this, the processes of a program that was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)
