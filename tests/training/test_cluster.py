"""A real Dask cluster on this machine: a scheduler and two worker processes, one of which is killed at work."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import pandas as pd
import pytest
import torch

from tsfmicro_lab.training import Recipe, Run, cross_validate

RUN = Run("tsfmicro_temporal", recipe=Recipe(epochs=4))


@contextmanager
def cluster(folder, workers=2):
    """A scheduler and workers as the documentation starts them; yields a client and the workers' processes."""
    from distributed import Client

    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    file = str(folder / "scheduler.json")

    def start(*arguments):
        command = [sys.executable, "-m", "dask", *arguments, "--scheduler-file", file]
        log = (folder / f"{arguments[0]}-{time.monotonic_ns()}.log").open("w")
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    scheduler = start("scheduler", "--port", "0", "--dashboard-address", ":0", "--host", "127.0.0.1")
    hands = [start("worker", "--nthreads", "1", "--no-nanny", "--no-dashboard") for _ in range(workers)]
    try:
        deadline = time.monotonic() + 60
        while not (folder / "scheduler.json").exists():
            assert time.monotonic() < deadline, "no scheduler came up"
            time.sleep(0.1)
        with Client(scheduler_file=file) as client:
            client.wait_for_workers(workers, timeout=120)
            yield client, hands
    finally:
        for process in (*hands, scheduler):
            process.kill()
            process.wait()


@pytest.fixture
def alone(samples):
    """The same folds one after another, on one thread as in the workers: more threads sum in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield cross_validate(samples, RUN, progress=False)
    torch.set_num_threads(threads)


def kill_at_work(client, worker):
    """As soon as every worker trains."""
    deadline = time.monotonic() + 120
    while sum(bool(tasks) for tasks in client.processing().values()) < 2:
        assert time.monotonic() < deadline, "the workers were never at work together"
        time.sleep(0.02)
    worker.send_signal(signal.SIGKILL)


def test_a_worker_killed_at_work_changes_nothing(samples, tmp_path, alone):
    runs = [RUN, replace(RUN, seed=1), replace(RUN, model="tsfmicro_spatial")]
    with cluster(tmp_path) as (client, workers):
        assert client.dashboard_link.startswith("http://127.0.0.1:")
        executor = client.get_executor()
        killer = threading.Thread(target=kill_at_work, args=(client, workers[0]))
        killer.start()
        survived = cross_validate(samples, RUN, executor=executor, folder=tmp_path / "run", progress=False)
        killer.join()
        assert workers[0].wait(30) == -signal.SIGKILL
        pd.testing.assert_frame_equal(alone, survived, check_dtype=False)
        folds = (tmp_path / "run" / "folds.jsonl").read_text().splitlines()
        assert len(folds) == len(set(folds)) == 4, "every fold is written once"

        grid = cross_validate(samples, runs, executor=executor, folder=tmp_path / "grid", progress=False)
    assert len(grid) == 3 * len(samples)
    pd.testing.assert_frame_equal(grid.iloc[: len(samples)][list(alone)], alone, check_dtype=False)
    names = {"tsfmicro_spatial-0", "tsfmicro_temporal-0", "tsfmicro_temporal-1"}
    assert {p.name for p in (tmp_path / "grid").glob("[!.]*")} == names
    assert set(grid[grid.model == "tsfmicro_temporal"].seed) == {0, 1}


def test_two_runs_of_one_name_are_refused(samples):
    with pytest.raises(ValueError, match="two runs have one name and seed"):
        cross_validate(samples, [RUN, RUN])
