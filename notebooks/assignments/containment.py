"""Where student code runs: a kernel inside bubblewrap or a container, without network, without sight of the course."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import zmq
from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.manager import AsyncKernelManager
from traitlets import Enum, Int, Type, Unicode

MEGABYTE = 2**20
#: What is read by whoever runs Python here; everything else of the machine does not exist for a student's code.
SYSTEM = ["/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/alternatives", "/etc/fonts", "/etc/localtime"]
#: Copies the files of the assignment to where they can be written, then starts the kernel.
START = 'cp -rL /given/. /home/student && cd /home/student && exec "$@"'
#: The one line for whoever has neither.
REMEDY = (
    "student code is not run here: {tool} does not work on this machine ({why}); install bubblewrap 0.8 or newer (apt "
    "install bubblewrap), or set c.ContainedKernelManager.tool in nbgrader_config.py to 'podman' or 'docker', or say "
    "--ContainedKernelManager.tool=trust if you trust every line that was handed in"
)


class BoundedClient(AsyncKernelClient):
    """Hangs up on a kernel that sends more at once than a picture needs."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.context.setsockopt(zmq.MAXMSGSIZE, 16 * MEGABYTE)


class ContainedKernelManager(AsyncKernelManager):
    """Starts kernels inside a tool that contains them; talks to them through sockets in a folder of their own."""

    client_class = f"{__name__}.BoundedClient"
    client_factory = Type(BoundedClient)
    tool = Enum(("bwrap", "podman", "docker", "trust"), "bwrap", help="What contains student code.").tag(config=True)
    image = Unicode("tsfmicro-marking", help="Image for podman and docker, see Containerfile.").tag(config=True)
    memory = Int(4096, help="Megabytes of all processes of a submission together.").tag(config=True)
    processes = Int(64, help="Most processes of a submission.").tag(config=True)
    cpu = Int(600, help="CPU seconds of a process.").tag(config=True)

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.temporary = tempfile.TemporaryDirectory(prefix="marking-")
        self.folder, self.ended_by, self.machine = Path(self.temporary.name), "", ""
        for name in ("given", "sockets"):
            (self.folder / name).mkdir()
        self.connection_file = str(self.folder / "kernel.json")
        self.transport, self.ip = "ipc", str(self.folder / "sockets" / "kernel")

    def prefix(self) -> list[str]:
        """The command in front of the kernel's."""
        given, sockets, size = self.folder / "given", self.folder / "sockets", str(self.memory * MEGABYTE // 8)
        if self.tool == "bwrap":
            limits = {"cpu": self.cpu, "as": 4 * self.memory * MEGABYTE, "data": self.memory * MEGABYTE, "core": 0}
            limits |= {"fsize": 64 * MEGABYTE, "nofile": 512, "nproc": 4096}
            inner = ["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"]
            for path in readable():
                inner += ["--ro-bind-try", path, path]
            inner += ["--proc", "/proc", "--dev", "/dev"]
            for path in ("/proc/sys", "/proc/sysrq-trigger", "/proc/mtrr"):  # root's, and bwrap leaves them to root
                inner += ["--ro-bind-try", path, path]
            for path in ("/dev/shm", "/tmp", "/run", "/var/tmp", "/home/student"):
                inner += ["--size", size, "--tmpfs", path]
            inner += ["--remount-ro", "/dev", "--ro-bind", str(given), "/given", "--bind", str(sockets), str(sockets)]
            inner += ["--ro-bind", self.connection_file, self.connection_file, "--remount-ro", "/"]
            for name, value in environment().items():
                inner += ["--setenv", name, value]
            return ["prlimit", *(f"--{k}={v}" for k, v in limits.items()), "bwrap", *inner, "sh", "-c", START, "sh"]
        if self.tool == "trust":
            where = str(self.folder / "work")
            return ["env", *(f"{k}={v}" for k, v in environment(str(given), where).items()), "sh", "-c", '"$@"', "sh"]
        inner = ["run", "--rm", "--network=none", "--read-only", "--cap-drop=ALL", f"--pids-limit={self.processes}"]
        inner += ["--security-opt=no-new-privileges", f"--memory={self.memory}m", f"--memory-swap={self.memory}m"]
        inner += [f"--tmpfs={path}:size={size},mode=1777" for path in ("/tmp", "/home/student")]
        inner += ["-v", f"{given}:/given:ro", "-v", f"{sockets}:{sockets}"]
        inner += ["-v", f"{self.connection_file}:{self.connection_file}:ro"]
        inner += [f"--user={os.getuid()}"] if self.tool == "docker" else []
        inner += [f"--env={k}={v}" for k, v in environment().items() if k != "PATH"]
        return [self.tool, *inner, self.image, "sh", "-c", START, "sh"]

    def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
        """The command that starts the kernel: what is in the working folder comes last, the teacher's files first."""
        python = sys.executable if self.tool in ("bwrap", "trust") else "python"
        quiet = ["--HistoryManager.enabled=False", "--InteractiveShellApp.ignore_cwd=True"]
        return [*self.prefix(), python, "-P", "-m", "ipykernel_launcher", "-f", self.connection_file, *quiet]

    async def start_kernel(self, **settings: Any) -> None:
        """Starts the kernel with the files of the assignment, but without its notebook.

        Raises:
            RuntimeError: Nothing is there to contain it.
        """
        kept_back = shutil.ignore_patterns("*.ipynb", "__pycache__", "timestamp.txt", ".*")
        shutil.copytree(settings.pop("cwd"), self.folder / "given", ignore=kept_back, dirs_exist_ok=True)
        refuse_without(self)
        where = shutil.copytree(self.folder / "given", self.folder / "work")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        assert self.kernel_spec is not None
        self.kernel_spec.interrupt_mode = "message"  # a signal would reach the tool, too
        await super().start_kernel(cwd=str(where), **quiet, **settings)
        watch = threading.Thread(target=self._watch, args=(psutil.Process(self.provisioner.pid),), daemon=True)
        watch.start()

    def _watch(self, tool: psutil.Process) -> None:
        """Ends everything when it takes more than its share: memory and processes of a whole family, space on disk."""
        shared = psutil.virtual_memory().shared
        while True:
            used, count, now = 0, 0, psutil.virtual_memory()
            try:
                if tool.status() == psutil.STATUS_ZOMBIE:
                    return
                for process in tool.children(recursive=True):
                    used, count = used + process.memory_info().rss, count + 1
                sent = sum(path.lstat().st_size for path in (self.folder / "sockets").rglob("*"))
            except (psutil.NoSuchProcess, FileNotFoundError):
                if not tool.is_running():
                    return
                continue
            reasons = {
                f"more than {self.memory} MB of memory": used > self.memory * MEGABYTE,
                f"more than {self.processes} processes": count > self.processes,
                "files where only sockets belong": sent > MEGABYTE,
            }
            self.ended_by = next((reason for reason, holds in reasons.items() if holds), "")
            # What no process has in view (files in memory, memory of System V) is counted for the whole machine only.
            if now.available < 256 * MEGABYTE or now.shared - shared > self.memory * MEGABYTE:
                self.machine = "the machine ran out of memory: mark this one alone, and read its code first"
            if self.ended_by or self.machine:
                tool.kill()
                return
            time.sleep(0.1)

    async def cleanup_resources(self, restart: bool = False) -> None:
        """Removes what the kernel left."""
        await self._async_cleanup_resources(restart)
        self.temporary.cleanup()


def places() -> tuple[Path, list[str]]:
    """The lab's package, and the folders of other packages."""
    spec = importlib.util.find_spec("tsfmicro_lab")
    packages = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    return Path(str(spec and spec.origin)).parent, packages


def readable() -> list[str]:
    """Folders that Python and the lab need, outermost first; no other folder of the machine is seen."""
    lab, packages = places()
    own = [sys.prefix, sys.base_prefix, *packages, str(lab), str(lab.parent / "data_cards")]
    return list(dict.fromkeys(SYSTEM + sorted(path for path in own if path not in ("/", "/home", "/root"))))


def environment(given: str = "/given", home: str = "/home/student") -> dict[str, str]:
    """Variables of a kernel; those of the teacher may hold secrets."""
    lab, packages = places()
    kept = {name: os.environ[name] for name in ("LANG", "OMP_NUM_THREADS", "OMP_WAIT_POLICY") if name in os.environ}
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    imports = ":".join([given, str(lab.parent), *packages, home])
    return {**kept, "PATH": path, "HOME": home, "PYTHONPATH": imports}


def refuse_without(manager: ContainedKernelManager) -> None:
    """Tries the tool with everything it is asked for, on a program that does nothing.

    Raises:
        RuntimeError: It does not work here; the message says what to do.
    """
    Path(manager.connection_file).touch()
    try:
        done = subprocess.run([*manager.prefix(), "true"], capture_output=True, text=True, timeout=60, check=False)
        why = (done.stderr.strip().splitlines() or ["no message"])[-1] if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        why = str(error)
    if why:
        raise RuntimeError(REMEDY.format(tool=manager.tool, why=why))
