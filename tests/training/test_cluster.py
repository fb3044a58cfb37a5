"""A real Dask cluster on this machine: a scheduler and two worker processes, one of which is killed at work."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import dask
import pandas as pd
import pytest
import torch

from tsfmicro_lab.data import Samples, prepare
from tsfmicro_lab.training import Recipe, Run, cross_validate, leave_one_subject_out

RUN = Run("tsfmicro_temporal", recipe=Recipe(epochs=4))


@contextmanager
def cluster(folder, workers=2, threads=1):
    """A scheduler and workers as the documentation starts them; yields a client and the processes, scheduler last."""
    from distributed import Client

    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    file = str(folder / "scheduler.json")

    def start(*arguments):
        command = [sys.executable, "-m", "dask", *arguments, "--scheduler-file", file]
        log = (folder / f"{arguments[0]}-{time.monotonic_ns()}.log").open("w")
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    scheduler = start("scheduler", "--port", "0", "--dashboard-address", ":0", "--host", "127.0.0.1")
    hands = [start("worker", "--nthreads", str(threads), "--no-nanny", "--no-dashboard") for _ in range(workers)]
    try:
        deadline = time.monotonic() + 60
        while not (folder / "scheduler.json").exists():
            assert time.monotonic() < deadline, "no scheduler came up"
            time.sleep(0.1)
        with Client(scheduler_file=file) as client:
            client.wait_for_workers(workers, timeout=120)
            yield client, [*hands, scheduler]
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


def test_a_killed_scheduler_is_one_sentence_and_loses_nothing(data, samples, tmp_path, alone, monkeypatch):
    """The samples lie in a store, which workers open: they never travel."""
    stored = prepare(data, 56, folder=tmp_path / "store", progress=False)
    monkeypatch.setattr(Samples, "__reduce__", lambda self: pytest.fail("samples were sent"), raising=False)
    once = partial(cross_validate, stored, RUN, folder=tmp_path / "run", progress=False)
    with dask.config.set({"distributed.comm.timeouts.connect": "3s"}), cluster(tmp_path, workers=1) as (client, hands):
        first = once(
            leave_one_subject_out(stored.annotations)[:1], executor=client.get_executor(), folder=tmp_path / "a"
        )
        assert list(first["clip"]) == list(alone[alone.fold == "sub01"]["clip"])

        def kill():  # once a fold is there, and others are not
            while not list((tmp_path / "run" / "folds").glob("*.csv")):
                time.sleep(0.02)
            hands[-1].kill()

        threading.Thread(target=kill, daemon=True).start()
        with pytest.raises(RuntimeError, match="finished folds are kept"):
            once(executor=client.get_executor())
    pd.testing.assert_frame_equal(once(), alone, check_dtype=False)


def test_workers_of_several_threads_are_refused(samples, tmp_path):
    with cluster(tmp_path, workers=1, threads=2) as (client, _), pytest.raises(ValueError, match="--nthreads 1"):
        cross_validate(samples, RUN, executor=client.get_executor(), progress=False)


def test_two_runs_of_one_name_are_refused(samples):
    with pytest.raises(ValueError, match="two runs have one name and seed"):
        cross_validate(samples, [RUN, RUN])
