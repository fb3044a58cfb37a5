"""Where student code runs while it is graded: a process with limits, no network, and no sight of the course.

What the system offers is used, in this order: namespaces (`unshare`, Linux) take the network and other processes away;
Landlock (Linux 5.13 and newer, by unprivileged system calls) leaves one folder to write to and hides whatever is not
needed to run Python; resource limits bound time, memory and file size; and Python's audit hook, which works everywhere
but stops only what goes through Python, says in words what is not allowed.
"""

import ctypes
import functools
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterable
from pathlib import Path

MEGABYTE = 2**20
#: The assignments with their solutions and hidden checks.
HERE = Path(__file__).resolve().parent
#: CPU seconds, bytes of memory, of one file, and characters that a cell may print.
LIMITS = {"cpu": 600, "memory": 4096 * MEGABYTE, "file": 64 * MEGABYTE, "text": MEGABYTE}
# System calls and access rights of Landlock, from linux/landlock.h; the numbers are those of every architecture.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
READ, FILE_RIGHTS = 0b1101, 0b0110 | 1 << 14 | 1  # execute, read file and folder; what a rule on a file may name
RIGHTS_OF_VERSION = {1: 13, 2: 14, 3: 15}  # rights known to each version, counted from bit 0; 15 from 3 on
UNSHARE = ("unshare", "--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")


@functools.cache
def namespaces() -> tuple[str, ...]:
    """The command that takes network and other processes away, or nothing where the system forbids it.

    Example:
        >>> namespaces() in (UNSHARE, ())
        True
    """
    works = (
        shutil.which("unshare") and not subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode
    )
    return UNSHARE if works else ()


def landlock_version() -> int:
    """Version of Landlock in the running kernel, 0 without.

    Example:
        >>> landlock_version() >= 0
        True
    """
    return max(ctypes.CDLL(None).syscall(CREATE_RULESET, None, 0, 1), 0) if sys.platform == "linux" else 0


def protection() -> str:
    """What keeps student code in its place on this machine, in words.

    Example:
        >>> "limits" in protection()
        True
    """
    found = ["limits of time and text"]
    found += ["limits of memory"] if sys.platform == "linux" else []
    found += ["no network (namespaces)"] if namespaces() else ["no network for Python code (audit hook)"]
    found += ["the course is hidden, one folder is writable (Landlock)"] if landlock_version() else []
    return "; ".join(found if landlock_version() else [*found, "files are guarded by Python's audit hook alone"])


def readable() -> list[Path]:
    """Folders that Python and the lab need; the rest of a checkout is none of a student's business."""
    import tsfmicro_lab

    lab = Path(tsfmicro_lab.__file__).parent

    def private(path: Path) -> bool:
        return HERE.is_relative_to(path) or path.is_relative_to(HERE) or (path / "notebooks" / "assignments").is_dir()

    roots = {sys.prefix, sys.base_prefix, *sysconfig.get_paths().values(), *filter(None, sys.path)}
    system = ["/usr", "/lib", "/lib64", "/bin", "/etc", "/proc", "/dev", "/sys", "/opt/hostedtoolcache"]
    return [lab, lab.parent / "data_cards", *(p for p in map(Path, [*roots, *system]) if not private(p))]


def confine(writable: Path, folders: Iterable[Path]) -> None:
    """Gives up, for good, the rights to write outside one folder and to read outside some."""
    version = landlock_version()
    if not version:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    all_rights = (1 << RIGHTS_OF_VERSION.get(version, 15)) - 1
    # handled_access_fs, and from version 4 on handled_access_net: bind and connect of TCP
    rights = (ctypes.c_uint64 * 2)(all_rights, 3)
    ruleset = libc.syscall(CREATE_RULESET, ctypes.byref(rights), 16 if version >= 4 else 8, 0)

    class Rule(ctypes.Structure):
        _pack_ = 1
        _layout_ = "ms"
        _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))

    for folder, allowed in [*((p, READ) for p in folders), (writable, all_rights), (Path("/dev/null"), all_rights)]:
        if folder.exists():
            handle = os.open(folder, os.O_PATH | os.O_CLOEXEC)
            allowed &= all_rights if folder.is_dir() else all_rights & FILE_RIGHTS
            libc.syscall(ADD_RULE, ruleset, 1, ctypes.byref(Rule(allowed, handle)), 0)
            os.close(handle)
    if libc.prctl(38, 1, 0, 0, 0) or libc.syscall(RESTRICT_SELF, ruleset, 0):  # 38: PR_SET_NO_NEW_PRIVS
        raise OSError(ctypes.get_errno(), "Landlock is there but refuses: grade on another machine")
    os.close(ruleset)


def set_limits() -> None:
    """Bounds time, memory and file size of this process and its children."""
    if sys.platform == "win32":
        return
    import resource

    for kind, most in (("CPU", "cpu"), ("DATA", "memory"), ("FSIZE", "file")):
        resource.setrlimit(getattr(resource, f"RLIMIT_{kind}"), (LIMITS[most], LIMITS[most]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def forbid(writable: Path) -> None:
    """Refuses, with a sentence, what code that is being graded has no business to do."""
    own = str(writable.resolve())

    def outside(path: object) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        full = os.path.realpath(os.fsdecode(path))
        return full != own and not full.startswith((own + os.sep, "/dev/", "/proc/self"))

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
            raise PermissionError("there is no network while a submission is graded")
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (
            writes or event in ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.truncate", "shutil.rmtree")
        ) and any(outside(path) for path in arguments[: 1 + (event == "os.rename")]):
            raise PermissionError(
                f"while a submission is graded it may write to its own folder only, not {arguments[0]}"
            )
        if event in ("os.kill", "os.killpg") and arguments[0] != os.getpid():
            raise PermissionError(f"{event} is not allowed while a submission is graded")

    sys.addaudithook(hook)


def bound_text() -> Callable[..., None]:
    """Stops a cell that prints without end. Returns what begins to count anew."""
    from ipykernel.iostream import OutStream

    write, left = OutStream.write, [LIMITS["text"]]

    def bounded(self: OutStream, text: str) -> int | None:
        left[0] -= len(text)
        if left[0] < 0:
            raise RuntimeError(f"a cell printed more than {LIMITS['text'] // MEGABYTE} MB: print less")
        written: int | None = write(self, text)
        return written

    OutStream.write = bounded
    return lambda *_: left.__setitem__(0, LIMITS["text"])


def main() -> None:
    """Starts a kernel inside: `python sandbox.py FOLDER CONNECTION_FILE`."""
    folder, connection = Path(sys.argv[1]), sys.argv[2]
    from ipykernel.kernelapp import IPKernelApp

    set_limits()
    confine(folder, readable())
    sys.path[:] = [path for path in sys.path if not Path(path).resolve().is_relative_to(HERE)]
    forbid(folder)
    app = IPKernelApp.instance()
    app.initialize(["-f", connection, "--HistoryManager.enabled=False", "--InteractiveShellApp.ignore_cwd=True"])
    sys.path.append(str(Path.cwd()))  # last, so that a file of a submission never stands in for one of the lab's
    app.shell.events.register("pre_run_cell", bound_text())
    app.start()


if __name__ == "__main__":
    main()
