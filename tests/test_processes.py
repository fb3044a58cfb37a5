import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tsfmicro_lab.processes import process_pool, usable_cores

SCRIPT = """
import os, time
from tsfmicro_lab.processes import process_pool

if __name__ == "__main__":
    pool = process_pool(2)
    print(*{pool.submit(os.getpid).result() for _ in range(20)}, flush=True)
    pool.submit(time.sleep, 300).result()
"""


def test_each_process_has_one_thread():
    import torch

    with process_pool(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == 1
    assert usable_cores() == len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else usable_cores() >= 1


@pytest.mark.skipif(not Path("/proc").exists(), reason="reads /proc")
def test_processes_end_with_the_program_that_started_them(tmp_path):
    (tmp_path / "program.py").write_text(SCRIPT)
    program = subprocess.Popen([sys.executable, tmp_path / "program.py"], stdout=subprocess.PIPE, text=True)
    workers = [Path("/proc") / pid for pid in program.stdout.readline().split()]
    assert workers
    assert all(worker.exists() for worker in workers)
    program.send_signal(signal.SIGKILL)
    program.wait()
    deadline = time.monotonic() + 60
    while any(worker.exists() for worker in workers):
        assert time.monotonic() < deadline, "a process outlived its program"
        time.sleep(0.1)
