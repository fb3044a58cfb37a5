"""nbgrader's execution of a submission, in the sandbox: `nbgrader_config.py` of a course names these classes."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nbformat
import zmq
from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbgrader.preprocessors import Execute
from nbgrader.utils import is_grade
from traitlets import Int, Type, Unicode

import sandbox

#: Variables of the environment that a kernel keeps; the rest may hold secrets of the teacher.
KEPT = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "SYSTEMROOT", "OMP_NUM_THREADS", "LD_LIBRARY_PATH", "TSFMICRO_STUDENT")
#: Characters of all output of a notebook, pictures included; what comes after them is dropped.
MOST_OUTPUT = 32 * sandbox.MEGABYTE


class SandboxedClient(AsyncKernelClient):
    """Hangs up on a kernel that sends more at once than a picture needs."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.context.setsockopt(zmq.MAXMSGSIZE, 16 * sandbox.MEGABYTE)


class SandboxedKernelManager(AsyncKernelManager):
    """Starts kernels by the sandbox and talks to them through files, since they have no network."""

    client_class = f"{__name__}.SandboxedClient"
    client_factory = Type(SandboxedClient)

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.folder = Path(tempfile.mkdtemp(prefix="grade-"))
        self.connection_file = str(self.folder / "kernel.json")
        if sys.platform != "win32":
            self.transport, self.ip = "ipc", str(self.folder / "kernel")

    def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
        """The command that starts the kernel."""
        return [
            *sandbox.namespaces(),
            sys.executable,
            "-P",
            str(Path(sandbox.__file__).resolve()),
            str(self.folder),
            self.connection_file,
        ]

    async def start_kernel(self, **settings: Any) -> None:
        """Starts the kernel in a copy of the submission's folder, with an environment that holds no secrets."""
        work = self.folder / "work"
        shutil.copytree(settings.pop("cwd"), work)
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        homes = dict.fromkeys(("HOME", "MPLCONFIGDIR", "IPYTHONDIR", "TMPDIR", "XDG_CACHE_HOME"), str(self.folder))
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        await super().start_kernel(
            cwd=str(work), env={**kept, **homes, "JOBLIB_MULTIPROCESSING": "0"}, **quiet, **settings
        )

    async def interrupt_kernel(self) -> None:
        """Interrupts by a message: a signal would reach the launcher, too."""
        self.session.send(self._control_socket, self.session.msg("interrupt_request", content={}))

    async def cleanup_resources(self, restart: bool = False) -> None:
        """Removes what the kernel left."""
        await self._async_cleanup_resources(restart)
        shutil.rmtree(self.folder, ignore_errors=True)


class SandboxedExecute(Execute):
    """Runs the cells of a submission in the sandbox; whatever it does, its remaining cells count as failed and no more.

    Before a graded cell the check functions are loaded anew, from the teacher's files and not from the submission's, so
    that a submission cannot replace them; hidden ones are handed over for that cell only, and the code of a submission
    cannot read them.
    """

    assignments = Unicode(help="Folder with source/NAME/checks.py, checking.py and hidden_checks/.").tag(config=True)
    seconds = Int(300, help="Seconds for a whole notebook; `timeout` is for one cell.").tag(config=True)

    def __init__(self, **settings: Any) -> None:
        super().__init__(kernel_manager_class=SandboxedKernelManager, shutdown_kernel="immediate", **settings)

    def preprocess(
        self, nb: NotebookNode, resources: dict[str, Any], km: Any = None
    ) -> tuple[NotebookNode, dict[str, Any]]:
        """Runs a notebook."""
        deadline = time.monotonic() + self.seconds
        self.timeout_func = lambda cell: max(min(self.timeout, int(deadline - time.monotonic())), 1)
        self.stopped, self.received = "", 0
        self.name = resources["nbgrader"]["assignment"]
        os.environ["TSFMICRO_STUDENT"] = resources["nbgrader"]["student"]
        nb, resources = super().preprocess(nb, resources, km)
        return nb, resources

    def preprocess_cell(
        self, cell: NotebookNode, resources: dict[str, Any], index: int
    ) -> tuple[NotebookNode, dict[str, Any]]:
        """Runs a cell, unless the kernel is gone."""
        graded = is_grade(cell) and cell.cell_type == "code"
        try:
            if not self.stopped:
                if graded:
                    self._silently(REFRESH + self._checks(cell.source))
                cell, resources = super().preprocess_cell(cell, resources, index)
                if graded:
                    self._silently(REFRESH)
                    _without_code(cell)
        except (DeadKernelError, CellTimeoutError, asyncio.CancelledError) as error:
            self.stopped = f"an earlier cell ended the program ({type(error).__name__}): time, memory or output ran out"
            cell.outputs = [_error(str(error).splitlines()[0])]
        else:
            if self.stopped and cell.cell_type == "code":
                cell.outputs = [_error(self.stopped)]
        return cell, resources

    def process_message(self, msg: dict[str, Any], cell: NotebookNode, cell_index: int) -> NotebookNode | None:
        """Takes what the kernel sends, as long as it is not too much."""
        self.received += len(str(msg["content"]))
        if self.received > MOST_OUTPUT and msg["msg_type"] != "status":
            return None
        return super().process_message(msg, cell, cell_index)

    def _checks(self, source: str) -> str:
        """Code that makes the checks importable which a graded cell may use."""
        folder = Path(self.assignments)
        files = {"checking": folder / "checking.py", "checks": folder / "source" / self.name / "checks.py"}
        for name in re.findall(r"from hidden_checks import (\w+)", source):
            files["hidden_checks"] = folder / "hidden_checks" / "__init__.py"
            files[f"hidden_checks.{name}"] = folder / "hidden_checks" / f"{name}.py"
        return HAND_OVER.format(sources={name: path.read_text() for name, path in files.items() if path.exists()})

    def _silently(self, code: str) -> None:
        self.wait_for_reply(self.kc.execute(code, silent=True, store_history=False))


#: Forgets the check functions, so that the next import reads them again.
REFRESH = """
import sys as _sys
for _name in [name for name in _sys.modules if name.split(".")[0] in ("checking", "checks", "hidden_checks")]:
    del _sys.modules[_name]
del _sys
"""
#: Makes modules importable whose source is given and whose file cannot be read, each after those that it imports.
HAND_OVER = """
import sys as _sys, types as _types
for _name, _source in {sources!r}.items():
    _module = _sys.modules[_name] = _types.ModuleType(_name)
    exec(_source, vars(_module))
    if "." in _name:
        setattr(_sys.modules[_name.split(".")[0]], _name.split(".")[1], _module)
del _sys, _types, _name, _source, _module
"""


def _without_code(cell: NotebookNode) -> None:
    """Takes the lines of a check out of what a page will show: its message is enough."""
    for output in cell.outputs:
        if output.output_type == "error" and output.ename != "CheckFailed":
            output.traceback = [f"{output.ename}: {output.evalue}"]


def _error(message: str) -> NotebookNode:
    return nbformat.v4.new_output("error", ename="Stopped", evalue=message, traceback=[f"Stopped: {message}"])
