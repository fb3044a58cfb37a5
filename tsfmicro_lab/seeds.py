"""Random numbers of one's own: seeded for a while, the global state put back afterwards."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

_one_at_a_time = threading.RLock()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds the global random state of torch and numpy and puts it back afterwards.

    The state belongs to the process, so a second thread waits until the first has left: its numbers would get mixed.

    Example:
        >>> with seeded(1):
        ...     first = torch.rand(1)
        >>> with seeded(1):
        ...     print(bool(torch.rand(1) == first))
        True
    """
    with _one_at_a_time, torch.random.fork_rng():
        state = np.random.get_state()  # noqa: NPY002 - captum draws from the global state
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002
