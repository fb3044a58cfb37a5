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


INTERRUPTED = """
import signal, time
from tsfmicro_lab.processes import process_pool

def work(seconds):
    print("at work\\n", end="", flush=True)  # in one piece: both write
    time.sleep(seconds)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
    with process_pool(2) as pool:
        list(pool.map(work, [300] * 6))
"""


@pytest.mark.skipif(os.name == "nt", reason="a group of processes is interrupted as a terminal does it")
@pytest.mark.parametrize("when", ["they start", "they work"])
def test_ctrl_c_ends_them_at_once_and_none_tells_it(when, tmp_path):
    (tmp_path / "program.py").write_text(INTERRUPTED)
    command, pipe = [sys.executable, tmp_path / "program.py"], subprocess.PIPE
    program = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    children = Path(f"/proc/{program.pid}/task/{program.pid}/children")
    if when == "they work" or not children.exists():
        assert program.stdout.readline() == "at work\n"
    else:
        while len(children.read_text(encoding="utf-8").split()) < 3:  # two, and multiprocessing's own
            assert program.poll() is None
            time.sleep(0.01)
    os.killpg(program.pid, signal.SIGINT)
    try:
        told = program.communicate(timeout=150)[1]  # of the 900 s that the work takes
    finally:
        program.kill()
    assert program.returncode != 0
    assert told.count("Traceback") == told.count("KeyboardInterrupt") == 1, told
